//! One segment file, open for reading by any number of threads and for appending by one.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use rustix::buffer::spare_capacity;
use rustix::fs::Advice;

use crate::bytes_at::{index, length};
use crate::record::PUT;
use crate::scan::Found;

/// A segment. Readers hold it by `Arc`, so unlinking the file takes nothing from under them.
pub(crate) struct Segment {
    pub(crate) id: u32,
    file: File,
    len: AtomicU64,
    live: AtomicU64,
    /// Odd while the end is cut off; a read that saw it change, or odd, may have mixed two records.
    cuts: AtomicU64,
    /// Bytes of tombstones, as far as they are known.
    graves: AtomicU64,
    /// The lowest sequence number of a block in it; 0 while that is not known.
    oldest: AtomicU64,
    /// Up to here the kernel was asked to begin writing.
    begun: AtomicU64,
    stuck: AtomicBool,
}

/// The disk is set to work once per this many bytes: often enough that little is left for the sync at the end,
/// seldom enough to cost nothing.
const WRITE_BACK: u64 = 8 << 20;
const PAGE: u64 = 4 << 10;

impl Segment {
    /// Returns the file name of a segment.
    pub(crate) fn path(dir: &Path, id: u32) -> PathBuf {
        dir.join(format!("{id:08x}.seg"))
    }

