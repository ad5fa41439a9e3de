//! S3-FIFO: a small queue that newcomers pass through, a main queue with a two-bit count, a ghost queue.
//!
//! With the settings of the cache simulator libCacheSim: a tenth for the small queue, two uses to move up, a ghost
//! queue of the main queue's size in bytes, and nothing admitted that is as large as the small queue.

use std::collections::{BTreeMap, HashMap};

use pop_units::Bytes;

use crate::lru::by_last_use;
use crate::{Admission, Id, Policy, Resident, Usage, Worth};

/// Uses on the small queue that move a ref up.
const MOVE_UP: u8 = 2;
/// The count in the main queue has two bits.
const MOST: u8 = 3;

#[derive(Clone, Debug)]
struct Seat {
    order: u64,
    size: u64,
    is_main: bool,
    frequency: u8,
}

/// A queue in order of arrival, with its bytes.
#[derive(Clone, Debug, Default)]
struct Queue {
    ids: BTreeMap<u64, Id>,
    bytes: u64,
}

/// What is gone: fingerprints in order, up to a number of bytes.
#[derive(Clone, Debug, Default)]
struct Gone {
    known: HashMap<u64, (u64, u64)>,
    queue: BTreeMap<u64, u64>,
    bytes: u64,
}

/// The S3-FIFO policy.
#[derive(Clone, Debug, Default)]
pub struct S3Fifo {
    capacity: u64,
    seats: HashMap<Id, Seat>,
    small: Queue,
    main: Queue,
    gone: Gone,
    last: u64,
}

impl Gone {
    fn push(&mut self, fingerprint: u64, size: u64, order: u64, limit: u64) {
        self.take(fingerprint);
        while self.bytes.saturating_add(size) > limit {
            let Some((_, oldest)) = self.queue.pop_first() else { return };
            self.take(oldest);
        }
        self.known.insert(fingerprint, (order, size));
        self.queue.insert(order, fingerprint);
        self.bytes = self.bytes.saturating_add(size);
    }

    fn take(&mut self, fingerprint: u64) -> bool {
        let Some((order, size)) = self.known.remove(&fingerprint) else { return false };
        self.queue.remove(&order);
        self.bytes = self.bytes.saturating_sub(size);
        true
    }
}

impl S3Fifo {
    /// Returns an empty policy.
    pub fn new(capacity: Bytes) -> Self {
        Self { capacity: capacity.get(), ..Self::default() }
    }

    /// Returns the policy with what is `resident`, in order of last use; what was used twice is in the main queue.
    pub fn restore(capacity: Bytes, resident: impl IntoIterator<Item = Resident>) -> Self {
        let mut fifo = Self::new(capacity);
        for found in by_last_use(resident) {
            let frequency = u8::try_from(found.frequency).unwrap_or(u8::MAX).min(MOST);
            if !fifo.seats.contains_key(&found.id) {
                fifo.enter(found.id, found.size.get(), frequency >= MOVE_UP, frequency);
            }
        }
        fifo
    }

    fn small_limit(&self) -> u64 {
        self.capacity / 10
    }

    fn main_limit(&self) -> u64 {
        self.capacity - self.small_limit()
    }

    fn queue(&mut self, is_main: bool) -> &mut Queue {
        if is_main { &mut self.main } else { &mut self.small }
    }

    fn enter(&mut self, id: Id, size: u64, is_main: bool, frequency: u8) {
        self.last = self.last.saturating_add(1);
        let order = self.last;
        let queue = self.queue(is_main);
        queue.bytes = queue.bytes.saturating_add(size);
        queue.ids.insert(order, id.clone());
        self.seats.insert(id, Seat { order, size, is_main, frequency });
    }

    fn leave(&mut self, id: &Id) -> Option<Seat> {
        let seat = self.seats.remove(id)?;
        let queue = self.queue(seat.is_main);
        queue.bytes = queue.bytes.saturating_sub(seat.size);
        queue.ids.remove(&seat.order);
        Some(seat)
    }

    fn evict_small(&mut self, may_go: &dyn Fn(&Id) -> bool) -> Option<Id> {
        let mut from = 0;
        loop {
            let (order, id) = self.small.ids.range(from..).next().map(|(order, id)| (*order, id.clone()))?;
            from = order.saturating_add(1);
            if self.seats.get(&id).is_some_and(|seat| seat.frequency >= MOVE_UP) {
                let seat = self.leave(&id)?;
                self.enter(id, seat.size, true, 0);
            } else if may_go(&id) {
                let seat = self.leave(&id)?;
                self.last = self.last.saturating_add(1);
                let (order, limit) = (self.last, self.main_limit());
                self.gone.push(id.fingerprint(), seat.size, order, limit);
                return Some(id);
            }
        }
    }

