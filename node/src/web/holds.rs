//! What answers on their way keep from being evicted: each root once, however many answers read it, and all of them
//! together no more than leaves the cache able to take something else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use pop_dag::Cid;
use pop_gateway::Hold;
use pop_store::{Held, Store};
use pop_units::Bytes;

/// Of what is not pinned, answers keep at most one part of so many: clients that take their time, or want to, must not
/// turn the whole cache into something that can take nothing.
const PART: u64 = 2;

/// See the module.
pub(super) struct Holds(Arc<Desk>);

struct Desk {
    store: Store,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    roots: HashMap<Cid, Weak<Kept>>,
    /// The sizes of all that is kept, added up.
    size: Bytes,
}

/// A root that is kept as long as this lives.
struct Kept {
    desk: Arc<Desk>,
    root: Cid,
    /// What it counts for.
    size: Bytes,
    held: OnceLock<Held>,
}

impl Holds {
    pub(super) fn new(store: Store) -> Self {
        Self(Arc::new(Desk { store, table: Mutex::default() }))
    }

    /// Keeps a root from being evicted until what is returned is dropped, and the last of those who keep it too.
    /// Nothing where no ref has this root, or with it too much would be kept. Blocks.
    pub(super) fn hold(&self, root: &Cid) -> Option<Hold> {
        let kept = match self.0.known(root) {
            Some(kept) => kept,
            None => self.0.add(root)?,
        };
        // Outside of the lock: this waits for commits and evictions that are being written.
        kept.held.get_or_init(|| self.0.store.hold(root));
        Some(Box::new(kept))
    }
}

impl Desk {
    fn known(&self, root: &Cid) -> Option<Arc<Kept>> {
        self.lock().roots.get(root)?.upgrade()
    }

    fn add(self: &Arc<Self>, root: &Cid) -> Option<Arc<Kept>> {
        // An answer is sent without being held when the state does not answer here.
        let brief = self.store.brief(root).ok().flatten()?;
        // What is pinned stays anyway, and keeps nothing from being evicted.
        let size = if brief.pinned { Bytes::ZERO } else { brief.size };
        let most = Bytes::new(self.store.most_room().get() / PART);
        let mut table = self.lock();
        if let Some(kept) = table.roots.get(root).and_then(Weak::upgrade) {
            return Some(kept);
        }
        let sum = table.size.checked_add(size).ok().filter(|sum| *sum <= most || size.is_zero())?;
        let kept = Arc::new(Kept { desk: Arc::clone(self), root: *root, size, held: OnceLock::new() });
        table.size = sum;
        table.roots.insert(*root, Arc::downgrade(&kept));
        Some(kept)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing is done under the lock that could leave it half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut table = self.desk.lock();
        table.size = table.size.saturating_sub(self.size);
        // Another may have begun to keep the root since this was let go of.
        if table.roots.get(&self.root).is_some_and(|kept| kept.strong_count() == 0) {
            table.roots.remove(&self.root);
        }
    }
}

#[cfg(test)]
mod tests;
