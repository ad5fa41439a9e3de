//! Plain frequency, only as a baseline: it never forgets, and keeps what was popular once.

use pop_units::Bytes;

use crate::ranking::Ranking;
use crate::{Admission, Id, Policy, Usage, Worth};

/// The least frequently used goes; among equals the one used longest ago.
#[derive(Clone, Debug)]
pub struct Lfu {
    ranking: Ranking<u64>,
}

impl Lfu {
    /// Returns an empty policy.
    pub fn new(capacity: Bytes) -> Self {
        Self { ranking: Ranking::new(capacity) }
    }
}

impl Policy for Lfu {
    fn admit(&mut self, _id: &Id, size: Bytes) -> Admission {
        self.ranking.admit(size)
    }

    fn insert(&mut self, id: &Id, size: Bytes, _worth: Worth) {
        self.ranking.insert(id, 1, size);
    }

    fn hit(&mut self, id: &Id, _worth: Worth) -> bool {
        self.ranking.move_to(id, |frequency| frequency.saturating_add(1))
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
