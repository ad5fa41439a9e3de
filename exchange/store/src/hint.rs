//! The hint file of a sealed segment: what it holds, so that a rebuild need not read it.
//!
//! Without hints a rebuild on a spinning disk costs a seek per record. A hint that does not read, or that
//! speaks of another length of its segment, is ignored and the segment is scanned instead.
//!
//! Layout, little-endian: magic `POPH`, version u8 = 1, zeros 3, segment length u64, number of entries u64;
//! per entry kind u8, multihash length u8, zeros 2, payload length u32, offset u64, sequence u64,
//! multihash; at the end a CRC-32C u32 over all before it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::bytes_at::{field, index, replace_file, u32_at, u64_at};
use crate::scan::Found;

const MAGIC: [u8; 8] = *b"POPH\x01\0\0\0";
const HEAD: usize = 24;
const ENTRY: usize = 24;

/// Returns the file name of a segment's hint.
pub(crate) fn path(dir: &Path, id: u32) -> PathBuf {
    dir.join(format!("{id:08x}.hint"))
}

/// Writes the hint of a segment of `len` bytes, durably.
pub(crate) fn write(dir: &Path, id: u32, len: u64, found: &[Found]) -> io::Result<()> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&u64::try_from(found.len()).unwrap_or(u64::MAX).to_le_bytes());
    for entry in found {
        let multihash_len = u8::try_from(entry.multihash.len()).unwrap_or(u8::MAX);
        out.extend_from_slice(&[entry.kind, multihash_len, 0, 0]);
        out.extend_from_slice(&entry.len.to_le_bytes());
        out.extend_from_slice(&entry.offset.to_le_bytes());
        out.extend_from_slice(&entry.seq.to_le_bytes());
        out.extend_from_slice(&entry.multihash);
    }
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    replace_file(&path(dir, id), &out)
}

/// Reads the hint of a segment of `len` bytes; `None` when there is no good one.
pub(crate) fn read(dir: &Path, id: u32, len: u64) -> Option<Vec<Found>> {
    let bytes = fs::read(path(dir, id)).ok()?;
    let (body, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if crc32c::crc32c(body) != u32_at(crc, 0) || !body.starts_with(&MAGIC) || u64_at(body, 8) != len {
        return None;
    }
    let count = index(u64_at(body, 16));
    let (mut found, mut at) = (Vec::new(), HEAD);
    while at < body.len() {
        let head = body.get(at..at.checked_add(ENTRY)?)?;
        let [kind, multihash_len] = field(head, 0);
        let end = at + ENTRY + usize::from(multihash_len);
        let multihash = body.get(at + ENTRY..end)?.to_vec();
        let (offset, seq) = (u64_at(head, 8), u64_at(head, 16));
        let record = crate::record::span(multihash.len(), u32_at(head, 4));
        if offset.checked_add(record)? > len {
            return None;
        }
        found.push(Found { kind, multihash, offset, len: u32_at(head, 4), seq });
        at = end;
    }
    (found.len() == count).then_some(found)
}
