//! Why a walk cannot go on.

use cid::Cid;

use crate::codec::CodecError;

/// Why a walk cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// A block cannot be read.
    #[error("block {cid} cannot be read")]
    Codec {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        #[source]
        source: CodecError,
    },
    /// The path names something that is not there.
    #[error("no entry {segment:?}")]
    NotFound {
        /// The part of the path.
        segment: String,
    },
    /// The path goes on below something that has no entries.
    #[error("{segment:?} is looked up in {cid}, which is no directory")]
    NotADirectory {
        /// The part of the path.
        segment: String,
        /// What has no entries.
        cid: Cid,
    },
    /// Links are nested above [`MAX_DEPTH`](super::MAX_DEPTH), or above what the walk was allowed.
    #[error("{cid} lies deeper than {limit} links")]
    TooDeep {
        /// The block.
        cid: Cid,
        /// How deep blocks may lie.
        limit: u32,
    },
    /// The walk visited as many blocks, or as many bytes, as it was allowed.
    #[error("the walk is longer than its budget, at {cid}")]
    TooLong {
        /// The first block that is too many.
        cid: Cid,
    },
    /// More than [`MAX_WAITING`](super::MAX_WAITING) links would wait, or more than the walk was allowed.
    #[error("{cid} has too many links")]
    TooWide {
        /// The block.
        cid: Cid,
    },
    /// Data was handed in although nothing is wanted.
    #[error("the walk is over")]
    Over,
    /// A block was to be passed over although its links matter.
    #[error("{cid} is no leaf")]
    NotALeaf {
        /// The block.
        cid: Cid,
    },
}
