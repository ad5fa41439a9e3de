//! Reading a segment from its first record to its last, whatever state a crash left it in.
//!
//! Records after the first bad one are looked for: when there is none the bad one is a torn tail, which was
//! never acknowledged; when there is one the file has a hole. A block's payload may look like a record (a
//! peer can send one that does), so behind a hole only blocks whose bytes hash to their multihash count.

use std::io;

use cid::Cid;
use cid::multihash::Multihash;

use crate::bytes_at::{index, length};
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
/// The header and the longest multihash: all that is read of a record that is only counted.
const GLANCE: u64 = HEADER + 256;

/// A piece of a segment in memory, so that small records do not cost a system call each.
struct Window<'a> {
    segment: &'a Segment,
    start: u64,
    bytes: Vec<u8>,
    ahead: u64,
}

impl<'a> Window<'a> {
    /// Looks at a segment, reading at least `ahead` bytes at a time.
    fn new(segment: &'a Segment, ahead: u64) -> Self {
        Self { segment, start: 0, bytes: Vec::new(), ahead }
    }

    /// Returns the bytes of a piece; `None` when it is not all inside the segment.
    fn get(&mut self, at: u64, len: u64) -> io::Result<Option<&[u8]>> {
        let room = self.segment.len().saturating_sub(at);
        if len > room {
            return Ok(None);
        }
        let is_here = at >= self.start && at + len <= self.start + length(&self.bytes);
        if !is_here {
            self.segment.read_into(&mut self.bytes, at, len.max(self.ahead).min(room))?;
            self.start = at;
        }
        let from = index(at - self.start);
        Ok(self.bytes.get(from..from + index(len)))
    }

    /// Reads the header at `at` and the whole multihash, if a whole record fits there.
    fn header(&mut self, at: u64) -> io::Result<Option<(Header, Vec<u8>)>> {
        let Some(header) = self.get(at, HEADER)?.and_then(Header::parse) else { return Ok(None) };
        if header.span() > self.segment.len().saturating_sub(at) {
            return Ok(None);
        }
        let rest = header.body_len() - u64::from(header.payload_len);
        let multihash = self.get(at + HEADER, rest)?.map(|rest| header.multihash(rest));
        Ok(multihash.map(|multihash| (header, multihash)))
    }

    /// Reads the record at `at` if it is a good one, and returns it with what it takes.
    fn record(&mut self, at: u64) -> io::Result<Option<(Found, u64)>> {
        let Some(header) = self.get(at, HEADER)?.and_then(Header::parse) else { return Ok(None) };
        if header.span() > self.segment.len().saturating_sub(at) {
            return Ok(None);
        }
        let body = self.get(at + HEADER, header.body_len())?.unwrap_or(&[]);
        Ok(header.check(body).map(|(multihash, _)| {
            let (kind, len, seq) = (header.kind, header.payload_len, header.seq);
            (Found { kind, multihash, offset: at, len, seq }, header.span())
        }))
    }
}

/// Reads every record with its CRC.
pub(crate) fn scan(segment: &Segment) -> io::Result<Scan> {
    let (mut scan, mut window) = (Scan::default(), Window::new(segment, WINDOW));
    let (mut at, mut seq) = (0, 0);
    while at < segment.len() {
        let record = match window.record(at)? {
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
    let (mut found, mut at, mut window) = (Vec::new(), 0, Window::new(segment, GLANCE));
    while at < segment.len() {
        let Some((header, multihash)) = window.header(at)? else { return Ok(None) };
        let (kind, len, seq) = (header.kind, header.payload_len, header.seq);
        if kind == PUT || kind == TOMBSTONE {
            found.push(Found { kind, multihash, offset: at, len, seq });
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
            if let Some((found, _)) = Window::new(segment, 0).record(at)?
                && proven(segment, &found, seq)?
            {
                return Ok(Some(at));
            }
        }
        start += WINDOW;
    }
    Ok(None)
}
