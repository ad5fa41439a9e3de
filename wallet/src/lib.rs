//! The wallet's face: keys, one payer, one payee and one collector over durable rows and a chain.
//!
//! What decides lies below in `pop-payments` and `pop-ledger`; here it meets the disk and the chain, always in
//! the same order: decide, write down durably, then let it out. It starts no tasks and reads no clock; the
//! node calls [`Wallet::tick`] often enough.

mod book;
mod collect;
mod entry;
mod error;
mod outbox;
mod paid;
mod paying;
mod report;
mod rows;
mod spent;
mod wallet;

pub use crate::collect::TickReport;
pub use crate::error::WalletError;
pub use crate::paid::Accepted;
pub use crate::paying::Lanehold;
pub use crate::report::{ChannelEarnings, ChannelPhase, ChannelSummary, Earnings};
pub use crate::rows::Direction;
pub use crate::spent::Hour;
pub use crate::wallet::{KeySummary, Policy, Wallet};

pub use pop_payments::payee::{Expect, Refusal, View};

#[cfg(test)]
mod tests;
