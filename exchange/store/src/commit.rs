//! What changes visibility: committing, discarding, removing, closing.
//!
//! A change is one durable batch of the state, and that batch is the point of no return. Blocks are synced
//! before it; the index follows after it, because a crash in between leaves no CLEAN marker and the rebuild
//! counts refs anew from the state.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use pop_units::Bytes;

use crate::bytes_at::stamp;
use crate::clean::Clean;
use crate::error::Error;
use crate::index::Entry;
use crate::reach::{Key, Reach};
use crate::record;
use crate::refs::{self, Ref};
use crate::staging::{self, Staged};
use crate::state::Batch;
use crate::store::Inner;

/// Releasing a large DAG lets writers in between after this many blocks.
const RELEASE_STEP: usize = 256;

impl Inner {
    pub(crate) fn commit(&self, staged: &Staged, mut found: Ref) -> Result<(), Error> {
        let _ops = self.ops.lock();
        self.check_open()?;
        staged.check_open()?;
        let reach = Reach::of(&[found.root], self)?;
        if let (true, Some(missing)) = (found.complete, reach.missing) {
            return Err(Error::Incomplete { missing });
        }
        found.complete |= reach.is_whole();
        found.size = reach.size();
        self.log.sync()?;
        let old = refs::load(&self.state, &found.root)?;
        let counted = old.as_ref().map_or(Ok(HashMap::new()), |old| self.counted(old))?;
        *self.settling.lock() = Some((refs::id(&found.root), old));
        let settled =
            self.record(staged, &mut found).and_then(|()| self.count_in(&found, &reach.blocks, &counted));
        *self.settling.lock() = None;
        settled?;
        self.stagings.lock().remove(&staged.name);
        self.release(staged.end().into_keys()).map(drop)
    }

    /// Writes the ref, merged with what is known of it, and forgets the staging: the point of no return.
    fn record(&self, staged: &Staged, found: &mut Ref) -> Result<(), Error> {
        let _rows = self.rows.lock();
        // Uses may have been counted since the commit began; nothing else changes a row without `ops`.
        if let Some(old) = refs::load(&self.state, &found.root)? {
            found.merge(old);
        }
        let mut batch = Batch::new();
        refs::put(&mut batch, found)?;
        staging::forget(&self.state, &mut batch, &staged.name)?;
        Ok(self.state.apply(batch)?)
    }

    /// Returns the blocks that the index counts for a ref.
    fn counted(&self, found: &Ref) -> Result<HashMap<Key, u32>, Error> {
        if !found.complete {
            let members = self.index.members(&refs::id(&found.root))?;
            return Ok(members.into_iter().map(|(key, len)| (key.into(), len)).collect());
        }
        let reach = Reach::of(&[found.root], self)?;
        if reach.missing.is_some() {
            // A damaged node hides its children: they keep a count too many until a rebuild.
            self.index.doubt();
        }
        Ok(reach.blocks)
    }

    /// Counts a ref for the blocks it did not hold before.
    fn count_in(
        &self,
        found: &Ref,
        reached: &HashMap<Key, u32>,
        counted: &HashMap<Key, u32>,
    ) -> Result<(), Error> {
        let id = refs::id(&found.root);
        for (key, len) in reached {
            if !counted.contains_key(key) {
                self.recount(key, |refs| refs.saturating_add(1))?;
                if !found.complete {
                    self.index.add_member(&id, key, *len)?;
                }
            }
        }
        if found.complete { self.forget_members(&id, counted) } else { Ok(()) }
    }

    fn forget_members(&self, id: &[u8], counted: &HashMap<Key, u32>) -> Result<(), Error> {
        counted.keys().try_for_each(|key| self.index.remove_member(id, key))
    }

    fn recount(&self, key: &[u8], change: impl Fn(u32) -> u32) -> Result<(), Error> {
        // A compaction may change the place of the block meanwhile.
        if !self.index.update(key, |entry| Entry { refs: change(entry.refs), ..entry })? {
            self.index.doubt();
        }
        Ok(())
    }

    /// Moves what one staging holds into another and forgets the first.
    pub(crate) fn absorb(&self, into: &Staged, other: &Staged) -> Result<(), Error> {
        let _ops = self.ops.lock();
        self.check_open()?;
        into.check_open()?;
        other.check_open()?;
        let mut batch = Batch::new();
        staging::forget(&self.state, &mut batch, &other.name)?;
        self.state.apply(batch)?;
        // A put into the other ends before, and is moved, or comes after, and finds it ended.
        let _writer = self.log.lock();
        into.extend(other.held());
        self.stagings.lock().remove(&other.name);
        other.end();
        Ok(())
    }

