//! Uploads that run and what each owner has used, as a plain state machine.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pop_units::Bytes;

use super::owner::Owner;
use super::quota::{Over, Quota};

/// Uploads at once. Each has a thread, and some megabytes on their way to the disk.
pub(crate) const AT_ONCE: usize = 16;
/// Uploads of one owner at once, so that one does not take all places.
pub(crate) const AT_ONCE_EACH: usize = 4;

/// Why an upload does not begin or go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// All places are taken.
    Busy,
    /// The owner's places are taken.
    BusyOwner,
    /// It is larger than the owner's whole quota.
    Never,
    /// The owner's quota is used up for so long.
    Later(Duration),
}

impl From<Over> for Denied {
    fn from(over: Over) -> Self {
        match over {
            Over::Never => Self::Never,
            Over::Later(wait) => Self::Later(wait),
        }
    }
}

/// The accounts. There are as many as tokens were used in 24 hours.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Of each owner; no bound when `None`.
    quota: Option<Bytes>,
    running: usize,
    accounts: HashMap<Owner, Account>,
}

#[derive(Debug, Default)]
struct Account {
    running: usize,
    quota: Quota,
}

impl Ledger {
    pub(crate) fn new(quota: Option<Bytes>) -> Self {
        Self { quota, running: 0, accounts: HashMap::new() }
    }

    /// Begins an upload of at least `size`, which it holds.
    pub(crate) fn begin(&mut self, owner: &Owner, size: Bytes, now: Instant) -> Result<(), Denied> {
        if self.running >= AT_ONCE {
            return Err(Denied::Busy);
        }
        self.accounts.retain(|_, account| account.running > 0 || !account.quota.is_idle(now));
        let account = self.accounts.entry(owner.clone()).or_default();
        if account.running >= AT_ONCE_EACH {
            return Err(Denied::BusyOwner);
        }
        if let Some(limit) = self.quota {
            account.quota.hold(Bytes::ZERO, size, limit, now)?;
        }
        account.running += 1;
        self.running += 1;
        Ok(())
    }

    /// Holds more for an upload that has `had` already.
    pub(crate) fn grow(
        &mut self,
        owner: &Owner,
        had: Bytes,
        more: Bytes,
        now: Instant,
    ) -> Result<(), Denied> {
        let (Some(limit), Some(account)) = (self.quota, self.accounts.get_mut(owner)) else { return Ok(()) };
        account.quota.hold(had, more, limit, now).map_err(Denied::from)
    }

    /// Ends an upload that held `held`.
    pub(crate) fn end(&mut self, owner: &Owner, held: Bytes, is_kept: bool, now: Instant) {
        let Some(account) = self.accounts.get_mut(owner) else { return };
        account.running = account.running.saturating_sub(1);
        self.running = self.running.saturating_sub(1);
        if self.quota.is_some() {
            account.quota.end(held, is_kept, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upload::quota::{GRAIN, WINDOW};

    fn owner(name: &str) -> Owner {
        Owner::new(name, name.as_bytes())
    }

    #[test]
    fn places_are_bounded_for_one_and_for_all() {
        let (mut ledger, now) = (Ledger::new(None), Instant::now());
        let owners: Vec<_> = (0..5).map(|n| owner(&n.to_string())).collect();
        for owner in &owners[..4] {
            for _ in 0..AT_ONCE_EACH {
                ledger.begin(owner, Bytes::ZERO, now).unwrap();
            }
        }
        assert_eq!(ledger.begin(&owners[4], Bytes::ZERO, now), Err(Denied::Busy));
        ledger.end(&owners[0], Bytes::ZERO, false, now);
        assert_eq!(ledger.begin(&owners[1], Bytes::ZERO, now), Err(Denied::BusyOwner));
        assert_eq!(ledger.begin(&owners[4], Bytes::ZERO, now), Ok(()));
    }

    #[test]
    fn each_owner_has_a_quota_of_its_own() {
        let (mut ledger, now) = (Ledger::new(Some(Bytes::new(10))), Instant::now());
        let (one, two) = (owner("one"), owner("two"));
        ledger.begin(&one, Bytes::new(8), now).unwrap();
        assert_eq!(ledger.grow(&one, Bytes::new(8), Bytes::new(2), now), Ok(()));
        assert_eq!(ledger.grow(&one, Bytes::new(10), Bytes::new(1), now), Err(Denied::Never));
        ledger.end(&one, Bytes::new(10), true, now);
        assert_eq!(ledger.begin(&one, Bytes::new(1), now), Err(Denied::Later(WINDOW + GRAIN)));
        assert_eq!(ledger.begin(&two, Bytes::new(10), now), Ok(()));
    }

    #[test]
    fn accounts_without_use_are_forgotten() {
        let (mut ledger, now) = (Ledger::new(Some(Bytes::new(10))), Instant::now());
        ledger.begin(&owner("one"), Bytes::new(8), now).unwrap();
        ledger.end(&owner("one"), Bytes::new(8), true, now);
        ledger.begin(&owner("two"), Bytes::new(8), now).unwrap();
        assert_eq!(ledger.accounts.len(), 2);
        ledger.begin(&owner("two"), Bytes::ZERO, now + WINDOW + GRAIN).unwrap();
        assert_eq!(ledger.accounts.len(), 1);
    }
}
