//! SIEVE: one queue, and a hand that walks it from old to new and spares once what was visited.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use pop_units::Bytes;

use crate::lru::by_last_use;
use crate::{Admission, Id, Policy, Resident, Usage, Worth};

#[derive(Clone, Debug)]
struct Seat {
    order: u64,
    size: Bytes,
    visited: bool,
}

/// The first that the hand meets unvisited goes.
#[derive(Clone, Debug, Default)]
pub struct Sieve {
    capacity: Bytes,
    used: Bytes,
    seats: HashMap<Id, Seat>,
    queue: BTreeMap<u64, Id>,
    last: u64,
    /// The order that the hand looked at last; what is above it comes next.
    hand: u64,
}

impl Sieve {
    /// Returns an empty policy.
    pub fn new(capacity: Bytes) -> Self {
        Self { capacity, ..Self::default() }
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
        let above = (Bound::Excluded(self.hand), Bound::Unbounded);
        let next = self.queue.range(above).next().or_else(|| self.queue.first_key_value());
        let (order, id) = next.map(|(order, id)| (*order, id.clone()))?;
        self.hand = order;
        Some(id)
    }
}

impl Policy for Sieve {
    fn admit(&mut self, _id: &Id, size: Bytes) -> Admission {
        if size > self.capacity { Admission::Bypass } else { Admission::Store }
    }

    fn insert(&mut self, id: &Id, size: Bytes, _worth: Worth) {
        if self.seats.contains_key(id) {
            return self.resize(id, size);
        }
        self.last = self.last.saturating_add(1);
        self.used = self.used.saturating_add(size);
        self.queue.insert(self.last, id.clone());
        self.seats.insert(id.clone(), Seat { order: self.last, size, visited: false });
    }

    fn hit(&mut self, id: &Id, _worth: Worth) -> bool {
        let Some(seat) = self.seats.get_mut(id) else { return false };
        seat.visited = true;
        true
    }

    fn evict(&mut self, may_go: &dyn Fn(&Id) -> bool) -> Option<Id> {
        // Once round to clear, once more to find what was cleared: then nothing may go.
        for _ in 0..self.queue.len().saturating_mul(2) {
            let id = self.step()?;
            let seat = self.seats.get_mut(&id)?;
            if std::mem::take(&mut seat.visited) || !may_go(&id) {
                continue;
            }
            self.remove(&id);
            if self.queue.range(self.hand..).next().is_none() {
                // It was the newest: the hand starts over, and doesn't wait for what comes next.
                self.hand = 0;
            }
            return Some(id);
        }
        None
    }

    fn remove(&mut self, id: &Id) -> bool {
        let Some(seat) = self.seats.remove(id) else { return false };
        self.queue.remove(&seat.order);
        self.used = self.used.saturating_sub(seat.size);
        true
    }

    fn resize(&mut self, id: &Id, size: Bytes) {
        if let Some(seat) = self.seats.get_mut(id) {
            self.used = self.used.saturating_sub(seat.size).saturating_add(size);
            seat.size = size;
        }
    }

    fn set_capacity(&mut self, capacity: Bytes) {
        self.capacity = capacity;
    }

    fn usage(&self) -> Usage {
        let refs = u64::try_from(self.seats.len()).unwrap_or(u64::MAX);
        Usage { capacity: self.capacity, used: self.used, refs, ..Usage::default() }
    }

    fn contains(&self, id: &Id) -> bool {
        self.seats.contains_key(id)
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