    pub(crate) fn discard(&self, staged: &Staged) -> Result<(), Error> {
        let _ops = self.ops.lock();
        self.check_open()?;
        staged.check_open()?;
        let mut batch = Batch::new();
        staging::forget(&self.state, &mut batch, &staged.name)?;
        self.state.apply(batch)?;
        self.stagings.lock().remove(&staged.name);
        self.release(staged.end().into_keys()).map(drop)
    }

    pub(crate) fn remove(&self, root: &cid::Cid) -> Result<Bytes, Error> {
        let _ops = self.ops.lock();
        self.check_open()?;
        let Some(found) = refs::load_bare(&self.state, root)? else { return Ok(Bytes::ZERO) };
        let counted = self.counted(&found)?;
        {
            let _rows = self.rows.lock();
            let mut batch = Batch::new();
            refs::delete(&self.state, &mut batch, root)?;
            self.state.apply(batch)?;
        }
        for key in counted.keys() {
            self.recount(key, |refs| refs.saturating_sub(1))?;
        }
        if !found.complete {
            self.forget_members(&refs::id(root), &counted)?;
        }
        self.release(counted.into_keys())
    }

    /// Drops those of the blocks that neither a ref nor a staging holds, and returns their size.
    fn release(&self, keys: impl Iterator<Item = Key>) -> Result<Bytes, Error> {
        let (mut freed, mut gone) = (0u64, Vec::new());
        let mut keys = keys.peekable();
        while keys.peek().is_some() {
            let mut writer = self.log.lock();
            for key in keys.by_ref().take(RELEASE_STEP) {
                let Some(entry) = self.index.get(&key)?.filter(|entry| entry.refs == 0) else { continue };
                if self.is_staged(&key) {
                    continue;
                }
                self.index.remove(&key)?;
                self.log.release(&mut writer, &entry, record::span(key.len(), entry.len));
                freed = freed.saturating_add(entry.len.into());
                gone.push((key, entry));
            }
            if keys.peek().is_none() {
                self.log.reclaim(&mut writer);
                gone.retain(|(_, entry)| self.log.covers(entry));
            }
        }
        self.bury(&gone)?;
        Ok(Bytes::new(freed))
    }

    /// Writes the tombstones of blocks that were dropped and whose bytes are still there. This comes after
    /// all of them were dropped: a tombstone in between would keep the end of a segment from being cut off.
    fn bury(&self, gone: &[(Key, Entry)]) -> Result<(), Error> {
        for step in gone.chunks(RELEASE_STEP) {
            let mut writer = self.log.lock();
            for (key, entry) in step {
                // A block that was put again since is not to be buried.
                if self.index.get(key)?.is_none() {
                    // Without its tombstone (on a full disk) a rebuild meets the block again, finds no ref
                    // that holds it, and drops it: making room must not need room.
                    let _ = self.log.bury(&mut writer, key, entry);
                }
            }
        }
        Ok(())
    }

    fn is_staged(&self, key: &[u8]) -> bool {
        self.stagings.lock().values().any(|staged| staged.holds(key))
    }

    pub(crate) fn close(&self) -> Result<(), Error> {
        let _ops = self.ops.lock();
        self.check_open()?;
        {
            // Whoever holds the lock has finished its put, and whoever comes later sees the flag.
            let _writer = self.log.lock();
            self.closed.store(true, Ordering::Release);
        }
        // A compaction under way ends at its next record.
        drop(self.compaction.lock());
        self.keep_rooted_stagings()?;
        self.log.sync()?;
        self.state.sync()?;
        let stamp = stamp();
        self.index.close(stamp)?;
        if self.index.is_doubtful() {
            return Ok(());
        }
        let next = {
            let writer = self.log.lock();
            (writer.next_id, writer.next_seq)
        };
        let mut clean = Clean::new(self.state.generation(), stamp, next);
        clean.blocks = self.index.count();
        clean.active = self.log.active();
        let table = self.log.table();
        clean.segments = table.values().map(|segment| (segment.id, segment.len(), segment.live())).collect();
        clean.write(&self.blocks_dir).map_err(Error::io("writing the CLEAN marker"))
    }

    /// Drops what a restart would drop, so that the index needs no sweep then.
    fn keep_rooted_stagings(&self) -> Result<(), Error> {
        let open = std::mem::take(&mut *self.stagings.lock());
        for name in staging::names(&self.state)? {
            let kept = staging::survivors(&self.state, &name, self)?;
            let staged = Staged::new(&name, kept)?;
            self.stagings.lock().insert(name, staged.into());
        }
        for staged in open.into_values() {
            self.release(staged.end().into_keys())?;
        }
        Ok(())
    }
}
