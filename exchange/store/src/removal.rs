//! What takes refs away: their rows first and durably, then their blocks, as far as nothing else holds them.
//!
//! A ref may hold a million blocks, and commits must not wait for all of them to go. So `ops` is held while
//! rows go and while a step of blocks goes, and not in between: whoever commits there meets blocks that are
//! still counted, and counts itself in beside them.

use pop_units::Bytes;

use cid::Cid;

use crate::cache;
use crate::error::Error;
use crate::index::Entry;
use crate::reach::Key;
use crate::record;
use crate::refs::{self, Brief};
use crate::state::Batch;
use crate::store::Inner;

/// Releasing a large DAG lets writers in between after this many blocks.
const RELEASE_STEP: usize = 256;
/// Dropping a large ref lets commits in between after this many blocks: some milliseconds.
#[cfg(not(test))]
const OPS_STEP: usize = 16 * RELEASE_STEP;
/// So that tests with small DAGs come in between.
#[cfg(test)]
const OPS_STEP: usize = 2;

/// A ref whose row is gone and whose blocks are still counted.
pub(crate) struct Fallen {
    brief: Brief,
    /// The blocks of a ref that was incomplete. Those of a complete one are walked.
    members: Option<Vec<Key>>,
}

impl Inner {
    /// Removes a ref by its owner's wish: pinned, held or not.
    pub(crate) fn remove(&self, root: &Cid) -> Result<Bytes, Error> {
        let _eviction = self.eviction.lock();
        let fallen = {
            let _ops = self.ops.lock();
            self.check_open()?;
            let _rows = self.rows.lock();
            let Some(brief) = refs::load_bare(&self.state, root)? else { return Ok(Bytes::ZERO) };
            let id = cache::id(&brief);
            let fallen = self.fell(vec![brief])?;
            self.cache.lock().forget(&id);
            fallen
        };
        self.drop_blocks(fallen, true)
    }

    /// Removes the rows of refs, durably and in one step. The caller holds `eviction`, `ops` and `rows`.
    pub(crate) fn fell(&self, briefs: Vec<Brief>) -> Result<Vec<Fallen>, Error> {
        let batch = || {
            let mut batch = Batch::new();
            briefs.iter().try_for_each(|brief| refs::delete(&self.state, &mut batch, &brief.root))?;
            Ok::<_, Error>(batch)
        };
        let gone: Vec<_> = briefs.iter().map(|brief| (Some(brief), None)).collect();
        match self.apply_with_cache(batch()?, &gone) {
            // What the policy remembers of them can wait for room.
            Err(error) if error.is_full() => self.apply_removing(batch()?, &gone)?,
            applied => applied?,
        }
        let fall = |brief: Brief| {
            if brief.complete {
                return Ok(Fallen { brief, members: None });
            }
            // Another commit of the same root starts a list of its own.
            let keys: Vec<Key> = self.counted(&brief)?.into_keys().collect();
            self.forget_members(&refs::id(&brief.root), keys.iter())?;
            Ok(Fallen { brief, members: Some(keys) })
        };
        let fallen: Result<Vec<Fallen>, Error> = briefs.into_iter().map(fall).collect();
        self.doubt_unless(fallen)
    }

    /// Drops the blocks of refs whose rows are gone; returns the size of those that nothing else holds. With
    /// `bury` they are not met again by a rebuild. The caller holds `eviction`, so nothing else takes blocks
    /// of theirs away.
    pub(crate) fn drop_blocks(&self, fallen: Vec<Fallen>, bury: bool) -> Result<Bytes, Error> {
        let mut freed = Bytes::ZERO;
        let mut gone = Vec::new();
        for Fallen { brief, members } in fallen {
            let keys = match members {
                Some(keys) => keys,
                None => self.doubt_unless(self.counted(&brief))?.into_keys().collect(),
            };
            for step in keys.chunks(OPS_STEP) {
                let _ops = self.ops.lock();
                let dropped = self.drop_step(step, &mut gone);
                freed = freed.saturating_add(self.doubt_unless(dropped)?);
            }
        }
        if bury {
            gone.retain(|(_, entry)| self.log.covers(entry));
            self.bury(&gone)?;
        }
        Ok(freed)
    }

    fn drop_step(&self, keys: &[Key], gone: &mut Vec<(Key, Entry)>) -> Result<Bytes, Error> {
        for key in keys {
            self.recount(key, |refs| refs.saturating_sub(1))?;
        }
        self.release_unheld(keys.iter().cloned(), gone)
    }

    /// After the point of no return a fault leaves counts that only a rebuild puts right.
    fn doubt_unless<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        if outcome.is_err() {
            self.index.doubt();
        }
        outcome
    }

    /// Drops those of the blocks that neither a ref nor a staging holds, and returns their size.
    pub(crate) fn release(&self, keys: impl Iterator<Item = Key>) -> Result<Bytes, Error> {
        let mut gone = Vec::new();
        let freed = self.release_unheld(keys, &mut gone)?;
        gone.retain(|(_, entry)| self.log.covers(entry));
        self.bury(&gone)?;
        Ok(freed)
    }

    fn release_unheld(
        &self,
        keys: impl Iterator<Item = Key>,
        gone: &mut Vec<(Key, Entry)>,
    ) -> Result<Bytes, Error> {
        let mut freed = 0u64;
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
            }
        }
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
}
