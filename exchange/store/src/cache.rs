//! The policy that says which cached ref goes, kept beside the refs: whoever changes a ref's row changes it
//! here, and what the policy remembers is written in the same durable step.
//!
//! What is pinned is not in the policy. What it knows is only a hint about worth; which refs there are is in
//! their rows, so that a restart with lost or foreign records is no worse than a cold cache.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use pop_evict::{
    Admission, Change, Choice, Ghost, Head, Id, Policy, Record, Resident, Saved, Shadows, Worth,
};
use pop_units::{AttoFil, Bytes, PricePerByte};

use crate::error::{Error, StateError};
use crate::refs::{self, Brief};
use crate::state::{Batch, State};
use crate::store::Inner;

const RECORDS: &str = "store/evict";
const GHOSTS: &str = "store/evict-ghost";
const HEAD: &str = "store/evict-head";
/// Who used what on probation: 2 times 32,768 pairs of 8 bytes, so that a peer who wants to be counted again
/// must first complete as many serves of other things.
const PAIRS: usize = 1 << 15;

/// The policy with what must be known to feed it.
pub(crate) struct Cache {
    pub(crate) choice: Choice,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) shadows: Shadows,
    /// What refs may take that are not pinned, and those that are.
    soft: Bytes,
    pairs: Pairs,
    earned: Earned,
    pub(crate) totals: Totals,
}

/// What all refs come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) refs: u64,
    pub(crate) pinned_refs: u64,
    /// The sizes of pinned refs added up; what they share is counted in each.
    pub(crate) pinned: Bytes,
    /// The same of the others.
    pub(crate) cached: Bytes,
}

/// What refs that were paid for have earned, which tells the node's usual price.
#[derive(Clone, Copy, Debug, Default)]
struct Earned {
    revenue: u128,
    served: u64,
}

#[derive(Default)]
struct Pairs {
    hasher: RandomState,
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Pairs {
    /// Returns true for a pair that was not noted lately, and notes it.
    fn is_new(&mut self, root: &[u8], peer: &[u8]) -> bool {
        let pair = self.hasher.hash_one((root, peer));
        if self.young.contains(&pair) || self.old.contains(&pair) {
            return false;
        }
        if self.young.len() >= PAIRS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(pair)
    }
}

impl Earned {
    fn add(&mut self, brief: &Brief) {
        if !brief.revenue.is_zero() {
            self.revenue = self.revenue.saturating_add(brief.revenue.get());
            self.served = self.served.saturating_add(brief.bytes_served.get());
        }
    }

    fn sub(&mut self, brief: &Brief) {
        if !brief.revenue.is_zero() {
            self.revenue = self.revenue.saturating_sub(brief.revenue.get());
            self.served = self.served.saturating_sub(brief.bytes_served.get());
        }
    }

    /// Returns what a GiB brings here when it is paid for.
    fn typical(self) -> PricePerByte {
        let gib = self.revenue.checked_mul(u128::from(Bytes::GIB.get()));
        let price = gib.and_then(|gib| gib.checked_div(self.served.into()));
        price.map_or(PricePerByte::FREE, |price| PricePerByte::per_gib(AttoFil::new(price)))
    }
}

impl Cache {
    /// Brings the policy back from the rows; `soft` is what all refs may take.
    pub(crate) fn open(state: &State, choice: Choice, soft: Bytes) -> Result<Self, StateError> {
        let (mut residents, mut earned, mut totals) = (Vec::new(), Earned::default(), Totals::default());
        for brief in refs::list_bare(state)? {
            earned.add(&brief);
            totals.add(&brief);
            if !brief.pinned {
                let id = Id::new(&refs::id(&brief.root));
                let Brief { size, frequency, last_used, .. } = brief;
                residents.push(Resident { id, size, frequency, last_used });
            }
        }
        let capacity = soft.saturating_sub(totals.pinned);
        let policy = choice.restore(capacity, saved(state)?, residents);
        let shadows = Shadows::new(capacity, 0);
        let pairs = Pairs::default();
        Ok(Self { choice, policy, shadows, soft, pairs, earned, totals })
    }

    /// Follows the change of a ref's row from what it was to what it is; `None` stands for no ref.
    pub(crate) fn change(&mut self, was: Option<&Brief>, is: Option<&Brief>) {
        if let Some(was) = was {
            self.earned.sub(was);
            self.totals.sub(was);
        }
        if let Some(is) = is {
            self.earned.add(is);
            self.totals.add(is);
        }
        let capacity = self.soft.saturating_sub(self.totals.pinned);
        self.policy.set_capacity(capacity);
        self.shadows.set_capacity(capacity);
        match (was, is) {
            (_, Some(is)) if is.pinned => self.forget(&id(is)),
            (was, Some(is)) => {
                let (id, worth) = (id(is), self.worth(is));
                self.policy.insert(&id, is.size, worth);
                if was.is_none() {
                    self.shadows.request(&id, is.size, false);
                }
            }
            // Shadows go on with what was evicted here: they may have kept it.
            (Some(was), None) => drop(self.policy.remove(&id(was))),
            (None, None) => {}
        }
    }

    /// Forgets a ref that its owner removed or pinned: it is no longer a policy's choice.
    pub(crate) fn forget(&mut self, id: &Id) {
        self.policy.remove(id);
        self.shadows.remove(id);
    }

