//! Why content does not come, and why a copy is not made.

use libp2p::PeerId;
use pop_exchange::deal::Fault;
use pop_rpc::{Error, ErrorCode};
use pop_units::AttoFil;

use super::purse::PurseError;
use super::quote::Quote;
use crate::fault;

/// Why a retrieval failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Nobody offered it.
    #[error("nobody has it: {} asked", peers(*asked))]
    NotFound {
        /// How many peers were asked.
        asked: usize,
    },
    /// The content is there, the path in it is not.
    #[error("no such path in this content")]
    NoPath(#[source] Box<pop_dag::WalkError>),
    /// The time was over before anything could come.
    #[error("timed out: {0}")]
    TimedOut(String),
    /// Price, chain, funds or the provider's policy forbid it.
    #[error("refused: {why}")]
    Refused {
        /// In words.
        why: String,
        /// What it would cost, where that is what is in the way.
        quote: Option<Box<Quote>>,
    },
    /// Every provider sent something else than the content.
    #[error("{peer} sent bad data")]
    BadData {
        /// The last of them.
        peer: PeerId,
        /// What was wrong.
        #[source]
        fault: Box<Fault>,
    },
    /// Every provider broke off.
    #[error("{peer} broke off")]
    Broken {
        /// The last of them.
        peer: PeerId,
        /// How.
        #[source]
        fault: Box<Fault>,
    },
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] pop_store::Error),
    /// The wallet or its chain does not answer.
    #[error("payment failed")]
    Purse(#[from] PurseError),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// Why copies could not be asked for at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DispatchError {
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// Why one deal ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum DealError {
    /// The other side, or what it sent.
    #[error(transparent)]
    Peer(#[from] Fault),
    /// It costs more than may be spent.
    #[error("costs {cost}, {budget} may be spent {of}")]
    TooDear { cost: AttoFil, budget: AttoFil, of: &'static str },
    /// The peer cannot be reached.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The disk.
    #[error(transparent)]
    Store(#[from] pop_store::Error),
    /// The wallet.
    #[error(transparent)]
    Purse(#[from] PurseError),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

impl From<crate::pool::Stopped> for DealError {
    fn from(_: crate::pool::Stopped) -> Self {
        Self::Stopped
    }
}

impl From<crate::pool::Stopped> for FetchError {
    fn from(_: crate::pool::Stopped) -> Self {
        Self::Stopped
    }
}

impl From<crate::net::Stopped> for FetchError {
    fn from(_: crate::net::Stopped) -> Self {
        Self::Stopped
    }
}

/// Writes an error with its sources in one line, for logs and for peers.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        text = format!("{text}: {next}");
        source = next.source();
    }
    text
}

fn peers(count: usize) -> String {
    if count == 1 { "1 peer was".to_owned() } else { format!("{count} peers were") }
}

impl fault::Fault for FetchError {
    fn fault(self) -> Error {
        match self {
            Self::NotFound { asked: 0 } => Error::of(ErrorCode::NotFound, &self)
                .with_hint("this node has no peers: see `pop peers`, and start it with --bootstrap"),
            Self::NotFound { .. } => Error::of(ErrorCode::NotFound, &self)
                .with_hint("check the CID, or ask the node that has it with --peer"),
            Self::NoPath(_) => Error::of(ErrorCode::NotFound, &self),
            Self::TimedOut(_) | Self::Broken { .. } => Error::of(ErrorCode::TimedOut, &self)
                .with_hint("what came is kept; the same get goes on from there"),
            Self::Refused { .. } => Error::of(ErrorCode::Refused, &self)
                .with_hint("see --max-price and --max-spend, and that both nodes use one chain"),
            Self::Purse(PurseError::Funds { .. }) => {
                Error::of(ErrorCode::Refused, &self).with_hint("`pop wallet list` shows what this node has")
            }
            Self::Purse(_) => Error::of(ErrorCode::Internal, &self),
            Self::BadData { .. } => Error::of(ErrorCode::BadInput, &self)
                .with_hint("only what was verified is kept and paid for; try another peer"),
            Self::Store(store) => store.fault(),
            Self::Stopped => Error::of(ErrorCode::Interrupted, &self),
        }
    }
}

impl fault::Fault for DispatchError {
    fn fault(self) -> Error {
        Error::of(ErrorCode::Interrupted, &self)
    }
}
