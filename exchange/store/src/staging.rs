//! Stagings: named sets of blocks on their way in, unseen by anyone else until a commit.
//!
//! A staging pins what it holds, also blocks that were there before, so that a ref removed meanwhile takes
//! nothing from under it. With roots set it survives a restart: what the roots reach is kept by name.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes as Buf;
use cid::Cid;
use parking_lot::Mutex;
use pop_dag::{Block, BlockSink, BlockSource, SinkError, SourceError};
use pop_units::Bytes;

use crate::error::{Error, Limit, StateError};
use crate::log::Writer;
use crate::reach::{Blocks, Key, Reach, key};
use crate::record::Draft;
use crate::refs::Ref;
use crate::room::{Claim, Room, TRIES};
use crate::state::{Batch, State};
use crate::store::Inner;

const NAMES: &str = "store/staging";
const ROOTS: &str = "store/staging-root";
/// A purpose and a CID fit several times; the name's length is one byte in its rows.
const NAME_LIMIT: usize = 200;

/// The blocks of one staging, shared by its handles.
pub(crate) struct Staged {
    pub(crate) name: String,
    set: Mutex<Set>,
    /// As they are in the state.
    roots: Mutex<Vec<Cid>>,
    /// The room it fills.
    claim: Mutex<Option<Arc<Claim>>>,
}

struct Set {
    blocks: HashMap<Key, u32>,
    bytes: u64,
    open: bool,
}

impl Staged {
    /// Returns a staging that holds these blocks.
    pub(crate) fn new(name: &str, blocks: HashMap<Key, u32>) -> Result<Self, Error> {
        if name.len() > NAME_LIMIT {
            return Err(Error::LongName { length: name.len(), limit: NAME_LIMIT });
        }
        let bytes = blocks.values().map(|len| u64::from(*len)).sum();
        let set = Mutex::new(Set { blocks, bytes, open: true });
        Ok(Self { name: name.to_owned(), set, roots: Mutex::default(), claim: Mutex::default() })
    }

    /// Returns what survives of a named staging: its roots, and the blocks that they reach.
    pub(crate) fn revived(state: &State, name: &str, blocks: &dyn Blocks) -> Result<Self, Error> {
        let roots = roots(state, name)?;
        let staged = Self::new(name, Reach::of(&roots, blocks)?.blocks)?;
        *staged.roots.lock() = roots;
        Ok(staged)
    }

    pub(crate) fn roots(&self) -> Vec<Cid> {
        self.roots.lock().clone()
    }

    /// Forgets blocks that are lost.
    pub(crate) fn lose<'a>(&self, keys: impl Iterator<Item = &'a Key>) {
        let mut set = self.set.lock();
        for key in keys {
            if let Some(len) = set.blocks.remove(key) {
                set.bytes = set.bytes.saturating_sub(len.into());
            }
        }
    }

    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        self.set.lock().blocks.contains_key(key)
    }

    /// Ends the staging and returns what it held.
    pub(crate) fn end(&self) -> HashMap<Key, u32> {
        let mut set = self.set.lock();
        set.open = false;
        set.bytes = 0;
        std::mem::take(&mut set.blocks)
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.set.lock().open { Ok(()) } else { Err(Error::NoStaging { name: self.name.clone() }) }
    }

    /// Returns what the staging holds.
    pub(crate) fn held(&self) -> HashMap<Key, u32> {
        self.set.lock().blocks.clone()
    }

    pub(crate) fn extend(&self, blocks: HashMap<Key, u32>) {
        blocks.into_iter().for_each(|(key, len)| self.add(key, len));
    }

    /// Returns the size of what it holds.
    pub(crate) fn bytes(&self) -> u64 {
        self.set.lock().bytes
    }

    fn add(&self, key: Key, len: u32) {
        let mut set = self.set.lock();
        if set.blocks.insert(key, len).is_none() {
            set.bytes = set.bytes.saturating_add(len.into());
        }
    }
}

/// Returns the names that survive a restart.
pub(crate) fn names(state: &State) -> Result<Vec<String>, StateError> {
    let rows = state.scan(NAMES, &[])?;
    Ok(rows.into_iter().map(|(name, _)| String::from_utf8_lossy(&name).into_owned()).collect())
}

