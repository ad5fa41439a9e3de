//! The index: where each block lies and how many refs hold it. A cache over the segments, nothing more.
//!
//! sled may fail or panic on damaged files at any call; both become an error here, and the store that meets
//! one leaves no CLEAN marker, so that the next open rebuilds.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::bytes_at::{length, u32_at, u64_at};
use crate::error::Error;

/// Where a block lies, and the number of live refs whose DAG holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) refs: u32,
}

impl Entry {
    fn to_bytes(self) -> Vec<u8> {
        let mut out = self.segment.to_le_bytes().to_vec();
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.refs.to_le_bytes());
        out
    }

    /// Returns true when this is where the record lies.
    pub(crate) fn is_at(&self, segment: u32, offset: u64) -> bool {
        self.segment == segment && self.offset == offset
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let (segment, offset) = (u32_at(bytes, 0), u64_at(bytes, 4));
        Self { segment, offset, len: u32_at(bytes, 12), refs: u32_at(bytes, 16) }
    }
}

/// The sled database under `blocks/index`.
pub(crate) struct Index {
    db: sled::Db,
    blocks: sled::Tree,
    /// Which blocks a ref with missing blocks holds: its root's id with a length byte, then the multihash.
    members: sled::Tree,
    file: File,
    count: AtomicU64,
    /// Changes before and after each time that a block goes out of sight of readers.
    removals: AtomicU64,
    doubt: AtomicBool,
}

/// sled keeps about 150 bytes a key in memory below this; four million blocks fit.
const CACHE: u64 = 64 << 20;
const STAMP: &[u8] = b"stamp";

/// Runs a call into sled, turning its panics into errors.
pub(crate) fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(error),
        Ok(Err(error)) => Err(io::Error::other(error.to_string())),
        Err(_) => Err(io::Error::other("the database panicked")),
    }
}

