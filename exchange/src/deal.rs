//! One deal: blocks one way, payments the other, and how far each side trusts the other meanwhile.
//!
//! The provider pushes the blocks of the scope in the one traversal order that both sides know. The client
//! verifies and stages them and pays for what it has; the provider stops before more than two intervals are
//! unpaid. Free deals are the same machine without the payments.

pub mod client;
mod debt;
mod fault;
pub mod provider;
mod schedule;

pub use crate::deal::client::Client;
pub use crate::deal::debt::{Debts, Indebted};
pub use crate::deal::fault::Fault;
pub use crate::deal::provider::Provider;
pub use crate::deal::schedule::Schedule;

use std::time::Duration;

/// How long a side may be silent when it is its turn: three TCP retransmissions and a slow disk's sync.
pub const SILENCE: Duration = Duration::from_secs(20);
/// How long the client waits for the receipt of its last payment; the content is complete by then.
pub const RECEIPT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
