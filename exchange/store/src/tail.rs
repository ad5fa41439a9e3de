//! What lies at the ends of segments, and from where on nothing needs it.
//!
//! A put that fails in a nearly full store must give its room back at once, so dead records at the end of a
//! segment are cut off. A cut takes tombstones along only together with the blocks they bury, because a
//! tombstone must not go before its block.

use std::collections::{BTreeMap, VecDeque};

/// 16 GiB of 256 KiB blocks. Of what came before them the room comes back later; bounds the memory to 2 MiB.
const MOST: usize = 1 << 16;

enum Kind {
    Live,
    Dead,
    /// Buries the block at this offset of the same segment; `None` when it lies elsewhere.
    Tombstone(Option<u64>),
}

struct Record {
    offset: u64,
    kind: Kind,
}

/// The last records written, by segment. What else is in a segment is not known, and stays.
#[derive(Default)]
pub(crate) struct Tails {
    segments: BTreeMap<u32, VecDeque<Record>>,
    count: usize,
}

impl Tails {
    /// Notes a block, which the index is about to point to.
    pub(crate) fn on_put(&mut self, segment: u32, offset: u64) {
        self.push(segment, Record { offset, kind: Kind::Live });
    }

    /// Notes a tombstone, and where the block lies that it buries.
    pub(crate) fn on_tombstone(&mut self, segment: u32, offset: u64, buried: (u32, u64)) {
        let is_known = buried.0 == segment && self.record(buried.0, buried.1).is_some();
        self.push(segment, Record { offset, kind: Kind::Tombstone(is_known.then_some(buried.1)) });
    }

    /// Notes that the index no longer points to a block.
    pub(crate) fn on_dead(&mut self, segment: u32, offset: u64) {
        if let Some(record) = self.record(segment, offset) {
            record.kind = Kind::Dead;
        }
    }

    /// Returns the segments that hold nothing that is needed from some offset on, with the lowest such.
    pub(crate) fn dead_ends(&self) -> Vec<(u32, u64)> {
        let ends = self.segments.iter().map(|(id, records)| Some(*id).zip(dead_from(records)));
        ends.flatten().collect()
    }

    /// Forgets what was cut off, and returns how many tombstones were among it.
    pub(crate) fn on_cut(&mut self, segment: u32, offset: u64) -> i64 {
        let Some(records) = self.segments.get_mut(&segment) else { return 0 };
        let kept = records.partition_point(|record| record.offset < offset);
        self.count -= records.len() - kept;
        let cut = records.range(kept..).filter(|record| matches!(record.kind, Kind::Tombstone(_)));
        let tombstones = i64::try_from(cut.count()).unwrap_or(0);
        records.truncate(kept);
        if records.is_empty() {
            self.segments.remove(&segment);
        }
        tombstones
    }

    /// Forgets segments that are gone.
    pub(crate) fn retain(&mut self, is_there: impl Fn(u32) -> bool) {
        self.segments.retain(|id, _| is_there(*id));
        self.count = self.segments.values().map(VecDeque::len).sum();
    }

    fn push(&mut self, segment: u32, record: Record) {
        if self.count == MOST
            && let Some(mut oldest) = self.segments.first_entry()
        {
            oldest.get_mut().pop_front();
            self.count -= 1;
            if oldest.get().is_empty() {
                oldest.remove();
            }
        }
        self.segments.entry(segment).or_default().push_back(record);
        self.count += 1;
    }

    fn record(&mut self, segment: u32, offset: u64) -> Option<&mut Record> {
        let records = self.segments.get_mut(&segment)?;
        let at = records.binary_search_by_key(&offset, |record| record.offset).ok()?;
        records.get_mut(at)
    }
}

fn dead_from(records: &VecDeque<Record>) -> Option<u64> {
    let (mut found, mut lowest_buried) = (None, u64::MAX);
    for record in records.iter().rev() {
        match record.kind {
            Kind::Live | Kind::Tombstone(None) => break,
            Kind::Tombstone(Some(buried)) => lowest_buried = lowest_buried.min(buried),
            Kind::Dead => {}
        }
        if lowest_buried >= record.offset {
            found = Some(record.offset);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(live: &[u64], dead: &[u64]) -> Tails {
        let mut tail = Tails::default();
        let mut all: Vec<u64> = live.iter().chain(dead).copied().collect();
        all.sort_unstable();
        all.iter().for_each(|offset| tail.on_put(3, *offset));
        dead.iter().for_each(|offset| tail.on_dead(3, *offset));
        tail
    }

    #[test]
    fn only_what_is_dead_to_the_end_is_cut() {
        assert_eq!(tail(&[0, 8], &[16, 24]).dead_ends(), [(3, 16)]);
        assert_eq!(tail(&[0, 24], &[8, 16]).dead_ends(), []);
        assert_eq!(Tails::default().dead_ends(), []);
    }

    #[test]
    fn a_tombstone_goes_with_its_block_and_not_before() {
        let mut apart = tail(&[16], &[8]);
        apart.on_tombstone(3, 24, (3, 8));
        assert_eq!(apart.dead_ends(), []);
        apart.on_dead(3, 16);
        assert_eq!(apart.dead_ends(), [(3, 8)]);
        apart.on_tombstone(3, 32, (2, 8));
        assert_eq!(apart.dead_ends(), [], "its block lies in an older segment");
        apart.on_put(3, 40);
        apart.on_dead(3, 40);
        assert_eq!(apart.dead_ends(), [(3, 40)]);
        apart.on_cut(3, 40);
        assert_eq!(apart.dead_ends(), []);
    }

    #[test]
    fn what_lies_before_the_known_records_stays() {
        let mut tail = tail(&[], &[]);
        for n in 0..u64::try_from(MOST).unwrap() + 2 {
            tail.on_put(3, n * 8);
        }
        (0..4).for_each(|n| tail.on_dead(3, n * 8));
        tail.on_tombstone(3, 1 << 30, (3, 0));
        assert_eq!(tail.dead_ends(), []);
        assert_eq!(tail.count, MOST);
    }
}