    fn evict_main(&mut self, may_go: &dyn Fn(&Id) -> bool) -> Option<Id> {
        let mut from = 0;
        // Each round lowers every count by one; held refs are only walked past.
        loop {
            let (order, id) = self.main.ids.range(from..).next().map(|(order, id)| (*order, id.clone()))?;
            from = order.saturating_add(1);
            let frequency = self.seats.get(&id).map_or(0, |seat| seat.frequency);
            if frequency > 0 {
                let seat = self.leave(&id)?;
                self.enter(id, seat.size, true, frequency.min(MOST) - 1);
            } else if may_go(&id) {
                self.leave(&id);
                return Some(id);
            }
        }
    }
}

impl Policy for S3Fifo {
    fn admit(&mut self, _id: &Id, size: Bytes) -> Admission {
        if size.get() >= self.small_limit() { Admission::Bypass } else { Admission::Store }
    }

    fn insert(&mut self, id: &Id, size: Bytes, _worth: Worth) {
        if self.seats.contains_key(id) {
            return self.resize(id, size);
        }
        let was_gone = self.gone.take(id.fingerprint());
        self.enter(id.clone(), size.get(), was_gone, 0);
    }

    fn hit(&mut self, id: &Id, _worth: Worth) -> bool {
        let Some(seat) = self.seats.get_mut(id) else { return false };
        seat.frequency = seat.frequency.saturating_add(1);
        true
    }

    fn evict(&mut self, may_go: &dyn Fn(&Id) -> bool) -> Option<Id> {
        if self.main.bytes > self.main_limit() || self.small.ids.is_empty() {
            self.evict_main(may_go).or_else(|| self.evict_small(may_go))
        } else {
            self.evict_small(may_go).or_else(|| self.evict_main(may_go))
        }
    }

    fn remove(&mut self, id: &Id) -> bool {
        self.leave(id).is_some()
    }

    fn resize(&mut self, id: &Id, size: Bytes) {
        let Some(seat) = self.seats.get_mut(id) else { return };
        let old = std::mem::replace(&mut seat.size, size.get());
        let is_main = seat.is_main;
        let queue = self.queue(is_main);
        queue.bytes = queue.bytes.saturating_sub(old).saturating_add(size.get());
    }

    fn set_capacity(&mut self, capacity: Bytes) {
        self.capacity = capacity.get();
    }

    fn usage(&self) -> Usage {
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        Usage {
            capacity: Bytes::new(self.capacity),
            used: Bytes::new(self.small.bytes.saturating_add(self.main.bytes)),
            refs: count(self.seats.len()),
            probation: count(self.small.ids.len()),
            ghosts: count(self.gone.known.len()),
        }
    }

    fn contains(&self, id: &Id) -> bool {
        self.seats.contains_key(id)
    }

    fn on_probation(&self, id: &Id) -> bool {
        self.seats.get(id).is_some_and(|seat| !seat.is_main)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> Id {
        Id::new(&[number])
    }

    #[test]
    fn two_uses_move_up_and_a_ghost_comes_back_to_main() {
        let mut fifo = S3Fifo::new(Bytes::new(100));
        (0..100).for_each(|number| {
            fifo.request(&id(number), Bytes::new(1));
        });
        assert_eq!(fifo.usage().probation, 100);
        fifo.hit(&id(0), Worth::NEUTRAL);
        fifo.hit(&id(0), Worth::NEUTRAL);
        assert_eq!(fifo.evict(&|_| true), Some(id(1)));
        assert!(fifo.contains(&id(0)) && !fifo.on_probation(&id(0)));
        fifo.insert(&id(1), Bytes::new(1), Worth::NEUTRAL);
        assert!(!fifo.on_probation(&id(1)));
    }

    #[test]
    fn what_is_as_large_as_the_small_queue_is_refused_and_held_refs_stay() {
        let mut fifo = S3Fifo::new(Bytes::new(100));
        assert_eq!(fifo.admit(&id(1), Bytes::new(10)), Admission::Bypass);
        (0..50).for_each(|number| {
            fifo.request(&id(number), Bytes::new(1));
            fifo.hit(&id(number), Worth::NEUTRAL);
        });
        assert_eq!(fifo.evict(&|_| false), None);
        assert_eq!(fifo.evict(&|found| *found == id(49)), Some(id(49)));
        assert_eq!(fifo.usage().refs, 49);
    }
}
