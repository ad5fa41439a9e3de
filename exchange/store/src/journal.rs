//! A journal: an append-only file of checked records, for what must survive even a lost database.
//!
//! Layout, little-endian: magic `POPJ`, version u8 = 1, zeros 3; then records at multiples of 8: length u32,
//! CRC-32C u32 over the rest of the record, `durable` u64, payload, zeros up to a multiple of 8 (not
//! covered). `durable` is how far the file was known to be synced when the record was written. It tells a
//! torn tail, which was never acknowledged and is cut off, from damage to what was, which is an error.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::bytes_at::{index, length, replace_file, sync_dir, u32_at, u64_at};
use crate::error::JournalError;
use crate::group::GroupSync;

const MAGIC: [u8; 8] = *b"POPJ\x01\0\0\0";
const HEAD: usize = 16;
/// Vouchers are under 1 KiB; a longer length is a sign of damage.
const RECORD_LIMIT: usize = 64 << 10;

/// An open journal. Handles may be shared between threads.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    tail: Mutex<Tail>,
}

#[derive(Debug)]
struct Tail {
    file: Arc<Open>,
    len: u64,
}

struct Open {
    file: File,
    group: GroupSync,
    durable: Mutex<u64>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("durable", &self.durable).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens a journal, creating it where there is none, and returns the records in it, oldest first.
    ///
    /// # Errors
    /// The file is no journal, a record that was synced does not read, or the disk refuses.
    pub fn open(path: impl AsRef<Path>) -> Result<(Self, Vec<Vec<u8>>), JournalError> {
        let path = path.as_ref().to_owned();
        let io = |source| JournalError::Io { path: path.clone(), source };
        if !path.exists() {
            replace_file(&path, &MAGIC).map_err(io)?;
        }
        let bytes = std::fs::read(&path).map_err(io)?;
        if !bytes.starts_with(&MAGIC) {
            return Err(JournalError::Foreign { path });
        }
        let (records, good) =
            replay(&bytes).map_err(|offset| JournalError::Damaged { path: path.clone(), offset })?;
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(io)?;
        if good < length(&bytes) {
            file.set_len(good).map_err(io)?;
        }
        file.sync_all().map_err(io)?;
        path.parent().map_or(Ok(()), sync_dir).map_err(io)?;
        Ok((Self { tail: Mutex::new(Tail::new(file, good)), path }, records))
    }

    /// Appends a record; it survives a power cut once this returns. Callers that wait share one sync.
    ///
    /// # Errors
    /// The record is too large, or the disk refuses; it may then be there or not after a restart.
    pub fn append(&self, record: &[u8]) -> Result<(), JournalError> {
        self.append_all(&[record])
    }

    /// Appends records in one go, as [`Self::append`] does with one.
    ///
    /// # Errors
    /// As [`Self::append`]; a record that is too large keeps all of them out.
    pub fn append_all<R: AsRef<[u8]>>(&self, records: &[R]) -> Result<(), JournalError> {
        let open = {
            let mut tail = self.tail.lock();
            let bytes = encode(records, *tail.file.durable.lock())?;
            if let Err(error) = tail.file.file.write_all_at(&bytes, tail.len) {
                // What stays behind the good length is overwritten, or cut off as a torn tail.
                let _ = tail.file.file.set_len(tail.len);
                return Err(self.io(error));
            }
            tail.len = tail.len.saturating_add(length(&bytes));
            tail.file.clone()
        };
        let sync = || {
            let written = self.tail.lock().len;
            open.file.sync_data()?;
            let mut durable = open.durable.lock();
            *durable = written.max(*durable);
            Ok(())
        };
        open.group.wait(sync).map_err(|error| self.io(error))
    }

    /// Replaces all records by these; a crash leaves the old ones or the new ones. A record that another
    /// thread appends meanwhile is lost unless it is among them: callers hold their own lock around both.
    ///
    /// # Errors
    /// A record is too large, or the disk refuses; the old records are then still there.
    pub fn rewrite<R: AsRef<[u8]>>(&self, records: &[R]) -> Result<(), JournalError> {
        let mut tail = self.tail.lock();
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&encode(records, 0)?);
        let open = || {
            replace_file(&self.path, &bytes)?;
            OpenOptions::new().read(true).write(true).open(&self.path)
        };
        let file = open().map_err(|error| self.io(error))?;
        *tail = Tail::new(file, length(&bytes));
        Ok(())
    }

    fn io(&self, source: io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), source }
    }
}

impl Tail {
    fn new(file: File, len: u64) -> Self {
        let open = Open { file, group: GroupSync::default(), durable: Mutex::new(len) };
        Self { file: Arc::new(open), len }
    }
}

fn encode<R: AsRef<[u8]>>(records: &[R], durable: u64) -> Result<Vec<u8>, JournalError> {
    let mut out = Vec::new();
    for record in records {
        let record = record.as_ref();
        if record.len() > RECORD_LIMIT {
            return Err(JournalError::TooLarge { length: record.len(), limit: RECORD_LIMIT });
        }
        let len = u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes();
        out.extend_from_slice(&len);
        out.extend_from_slice(&checksum(len, durable, record).to_le_bytes());
        out.extend_from_slice(&durable.to_le_bytes());
        out.extend_from_slice(record);
        out.resize(out.len().next_multiple_of(8), 0);
    }
    Ok(out)
}

fn checksum(len: [u8; 4], durable: u64, record: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(&len), &durable.to_le_bytes());
    crc32c::crc32c_append(head, record)
}

/// Returns the record at `at`, its `durable` field and where the next one starts.
fn record_at(bytes: &[u8], at: usize) -> Option<(&[u8], u64, usize)> {
    let head = bytes.get(at..at.checked_add(HEAD)?)?;
    let len = index(u64::from(u32_at(head, 0)));
    let durable = u64_at(head, 8);
    if len > RECORD_LIMIT || index(durable) > at {
        return None;
    }
    let record = bytes.get(at + HEAD..at + HEAD + len)?;
    let sound = checksum(crate::bytes_at::field(head, 0), durable, record) == u32_at(head, 4);
    sound.then_some((record, durable, (at + HEAD + len).next_multiple_of(8)))
}

/// Returns the records and where the last ends, or where one that was synced is bad.
fn replay(bytes: &[u8]) -> Result<(Vec<Vec<u8>>, u64), u64> {
    let (mut records, mut at) = (Vec::new(), MAGIC.len());
    while let Some((record, _, next)) = record_at(bytes, at) {
        records.push(record.to_vec());
        at = next;
    }
    let good = u64::try_from(at).unwrap_or(u64::MAX);
    // Some later record may know that the bad one had been synced.
    for later in (at + 8..bytes.len()).step_by(8) {
        if record_at(bytes, later).is_some_and(|(_, durable, _)| durable > good) {
            return Err(good);
        }
    }
    Ok((records, good))
}