impl Index {
    /// Opens the database as it is; an empty one where there was none.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let (db, blocks, members) = guarded(|| {
            let config = sled::Config::new().path(dir).cache_capacity(CACHE).use_compression(false);
            // Nothing here needs to be durable before the close, and a flush in the background that meets
            // a full disk would end the database.
            let db = config.flush_every_ms(None).open()?;
            let (blocks, members) = (db.open_tree("blocks")?, db.open_tree("members")?);
            Ok((db, blocks, members))
        })?;
        let file = File::open(dir.join("db"))?;
        let [count, removals] = std::array::from_fn(|_| AtomicU64::new(0));
        Ok(Self { db, blocks, members, file, count, removals, doubt: AtomicBool::new(false) })
    }

    /// Returns true when the database holds what was there at the close that left this stamp and count.
    ///
    /// The stamp was the last row written before that close's sync, and sled brings rows back in the order
    /// they were written. Counting the rows instead would read all of them: a microsecond for each.
    pub(crate) fn is_of(&self, stamp: u64, count: u64) -> bool {
        let holds = guarded(|| {
            let row = self.db.get(STAMP)?;
            let is_stamped = row.is_some_and(|row| u64_at(&row, 0) == stamp && u64_at(&row, 8) == count);
            Ok(is_stamped && self.blocks.is_empty() == (count == 0))
        });
        self.count.store(count, Ordering::Relaxed);
        matches!(holds, Ok(true))
    }

    /// Writes a stamp and everything before it to disk.
    pub(crate) fn close(&self, stamp: u64) -> Result<(), Error> {
        self.run(|| {
            let row = [stamp.to_le_bytes(), self.count().to_le_bytes()].concat();
            self.db.insert(STAMP, row)?;
            self.db.flush()?;
            Ok(self.file.sync_all()?)
        })
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns a number that changes whenever a block goes out of sight of readers.
    pub(crate) fn removals(&self) -> u64 {
        self.removals.load(Ordering::SeqCst)
    }

    /// Both before and after a block goes: whoever read it in between remembers it under a number that is over.
    fn on_removal(&self) {
        self.removals.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns true once the index and the segments may disagree.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubt.load(Ordering::Relaxed)
    }

    /// Notes that the next open should rebuild.
    pub(crate) fn doubt(&self) {
        self.doubt.store(true, Ordering::Relaxed);
    }

    fn run<T>(&self, call: impl FnOnce() -> sled::Result<T>) -> Result<T, Error> {
        guarded(call).map_err(|what| {
            self.doubt();
            Error::Damaged { what: format!("the block index, rebuilt by a restart: {what}") }
        })
    }

    pub(crate) fn get(&self, multihash: &[u8]) -> Result<Option<Entry>, Error> {
        self.run(|| Ok(self.blocks.get(multihash)?.map(|value| Entry::from_bytes(&value))))
    }

    pub(crate) fn insert(&self, multihash: &[u8], entry: Entry) -> Result<(), Error> {
        let old = self.run(|| self.blocks.insert(multihash, entry.to_bytes()))?;
        if old.is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Changes the entry of a block, whatever else changes at the same time; returns false when there is none.
    pub(crate) fn update(&self, multihash: &[u8], change: impl Fn(Entry) -> Entry) -> Result<bool, Error> {
        let hides = Cell::new(false);
        let changed = |old: Option<&[u8]>| {
            let was = old.map(Entry::from_bytes)?;
            let is = change(was);
            if was.refs > 0 && is.refs == 0 {
                self.on_removal();
                hides.set(true);
            }
            Some(is.to_bytes())
        };
        let found = self.run(|| self.blocks.fetch_and_update(multihash, changed));
        if hides.get() {
            self.on_removal();
        }
        Ok(found?.is_some())
    }

    pub(crate) fn remove(&self, multihash: &[u8]) -> Result<(), Error> {
        self.on_removal();
        let removed = self.run(|| self.blocks.remove(multihash));
        self.on_removal();
        if removed?.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns the blocks noted for an incomplete ref, with their lengths.
    pub(crate) fn members(&self, root: &[u8]) -> Result<Vec<(Vec<u8>, u32)>, Error> {
        let prefix = member_key(root, &[]);
        self.run(|| {
            let rows = self.members.scan_prefix(&prefix);
            rows.map(|row| {
                let (key, value) = row?;
                Ok((key.get(prefix.len()..).unwrap_or(&[]).to_vec(), u32_at(&value, 0)))
            })
            .collect()
        })
    }

    pub(crate) fn add_member(&self, root: &[u8], multihash: &[u8], len: u32) -> Result<(), Error> {
        self.run(|| self.members.insert(member_key(root, multihash), &len.to_le_bytes())).map(drop)
    }

    pub(crate) fn remove_member(&self, root: &[u8], multihash: &[u8]) -> Result<(), Error> {
        self.run(|| self.members.remove(member_key(root, multihash))).map(drop)
    }

    /// Returns at most this many blocks that come after a key, in order of their keys.
    pub(crate) fn page(&self, after: &[u8], most: usize) -> Result<Vec<(Vec<u8>, Entry)>, Error> {
        let from = (std::ops::Bound::Excluded(after.to_vec()), std::ops::Bound::Unbounded);
        self.run(|| {
            let rows = self.blocks.range::<Vec<u8>, _>(from.clone()).take(most);
            rows.map(|row| row.map(|(key, value)| (key.to_vec(), Entry::from_bytes(&value)))).collect()
        })
    }

    /// Returns every block; for tests that compare the whole with a model.
    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<(Vec<u8>, Entry)> {
        let rows = self.blocks.iter().map(|row| row.unwrap());
        rows.map(|(key, value)| (key.to_vec(), Entry::from_bytes(&value))).collect()
    }
}

fn member_key(root: &[u8], multihash: &[u8]) -> Vec<u8> {
    let root_len = u8::try_from(length(root)).unwrap_or(u8::MAX);
    [&[root_len], root, multihash].concat()
}
