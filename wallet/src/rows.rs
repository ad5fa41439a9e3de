//! The rows in which the wallet remembers channels, lanes and messages over restarts.

use pop_keys::{Address, ChainId};
use pop_payments::{ExitCode, MessageError, SignedMessage};
use pop_units::{AttoFil, Bytes, ChainEpoch, Lane, Nonce};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::WalletError;

/// The names of one chain's tables.
///
/// Each chain has its own: a channel is money on its chain only, and to every other chain it looks like one
/// that is gone. A node that comes back to a chain finds everything as it left it.
pub(crate) struct Tables {
    pub(crate) channels: String,
    pub(crate) lanes: String,
    pub(crate) outbox: String,
    pub(crate) nonces: String,
    pub(crate) books: String,
    pub(crate) spent: String,
}

impl Tables {
    pub(crate) fn of(chain: &ChainId) -> Self {
        let name = |kind| format!("wallet-{kind}/{chain}");
        Self {
            channels: name("channel"),
            lanes: name("lane"),
            outbox: name("outbox"),
            nonces: name("nonce"),
            books: name("books"),
            spent: name("spent"),
        }
    }
}

/// Which way the money of a channel goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To us.
    Inbound,
    /// From us.
    Outbound,
}

/// How far a channel's life has come, as far as it must be remembered; settling is read off the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// The message that creates it is written down; whether it was sent stands in the outbox.
    Creating,
    /// It is on chain.
    Open,
    /// It was paid out and is gone.
    Closed,
    /// It was never created.
    Failed(ExitCode),
}

/// One channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ChannelRow {
    pub(crate) direction: Direction,
    pub(crate) stage: Stage,
    /// Unknown until it is created.
    pub(crate) address: Option<Address>,
    pub(crate) id: Option<Address>,
    pub(crate) from: Address,
    pub(crate) to: Address,
    /// The money in it, as last seen.
    pub(crate) balance: AttoFil,
    /// What its vouchers redeemed, as last seen.
    pub(crate) to_send: AttoFil,
    /// Zero while nobody settles.
    pub(crate) settling_at: ChainEpoch,
    pub(crate) first_seen: ChainEpoch,
    /// Renewed now and then only, so that watching does not write all the time.
    pub(crate) last_seen: ChainEpoch,
    /// What was paid out at the end.
    pub(crate) settled: AttoFil,
}

/// One lane: its last voucher and the one before.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LaneRow {
    pub(crate) nonce: Nonce,
    pub(crate) amount: AttoFil,
    /// Bytes that its vouchers paid for.
    pub(crate) bytes: Bytes,
    #[serde(with = "serde_bytes")]
    pub(crate) best: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub(crate) previous: Vec<u8>,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    Pay,
    Create { channel: u64 },
    TopUp { channel: u64 },
    Submit { channel: u64, lane: Lane, nonce: Nonce },
    Settle { channel: u64 },
    Collect { channel: u64 },
}

impl Purpose {
    pub(crate) fn channel(self) -> Option<u64> {
        match self {
            Self::Pay => None,
            Self::Create { channel }
            | Self::TopUp { channel }
            | Self::Submit { channel, .. }
            | Self::Settle { channel }
            | Self::Collect { channel } => Some(channel),
        }
    }
}

/// A signed message from before it is sent until its receipt is in the books.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OutboxRow {
    #[serde(with = "serde_bytes")]
    message: Vec<u8>,
    pub(crate) purpose: Purpose,
    pub(crate) pushed: bool,
}

impl OutboxRow {
    pub(crate) fn new(message: &SignedMessage, purpose: Purpose) -> Self {
        Self { message: message.to_bytes(), purpose, pushed: false }
    }

    pub(crate) fn message(&self) -> Result<SignedMessage, MessageError> {
        SignedMessage::from_bytes(&self.message)
    }
}

pub(crate) fn number_key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

pub(crate) fn lane_key(channel: u64, lane: Lane) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&channel.to_be_bytes());
    key[8..].copy_from_slice(&lane.get().to_be_bytes());
    key
}

/// Reads the big-endian number at one of the places of a key.
pub(crate) fn number_of(key: &[u8], place: usize) -> Result<u64, WalletError> {
    let bytes = key.get(place * 8..place * 8 + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or(WalletError::Damaged("row key"))
}

pub(crate) fn encode(row: &impl Serialize) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(row).expect("rows are plain values")
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, WalletError> {
    serde_ipld_dagcbor::from_slice(bytes).map_err(|_| WalletError::Damaged(what))
}
