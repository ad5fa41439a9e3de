//! Resident refs in one order with their sizes: what the policies without segments stand on.
//!
//! It exists so that [`crate::Lru`], [`crate::Lfu`] and [`crate::Sieve`] say only what differs between them. It never
//! decides who goes.

use std::collections::{BTreeMap, HashMap};

use pop_units::Bytes;

use crate::{Admission, Id, Usage};

/// Where a ref stands: its rank, and among equals when it came there.
type Place<R> = (R, u64);

#[derive(Clone, Debug)]
struct Seat<R, M> {
    place: Place<R>,
    size: Bytes,
    mark: M,
}

/// Refs by rank `R`, each with a mark `M` of the policy's.
#[derive(Clone, Debug)]
pub(crate) struct Ranking<R, M = ()> {
    capacity: Bytes,
    used: Bytes,
    seats: HashMap<Id, Seat<R, M>>,
    queue: BTreeMap<Place<R>, Id>,
    last: u64,
}

impl<R: Copy + Ord, M: Default> Ranking<R, M> {
    pub(crate) fn new(capacity: Bytes) -> Self {
        Self { capacity, used: Bytes::ZERO, seats: HashMap::new(), queue: BTreeMap::new(), last: 0 }
    }

    pub(crate) fn admit(&self, size: Bytes) -> Admission {
        if size > self.capacity { Admission::Bypass } else { Admission::Store }
    }

    /// Adds a ref behind its equals; one that is here keeps its place and takes the size.
    pub(crate) fn insert(&mut self, id: &Id, rank: R, size: Bytes) {
        if self.seats.contains_key(id) {
            return self.resize(id, size);
        }
        let place = self.enqueue(id, rank);
        self.used = self.used.saturating_add(size);
        self.seats.insert(id.clone(), Seat { place, size, mark: M::default() });
    }

    /// Puts a ref behind its new equals; returns false when it is not here.
    pub(crate) fn move_to(&mut self, id: &Id, rank: impl FnOnce(R) -> R) -> bool {
        let Some(old) = self.seats.get(id).map(|seat| seat.place) else { return false };
        self.queue.remove(&old);
        let place = self.enqueue(id, rank(old.0));
        if let Some(seat) = self.seats.get_mut(id) {
            seat.place = place;
        }
        true
    }

    fn enqueue(&mut self, id: &Id, rank: R) -> Place<R> {
        self.last = self.last.saturating_add(1);
        self.queue.insert((rank, self.last), id.clone());
        (rank, self.last)
    }

    /// Removes the first in order of those that may go.
    pub(crate) fn evict_first(&mut self, may_go: &dyn Fn(&Id) -> bool) -> Option<Id> {
        let id = self.queue.values().find(|id| may_go(id)).cloned()?;
        self.remove(&id);
        Some(id)
    }

    pub(crate) fn remove(&mut self, id: &Id) -> bool {
        let Some(seat) = self.seats.remove(id) else { return false };
        self.queue.remove(&seat.place);
        self.used = self.used.saturating_sub(seat.size);
        true
    }

    pub(crate) fn resize(&mut self, id: &Id, size: Bytes) {
        if let Some(seat) = self.seats.get_mut(id) {
            self.used = self.used.saturating_sub(seat.size).saturating_add(size);
            seat.size = size;
        }
    }

    pub(crate) fn mark(&mut self, id: &Id) -> Option<&mut M> {
        self.seats.get_mut(id).map(|seat| &mut seat.mark)
    }

    pub(crate) const fn queue(&self) -> &BTreeMap<Place<R>, Id> {
        &self.queue
    }

    pub(crate) const fn set_capacity(&mut self, capacity: Bytes) {
        self.capacity = capacity;
    }

    pub(crate) fn usage(&self) -> Usage {
        let refs = u64::try_from(self.seats.len()).unwrap_or(u64::MAX);
        Usage { capacity: self.capacity, used: self.used, refs, ..Usage::default() }
    }

    pub(crate) fn contains(&self, id: &Id) -> bool {
        self.seats.contains_key(id)
    }
}
