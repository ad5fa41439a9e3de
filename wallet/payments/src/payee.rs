//! The paid side of one channel: the rules a voucher must pass before it counts as money.
//!
//! No call to the chain happens here: the channel is judged as last seen ([`View`]), and seeing it often
//! enough is the collector's duty. The wallet writes the outcome down durably before it acknowledges.

use std::collections::BTreeMap;

use pop_keys::{Address, PublicKey};
use pop_units::{AttoFil, Bytes, ChainEpoch, Lane, Nonce};

use crate::channel::LaneState;
use crate::paych::MAX_LANE;
use crate::payer::MAX_LANES;
use crate::voucher::{Voucher, VoucherError};

/// An incoming channel as last seen on chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The channel as we name it (f2).
    pub channel: Address,
    /// Its number (f0): vouchers may name it so.
    pub id: Address,
    /// The key that must have signed: the payer's.
    pub from: Address,
    /// The key that is paid: one of ours, which is shown when the channel is admitted. Which one does not matter.
    pub to: Address,
    /// All the money in it.
    pub balance: AttoFil,
    /// When it can be collected; zero while nobody settles.
    pub settling_at: ChainEpoch,
    /// Epochs since it was first seen.
    pub confidence: u64,
    /// False once it is gone.
    pub exists: bool,
    /// Lanes that saw a voucher on chain.
    pub lanes: BTreeMap<Lane, LaneState>,
}

/// What a voucher must bring to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The least it must add: the price of the bytes not yet paid.
    pub min_delta: AttoFil,
    /// The bytes it pays for, for the books.
    pub bytes: Bytes,
    /// The least `min_settle_height` it must carry; zero where that does not matter.
    pub min_settle: ChainEpoch,
    /// Epochs that the channel must have been on chain.
    pub confidence: u64,
}

impl Expect {
    /// Expects at least `min_delta` for `bytes`, without a settle horizon or confidence.
    pub fn new(min_delta: AttoFil, bytes: Bytes) -> Self {
        Self { min_delta, bytes, min_settle: ChainEpoch::new(0), confidence: 0 }
    }
}

/// The best voucher of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Best {
    /// Its bytes as they came.
    pub bytes: Vec<u8>,
    /// Its nonce.
    pub nonce: Nonce,
    /// Its cumulative amount.
    pub amount: AttoFil,
}

/// What came of a voucher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same voucher as before: the same acknowledgement, no new money.
    Known {
        /// Its lane.
        lane: Lane,
        /// The lane's total.
        total: AttoFil,
    },
    /// New money, once it is written down.
    Fresh(Box<Fresh>),
}

/// A voucher that passed every rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// The voucher.
    pub voucher: Voucher,
    /// What it adds to the lane.
    pub delta: AttoFil,
    /// Its signer, to check the next one cheaper.
    pub signer: PublicKey,
}

