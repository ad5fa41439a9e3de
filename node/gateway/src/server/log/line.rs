//! One line of the access log, in the forms that tools read.
//!
//! Whatever a client sends stays inside its field: quotes, control characters, line ends and everything that is
//! not ASCII are escaped.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::settings::LogForm;

/// What is logged of a request.
#[derive(Clone, Debug)]
pub(in crate::server) struct Line {
    pub(in crate::server) at: SystemTime,
    pub(in crate::server) id: String,
    pub(in crate::server) from: IpAddr,
    pub(in crate::server) method: String,
    pub(in crate::server) host: Option<String>,
    /// Path and query.
    pub(in crate::server) target: String,
    pub(in crate::server) version: http::Version,
    pub(in crate::server) agent: Option<String>,
    pub(in crate::server) referer: Option<String>,
    pub(in crate::server) range: Option<String>,
    /// What the answer said of the cache.
    pub(in crate::server) cache: Option<String>,
    pub(in crate::server) status: u16,
    /// Bytes of the body that were handed on. Of an answer that was cut, the client may have fewer.
    pub(in crate::server) sent: u64,
    pub(in crate::server) took: Duration,
    pub(in crate::server) first_byte: Option<Duration>,
    /// Why the answer did not reach its end.
    pub(in crate::server) cut: Option<String>,
}

/// A line as JSON; what is not known is left out.
#[derive(Serialize)]
struct Json<'a> {
    time: String,
    id: &'a str,
    from: IpAddr,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    path: &'a str,
    protocol: &'a str,
    status: u16,
    bytes: u64,
    duration_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttfb_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<&'a str>,
}

impl Line {
    /// Writes the line with its end.
    pub(super) fn format(&self, form: LogForm) -> String {
        match form {
            LogForm::Combined => self.combined(),
            LogForm::Json => self.json(),
        }
    }

    /// The combined form; a line of an answer that was cut has one more field.
    fn combined(&self) -> String {
        let mut text = String::with_capacity(256);
        let _ = write!(text, "{} - - [{}] \"", self.from, Date::of(self.at).combined());
        escape(&mut text, &self.method);
        text.push(' ');
        escape(&mut text, &self.target);
        let _ = write!(text, " {}\" {} {} ", protocol(self.version), self.status, self.sent);
        quote(&mut text, self.referer.as_deref());
        text.push(' ');
        quote(&mut text, self.agent.as_deref());
        if let Some(cut) = &self.cut {
            text.push(' ');
            quote(&mut text, Some(&format!("cut: {cut}")));
        }
        text.push('\n');
        text
    }

    fn json(&self) -> String {
        let line = Json {
            time: Date::of(self.at).rfc3339(),
            id: &self.id,
            from: self.from,
            method: &self.method,
            host: self.host.as_deref(),
            path: &self.target,
            protocol: protocol(self.version),
            status: self.status,
            bytes: self.sent,
            duration_s: seconds(self.took),
            ttfb_s: self.first_byte.map(seconds),
            user_agent: self.agent.as_deref(),
            referer: self.referer.as_deref(),
            range: self.range.as_deref(),
            cache: self.cache.as_deref(),
            cut: self.cut.as_deref(),
        };
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        text
    }
}

fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_09 => "HTTP/0.9",
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2.0",
        http::Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// Returns seconds, to the microsecond.
fn seconds(duration: Duration) -> f64 {
    Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)).as_secs_f64()
}

fn quote(to: &mut String, text: Option<&str>) {
    to.push('"');
    match text {
        Some(text) => escape(to, text),
        None => to.push('-'),
    }
    to.push('"');
}

/// Writes text so that it can neither end its field nor its line.
fn escape(to: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f..=0xff => {
                let _ = write!(to, "\\x{byte:02X}");
            }
            plain => to.push(char::from(plain)),
        }
    }
}

