//! Aged frequency: probation in order of arrival, a main segment by rank, ghosts that remember.
//!
//! A newcomer stays on probation until it is used again, later than right away. In the main segment each use is
//! worth a weight that falls slowly with size, on top of a floor that rises to the rank of each victim: so what was
//! popular once goes without sweeps, timers or clocks. What went is remembered with half its uses, and comes back
//! into the main segment.
//!
//! A use writes nothing but the ref's own record: its key in the main index stays behind as a lower bound, and is
//! put right when it comes up for eviction.

mod ghosts;
mod restore;
mod weight;

use std::collections::{BTreeMap, HashMap};

use pop_units::Bytes;

use crate::aged::ghosts::Ghosts;
use crate::aged::weight::merit;
use crate::journal::Journal;
use crate::saved::{Change, Ghost, Head, Record, Segment};
use crate::{Admission, Id, Policy, Usage, Worth};

/// The part of the capacity above which the main segment gives first: all but an eighth.
const PROBATION_SHARE: u64 = 8;
/// The youngest eighth of probation: a use there comes right after the first and proves nothing.
const YOUNG_SHARE: u64 = 8;
/// What is larger than this part of the capacity must be asked for twice.
const GATE_SHARE: u64 = 2;
/// Ghosts for each resident ref, and the least number of refs to count with.
const GHOSTS: (usize, usize) = (2, 16);

/// Rank and order: the lowest goes first.
type Key = (u64, u64);

/// What is known of a resident ref.
#[derive(Clone, Debug)]
struct Seat {
    size: u64,
    rank: u64,
    order: u64,
    /// Where the main index has it; at or below rank and order.
    key: Key,
    segment: Segment,
    frequency: u8,
    worth: Worth,
}

/// The aged-frequency policy, the default.
#[derive(Clone, Debug, Default)]
pub struct Aged {
    capacity: u64,
    used: u64,
    main_bytes: u64,
    seats: HashMap<Id, Seat>,
    probation: BTreeMap<u64, Id>,
    main: BTreeMap<Key, Id>,
    ghosts: Ghosts,
    head: Head,
    journal: Journal,
}

impl Aged {
    /// Returns an empty policy that keeps no rows.
    pub fn new(capacity: Bytes) -> Self {
        Self { capacity: capacity.get(), ..Self::default() }
    }

    /// Gives the next order of the main segment and of ghosts.
    fn next(&mut self) -> u64 {
        self.head.last = self.head.last.saturating_add(1);
        self.head.last
    }

    /// Returns whether a use right after the first says nothing.
    fn is_young(&self, order: u64) -> bool {
        let length = u64::try_from(self.probation.len()).unwrap_or(u64::MAX);
        self.head.last_probation.saturating_sub(order) < length / YOUNG_SHARE
    }

    /// Puts a ref that is in no segment into the main one.
    fn enter_main(&mut self, id: Id, size: u64, frequency: u8, worth: Worth) {
        let order = self.next();
        let rank = self.head.floor.saturating_add(merit(frequency, size, worth));
        let key = (rank, order);
        self.main_bytes = self.main_bytes.saturating_add(size);
        self.main.insert(key, id.clone());
        self.seats.insert(id, Seat { size, rank, order, key, segment: Segment::Main, frequency, worth });
    }

    fn enter_probation(&mut self, id: Id, size: u64, worth: Worth) {
        self.head.last_probation = self.head.last_probation.saturating_add(1);
        let order = self.head.last_probation;
        self.probation.insert(order, id.clone());
        let key = (0, order);
        let segment = Segment::Probation;
        self.seats.insert(id, Seat { size, rank: 0, order, key, segment, frequency: 0, worth });
    }

