//! CAR archives: a header with roots, then blocks one after another.
//!
//! Reading is streaming and trusts nothing: every block is hashed, every length is bounded before memory is
//! asked for, and an error says at which byte and for which CID. Version 2 is read by finding the version 1
//! inside; padding is skipped and its index is not used, so a pipe does as well as a file. Written is version 1,
//! or version 2 with an index.
//!
//! Version 1 does not say how long it is: an archive that was cut exactly between two blocks reads like a whole
//! one. Only a walk from the roots shows that blocks are missing. Nothing else that is cut goes unnoticed, and
//! version 2 states its size. Null padding, which some tools for Filecoin pieces leave behind version 1, is
//! refused unless the caller allows it: a file system can leave the same zeros where data was lost.

mod error;
mod export;
mod frame;
mod header;
mod index;
mod input;
mod write;

use std::fmt;
use std::io::Read;
use std::str::FromStr;

use cid::Cid;
use pop_units::Bytes;

pub use self::error::CarError;
pub use self::export::{ExportError, Gaps, Part, export};
pub use self::frame::{header, section_head};
pub use self::write::CarWriter;

use self::input::Input;
use crate::block::{Block, BlockError, MAX_BLOCK};

/// Largest header: room for some twenty-five thousand roots.
pub const MAX_HEADER: Bytes = Bytes::MIB;
/// Longest binary CID: version, codec, hash code, length, and a digest of 64 bytes.
const MAX_CID: u64 = 64 + 4 * 10;
/// Largest section: a CID and a block.
const MAX_SECTION: u64 = MAX_BLOCK.get() + MAX_CID;

/// The versions of the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// A header and blocks.
    #[default]
    V1,
    /// Version 1 inside, with its size before it and an index behind it.
    V2,
}

/// A text that is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("archives have version 1 or 2")]
pub struct VersionError;

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "1",
            Self::V2 => "2",
        })
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        match text {
            "1" => Ok(Self::V1),
            "2" => Ok(Self::V2),
            _ => Err(VersionError),
        }
    }
}

/// Where a section stands, and the length it states.
#[derive(Clone, Copy, Debug)]
struct Section {
    offset: u64,
    len: u64,
}

/// Reads an archive, block by block. It buffers: give it the file or the pipe itself.
#[derive(Debug)]
pub struct CarReader<R> {
    input: Input<R>,
    version: Version,
    roots: Vec<Cid>,
    /// Where the blocks end as version 2 states it; version 1 ends where the input does.
    end: Option<u64>,
    null_padding: bool,
    /// The start of a section, with its CID.
    head: Vec<u8>,
    /// No block follows: the end, or an error after which nothing can be read.
    over: bool,
}