/// Why a voucher does not count. Each rule has its own answer, so that an honest payer can mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is no voucher at all.
    #[error(transparent)]
    Malformed(#[from] VoucherError),
    /// It names another channel.
    #[error("voucher is for another channel")]
    OtherChannel,
    /// The channel is none of ours, or was never looked up.
    #[error("channel {0} is not known here")]
    UnknownChannel(Address),
    /// The channel is gone.
    #[error("channel is closed")]
    Closed,
    /// The channel is too new.
    #[error("channel was seen for {have} epochs, {want} are needed")]
    Unconfirmed {
        /// Epochs since first seen.
        have: u64,
        /// Epochs needed.
        want: u64,
    },
    /// The channel is being settled.
    #[error("channel settles at epoch {at}")]
    Settling {
        /// When it can be collected.
        at: ChainEpoch,
    },
    /// Another key signed.
    #[error("voucher is signed by another key than the channel's")]
    BadSignature,
    /// It carries a condition.
    #[error("voucher is locked: {what}")]
    Locked {
        /// Which one.
        what: &'static str,
    },
    /// The lane does not exist or is one too many.
    #[error("lane {lane} is not allowed")]
    Lane {
        /// The lane.
        lane: Lane,
    },
    /// The nonce is not above the best voucher's.
    #[error("lane {lane}: nonce {got} is not above {have}")]
    StaleNonce {
        /// The lane.
        lane: Lane,
        /// The best voucher's.
        have: Nonce,
        /// This voucher's.
        got: Nonce,
    },
    /// The amount is not above the best voucher's.
    #[error("lane {lane}: amount {got} is not above {have}")]
    StaleAmount {
        /// The lane.
        lane: Lane,
        /// The best voucher's.
        have: AttoFil,
        /// This voucher's.
        got: AttoFil,
    },
    /// It adds too little.
    #[error("voucher adds {got}, owed is {want}")]
    Underpaid {
        /// The price of the unpaid bytes.
        want: AttoFil,
        /// What the voucher adds.
        got: AttoFil,
    },
    /// The channel does not hold what all its vouchers promise.
    #[error("channel is short of {short}")]
    Shortfall {
        /// What must be added.
        short: AttoFil,
    },
    /// It does not hold settling off for long enough.
    #[error("minimum settle height {got} is below {want}")]
    SettleHorizon {
        /// What the offer asks for.
        want: ChainEpoch,
        /// What the voucher carries.
        got: ChainEpoch,
    },
    /// It could not be written down here: not the payer's fault, the same voucher may be sent again.
    #[error("voucher could not be stored")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Refusal {
    /// Returns the code that a peer is told.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::OtherChannel | Self::UnknownChannel(_) => "wrong-channel",
            Self::Closed | Self::Settling { .. } => "settling",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::BadSignature => "bad-signature",
            Self::Locked { .. } => "locked",
            Self::Lane { .. } | Self::StaleNonce { .. } | Self::StaleAmount { .. } => "stale",
            Self::Underpaid { .. } => "underpaid",
            Self::Shortfall { .. } => "shortfall",
            Self::SettleHorizon { .. } => "settle-horizon",
            Self::Storage(_) => "unavailable",
        }
    }
}

/// Judges `bytes` as a voucher on the channel of `view`, against the best vouchers held so far.
///
/// `known` is the payer's public key where an earlier voucher showed it: checking is then cheaper.
///
/// # Errors
/// The first rule that it breaks.
pub fn judge(
    bytes: &[u8],
    view: &View,
    best: &BTreeMap<Lane, Best>,
    known: Option<&PublicKey>,
    expect: &Expect,
) -> Result<Verdict, Refusal> {
    let voucher = Voucher::decode(bytes)?;
    let held = best.get(&voucher.lane);
    if let Some(held) = held.filter(|held| held.bytes == bytes) {
        return Ok(Verdict::Known { lane: voucher.lane, total: held.amount });
    }
    check_channel(&voucher, view, expect)?;
    let signer = check_signer(&voucher, view, known)?;
    check_locks(&voucher)?;
    let delta = check_order(&voucher, view, best)?;
    if delta < expect.min_delta {
        return Err(Refusal::Underpaid { want: expect.min_delta, got: delta });
    }
    covers(&voucher, view, best)?;
    if voucher.min_settle_height < expect.min_settle {
        return Err(Refusal::SettleHorizon { want: expect.min_settle, got: voucher.min_settle_height });
    }
    Ok(Verdict::Fresh(Box::new(Fresh { voucher, delta, signer })))
}

fn check_channel(voucher: &Voucher, view: &View, expect: &Expect) -> Result<(), Refusal> {
    if voucher.channel != view.channel && voucher.channel != view.id {
        return Err(Refusal::OtherChannel);
    }
    if !view.exists {
        return Err(Refusal::Closed);
    }
    if view.settling_at.get() != 0 {
        return Err(Refusal::Settling { at: view.settling_at });
    }
    if view.confidence < expect.confidence {
        return Err(Refusal::Unconfirmed { have: view.confidence, want: expect.confidence });
    }
    Ok(())
}

