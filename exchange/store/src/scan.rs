//! Reading a segment from its first record to its last, whatever state a crash left it in.
//!
//! Records after the first bad one are looked for: when there is none the bad one is a torn tail, which was
//! never acknowledged; when there is one the file has a hole. A block's payload may look like a record (a
//! peer can send one that does), so behind a hole only blocks whose bytes hash to their multihash count.

use std::io;

use cid::Cid;
use cid::multihash::Multihash;

use crate::record::{HEADER, HEADER_LEN, Header, PUT, TOMBSTONE};
use crate::segment::Segment;

/// A record found in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: u8,
    pub(crate) multihash: Vec<u8>,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) seq: u64,
}

impl Found {
    /// Returns the bytes it takes in its segment.
    pub(crate) fn span(&self) -> u64 {
        crate::record::span(self.multihash.len(), self.len)
    }
}

/// What a scan saw.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) found: Vec<Found>,
    /// The end of the last good record.
    pub(crate) good: u64,
    /// True when there were bad bytes before the last good record.
    pub(crate) hole: bool,
}

/// A sequence number this far above its predecessor is no number this store gave out.
const SEQ_JUMP: u64 = 1 << 32;
const WINDOW: u64 = 1 << 20;

/// Reads every record with its CRC.
pub(crate) fn scan(segment: &Segment) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let (mut at, mut seq) = (0, 0);
    while at < segment.len() {
        let record = match read(segment, at)? {
            Some((found, span)) if !scan.hole => Some((found, span)),
            Some((found, span)) if proven(segment, &found, seq)? => Some((found, span)),
            Some(_) | None => None,
        };
        if let Some((found, span)) = record {
            seq = seq.max(found.seq);
            at += span;
            scan.good = at;
            scan.found.push(found);
            continue;
        }
        match resume(segment, at + 8, seq)? {
            Some(next) => (at, scan.hole) = (next, true),
            None => break,
        }
    }
    scan.found.retain(|found| found.kind == PUT || found.kind == TOMBSTONE);
    Ok(scan)
}

/// Reads the headers only, of a segment this process wrote; `None` when they do not chain up to its end.
pub(crate) fn headers(segment: &Segment) -> io::Result<Option<Vec<Found>>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < segment.len() {
        let Some((header, head)) = header(segment, at)? else { return Ok(None) };
        let multihash = header.multihash(head.get(HEADER_LEN..).unwrap_or(&[]));
        if header.kind == PUT || header.kind == TOMBSTONE {
            found.push(Found {
                kind: header.kind,
                multihash,
                offset: at,
                len: header.payload_len,
                seq: header.seq,
            });
        }
        at += header.span();
    }
    Ok(Some(found))
}

/// Reads where the records are, by their headers if those chain up, and else by all their bytes.
pub(crate) fn records(segment: &Segment) -> io::Result<Vec<Found>> {
    match headers(segment)? {
        Some(found) => Ok(found),
        None => Ok(scan(segment)?.found),
    }
}

/// Returns the bytes of a record if they are still what was written.
pub(crate) fn sound(segment: &Segment, found: &Found) -> io::Result<Option<Vec<u8>>> {
    let bytes = segment.read(found.offset, found.span())?;
    let checked = bytes.split_at_checked(HEADER_LEN).and_then(|(head, body)| {
        let header = Header::parse(head)?;
        let (multihash, _) = header.check(body)?;
        Some(header.seq == found.seq && multihash == found.multihash)
    });
    Ok((checked == Some(true)).then_some(bytes))
}

/// Reads the header at `at` and the rest of its multihash, if a whole record fits there.
fn header(segment: &Segment, at: u64) -> io::Result<Option<(Header, Vec<u8>)>> {
    let room = segment.len().saturating_sub(at);
    if room < HEADER {
        return Ok(None);
    }
    let mut head = segment.read(at, HEADER)?;
    let Some(header) = Header::parse(&head).filter(|header| header.span() <= room) else { return Ok(None) };
    let rest = header.body_len() - u64::from(header.payload_len);
    head.extend_from_slice(&segment.read(at + HEADER, rest)?);
    Ok(Some((header, head)))
}

/// Reads the record at `at` if it is a good one.
fn read(segment: &Segment, at: u64) -> io::Result<Option<(Found, u64)>> {
    let Some((header, _)) = header(segment, at)? else { return Ok(None) };
    let body = segment.read(at + HEADER, header.body_len())?;
    Ok(header.check(&body).map(|(multihash, _)| {
        let (kind, len, seq) = (header.kind, header.payload_len, header.seq);
        (Found { kind, multihash, offset: at, len, seq }, header.span())
    }))
}

/// Returns true for a block that is what its multihash says, so that it cannot do harm wherever it lay.
fn proven(segment: &Segment, found: &Found, seq: u64) -> io::Result<bool> {
    const RAW: u64 = 0x55;
    if found.kind != PUT || found.seq > seq.saturating_add(SEQ_JUMP) {
        return Ok(false);
    }
    let Ok(multihash) = Multihash::<64>::from_bytes(&found.multihash) else { return Ok(false) };
    let at = found.offset + payload_offset(found);
    let data = segment.read(at, u64::from(found.len))?;
    Ok(pop_dag::Block::verified(Cid::new_v1(RAW, multihash), data.into()).is_ok())
}

fn payload_offset(found: &Found) -> u64 {
    u64::try_from(crate::record::payload_at(found.multihash.len())).unwrap_or(HEADER)
}

/// Returns the next offset from `from` on that holds a proven record.
fn resume(segment: &Segment, from: u64, seq: u64) -> io::Result<Option<u64>> {
    let mut start = from;
    while start < segment.len() {
        let window = segment.read(start, WINDOW.min(segment.len() - start))?;
        for step in (0..window.len()).step_by(8) {
            if !window.get(step..).is_some_and(|bytes| bytes.starts_with(b"POPB")) {
                continue;
            }
            let at = start + u64::try_from(step).unwrap_or(0);
            if let Some((found, _)) = read(segment, at)?
                && proven(segment, &found, seq)?
            {
                return Ok(Some(at));
            }
        }
        start += WINDOW;
    }
    Ok(None)
}