    /// Returns the number in a segment's file name.
    pub(crate) fn id_of(name: &str) -> Option<u32> {
        let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 8)?;
        u32::from_str_radix(digits, 16).ok()
    }

    /// Creates an empty segment; an old file of that name is an error.
    pub(crate) fn create(dir: &Path, id: u32) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(Self::path(dir, id))?;
        Ok(Self::of(id, file, 0, u64::MAX))
    }

    /// Opens a segment; its length is the file's.
    pub(crate) fn open(dir: &Path, id: u32) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(Self::path(dir, id))?;
        let len = file.metadata()?.len();
        Ok(Self::of(id, file, len, 0))
    }

    fn of(id: u32, file: File, len: u64, oldest: u64) -> Self {
        Self {
            id,
            file,
            len: AtomicU64::new(len),
            live: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            graves: AtomicU64::new(0),
            oldest: AtomicU64::new(oldest),
            begun: AtomicU64::new(len),
            stuck: AtomicBool::new(false),
        }
    }

    /// Returns how far the segment holds records.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// Returns how many bytes of it are records that the index points to.
    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) fn add_live(&self, span: u64) {
        self.live.fetch_add(span, Ordering::Relaxed);
    }

    pub(crate) fn sub_live(&self, span: u64) {
        let _ = self
            .live
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |live| Some(live.saturating_sub(span)));
    }

    /// Returns how many bytes of it a compaction would free, beside tombstones.
    pub(crate) fn dead(&self) -> u64 {
        self.len().saturating_sub(self.live()).saturating_sub(self.graves.load(Ordering::Relaxed))
    }

    /// Notes a record that is no tombstone.
    pub(crate) fn note_put(&self, seq: u64) {
        self.oldest.fetch_min(seq, Ordering::Relaxed);
    }

    /// Notes tombstones that came, or with a negative number went.
    pub(crate) fn note_graves(&self, change: i64) {
        let _ = self.graves.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |graves| {
            Some(graves.saturating_add_signed(change))
        });
    }

    /// Notes a record that was read, or written with the sequence number it has.
    pub(crate) fn note(&self, record: &Found) {
        if record.kind == PUT {
            self.note_put(record.seq);
        } else {
            self.note_graves(i64::try_from(record.span()).unwrap_or(0));
        }
    }

    /// Says that all records were or will be noted.
    pub(crate) fn note_all_read(&self) {
        self.oldest.store(u64::MAX, Ordering::Relaxed);
    }

    /// Returns the lowest sequence number that a dead block in it may have; `None` when there is no such block.
    pub(crate) fn oldest_dead(&self) -> Option<u64> {
        (self.dead() > 0).then(|| self.oldest.load(Ordering::Relaxed))
    }

    /// Says that a compaction of this segment cannot succeed before a rebuild.
    pub(crate) fn give_up(&self) {
        self.stuck.store(true, Ordering::Relaxed);
    }

    /// Says that what stood in the way of a compaction is gone.
    pub(crate) fn take_up(&self) {
        self.stuck.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    /// Reads a piece into fresh memory; the caller has checked that it is inside.
    pub(crate) fn read(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_into(&mut bytes, offset, len)?;
        Ok(bytes)
    }

    /// Replaces what is in `bytes` by a piece. The memory is not cleared first, which would cost a read from
    /// the page cache a third of its speed.
    pub(crate) fn read_into(&self, bytes: &mut Vec<u8>, offset: u64, len: u64) -> io::Result<()> {
        let len = index(len);
        bytes.clear();
        bytes.reserve_exact(len);
        while bytes.len() < len {
            let at = offset.saturating_add(length(bytes));
            match rustix::io::pread(&self.file, spare_capacity(bytes), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(len);
        Ok(())
    }

    /// Reads a piece that the end of the segment may be cut from meanwhile: `None` when it is not all inside,
    /// or when it may hold bytes of before and after a cut.
    pub(crate) fn read_settled(&self, offset: u64, len: u64) -> io::Result<Option<Vec<u8>>> {
        self.settled((offset, len), || self.read(offset, len))
    }

    /// As [`Self::read_settled`], of the record at `offset` that takes `len`: its first `head` bytes, and those that
    /// lie in `part`, counted from its start.
    pub(crate) fn read_settled_part(
        &self,
        (offset, len): (u64, u64),
        head: u64,
        part: Range<u64>,
    ) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.settled((offset, len), || {
            let head = self.read(offset, head.min(len))?;
            let end = part.end.min(len);
            let part = self.read(offset.saturating_add(part.start), end.saturating_sub(part.start))?;
            Ok((head, part))
        })
    }

    fn settled<T>(
        &self,
        (offset, len): (u64, u64),
        read: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        let before = self.cuts.load(Ordering::SeqCst);
        let is_inside = offset.checked_add(len).is_some_and(|end| end <= self.len());
        if !before.is_multiple_of(2) || !is_inside {
            return Ok(None);
        }
        // Below `len` nothing is written between two cuts, so an equal count means one state of the bytes.
        let bytes = match read() {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        };
        fence(Ordering::SeqCst);
        Ok((self.cuts.load(Ordering::SeqCst) == before).then_some(bytes))
    }

    /// Cuts off the end, which nothing points to; the caller holds the writer lock. Not synced: records of
    /// the old end that a power cut brings back are whole ones without a ref, or fail their checksum.
    pub(crate) fn cut(&self, len: u64) -> io::Result<()> {
        let old = self.len();
        self.cuts.fetch_add(1, Ordering::SeqCst);
        self.begun.fetch_min(len, Ordering::Relaxed);
        self.len.store(len, Ordering::SeqCst);
        let outcome = self.file.set_len(len);
        if outcome.is_err() {
            self.len.store(old, Ordering::SeqCst);
        }
        self.cuts.fetch_add(1, Ordering::SeqCst);
        outcome
    }

    /// Appends one record of `span` bytes and returns its offset; on an error the segment is as before.
    pub(crate) fn append(&self, head: &[u8], payload: &[u8], span: u64) -> io::Result<u64> {
        let offset = self.len();
        let written = length(head).saturating_add(length(payload));
        let zeros = [0; 8];
        let padding = zeros.get(..index(span.saturating_sub(written))).unwrap_or(&[]);
        if let Err(error) = self.write_all(&[head, payload, padding], offset) {
            // Best effort: whatever stays behind the good length is overwritten, or cut off as a torn tail.
            let _ = self.file.set_len(offset);
            return Err(error);
        }
        let end = offset.saturating_add(span);
        self.len.store(end, Ordering::Release);
        self.begin_write_back(end);
        Ok(offset)
    }

    /// Sets the disk to work on what was appended while the caller hashes the next block: left alone, the
    /// kernel begins after gigabytes or half a minute, and the sync at the end of a transaction waits for all.
    ///
    /// The advice begins the writing of dirty pages and returns. It drops pages that are clean already, which
    /// is why whole pages are named, and once: nearly all of them are dirty then, and stay in memory.
    fn begin_write_back(&self, end: u64) {
        let (begun, whole) = (self.begun.load(Ordering::Relaxed), end / PAGE * PAGE);
        if let Some(len) = whole.checked_sub(begun).filter(|len| *len >= WRITE_BACK).and_then(NonZeroU64::new)
        {
            // Advice only: the sync says whether the bytes arrived.
            let _ = rustix::fs::fadvise(&self.file, begun, Some(len), Advice::DontNeed);
            self.begun.store(whole, Ordering::Relaxed);
        }
    }

    /// Writes the parts one after the other: one system call, and more only after a short write.
    fn write_all(&self, parts: &[&[u8]; 3], offset: u64) -> io::Result<()> {
        let mut done = rustix::io::pwritev(&self.file, &parts.map(io::IoSlice::new), offset)?;
        let mut at = offset;
        for part in parts {
            let skip = done.min(part.len());
            let rest = part.get(skip..).unwrap_or(&[]);
            self.file.write_all_at(rest, at.saturating_add(u64::try_from(skip).unwrap_or(0)))?;
            done -= skip;
            at = at.saturating_add(length(part));
        }
        Ok(())
    }

    /// Cuts the file off after its last good record.
    pub(crate) fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.file.sync_all()?;
        self.len.store(len, Ordering::Release);
        Ok(())
    }

    /// Makes everything appended so far survive a power cut.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Returns the bytes free for this process on the file system.
    pub(crate) fn disk_free(dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_before_and_after_a_cut_are_never_mixed() {
        let dir = tempfile::tempdir().unwrap();
        let segment = Segment::create(dir.path(), 0).unwrap();
        segment.append(&[1; 64], &[], 64).unwrap();
        let found = segment.settled((0, 64), || {
            let first = segment.read(0, 32)?;
            segment.cut(0)?;
            segment.append(&[2; 64], &[], 64)?;
            Ok([first, segment.read(32, 32)?].concat())
        });
        assert_eq!(found.unwrap(), None);
        assert_eq!(segment.read_settled(0, 64).unwrap(), Some(vec![2; 64]));
        assert_eq!(segment.read_settled(8, 64).unwrap(), None);
        segment.cuts.fetch_add(1, Ordering::SeqCst);
        assert_eq!(segment.read_settled(0, 64).unwrap(), None, "while a cut is under way");
    }
}
