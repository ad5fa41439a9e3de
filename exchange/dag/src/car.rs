//! CAR archives: a header with roots, then blocks one after another.
//!
//! Reading is streaming and trusts nothing: every block is hashed, every length is bounded before memory is
//! asked for, and an error says at which byte and for which CID. Version 2 is read by finding the version 1
//! inside; its index is not used. Written is version 1.

mod write;

use std::io::{self, BufReader, Read};

use bytes::Bytes as Buf;
use cid::Cid;
use pop_units::Bytes;
use serde::{Deserialize, Serialize};

use crate::block::{Block, BlockError, MAX_BLOCK};

pub use self::write::{CarWriter, ExportError, export};

/// Largest header: room for some twenty-five thousand roots.
pub const MAX_HEADER: Bytes = Bytes::MIB;
/// Longest binary CID: version, codec, hash code, length, and a digest of 64 bytes.
const MAX_CID: u64 = 64 + 4 * 10;
/// Largest section: a CID and a block.
const MAX_SECTION: u64 = MAX_BLOCK.get() + MAX_CID;
/// What follows the first 11 bytes of version 2: characteristics, offset and size of the data, index offset.
const V2_HEADER: usize = 40;
const V2_PRAGMA: u64 = 11;
/// Lengths are read byte by byte; blocks of this size and more pass the buffer by.
const BUFFER: usize = 64 << 10;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarError {
    /// The archive ends where it must not.
    #[error("archive is cut short at byte {offset}")]
    Truncated {
        /// Where it ends.
        offset: u64,
    },
    /// The header is none.
    #[error("no archive header at byte {offset}: {reason}")]
    Header {
        /// Where the header starts.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The version is neither 1 nor 2.
    #[error("archive version {0} is not read")]
    Version(u64),
    /// There are no roots, so that nothing says what the archive is for.
    #[error("archive has no roots")]
    NoRoots,
    /// A section has a length that no block can have.
    #[error("section at byte {offset} has impossible length {len}")]
    SectionLength {
        /// Where the section starts.
        offset: u64,
        /// The length it states.
        len: u64,
    },
    /// A length is not a minimal varint.
    #[error("length at byte {offset} is malformed")]
    Varint {
        /// Where the length starts.
        offset: u64,
    },
    /// A section does not start with a CID.
    #[error("section at byte {offset} does not start with a CID")]
    Cid {
        /// Where the section starts.
        offset: u64,
    },
    /// A block is not what its CID says.
    #[error("section at byte {offset} is not block {}", source.cid())]
    Block {
        /// Where the section starts.
        offset: u64,
        /// Why not, and the CID.
        #[source]
        source: BlockError,
    },
    /// The reader gave an error.
    #[error("archive could not be read at byte {offset}")]
    Read {
        /// How far reading came.
        offset: u64,
        /// The error.
        #[source]
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    roots: Option<Vec<Cid>>,
    version: u64,
}

/// Reads an archive, block by block.
#[derive(Debug)]
pub struct CarReader<R> {
    input: Counted<R>,
    roots: Vec<Cid>,
    /// Where the blocks end; the index of version 2 follows.
    end: u64,
}

impl<R: Read> CarReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is no archive of version 1 or 2, or one without roots.
    pub fn new(input: R) -> Result<Self, CarError> {
        let mut input = Counted { input: BufReader::with_capacity(BUFFER, input), offset: 0 };
        let mut header = read_header(&mut input)?;
        let mut end = u64::MAX;
        if header.version == 2 {
            end = enter_v2(&mut input)?;
            header = read_header(&mut input)?;
        }
        if header.version != 1 {
            return Err(CarError::Version(header.version));
        }
        let roots = header.roots.unwrap_or_default();
        if roots.is_empty() {
            return Err(CarError::NoRoots);
        }
        Ok(Self { input, roots, end })
    }

    /// Returns the roots, never none.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// Returns how many bytes were read so far.
    pub const fn offset(&self) -> u64 {
        self.input.offset
    }

    /// Returns the next block, hashed and found right; `None` at the end.
    ///
    /// # Errors
    /// The archive is cut short or damaged, or the reader gives an error.
    pub fn next_block(&mut self) -> Result<Option<Block>, CarError> {
        let offset = self.input.offset;
        if offset == self.end {
            return Ok(None);
        }
        let Some(len) = self.input.varint()? else {
            // Version 2 states where its data ends; version 1 ends where the input does.
            return if self.end == u64::MAX { Ok(None) } else { Err(CarError::Truncated { offset }) };
        };
        let fits = self.input.offset.checked_add(len).is_some_and(|end| end <= self.end);
        if len == 0 || len > MAX_SECTION || !fits {
            return Err(CarError::SectionLength { offset, len });
        }
        let section = Buf::from(self.input.exactly(len)?);
        let mut rest = section.as_ref();
        let cid = Cid::read_bytes(&mut rest).map_err(|_| CarError::Cid { offset })?;
        let data = section.slice(section.len() - rest.len()..);
        Block::verified(cid, data).map(Some).map_err(|source| CarError::Block { offset, source })
    }
}

fn read_header<R: Read>(input: &mut Counted<R>) -> Result<Header, CarError> {
    let offset = input.offset;
    let fault = |reason| CarError::Header { offset, reason };
    let len = input.varint()?.ok_or(CarError::Truncated { offset })?;
    if len == 0 || len > MAX_HEADER.get() {
        return Err(fault("impossible length"));
    }
    let bytes = input.exactly(len)?;
    serde_ipld_dagcbor::from_slice(&bytes).map_err(|_| fault("not the dag-cbor map of an archive"))
}

/// Reads the fixed header of version 2 and skips to its data; returns where the data ends.
fn enter_v2<R: Read>(input: &mut Counted<R>) -> Result<u64, CarError> {
    let offset = input.offset;
    let fault = |reason| CarError::Header { offset, reason };
    if offset != V2_PRAGMA {
        return Err(fault("not the 11 bytes that version 2 starts with"));
    }
    let bytes = input.exactly(u64::try_from(V2_HEADER).unwrap_or(u64::MAX))?;
    let number = |at: usize| {
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(number)
    };
    let (data_offset, data_size) = (number(16), number(24));
    let end = data_offset.checked_add(data_size).ok_or_else(|| fault("data ends beyond 64 bits"))?;
    let padding = data_offset.checked_sub(input.offset).ok_or_else(|| fault("data overlaps header"))?;
    input.skip(padding)?;
    Ok(end)
}

/// A reader that knows how far it is.
#[derive(Debug)]
struct Counted<R> {
    input: BufReader<R>,
    offset: u64,
}

impl<R: Read> Counted<R> {
    /// Reads a varint; `None` when the input ends before its first byte.
    fn varint(&mut self) -> Result<Option<u64>, CarError> {
        let offset = self.offset;
        let mut bytes = [0; 10];
        for at in 0..bytes.len() {
            let Some(byte) = self.byte()? else {
                return if at == 0 { Ok(None) } else { Err(CarError::Truncated { offset: self.offset }) };
            };
            bytes[at] = byte;
            if byte & 0x80 == 0 {
                let taken = crate::codec::proto::take_varint(&bytes[..=at]);
                return taken.map(|(value, _)| Some(value)).map_err(|_| CarError::Varint { offset });
            }
        }
        Err(CarError::Varint { offset })
    }

    fn byte(&mut self) -> Result<Option<u8>, CarError> {
        let mut byte = [0];
        loop {
            match self.input.read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(CarError::Read { offset: self.offset, source }),
            }
        }
        self.offset = self.offset.saturating_add(1);
        Ok(Some(byte[0]))
    }

    /// Reads `len` bytes; callers have bounded it.
    fn exactly(&mut self, len: u64) -> Result<Vec<u8>, CarError> {
        let mut bytes = Vec::with_capacity(Bytes::new(len).as_usize());
        let read = self.input.by_ref().take(len).read_to_end(&mut bytes);
        self.advance(len, read.map(|_| Bytes::of(&bytes).get()))?;
        Ok(bytes)
    }

    fn skip(&mut self, len: u64) -> Result<(), CarError> {
        let skipped = io::copy(&mut self.input.by_ref().take(len), &mut io::sink());
        self.advance(len, skipped)
    }

    fn advance(&mut self, wanted: u64, read: io::Result<u64>) -> Result<(), CarError> {
        let read = read.map_err(|source| CarError::Read { offset: self.offset, source })?;
        self.offset = self.offset.saturating_add(read);
        if read == wanted { Ok(()) } else { Err(CarError::Truncated { offset: self.offset }) }
    }
}

#[cfg(test)]
mod tests;