impl<R: Read> CarReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is no archive of version 1 or 2, or one without roots.
    pub fn new(input: R) -> Result<Self, CarError> {
        let mut input = Input::new(input);
        let (mut version, mut end) = (Version::V1, None);
        let mut header = header::read(&mut input, u64::MAX)?;
        if header.version == 2 {
            let data = header::enter_v2(&mut input)?;
            (version, end) = (Version::V2, Some(data));
            let offset = input.offset;
            header = header::read(&mut input, data)?;
            if header.version != 1 {
                return Err(CarError::Header { offset, reason: "inside version 2 is not version 1" });
            }
        }
        if header.version != 1 {
            return Err(CarError::Version(header.version));
        }
        let roots = header.roots.unwrap_or_default();
        if roots.is_empty() {
            return Err(CarError::NoRoots);
        }
        Ok(Self { input, version, roots, end, null_padding: false, head: Vec::new(), over: false })
    }

    /// Takes a section of length zero for the end, if only zeros follow it.
    #[must_use]
    pub const fn allow_null_padding(mut self) -> Self {
        self.null_padding = true;
        self
    }

    /// Returns the roots, never none. Whether their blocks are in the archive is not known before its end.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// Returns the version.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Returns how many bytes were read so far.
    pub const fn offset(&self) -> u64 {
        self.input.offset
    }

    /// Returns the next block, hashed and found right; `None` at the end. A block that the archive holds twice
    /// comes twice, and one under an identity CID comes as well.
    ///
    /// # Errors
    /// The archive is cut short or damaged, or the reader gives an error. Nothing follows an error.
    pub fn next_block(&mut self) -> Result<Option<Block>, CarError> {
        if self.over {
            return Ok(None);
        }
        let next = self.section();
        self.over = !matches!(next, Ok(Some(_)));
        next
    }

    /// Reads and drops what follows the blocks, such as an index, so that who writes into a pipe can finish.
    ///
    /// # Errors
    /// The reader gives an error.
    pub fn skip_rest(&mut self) -> Result<(), CarError> {
        self.over = true;
        loop {
            match self.input.ahead()?.len() {
                0 => return Ok(()),
                len => self.input.consume(len),
            }
        }
    }

    fn section(&mut self) -> Result<Option<Block>, CarError> {
        let offset = self.input.offset;
        if self.end == Some(offset) {
            return Ok(None);
        }
        let Some(len) = self.input.varint()? else {
            return if self.end.is_none() { Ok(None) } else { Err(CarError::Truncated { offset }) };
        };
        if len == 0 && self.null_padding {
            return self.padding(offset).map(|()| None);
        }
        if len == 0 {
            return Err(CarError::SectionLength { offset, len });
        }
        if let Some(end) = self.end
            && self.input.offset.checked_add(len).is_none_or(|after| after > end)
        {
            return Err(CarError::BeyondData { offset, len, end });
        }
        // The CID first, so that the data get a place of their own size, and nothing is kept beside them.
        self.head.clear();
        let whole = self.input.append(len.min(MAX_CID), &mut self.head)?;
        let mut rest = self.head.as_slice();
        let cid = Cid::read_bytes(&mut rest);
        let used = Bytes::of(&self.head).get() - Bytes::of(rest).get();
        match cid {
            Ok(cid) => self.block(cid, used, Section { offset, len }),
            Err(_) if len > MAX_SECTION => Err(CarError::SectionLength { offset, len }),
            Err(_) if !whole => Err(CarError::Truncated { offset: self.input.offset }),
            Err(_) => Err(CarError::Cid { offset }),
        }
    }

    /// Reads the data of a section whose CID took `used` bytes.
    fn block(&mut self, cid: Cid, used: u64, section: Section) -> Result<Option<Block>, CarError> {
        let Section { offset, len } = section;
        let size = Bytes::new(len.saturating_sub(used));
        if size > MAX_BLOCK {
            return Err(CarError::Block { offset, source: BlockError::TooLarge { cid, size } });
        }
        let mut data = Vec::with_capacity(size.as_usize());
        data.extend_from_slice(&self.head[Bytes::new(used).as_usize()..]);
        let left = size.get() - Bytes::of(&data).get();
        if !self.input.append(left, &mut data)? {
            return Err(CarError::Truncated { offset: self.input.offset });
        }
        Block::verified(cid, data.into()).map(Some).map_err(|source| CarError::Block { offset, source })
    }

    /// Sees to it that nothing but zeros follows up to the end.
    fn padding(&mut self, from: u64) -> Result<(), CarError> {
        loop {
            let (at, end) = (self.input.offset, self.end);
            let left = end.map_or(u64::MAX, |end| end.saturating_sub(at));
            let ahead = self.input.ahead()?;
            let len = ahead.len().min(Bytes::new(left).as_usize());
            if let Some(found) = ahead[..len].iter().position(|byte| *byte != 0) {
                let offset = at.saturating_add(Bytes::of(&ahead[..found]).get());
                return Err(CarError::Padding { from, offset });
            }
            match len {
                0 if left == 0 || end.is_none() => return Ok(()),
                0 => return Err(CarError::Truncated { offset: at }),
                _ => self.input.consume(len),
            }
        }
    }
}

#[cfg(test)]
mod tests;
