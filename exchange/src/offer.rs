//! Offers as their receiver sees them: which are fit, and which one to take.

use std::time::{Duration, Instant};

use libp2p_identity::PeerId;
use pop_units::PricePerByte;
use pop_wire::offer::{Offer, SignatureError, SignedOffer};
use pop_wire::query::Query;

/// Offers to one question that are kept; more choice does not make a better one.
const BIDS: usize = 64;

/// Why an offer is not taken into account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// Not the promise of who it names.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It came from another peer than the one that signed it.
    #[error("offer of {signer} came from another peer")]
    WrongSender {
        /// Who signed.
        signer: PeerId,
    },
    /// It answers no question that is open.
    #[error("offer answers no open question")]
    NotAsked,
    /// It is for something else than what was asked.
    #[error("offer is for other content")]
    OtherContent,
    /// It is void already.
    #[error("offer expired")]
    Expired,
    /// It costs more than the asker pays.
    #[error("price {price} is above {max}")]
    TooDear {
        /// Its price.
        price: PricePerByte,
        /// The most that is paid.
        max: PricePerByte,
    },
    /// It must be paid on a chain that the asker is not on.
    #[error("no common chain: {theirs} is asked for, this node is on {ours}")]
    NoCommonChain {
        /// The asker's.
        ours: String,
        /// The provider's.
        theirs: String,
    },
    /// The provider has answered already, or there are too many.
    #[error("one offer too many")]
    Surplus,
}

/// Checks an offer that `sender` handed over against the question it answers. `now_s` is in seconds since 1970.
///
/// # Errors
/// The reason to leave it.
pub fn check(signed: &SignedOffer, sender: &PeerId, query: &Query, now_s: u64) -> Result<(), Unfit> {
    let offer = &signed.offer;
    if offer.provider != *sender {
        return Err(Unfit::WrongSender { signer: offer.provider });
    }
    if offer.req_id != query.req_id {
        return Err(Unfit::NotAsked);
    }
    if offer.root != query.root || offer.scope != query.scope {
        return Err(Unfit::OtherContent);
    }
    if offer.expiry <= now_s {
        return Err(Unfit::Expired);
    }
    if !offer.price.is_free() && offer.chain != query.chain {
        return Err(Unfit::NoCommonChain { ours: query.chain.clone(), theirs: offer.chain.clone() });
    }
    if offer.price > query.max_price {
        return Err(Unfit::TooDear { price: offer.price, max: query.max_price });
    }
    // Last, because it costs the most.
    Ok(signed.verify()?)
}

/// How to choose among offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The first that comes.
    #[default]
    First,
    /// The cheapest of those that come within [`Auction::WINDOW`].
    Cheapest,
    /// The first at or below this price.
    FirstBelow(PricePerByte),
}

/// Returns which offer to take of those that have come; `is_over` once no better one is waited for.
pub fn choose(strategy: Strategy, offers: &[&Offer], is_over: bool) -> Option<usize> {
    match strategy {
        Strategy::First => (!offers.is_empty()).then_some(0),
        Strategy::Cheapest if is_over => (0..offers.len()).min_by_key(|at| offers[*at].price),
        Strategy::Cheapest => None,
        Strategy::FirstBelow(price) => offers.iter().position(|offer| offer.price <= price),
    }
}

/// What the asker does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bid {
    /// Try this offer.
    Take(Box<SignedOffer>),
    /// Wait for offers until then.
    Wait(Instant),
    /// Nobody is left.
    Nobody,
}

/// Collects the offers to one question and hands them out one after the other, best first.
#[derive(Debug)]
pub struct Auction {
    strategy: Strategy,
    first: Option<Instant>,
    until: Instant,
    /// Every peer that could answer has.
    is_complete: bool,
    waiting: Vec<SignedOffer>,
    seen: Vec<PeerId>,
}

impl Auction {
    /// How long [`Strategy::Cheapest`] waits after the first offer: ten times the slowest of three offers
    /// among 32 nodes, plus a round trip around the world.
    pub const WINDOW: Duration = Duration::from_millis(500);

    /// Opens an auction that ends at `until`.
    pub const fn new(strategy: Strategy, until: Instant) -> Self {
        Self { strategy, first: None, until, is_complete: false, waiting: Vec::new(), seen: Vec::new() }
    }

    /// Takes a checked offer. Returns false for a second one of the same provider, or one too many.
    pub fn on_offer(&mut self, offer: SignedOffer, now: Instant) -> bool {
        let provider = offer.offer.provider;
        if self.seen.contains(&provider) || self.seen.len() >= BIDS {
            return false;
        }
        self.seen.push(provider);
        self.first.get_or_insert(now);
        self.waiting.push(offer);
        true
    }

    /// Takes note that nobody else will answer.
    pub const fn on_complete(&mut self) {
        self.is_complete = true;
    }

    /// Returns how many offers came.
    pub const fn offers(&self) -> usize {
        self.seen.len()
    }

    /// Says what to do; each offer is handed out once.
    pub fn next(&mut self, now: Instant) -> Bid {
        let is_over = self.is_complete || now >= self.until;
        let window = self.first.map(|first| first + Self::WINDOW);
        let is_window_over = is_over || window.is_some_and(|end| now >= end);
        let offers: Vec<&Offer> = self.waiting.iter().map(|signed| &signed.offer).collect();
        if let Some(at) = choose(self.strategy, &offers, is_window_over) {
            return Bid::Take(Box::new(self.waiting.remove(at)));
        }
        if is_over {
            return Bid::Nobody;
        }
        let has_offers = !self.waiting.is_empty() && self.strategy == Strategy::Cheapest;
        Bid::Wait(window.filter(|_| has_offers).unwrap_or(self.until).min(self.until))
    }
}

#[cfg(test)]
mod tests;
