//! What must hold when segments, hints and journals are read, whatever bytes a disk gives back.
//!
//! The fuzz targets call it with bytes of their own and the tests with the committed corpus; it is compiled for
//! these two alone. Each function asserts, and leaves its files behind in `dir` for the next call to replace.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use cid::Cid;
use cid::multihash::Multihash;

use crate::bytes_at::{index, length, u32_at, u64_at};
use crate::record::{PUT, TOMBSTONE};
use crate::scan::{Found, Scan};
use crate::segment::Segment;
use crate::{Journal, hint, scan};

const ID: u32 = 0;
/// The fields of a record as its table states them, apart from the code that reads them elsewhere.
const HEAD: usize = 64;
const INLINE: usize = 40;
const CRC: std::ops::Range<usize> = 12..16;
const MULTIHASH: usize = 24;

/// Scans a segment of these bytes and holds the result against a naive reading of the same.
///
/// # Panics
/// The scan fails, keeps a record that it must not keep, misses one, or does not give the same once its
/// torn tail is cut off, or once it was written to a hint and read back.
pub fn segment(dir: &Path, bytes: &[u8]) {
    let segment = open(dir, bytes);
    let seen = scan::scan(&segment).expect("a file that is there is scanned");
    assert_eq!(seen, naive(bytes));
    for found in &seen.found {
        let sound = scan::sound(&segment, found).expect("a record inside the file is read");
        assert!(sound.is_some(), "a record without its checksum was found at {}", found.offset);
    }
    let headers = scan::headers(&segment).expect("headers inside the file are read");
    if !seen.hole && seen.good == length(bytes) {
        assert_eq!(headers.as_ref(), Some(&seen.found));
    }
    let rest = bytes.get(..index(seen.good)).expect("the good part lies inside");
    let cut = open(dir, rest);
    assert_eq!(scan::scan(&cut).expect("what is left is scanned"), seen);
    hint::write(dir, ID, seen.good, &seen.found).expect("a hint is written");
    assert_eq!(hint::read(dir, ID, seen.good), Some(seen.found));
}

/// Reads these bytes as the hint of a segment of the length that they state.
///
/// # Panics
/// An entry lies outside the segment, or the hint does not say the same once it was written anew.
pub fn hint(dir: &Path, bytes: &[u8]) {
    let len = u64_at(bytes, 8);
    write(&hint::path(dir, ID), bytes);
    assert_eq!(hint::read(dir, ID, len.wrapping_add(1)), None, "the hint of another length is taken");
    let Some(found) = hint::read(dir, ID, len) else { return };
    for entry in &found {
        let end = entry.offset.checked_add(entry.span()).expect("an entry ends within 64 bits");
        assert!(end <= len, "an entry at {} lies outside", entry.offset);
    }
    hint::write(dir, ID, len, &found).expect("a hint is written");
    assert_eq!(hint::read(dir, ID, len), Some(found));
}

/// Opens a journal of these bytes, appends to it and opens it again.
///
/// # Panics
/// Records change or go once the journal was taken for good.
pub fn journal(dir: &Path, bytes: &[u8]) {
    let path = dir.join("journal");
    write(&path, bytes);
    let Ok((journal, mut records)) = Journal::open(&path) else { return };
    journal.append(b"one more").expect("an open journal takes a record");
    drop(journal);
    records.push(b"one more".to_vec());
    let (_, again) = Journal::open(&path).expect("a journal that was opened opens again");
    assert_eq!(again, records);
}

/// Makes checksums and digests of a fuzzed segment right again, so that mutations reach what lies behind them.
pub fn mend_segment(bytes: &mut [u8], seed: u32) {
    let mut choice = Choice(seed);
    let mut at = 0;
    while at + HEAD <= bytes.len() {
        let span = record_span(bytes, at).filter(|(.., end)| *end <= bytes.len());
        let Some((rest, payload, end)) = span else {
            at += 8;
            continue;
        };
        if choice.next().is_multiple_of(4) {
            mend_digest(bytes, at, (payload, end));
        }
        if !choice.next().is_multiple_of(8) {
            let crc = checksum(bytes, at, (rest, payload, end));
            bytes[at + CRC.start..at + CRC.end].copy_from_slice(&crc.to_le_bytes());
        }
        at = end.next_multiple_of(8);
    }
}

