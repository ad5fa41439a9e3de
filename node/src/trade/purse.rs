//! What deals need of a wallet.

use async_trait::async_trait;
use pop_exchange::deal::Schedule;
use pop_keys::Address;
use pop_payments::Voucher;
use pop_payments::payee::{Expect, Refusal};
use pop_payments::payer::PayError;
use pop_units::{AttoFil, Bytes, PricePerByte};
use pop_wallet::{Hour, Lanehold, Wallet, WalletError};
use pop_wire::{DealId, limit};
use tokio::runtime::Handle;

use super::shared::unix_seconds;
use crate::pool::{Cancel, Pool};

/// Why money does not move.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PurseError {
    /// The wallet has not enough, or all its lanes to this payee are in use.
    #[error("wallet cannot fund {need}")]
    Funds {
        /// What was needed.
        need: AttoFil,
        /// What the wallet says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The other side's channel or voucher is not acceptable.
    #[error("not acceptable")]
    Unacceptable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The wallet or its chain does not answer.
    #[error("wallet failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a provider knows when a voucher comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// What went out and is not paid for.
    pub(super) unpaid: Bytes,
    /// The price.
    pub(super) price: PricePerByte,
}

/// The wallet as deals see it: both sides of a payment, and nothing about keys or chains.
#[async_trait]
pub(super) trait Purse: Send + Sync + 'static {
    /// Returns the chain that money is on.
    fn chain(&self) -> String;

    /// Returns who is paid for what this node serves. Blocks.
    ///
    /// # Errors
    /// There is no key.
    fn payee(&self) -> Result<Address, PurseError>;

    /// Makes sure that `need` more can be promised to `payee`, which may take a message on the chain.
    ///
    /// # Errors
    /// There is not enough, or the chain does not answer.
    async fn hold(&self, payee: &Address, deal: DealId, need: AttoFil) -> Result<Lanehold, PurseError>;

    /// Returns a signed voucher that adds `add` for `bytes`, reserved and synced. Blocks.
    ///
    /// # Errors
    /// The hold does not cover it, or the disk refuses.
    fn voucher(&self, hold: &Lanehold, add: AttoFil, bytes: Bytes) -> Result<Vec<u8>, PurseError>;

    /// Ends a hold.
    fn release(&self, hold: &Lanehold);

    /// Looks a channel up and checks that it pays this node, is not settling, and goes by this name.
    ///
    /// # Errors
    /// It does not, or the chain does not answer.
    async fn admit(&self, channel: &Address) -> Result<(), PurseError>;

    /// Takes a voucher and returns what it adds. Synced on return. Blocks.
    ///
    /// # Errors
    /// The voucher is not acceptable, or the disk refuses.
    fn accept(&self, channel: &Address, voucher: &[u8], claim: Claim) -> Result<AttoFil, PurseError>;
}

/// The node's wallet.
pub(super) struct WalletPurse {
    wallet: Wallet,
    /// Waiting for a chain must not keep the store's work from its places.
    waits: Pool,
}

impl WalletPurse {
    pub(super) fn new(wallet: Wallet) -> Self {
        Self { wallet, waits: Pool::new() }
    }
}

impl WalletPurse {
    /// Returns the bytes that a voucher pays for, for the books; nothing for one that will be refused.
    fn paid_for(&self, channel: &Address, voucher: &[u8], claim: Claim) -> Bytes {
        let Ok(voucher) = Voucher::decode(voucher) else { return Bytes::ZERO };
        let before = self.wallet.best(channel, voucher.lane).map_or(AttoFil::ZERO, |best| best.amount);
        let added = voucher.amount.saturating_sub(before);
        let schedule = Schedule::new(claim.price, limit::INTERVAL_MIN, limit::INTERVAL_MAX);
        schedule.covered(added).min(claim.unpaid)
    }
}

impl PurseError {
    fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed(Box::new(error))
    }

    fn of(error: WalletError, need: AttoFil) -> Self {
        match &error {
            WalletError::Funds { .. }
            | WalletError::NoKey
            | WalletError::TooManyChannels(_)
            | WalletError::Pay(PayError::Shortfall { .. } | PayError::LanesBusy) => {
                Self::Funds { need, source: Box::new(error) }
            }
            WalletError::UnknownChannel(_)
            | WalletError::NotOurs(_)
            | WalletError::OtherPayer(_)
            | WalletError::Nameless(_)
            | WalletError::State { .. } => Self::Unacceptable(Box::new(error)),
            _ => Self::Failed(Box::new(error)),
        }
    }
}

#[async_trait]
impl Purse for WalletPurse {
    fn chain(&self) -> String {
        self.wallet.chain_id().to_string()
    }

    fn payee(&self) -> Result<Address, PurseError> {
        self.wallet.default_address().map_err(PurseError::failed)
    }

    async fn hold(&self, payee: &Address, deal: DealId, need: AttoFil) -> Result<Lanehold, PurseError> {
        let (wallet, payee, cancel) = (self.wallet.clone(), *payee, Cancel::default());
        let _left = cancel.on_drop();
        let waited = self.waits.run(move || {
            let held = Handle::current().block_on(wallet.ensure_channel(&payee, *deal.as_bytes(), need));
            if let (Ok(hold), true) = (&held, cancel.is_cancelled()) {
                wallet.release(hold);
            }
            held
        });
        waited.await.map_err(PurseError::failed)?.map_err(|error| PurseError::of(error, need))
    }

    fn voucher(&self, hold: &Lanehold, add: AttoFil, bytes: Bytes) -> Result<Vec<u8>, PurseError> {
        let voucher = self.wallet.voucher(hold, add, bytes, Hour::of(unix_seconds()));
        voucher.map(|voucher| voucher.encode()).map_err(|error| PurseError::of(error, add))
    }

    fn release(&self, hold: &Lanehold) {
        self.wallet.release(hold);
    }

    async fn admit(&self, channel: &Address) -> Result<(), PurseError> {
        let (wallet, channel) = (self.wallet.clone(), *channel);
        let waited = self.waits.run(move || Handle::current().block_on(wallet.admit(&channel, None)));
        let view = waited.await.map_err(PurseError::failed)?;
        let view = view.map_err(|error| PurseError::of(error, AttoFil::ZERO))?;
        // What is owed is counted by channel: under a second name a channel would owe nothing.
        if view.channel != channel {
            let why = format!("channel {channel} must be named {}", view.channel);
            return Err(PurseError::Unacceptable(why.into()));
        }
        if !view.exists {
            return Err(PurseError::Unacceptable(Box::new(Refusal::Closed)));
        }
        if view.settling_at.get() != 0 {
            return Err(PurseError::Unacceptable(Box::new(Refusal::Settling { at: view.settling_at })));
        }
        Ok(())
    }

    fn accept(&self, channel: &Address, voucher: &[u8], claim: Claim) -> Result<AttoFil, PurseError> {
        let bytes = self.paid_for(channel, voucher, claim);
        // Anything counts; what goes out next depends on what it adds up to.
        let expect = Expect::new(AttoFil::new(1), bytes);
        match self.wallet.accept(voucher, channel, &expect) {
            Ok(accepted) => Ok(accepted.delta),
            Err(storage @ Refusal::Storage(_)) => Err(PurseError::failed(storage)),
            Err(refusal) => Err(PurseError::Unacceptable(Box::new(refusal))),
        }
    }
}
