//! The rules of the payment-channel actor (Filecoin builtin-actors v18), as a pure state machine.
//!
//! The embedded ledger must refuse and accept exactly what the public chain does, or a provider that tests
//! against it learns the wrong lesson; so the order of checks and the exit codes are part of the contract.
//! Nothing here moves money, reads a clock or checks a signature: the caller says what it found.

use std::collections::BTreeMap;

use pop_payments::paych::{MAX_LANE, MAX_SECRET};
use pop_payments::{ExitCode, LaneState};
use pop_units::{AttoFil, ChainEpoch, Lane, Nonce};

/// The number of an actor on its chain (the `1001` of `f01001`).
pub type ActorId = u64;

/// A channel as the chain keeps it, without its balance, which belongs to the actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Who paid the deposit and gets back the rest.
    pub from: ActorId,
    /// Who is paid.
    pub to: ActorId,
    /// What `to` gets at Collect.
    pub to_send: AttoFil,
    /// When Collect becomes possible; zero while nobody settled.
    pub settling_at: ChainEpoch,
    /// The earliest `settling_at` that accepted vouchers allow.
    pub min_settle_height: ChainEpoch,
    /// The lanes that have been redeemed from.
    pub lanes: BTreeMap<Lane, LaneState>,
}

/// Where and by whom an operation is called.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The caller.
    pub caller: ActorId,
    /// The channel's own number.
    pub receiver: ActorId,
    /// The epoch of the block.
    pub epoch: ChainEpoch,
    /// The channel's balance, the message's value included.
    pub balance: AttoFil,
}

/// What the caller found about the signature of a voucher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// There is none.
    Not,
    /// It is not by the counterparty of the caller.
    Wrongly,
    /// It is by the counterparty of the caller.
    Well,
}

/// What an Update carries, with addresses and signature resolved by the caller.
#[derive(Clone, Debug)]
pub struct Update<'a> {
    /// The channel that the voucher names, where its address resolves.
    pub channel: Option<ActorId>,
    /// The first epoch at which the voucher counts.
    pub time_lock_min: ChainEpoch,
    /// The last such epoch; zero for no end.
    pub time_lock_max: ChainEpoch,
    /// BLAKE2b-256 of a secret that must be shown; empty for none.
    pub secret_hash: &'a [u8],
    /// The secret as shown.
    pub secret: &'a [u8],
    /// How the extra call of the voucher ended; success where there is none.
    pub extra: ExitCode,
    /// The lane.
    pub lane: Lane,
    /// The order on the lane.
    pub nonce: Nonce,
    /// The cumulative amount; nothing where the voucher says less than zero.
    pub amount: Option<AttoFil>,
    /// What to raise the minimum settle height to; zero for nothing.
    pub min_settle_height: ChainEpoch,
    /// Lanes folded into this one, each with the nonce that closes it.
    pub merges: &'a [(Lane, Nonce)],
    /// The signature.
    pub signed: Signed,
}

/// Where the money of a collected channel goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payout {
    /// Paid to `to`.
    pub to: AttoFil,
    /// Returned to `from`.
    pub from: AttoFil,
}

impl Channel {
    /// Returns a new channel between two accounts.
    pub const fn new(from: ActorId, to: ActorId) -> Self {
        let zero = ChainEpoch::new(0);
        Self {
            from,
            to,
            to_send: AttoFil::ZERO,
            settling_at: zero,
            min_settle_height: zero,
            lanes: BTreeMap::new(),
        }
    }

    /// Returns who must have signed a voucher that `caller` submits: the other side.
    pub const fn counterparty(&self, caller: ActorId) -> ActorId {
        if caller == self.from { self.to } else { self.from }
    }

    /// Redeems a voucher.
    ///
    /// # Errors
    /// The exit code of the first rule broken; the channel is then unchanged.
    pub fn update(&mut self, call: Call, update: &Update<'_>) -> Result<(), ExitCode> {
        self.check_party(call.caller)?;
        self.check_voucher(call, update)?;
        let amount = update.amount.ok_or(ExitCode::USR_ILLEGAL_ARGUMENT)?;
        check_secret(update)?;
        if !update.extra.is_ok() {
            return Err(update.extra);
        }
        // Every change is collected first: a voucher that is refused at its last rule must leave no trace.
        let own = self.lane(update.lane)?.unwrap_or_default();
        let (merged, others) = self.merged(update)?;
        let counted = others.checked_add(own.redeemed).map_err(|_| ExitCode::USR_ILLEGAL_ARGUMENT)?;
        let raised = self.to_send.checked_add(amount).map_err(|_| ExitCode::USR_ILLEGAL_ARGUMENT)?;
        let to_send = raised.checked_sub(counted).map_err(|_| ExitCode::USR_ILLEGAL_ARGUMENT)?;
        require(to_send <= call.balance)?;

        self.to_send = to_send;
        self.raise_settle_height(update.min_settle_height);
        self.lanes.extend(merged);
        self.lanes.insert(update.lane, LaneState { redeemed: amount, nonce: update.nonce });
        Ok(())
    }

