//! What can go wrong in the wallet.

use pop_keys::{Address, KeystoreError};
use pop_ledger::PostError;
use pop_payments::payer::PayError;
use pop_payments::{ChainError, ExitCode, MessageError};
use pop_store::StateError;
use pop_units::{AttoFil, Overflow};

/// Why the wallet cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// The wallet has no key to pay with.
    #[error("wallet has no key; make one first")]
    NoKey,
    /// The keys and the chain do not belong together.
    #[error("keys are bound to {keys}, the chain is {chain}")]
    WrongChain {
        /// What the keys are bound to.
        keys: String,
        /// What the chain says.
        chain: String,
    },
    /// The channel is not on chain, or not in the books.
    #[error("channel {0} is not known")]
    UnknownChannel(Address),
    /// The chain node does not tell the lasting address (f2) of a channel that was named by its number (f0).
    #[error("chain does not tell the f2 address of channel {0}; name the channel by that")]
    Nameless(Address),
    /// The channel belongs to others.
    #[error("channel {0} is not ours")]
    NotOurs(Address),
    /// The channel is paid by somebody else than said.
    #[error("channel is paid by {0}")]
    OtherPayer(Address),
    /// Channels are bounded, and this would be one too many.
    #[error("no more than {0} channels can be open")]
    TooManyChannels(usize),
    /// The channel cannot do that in its present state.
    #[error("channel is {state}")]
    State {
        /// The state.
        state: crate::ChannelPhase,
    },
    /// The chain executed a message and it failed.
    #[error("message ended with exit code {0}")]
    Failed(ExitCode),
    /// The chain did not confirm in the time of thirty blocks. The message stays in the outbox.
    #[error("chain did not confirm in time")]
    Unconfirmed,
    /// The account holds less than deposit and fee.
    #[error("{address} has {have}, needs {need}")]
    Funds {
        /// The account.
        address: Box<Address>,
        /// Its balance.
        have: AttoFil,
        /// What is needed.
        need: AttoFil,
    },
    /// The payer's rules.
    #[error(transparent)]
    Pay(#[from] PayError),
    /// The voucher shown as ours is not.
    #[error("voucher is not signed by this wallet")]
    NotOurVoucher,
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeystoreError),
    /// The chain.
    #[error(transparent)]
    Chain(ChainError),
    /// The books.
    #[error(transparent)]
    Books(#[from] PostError),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StateError),
    /// A row does not decode.
    #[error("wallet records are damaged: {0}")]
    Damaged(&'static str),
    /// A message in the outbox does not decode.
    #[error("outbox is damaged")]
    Outbox(#[from] MessageError),
    /// A sum does not fit.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

impl From<ChainError> for WalletError {
    /// Want of money is one thing to a caller, whether we or the chain noticed it.
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Funds { address, have, need } => {
                Self::Funds { address: Box::new(address), have, need }
            }
            other => Self::Chain(other),
        }
    }
}
