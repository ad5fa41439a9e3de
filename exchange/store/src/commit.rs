//! What makes blocks visible: committing, and what else ends a staging.
//!
//! A change is one durable batch of the state, and that batch is the point of no return. Blocks are synced
//! before it; the index follows after it, because a crash in between leaves no CLEAN marker and the rebuild
//! counts refs anew from the state.

use std::collections::{BTreeMap, HashMap};

use crate::error::Error;
use crate::index::Entry;
use crate::reach::{Key, Reach};
use crate::refs::{self, Before, Brief, KeyRow, Ref, RefKey};
use crate::staging::{self, Staged};
use crate::state::Batch;
use crate::store::Inner;
use crate::whole::Whole;

/// A ref on its way in.
struct Coming {
    brief: Brief,
    names: BTreeMap<String, RefKey>,
    reached: HashMap<Key, u32>,
    /// Blocks that the index counts for it already.
    counted: Counted,
    before: Before,
}

enum Counted {
    All,
    These(HashMap<Key, u32>),
}

impl Counted {
    fn has(&self, key: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::These(keys) => keys.contains_key(key),
        }
    }
}

impl Inner {
    /// Records refs to what a staging holds and ends it, all in one durable step.
    pub(crate) fn commit(&self, staged: &Staged, refs: Vec<Ref>) -> Result<(), Error> {
        let _ops = self.ops.lock();
        self.check_open()?;
        staged.check_open()?;
        let mut united: BTreeMap<Vec<u8>, (Brief, BTreeMap<String, RefKey>)> = BTreeMap::new();
        for (brief, names) in refs.into_iter().map(Ref::split) {
            match united.get_mut(&refs::id(&brief.root)) {
                Some((known, all)) => {
                    known.merge(&brief);
                    all.extend(names);
                }
                None => drop(united.insert(refs::id(&brief.root), (brief, names))),
            }
        }
        let coming = united.into_values().map(|(brief, names)| self.weigh(brief, names));
        let mut coming = coming.collect::<Result<Vec<_>, _>>()?;
        self.log.sync()?;
        let before = |found: &Coming| (refs::id(&found.brief.root), found.before.clone());
        *self.settling.lock() = coming.iter().map(before).collect();
        let recorded = self.record(staged, &mut coming);
        let settled = recorded.and_then(|()| coming.iter().try_for_each(|found| self.count_in(found)));
        self.settling.lock().clear();
        settled?;
        self.stagings.lock().remove(&staged.name);
        self.release(staged.end().into_keys()).map(drop)
    }

    /// Finds out what of a ref is here, and what was known of it.
    fn weigh(&self, mut brief: Brief, mut names: BTreeMap<String, RefKey>) -> Result<Coming, Error> {
        let reach = Reach::of(&[brief.root], self)?;
        if let (true, Some(missing)) = (brief.complete, reach.missing) {
            return Err(Error::Incomplete { missing });
        }
        brief.complete |= reach.is_whole();
        brief.size = reach.size();
        let old = refs::load_bare(&self.state, &brief.root)?;
        let counted = match &old {
            None => Counted::These(HashMap::new()),
            // What was all here is what is reached now, because nothing of a ref goes before the ref.
            Some(old) if old.complete && reach.missing.is_none() => Counted::All,
            Some(old) => Counted::These(self.counted(old)?),
        };
        let is_complete = brief.complete || old.as_ref().is_some_and(|old| old.complete);
        let mut before = Before { brief: old, names: BTreeMap::new() };
        let mut whole = Whole::new(self);
        for (name, key) in &mut names {
            let was = refs::key(&self.state, &brief.root, name)?;
            let was_here = was.is_some_and(|was| was.here && was.cid == key.cid);
            key.here = is_complete || was_here || reach.has(&key.cid) && whole.is_here(&key.cid)?;
            before.names.insert(name.clone(), was);
        }
        Ok(Coming { brief, names, reached: reach.blocks, counted, before })
    }

    /// Writes the refs, merged with what is known of them, and forgets the staging: the point of no return.
    fn record(&self, staged: &Staged, coming: &mut [Coming]) -> Result<(), Error> {
        let _rows = self.rows.lock();
        let (mut batch, mut rows) = (Batch::new(), Vec::with_capacity(coming.len()));
        for found in &mut *coming {
            // Uses and pins may have come since the commit began; nothing else changes a row without `ops`.
            let old = refs::load_bare(&self.state, &found.brief.root)?;
            if let Some(old) = &old {
                found.brief.merge(old);
                found.brief.names = old.names;
            }
            rows.push(old);
            let fresh = found.before.names.values().filter(|was| was.is_none()).count();
            found.brief.names = found.brief.names.saturating_add(u64::try_from(fresh).unwrap_or(0));
            refs::put_bare(&mut batch, &found.brief)?;
            for (name, key) in &found.names {
                refs::put_key(&mut batch, &found.brief.root, name, &KeyRow::of(key))?;
            }
        }
        staging::forget(&self.state, &mut batch, &staged.name)?;
        let pairs = rows.iter().zip(&*coming).map(|(was, found)| (was.as_ref(), Some(&found.brief)));
        self.apply_with_cache(batch, &pairs.collect::<Vec<_>>())
    }

    /// Returns the blocks that the index counts for a ref.
    pub(crate) fn counted(&self, found: &Brief) -> Result<HashMap<Key, u32>, Error> {
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
    fn count_in(&self, found: &Coming) -> Result<(), Error> {
        let id = refs::id(&found.brief.root);
        for (key, len) in &found.reached {
            if !found.counted.has(key) {
                self.recount(key, |refs| refs.saturating_add(1))?;
                if !found.brief.complete {
                    self.index.add_member(&id, key, *len)?;
                }
            }
        }
        match &found.counted {
            Counted::These(counted) if found.brief.complete => self.forget_members(&id, counted.keys()),
            Counted::These(_) | Counted::All => Ok(()),
        }
    }

    /// Forgets which blocks an incomplete ref holds.
    pub(crate) fn forget_members<'a>(
        &self,
        id: &[u8],
        mut keys: impl Iterator<Item = &'a Key>,
    ) -> Result<(), Error> {
        keys.try_for_each(|key| self.index.remove_member(id, key))
    }

    pub(crate) fn recount(&self, key: &[u8], change: impl Fn(u32) -> u32) -> Result<(), Error> {
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

    /// Ends a staging and drops what nothing else holds.
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
}
