//! What changed since the store last wrote.
//!
//! It names ids, not values: the value is read when it is taken, so that a ref hit a thousand times is one row.
//! It never grows when nobody takes, because it starts only where a store will.

use std::collections::BTreeSet;

use crate::{Change, Id};

/// The ids whose rows are out of date.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    on: bool,
    urgent: bool,
    refs: BTreeSet<Id>,
    ghosts: BTreeSet<u64>,
}

impl Journal {
    /// Starts noting.
    pub(crate) fn start(&mut self) {
        self.on = true;
    }

    /// Notes that a ref came, moved or went.
    pub(crate) fn moved(&mut self, id: &Id) {
        if self.on {
            self.urgent = true;
            self.refs.insert(id.clone());
        }
    }

    /// Notes that a ref was used.
    pub(crate) fn used(&mut self, id: &Id) {
        if self.on {
            self.refs.insert(id.clone());
        }
    }

    /// Notes that a ghost came or went.
    pub(crate) fn haunted(&mut self, fingerprint: u64) {
        if self.on {
            self.urgent = true;
            self.ghosts.insert(fingerprint);
        }
    }

    /// Notes that a ghost is about to become a ref again.
    pub(crate) fn noticed(&mut self, fingerprint: u64) {
        if self.on {
            self.ghosts.insert(fingerprint);
        }
    }

    /// Returns whether something waits that should not be lost.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Returns whether nothing waits at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.refs.is_empty() && self.ghosts.is_empty()
    }

    /// Returns what waits, and forgets it.
    pub(crate) fn take(&mut self) -> (BTreeSet<Id>, BTreeSet<u64>) {
        self.urgent = false;
        (std::mem::take(&mut self.refs), std::mem::take(&mut self.ghosts))
    }

    /// Notes anew what could not be written.
    pub(crate) fn put_back(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Keep(id, _) | Change::Drop(id) => self.moved(id),
                Change::KeepGhost(ghost) => self.haunted(ghost.fingerprint),
                Change::DropGhost(fingerprint) => self.haunted(*fingerprint),
                Change::Head(_) => {}
            }
        }
    }
}