    /// Takes a ref out of its segment and out of the counts.
    fn leave(&mut self, id: &Id) -> Option<Seat> {
        let seat = self.seats.remove(id)?;
        self.used = self.used.saturating_sub(seat.size);
        match seat.segment {
            Segment::Probation => {
                self.probation.remove(&seat.order);
            }
            Segment::Main => {
                self.main_bytes = self.main_bytes.saturating_sub(seat.size);
                self.main.remove(&seat.key);
            }
        }
        self.journal.moved(id);
        Some(seat)
    }

    fn remember(&mut self, id: &Id, frequency: u8) {
        let order = self.next();
        let fingerprint = id.fingerprint();
        self.ghosts.push(fingerprint, frequency, order);
        self.journal.haunted(fingerprint);
        self.trim_ghosts();
    }

    fn trim_ghosts(&mut self) {
        let (each, least) = GHOSTS;
        while self.ghosts.len() > self.seats.len().max(least).saturating_mul(each) {
            let Some(fingerprint) = self.ghosts.pop() else { break };
            self.journal.haunted(fingerprint);
        }
    }

    /// Returns the lowest of the main segment at or above `from`, every key up to it put right.
    fn lowest(&mut self, from: Key) -> Option<(Key, Id)> {
        loop {
            let (key, id) = self.main.range(from..).next().map(|(key, id)| (*key, id.clone()))?;
            let Some(seat) = self.seats.get_mut(&id) else {
                self.main.remove(&key);
                continue;
            };
            let right = (seat.rank, seat.order);
            if key == right {
                return Some((key, id));
            }
            seat.key = right;
            self.main.remove(&key);
            self.main.insert(right, id);
        }
    }

    /// Returns the lowest of the main segment that may go, and how far it looked.
    fn main_victim(&mut self, mut from: Key, may_go: &dyn Fn(&Id) -> bool) -> (Key, Option<Id>) {
        while let Some((key, id)) = self.lowest(from) {
            if may_go(&id) {
                return (key, Some(id));
            }
            from = (key.0, key.1.saturating_add(1));
        }
        (from, None)
    }

    fn evict_main(&mut self, id: &Id) {
        let Some(seat) = self.leave(id) else { return };
        self.head.floor = self.head.floor.max(seat.rank);
        self.remember(id, seat.frequency / 2);
    }

    /// Moves a ref that was used on probation to the main segment; returns its key there.
    fn promote(&mut self, id: &Id) -> Key {
        let Some(seat) = self.leave(id) else { return (0, 0) };
        self.used = self.used.saturating_add(seat.size);
        self.enter_main(id.clone(), seat.size, seat.frequency, seat.worth);
        self.seats.get(id).map_or((0, 0), |seat| seat.key)
    }

    fn record(seat: &Seat) -> Record {
        Record {
            segment: seat.segment,
            frequency: seat.frequency,
            worth: seat.worth,
            size: Bytes::new(seat.size),
            rank: seat.rank,
            order: seat.order,
        }
    }
}

impl Policy for Aged {
    fn admit(&mut self, id: &Id, size: Bytes) -> Admission {
        if size.get() > self.capacity {
            return Admission::Bypass;
        }
        let fingerprint = id.fingerprint();
        if self.ghosts.recall(fingerprint) {
            // Its row goes with the next step, or rows of what is never fetched would pile up.
            self.journal.noticed(fingerprint);
            return Admission::Store;
        }
        if size.get() > self.capacity / GATE_SHARE {
            self.remember(id, 0);
            return Admission::Ghost;
        }
        Admission::Store
    }

    fn insert(&mut self, id: &Id, size: Bytes, worth: Worth) {
        if self.seats.contains_key(id) {
            return self.resize(id, size);
        }
        let size = size.get();
        self.used = self.used.saturating_add(size);
        self.journal.moved(id);
        let fingerprint = id.fingerprint();
        match self.ghosts.take(fingerprint) {
            Some(frequency) => {
                self.journal.haunted(fingerprint);
                self.enter_main(id.clone(), size, frequency.saturating_add(1), worth);
            }
            None => self.enter_probation(id.clone(), size, worth),
        }
    }