/// Makes the checksum at the end of a fuzzed hint right again.
pub fn mend_hint(bytes: &mut [u8]) {
    if let Some(end) = bytes.len().checked_sub(4) {
        let crc = crc32c::crc32c(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Makes the checksums of a fuzzed journal right again.
pub fn mend_journal(bytes: &mut [u8], seed: u32) {
    let mut choice = Choice(seed);
    let mut at = 8;
    while let Some(head) = bytes.get(at..at + 16) {
        let end = at + 16 + index(u64::from(u32_at(head, 0)));
        let crc = bytes.get(at + 8..end).map(|covered| {
            let len = crc32c::crc32c(&head[..4]);
            crc32c::crc32c_append(len, covered)
        });
        match crc {
            Some(crc) => {
                if !choice.next().is_multiple_of(8) {
                    bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
                }
                at = end.next_multiple_of(8);
            }
            None => at += 8,
        }
    }
}

/// A few bits of choice from a seed.
struct Choice(u32);

impl Choice {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 16
    }
}

fn open(dir: &Path, bytes: &[u8]) -> Segment {
    write(&Segment::path(dir, ID), bytes);
    Segment::open(dir, ID).expect("a segment that was just written opens")
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the folder takes a file");
}

/// Reads the segment one place after the other: what a scan must give.
fn naive(bytes: &[u8]) -> Scan {
    let (mut scan, mut at, mut seq, mut skipped) = (Scan::default(), 0, 0, false);
    while at < bytes.len() {
        let record = record(bytes, at).filter(|(found, ..)| !skipped || is_proven(bytes, found, seq));
        let Some((found, end)) = record else {
            skipped = true;
            at += 8;
            continue;
        };
        seq = seq.max(found.seq);
        at = end;
        scan.hole |= skipped;
        scan.good = u64::try_from(end).unwrap_or(u64::MAX);
        if found.kind == PUT || found.kind == TOMBSTONE {
            scan.found.push(found);
        }
    }
    scan
}

/// Returns where the rest of the multihash starts, where the payload does and where it ends.
fn record_span(bytes: &[u8], at: usize) -> Option<(usize, usize, usize)> {
    let head = bytes.get(at..at.checked_add(HEAD)?)?;
    let (kind, hash_len, flags) = (head[5], usize::from(head[6]), head[7]);
    let rest = hash_len.saturating_sub(INLINE);
    let len = u32_at(head, 8);
    let is_head = head.starts_with(b"POPB\x01") && kind > 0 && hash_len > 0 && flags == u8::from(rest > 0);
    let payload = at + HEAD + rest;
    (is_head && len <= 16 << 20).then(|| (at + HEAD, payload, payload + index(u64::from(len))))
}

/// Reads the record at `at`, if there is a good one, and where the next one starts.
fn record(bytes: &[u8], at: usize) -> Option<(Found, usize)> {
    let (rest, payload, end) = record_span(bytes, at)?;
    let next = end.next_multiple_of(8);
    let head = &bytes[at..at + HEAD];
    let is_good = next <= bytes.len() && checksum(bytes, at, (rest, payload, end)) == u32_at(head, CRC.start);
    is_good.then(|| {
        let hash_len = usize::from(head[6]);
        let inline = &head[MULTIHASH..MULTIHASH + hash_len.min(INLINE)];
        let found = Found {
            kind: head[5],
            multihash: [inline, &bytes[rest..payload]].concat(),
            offset: u64::try_from(at).unwrap_or(u64::MAX),
            len: u32_at(head, 8),
            seq: u64_at(head, 16),
        };
        (found, next)
    })
}

fn checksum(bytes: &[u8], at: usize, (rest, payload, end): (usize, usize, usize)) -> u32 {
    let mut covered = VecDeque::from(bytes[payload..end].to_vec());
    covered.extend(&bytes[rest..payload]);
    covered.extend(&bytes[at..at + CRC.start]);
    covered.extend([0; 4]);
    covered.extend(&bytes[at + CRC.end..at + HEAD]);
    crc32c::crc32c(covered.make_contiguous())
}

/// Returns true for what may be kept behind a hole: a block that is what its multihash says.
fn is_proven(bytes: &[u8], found: &Found, seq: u64) -> bool {
    let Ok(multihash) = Multihash::<64>::from_bytes(&found.multihash) else { return false };
    let end = index(found.offset) + HEAD + found.multihash.len().saturating_sub(INLINE);
    let data = bytes[end..end + index(u64::from(found.len))].to_vec();
    let is_ours = found.kind == PUT && found.seq <= seq.saturating_add(1 << 32);
    is_ours && pop_dag::Block::verified(Cid::new_v1(0x55, multihash), data.into()).is_ok()
}

/// Writes the sha2-256 multihash of the payload into the header at `at`, where one of that length stands.
fn mend_digest(bytes: &mut [u8], at: usize, (payload, end): (usize, usize)) {
    if bytes[at + 6] == 34 {
        let data = bytes[payload..end].to_vec();
        let block = pop_dag::Block::of(pop_dag::Codec::Raw, data.into());
        bytes[at + MULTIHASH..at + MULTIHASH + 34].copy_from_slice(&block.cid().hash().to_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replays the corpus of a target through `check`.
    fn replay(target: &str, check: impl Fn(&Path, &[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/fuzz").join(target);
        let dir = tempfile::tempdir().unwrap();
        let mut files = 0;
        for file in fs::read_dir(corpus).unwrap() {
            check(dir.path(), &fs::read(file.unwrap().path()).unwrap());
            files += 1;
        }
        assert!(files > 0, "no corpus for {target}");
    }

    #[test]
    fn segments_of_the_corpus_are_scanned_as_a_naive_reader_would() {
        replay("segment", segment);
    }

    #[test]
    fn hints_of_the_corpus_never_point_outside_their_segment() {
        replay("hint", hint);
    }

    #[test]
    fn journals_of_the_corpus_keep_their_records() {
        replay("journal", journal);
    }
}
