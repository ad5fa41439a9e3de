//! Requests that two servers would read differently: whoever is in front of this one must not be led astray.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::door::PATIENCE;
use super::upload::TOKEN;
use super::wire::{End, Until, connect, talk};
use super::{Bench, Case, listed};

/// A second request that must never be answered.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

/// A shape, what it is called, and the statuses that are right.
type Shape = (&'static str, String, &'static [u16]);

/// Sends every shape and counts the answers.
pub(super) fn shapes(bench: &Bench) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (what, request, expected) in lengths(bench).into_iter().chain(chunks(bench)) {
        let stream = connect(bench.door.at, Ipv4Addr::new(127, 0, 0, 31))?;
        let pieces = std::iter::once(request.into_bytes());
        let heard = talk(stream, pieces, Until::Silence, PATIENCE)?;
        let (status, answers) = (heard.status(), heard.answers());
        let is_ok = expected.contains(&status) && answers <= 1 && heard.end != End::Answered;
        let seen = format!("{status}, {answers} answers, {:?}", heard.end);
        let seen = if is_ok { seen } else { format!("{seen}: {:?}", heard.head()) };
        cases.push(Case::new(what, format!("{} and no second answer", listed(expected)), seen, is_ok));
    }
    let small = bench.door.small_path();
    let twice = bench.door.get(&small, "").repeat(2);
    let stream = connect(bench.door.at, Ipv4Addr::new(127, 0, 0, 31))?;
    let heard = talk(stream, std::iter::once(twice), Until::Silence, PATIENCE)?;
    let answers = heard.answers();
    cases.push(Case::new("two requests at once", "2 answers", format!("{answers} answers"), answers == 2));
    Ok(cases)
}

/// Lengths that contradict each other or are no numbers.
fn lengths(bench: &Bench) -> Vec<Shape> {
    let (at, small) = (bench.door.at, bench.door.small_path());
    let get = |more: &str, body: &str| format!("GET {small} HTTP/1.1\r\nHost: {at}\r\n{more}\r\n{body}");
    let post = |more: &str, body: &str| {
        format!("POST / HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {TOKEN}\r\n{more}\r\n{body}")
    };
    let ended = format!("0\r\n\r\n{HIDDEN}");
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    let bodied = format!("Content-Length: {}\r\n", HIDDEN.len());
    let two = "Content-Length: 0\r\nContent-Length: 39\r\n";
    let five = |value: &str| format!("Content-Length: {value}\r\n");
    // Where a body has both, RFC 9112 (6.1) allows to go by the chunks and then to close.
    vec![
        ("GET with length and chunks", get(both, &ended), &[400, 413]),
        ("POST with length and chunks", post(both, &ended), &[400, 201]),
        (
            "POST with chunks and length",
            post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &ended),
            &[400, 201],
        ),
        ("GET whose body is a request", get(&bodied, HIDDEN), &[413]),
        ("GET with two lengths", get(two, HIDDEN), &[400]),
        ("POST with two lengths", post(two, HIDDEN), &[400]),
        ("POST with a list of lengths", post(&five("5, 6"), "hello"), &[400]),
        ("POST with a length of +5", post(&five("+5"), "hello"), &[400]),
        ("POST with a length of -1", post(&five("-1"), "hello"), &[400]),
        ("POST with a length of 0x5", post(&five("0x5"), "hello"), &[400]),
        ("POST with an empty length", post(&five(""), "hello"), &[400]),
        ("POST with a length above 64 bits", post(&five("99999999999999999999999"), "hello"), &[400]),
        ("POST with the largest length", post(&five("18446744073709551615"), "hello"), &[400, 413, 431]),
        ("a space before the colon", get("Content-Length : 39\r\n", HIDDEN), &[400]),
        ("a tab before the colon", get("Transfer-Encoding\t: chunked\r\n", &ended), &[400]),
    ]
}

/// Codings and chunks that are not what they should be.
fn chunks(bench: &Bench) -> Vec<Shape> {
    let at = bench.door.at;
    let head = |coding: &str, version: &str| {
        format!(
            "POST / HTTP/{version}\r\nHost: {at}\r\nAuthorization: Bearer {TOKEN}\r\nTransfer-Encoding: {coding}\r\n\r\n"
        )
    };
    let coded = |coding: &str| format!("{}0\r\n\r\n{HIDDEN}", head(coding, "1.1"));
    let chunk = |chunk: &str| format!("{}{chunk}\r\n0\r\n\r\n{HIDDEN}", head("chunked", "1.1"));
    let trailers = "X-Trailer: x\r\n".repeat(10_000);
    let extension = format!("5;{}\r\nhello", "x".repeat(1 << 20));
    vec![
        ("a coding that is not known", coded("xchunked"), &[400, 501]),
        ("chunked not at the end", coded("chunked, identity"), &[400, 501]),
        (
            "chunked twice",
            format!("{}5\r\n0\r\n\r\n\r\n0\r\n\r\n", head("chunked, chunked", "1.1")),
            &[400, 501, 201],
        ),
        ("identity", coded("identity"), &[400, 501]),
        ("a vertical tab in the coding", coded("\x0bchunked"), &[400, 501]),
        ("chunks in HTTP/1.0", format!("{}0\r\n\r\n{HIDDEN}", head("chunked", "1.0")), &[400]),
        ("a size above 64 bits", chunk("fffffffffffffffff1\r\nhello"), &[400, 0]),
        ("the largest size", chunk("ffffffffffffffff\r\nhello"), &[400, 408, 413, 0]),
        ("a negative size", chunk("-1\r\nhello"), &[400, 0]),
        ("a size of 0x5", chunk("0x5\r\nhello"), &[400, 0]),
        ("an empty size", chunk("\r\nhello"), &[400, 0]),
        ("a size that is too small", chunk("3\r\nhello"), &[400, 0]),
        ("an extension of 1 MiB", chunk(&extension), &[400, 0]),
        (
            "10,000 trailers",
            format!("{}5\r\nhello\r\n0\r\n{trailers}\r\n", head("chunked", "1.1")),
            &[400, 431, 0],
        ),
    ]
}
