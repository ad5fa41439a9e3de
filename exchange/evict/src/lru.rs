//! Least recently used: what every other policy is measured against, and easy to foresee.

use std::collections::{BTreeMap, HashMap};

use pop_units::Bytes;

use crate::{Admission, Id, Policy, Resident, Usage, Worth};

/// The least recently used goes.
#[derive(Clone, Debug, Default)]
pub struct Lru {
    capacity: Bytes,
    used: Bytes,
    seats: HashMap<Id, (u64, Bytes)>,
    queue: BTreeMap<u64, Id>,
    last: u64,
}

impl Lru {
    /// Returns an empty policy.
    pub fn new(capacity: Bytes) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// Returns the policy with what is `resident`, in order of last use.
    pub fn restore(capacity: Bytes, resident: impl IntoIterator<Item = Resident>) -> Self {
        let mut lru = Self::new(capacity);
        for found in by_last_use(resident) {
            lru.insert(&found.id, found.size, Worth::NEUTRAL);
        }
        lru
    }

    fn next(&mut self, id: &Id) -> u64 {
        self.last = self.last.saturating_add(1);
        self.queue.insert(self.last, id.clone());
        self.last
    }
}

/// Returns what is resident in order of last use.
pub(crate) fn by_last_use(resident: impl IntoIterator<Item = Resident>) -> Vec<Resident> {
    let mut resident: Vec<Resident> = resident.into_iter().collect();
    resident.sort_by(|a, b| (a.last_used, &a.id).cmp(&(b.last_used, &b.id)));
    resident
}

impl Policy for Lru {
    fn admit(&mut self, _id: &Id, size: Bytes) -> Admission {
        if size > self.capacity { Admission::Bypass } else { Admission::Store }
    }

    fn insert(&mut self, id: &Id, size: Bytes, _worth: Worth) {
        if self.seats.contains_key(id) {
            return self.resize(id, size);
        }
        let order = self.next(id);
        self.used = self.used.saturating_add(size);
        self.seats.insert(id.clone(), (order, size));
    }

    fn hit(&mut self, id: &Id, _worth: Worth) -> bool {
        let Some((old, _)) = self.seats.get(id).copied() else { return false };
        self.queue.remove(&old);
        let order = self.next(id);
        if let Some(seat) = self.seats.get_mut(id) {
            seat.0 = order;
        }
        true
    }

    fn evict(&mut self, may_go: &dyn Fn(&Id) -> bool) -> Option<Id> {
        let id = self.queue.values().find(|id| may_go(id)).cloned()?;
        self.remove(&id);
        Some(id)
    }

    fn remove(&mut self, id: &Id) -> bool {
        let Some((order, size)) = self.seats.remove(id) else { return false };
        self.queue.remove(&order);
        self.used = self.used.saturating_sub(size);
        true
    }

    fn resize(&mut self, id: &Id, size: Bytes) {
        if let Some((_, old)) = self.seats.get_mut(id) {
            self.used = self.used.saturating_sub(*old).saturating_add(size);
            *old = size;
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
    fn the_least_recently_used_goes_and_held_refs_keep_their_place() {
        let mut lru = Lru::new(Bytes::new(10));
        let ids: Vec<Id> = (0..4_u8).map(|n| Id::new(&[n])).collect();
        ids.iter().for_each(|id| lru.insert(id, Bytes::new(2), Worth::NEUTRAL));
        lru.hit(&ids[0], Worth::NEUTRAL);
        assert_eq!(lru.evict(&|id| *id != ids[1]), Some(ids[2].clone()));
        assert_eq!(lru.evict(&|_| true), Some(ids[1].clone()));
        assert_eq!(lru.usage().used, Bytes::new(4));
        assert_eq!(lru.evict(&|_| false), None);
    }
}
