//! The paying side of one channel: which lane a deal uses, and what the next voucher says.
//!
//! Pure bookkeeping: the wallet writes a [`Reserved`] voucher down durably before it leaves, so that after a
//! crash nonces only rise and amounts never fall.

use std::collections::BTreeMap;

use pop_units::{AttoFil, Lane, Nonce, Overflow};

use crate::voucher::Voucher;

/// Most lanes of one channel: concurrent deals with one payee. Each costs the payee an update to redeem.
pub const MAX_LANES: usize = 16;

/// The name of one deal.
pub type DealId = [u8; 16];

/// What was promised on one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    /// Nonce of the last voucher.
    pub nonce: Nonce,
    /// Its cumulative amount.
    pub amount: AttoFil,
}

/// What the next voucher of a lane says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The lane.
    pub lane: Lane,
    /// The new nonce.
    pub nonce: Nonce,
    /// The new cumulative amount.
    pub amount: AttoFil,
}

/// Why no voucher can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayError {
    /// The channel holds too little for one more voucher.
    #[error("channel is short of {short}")]
    Shortfall {
        /// What must be added first.
        short: AttoFil,
    },
    /// Every lane serves a deal.
    #[error("all {MAX_LANES} lanes of the channel are in use")]
    LanesBusy,
    /// The lane does not serve this deal (any more).
    #[error("lane {lane} is not held by this deal")]
    NotHeld {
        /// The lane.
        lane: Lane,
    },
    /// A counter is exhausted.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

#[derive(Clone, Debug, Default)]
struct LaneBook {
    promise: Promise,
    deal: Option<DealId>,
    /// Kept free for the deal, not yet promised.
    held: AttoFil,
}

/// The lanes of one outgoing channel.
#[derive(Clone, Debug, Default)]
pub struct Lanes {
    funds: AttoFil,
    lanes: BTreeMap<Lane, LaneBook>,
}

impl Lanes {
    /// Returns the book of a channel that holds `funds`, with what was promised before.
    pub fn new(funds: AttoFil, promised: impl IntoIterator<Item = (Lane, Promise)>) -> Self {
        let book = |promise| LaneBook { promise, ..LaneBook::default() };
        Self { funds, lanes: promised.into_iter().map(|(lane, promise)| (lane, book(promise))).collect() }
    }

    /// Takes note of what the channel holds now.
    pub fn on_funds(&mut self, funds: AttoFil) {
        self.funds = funds;
    }

    /// Returns what could still be promised to new deals.
    ///
    /// # Errors
    /// Sums do not fit.
    pub fn free(&self) -> Result<AttoFil, Overflow> {
        Ok(self.funds.saturating_sub(self.bound(None)?))
    }

    /// Returns the sum promised on all lanes.
    ///
    /// # Errors
    /// The sum does not fit.
    pub fn promised(&self) -> Result<AttoFil, Overflow> {
        AttoFil::checked_sum(self.lanes.values().map(|lane| lane.promise.amount))
    }

    /// Gives `deal` a lane on which `need` more can be promised. The same deal again keeps its lane.
    ///
    /// # Errors
    /// The channel must be topped up first, or has no free lane.
    pub fn hold(&mut self, deal: DealId, need: AttoFil) -> Result<Lane, PayError> {
        let lane = self.lane_for(&deal).ok_or(PayError::LanesBusy)?;
        let wanted = self.bound(Some(lane))?.checked_add(need)?;
        let promised = self.lanes.get(&lane).map(|book| book.promise.amount).unwrap_or_default();
        let short = wanted.checked_add(promised)?.saturating_sub(self.funds);
        if !short.is_zero() {
            return Err(PayError::Shortfall { short });
        }
        let book = self.lanes.entry(lane).or_default();
        (book.deal, book.held) = (Some(deal), need);
        Ok(lane)
    }

    /// Reserves the next voucher of the deal's lane for `add` more. What other deals hold stays theirs.
    ///
    /// # Errors
    /// The channel is short, the lane is not the deal's, or a counter is exhausted.
    pub fn reserve(&mut self, deal: &DealId, lane: Lane, add: AttoFil) -> Result<Reserved, PayError> {
        let others = self.bound(Some(lane))?;
        let book = self.lanes.get_mut(&lane).filter(|book| book.deal.as_ref() == Some(deal));
        let book = book.ok_or(PayError::NotHeld { lane })?;
        let amount = book.promise.amount.checked_add(add)?;
        let short = others.checked_add(amount)?.saturating_sub(self.funds);
        if !short.is_zero() {
            return Err(PayError::Shortfall { short });
        }
        let nonce = book.promise.nonce.checked_add(1)?;
        book.promise = Promise { nonce, amount };
        book.held = book.held.saturating_sub(add);
        Ok(Reserved { lane, nonce, amount })
    }

    /// Takes back the amount of a voucher that never left. Its nonce stays used.
    pub fn on_unsent(&mut self, reserved: &Reserved, add: AttoFil) {
        let book = self.lanes.get_mut(&reserved.lane);
        if let Some(book) = book.filter(|book| book.promise.nonce == reserved.nonce) {
            book.promise.amount = book.promise.amount.saturating_sub(add);
        }
    }

    /// Ends a deal: its lane and what was held for it are free again.
    pub fn release(&mut self, deal: &DealId) {
        for book in self.lanes.values_mut().filter(|book| book.deal.as_ref() == Some(deal)) {
            (book.deal, book.held) = (None, AttoFil::ZERO);
        }
    }

    /// Raises a lane to a voucher of ours that the payee showed, after our own records were lost.
    ///
    /// The caller has verified our own signature on it; a claimed total alone is never believed.
    pub fn on_own_voucher(&mut self, voucher: &Voucher) -> Option<Promise> {
        if !self.lanes.contains_key(&voucher.lane) && self.lanes.len() >= MAX_LANES {
            return None;
        }
        let book = self.lanes.entry(voucher.lane).or_default();
        let promise = Promise {
            nonce: book.promise.nonce.max(voucher.nonce),
            amount: book.promise.amount.max(voucher.amount),
        };
        let raised = promise != book.promise;
        book.promise = promise;
        raised.then_some(promise)
    }

    /// Returns what was promised on `lane`.
    pub fn promise(&self, lane: Lane) -> Option<Promise> {
        self.lanes.get(&lane).map(|book| book.promise)
    }

    /// Returns what is promised or held, leaving out one lane.
    fn bound(&self, except: Option<Lane>) -> Result<AttoFil, Overflow> {
        let others = self.lanes.iter().filter(|(lane, _)| Some(**lane) != except);
        AttoFil::checked_sum(others.flat_map(|(_, book)| [book.promise.amount, book.held]))
    }

    /// Lane 0 serves one deal after the other; more lanes only open for deals at the same time.
    fn lane_for(&self, deal: &DealId) -> Option<Lane> {
        let own = self.lanes.iter().find(|(_, book)| book.deal.as_ref() == Some(deal));
        let idle = || self.lanes.iter().find(|(_, book)| book.deal.is_none());
        let fresh = || {
            let free = (0..).map(Lane::new).find(|lane| !self.lanes.contains_key(lane));
            free.filter(|_| self.lanes.len() < MAX_LANES)
        };
        own.or_else(idle).map(|(lane, _)| *lane).or_else(fresh)
    }
}

#[cfg(test)]
mod tests;
