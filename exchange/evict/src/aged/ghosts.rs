//! What is gone and still remembered: by fingerprint, in order of leaving.
//!
//! The bound follows the number of resident refs, so that memory is bounded by what the disk holds. There are more
//! ghosts than refs, so each is two words, and one that is taken leaves its place in the queue behind.

use std::collections::{HashMap, VecDeque};

/// How many recalled ghosts wait for their insert at most; beyond it the first is forgotten.
/// More fetches than this are never under way at once.
const RECALLED: usize = 256;
/// Places in the queue for each ghost, and more of them for a few: beyond it empty ones are cleared.
const PLACES: (usize, usize) = (2, 64);

/// The ghosts of one policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Ghosts {
    /// Order and frequency by fingerprint, in one word: an order has 56 bits.
    known: HashMap<u64, u64>,
    /// Order and fingerprint, orders rising.
    queue: VecDeque<(u64, u64)>,
    /// Ghosts that were asked for again, until what they stand for is inserted.
    recalled: VecDeque<(u64, u8)>,
}

fn pack(order: u64, frequency: u8) -> u64 {
    (order << 8) | u64::from(frequency)
}

fn unpack(word: u64) -> (u64, u8) {
    let [.., frequency] = word.to_be_bytes();
    (word >> 8, frequency)
}

impl Ghosts {
    /// Returns how many are remembered.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Returns the frequency and order of a ghost.
    pub(super) fn get(&self, fingerprint: u64) -> Option<(u8, u64)> {
        let (order, frequency) = self.known.get(&fingerprint).copied().map(unpack)?;
        Some((frequency, order))
    }

    /// Remembers one, in place of what was remembered under the same fingerprint; `order` is above all before it.
    pub(super) fn push(&mut self, fingerprint: u64, frequency: u8, order: u64) {
        self.known.insert(fingerprint, pack(order, frequency));
        self.queue.push_back((order, fingerprint));
        let (each, least) = PLACES;
        if self.queue.len() > self.known.len().saturating_mul(each).saturating_add(least) {
            let known = &self.known;
            self.queue.retain(|place| is_taken(known, *place));
        }
    }

    /// Forgets the oldest; returns its fingerprint.
    pub(super) fn pop(&mut self) -> Option<u64> {
        loop {
            let place = self.queue.pop_front()?;
            if is_taken(&self.known, place) {
                self.known.remove(&place.1);
                return Some(place.1);
            }
        }
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
        self.known.remove(&fingerprint).map(|word| unpack(word).1)
    }
}

/// Returns whether a place in the queue still has its ghost.
fn is_taken(known: &HashMap<u64, u64>, (order, fingerprint): (u64, u64)) -> bool {
    known.get(&fingerprint).is_some_and(|word| unpack(*word).0 == order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first_and_one_pushed_again_is_new() {
        let mut ghosts = Ghosts::default();
        (1..=4).for_each(|number| ghosts.push(number, 7, number));
        ghosts.push(1, 9, 5);
        assert_eq!((ghosts.len(), ghosts.get(1)), (4, Some((9, 5))));
        assert_eq!(ghosts.take(3), Some(7));
        let order: Vec<u64> = std::iter::from_fn(|| ghosts.pop()).collect();
        assert_eq!(order, [2, 4, 1]);
    }

    #[test]
    fn places_left_behind_are_cleared() {
        let mut ghosts = Ghosts::default();
        for order in 1..10_000 {
            ghosts.push(order % 10, 0, order);
        }
        assert_eq!(ghosts.len(), 10);
        assert!(ghosts.queue.len() <= 84, "{}", ghosts.queue.len());
    }

    #[test]
    fn the_recalled_are_bounded() {
        let mut ghosts = Ghosts::default();
        for fingerprint in 0..1000 {
            ghosts.push(fingerprint, 1, fingerprint);
            assert!(ghosts.recall(fingerprint) && ghosts.recall(fingerprint));
        }
        assert_eq!((ghosts.recalled.len(), ghosts.len()), (RECALLED, 0));
        assert_eq!((ghosts.take(0), ghosts.take(999)), (None, Some(1)));
    }
}
