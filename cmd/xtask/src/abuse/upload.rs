//! Uploads that are larger than they may be, never end, or stop in the middle.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Result;
use pop_units::Bytes;

use super::door::{Door, PATIENCE};
use super::wire::{Heard, Until, connect, talk};
use super::{Bench, Case};

/// The token of whoever attacks.
pub(super) const TOKEN: &str = "0123456789abcdef-attacker";
/// The token of somebody else.
pub(super) const OTHER: &str = "0123456789abcdef-somebody";
/// The largest body where tokens are needed.
pub(super) const LIMIT: Bytes = Bytes::new(256 << 20);
/// What a token may upload.
pub(super) const QUOTA: Bytes = Bytes::new(64 << 20);
/// The largest body where none are needed.
pub(super) const CAP: Bytes = Bytes::new(32 << 20);

const PIECE: usize = 64 << 10;
const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 33);
/// How long an upload may bring nothing, and what looking at it now and then adds.
const STALL: Duration = Duration::from_secs(40);

/// Everything beyond the bounds leaves nothing.
pub(super) fn beyond(bench: &Bench) -> Result<Vec<Case>> {
    let (door, open) = (&bench.door, &bench.open);
    let before = (door.holds()?, open.holds()?);
    let twice = |size: Bytes| size.saturating_mul(2);
    let mut cases = vec![
        sized(door, "twice the quota, with its length", TOKEN, twice(QUOTA), &[413])?,
        chunked(door, "twice the quota, in chunks", TOKEN, twice(QUOTA), &[413, 429])?,
        chunked(door, "chunks without end against the quota", TOKEN, twice(LIMIT), &[413, 429])?,
        sized(door, "twice the body cap, with its length", OTHER, twice(LIMIT), &[413])?,
        sized(open, "twice the body cap, with its length, no tokens", "", twice(CAP), &[413])?,
        chunked(open, "twice the body cap, in chunks", "", twice(CAP), &[413])?,
        chunked(open, "chunks without end", "", twice(LIMIT), &[413])?,
        sized(door, "a token that is not known", "0123456789abcdef-nobody", Bytes::MIB, &[401])?,
        sized(door, "no token", "", Bytes::MIB, &[401])?,
        quarrel(door, "a form without end of its head", &"x".repeat(1 << 20), &[400, 413])?,
        quarrel(door, "a form of 100,000 parts", &parts(100_000), &[400, 413])?,
        quarrel(
            door,
            "a part named ..",
            "Content-Disposition: form-data; name=\"f\"; filename=\"..\"\r\n\r\nx",
            &[400],
        )?,
        quarrel(
            door,
            "a part named ../../etc/x",
            "Content-Disposition: form-data; name=\"f\"; filename=\"../../etc/x\"\r\n\r\nx",
            &[400],
        )?,
    ];
    cases.extend(half(door)?);
    let after = (door.holds()?, open.holds()?);
    let seen = format!("{after:?}");
    cases.push(Case::new(
        "blocks, live bytes and roots afterwards",
        format!("{before:?}"),
        seen,
        after == before,
    ));
    cases.push(sized(door, "an upload within the quota by the same token", TOKEN, Bytes::MIB, &[201])?);
    cases.push(sized(door, "all of the quota by somebody else", OTHER, QUOTA, &[201])?);
    cases.push(sized(door, "a byte more by the same", OTHER, Bytes::new(1), &[429])?);
    Ok(cases)
}

fn head(door: &Door, token: &str, more: &str) -> String {
    let token = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    format!("POST / HTTP/1.1\r\nHost: {}\r\n{token}{more}\r\n", door.at)
}

/// Bytes that differ from piece to piece, so that they are blocks of their own.
fn piece(number: u64, salt: u8) -> Vec<u8> {
    let mut piece = vec![salt; PIECE];
    for (place, byte) in piece.iter_mut().zip(number.to_be_bytes().into_iter().cycle()).take(PIECE / 2) {
        *place = byte;
    }
    piece
}

