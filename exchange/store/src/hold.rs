//! Refs that eviction must leave alone for a while: those of running deals and those that are on their way.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use cid::Cid;
use parking_lot::Mutex;

use crate::refs;
use crate::store::{Inner, Store};

/// The roots that are held, and how often each is.
#[derive(Default)]
pub(crate) struct Holds(Mutex<BTreeMap<Vec<u8>, u32>>);

/// Keeps a root from being evicted until it is dropped. Says nothing about whether it is here.
pub struct Held {
    inner: Arc<Inner>,
    id: Vec<u8>,
}

impl Store {
    /// Keeps a root from being evicted for as long as the guard lives, whether it is here yet or not: for a
    /// deal that runs. What the guard finds here stays; the owner's [`Store::remove`] alone takes it away.
    pub fn hold(&self, root: &Cid) -> Held {
        Held::new(&self.inner, root)
    }
}

impl Held {
    pub(crate) fn new(inner: &Arc<Inner>, root: &Cid) -> Self {
        let id = refs::id(root);
        // An eviction that chose the ref before has taken it away by the time the lock is free.
        let _rows = inner.rows.lock();
        let mut held = inner.holds.0.lock();
        let count = held.entry(id.clone()).or_default();
        *count = count.saturating_add(1);
        drop(held);
        Self { inner: inner.clone(), id }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.inner.holds.0.lock();
        if let Some(count) = held.get_mut(&self.id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&self.id);
            }
        }
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl Inner {
    /// Returns the ids that eviction must leave alone: held ones, and the roots of open stagings.
    pub(crate) fn spared(&self) -> HashSet<Vec<u8>> {
        let mut spared: HashSet<Vec<u8>> = self.holds.0.lock().keys().cloned().collect();
        for staged in self.stagings.lock().values() {
            spared.extend(staged.roots().iter().map(refs::id));
        }
        spared
    }
}
