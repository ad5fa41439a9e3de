//! The store's face: reading blocks, refs, and opening stagings.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes as Buf;
use cid::Cid;
use parking_lot::Mutex;
use pop_dag::{BlockSource, SourceError};
use pop_evict::Choice;
use pop_units::Bytes;

use crate::cache::Cache;
use crate::compact::{self, Compacted};
use crate::error::{Error, OpenError};
use crate::hold::Holds;
use crate::index::{Entry, Index};
use crate::log::Log;
use crate::open::{self, OpenReport};
use crate::reach::{self, Blocks};
use crate::refs::{self, Before, Brief, Names, Ref};
use crate::staging::{Staged, Staging};
use crate::state::{Batch, State};

/// How large things may become.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment is sealed when the next record would make it larger than this.
    pub segment_size: Bytes,
    /// What the segment files may take together.
    pub capacity: Bytes,
    /// When room is needed, cached refs are evicted until the files take no more than this part of what is not
    /// pinned, in percent from 50 to 100. Lower means fewer, larger evictions and a smaller cache.
    pub low_watermark: u8,
    /// Says which cached ref goes.
    pub policy: Choice,
}

impl Default for Options {
    fn default() -> Self {
        // 256 MiB: large enough that sealing is rare, small enough to be copied by a compaction in a second.
        Self {
            segment_size: Bytes::MIB.saturating_mul(256),
            capacity: Bytes::new(u64::MAX),
            low_watermark: 95,
            policy: Choice::default(),
        }
    }
}

/// What the handles of one store share. Locks are taken in the order of the fields; the last ones are held for
/// moments, and none of them while waiting for another.
pub(crate) struct Inner {
    /// Held by the one at a time that takes away blocks which refs hold, or makes room.
    pub(crate) eviction: Mutex<()>,
    /// Held while refs change, so that a walk sees no block go.
    pub(crate) ops: Mutex<()>,
    /// Held while a ref's row is read, changed and written, and while it is chosen to be evicted.
    pub(crate) rows: Mutex<()>,
    /// Held by the one compaction there is at a time.
    pub(crate) compaction: Mutex<()>,
    /// Has the writer lock, which comes here.
    pub(crate) log: Log,
    pub(crate) stagings: Mutex<BTreeMap<String, Arc<Staged>>>,
    /// Refs whose rows are written while their blocks are still being made visible, and what they were before.
    pub(crate) settling: Mutex<BTreeMap<Vec<u8>, Before>>,
    pub(crate) holds: Holds,
    /// The sizes of what is on its way in steps.
    pub(crate) pledged: AtomicU64,
    pub(crate) cache: Mutex<Cache>,
    pub(crate) index: Index,
    pub(crate) state: State,
    pub(crate) report: OpenReport,
    pub(crate) closed: AtomicBool,
    pub(crate) blocks_dir: PathBuf,
    /// Unlocked by dropping it.
    pub(crate) _lock: File,
}

/// A handle to an open store. Its calls block.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

impl Store {
    /// Opens the store of a repository, creating it where there is none, and repairing what a crash left.
    ///
    /// # Errors
    /// Another process has it open, the durable state is damaged, or the disk refuses.
    pub fn open(repo: &Path, options: Options) -> Result<Self, OpenError> {
        open::open(repo, &options).map(|inner| Self { inner: Arc::new(inner) })
    }

    /// Returns what the open found.
    pub fn report(&self) -> OpenReport {
        self.inner.report.clone()
    }

    /// Returns a block that a live ref holds. The data of an identity CID is always here.
    ///
    /// # Errors
    /// The disk refuses, or the block is damaged.
    pub fn get(&self, cid: &Cid) -> Result<Option<Buf>, Error> {
        if let Some(inline) = pop_dag::identity(cid) {
            return Ok(Some(Buf::copy_from_slice(inline)));
        }
        self.inner.read(cid, false, |_, entry| entry.refs > 0)
    }

    /// Is [`Self::get`], and compares the checksum: for what leaves the node, as a file or to a peer.
    ///
    /// # Errors
    /// The disk refuses, or the block is damaged, in any byte.
    pub fn get_checked(&self, cid: &Cid) -> Result<Option<Buf>, Error> {
        if let Some(inline) = pop_dag::identity(cid) {
            return Ok(Some(Buf::copy_from_slice(inline)));
        }
        self.inner.read(cid, true, |_, entry| entry.refs > 0)
    }

    /// Is [`Self::get`] for the bytes of a block that lie in `range`, as far as it goes. Only they are read, so that
    /// no checksum can be compared: whoever sends them on has had the block from [`Self::get_checked`] before.
    ///
    /// # Errors
    /// The disk refuses, or the block is lost.
    pub fn get_part(&self, cid: &Cid, range: Range<u64>) -> Result<Option<Buf>, Error> {
        if let Some(inline) = pop_dag::identity(cid) {
            let [start, end] = [range.start, range.end].map(|at| Bytes::new(at).as_usize().min(inline.len()));
            return Ok(Some(Buf::copy_from_slice(inline.get(start..end).unwrap_or_default())));
        }
        self.inner.read_part(cid, &range, |_, entry| entry.refs > 0)
    }

