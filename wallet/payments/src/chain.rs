//! The chain that settles: one trait for the embedded books and for every Filecoin node.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use cid::Cid;
use pop_keys::{Address, ChainId};
use pop_units::{AttoFil, ChainEpoch, Nonce};
use serde::{Deserialize, Serialize};

use crate::channel::ChannelState;
use crate::message::{Message, SignedMessage};

/// The CID under which a message stands on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MsgCid(Cid);

impl MsgCid {
    /// Wraps the CID.
    pub const fn new(cid: Cid) -> Self {
        Self(cid)
    }

    /// Returns the plain CID.
    pub const fn cid(&self) -> &Cid {
        &self.0
    }
}

impl fmt::Display for MsgCid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MsgCid {
    type Err = cid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// The newest state that a chain shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its height.
    pub epoch: ChainEpoch,
    /// The CIDs of its blocks.
    pub tipset: Vec<Cid>,
    /// Time from one epoch to the next.
    pub block_time: Duration,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExitCode(u32);

impl ExitCode {
    /// Done.
    pub const OK: Self = Self(0);
    /// The sender is no account, or its signature is wrong.
    pub const SYS_SENDER_INVALID: Self = Self(1);
    /// The nonce is not the sender's next.
    pub const SYS_SENDER_STATE_INVALID: Self = Self(2);
    /// The receiver does not exist or does not accept such messages.
    pub const SYS_INVALID_RECEIVER: Self = Self(5);
    /// The sender's balance does not cover the value.
    pub const SYS_INSUFFICIENT_FUNDS: Self = Self(6);
    /// A parameter breaks a rule.
    pub const USR_ILLEGAL_ARGUMENT: Self = Self(16);
    /// Something named does not exist.
    pub const USR_NOT_FOUND: Self = Self(17);
    /// The caller may not do this, or not yet.
    pub const USR_FORBIDDEN: Self = Self(18);
    /// The actor's balance does not cover it.
    pub const USR_INSUFFICIENT_FUNDS: Self = Self(19);
    /// The actor is in another state.
    pub const USR_ILLEGAL_STATE: Self = Self(20);
    /// Parameters do not decode.
    pub const USR_SERIALIZATION: Self = Self(21);
    /// The method does not exist.
    pub const USR_UNHANDLED_MESSAGE: Self = Self(22);
    /// A channel is past its settling time and takes no more updates.
    pub const PAYCH_SETTLED: Self = Self(32);

    /// Wraps the plain code.
    pub const fn new(code: u32) -> Self {
        Self(code)
    }

    /// Returns the plain code.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns true for success.
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a message did, once it is on chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// How it ended.
    pub exit: ExitCode,
    /// What it returned, as CBOR.
    pub ret: Vec<u8>,
    /// The epoch it was executed in.
    pub epoch: ChainEpoch,
    /// Gas spent.
    pub gas_used: u64,
    /// Epochs built on top of it since.
    pub confidence: u64,
}

/// The two names of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The f0 address.
    pub id: Address,
    /// The address that lasts: of an account the one that signs (f1 or f3), of another actor its f2 address.
    /// Where the node tells neither, the address that was asked for.
    pub key: Address,
}

/// Why a chain gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The node cannot be reached or did not answer in time; the same call may be repeated.
    #[error("chain node does not answer: {0}")]
    Unreachable(String),
    /// The node answered with something that is no answer.
    #[error("chain node answers nonsense: {0}")]
    Protocol(String),
    /// The node belongs to another chain than the wallet.
    #[error("chain node serves {got}, this wallet is bound to {want}")]
    WrongChain {
        /// The wallet's chain.
        want: ChainId,
        /// The node's chain.
        got: String,
    },
    /// The address has no actor.
    #[error("{0} is not on chain")]
    UnknownActor(Address),
    /// The node refuses the message for good: the same bytes will never pass.
    #[error("message refused: {reason}")]
    Rejected {
        /// The node's words, shortened.
        reason: String,
    },
    /// The message's nonce is taken by another one.
    #[error("message nonce {got} is taken, next is {next}")]
    Nonce {
        /// The next free nonce.
        next: Nonce,
        /// The message's nonce.
        got: Nonce,
    },
    /// The sender cannot pay for it.
    #[error("{address} has {have}, needs {need}")]
    Funds {
        /// The sender.
        address: Address,
        /// Its balance.
        have: AttoFil,
        /// Value and fees.
        need: AttoFil,
    },
    /// Gas would cost more than the caller allows.
    #[error("gas costs {cost}, allowed is {max}")]
    Fee {
        /// The estimated cost.
        cost: AttoFil,
        /// The caller's bound.
        max: AttoFil,
    },
    /// The chain's own storage failed.
    #[error("chain storage failed")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ChainError {
    /// Returns true where repeating the same call later may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Storage(_) => true,
            Self::Protocol(_)
            | Self::WrongChain { .. }
            | Self::UnknownActor(_)
            | Self::Rejected { .. }
            | Self::Nonce { .. }
            | Self::Funds { .. }
            | Self::Fee { .. } => false,
        }
    }
}

/// A chain as the wallet uses it: reads, and one idempotent write.
///
/// Watching is asking again ([`Chain::channel`], [`Chain::lookup`]), so that every engine behaves alike.
#[async_trait]
pub trait Chain: Send + Sync {
    /// Returns which chain this is.
    fn id(&self) -> &ChainId;

    /// Returns the newest state.
    async fn head(&self) -> Result<Head, ChainError>;

    /// Returns the balance of `address`; zero where it has no actor.
    async fn balance(&self, address: &Address) -> Result<AttoFil, ChainError>;

    /// Returns the next message nonce of `address`, counting messages not yet executed.
    async fn next_nonce(&self, address: &Address) -> Result<Nonce, ChainError>;

    /// Returns both names of an actor; [`ChainError::UnknownActor`] where there is none.
    async fn resolve(&self, address: &Address) -> Result<Resolved, ChainError>;

    /// Returns the code CID of payment channels, needed to create one.
    async fn paych_code(&self) -> Result<Cid, ChainError>;

    /// Returns the state of a payment channel; `None` where it does not exist (any more).
    async fn channel(&self, channel: &Address) -> Result<Option<ChannelState>, ChainError>;

    /// Returns `message` with gas fields filled; [`ChainError::Fee`] when that costs more than `max_fee`.
    async fn estimate(&self, message: Message, max_fee: AttoFil) -> Result<Message, ChainError>;

    /// Returns how `message` would end now, without executing it.
    async fn dry_run(&self, message: &Message) -> Result<ExitCode, ChainError>;

    /// Hands in a message. The same bytes again are no error and execute once.
    async fn push(&self, message: &SignedMessage) -> Result<MsgCid, ChainError>;

    /// Returns what became of a message; `None` while it is not on chain.
    async fn lookup(&self, message: &MsgCid) -> Result<Option<Receipt>, ChainError>;

    /// Waits for `time`. Engines own the clock, so that the wallet that polls them needs none.
    async fn pause(&self, time: Duration);
}