/// Returns the roots of a staging.
pub(crate) fn roots(state: &State, name: &str) -> Result<Vec<Cid>, StateError> {
    let prefix = root_prefix(name);
    let rows = state.scan(ROOTS, &prefix)?;
    let read = |key: &[u8]| {
        Cid::try_from(key.get(prefix.len()..).unwrap_or(&[]))
            .map_err(|error| StateError::Row { table: ROOTS, what: error.to_string() })
    };
    rows.iter().map(|(key, _)| read(key)).collect()
}

/// Adds the removal of a staging's rows to a batch.
pub(crate) fn forget(state: &State, batch: &mut Batch, name: &str) -> Result<(), StateError> {
    if state.get(NAMES, name.as_bytes())?.is_some() {
        batch.unset(NAMES, name.as_bytes());
    }
    for root in roots(state, name)? {
        batch.unset(ROOTS, &root_key(name, &root));
    }
    Ok(())
}

fn root_prefix(name: &str) -> Vec<u8> {
    [&[u8::try_from(name.len()).unwrap_or(u8::MAX)], name.as_bytes()].concat()
}

fn root_key(name: &str, root: &Cid) -> Vec<u8> {
    [root_prefix(name), root.to_bytes()].concat()
}

/// A handle to a staging. Dropping it leaves the staging open under its name.
#[derive(Clone)]
pub struct Staging {
    inner: Arc<Inner>,
    staged: Arc<Staged>,
}

impl Staging {
    pub(crate) fn new(inner: Arc<Inner>, staged: Arc<Staged>) -> Self {
        Self { inner, staged }
    }

    /// Adds a block. One that is stored already is not written again.
    ///
    /// # Errors
    /// The store is full (and as it was), or the disk refuses.
    pub fn put(&self, block: &Block) -> Result<(), Error> {
        if pop_dag::identity(block.cid()).is_some() {
            return Ok(());
        }
        if Bytes::of(block.data()) > pop_dag::MAX_BLOCK {
            return Err(Error::LargeBlock { cid: *block.cid(), size: Bytes::of(block.data()) });
        }
        let key = key(block.cid());
        let draft = Draft::put(&key, block.data());
        let span = draft.span();
        let mut outcome = self.put_draft(&key, &draft);
        for _ in 0..TRIES {
            if !matches!(outcome, Err(Error::Full { limit: Limit::Capacity, .. })) {
                break;
            }
            let left = || self.staged.claim.lock().as_ref().map_or(0, |claim| claim.left());
            let fits = || self.inner.log.room().saturating_add(left()) >= span;
            if !self.inner.make_room(span.saturating_sub(left()), &fits)? {
                break;
            }
            outcome = self.put_draft(&key, &draft);
        }
        outcome
    }

    fn put_draft(&self, key: &Key, draft: &Draft<'_>) -> Result<(), Error> {
        let mut writer = self.inner.log.lock();
        self.inner.check_open()?;
        self.staged.check_open()?;
        if self.inner.index.get(key)?.is_none() {
            let claim = self.staged.claim.lock().clone();
            let append = |writer: &mut Writer| self.inner.log.append(writer, draft);
            let entry = match claim {
                Some(claim) => claim.spend(&self.inner.log, &mut writer, draft.span(), append)?,
                None => append(&mut writer)?,
            };
            self.inner.index.insert(key, entry)?;
        }
        self.staged.add(key.clone(), draft.payload_len());
        Ok(())
    }

    /// Makes this staging fill a room: what is put from now on takes of it what it needs.
    pub fn within(&self, room: &Room) {
        *self.staged.claim.lock() = Some(room.claim.clone());
    }

    /// Returns a block that this staging holds or that is visible to all.
    ///
    /// # Errors
    /// The disk refuses, or the block is damaged.
    pub fn get(&self, cid: &Cid) -> Result<Option<Buf>, Error> {
        self.inner.read(cid, false, |key, entry| entry.refs > 0 || self.staged.holds(key))
    }

    /// Is [`Self::get`], and compares the checksum: for what leaves the node before it is committed.
    ///
    /// # Errors
    /// The disk refuses, or the block is damaged, in any byte.
    pub fn get_checked(&self, cid: &Cid) -> Result<Option<Buf>, Error> {
        self.inner.read(cid, true, |key, entry| entry.refs > 0 || self.staged.holds(key))
    }

    /// Is [`Self::get`] for the bytes of a block that lie in `range`, as far as it goes. Only they are read, so that
    /// no checksum can be compared: whoever sends them on has had the block from [`Self::get_checked`] before.
    ///
    /// # Errors
    /// The disk refuses, or the block is lost.
    pub fn get_part(&self, cid: &Cid, range: Range<u64>) -> Result<Option<Buf>, Error> {
        self.inner.read_part(cid, &range, |key, entry| entry.refs > 0 || self.staged.holds(key))
    }

