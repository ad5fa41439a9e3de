//! The index of version 2 in the form `MultihashIndexSorted` (multicodec 0x0401).
//!
//! Groups by hash function, inside them by width, inside them digests with the offsets of their sections,
//! sorted. The counts of groups and the length of a group *in bytes* are what `go-car` writes and reads; the
//! specification leaves out the former and speaks of a number of entries for the latter.

use std::collections::BTreeMap;
use std::io::{self, Write};

use cid::Cid;

use crate::block::identity;
use crate::codec::proto::put_varint;

const MULTIHASH_INDEX_SORTED: u64 = 0x0401;
/// An offset follows each digest.
const OFFSET: usize = 8;

/// Where each block of an archive stands. Takes 40 bytes of memory for a block whose digest has 32 bytes, and
/// up to twice as much while it grows: 160 MiB for a TiB of 256 KiB blocks.
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<u64, BTreeMap<usize, Group>>);

/// Entries of one hash function and one width, kept flat for the two widths that there are in practice.
#[derive(Debug)]
enum Group {
    Of32(Vec<([u8; 32], u64)>),
    Of64(Vec<([u8; 64], u64)>),
    Other(Vec<(Box<[u8]>, u64)>),
}

impl Index {
    /// Notes that the section of a block starts `offset` bytes behind the start of the data.
    ///
    /// Identity CIDs are left out: who looks one up has its data already.
    pub(super) fn add(&mut self, cid: &Cid, offset: u64) {
        if identity(cid).is_some() {
            return;
        }
        let digest = cid.hash().digest();
        let widths = self.0.entry(cid.hash().code()).or_default();
        widths.entry(digest.len()).or_insert_with(|| Group::new(digest.len())).add(digest, offset);
    }

    /// Sorts and writes the index.
    pub(super) fn write(self, output: &mut impl Write) -> io::Result<()> {
        let mut code = Vec::new();
        put_varint(&mut code, MULTIHASH_INDEX_SORTED);
        output.write_all(&code)?;
        output.write_all(&number(self.0.len())?.to_le_bytes())?;
        for (code, widths) in self.0 {
            output.write_all(&code.to_le_bytes())?;
            output.write_all(&number(widths.len())?.to_le_bytes())?;
            for (digest, group) in widths {
                group.write(digest + OFFSET, output)?;
            }
        }
        Ok(())
    }
}

impl Group {
    const fn new(width: usize) -> Self {
        match width {
            32 => Self::Of32(Vec::new()),
            64 => Self::Of64(Vec::new()),
            _ => Self::Other(Vec::new()),
        }
    }

    fn add(&mut self, digest: &[u8], offset: u64) {
        match self {
            Self::Of32(entries) => {
                let mut key = [0; 32];
                key.copy_from_slice(digest);
                entries.push((key, offset));
            }
            Self::Of64(entries) => {
                let mut key = [0; 64];
                key.copy_from_slice(digest);
                entries.push((key, offset));
            }
            Self::Other(entries) => entries.push((digest.into(), offset)),
        }
    }

    fn write(self, width: usize, output: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Of32(entries) => sorted(entries, width, output),
            Self::Of64(entries) => sorted(entries, width, output),
            Self::Other(entries) => sorted(entries, width, output),
        }
    }
}

/// Writes one group; two sections of the same digest keep their order.
fn sorted<D: AsRef<[u8]> + Ord>(
    mut entries: Vec<(D, u64)>,
    width: usize,
    output: &mut impl Write,
) -> io::Result<()> {
    entries.sort_unstable();
    let bytes = entries.len().checked_mul(width).and_then(|bytes| u64::try_from(bytes).ok());
    output.write_all(&number(width)?.to_le_bytes())?;
    output.write_all(&bytes.ok_or(io::ErrorKind::FileTooLarge)?.to_le_bytes())?;
    entries.iter().try_for_each(|(digest, offset)| {
        output.write_all(digest.as_ref())?;
        output.write_all(&offset.to_le_bytes())
    })
}

fn number(count: usize) -> io::Result<u32> {
    u32::try_from(count).map_err(|_| io::ErrorKind::FileTooLarge.into())
}
