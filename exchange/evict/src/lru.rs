//! Least recently used: what every other policy is measured against, and easy to foresee.

use pop_units::Bytes;

use crate::ranking::Ranking;
use crate::{Admission, Id, Policy, Resident, Usage, Worth};

/// The least recently used goes.
#[derive(Clone, Debug)]
pub struct Lru {
    ranking: Ranking<()>,
}

impl Lru {
    /// Returns an empty policy.
    pub fn new(capacity: Bytes) -> Self {
        Self { ranking: Ranking::new(capacity) }
    }

    /// Returns the policy with what is `resident`, in order of last use.
    pub fn restore(capacity: Bytes, resident: impl IntoIterator<Item = Resident>) -> Self {
        let mut lru = Self::new(capacity);
        for found in by_last_use(resident) {
            lru.insert(&found.id, found.size, Worth::NEUTRAL);
        }
        lru
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
        self.ranking.admit(size)
    }

    fn insert(&mut self, id: &Id, size: Bytes, _worth: Worth) {
        self.ranking.insert(id, (), size);
    }

    fn hit(&mut self, id: &Id, _worth: Worth) -> bool {
        self.ranking.move_to(id, |()| ())
    }

    fn evict(&mut self, may_go: &dyn Fn(&Id) -> bool) -> Option<Id> {
        self.ranking.evict_first(may_go)
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