    /// Returns true when [`Self::get`] would return the block.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn has(&self, cid: &Cid) -> Result<bool, Error> {
        let found = self.inner.find(cid, |key, entry| entry.refs > 0 || self.staged.holds(key))?;
        Ok(found.is_some())
    }

    /// Sets what keeps the staging's blocks alive over a restart, durably and with the blocks synced first.
    ///
    /// # Errors
    /// The disk refuses, or the staging has ended.
    pub fn set_roots(&self, roots: &[Cid]) -> Result<(), Error> {
        let _ops = self.inner.ops.lock();
        self.inner.check_open()?;
        self.staged.check_open()?;
        self.inner.log.sync()?;
        let (state, name) = (&self.inner.state, self.staged.name.as_str());
        let mut batch = Batch::new();
        forget(state, &mut batch, name)?;
        if !roots.is_empty() {
            batch.set(NAMES, name.as_bytes(), Vec::new());
        }
        for root in roots {
            batch.set(ROOTS, &root_key(name, root), Vec::new());
        }
        state.apply(batch)?;
        *self.staged.roots.lock() = roots.to_vec();
        Ok(())
    }

    /// Returns the roots last set.
    ///
    /// # Errors
    /// The state does not answer.
    pub fn roots(&self) -> Result<Vec<Cid>, Error> {
        Ok(roots(&self.inner.state, &self.staged.name)?)
    }

    /// Makes every block put so far survive a power cut; callers that wait share one sync.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn sync(&self) -> Result<(), Error> {
        self.inner.check_open()?;
        self.inner.log.sync()
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.staged.name
    }

    /// Returns the size of the blocks held, each counted once.
    pub fn bytes(&self) -> Bytes {
        Bytes::new(self.staged.bytes())
    }

    /// Makes the blocks that the root reaches visible, records the ref and forgets the staging, in one
    /// durable step. Blocks held here that the root does not reach are dropped. On an error nothing of this
    /// has happened and the staging is still open under its name.
    ///
    /// A ref that is there already is merged: names are united, and it is complete if either was. Which of
    /// the names given here are here as a whole is found out and kept.
    ///
    /// # Errors
    /// The ref claims to be complete but a block is missing, the staging has ended, or the disk refuses.
    pub fn commit(self, found: Ref) -> Result<(), Error> {
        self.inner.commit(&self.staged, vec![found])
    }

    /// As [`Self::commit`] with several roots: all of them in one durable step, or none. Refs of the same root
    /// are taken as one.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn commit_all(self, refs: Vec<Ref>) -> Result<(), Error> {
        self.inner.commit(&self.staged, refs)
    }

    /// Takes over every block that `other` holds and forgets `other`, its roots too. Every block is held by
    /// one or the other throughout. Absorbing a handle of the same staging changes nothing. To outlive a
    /// restart the blocks must be reached by the roots of this staging: set them after.
    ///
    /// # Errors
    /// One of the two has ended or belongs to another store, or the disk refuses; then nothing was moved.
    pub fn absorb(&self, other: Self) -> Result<(), Error> {
        if !Arc::ptr_eq(&self.inner, &other.inner) {
            return Err(Error::NoStaging { name: other.staged.name.clone() });
        }
        if Arc::ptr_eq(&self.staged, &other.staged) {
            return self.staged.check_open();
        }
        self.inner.absorb(&self.staged, &other.staged)
    }

    /// Forgets the staging and drops its blocks, except those that refs or other stagings hold.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn discard(self) -> Result<(), Error> {
        self.inner.discard(&self.staged)
    }
}

impl std::fmt::Debug for Staging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staging").field("name", &self.staged.name).finish_non_exhaustive()
    }
}

impl BlockSource for Staging {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        self.get(cid).map_err(SourceError::new)
    }

    fn part(&self, cid: &Cid, range: Range<u64>) -> Result<Option<Buf>, SourceError> {
        self.get_part(cid, range).map_err(SourceError::new)
    }

    fn has(&self, cid: &Cid) -> Result<bool, SourceError> {
        Self::has(self, cid).map_err(SourceError::new)
    }
}

impl BlockSink for Staging {
    fn accept(&mut self, block: Block) -> Result<(), SinkError> {
        self.put(&block).map_err(SinkError::new)
    }
}
