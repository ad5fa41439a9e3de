//! Payment channels: vouchers, what payer and payee must check, when a channel moves on, and the [`Chain`]
//! that settles it.
//!
//! Accounting decides *when* money moves; a chain engine only moves it, idempotently. The machines here are
//! plain values without disk, clock or network; the wallet persists what they decide before anybody sees it.

mod amount;
mod chain;
mod channel;
mod message;
pub mod paych;
pub mod payee;
pub mod payer;
mod voucher;

pub use crate::amount::{NegativeAmount, SignedAtto};
pub use crate::chain::{Chain, ChainError, ExitCode, Head, MsgCid, Receipt, Resolved};
pub use crate::channel::{ChannelState, LaneState, predict_channel_address};
pub use crate::message::{Message, MessageError, SignedMessage};
pub use crate::voucher::{MAX_VOUCHER, Voucher, VoucherError};

pub use pop_keys::{ChainId, ChainIdError};
