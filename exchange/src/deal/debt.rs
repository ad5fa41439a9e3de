//! What clients left unpaid, so that nobody takes the first interval of every file for nothing.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use pop_units::Bytes;

/// What anybody may leave unpaid: two crashes at the largest exposure.
const ALLOWANCE: Bytes = Bytes::new(64 << 20);
/// A debtor is forgotten after this long; an hour makes the allowance a trickle of 18 KiB/s.
const MEMORY: Duration = Duration::from_secs(3600);
/// Deals that one debtor may have open, so that their exposures do not add up.
const LIVE: u32 = 4;
/// Debtors that are remembered.
const DEBTORS: usize = 4096;

/// A debtor that is not served before it pays or is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Indebted {
    /// Too much is unpaid.
    #[error("{unpaid} of earlier deals are unpaid")]
    Unpaid {
        /// How much.
        unpaid: Bytes,
    },
    /// Too many deals are open.
    #[error("{live} paid deals are open already")]
    TooManyDeals {
        /// How many.
        live: u32,
    },
    /// The table is full of others who are being served.
    #[error("too many clients at once")]
    Crowded,
}

#[derive(Debug)]
struct Debt {
    unpaid: Bytes,
    paid: Bytes,
    live: u32,
    since: Instant,
}

impl Debt {
    /// A quarter of what was paid extends the allowance: a good customer may crash more often.
    fn allowance(&self) -> Bytes {
        ALLOWANCE.saturating_add(Bytes::new(self.paid.get() / 4))
    }

    fn is_stale(&self, now: Instant) -> bool {
        self.live == 0 && now.saturating_duration_since(self.since) >= MEMORY
    }
}

/// Unpaid bytes by debtor. The debtor is the payment channel, which costs something to make, and not the peer
/// id, which does not.
#[derive(Debug)]
pub struct Debts<K> {
    entries: HashMap<K, Debt>,
}

impl<K> Default for Debts<K> {
    fn default() -> Self {
        Self { entries: HashMap::new() }
    }
}

impl<K: Eq + Hash + Clone> Debts<K> {
    /// Opens a paid deal. Each success must be followed by one [`Debts::close`].
    ///
    /// # Errors
    /// Too much is unpaid or too much is open.
    pub fn open(&mut self, debtor: &K, now: Instant) -> Result<(), Indebted> {
        if !self.entries.contains_key(debtor) && self.entries.len() >= DEBTORS {
            self.make_room(now)?;
        }
        let fresh = || Debt { unpaid: Bytes::ZERO, paid: Bytes::ZERO, live: 0, since: now };
        let debt = self.entries.entry(debtor.clone()).or_insert_with(fresh);
        if debt.is_stale(now) {
            *debt = fresh();
        }
        if debt.unpaid > debt.allowance() {
            return Err(Indebted::Unpaid { unpaid: debt.unpaid });
        }
        if debt.live >= LIVE {
            return Err(Indebted::TooManyDeals { live: debt.live });
        }
        debt.live += 1;
        Ok(())
    }

    /// Closes a deal that left `unpaid` bytes and paid for `paid`.
    pub fn close(&mut self, debtor: &K, unpaid: Bytes, paid: Bytes, now: Instant) {
        if let Some(debt) = self.entries.get_mut(debtor) {
            debt.live = debt.live.saturating_sub(1);
            debt.unpaid = debt.unpaid.saturating_add(unpaid);
            debt.paid = debt.paid.saturating_add(paid);
            debt.since = now;
        }
    }

    /// Returns the unpaid bytes of all debtors.
    pub fn total(&self) -> Bytes {
        self.entries.values().fold(Bytes::ZERO, |sum, debt| sum.saturating_add(debt.unpaid))
    }

    fn make_room(&mut self, now: Instant) -> Result<(), Indebted> {
        self.entries.retain(|_, debt| !debt.is_stale(now));
        if self.entries.len() < DEBTORS {
            return Ok(());
        }
        // Whoever owes least is the one whose forgetting costs least.
        let idle = self.entries.iter().filter(|(_, debt)| debt.live == 0);
        let least = idle.min_by_key(|(_, debt)| debt.unpaid).map(|(key, _)| key.clone());
        let Some(least) = least else { return Err(Indebted::Crowded) };
        self.entries.remove(&least);
        Ok(())
    }
}
