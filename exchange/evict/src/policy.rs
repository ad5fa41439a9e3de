//! What a store asks of a policy.
//!
//! The trait serves a real store and a simulator alike. The store decides *when* to evict, because blocks shared
//! between refs make the bytes that come free differ from the size of what goes: it calls [`Policy::evict`] until
//! it is content.

use std::fmt;

use pop_units::Bytes;

use crate::{Change, Id, Worth};

/// What to do with content that is asked for and is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Keep it: make room, fetch, then [`Policy::insert`].
    Store,
    /// Pass it on without keeping it; it is remembered and kept when asked for again.
    Ghost,
    /// Pass it on without keeping it: too large for this policy.
    Bypass,
}

/// What a policy holds at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// What the refs may take together.
    pub capacity: Bytes,
    /// What they take: their sizes added up, shared blocks counted for each.
    pub used: Bytes,
    /// How many refs there are.
    pub refs: u64,
    /// Of `refs`, those which have not yet proved themselves.
    pub probation: u64,
    /// What is gone and still remembered.
    pub ghosts: u64,
}

/// Decides which ref goes.
///
/// A call costs at most logarithmic time, evictions amortised; ids that are not resident are ignored where nothing
/// else is said. Held refs cost an eviction one question each.
pub trait Policy: fmt::Debug + Send {
    /// Says whether to keep content of `size` bytes that is not here, before it is fetched.
    ///
    /// `Store` recalls what is remembered of the id, so call it once per fetch; the memory waits for the
    /// [`Policy::insert`]. Content that the owner asked for is inserted without asking here.
    fn admit(&mut self, id: &Id, size: Bytes) -> Admission;

    /// Takes a ref in. Of one that is resident only the size changes.
    fn insert(&mut self, id: &Id, size: Bytes, worth: Worth);

    /// Counts one use of a ref; returns whether it is resident.
    fn hit(&mut self, id: &Id, worth: Worth) -> bool;

    /// Gives up one ref for which `may_go` holds and returns it, or `None` when there is none.
    ///
    /// The others keep their places and are asked again by the next call.
    fn evict(&mut self, may_go: &dyn Fn(&Id) -> bool) -> Option<Id>;

    /// Drops a ref without remembering it: its owner removed or pinned it. Returns whether it was resident.
    fn remove(&mut self, id: &Id) -> bool;

    /// Sets the size of a ref that grew or shrank.
    fn resize(&mut self, id: &Id, size: Bytes);

    /// Sets what the refs may take together: the store's capacity less what is pinned. Evicts nothing.
    fn set_capacity(&mut self, capacity: Bytes);

    /// Returns what the policy holds.
    fn usage(&self) -> Usage;

    /// Returns whether a ref is resident.
    fn contains(&self, id: &Id) -> bool;

    /// Returns whether a ref is resident and has not yet proved itself.
    ///
    /// While this holds the store counts one use per peer at most, or one peer alone could keep its junk.
    fn on_probation(&self, _id: &Id) -> bool {
        false
    }

    /// Returns whether something changed that the next durable step should carry: an id came, moved or went.
    ///
    /// Uses alone don't count. They may be lost in a crash, and are written with whatever is written next.
    fn is_changed(&self) -> bool {
        false
    }

    /// Returns what changed since the last call, as rows to write or delete, uses included.
    fn take_changes(&mut self) -> Vec<Change> {
        Vec::new()
    }

    /// Takes back changes that could not be written; the next [`Policy::take_changes`] has them again.
    fn put_back(&mut self, _changes: &[Change]) {}

    /// Replays one request against a cache that is nothing but this policy; returns whether it was a hit.
    fn request(&mut self, id: &Id, size: Bytes) -> bool {
        if self.hit(id, Worth::NEUTRAL) {
            return true;
        }
        if self.admit(id, size) == Admission::Store {
            while self.usage().used.saturating_add(size) > self.usage().capacity {
                if self.evict(&|_| true).is_none() {
                    break;
                }
            }
            self.insert(id, size, Worth::NEUTRAL);
        }
        false
    }
}