fn check_signer(voucher: &Voucher, view: &View, known: Option<&PublicKey>) -> Result<PublicKey, Refusal> {
    let signature = voucher.signature.ok_or(VoucherError::Unsigned)?;
    let message = voucher.signing_bytes();
    let key = match known {
        // The recovery id is not covered by plain checking: a wrong one would fail on chain.
        Some(key) if key.verifies(&signature, &message) && signature.recover(&message).ok() == Some(*key) => {
            *key
        }
        Some(_) => return Err(Refusal::BadSignature),
        None => signature.recover(&message).map_err(|_| Refusal::BadSignature)?,
    };
    match key.address() == view.from {
        true => Ok(key),
        false => Err(Refusal::BadSignature),
    }
}

fn check_locks(voucher: &Voucher) -> Result<(), Refusal> {
    let locks = [
        (voucher.extra.is_some(), "extra call"),
        (!voucher.secret_hash.is_empty(), "secret"),
        (!voucher.merges.is_empty(), "merges"),
        (voucher.time_lock_min.get() != 0, "earliest time"),
        (voucher.time_lock_max.get() != 0, "latest time"),
    ];
    match locks.iter().find(|(locked, _)| *locked) {
        Some((_, what)) => Err(Refusal::Locked { what }),
        None => Ok(()),
    }
}

/// Returns what the voucher adds to its lane.
fn check_order(voucher: &Voucher, view: &View, best: &BTreeMap<Lane, Best>) -> Result<AttoFil, Refusal> {
    let lane = voucher.lane;
    let known = best.contains_key(&lane) || view.lanes.contains_key(&lane);
    if lane.get() > MAX_LANE || (!known && best.len() >= MAX_LANES) {
        return Err(Refusal::Lane { lane });
    }
    let Some((nonce, amount)) = floor(lane, view, best) else {
        return match voucher.amount.is_zero() {
            true => Err(Refusal::StaleAmount { lane, have: AttoFil::ZERO, got: AttoFil::ZERO }),
            false => Ok(voucher.amount),
        };
    };
    if voucher.nonce <= nonce {
        return Err(Refusal::StaleNonce { lane, have: nonce, got: voucher.nonce });
    }
    if voucher.amount <= amount {
        return Err(Refusal::StaleAmount { lane, have: amount, got: voucher.amount });
    }
    Ok(voucher.amount.saturating_sub(amount))
}

/// Returns what a voucher of the lane must exceed: the best held, or what the chain already paid out.
fn floor(lane: Lane, view: &View, best: &BTreeMap<Lane, Best>) -> Option<(Nonce, AttoFil)> {
    let held = best.get(&lane).map(|best| (best.nonce, best.amount));
    let redeemed = view.lanes.get(&lane).map(|state| (state.nonce, state.redeemed));
    match (held, redeemed) {
        (Some(a), Some(b)) => Some((a.0.max(b.0), a.1.max(b.1))),
        (a, b) => a.or(b),
    }
}

/// Checks that the channel holds what `voucher` promises beside all other lanes.
///
/// Part of [`judge`]; asked again where vouchers of several lanes are judged at the same time.
///
/// # Errors
/// [`Refusal::Shortfall`] with what is missing.
pub fn covers(voucher: &Voucher, view: &View, best: &BTreeMap<Lane, Best>) -> Result<(), Refusal> {
    let lanes: std::collections::BTreeSet<Lane> = best.keys().chain(view.lanes.keys()).copied().collect();
    let others = lanes.into_iter().filter(|lane| *lane != voucher.lane);
    let promised = others.filter_map(|lane| floor(lane, view, best)).map(|(_, amount)| amount);
    let overflow = Refusal::Shortfall { short: voucher.amount };
    let total = AttoFil::checked_sum(promised.chain([voucher.amount])).map_err(|_| overflow)?;
    match total.saturating_sub(view.balance) {
        AttoFil::ZERO => Ok(()),
        short => Err(Refusal::Shortfall { short }),
    }
}

#[cfg(test)]
mod tests;
