//! Verifying: every record of every segment is read and its checksum looked at, beside reads and writes.
//!
//! A damaged block that is in use is dropped, durably, and the refs that had it become incomplete, so that
//! it is fetched again. Damage where nothing is in use is counted and otherwise left to compaction. A
//! damaged node hides what was below it, and with it what its refs hold: after damage to blocks in use, all
//! refs are counted anew, which is the only moment that others wait for.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes as Buf;
use cid::Cid;
use parking_lot::Mutex;
use pop_dag::Codec;
use pop_units::Bytes;

use crate::error::Error;
use crate::index::Entry;
use crate::reach::{Blocks, Key, Reach};
use crate::record::{self, PUT};
use crate::refs::{self, Brief};
use crate::scan::{self, Found};
use crate::segment::Segment;
use crate::state::Batch;
use crate::store::{Inner, Store};

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// What was read.
    pub read: Bytes,
    /// Blocks in use that are sound.
    pub sound: u64,
    /// Records that nothing needs any more, and sound.
    pub dead: u64,
    /// Records that do not read where nothing is in use, as far as they can be told apart.
    pub dead_damaged: u64,
    /// Blocks in use that were damaged, and are dropped.
    pub damaged: Vec<Damage>,
    /// False when it was ended before the last segment.
    pub finished: bool,
}

/// A block that was lost to damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The block, as a raw one: the store knows blocks by their multihash alone.
    pub cid: Cid,
    /// The number of its segment file.
    pub segment: u32,
    /// Where in it the record starts.
    pub offset: u64,
    /// The refs that had it, and are incomplete now.
    pub refs: Vec<Cid>,
}

/// A block that the index points to, and where.
type Suspect = (Key, Entry);

/// The index is looked through in pieces of this many blocks.
const PAGE: usize = 4096;
/// `progress` is asked after each of these.
const STRIDE: u64 = 4 << 20;

impl Store {
    /// Reads every segment and compares every record with its checksum; others go on reading and writing.
    /// `progress` is told how much was read in all, and ends the work by returning false: damage found until
    /// then is dealt with.
    ///
    /// # Errors
    /// The disk refuses in a way that is not damage, or the store is closed.
    pub fn verify(&self, progress: &mut dyn FnMut(Bytes) -> bool) -> Result<Verified, Error> {
        let inner = &self.inner;
        let mut verified = Verified { finished: true, ..Verified::default() };
        let mut suspects = Vec::new();
        for segment in inner.log.table().values() {
            inner.check_open()?;
            let goes_on = inner.verify_segment(segment, &mut verified, &mut suspects, progress)?;
            if !goes_on {
                verified.finished = false;
                break;
            }
        }
        verified.damaged = inner.drop_damaged(suspects)?;
        Ok(verified)
    }
}

impl Inner {
    fn verify_segment(
        &self,
        segment: &Arc<Segment>,
        verified: &mut Verified,
        suspects: &mut Vec<Suspect>,
        progress: &mut dyn FnMut(Bytes) -> bool,
    ) -> Result<bool, Error> {
        let live = segment.live();
        let (mut met, mut strays, mut asked) = (HashSet::new(), HashSet::new(), verified.read);
        let mut met_bytes = 0u64;
        let records = forgiven(scan::records(segment))?.unwrap_or_default();
        for found in &records {
            let is_sound = self.is_sound(segment, found)?;
            let entry = self.index.get(&found.multihash)?;
            let entry = entry.filter(|entry| found.kind == PUT && entry.is_at(segment.id, found.offset));
            match (entry, is_sound) {
                (Some(_), true) => verified.sound = verified.sound.saturating_add(1),
                (Some(entry), false) => suspects.push((found.multihash.clone().into(), entry)),
                (None, true) => verified.dead = verified.dead.saturating_add(1),
                // What was cut off meanwhile is no damage.
                (None, false) if found.offset < segment.len() => strays.extend([found.offset]),
                (None, false) => {}
            }
            if entry.is_some() {
                met.insert(found.offset);
                met_bytes = met_bytes.saturating_add(found.span());
            }
            verified.read = verified.read.saturating_add(Bytes::new(found.span()));
            if verified.read.saturating_sub(asked).get() >= STRIDE {
                asked = verified.read;
                if !progress(asked) {
                    return Ok(false);
                }
            }
        }
        // Records whose headers are damaged are not met; what points to them is found from the other side.
        if met_bytes < live || !strays.is_empty() {
            self.each_block(|key, entry| {
                if entry.segment == segment.id && !met.contains(&entry.offset) {
                    strays.remove(&entry.offset);
                    suspects.push((key.into(), entry));
                }
                Ok(())
            })?;
        }
        let strays = u64::try_from(strays.len()).unwrap_or(u64::MAX);
        verified.dead_damaged = verified.dead_damaged.saturating_add(strays);
        Ok(progress(verified.read))
    }

    fn is_sound(&self, segment: &Segment, found: &Found) -> Result<bool, Error> {
        Ok(forgiven(scan::sound(segment, found))?.flatten().is_some())
    }

