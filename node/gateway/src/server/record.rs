//! What is told of a request when it has ended, however it ends: to the log, to the figures, and to the node,
//! which counts the content that went out.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use pop_dag::Cid;
use pop_units::Bytes;

use crate::figures::{Cut, Figures};
use crate::server;
use crate::server::guest::Turn;
use crate::server::line::Pulse;
use crate::server::log::{Line, Log};
use crate::server::stream::Flow;

/// The status of a request whose client went away before there was one.
const WENT_AWAY: u16 = 499;

/// Longest text of a request that is kept for the log.
const LONGEST: usize = 2048;

/// Is told the root, the bytes of its content that went out, and to whom.
pub(super) type Served = dyn Fn(&Cid, Bytes, std::net::IpAddr) + Send + Sync;

/// Where records go.
pub(super) struct Told {
    pub(super) figures: Figures,
    pub(super) log: Option<Log>,
    pub(super) served: Box<Served>,
}

/// A request under way. Dropped before [`Record::end`], it tells that the answer was cut.
pub(super) struct Record {
    told: Arc<Told>,
    pulse: Arc<Pulse>,
    flow: Option<Arc<Flow>>,
    turn: Option<Turn>,
    from: std::net::IpAddr,
    id: HeaderValue,
    began: Instant,
    status: Option<StatusCode>,
    sent: u64,
    served: Option<Cid>,
    line: Option<Box<Line>>,
    is_over: bool,
}

impl Record {
    /// Begins with the head of a request.
    pub(super) fn new(told: &Arc<Told>, pulse: &Arc<Pulse>, flow: Option<Arc<Flow>>, head: Head<'_>) -> Self {
        let line = told.log.is_some().then(|| Box::new(head.line()));
        Self {
            told: Arc::clone(told),
            pulse: Arc::clone(pulse),
            flow,
            turn: None,
            from: head.from,
            id: head.id.clone(),
            began: head.began,
            status: None,
            sent: 0,
            served: None,
            line,
            is_over: false,
        }
    }

    /// Keeps the turn of the request until it has ended.
    pub(super) fn keep(&mut self, turn: Turn) {
        self.turn = Some(turn);
    }

    /// Returns the name of the request.
    pub(super) fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// Returns what moves on the connection.
    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Notes the head of the answer.
    pub(super) fn answered(&mut self, response: &Response<Body>) {
        let after = self.began.elapsed();
        self.status = Some(response.status());
        self.served = response.extensions().get::<server::Served>().map(|served| served.0);
        self.told.figures.answered(response.status(), response.headers(), after);
        if let Some(line) = &mut self.line {
            line.first_byte = Some(after);
            line.cache = text(response.headers(), &CACHE_STATUS);
        }
    }

    /// Counts bytes of the body.
    pub(super) fn sent(&mut self, size: u64) {
        self.sent = self.sent.saturating_add(size);
    }

    /// Ends when the client's side has taken all of the answer.
    pub(super) fn wait(self) {
        let pulse = Arc::clone(&self.pulse);
        pulse.wait(self);
    }

    /// Ends well.
    pub(super) fn end(mut self) {
        self.tell(None, "");
    }

    /// Ends an answer that cannot be ended well, so that the client sees it.
    pub(super) fn break_off(mut self, why: Cut, more: &str) {
        self.pulse.break_off();
        self.tell(Some(why), more);
    }

    fn tell(&mut self, cut: Option<Cut>, more: &str) {
        self.is_over = true;
        self.pulse.end();
        self.told.figures.sent(self.sent);
        if let Some(why) = cut {
            self.told.figures.cut(why);
        }
        if let Some(root) = &self.served
            && self.sent > 0
        {
            (self.told.served)(root, Bytes::new(self.sent), self.from);
        }
        let Some((mut line, log)) = self.line.take().zip(self.told.log.as_ref()) else { return };
        line.status = self.status.map_or(WENT_AWAY, |status| status.as_u16());
        line.sent = self.sent;
        line.took = self.began.elapsed();
        line.cut = cut.map(|why| match more.is_empty() {
            true => why.label().to_owned(),
            false => format!("{}: {more}", why.label()),
        });
        log.write(*line);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.is_over {
            if std::thread::panicking() {
                self.pulse.break_off();
            }
            let why = self.flow.as_ref().and_then(|flow| flow.why()).or_else(|| self.pulse.why());
            self.tell(Some(why.unwrap_or(Cut::Gone)), "");
        }
    }
}

/// The head of a request, as a record begins with it.
pub(super) struct Head<'a> {
    pub(super) parts: &'a Parts,
    pub(super) id: &'a HeaderValue,
    pub(super) from: std::net::IpAddr,
    pub(super) began: Instant,
}

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

impl Head<'_> {
    fn line(&self) -> Line {
        let headers = &self.parts.headers;
        let uri = &self.parts.uri;
        let target = uri.path_and_query().map_or_else(|| uri.path(), http::uri::PathAndQuery::as_str);
        let host = match uri.authority() {
            Some(authority) => Some(cap(authority.as_str())),
            None => text(headers, &header::HOST),
        };
        Line {
            at: SystemTime::now(),
            id: self.id.to_str().unwrap_or_default().to_owned(),
            from: self.from,
            method: cap(self.parts.method.as_str()),
            host,
            target: cap(target),
            version: self.parts.version,
            agent: text(headers, &header::USER_AGENT),
            referer: text(headers, &header::REFERER),
            range: text(headers, &header::RANGE),
            cache: None,
            status: 0,
            sent: 0,
            took: Duration::ZERO,
            first_byte: None,
            cut: None,
        }
    }
}

/// Returns a header as text, however wrong it is, and not longer than [`LONGEST`].
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let bytes = headers.get(name)?.as_bytes();
    let bytes = bytes.get(..LONGEST).unwrap_or(bytes);
    Some(String::from_utf8_lossy(bytes).into_owned())
}

fn cap(text: &str) -> String {
    let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= LONGEST).last();
    match text.len() <= LONGEST {
        true => text.to_owned(),
        false => text.get(..end.unwrap_or_default()).unwrap_or_default().to_owned(),
    }
}