    /// Says whether content that nobody here asked for is worth a place.
    pub(crate) fn admits(&mut self, id: &[u8], size: Bytes) -> bool {
        let id = Id::new(id);
        self.policy.contains(&id) || self.policy.admit(&id, size) == Admission::Store
    }

    /// Counts a use of a ref; returns false when it does not count, because `peer` has had its turn.
    pub(crate) fn count_use(&mut self, brief: &Brief, peer: &[u8]) -> bool {
        let id = id(brief);
        if self.policy.on_probation(&id) && !self.pairs.is_new(id.as_bytes(), peer) {
            return false;
        }
        let worth = self.worth(brief);
        self.policy.hit(&id, worth);
        if !brief.pinned {
            self.shadows.request(&id, brief.size, true);
        }
        true
    }

    /// Follows what a ref has earned.
    pub(crate) fn note_earned(&mut self, was: &Brief, is: &Brief) {
        self.earned.sub(was);
        self.earned.add(is);
    }

    pub(crate) fn worth(&self, brief: &Brief) -> Worth {
        Worth::of(brief.revenue, brief.bytes_served, self.earned.typical())
    }
}

impl Totals {
    fn add(&mut self, brief: &Brief) {
        self.refs = self.refs.saturating_add(1);
        if brief.pinned {
            self.pinned_refs = self.pinned_refs.saturating_add(1);
            self.pinned = self.pinned.saturating_add(brief.size);
        } else {
            self.cached = self.cached.saturating_add(brief.size);
        }
    }

    fn sub(&mut self, brief: &Brief) {
        self.refs = self.refs.saturating_sub(1);
        if brief.pinned {
            self.pinned_refs = self.pinned_refs.saturating_sub(1);
            self.pinned = self.pinned.saturating_sub(brief.size);
        } else {
            self.cached = self.cached.saturating_sub(brief.size);
        }
    }
}

/// A ref before and after a change; `None` stands for no ref.
pub(crate) type Pair<'a> = (Option<&'a Brief>, Option<&'a Brief>);

impl Inner {
    /// Writes a batch that changes refs from what they were to what they are, with what the policy makes of
    /// it, durably. The caller holds `rows`.
    pub(crate) fn apply_with_cache(&self, batch: Batch, pairs: &[Pair<'_>]) -> Result<(), Error> {
        self.apply_changes(batch, pairs, |_| true)
    }

    /// As [`Self::apply_with_cache`], adding no row: what a disk still takes that is full.
    pub(crate) fn apply_removing(&self, batch: Batch, pairs: &[Pair<'_>]) -> Result<(), Error> {
        self.apply_changes(batch, pairs, |change| matches!(change, Change::Drop(_) | Change::DropGhost(_)))
    }

    fn apply_changes(
        &self,
        mut batch: Batch,
        pairs: &[Pair<'_>],
        is_written: impl Fn(&Change) -> bool,
    ) -> Result<(), Error> {
        let changes = {
            let mut cache = self.cache.lock();
            pairs.iter().for_each(|(was, is)| cache.change(*was, *is));
            let (changes, later): (Vec<_>, Vec<_>) =
                cache.policy.take_changes().into_iter().partition(is_written);
            cache.policy.put_back(&later);
            changes
        };
        write(&mut batch, &changes);
        let applied = self.state.apply(batch);
        if applied.is_err() {
            let mut cache = self.cache.lock();
            pairs.iter().for_each(|(was, is)| cache.change(*is, *was));
            cache.policy.put_back(&changes);
        }
        Ok(applied?)
    }

    /// Writes a batch that a crash in the next moments may undo, with what the policy has noted since.
    pub(crate) fn apply_soon_with_cache(&self, mut batch: Batch) -> Result<bool, Error> {
        let changes = self.cache.lock().policy.take_changes();
        write(&mut batch, &changes);
        let applied = self.state.apply_soon(batch);
        if applied.is_err() {
            self.cache.lock().policy.put_back(&changes);
        }
        Ok(applied?)
    }
}

/// Returns what a policy calls a ref.
pub(crate) fn id(brief: &Brief) -> Id {
    Id::new(&refs::id(&brief.root))
}

fn write(batch: &mut Batch, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Keep(id, record) => batch.set(RECORDS, id.as_bytes(), record.to_bytes().to_vec()),
            Change::Drop(id) => batch.unset(RECORDS, id.as_bytes()),
            Change::KeepGhost(ghost) => {
                batch.set(GHOSTS, &ghost.fingerprint.to_be_bytes(), ghost.to_bytes().to_vec());
            }
            Change::DropGhost(fingerprint) => batch.unset(GHOSTS, &fingerprint.to_be_bytes()),
            Change::Head(head) => batch.set(HEAD, &[], head.to_bytes().to_vec()),
        }
    }
}

fn saved(state: &State) -> Result<Saved, StateError> {
    let head = state.get(HEAD, &[])?.and_then(|row| Head::from_bytes(&row));
    let records = state.scan(RECORDS, &[])?.into_iter();
    let records = records.filter_map(|(id, row)| Some((Id::new(&id), Record::from_bytes(&row)?)));
    let ghosts = state.scan(GHOSTS, &[])?.into_iter();
    let ghost =
        |(key, row): (Vec<u8>, Vec<u8>)| Ghost::from_bytes(u64::from_be_bytes(key.try_into().ok()?), &row);
    Ok(Saved { head, records: records.collect(), ghosts: ghosts.filter_map(ghost).collect() })
}