    /// Starts the end of the channel: Collect is possible after `delay` epochs.
    ///
    /// # Errors
    /// The caller is no party, or somebody settled before.
    pub fn settle(&mut self, call: Call, delay: i64) -> Result<(), ExitCode> {
        self.check_party(call.caller)?;
        if self.is_settling() {
            return Err(ExitCode::USR_ILLEGAL_STATE);
        }
        let at = call.epoch.checked_add(delay).map_err(|_| ExitCode::USR_ILLEGAL_STATE)?;
        self.settling_at = at.max(self.min_settle_height);
        Ok(())
    }

    /// Returns who gets what at the end of the channel, which the caller then deletes.
    ///
    /// # Errors
    /// The caller is no party, or the time has not come.
    pub fn collect(&self, call: Call) -> Result<Payout, ExitCode> {
        self.check_party(call.caller)?;
        if !self.is_settling() || call.epoch < self.settling_at {
            return Err(ExitCode::USR_FORBIDDEN);
        }
        let from = call.balance.checked_sub(self.to_send).map_err(|_| ExitCode::SYS_INSUFFICIENT_FUNDS)?;
        Ok(Payout { to: self.to_send, from })
    }

    /// Returns true once somebody settled.
    pub fn is_settling(&self) -> bool {
        self.settling_at != ChainEpoch::new(0)
    }

    fn check_party(&self, caller: ActorId) -> Result<(), ExitCode> {
        match caller == self.from || caller == self.to {
            true => Ok(()),
            false => Err(ExitCode::USR_FORBIDDEN),
        }
    }

    fn check_voucher(&self, call: Call, update: &Update<'_>) -> Result<(), ExitCode> {
        require(update.signed != Signed::Not)?;
        if self.is_settling() && call.epoch >= self.settling_at {
            return Err(ExitCode::PAYCH_SETTLED);
        }
        require(update.secret.len() <= MAX_SECRET)?;
        require(update.signed == Signed::Well)?;
        require(update.channel == Some(call.receiver))?;
        require(call.epoch >= update.time_lock_min)?;
        require(update.time_lock_max == ChainEpoch::new(0) || call.epoch <= update.time_lock_max)
    }

    /// Returns the state of the voucher's lane, where it exists; only then must the nonce grow.
    fn lane(&self, lane: Lane) -> Result<Option<LaneState>, ExitCode> {
        require(lane.get() <= MAX_LANE)?;
        Ok(self.lanes.get(&lane).copied())
    }

    /// Returns the lanes that the voucher folds in, as they are afterwards, and the sum they had redeemed.
    fn merged(&self, update: &Update<'_>) -> Result<(BTreeMap<Lane, LaneState>, AttoFil), ExitCode> {
        if let Some(own) = self.lane(update.lane)? {
            require(update.nonce > own.nonce)?;
        }
        let mut merged = BTreeMap::new();
        let mut sum = AttoFil::ZERO;
        for &(lane, nonce) in update.merges {
            require(lane != update.lane)?;
            let stored = self.lane(lane)?;
            let mut other = merged.get(&lane).copied().or(stored).ok_or(ExitCode::USR_ILLEGAL_ARGUMENT)?;
            require(nonce > other.nonce)?;
            sum = sum.checked_add(other.redeemed).map_err(|_| ExitCode::USR_ILLEGAL_ARGUMENT)?;
            other.nonce = nonce;
            merged.insert(lane, other);
        }
        Ok((merged, sum))
    }

    fn raise_settle_height(&mut self, height: ChainEpoch) {
        if height == ChainEpoch::new(0) {
            return;
        }
        if self.is_settling() {
            self.settling_at = self.settling_at.max(height);
        }
        self.min_settle_height = self.min_settle_height.max(height);
    }
}

fn check_secret(update: &Update<'_>) -> Result<(), ExitCode> {
    let shown = blake2b_simd::Params::new().hash_length(32).hash(update.secret);
    require(update.secret_hash.is_empty() || shown.as_bytes() == update.secret_hash)
}

fn require(holds: bool) -> Result<(), ExitCode> {
    if holds { Ok(()) } else { Err(ExitCode::USR_ILLEGAL_ARGUMENT) }
}

#[cfg(test)]
mod tests;
