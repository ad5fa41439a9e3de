//! Which cached ref goes when room is needed.
//!
//! A store asks a [`Policy`] three things: whether to keep what it is about to fetch, what to give up when it
//! needs room, and it tells the policy what was used. Policies are plain values of integers, so that they can be
//! replayed over recorded traces, run as [`Shadows`] beside the real one and be compared exactly.
//!
//! Nothing here touches a disk, reads a clock or knows what a block is. The owner's pinned refs never enter a
//! policy: the store keeps them to itself and lowers the capacity by what they take.
//!
//! | policy | in one line |
//! |---|---|
//! | [`Aged`] | probation queue, frequency with ageing by size, ghosts that remember: the default |
//! | [`Lru`] | the least recently used goes |
//! | [`S3Fifo`] | small and main queue with a two-bit count and a ghost |
//! | [`Sieve`] | one queue and a hand that spares what was visited |
//! | [`Lfu`] | plain frequency; only a baseline for comparison |

mod aged;
mod choice;
mod id;
mod journal;
mod lfu;
mod lru;
mod policy;
mod ranking;
mod s3_fifo;
mod saved;
mod shadows;
mod sieve;
mod worth;

pub use crate::aged::Aged;
pub use crate::choice::{Choice, ParseChoiceError};
pub use crate::id::Id;
pub use crate::lfu::Lfu;
pub use crate::lru::Lru;
pub use crate::policy::{Admission, Policy, Usage};
pub use crate::s3_fifo::S3Fifo;
pub use crate::saved::{Change, Ghost, Head, Record, Resident, Saved, Segment};
pub use crate::shadows::{Shadows, Tally};
pub use crate::sieve::Sieve;
pub use crate::worth::Worth;
