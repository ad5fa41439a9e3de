//! Durable rows: a small key-value store for refs, money and whatever else must never be lost.
//!
//! sled's own flush is not safe against a power cut: it makes its log stable without the file's metadata
//! and without asking the device. A commit here is a flush and then an own fsync of sled's file, shared by
//! all who wait. Values stay under 4 KiB because sled moves larger pages to files that it never syncs.
//!
//! A side file `GENERATION` says that the database was once written; one that then comes up without its
//! own copy of that number has lost its content, and opening it is an error instead of a fresh start.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::ballast::Ballast;
use crate::bytes_at::{replace_file, stamp, sync_dir, u32_at, u64_at};
use crate::error::StateError;
use crate::group::GroupSync;
use crate::index::guarded;

/// Sixteen values share a page; with keys they stay under the 128 KiB that become a file of their own.
const VALUE_LIMIT: usize = 4 << 10;
/// As above: sixteen of these beside sixteen values.
const KEY_LIMIT: usize = 2 << 10;
const TABLE_LIMIT: usize = 64;
const CACHE: u64 = 64 << 20;
/// Two seconds in all: longer than a write takes on a slow disk.
const OPEN_TRIES: u32 = 100;
const OPEN_PAUSE: Duration = Duration::from_millis(20);
/// A row's key begins with the length of its table's name, which is never this long.
const GENERATION: &[u8] = b"\xffgeneration";
const MARKER: &str = "GENERATION";
const MARKER_MAGIC: &[u8; 8] = b"POPSTATE";

/// A key inside its table, and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Rows of several tables that are written together or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    refused: Option<StateError>,
}

impl Batch {
    /// Returns an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a row. A row over the limits makes [`State::apply`] refuse the whole batch.
    #[must_use]
    pub fn put(mut self, table: &str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.set(table, key.as_ref(), value.as_ref().to_vec());
        self
    }

    /// Removes a row, if it is there.
    #[must_use]
    pub fn delete(mut self, table: &str, key: impl AsRef<[u8]>) -> Self {
        self.unset(table, key.as_ref());
        self
    }

    /// Returns true when there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn set(&mut self, table: &str, key: &[u8], value: Vec<u8>) {
        self.check("value", value.len(), VALUE_LIMIT);
        self.row(table, key, Some(value));
    }

    pub(crate) fn unset(&mut self, table: &str, key: &[u8]) {
        self.row(table, key, None);
    }

    fn row(&mut self, table: &str, key: &[u8], value: Option<Vec<u8>>) {
        self.check("table name", table.len(), TABLE_LIMIT);
        self.check("key", key.len(), KEY_LIMIT);
        self.rows.push((row_key(table, key), value));
    }

    fn check(&mut self, what: &'static str, length: usize, limit: usize) {
        if length > limit && self.refused.is_none() {
            self.refused = Some(StateError::TooLarge { what, length, limit });
        }
    }

    fn into_sled(self) -> Result<sled::Batch, StateError> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        let mut batch = sled::Batch::default();
        for (key, value) in self.rows {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        Ok(batch)
    }
}

/// A handle to the durable rows.
#[derive(Clone)]
pub struct State {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    db: sled::Db,
    file: File,
    generation: u64,
    group: GroupSync,
    ballast: Ballast,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}

