//! What was read of a file and not taken yet by the one client that it is for.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pop_dag::Buf;
use pop_units::Bytes;

use super::budget::Room;

/// The largest frame. What a client does not take stays in the connection's buffer by whole frames.
const FRAME: usize = 256 << 10;

/// Bytes in order, from some position of the file on.
pub(super) struct Feed(Mutex<Held>);

struct Held {
    /// Where the first piece starts.
    from: u64,
    /// The size of the pieces.
    len: u64,
    pieces: VecDeque<Buf>,
    /// When something was last put in or taken out.
    touched: Instant,
}

impl Feed {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Held { from: 0, len: 0, pieces: VecDeque::new(), touched: Instant::now() }))
    }

    /// Takes the frame at a position. What lies elsewhere is dropped, as it comes too late or too early.
    pub(super) fn take(&self, at: u64) -> Option<Buf> {
        let mut held = self.lock();
        if held.from != at {
            held.clear();
        }
        let mut piece = held.pieces.pop_front()?;
        let frame = piece.split_to(piece.len().min(FRAME));
        if !piece.is_empty() {
            held.pieces.push_front(piece);
        }
        let len = Bytes::of(&frame).get();
        held.from = at.saturating_add(len);
        held.len = held.len.saturating_sub(len);
        held.touched = Instant::now();
        Some(frame)
    }

    /// Puts pieces that start at a position behind what is there, each with its part of the room for all.
    pub(super) fn put(&self, at: u64, pieces: Vec<Buf>, mut room: Option<Room>) {
        let mut held = self.lock();
        if held.pieces.is_empty() {
            held.from = at;
        } else if held.from.saturating_add(held.len) != at {
            return;
        }
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            let len = Bytes::of(&piece).get();
            held.len = held.len.saturating_add(len);
            held.pieces.push_back(match &mut room {
                Some(room) => room.hold(piece),
                None => piece,
            });
        }
        held.touched = Instant::now();
    }

    /// Returns where the last piece ends, and the size of all.
    pub(super) fn end(&self) -> (u64, u64) {
        let held = self.lock();
        (held.from.saturating_add(held.len), held.len)
    }

    /// Drops what a client has let lie for so long. It is read again when it goes on.
    pub(super) fn drop_stalled(&self, now: Instant, limit: Duration) {
        let mut held = self.lock();
        if now.saturating_duration_since(held.touched) > limit {
            held.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing is done under the lock that could leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn clear(&mut self) {
        self.pieces.clear();
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Budget;
    use super::*;

    fn budget() -> Budget {
        Budget::new(Bytes::new(64 << 10))
    }

    #[test]
    fn what_is_put_is_taken_in_order_and_gives_its_room_back() {
        let (budget, feed) = (budget(), Feed::new());
        let (room, len) = budget.share(64 << 10);
        assert_eq!((room.is_some(), len), (true, 64 << 10));
        feed.put(5, vec![Buf::from(vec![1; 10]), Buf::new(), Buf::from(vec![2; 20])], room);
        assert_eq!(feed.end(), (35, 30));
        let first = feed.take(5).unwrap();
        assert_eq!(first, vec![1; 10]);
        assert_eq!(feed.take(15).unwrap(), vec![2; 20]);
        assert_eq!(feed.take(35), None);
        assert!(!budget.has_room(64 << 10), "a frame that is on its way takes room");
        drop(first);
        assert!(budget.has_room(64 << 10));
    }

    #[test]
    fn large_pieces_become_frames_that_share_their_room() {
        let (budget, feed) = (Budget::new(Bytes::MIB), Feed::new());
        feed.put(0, vec![Buf::from(vec![1; 1 << 20])], budget.share(1 << 20).0);
        let frames: Vec<Buf> = (0..4_u64).map(|frame| feed.take(frame * (256 << 10)).unwrap()).collect();
        assert!(frames.iter().all(|frame| frame.len() == FRAME));
        drop(frames.into_iter().skip(1).collect::<Vec<_>>());
        assert!(budget.has_room(1 << 20));
    }

    #[test]
    fn what_lies_elsewhere_is_dropped() {
        let feed = Feed::new();
        feed.put(10, vec![Buf::from(vec![1; 10])], None);
        feed.put(30, vec![Buf::from(vec![2; 10])], None);
        assert_eq!(feed.end(), (20, 10), "a gap is never closed");
        assert_eq!(feed.take(12), None);
        assert_eq!(feed.end().1, 0);
    }
}