    fn hit(&mut self, id: &Id, worth: Worth) -> bool {
        let Some(seat) = self.seats.get(id) else { return false };
        let proves = seat.segment == Segment::Main || !self.is_young(seat.order);
        let order = if seat.segment == Segment::Main { Some(self.next()) } else { None };
        let floor = self.head.floor;
        if let Some(seat) = self.seats.get_mut(id) {
            seat.worth = worth;
            if proves {
                seat.frequency = seat.frequency.saturating_add(1);
            }
            if let Some(order) = order {
                seat.order = order;
                // A worth that fell must not pull a rank below its key.
                seat.rank = floor.saturating_add(merit(seat.frequency, seat.size, worth)).max(seat.rank);
            }
        }
        self.journal.used(id);
        true
    }

    fn evict(&mut self, may_go: &dyn Fn(&Id) -> bool) -> Option<Id> {
        let mut main_from = (0, 0);
        let mut probation_from = 0;
        loop {
            let oldest = self.probation.range(probation_from..).next();
            let oldest = oldest.map(|(order, id)| (*order, id.clone()));
            let is_full = self.main_bytes > self.capacity - self.capacity / PROBATION_SHARE;
            if is_full || oldest.is_none() {
                let (key, victim) = self.main_victim(main_from, may_go);
                main_from = key;
                if let Some(id) = victim {
                    self.evict_main(&id);
                    return Some(id);
                }
            }
            let (order, id) = oldest?;
            if self.seats.get(&id).is_some_and(|seat| seat.frequency > 0) {
                main_from = main_from.min(self.promote(&id));
            } else if may_go(&id) {
                self.leave(&id);
                self.remember(&id, 0);
                return Some(id);
            } else {
                probation_from = order.saturating_add(1);
            }
        }
    }

    fn remove(&mut self, id: &Id) -> bool {
        let was_here = self.leave(id).is_some();
        self.trim_ghosts();
        was_here
    }

    fn resize(&mut self, id: &Id, size: Bytes) {
        let Some(seat) = self.seats.get_mut(id) else { return };
        let old = std::mem::replace(&mut seat.size, size.get());
        let grown = |total: u64| total.saturating_sub(old).saturating_add(size.get());
        self.used = grown(self.used);
        if seat.segment == Segment::Main {
            self.main_bytes = grown(self.main_bytes);
        }
        self.journal.moved(id);
    }

    fn set_capacity(&mut self, capacity: Bytes) {
        self.capacity = capacity.get();
    }

    fn usage(&self) -> Usage {
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        Usage {
            capacity: Bytes::new(self.capacity),
            used: Bytes::new(self.used),
            refs: count(self.seats.len()),
            probation: count(self.probation.len()),
            ghosts: count(self.ghosts.len()),
        }
    }

    fn contains(&self, id: &Id) -> bool {
        self.seats.contains_key(id)
    }

    fn on_probation(&self, id: &Id) -> bool {
        self.seats.get(id).is_some_and(|seat| seat.segment == Segment::Probation)
    }

    fn is_changed(&self) -> bool {
        self.journal.is_urgent()
    }

    fn take_changes(&mut self) -> Vec<Change> {
        if self.journal.is_empty() {
            return Vec::new();
        }
        let (refs, ghosts) = self.journal.take();
        let refs = refs.into_iter().map(|id| match self.seats.get(&id) {
            Some(seat) => Change::Keep(id, Self::record(seat)),
            None => Change::Drop(id),
        });
        let ghosts = ghosts.into_iter().map(|fingerprint| match self.ghosts.get(fingerprint) {
            Some((frequency, order)) => Change::KeepGhost(Ghost { fingerprint, frequency, order }),
            None => Change::DropGhost(fingerprint),
        });
        refs.chain(ghosts).chain([Change::Head(self.head)]).collect()
    }

    fn put_back(&mut self, changes: &[Change]) {
        self.journal.put_back(changes);
    }
}

#[cfg(test)]
mod tests;
