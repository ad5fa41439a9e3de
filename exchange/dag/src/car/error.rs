//! What can be wrong with an archive.

use std::io;

use crate::block::BlockError;

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
    /// A number in the fixed header of version 2 contradicts the rest.
    #[error("archive header states {value} at byte {offset}: {reason}")]
    Layout {
        /// Where the number stands.
        offset: u64,
        /// The number.
        value: u64,
        /// What it contradicts.
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
    /// A section reaches beyond the data that the header of version 2 states.
    #[error("section at byte {offset} of length {len} reaches beyond the data, which end at byte {end}")]
    BeyondData {
        /// Where the section starts.
        offset: u64,
        /// The length it states.
        len: u64,
        /// Where the data end.
        end: u64,
    },
    /// What was taken for null padding holds something else.
    #[error("padding from byte {from} holds data at byte {offset}")]
    Padding {
        /// Where the padding starts.
        from: u64,
        /// The first byte that is not zero.
        offset: u64,
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
