//! What a store holds and how its cache does, at one moment.

use pop_evict::{Choice, Tally, Usage};
use pop_units::Bytes;

use crate::store::Store;

/// Figures of a store; right at once after an open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// What the segment files take, with what in them is dead.
    pub used: Bytes,
    /// What of it is blocks that a ref or an open staging holds, each once, with its header.
    pub live: Bytes,
    /// What compactions would give back now.
    pub reclaimable: Bytes,
    /// What the segment files may take.
    pub capacity: Bytes,
    /// Eviction, once it must, goes on until the files take no more than this.
    pub low: Bytes,
    /// What rooms keep for content on its way in.
    pub reserved: Bytes,
    /// What was written since the open, with headers.
    pub written: Bytes,
    /// What compactions moved since the open: written a second time.
    pub moved: Bytes,
    /// The sizes of pinned refs added up; what they share counts in each.
    pub pinned: Bytes,
    /// How many refs there are.
    pub refs: u64,
    /// How many of them are pinned.
    pub pinned_refs: u64,
    /// How many blocks there are.
    pub blocks: u64,
    /// The policy that evicts.
    pub policy: Choice,
    /// What it holds.
    pub usage: Usage,
    /// What other policies would have done with the requests since the open.
    pub shadows: ShadowFigures,
}

/// How policies compare on a sample of the same requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShadowFigures {
    /// One ref of so many is in the sample.
    pub one_in: u64,
    /// What became of its requests under the policy that evicts.
    pub real: Tally,
    /// And under each policy alone, with a capacity as much smaller.
    pub others: Vec<(Choice, Tally)>,
}

impl Store {
    /// Returns the figures of this moment. Costs a look at each segment's counters, not at blocks or refs.
    pub fn figures(&self) -> Figures {
        let log = &self.inner.log;
        let sizes = log.sizes();
        let (written, moved) = log.traffic();
        let most_room = self.inner.most_room();
        let cache = self.inner.cache.lock();
        let others = cache.shadows.tallies().collect();
        Figures {
            used: log.used(),
            live: Bytes::new(log.live()),
            reclaimable: self.reclaimable(),
            capacity: Bytes::new(sizes.capacity),
            low: Bytes::new(sizes.soft.saturating_sub(sizes.margin(most_room.get()))),
            reserved: log.reserved(),
            written,
            moved,
            pinned: cache.totals.pinned,
            refs: cache.totals.refs,
            pinned_refs: cache.totals.pinned_refs,
            blocks: self.inner.index.count(),
            policy: cache.choice,
            usage: cache.policy.usage(),
            shadows: ShadowFigures { one_in: cache.shadows.one_in(), real: cache.shadows.real(), others },
        }
    }

    /// Returns what [`Store::compact`] with `force`, called until nothing is left, would give back.
    pub fn reclaimable(&self) -> Bytes {
        Bytes::new(self.inner.log.gain(crate::compact::ANY))
    }
}