fn pieces(size: Bytes, salt: u8) -> impl Iterator<Item = Vec<u8>> {
    let step = u64::try_from(PIECE).unwrap_or(u64::MAX);
    let count = size.get().div_ceil(step);
    (0..count).map(move |number| {
        let mut piece = piece(number, salt);
        let left = size.get().saturating_sub(number.saturating_mul(step));
        piece.truncate(usize::try_from(left).unwrap_or(PIECE));
        piece
    })
}

fn sized(door: &Door, what: &str, token: &str, size: Bytes, expected: &[u16]) -> Result<Case> {
    let head = head(door, token, &format!("Content-Length: {}\r\n", size.get()));
    let said = std::iter::once(head.into_bytes()).chain(pieces(size, b's'));
    judged(what, talk(connect(door.at, FROM)?, said, Until::Answer, PATIENCE)?, expected)
}

fn chunked(door: &Door, what: &str, token: &str, size: Bytes, expected: &[u16]) -> Result<Case> {
    let head = head(door, token, "Transfer-Encoding: chunked\r\n");
    let chunks = pieces(size, b'c').map(|piece| {
        let size = format!("{:x}\r\n", piece.len());
        [size.as_bytes(), &piece, b"\r\n"].concat()
    });
    let said = std::iter::once(head.into_bytes()).chain(chunks);
    judged(what, talk(connect(door.at, FROM)?, said, Until::Answer, PATIENCE)?, expected)
}

/// Sends a form whose parts are not in order.
fn quarrel(door: &Door, what: &str, part: &str, expected: &[u16]) -> Result<Case> {
    let body = format!("--b\r\n{part}\r\n--b--\r\n");
    let more = format!("Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n", body.len());
    let said = [head(door, TOKEN, &more).into_bytes(), body.into_bytes()];
    judged(what, talk(connect(door.at, FROM)?, said.into_iter(), Until::Answer, PATIENCE)?, expected)
}

fn parts(count: u32) -> String {
    let part = |number| {
        format!("Content-Disposition: form-data; name=\"f\"; filename=\"{number}\"\r\n\r\n\r\n--b\r\n")
    };
    let all: String = (0..count).map(part).collect();
    format!("{all}Content-Disposition: form-data; name=\"f\"; filename=\"last\"\r\n\r\n")
}

fn judged(what: &str, heard: Heard, expected: &[u16]) -> Result<Case> {
    let status = heard.status();
    let is_ok = expected.contains(&status);
    let taken = heard.said >> 20;
    let seen = if is_ok {
        format!("{status}, {taken} MiB were taken")
    } else {
        format!("{status} {:?}, {taken} MiB were taken: {:?}", heard.end, heard.head())
    };
    Ok(Case::new(what, super::listed(expected), seen, is_ok))
}

/// Leaves uploads in the middle: some close, some just stop.
fn half(door: &Door) -> Result<Vec<Case>> {
    let head = head(door, TOKEN, "Content-Length: 1000000\r\n");
    let begin = || {
        let mut stream = connect(door.at, FROM)?;
        std::io::Write::write_all(&mut stream, head.as_bytes())?;
        std::io::Write::write_all(&mut stream, &piece(0, b'h'))?;
        anyhow::Ok(stream)
    };
    for _ in 0..100 {
        drop(begin()?);
    }
    let mut stopped = Vec::new();
    for _ in 0..50 {
        stopped.push(begin()?);
    }
    let (begun, mut right, mut seen) = (Instant::now(), 0, Vec::new());
    for stream in stopped {
        let heard = talk(stream, std::iter::empty(), Until::Answer, STALL)?;
        // There are fewer places than these want.
        let is_right = matches!(heard.status(), 408 | 429);
        right += usize::from(is_right);
        seen.push(heard.status());
    }
    seen.sort_unstable();
    seen.dedup();
    let took = begun.elapsed();
    let seen = format!("{right} of 50 with {seen:?} within {:.0} s", took.as_secs_f64());
    Ok(vec![Case::new("50 uploads that stop", "408 or 429 for each", seen, right == 50 && took <= STALL)])
}