/// A moment in UTC, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Date {
    year: u64,
    month: usize,
    day: u64,
    seconds: u64,
    millis: u32,
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Date {
    fn of(at: SystemTime) -> Self {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (mut day, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let mut year = 1970;
        while day >= days_of(year) {
            day -= days_of(year);
            year += 1;
        }
        let leap = days_of(year) - 365;
        let mut month = 0;
        for days in [31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
            if day < days {
                break;
            }
            day -= days;
            month += 1;
        }
        Self { year, month, day: day + 1, seconds, millis: since.subsec_millis() }
    }

    fn clock(self) -> (u64, u64, u64) {
        (self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60)
    }

    fn combined(self) -> String {
        let month = MONTHS.get(self.month).unwrap_or(&"Dec");
        let (hour, minute, second) = self.clock();
        format!("{:02}/{month}/{}:{hour:02}:{minute:02}:{second:02} +0000", self.day, self.year)
    }

    fn rfc3339(self) -> String {
        let (hour, minute, second) = self.clock();
        let Self { year, month, day, millis, .. } = self;
        format!("{year}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z", month + 1)
    }
}

fn days_of(year: u64) -> u64 {
    match year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) {
        true => 366,
        false => 365,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_271_591_042),
            id: "4be1-7".into(),
            from: [192, 0, 2, 7].into(),
            method: "GET".into(),
            host: Some("gateway.example".into()),
            target: "/ipfs/bafy/photo.jpg?download=true".into(),
            version: http::Version::HTTP_11,
            agent: Some("curl/8.11".into()),
            referer: None,
            range: Some("bytes=0-99".into()),
            cache: Some("pop; hit".into()),
            status: 206,
            sent: 100,
            took: Duration::from_nanos(1_234_567_890),
            first_byte: Some(Duration::from_micros(250)),
            cut: None,
        }
    }

    #[test]
    fn the_combined_form_is_what_log_readers_expect() {
        assert_eq!(
            line().format(LogForm::Combined),
            "192.0.2.7 - - [21/Nov/2026:14:33:11 +0000] \"GET /ipfs/bafy/photo.jpg?download=true HTTP/1.1\" \
             206 100 \"-\" \"curl/8.11\"\n"
        );
    }

    #[test]
    fn json_has_every_field_that_is_known() {
        assert_eq!(
            line().format(LogForm::Json),
            "{\"time\":\"2026-11-21T14:33:11.042Z\",\"id\":\"4be1-7\",\"from\":\"192.0.2.7\",\"method\":\"GET\",\
             \"host\":\"gateway.example\",\"path\":\"/ipfs/bafy/photo.jpg?download=true\",\
             \"protocol\":\"HTTP/1.1\",\"status\":206,\"bytes\":100,\"duration_s\":1.234567,\"ttfb_s\":0.00025,\
             \"user_agent\":\"curl/8.11\",\"range\":\"bytes=0-99\",\"cache\":\"pop; hit\"}\n"
        );
    }

    #[test]
    fn an_answer_that_was_cut_says_so() {
        let cut = Line { cut: Some("stalled".into()), ..line() };
        assert!(cut.format(LogForm::Combined).ends_with(" \"cut: stalled\"\n"));
        assert!(cut.format(LogForm::Json).ends_with(",\"cut\":\"stalled\"}\n"));
    }

    #[test]
    fn a_client_cannot_forge_a_line_or_a_field() {
        let forged = "x\" 200 1\n203.0.113.9 - - [now] \"GET /forged\\\u{1b}[2J\u{85}é";
        let forged = Line {
            method: forged.into(),
            target: forged.into(),
            agent: Some(forged.into()),
            referer: Some(forged.into()),
            cut: Some(forged.into()),
            ..line()
        };
        let text = forged.format(LogForm::Combined);
        assert_eq!(text.matches('\n').count(), 1);
        assert_eq!(text.matches('"').count(), 8);
        assert!(text.is_ascii() && text.trim_end().bytes().all(|byte| byte >= b' '));
        assert!(text.contains(r#"x\x22 200 1\x0A203.0.113.9"#), "{text}");
        let text = forged.format(LogForm::Json);
        assert_eq!(text.matches('\n').count(), 1);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["user_agent"], forged.agent.as_deref().unwrap());
    }

    #[test]
    fn dates_are_right_on_both_sides_of_leap_days_and_years() {
        let date = |seconds| Date::of(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).rfc3339();
        assert_eq!(date(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(date(951_782_399), "2000-02-28T23:59:59.000Z");
        assert_eq!(date(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(date(951_868_800), "2000-03-01T00:00:00.000Z");
        assert_eq!(date(1_735_689_599), "2024-12-31T23:59:59.000Z");
        assert_eq!(date(4_107_542_400), "2100-03-01T00:00:00.000Z");
    }
}