    /// Returns true when [`Self::get`] would return the block.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn has(&self, cid: &Cid) -> Result<bool, Error> {
        Ok(self.size(cid)?.is_some())
    }

    /// Returns the size of a block that a live ref holds, without reading it.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn size(&self, cid: &Cid) -> Result<Option<Bytes>, Error> {
        if let Some(inline) = pop_dag::identity(cid) {
            return Ok(Some(Bytes::of(inline)));
        }
        let found = self.inner.find(cid, |_, entry| entry.refs > 0)?;
        Ok(found.map(|entry| Bytes::new(entry.len.into())))
    }

    /// Returns a number that changes whenever blocks may have gone out of sight: what was remembered of them under
    /// another number is to be looked at again. Costs nothing.
    pub fn removals(&self) -> u64 {
        self.inner.index.removals()
    }

    /// Opens the staging of this name, or the one that is already open under it.
    ///
    /// # Errors
    /// The name is too long or the store is closed.
    pub fn stage(&self, name: &str) -> Result<Staging, Error> {
        let mut stagings = self.inner.stagings.lock();
        self.inner.check_open()?;
        let staged = match stagings.get(name) {
            Some(staged) => staged.clone(),
            None => {
                let staged = Arc::new(Staged::new(name, [].into())?);
                stagings.insert(name.to_owned(), staged.clone());
                staged
            }
        };
        Ok(Staging::new(self.inner.clone(), staged))
    }

    /// Returns the names of the open stagings.
    pub fn stagings(&self) -> Vec<String> {
        self.inner.stagings.lock().keys().cloned().collect()
    }

    /// Returns what is known about a root, with the names in it; [`Self::brief`] costs less.
    ///
    /// # Errors
    /// The state does not answer.
    pub fn ref_of(&self, root: &Cid) -> Result<Option<Ref>, Error> {
        let Some(brief) = refs::load_bare(&self.inner.state, root)? else { return Ok(None) };
        let names = refs::names(&self.inner.state, root)?;
        Ok(self.inner.settled(brief, names).map(|(brief, names)| Ref::of(brief, names)))
    }

    /// Returns what is known about a root without the names in it.
    ///
    /// # Errors
    /// The state does not answer.
    pub fn brief(&self, root: &Cid) -> Result<Option<Brief>, Error> {
        let brief = refs::load_bare(&self.inner.state, root)?;
        let settled = brief.and_then(|brief| self.inner.settled(brief, Names::new()));
        Ok(settled.map(|(brief, _)| brief))
    }

    /// Returns every ref, the least used first.
    ///
    /// # Errors
    /// The state does not answer.
    pub fn refs(&self) -> Result<Vec<Ref>, Error> {
        let mut refs = Vec::new();
        for brief in self.briefs()? {
            refs.extend(self.ref_of(&brief.root)?);
        }
        Ok(refs)
    }

    /// Returns every ref without its names, the least used first.
    ///
    /// # Errors
    /// The state does not answer.
    pub fn briefs(&self) -> Result<Vec<Brief>, Error> {
        let found = refs::list_bare(&self.inner.state)?.into_iter();
        let settled = found.filter_map(|brief| self.inner.settled(brief, Names::new()));
        let mut briefs: Vec<Brief> = settled.map(|(brief, _)| brief).collect();
        briefs.sort_by_key(|found| (found.frequency, found.last_used));
        Ok(briefs)
    }

    /// Says whether eviction must leave a ref alone, durably.
    ///
    /// # Errors
    /// There is no such ref, or the disk refuses.
    pub fn set_pinned(&self, root: &Cid, pinned: bool) -> Result<(), Error> {
        let _rows = self.inner.rows.lock();
        let found = refs::load_bare(&self.inner.state, root)?;
        let was = found.ok_or(Error::NoRef { root: *root })?;
        let found = Brief { pinned, ..was.clone() };
        let mut batch = Batch::new();
        refs::put_bare(&mut batch, &found)?;
        self.inner.apply_with_cache(batch, &[(Some(&was), Some(&found))])
    }

    /// Removes a ref, durably, and the blocks that no other ref and no staging holds. Returns the size of
    /// the blocks removed; nothing where there was no such ref.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove(&self, root: &Cid) -> Result<Bytes, Error> {
        self.inner.remove(root)
    }

    /// Compacts one segment, if there is one to compact: the room of what is dead in it comes back, and what
    /// is alive is moved. Without `force` a segment must be more than half dead. Other calls go on meanwhile;
    /// for its duration the survivors of the segment take room twice, over the capacity if need be. Nothing
    /// was moved and freed when there is nothing left to do.
    ///
    /// # Errors
    /// The disk is full or refuses, or a block is damaged; nothing is lost by it.
    pub fn compact(&self, force: bool) -> Result<Compacted, Error> {
        self.inner.compact(if force { compact::ANY } else { compact::HALF }, u64::MAX)
    }

    /// Returns what the segment files take, with what in them is dead.
    pub fn used(&self) -> Bytes {
        self.inner.log.used()
    }

    /// Returns what the segment files may take.
    pub fn capacity(&self) -> Bytes {
        Bytes::new(self.inner.log.sizes().capacity)
    }

    /// Returns the durable rows that live beside the blocks.
    pub fn state(&self) -> State {
        self.inner.state.clone()
    }

    /// Ends the store in good order: stagings without roots go, everything is synced, and the next open
    /// trusts the index. Handles that are still around get [`Error::Closed`] for every change.
    ///
    /// # Errors
    /// The disk refuses; the next open then rebuilds.
    pub fn close(&self) -> Result<(), Error> {
        self.inner.close()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("blocks", &self.inner.blocks_dir).finish_non_exhaustive()
    }
}

