//! What is gone and still remembered: by fingerprint, in order of leaving.
//!
//! The bound follows the number of resident refs, so that memory is bounded by what the disk holds.

use std::collections::{BTreeMap, HashMap, VecDeque};

/// How many recalled ghosts wait for their insert at most; beyond it the first is forgotten.
/// More fetches than this are never under way at once.
const RECALLED: usize = 256;

/// The ghosts of one policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Ghosts {
    /// Frequency and order by fingerprint.
    known: HashMap<u64, (u8, u64)>,
    /// Fingerprints by order.
    queue: BTreeMap<u64, u64>,
    /// Ghosts that were asked for again, until what they stand for is inserted.
    recalled: VecDeque<(u64, u8)>,
}

impl Ghosts {
    /// Returns how many are remembered.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Returns the frequency and order of a ghost.
    pub(super) fn get(&self, fingerprint: u64) -> Option<(u8, u64)> {
        self.known.get(&fingerprint).copied()
    }

    /// Remembers one, in place of what was remembered under the same fingerprint.
    pub(super) fn push(&mut self, fingerprint: u64, frequency: u8, order: u64) {
        if let Some((_, old)) = self.known.insert(fingerprint, (frequency, order)) {
            self.queue.remove(&old);
        }
        self.queue.insert(order, fingerprint);
    }

    /// Forgets the oldest; returns its fingerprint.
    pub(super) fn pop(&mut self) -> Option<u64> {
        let (_, fingerprint) = self.queue.pop_first()?;
        self.known.remove(&fingerprint);
        Some(fingerprint)
    }

    /// Takes one out of the queue to wait for its insert; returns whether it is known.
    pub(super) fn recall(&mut self, fingerprint: u64) -> bool {
        if self.recalled.iter().any(|(waiting, _)| *waiting == fingerprint) {
            return true;
        }
        let Some(frequency) = self.forget(fingerprint) else { return false };
        if self.recalled.len() >= RECALLED {
            self.recalled.pop_front();
        }
        self.recalled.push_back((fingerprint, frequency));
        true
    }

    /// Takes one out for good, recalled or not; returns its frequency.
    pub(super) fn take(&mut self, fingerprint: u64) -> Option<u8> {
        match self.recalled.iter().position(|(waiting, _)| *waiting == fingerprint) {
            Some(place) => self.recalled.remove(place).map(|(_, frequency)| frequency),
            None => self.forget(fingerprint),
        }
    }

    fn forget(&mut self, fingerprint: u64) -> Option<u8> {
        let (frequency, order) = self.known.remove(&fingerprint)?;
        self.queue.remove(&order);
        Some(frequency)
    }
}
