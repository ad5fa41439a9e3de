//! Files, directories and symlinks as blocks, and back.
//!
//! Import gives the CIDs that a profile promises (IPIP-0499), whoever runs it; export writes nothing outside
//! the place it was pointed at. Memory is bounded by one chunk and one unfinished node per level of a file,
//! and by the entries of the directories on the way to the file at hand.

mod attributes;
mod chunker;
mod directory;
mod export;
mod file;
mod file_node;
mod hamt;
mod listing;
pub(crate) mod node;
mod profile;
mod read;
mod reader;
mod rules;
pub(crate) mod shard;
mod sniff;
mod tree;
mod trickle;
mod write;

pub mod tx_root;

use cid::Cid;
use pop_units::Bytes;

pub use self::attributes::{Attributes, attributes};
pub use self::directory::{MAX_NAME, directory};
pub use self::export::{Outside, Tree, TreeOptions, check_tree, leads_outside};
pub use self::file::{Content, add_content, add_file};
pub use self::file_node::{FileNode, Holder};
pub use self::listing::{Listing, MAX_LIST, Outline, Position, list, lookup};
pub use self::node::Kind;
pub use self::profile::{Estimate, MAX_CHUNK, Profile};
pub use self::read::{EntryKind, ResolveError, Resolved, resolve, symlink_target};
pub use self::reader::{FileReader, MAX_FILE_DEPTH, read_range, write_file};
pub use self::rules::{Chunker, ChunkerError, Layout, Rules};
pub use self::tree::add_path;
pub use self::write::write_tree;

use crate::codec::CodecError;
use crate::source::{SinkError, SourceError};

/// Deepest tree of directories that is imported or exported: both recurse, and no path of usual length
/// gets there.
pub const MAX_TREE_DEPTH: u32 = 128;

/// What an import made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// The root of what was added.
    pub cid: Cid,
    /// Bytes of file content.
    pub size: Bytes,
    /// Size of the DAG as links state it: every block as often as it is linked.
    pub tsize: Bytes,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// The entry's root.
    pub cid: Cid,
    /// Size of the entry's DAG.
    pub tsize: Bytes,
}

/// Why content could not be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The parameters cannot be met, such as empty chunks or nodes of one link.
    #[error("the profile's parameters are impossible")]
    Profile,
    /// The reader gave an error.
    #[error("the content could not be read")]
    Read(#[source] std::io::Error),
    /// A file or directory could not be read.
    #[error("{path:?} could not be read")]
    Io {
        /// The file or directory.
        path: std::path::PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// Something is neither file, directory nor symlink.
    #[error("{path:?} is a {what}")]
    Special {
        /// What it is about.
        path: std::path::PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// A name or a symlink's target is not UTF-8.
    #[error("the name or symlink target of {path:?} is not UTF-8")]
    NotUtf8 {
        /// What it is about.
        path: std::path::PathBuf,
    },
    /// A file changed while it was read.
    #[error("{path:?} changed while it was read")]
    Changed {
        /// The file.
        path: std::path::PathBuf,
    },
    /// Directories are nested above [`MAX_TREE_DEPTH`].
    #[error("{path:?} lies deeper than {MAX_TREE_DEPTH} directories")]
    TooDeep {
        /// The directory.
        path: std::path::PathBuf,
    },
    /// A name cannot be an entry of a directory.
    #[error("{name:?} cannot be the name of an entry")]
    Name {
        /// The name.
        name: String,
    },
    /// A name stands twice in one directory.
    #[error("{name:?} stands twice in one directory")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A directory does not fit one block of the form asked for.
    #[error("a directory of {entries} entries does not fit one block")]
    TooLarge {
        /// How many entries it has.
        entries: usize,
    },
    /// Sizes do not add up to 64 bits.
    #[error(transparent)]
    Overflow(#[from] pop_units::Overflow),
    /// The blocks could not be kept.
    #[error("a block could not be kept")]
    Sink(#[from] SinkError),
}

/// Why content could not be listed or exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A block is not here.
    #[error("block {cid} is not here")]
    Missing {
        /// The block.
        cid: Cid,
    },
    /// Blocks could not be read.
    #[error("blocks could not be read")]
    Source(#[from] SourceError),
    /// A block breaks its codec.
    #[error("block {cid} cannot be read")]
    Codec {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        #[source]
        source: CodecError,
    },
    /// A block is not of the kind that is asked for.
    #[error("{cid} is no {wanted}")]
    Kind {
        /// The block.
        cid: Cid,
        /// What was asked for.
        wanted: &'static str,
    },
    /// A node and what it links to disagree about sizes.
    #[error("{cid} does not have the size that is claimed for it")]
    Size {
        /// The node.
        cid: Cid,
    },
    /// A shard lies where its entries do not belong.
    #[error("sharded directory block {cid} is not well formed")]
    Shard {
        /// The shard.
        cid: Cid,
    },
    /// Nodes are nested deeper than any real file or directory.
    #[error("{cid} is nested too deep")]
    TooDeep {
        /// The node.
        cid: Cid,
    },
    /// A name would leave the directory it is in.
    #[error("entry name {name:?} is not written to disk")]
    Name {
        /// The name.
        name: String,
    },
    /// A symlink would lead outside the exported tree.
    #[error("symlink {path:?} leads outside, to {target:?}")]
    Link {
        /// The symlink.
        path: std::path::PathBuf,
        /// Where it leads.
        target: String,
    },
    /// Something is in the way.
    #[error("{path:?} already exists")]
    Exists {
        /// What is in the way.
        path: std::path::PathBuf,
    },
    /// The tree has more entries than the caller allows.
    #[error("there are more than {limit} entries")]
    TooMany {
        /// The limit.
        limit: u64,
    },
    /// A file or directory could not be written.
    #[error("{path:?} could not be written")]
    Io {
        /// The file or directory.
        path: std::path::PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The writer gave an error.
    #[error("the content could not be written")]
    Write(#[source] std::io::Error),
}

#[cfg(test)]
pub(crate) mod tests;
