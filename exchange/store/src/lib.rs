//! The store: blocks in append-only segment files, the refs that keep them, and durable state for the node.
//!
//! Segment files are the truth and the sled index over them is a cache that any doubt throws away, because
//! sled alone loses acknowledged blocks on a power cut, keeps every block in memory and never gives space
//! back. What must not be lost besides blocks (refs, stagings, the wallet's rows) lives in a second sled,
//! [`State`], which is only trusted after a flush and an own fsync.
//!
//! Calls block; callers use a thread pool. Nothing here reads a clock, spawns a task or prints.
//!
//! | file | holds |
//! |---|---|
//! | `blocks/segs/*.seg`, `*.hint` | blocks (see the `record` module for the bytes) and what a sealed segment holds |
//! | `blocks/index/` | sled: multihash to place and number of refs; disposable |
//! | `blocks/CLEAN` | exists only after an orderly stop; without it the index is rebuilt |
//! | `blocks/lock` | locked by the one process that has the store open |
//! | `state/` | sled: refs, stagings and the rows of other rooms; not disposable |

mod ballast;
mod bytes_at;
mod cache;
mod clean;
mod close;
mod commit;
mod compact;
mod error;
mod evict;
mod figures;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod hint;
mod hold;
mod index;
mod journal;
mod log;
mod open;
mod reach;
mod record;
mod refs;
mod removal;
mod room;
mod scan;
mod segment;
mod serve;
mod staging;
mod state;
mod store;
mod tail;
mod verify;
mod whole;

#[cfg(test)]
mod tests;

pub use crate::compact::Compacted;
pub use crate::error::{Error, JournalError, Limit, OpenError, StateError};
pub use crate::figures::{Figures, ShadowFigures};
pub use crate::hold::Held;
pub use crate::journal::Journal;
pub use crate::open::OpenReport;
pub use crate::refs::{Brief, Ref, RefKey};
pub use crate::room::Room;
pub use crate::serve::Serve;
pub use crate::staging::Staging;
pub use crate::state::{Batch, Row, State};
pub use crate::store::{Options, Store};
pub use crate::verify::{Damage, Verified};
pub use pop_evict::{Choice, Tally, Usage};
