//! What can go wrong, told apart by what the caller can do about it.

use std::io;
use std::path::PathBuf;

use cid::Cid;
use pop_units::Bytes;

/// What a full store has run out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The capacity the operator gave the store.
    Capacity,
    /// The file system under it.
    Disk,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Capacity => "capacity",
            Self::Disk => "disk",
        })
    }
}

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the repository open.
    #[error("{path:?} is in use by {}", holder(*.pid))]
    InUse {
        /// What is locked.
        path: PathBuf,
        /// The process that locked it, where it left its number.
        pid: Option<u32>,
    },
    /// Files are there but cannot be trusted, and nothing here may throw them away.
    #[error("{path:?} is damaged: {what}")]
    Damaged {
        /// What is damaged.
        path: PathBuf,
        /// The fault, and what to do about it.
        what: String,
    },
    /// The operating system refused.
    #[error("opening {path:?}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// A block operation failed while opening.
    #[error("reading the blocks")]
    Blocks(#[from] Error),
    /// A state operation failed while opening.
    #[error("reading the state")]
    State(#[source] StateError),
}

impl From<StateError> for OpenError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Damaged { path, what } => Self::Damaged { path, what },
            StateError::InUse { path } => Self::InUse { path, pid: None },
            other => Self::State(other),
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Why a block operation did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no room; what was stored before is as it was.
    #[error("the store is full: {need} needed, {free} of its {limit} free")]
    Full {
        /// What the operation needed.
        need: Bytes,
        /// What there was.
        free: Bytes,
        /// Of what.
        limit: Limit,
    },
    /// It could not be kept even if everything went that may go by itself.
    #[error("{size} is more than the {capacity} that the store could ever have free")]
    TooLarge {
        /// What should be kept.
        size: Bytes,
        /// What there could be: the capacity less what is pinned and a slack for compaction.
        capacity: Bytes,
    },
    /// Bytes on disk are not what was written.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// Where, and how it shows.
        what: String,
    },
    /// The operating system refused.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// The durable state refused.
    #[error("writing the state")]
    State(#[from] StateError),
    /// A ref was called complete but blocks of it are not here.
    #[error("the DAG is not complete: {missing} is missing")]
    Incomplete {
        /// The first block found missing.
        missing: Cid,
    },
    /// The staging was committed or discarded through another handle.
    #[error("staging {name:?} is no longer open")]
    NoStaging {
        /// Its name.
        name: String,
    },
    /// No ref has this root.
    #[error("no ref has the root {root}")]
    NoRef {
        /// The root asked for.
        root: Cid,
    },
    /// A name does not fit its row.
    #[error("a name of {length} bytes is over the limit of {limit}")]
    LongName {
        /// How long it is.
        length: usize,
        /// How long it may be.
        limit: usize,
    },
    /// A block is larger than any peer would take.
    #[error("block {cid} is {size}, more than {}", pop_dag::MAX_BLOCK)]
    LargeBlock {
        /// The block.
        cid: Cid,
        /// Its size.
        size: Bytes,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// Returns a closure for `map_err` that tells a full disk from other faults.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { need: Bytes::new(1), free: Bytes::ZERO, limit: Limit::Disk }
            }
            _ => Self::Io { doing, source },
        }
    }

    /// Returns true where more room would help.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } | Self::TooLarge { .. } => true,
            Self::State(error) => error.is_full(),
            _ => false,
        }
    }
}

/// Why the durable state did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another process has the state open.
    #[error("{path:?} is in use by another process")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The database cannot be trusted.
    #[error("{path:?} is damaged: {what}")]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// The fault, and what to do about it.
        what: String,
    },
    /// A row is larger than the database can hold safely.
    #[error("a {what} of {length} bytes is over the limit of {limit}")]
    TooLarge {
        /// Key, value or table.
        what: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        limit: usize,
    },
    /// A row does not read as what it should be.
    #[error("a row of table {table} does not read: {what}")]
    Row {
        /// The table.
        table: &'static str,
        /// The decoder's words.
        what: String,
    },
    /// The operating system refused.
    #[error("{path:?}")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// Its answer.
        #[source]
        source: io::Error,
    },
}

impl StateError {
    /// Returns true where more room would help.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::InUse { .. } | Self::Damaged { .. } | Self::TooLarge { .. } | Self::Row { .. } => false,
        }
    }
}

/// Why a journal did not open or append.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file is no journal of a version known here.
    #[error("{path:?} is no journal")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A record that was once synced does not read.
    #[error("{path:?} is damaged at byte {offset}; restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the bad record starts.
        offset: u64,
    },
    /// A record is over the limit.
    #[error("a record of {length} bytes is over the limit of {limit}")]
    TooLarge {
        /// How long it is.
        length: usize,
        /// How long it may be.
        limit: usize,
    },
    /// The operating system refused.
    #[error("{path:?}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Its answer.
        #[source]
        source: io::Error,
    },
}
