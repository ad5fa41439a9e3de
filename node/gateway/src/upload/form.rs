//! What the head of an upload says: one file or a form, and how it is to be kept.

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::multipart::Parser;
use crate::content::{Codec, Order};
use crate::refusal::Refusal;

/// Copies that may be asked for.
const MOST_COPIES: u8 = 12;

/// What the body is.
#[derive(Debug)]
pub(crate) enum Form {
    /// The content of one file.
    Raw,
    /// Several files.
    Multipart(Parser),
}

/// Reads the head of an upload.
pub(crate) fn read(headers: &HeaderMap) -> Result<(Form, Order), Refusal> {
    check_encoding(headers)?;
    let form = match single(headers, &header::CONTENT_TYPE)?.and_then(boundary) {
        None => Form::Raw,
        Some(boundary) => {
            let parser = Parser::new(&boundary).map_err(|broken| bad(broken.to_string()))?;
            Form::Multipart(parser)
        }
    };
    let codec = codec(headers)?;
    let directory = match form {
        Form::Raw => None,
        Form::Multipart(_) => Some(codec),
    };
    Ok((form, Order { directory, replication: replication(headers)? }))
}

/// Refuses a request. Not to be remembered: what is kept for a POST to `/` would be answered to a GET.
pub(crate) fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, message)
}

/// Returns the boundary of `multipart/form-data`, which is empty when missing; `None` for every other type.
fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let found = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        name.trim().eq_ignore_ascii_case("boundary").then(|| bare.to_owned())
    });
    Some(found.unwrap_or_default())
}

/// What is encoded would be kept as it came, which nobody means.
fn check_encoding(headers: &HeaderMap) -> Result<(), Refusal> {
    match single(headers, &header::CONTENT_ENCODING)? {
        Some(encoding) if !encoding.trim().eq_ignore_ascii_case("identity") => {
            let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "an upload is not compressed");
            Err(refusal.hint("leave Content-Encoding out"))
        }
        _ => Ok(()),
    }
}

/// Reads `Codec-Type`. Of an upload that is one file it says nothing, but nonsense is refused there too.
fn codec(headers: &HeaderMap) -> Result<Codec, Refusal> {
    let name = HeaderName::from_static("codec-type");
    match single(headers, &name)?.map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        None => Ok(Codec::default()),
        Some("dagpb" | "dag-pb") => Ok(Codec::DagPb),
        Some("dagcbor" | "dag-cbor") => Ok(Codec::DagCbor),
        Some(other) => {
            Err(bad(format!("Codec-Type {other:?} is none")).hint("there are dag-pb and dag-cbor"))
        }
    }
}

fn replication(headers: &HeaderMap) -> Result<u8, Refusal> {
    let name = HeaderName::from_static("content-replication");
    let Some(text) = single(headers, &name)?.map(str::trim) else { return Ok(0) };
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let copies = text.parse().ok().filter(|copies| is_number && *copies <= MOST_COPIES);
    copies.ok_or_else(|| bad(format!("Content-Replication {text:?} is no number from 0 to {MOST_COPIES}")))
}

/// Returns the value of a header that may stand once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), more) = (values.next(), values.next()) else { return Ok(None) };
    match (value.to_str(), more) {
        (Ok(text), None) => Ok(Some(text)),
        (_, Some(_)) => Err(bad(format!("{name} stands twice"))),
        (Err(_), None) => Err(bad(format!("{name} is not ASCII"))),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn order(rows: &[(&'static str, &'static str)]) -> Result<Order, StatusCode> {
        let mut headers = HeaderMap::new();
        for (name, value) in rows {
            headers.append(*name, HeaderValue::from_static(value));
        }
        read(&headers).map(|(_, order)| order).map_err(|refusal| refusal.status)
    }

    #[test]
    fn the_head_says_what_is_to_be_done() {
        let raw = |replication| Ok(Order { directory: None, replication });
        let form = |codec, replication| Ok(Order { directory: Some(codec), replication });
        let multipart = ("content-type", "multipart/form-data; boundary=x");
        let bad = Err(StatusCode::BAD_REQUEST);
        let rows: &[(&[(&str, &str)], _)] = &[
            (&[], raw(0)),
            (&[("content-type", "application/x-www-form-urlencoded")], raw(0)),
            (&[("content-type", "multipart/mixed; boundary=x")], raw(0)),
            (&[("content-type", "nonsense")], raw(0)),
            (&[("content-replication", "12"), ("codec-type", "dagcbor")], raw(12)),
            (&[multipart], form(Codec::DagPb, 0)),
            (
                &[("content-type", "Multipart/Form-Data ; charset=utf-8; Boundary=\"a b\"")],
                form(Codec::DagPb, 0),
            ),
            (&[multipart, ("codec-type", "dag-pb")], form(Codec::DagPb, 0)),
            (&[multipart, ("codec-type", "dagpb"), ("content-replication", " 3 ")], form(Codec::DagPb, 3)),
            (&[multipart, ("codec-type", "DagCBOR")], form(Codec::DagCbor, 0)),
            (&[multipart, ("codec-type", "dag-cbor")], form(Codec::DagCbor, 0)),
            (&[multipart, ("codec-type", "dag-json")], bad),
            (&[("codec-type", "dag-json")], bad),
            (&[multipart, ("codec-type", "dagpb"), ("codec-type", "dagpb")], bad),
            (&[("content-replication", "13")], bad),
            (&[("content-replication", "-1")], bad),
            (&[("content-replication", "+1")], bad),
            (&[("content-replication", "")], bad),
            (&[("content-replication", "two")], bad),
            (&[("content-replication", "257")], bad),
            (&[("content-type", "multipart/form-data")], bad),
            (&[("content-type", "multipart/form-data; boundary=")], bad),
            (&[("content-type", "multipart/form-data; boundary=\"a")], bad),
            (&[("content-encoding", "gzip")], Err(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
            (&[("content-encoding", "identity")], raw(0)),
        ];
        for (headers, expected) in rows {
            assert_eq!(order(headers), *expected, "{headers:?}");
        }
    }
}
