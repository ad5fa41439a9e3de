//! What other policies would have done: each runs over a sample of the refs, with a capacity as much smaller.
//!
//! A ref is in the sample by its fingerprint, so all of its requests are or none. The figures compare policies with
//! each other on equal terms, and with the real one, which also has pinned refs, held refs and a watermark to care
//! for. Memory is bounded: when a shadow holds too many refs, the sample and all capacities are halved.

use std::collections::HashSet;

use pop_units::Bytes;

use crate::id::mix;
use crate::{Choice, Id, Policy};

/// Refs that one shadow holds at most: four of them with their ghosts stay below some ten MiB.
const MOST_REFS: u64 = 8192;
/// Never sample less than one in 2^20: fewer refs say nothing.
const RAREST: u32 = 20;

/// What became of the sampled requests under one policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests seen.
    pub requests: u64,
    /// Of these, how many were hits.
    pub hits: u64,
    /// Bytes asked for.
    pub bytes: Bytes,
    /// Of these, how many were hits.
    pub hit_bytes: Bytes,
}

impl Tally {
    fn count(&mut self, size: Bytes, is_hit: bool) {
        self.requests = self.requests.saturating_add(1);
        self.bytes = self.bytes.saturating_add(size);
        if is_hit {
            self.hits = self.hits.saturating_add(1);
            self.hit_bytes = self.hit_bytes.saturating_add(size);
        }
    }
}

/// The policies beside the real one.
#[derive(Debug)]
pub struct Shadows {
    capacity: Bytes,
    /// One ref in 2^rarity is sampled.
    rarity: u32,
    real: Tally,
    shadows: Vec<Shadow>,
}

#[derive(Debug)]
struct Shadow {
    choice: Choice,
    policy: Box<dyn Policy>,
    /// What it holds, to be thinned out.
    present: HashSet<Id>,
    tally: Tally,
}

impl Shadows {
    /// Returns shadows of a cache of `capacity`, over one ref in 2^`rarity` to begin with.
    pub fn new(capacity: Bytes, rarity: u32) -> Self {
        let rarity = rarity.min(RAREST);
        let shadow = |choice: Choice| Shadow {
            choice,
            policy: choice.fresh(scaled(capacity, rarity)),
            present: HashSet::new(),
            tally: Tally::default(),
        };
        Self {
            capacity,
            rarity,
            real: Tally::default(),
            shadows: Choice::ALL.into_iter().map(shadow).collect(),
        }
    }

    /// Tells of one request and whether the real policy had it; does nothing outside the sample.
    pub fn request(&mut self, id: &Id, size: Bytes, was_hit: bool) {
        if !is_sampled(id, self.rarity) {
            return;
        }
        self.real.count(size, was_hit);
        for shadow in &mut self.shadows {
            shadow.request(id, size);
        }
        while self.rarity < RAREST && self.shadows.iter().any(|shadow| shadow.policy.usage().refs > MOST_REFS)
        {
            self.thin();
        }
    }

    /// Tells that the owner removed or pinned a ref: it is no longer anybody's choice.
    pub fn remove(&mut self, id: &Id) {
        for shadow in &mut self.shadows {
            shadow.policy.remove(id);
            shadow.present.remove(id);
        }
    }

    /// Sets the capacity of the real policy.
    pub fn set_capacity(&mut self, capacity: Bytes) {
        self.capacity = capacity;
        let scaled = scaled(capacity, self.rarity);
        self.shadows.iter_mut().for_each(|shadow| shadow.set_capacity(scaled));
    }

    /// Returns of how many refs one is sampled.
    pub fn one_in(&self) -> u64 {
        1 << self.rarity
    }

    /// Returns what became of the sampled requests under the real policy.
    pub fn real(&self) -> Tally {
        self.real
    }

    /// Returns what would have become of them under each policy.
    pub fn tallies(&self) -> impl Iterator<Item = (Choice, Tally)> {
        self.shadows.iter().map(|shadow| (shadow.choice, shadow.tally))
    }

    fn thin(&mut self) {
        self.rarity += 1;
        let (rarity, capacity) = (self.rarity, scaled(self.capacity, self.rarity));
        for shadow in &mut self.shadows {
            let (policy, present) = (&mut shadow.policy, &mut shadow.present);
            present.retain(|id| {
                let stays = is_sampled(id, rarity);
                if !stays {
                    policy.remove(id);
                }
                stays
            });
            shadow.set_capacity(capacity);
        }
    }
}

impl Shadow {
    fn request(&mut self, id: &Id, size: Bytes) {
        let is_hit = self.policy.hit(id, crate::Worth::NEUTRAL);
        self.tally.count(size, is_hit);
        if is_hit || self.policy.admit(id, size) != crate::Admission::Store {
            return;
        }
        self.make_room(size);
        self.policy.insert(id, size, crate::Worth::NEUTRAL);
        self.present.insert(id.clone());
    }

    fn set_capacity(&mut self, capacity: Bytes) {
        self.policy.set_capacity(capacity);
        self.make_room(Bytes::ZERO);
    }

    fn make_room(&mut self, size: Bytes) {
        while self.policy.usage().used.saturating_add(size) > self.policy.usage().capacity {
            let Some(gone) = self.policy.evict(&|_| true) else { break };
            self.present.remove(&gone);
        }
    }
}

fn scaled(capacity: Bytes, rarity: u32) -> Bytes {
    Bytes::new(capacity.get() >> rarity)
}

/// Mixed once more: the fingerprint itself also names ghosts.
fn is_sampled(id: &Id, rarity: u32) -> bool {
    mix(id.fingerprint()).trailing_zeros() >= rarity
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> Id {
        Id::new(&number.to_be_bytes())
    }

    #[test]
    fn all_policies_and_the_real_one_see_the_same_sample() {
        let mut shadows = Shadows::new(Bytes::new(1000), 2);
        (0..4000).for_each(|number| shadows.request(&id(number % 2000), Bytes::new(1), number % 2 == 0));
        let real = shadows.real();
        assert!((700..1300).contains(&real.requests), "{real:?}");
        assert!(shadows.tallies().all(|(_, tally)| tally.requests == real.requests));
        assert!(shadows.shadows.iter().all(|shadow| shadow.policy.usage().used <= Bytes::new(250)));
    }

    #[test]
    fn many_small_refs_make_the_sample_rarer_and_never_pass_the_bound() {
        let mut shadows = Shadows::new(Bytes::GIB, 0);
        (0..60_000).for_each(|number| shadows.request(&id(number), Bytes::new(1), false));
        assert!(shadows.one_in() >= 4);
        for shadow in &shadows.shadows {
            assert!(shadow.policy.usage().refs <= MOST_REFS);
            assert_eq!(u64::try_from(shadow.present.len()), Ok(shadow.policy.usage().refs));
        }
    }

    #[test]
    fn a_removed_ref_is_a_miss_again() {
        let mut shadows = Shadows::new(Bytes::new(100), 0);
        shadows.request(&id(1), Bytes::new(1), false);
        shadows.request(&id(1), Bytes::new(1), true);
        shadows.remove(&id(1));
        shadows.request(&id(1), Bytes::new(1), false);
        assert!(shadows.tallies().all(|(_, tally)| (tally.hits, tally.requests) == (1, 3)));
        assert_eq!(shadows.real().hit_bytes, Bytes::new(1));
    }
}