impl State {
    /// Opens the rows in a folder, creating them where there is nothing yet.
    ///
    /// # Errors
    /// Another process has them open, the files are damaged or emptied, or the system refuses.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, StateError> {
        Self::open_as(dir.as_ref().to_owned(), true)
    }

    /// Opens the rows; without `may_create`, rows that were never written are missing, not new.
    pub(crate) fn open_as(dir: PathBuf, may_create: bool) -> Result<Self, StateError> {
        let io = |source| StateError::Io { path: dir.clone(), source };
        fs::create_dir_all(&dir).map_err(io)?;
        let marked = read_marker(&dir)?;
        let db = open_db(&dir)?;
        let file = File::open(dir.join("db")).map_err(io)?;
        let found = guarded(|| db.get(GENERATION)).map_err(|error| fault(&dir, error))?;
        let found = found.map(|value| u64_at(&value, 0));
        let generation = match (marked, found) {
            (Some(marked), Some(found)) if marked == found => marked,
            (Some(_), _) => return Err(damaged(&dir, "its rows are gone")),
            (None, Some(found)) => found,
            (None, None) if may_create && db.is_empty() => stamp(),
            (None, None) if !may_create => {
                return Err(damaged(&dir, "there are blocks, and it was to say whose"));
            }
            (None, None) => return Err(damaged(&dir, "its first row is gone")),
        };
        let (ballast, group) = (Ballast::new(&dir), GroupSync::default());
        let state = Self { inner: Arc::new(Inner { dir, db, file, generation, group, ballast }) };
        if marked.is_none() {
            state.mark()?;
        }
        Ok(state)
    }

    /// Writes the number into the database first, so that a crash in between is no loss of content.
    fn mark(&self) -> Result<(), StateError> {
        let generation = self.inner.generation.to_le_bytes();
        self.sled(|db| db.insert(GENERATION, &generation))?;
        self.sync()?;
        let mut marker = MARKER_MAGIC.to_vec();
        marker.extend_from_slice(&generation);
        marker.extend_from_slice(&crc32c::crc32c(&marker).to_le_bytes());
        let dir = &self.inner.dir;
        let write = || {
            sync_dir(dir)?;
            replace_file(&dir.join(MARKER), &marker)?;
            dir.parent().map_or(Ok(()), sync_dir)
        };
        write().map_err(|source| self.io(source))
    }

    /// Returns a row.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.sled(|db| db.get(row_key(table, key)))?.map(|value| value.to_vec()))
    }

    /// Returns the rows of a table whose keys begin with `prefix`, in order of their keys.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn scan(&self, table: &str, prefix: &[u8]) -> Result<Vec<Row>, StateError> {
        let cut = row_key(table, &[]).len();
        self.sled(|db| {
            let rows = db.scan_prefix(row_key(table, prefix));
            rows.map(|row| row.map(|(key, value)| (key.get(cut..).unwrap_or(&[]).to_vec(), value.to_vec())))
                .collect()
        })
    }

    /// Writes a batch: all of it or nothing, and it survives a power cut once this returns.
    ///
    /// # Errors
    /// A row is over the limits, or the disk refuses; the batch may then be there or not after a restart.
    pub fn apply(&self, batch: Batch) -> Result<(), StateError> {
        if self.apply_soon(batch)? { self.sync() } else { Ok(()) }
    }

    /// Writes a batch that a crash in the next moments may undo; returns false when there was nothing to do.
    pub(crate) fn apply_soon(&self, batch: Batch) -> Result<bool, StateError> {
        let some = !batch.is_empty();
        self.check_room(&batch)?;
        let batch = batch.into_sled()?;
        if some {
            self.sled(|db| db.apply_batch(batch))?;
        }
        Ok(some)
    }

    /// Refuses to add rows to a disk that is nearly full, because sled does not come back from one that is.
    /// Batches that only remove are how room is made.
    fn check_room(&self, batch: &Batch) -> Result<(), StateError> {
        let only_removes = batch.rows.iter().all(|(_, value)| value.is_none());
        let ballast = &self.inner.ballast;
        let room = if only_removes { ballast.prepare_removing() } else { ballast.check_adding() };
        room.map_err(|source| self.io(source))
    }

    /// Makes every row written before this call survive a power cut.
    pub(crate) fn sync(&self) -> Result<(), StateError> {
        let sync = || {
            guarded(|| self.inner.db.flush())?;
            self.inner.file.sync_all()
        };
        self.inner.group.wait(sync).map_err(|source| self.io(source))
    }

    /// Returns the number that tells this database from one that replaced it.
    pub(crate) fn generation(&self) -> u64 {
        self.inner.generation
    }

    fn sled<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, StateError> {
        guarded(|| call(&self.inner.db)).map_err(|error| fault(&self.inner.dir, error))
    }

    fn io(&self, source: io::Error) -> StateError {
        StateError::Io { path: self.inner.dir.clone(), source }
    }
}

/// Opens the database. sled may end its writes, and give up its lock, a moment after its last handle went.
fn open_db(dir: &Path) -> Result<sled::Db, StateError> {
    let mut tries = 1;
    loop {
        let db = guarded(|| {
            let config = sled::Config::new().path(dir).cache_capacity(CACHE).use_compression(false);
            config.flush_every_ms(Some(1000)).open()
        });
        match db.map_err(|error| fault(dir, error)) {
            Err(StateError::InUse { .. }) if tries < OPEN_TRIES => {
                tries += 1;
                std::thread::sleep(OPEN_PAUSE);
            }
            other => return other,
        }
    }
}

fn row_key(table: &str, key: &[u8]) -> Vec<u8> {
    let table_len = u8::try_from(table.len()).unwrap_or(u8::MAX);
    [&[table_len], table.as_bytes(), key].concat()
}

fn read_marker(dir: &Path) -> Result<Option<u64>, StateError> {
    let bytes = match fs::read(dir.join(MARKER)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StateError::Io { path: dir.join(MARKER), source }),
    };
    let sound = bytes.len() == 20
        && bytes.starts_with(MARKER_MAGIC)
        && bytes.get(..16).is_some_and(|body| crc32c::crc32c(body) == u32_at(&bytes, 16));
    if sound { Ok(Some(u64_at(&bytes, 8))) } else { Err(damaged(dir, "its GENERATION file does not read")) }
}

/// Tells a disk that refuses from a database that is no longer one.
fn fault(dir: &Path, error: io::Error) -> StateError {
    if error.to_string().contains("could not acquire lock") {
        return StateError::InUse { path: dir.to_owned() };
    }
    match error.kind() {
        io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            damaged(dir, &error.to_string())
        }
        _ => StateError::Io { path: dir.to_owned(), source: error },
    }
}

fn damaged(dir: &Path, what: &str) -> StateError {
    let advice =
        "restore the folder from a backup, or move it away to start empty without its refs and money";
    StateError::Damaged { path: dir.to_owned(), what: format!("{what}; {advice}") }
}
