//! Plain frequency, only as a baseline: it never forgets, and keeps what was popular once.

use std::collections::{BTreeMap, HashMap};

use pop_units::Bytes;

use crate::{Admission, Id, Policy, Usage, Worth};

/// The least frequently used goes; among equals the one used longest ago.
#[derive(Clone, Debug, Default)]
pub struct Lfu {
    capacity: Bytes,
    used: Bytes,
    seats: HashMap<Id, ((u64, u64), Bytes)>,
    queue: BTreeMap<(u64, u64), Id>,
    last: u64,
}

impl Lfu {
    /// Returns an empty policy.
    pub fn new(capacity: Bytes) -> Self {
        Self { capacity, ..Self::default() }
    }

    fn place(&mut self, id: &Id, frequency: u64, size: Bytes) {
        self.last = self.last.saturating_add(1);
        let key = (frequency, self.last);
        self.queue.insert(key, id.clone());
        self.seats.insert(id.clone(), (key, size));
    }
}

impl Policy for Lfu {
    fn admit(&mut self, _id: &Id, size: Bytes) -> Admission {
        if size > self.capacity { Admission::Bypass } else { Admission::Store }
    }

    fn insert(&mut self, id: &Id, size: Bytes, _worth: Worth) {
        if self.seats.contains_key(id) {
            return self.resize(id, size);
        }
        self.used = self.used.saturating_add(size);
        self.place(id, 1, size);
    }

    fn hit(&mut self, id: &Id, _worth: Worth) -> bool {
        let Some((key, size)) = self.seats.get(id).copied() else { return false };
        self.queue.remove(&key);
        self.place(id, key.0.saturating_add(1), size);
        true
    }

    fn evict(&mut self, may_go: &dyn Fn(&Id) -> bool) -> Option<Id> {
        let id = self.queue.values().find(|id| may_go(id)).cloned()?;
        self.remove(&id);
        Some(id)
    }

    fn remove(&mut self, id: &Id) -> bool {
        let Some((key, size)) = self.seats.remove(id) else { return false };
        self.queue.remove(&key);
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
    fn the_least_used_goes() {
        let mut lfu = Lfu::new(Bytes::new(10));
        let ids: Vec<Id> = (0..3_u8).map(|n| Id::new(&[n])).collect();
        ids.iter().for_each(|id| lfu.insert(id, Bytes::new(2), Worth::NEUTRAL));
        lfu.hit(&ids[0], Worth::NEUTRAL);
        lfu.hit(&ids[1], Worth::NEUTRAL);
        assert_eq!(lfu.evict(&|_| true), Some(ids[2].clone()));
        assert_eq!(lfu.evict(&|_| true), Some(ids[0].clone()));
        assert_eq!(lfu.usage().used, Bytes::new(2));
    }
}