/// As a source it compares checksums: what is walked or written out goes to somebody who may not hash it again.
impl BlockSource for Store {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        self.get_checked(cid).map_err(SourceError::new)
    }

    fn part(&self, cid: &Cid, range: Range<u64>) -> Result<Option<Buf>, SourceError> {
        self.get_part(cid, range).map_err(SourceError::new)
    }

    fn has(&self, cid: &Cid) -> Result<bool, SourceError> {
        Self::has(self, cid).map_err(SourceError::new)
    }
}

impl Inner {
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    /// Returns a ref as it is once its blocks are visible: a ref that is listed can be read.
    ///
    /// The rows were read before: if their commit has ended since, the blocks are visible by now.
    fn settled(&self, brief: Brief, names: Names) -> Option<(Brief, Names)> {
        match self.settling.lock().get(&refs::id(&brief.root)) {
            Some(before) => before.restore(names),
            None => Some((brief, names)),
        }
    }

    /// Returns where a block lies, if `admit` lets the caller see it.
    pub(crate) fn find(
        &self,
        cid: &Cid,
        admit: impl Fn(&[u8], &Entry) -> bool,
    ) -> Result<Option<Entry>, Error> {
        let key = reach::key(cid);
        Ok(self.index.get(&key)?.filter(|entry| admit(&key, entry)))
    }

    /// Reads a block, if `admit` lets the caller see it; with `verify`, one whose checksum does not hold is damaged.
    pub(crate) fn read(
        &self,
        cid: &Cid,
        verify: bool,
        admit: impl Fn(&[u8], &Entry) -> bool,
    ) -> Result<Option<Buf>, Error> {
        self.read_key(&reach::key(cid), verify, admit)
    }

    /// Reads a part of a block, if `admit` lets the caller see it.
    pub(crate) fn read_part(
        &self,
        cid: &Cid,
        range: &Range<u64>,
        admit: impl Fn(&[u8], &Entry) -> bool,
    ) -> Result<Option<Buf>, Error> {
        let key = reach::key(cid);
        self.read_by(&key, admit, |entry| self.log.read_part(entry, &key, range))
    }

    fn read_key(
        &self,
        key: &[u8],
        verify: bool,
        admit: impl Fn(&[u8], &Entry) -> bool,
    ) -> Result<Option<Buf>, Error> {
        self.read_by(key, admit, |entry| self.log.read(entry, key, verify))
    }

    /// Finds a block and reads of it what `read` does.
    fn read_by(
        &self,
        key: &[u8],
        admit: impl Fn(&[u8], &Entry) -> bool,
        read: impl Fn(&Entry) -> Result<Option<Buf>, Error>,
    ) -> Result<Option<Buf>, Error> {
        let look = || -> Result<_, Error> {
            let Some(entry) = self.index.get(key)?.filter(|entry| admit(key, entry)) else { return Ok(None) };
            Ok(Some((entry, read(&entry)?)))
        };
        match look()? {
            None => return Ok(None),
            Some((_, Some(data))) => return Ok(Some(data)),
            Some((_, None)) => {}
        }
        // The block went or moved between the look at the index and the one at the segment. Under the lock
        // nothing does, so what is not at its place then is lost.
        let _writer = self.log.lock();
        let Some((entry, data)) = look()? else { return Ok(None) };
        if data.is_none() {
            self.index.doubt();
            let Entry { segment, offset, .. } = entry;
            let what = format!("segment {segment:08x} at {offset}: no such block, rebuilt by a restart");
            return Err(Error::Damaged { what });
        }
        Ok(data)
    }
}

impl Blocks for Inner {
    fn find(&self, key: &[u8]) -> Result<Option<u32>, Error> {
        Ok(self.index.get(key)?.map(|entry| entry.len))
    }

    fn data(&self, key: &[u8]) -> Result<Option<Buf>, Error> {
        self.read_key(key, false, |_, _| true)
    }
}
