//! HTTP/2 in raw frames: streams that are begun and reset at once (CVE-2023-44487), and heads without end.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::door::PATIENCE;
use super::wire::{End, Until, connect, talk};
use super::{Bench, Case};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
/// The stream ends, and the head with it.
const END: u8 = 0x5;
/// Streams that one client resets.
const STREAMS: u32 = 20_000;

/// Attacks that only exist where requests share a connection.
pub(super) fn resets(bench: &Bench) -> Result<Vec<Case>> {
    let head = head(bench);
    let open = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let rapid = std::iter::once(open.clone()).chain((0..STREAMS).map(|number| {
        let stream = number * 2 + 1;
        [frame(HEADERS, END, stream, &head), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    }));
    let unread = std::iter::once(open.clone())
        .chain((0..STREAMS).map(|number| frame(HEADERS, END, number * 2 + 1, &head)));
    let endless = std::iter::once([open.clone(), frame(HEADERS, 0x1, 1, &head)].concat())
        .chain((0..STREAMS).map(|_| frame(CONTINUATION, 0, 1, &literal(b'\0', &"y".repeat(100)))));
    let pings = std::iter::once(open).chain((0..200_000).map(|_| frame(PING, 0, 0, &[0; 8])));
    Ok(vec![
        cut(bench, "20,000 streams that are reset at once", rapid)?,
        cut(bench, "20,000 streams where 100 are allowed", unread)?,
        cut(bench, "a head of 20,000 continuations", endless)?,
        answered(bench, "200,000 pings", pings)?,
    ])
}

/// Says frames and expects to be cut off, or every stream refused, while memory stays small.
fn cut(bench: &Bench, what: &str, frames: impl Iterator<Item = Vec<u8>>) -> Result<Case> {
    let heard = talk(connect(bench.door.at, FROM)?, frames, Until::Silence, PATIENCE)?;
    let has_goodbye = heard.bytes.windows(4).any(|four| matches!(four, [_, 7, 0, 0]));
    let is_ok = matches!(heard.end, End::Closed | End::Reset) || has_goodbye || heard.end == End::Answered;
    let seen = format!("{:?} after {} bytes, GOAWAY {has_goodbye}", heard.end, heard.said);
    Ok(Case::new(what, "cut, or refused stream by stream", seen, is_ok))
}

/// Says frames that are allowed, however foolish: what counts is what it costs others.
fn answered(bench: &Bench, what: &str, frames: impl Iterator<Item = Vec<u8>>) -> Result<Case> {
    let heard = talk(connect(bench.door.at, FROM)?, frames, Until::Silence, PATIENCE)?;
    let seen = format!("{:?} after {} bytes", heard.end, heard.said);
    Ok(Case::new(what, "an end", seen, true))
}

const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 32);

/// A GET of the small file in HPACK without tables (RFC 7541, 6.2.2).
fn head(bench: &Bench) -> Vec<u8> {
    // `:method: GET` and `:scheme: http` of the static table.
    let mut head = vec![0x82, 0x86];
    for (index, value) in [(4, bench.door.small_path()), (1, bench.door.at.to_string())] {
        head.push(index);
        head.push(u8::try_from(value.len()).unwrap_or(0x7e));
        head.extend(value.bytes());
    }
    head
}

/// A header with a name of its own, which is not remembered.
fn literal(index: u8, value: &str) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap_or(0x7e);
    [[index, 1, b'x', length].as_slice(), value.as_bytes()].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    let [_, length @ ..] = length;
    [&length, [kind, flags].as_slice(), &stream.to_be_bytes(), payload].concat()
}