    fn each_block(&self, mut look: impl FnMut(&[u8], Entry) -> Result<(), Error>) -> Result<(), Error> {
        let mut after = Vec::new();
        loop {
            let page = self.index.page(&after, PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after.clone_from(last);
            page.iter().try_for_each(|(key, entry)| look(key, *entry))?;
        }
    }

    /// Drops the suspects that are damaged indeed, and puts right what refs hold.
    fn drop_damaged(&self, suspects: Vec<Suspect>) -> Result<Vec<Damage>, Error> {
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        let _eviction = self.eviction.lock();
        let _ops = self.ops.lock();
        self.check_open()?;
        // After the first block is dropped a fault leaves counts that only a rebuild puts right.
        let lost = self.drop_all_damaged(suspects);
        if lost.is_err() {
            self.index.doubt();
        }
        let mut damaged: Vec<Damage> = lost?.into_values().collect();
        damaged.sort_by_key(|damage| (damage.segment, damage.offset));
        Ok(damaged)
    }

    fn drop_all_damaged(&self, suspects: Vec<Suspect>) -> Result<HashMap<Key, Damage>, Error> {
        let mut lost: HashMap<Key, Damage> = HashMap::new();
        for (key, entry) in suspects {
            if self.drop_if_damaged(&key, &entry)? {
                let Entry { segment, offset, .. } = entry;
                lost.insert(key.clone(), Damage { cid: raw(&key)?, segment, offset, refs: Vec::new() });
            }
        }
        if lost.is_empty() {
            return Ok(lost);
        }
        for staged in self.stagings.lock().values() {
            staged.lose(lost.keys());
        }
        // The tombstones come first: with a row that says incomplete and a block that a rebuild finds in a
        // hint, the ref would be complete again.
        self.log.sync()?;
        self.recount_refs(&mut lost)?;
        Ok(lost)
    }

    /// Looks once more, now that nothing moves, and takes the block out of the index if it is damaged.
    fn drop_if_damaged(&self, key: &Key, entry: &Entry) -> Result<bool, Error> {
        let mut writer = self.log.lock();
        let now = self.index.get(key)?;
        if !now.is_some_and(|now| now.is_at(entry.segment, entry.offset)) {
            return Ok(false);
        }
        match self.log.read(entry, key, true) {
            Ok(Some(_)) => return Ok(false),
            Ok(None) | Err(Error::Damaged { .. }) => {}
            Err(Error::Io { source, .. }) if is_damage(&source) => {}
            Err(error) => return Err(error),
        }
        self.index.remove(key)?;
        self.log.release(&mut writer, entry, record::span(key.len(), entry.len));
        self.log.bury(&mut writer, key, entry)?;
        if let Some(segment) = self.log.table().get(&entry.segment) {
            segment.take_up();
        }
        Ok(true)
    }

    /// Counts all refs anew, after blocks were lost.
    fn recount_refs(&self, lost: &mut HashMap<Key, Damage>) -> Result<(), Error> {
        let _rows = self.rows.lock();
        let (mut batch, mut pairs) = (Batch::new(), Vec::new());
        let mut counts: HashMap<Key, u32> = HashMap::new();
        for was in refs::list_bare(&self.state)? {
            let watched = Watched { inner: self, lost, met: Mutex::default() };
            let reach = Reach::of(&[was.root], &watched)?;
            let met = watched.met.into_inner();
            for key in reach.blocks.keys() {
                let count = counts.entry(key.clone()).or_default();
                *count = count.saturating_add(1);
            }
            if met.is_empty() {
                continue;
            }
            let is = Brief {
                complete: reach.missing.is_none() && was.complete,
                size: reach.size(),
                ..was.clone()
            };
            self.lose_members(&was, &is, &reach)?;
            if !is.complete {
                refs::recheck_names(&self.state, &mut batch, &is.root, (&reach, self))?;
            }
            refs::put_bare(&mut batch, &is)?;
            for key in met {
                if let Some(damage) = lost.get_mut(&key) {
                    damage.refs.push(is.root);
                }
            }
            pairs.push((was, is));
        }
        let pairs: Vec<_> = pairs.iter().map(|(was, is)| (Some(was), Some(is))).collect();
        self.apply_with_cache(batch, &pairs)?;
        self.settle_counts(&counts)
    }

    /// Notes what an incomplete ref still holds.
    fn lose_members(&self, was: &Brief, is: &Brief, reach: &Reach) -> Result<(), Error> {
        if is.complete {
            return Ok(());
        }
        let id = refs::id(&is.root);
        if !was.complete {
            let held = self.counted(was)?;
            self.forget_members(&id, held.keys().filter(|key| !reach.blocks.contains_key(*key)))?;
        }
        reach.blocks.iter().try_for_each(|(key, len)| self.index.add_member(&id, key, *len))
    }

    fn settle_counts(&self, counts: &HashMap<Key, u32>) -> Result<(), Error> {
        let mut unheld = Vec::new();
        self.each_block(|key, entry| {
            let refs = counts.get(key).copied().unwrap_or(0);
            if refs == 0 {
                unheld.push(key.into());
            }
            if refs == entry.refs { Ok(()) } else { self.recount(key, |_| refs) }
        })?;
        self.release(unheld.into_iter()).map(drop)
    }
}

/// The blocks, and which lost ones are asked for.
struct Watched<'a> {
    inner: &'a Inner,
    lost: &'a HashMap<Key, Damage>,
    met: Mutex<HashSet<Key>>,
}

impl Blocks for Watched<'_> {
    fn find(&self, key: &[u8]) -> Result<Option<u32>, Error> {
        if let Some((key, _)) = self.lost.get_key_value(key) {
            self.met.lock().insert(key.clone());
        }
        Blocks::find(self.inner, key)
    }

    fn data(&self, key: &[u8]) -> Result<Option<Buf>, Error> {
        self.inner.data(key)
    }
}

fn raw(key: &[u8]) -> Result<Cid, Error> {
    let hash = cid::multihash::Multihash::from_bytes(key);
    let hash = hash.map_err(|error| Error::Damaged { what: format!("a name in the index: {error}") })?;
    Ok(Cid::new_v1(Codec::Raw.code(), hash))
}

/// Tells a disk that lost data from one that refuses for another reason.
fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Takes bytes that do not read as bytes that are wrong.
fn forgiven<T>(outcome: io::Result<T>) -> Result<Option<T>, Error> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(Error::io("reading a segment")(error)),
    }
}
