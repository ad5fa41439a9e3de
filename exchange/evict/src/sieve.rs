//! SIEVE: one queue, and a hand that walks it from old to new and spares once what was visited.

use std::ops::Bound;

use pop_units::Bytes;

use crate::lru::by_last_use;
use crate::ranking::Ranking;
use crate::{Admission, Id, Policy, Resident, Usage, Worth};

/// The first that the hand meets unvisited goes.
#[derive(Clone, Debug)]
pub struct Sieve {
    /// In the order in which they came; marked when visited.
    ranking: Ranking<(), bool>,
    /// The order that the hand looked at last; what is above it comes next.
    hand: u64,
}

impl Sieve {
    /// Returns an empty policy.
    pub fn new(capacity: Bytes) -> Self {
        Self { ranking: Ranking::new(capacity), hand: 0 }
    }

    /// Returns the policy with what is `resident`, in order of last use; what was used counts as visited.
    pub fn restore(capacity: Bytes, resident: impl IntoIterator<Item = Resident>) -> Self {
        let mut sieve = Self::new(capacity);
        for found in by_last_use(resident) {
            sieve.insert(&found.id, found.size, Worth::NEUTRAL);
            if found.frequency > 0 {
                sieve.hit(&found.id, Worth::NEUTRAL);
            }
        }
        sieve
    }

    /// Moves the hand one on, from the newest back to the oldest.
    fn step(&mut self) -> Option<Id> {
        let above = (Bound::Excluded(((), self.hand)), Bound::Unbounded);
        let queue = self.ranking.queue();
        let next = queue.range(above).next().or_else(|| queue.first_key_value());
        let (order, id) = next.map(|(((), order), id)| (*order, id.clone()))?;
        self.hand = order;
        Some(id)
    }
}

impl Policy for Sieve {
    fn admit(&mut self, _id: &Id, size: Bytes) -> Admission {
        self.ranking.admit(size)
    }

    fn insert(&mut self, id: &Id, size: Bytes, _worth: Worth) {
        self.ranking.insert(id, (), size);
    }

    fn hit(&mut self, id: &Id, _worth: Worth) -> bool {
        let Some(visited) = self.ranking.mark(id) else { return false };
        *visited = true;
        true
    }

    fn evict(&mut self, may_go: &dyn Fn(&Id) -> bool) -> Option<Id> {
        // Once round to clear, once more to find what was cleared: then nothing may go.
        for _ in 0..self.ranking.queue().len().saturating_mul(2) {
            let id = self.step()?;
            if std::mem::take(self.ranking.mark(&id)?) || !may_go(&id) {
                continue;
            }
            self.ranking.remove(&id);
            if self.ranking.queue().range(((), self.hand)..).next().is_none() {
                // It was the newest: the hand starts over, and doesn't wait for what comes next.
                self.hand = 0;
            }
            return Some(id);
        }
        None
    }

    fn remove(&mut self, id: &Id) -> bool {
        self.ranking.remove(id)
    }

    fn resize(&mut self, id: &Id, size: Bytes) {
        self.ranking.resize(id, size);
    }

    fn set_capacity(&mut self, capacity: Bytes) {
        self.ranking.set_capacity(capacity);
    }

    fn usage(&self) -> Usage {
        self.ranking.usage()
    }

    fn contains(&self, id: &Id) -> bool {
        self.ranking.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hand_spares_what_was_visited_once() {
        let mut sieve = Sieve::new(Bytes::new(10));
        let ids: Vec<Id> = (0..4_u8).map(|n| Id::new(&[n])).collect();
        ids.iter().for_each(|id| sieve.insert(id, Bytes::new(2), Worth::NEUTRAL));
        sieve.hit(&ids[0], Worth::NEUTRAL);
        assert_eq!(sieve.evict(&|_| true), Some(ids[1].clone()));
        assert_eq!(sieve.evict(&|id| *id == ids[0]), Some(ids[0].clone()));
        assert_eq!(sieve.evict(&|_| false), None);
        assert_eq!(sieve.usage().used, Bytes::new(4));
    }
}
