//! Memory for what clients have not taken yet, over all bodies.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use pop_dag::Buf;
use pop_units::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::feed::Feed;
use super::{FIRST, SLOW};

/// The unit that room is given in.
const UNIT: u64 = 4096;
/// What a body without room reads at a time.
const FRUGAL: u64 = 16 << 10;

/// The bound on memory for what was read ahead.
pub(crate) struct Budget {
    room: Arc<Semaphore>,
    /// What bodies that keep their room leave to those that give it back.
    reserve: u64,
    feeds: Mutex<Feeds>,
}

/// The feeds that may hold room.
#[derive(Default)]
struct Feeds {
    all: Vec<Weak<Feed>>,
    /// How many there may be before those that are gone are sorted out.
    bound: usize,
    /// When stalled ones were last looked for.
    swept: Option<Instant>,
}

/// A part of the budget.
pub(crate) struct Room(OwnedSemaphorePermit);

/// Bytes with the room that they take.
struct Roomed {
    data: Buf,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Roomed {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Budget {
    pub(crate) fn new(size: Bytes) -> Self {
        let units = Bytes::new(size.get() / UNIT).as_usize().min(Semaphore::MAX_PERMITS);
        let room = Arc::new(Semaphore::new(units));
        Self { room, reserve: size.get() / 4, feeds: Mutex::default() }
    }

    /// Lets stalled clients give back what is in a feed.
    pub(super) fn watch(&self, feed: &Arc<Feed>) {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        if feeds.all.len() >= feeds.bound {
            feeds.all.retain(|feed| feed.strong_count() > 0);
            feeds.bound = feeds.all.len().saturating_mul(2).max(64);
        }
        feeds.all.push(Arc::downgrade(feed));
    }

    /// Returns room for `want` bytes or less, and how many may be read. Without room, it is few.
    pub(super) fn share(&self, want: u64) -> (Option<Room>, u64) {
        let less = want.min(FIRST);
        let room = self.take(want).map(|room| (room, want));
        let room = room.or_else(|| {
            self.sweep();
            self.take(want).map(|room| (room, want)).or_else(|| self.take(less).map(|room| (room, less)))
        });
        match room {
            Some((room, len)) => (Some(room), len),
            None => (None, want.min(FRUGAL)),
        }
    }

    /// Is [`Self::share`] for bodies that keep their room until their client has taken what is in it.
    pub(crate) fn share_for_good(&self, want: u64) -> (Option<Room>, u64) {
        match self.has_spare(want) {
            true => self.share(want),
            false => (None, want.min(FRUGAL)),
        }
    }

    /// Returns whether there is room for so much that nobody gives back.
    pub(crate) fn has_spare(&self, bytes: u64) -> bool {
        self.has_room(bytes.saturating_add(self.reserve))
    }

    /// Returns whether there is room for so much.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.room.available_permits() >= Bytes::new(bytes.div_ceil(UNIT)).as_usize()
    }

    fn take(&self, bytes: u64) -> Option<Room> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        Arc::clone(&self.room).try_acquire_many_owned(units).ok().map(Room)
    }

    /// Takes from clients that have stopped what was read ahead for them; not more often than they can stop.
    fn sweep(&self) {
        let now = Instant::now();
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        if feeds.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SLOW) {
            return;
        }
        feeds.swept = Some(now);
        feeds.all.retain(|feed| {
            feed.upgrade().is_some_and(|feed| {
                feed.drop_stalled(now, SLOW);
                true
            })
        });
    }
}

impl Room {
    /// Ties a piece to its part of the room: it comes back with the last slice of the piece.
    pub(crate) fn hold(&mut self, data: Buf) -> Buf {
        let units = Bytes::new(Bytes::of(&data).get().div_ceil(UNIT)).as_usize();
        let Some(room) = self.0.split(units.min(self.0.num_permits())) else { return data };
        Buf::from_owner(Roomed { data, _room: room })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_room_bodies_are_frugal() {
        let budget = Budget::new(Bytes::new(256 << 10));
        let (first, len) = budget.share(256 << 10);
        assert_eq!((first.is_some(), len), (true, 256 << 10));
        let (none, len) = budget.share(256 << 10);
        assert_eq!((none.is_some(), len), (false, FRUGAL));
        drop(first);
        let (_some, _) = budget.share(128 << 10);
        let (less, len) = budget.share(256 << 10);
        assert_eq!((less.is_some(), len), (true, FIRST));
    }

    #[test]
    fn who_stalls_gives_back_to_who_needs_it() {
        let budget = Budget::new(Bytes::new(64 << 10));
        let feed = Arc::new(Feed::new());
        budget.watch(&feed);
        feed.put(0, vec![Buf::from(vec![1; 64 << 10])], budget.share(64 << 10).0);
        let later = Instant::now() + 2 * SLOW;
        feed.drop_stalled(later, SLOW);
        assert!(budget.has_room(64 << 10));
        assert_eq!(feed.take(0), None);
    }

    #[test]
    fn feeds_that_are_gone_are_forgotten() {
        let budget = Budget::new(Bytes::MIB);
        for _ in 0..10_000 {
            budget.watch(&Arc::new(Feed::new()));
        }
        assert!(budget.feeds.lock().unwrap().all.len() <= 64);
    }
}
