//! The segments together: appending to the active one, reading from any, sealing, syncing, unlinking.
//!
//! Readers never take a lock: the table of segments is swapped as a whole. Appends happen under the writer
//! lock, which callers hold around their look at the index as well.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes as Buf;
use parking_lot::{Mutex, MutexGuard};
use pop_units::Bytes;

use crate::bytes_at::sync_dir;
use crate::error::{Error, Limit};
use crate::group::GroupSync;
use crate::hint;
use crate::index::Entry;
use crate::record::{self, Draft, HEADER_LEN, Header, PUT};
use crate::room::Sizes;
use crate::scan::{self, Found};
use crate::segment::Segment;
use crate::tail::Tails;

pub(crate) type Table = BTreeMap<u32, Arc<Segment>>;

/// The disk is asked for its free space once per this many bytes.
const CHECK_EVERY: u64 = 1 << 20;
/// Left to the databases however small the segments are: sled must never be the one to find the disk full.
const RESERVE: u64 = 16 << 20;

/// What only the holder of the writer lock may change.
pub(crate) struct Writer {
    pub(crate) next_id: u32,
    pub(crate) next_seq: u64,
    unchecked: u64,
    tails: Tails,
}

/// All segments of a store.
pub(crate) struct Log {
    dir: PathBuf,
    sizes: Sizes,
    table: ArcSwap<Table>,
    active: ArcSwapOption<Segment>,
    /// Where compactions put survivors: apart, so that what is soon to go stays together.
    cold: ArcSwapOption<Segment>,
    used: AtomicU64,
    /// Kept for content on its way in; grows under the writer lock.
    reserved: AtomicU64,
    /// Records appended since the open, and records that compactions appended again.
    written: AtomicU64,
    moved: AtomicU64,
    writer: Mutex<Writer>,
    group: GroupSync,
    #[cfg(test)]
    pub(crate) fault: std::sync::atomic::AtomicBool,
    #[cfg(test)]
    pub(crate) on_step: Mutex<Option<Box<dyn FnMut() + Send>>>,
}

impl Log {
    /// Takes over segments that were opened; `active` goes on being appended to.
    pub(crate) fn new(dir: &Path, sizes: Sizes, table: Table, next: (u32, u64)) -> Self {
        let used = table.values().map(|segment| segment.len()).sum();
        Self {
            dir: dir.to_owned(),
            sizes,
            table: ArcSwap::from_pointee(table),
            active: ArcSwapOption::empty(),
            cold: ArcSwapOption::empty(),
            used: AtomicU64::new(used),
            reserved: AtomicU64::new(0),
            written: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            writer: Mutex::new(Writer {
                next_id: next.0,
                next_seq: next.1,
                unchecked: 0,
                tails: Tails::default(),
            }),
            group: GroupSync::default(),
            #[cfg(test)]
            fault: false.into(),
            #[cfg(test)]
            on_step: Mutex::new(None),
        }
    }

    /// Makes a segment the one that is appended to.
    pub(crate) fn activate(&self, id: u32) {
        self.active.store(self.table.load().get(&id).cloned());
    }

    pub(crate) fn active(&self) -> Option<u32> {
        self.active.load().as_ref().map(|segment| segment.id)
    }

    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    pub(crate) fn used(&self) -> Bytes {
        Bytes::new(self.used.load(Ordering::Relaxed))
    }

    pub(crate) fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Returns what blocks that the index points to take, with their headers.
    pub(crate) fn live(&self) -> u64 {
        self.table.load().values().map(|segment| segment.live()).fold(0, u64::saturating_add)
    }

    /// Returns what a put without a reservation may write now.
    pub(crate) fn room(&self) -> u64 {
        let taken = self.used.load(Ordering::Relaxed).saturating_add(self.reserved().get());
        self.sizes.soft.saturating_sub(taken)
    }

    pub(crate) fn reserved(&self) -> Bytes {
        Bytes::new(self.reserved.load(Ordering::Relaxed))
    }

    /// Returns what was appended since the open, and what compactions appended again.
    pub(crate) fn traffic(&self) -> (Bytes, Bytes) {
        let bytes = |count: &AtomicU64| Bytes::new(count.load(Ordering::Relaxed));
        (bytes(&self.written), bytes(&self.moved))
    }

    /// Keeps room, if there is so much.
    pub(crate) fn reserve(&self, _writer: &mut Writer, size: u64) -> bool {
        let fits = self.room() >= size;
        if fits {
            self.reserved.fetch_add(size, Ordering::Relaxed);
        }
        fits
    }

    /// Gives up what was reserved, to be written now or not at all.
    pub(crate) fn unreserve(&self, size: u64) {
        self.reserved.fetch_sub(size, Ordering::Relaxed);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock()
    }

    /// Reads a block; `None` when it is not at its place, which only a new look at the index can explain.
    pub(crate) fn read(&self, entry: &Entry, multihash: &[u8], verify: bool) -> Result<Option<Buf>, Error> {
        let Some(segment) = self.table.load().get(&entry.segment).cloned() else { return Ok(None) };
        let span = record::span(multihash.len(), entry.len);
        let bytes = segment.read_settled(entry.offset, span).map_err(Error::io("reading a block"))?;
        let Some(bytes) = bytes else { return Ok(None) };
        let (head, body) = bytes.split_at_checked(HEADER_LEN).unwrap_or((&[], &[]));
        let header = Header::parse(head).filter(|header| header.is_of(multihash, entry.len, body));
        let Some(header) = header else { return Ok(None) };
        if verify && header.check(body).is_none() {
            let Entry { segment, offset, .. } = entry;
            let what = format!("segment {segment:08x} at {offset}: the checksum does not hold");
            return Err(Error::Damaged { what });
        }
        let start = record::payload_at(multihash.len());
        let end = start.saturating_add(Bytes::new(entry.len.into()).as_usize());
        Ok(Some(Buf::from(bytes).slice(start..end)))
    }

    /// Reads the bytes of a block that lie in `range`, as far as it goes. Its header is looked at, its checksum not.
    pub(crate) fn read_part(
        &self,
        entry: &Entry,
        multihash: &[u8],
        range: &Range<u64>,
    ) -> Result<Option<Buf>, Error> {
        let Some(segment) = self.table.load().get(&entry.segment).cloned() else { return Ok(None) };
        let head = u64::try_from(record::payload_at(multihash.len())).unwrap_or(u64::MAX);
        let [start, end] = [range.start, range.end].map(|at| head.saturating_add(at.min(entry.len.into())));
        let record = (entry.offset, record::span(multihash.len(), entry.len));
        let read = segment.read_settled_part(record, head, start..end.max(start));
        let Some((head, part)) = read.map_err(Error::io("reading a block"))? else { return Ok(None) };
        let rest = head.get(HEADER_LEN..).unwrap_or_default();
        let header = Header::parse(&head).filter(|header| header.is_of(multihash, entry.len, rest));
        Ok(header.map(|_| Buf::from(part)))
    }

    /// Appends a record; on an error the log is as before and can be used on.
    pub(crate) fn append(&self, writer: &mut Writer, draft: &Draft<'_>) -> Result<Entry, Error> {
        let span = draft.span();
        // A tombstone may use the slack, which no block is put into.
        let hard = self.sizes.capacity.saturating_sub(self.used().get());
        let free = if draft.is_put() { self.room() } else { hard };
        if span > free {
            let (need, free) = (Bytes::new(span), Bytes::new(free));
            return Err(Error::Full { need, free, limit: Limit::Capacity });
        }
        let segment = self.segment_for(writer, draft)?;
        let head = draft.head(writer.next_seq);
        #[cfg(test)]
        self.inject(&segment)?;
        let offset = segment
            .append(&head, draft.payload(), span)
            .map_err(Error::io("appending a record to its segment"))?;
        writer.unchecked = writer.unchecked.saturating_add(span);
        self.written.fetch_add(span, Ordering::Relaxed);
        self.used.fetch_add(span, Ordering::Relaxed);
        if draft.is_put() {
            segment.add_live(span);
            segment.note_put(writer.next_seq);
            writer.tails.on_put(segment.id, offset);
        } else {
            segment.note_graves(i64::try_from(span).unwrap_or(0));
        }
        writer.next_seq = writer.next_seq.saturating_add(1);
        Ok(Entry { segment: segment.id, offset, len: draft.payload_len(), refs: 0 })
    }

    /// Returns the segment that the record fits into, sealing the active one when it is full.
    fn segment_for(&self, writer: &mut Writer, draft: &Draft<'_>) -> Result<Arc<Segment>, Error> {
        let active = self.active.load_full();
        if let Some(segment) = active {
            if segment.len() == 0 || segment.len().saturating_add(draft.span()) <= self.sizes.segment {
                if draft.is_put() && writer.unchecked >= CHECK_EVERY {
                    self.check_disk(self.sizes.segment)?;
                    writer.unchecked = 0;
                }
                return Ok(segment);
            }
            self.check_disk_for(draft)?;
            self.seal(&segment)?;
        } else {
            self.check_disk_for(draft)?;
        }
        let segment = self.create(writer)?;
        writer.unchecked = 0;
        self.active.store(Some(segment.clone()));
        self.unlink_dead();
        Ok(segment)
    }

    fn create(&self, writer: &mut Writer) -> Result<Arc<Segment>, Error> {
        let create = || {
            let segment = Segment::create(&self.dir, writer.next_id)?;
            sync_dir(&self.dir).map(|()| Arc::new(segment))
        };
        let segment = create().map_err(Error::io("creating a segment"))?;
        writer.next_id = writer.next_id.saturating_add(1);
        self.change_table(|table| drop(table.insert(segment.id, segment.clone())));
        Ok(segment)
    }

    /// Appends a record as it is, with the sequence number it has, to the segment of survivors. The caller
    /// syncs that segment before it gives up the record's source.
    pub(crate) fn append_cold(
        &self,
        writer: &mut Writer,
        found: &Found,
        bytes: &[u8],
    ) -> Result<(Arc<Segment>, u64), Error> {
        let span = found.span();
        let fits = |cold: &Arc<Segment>| cold.len().saturating_add(span) <= self.sizes.segment;
        let cold = match self.cold.load_full() {
            Some(cold) if cold.len() == 0 || fits(&cold) => cold,
            full => {
                self.check_disk(self.sizes.segment)?;
                if let Some(full) = full {
                    full.sync().map_err(Error::io("syncing a segment"))?;
                    self.write_hint(&full);
                }
                let cold = self.create(writer)?;
                self.cold.store(Some(cold.clone()));
                cold
            }
        };
        #[cfg(test)]
        self.inject(&cold)?;
        let offset = cold.append(bytes, &[], span).map_err(Error::io("moving a record"))?;
        self.moved.fetch_add(span, Ordering::Relaxed);
        self.used.fetch_add(span, Ordering::Relaxed);
        if found.kind == PUT {
            cold.add_live(span);
        }
        cold.note(found);
        Ok((cold, offset))
    }

    /// Returns the segment with the smallest live part of those that are dead to more than one part of
    /// `share` and have at most `fits` to be moved, and sees to it that nothing is appended to it or cut off
    /// from it any more.
    pub(crate) fn detach_sparsest(
        &self,
        writer: &mut Writer,
        share: u64,
        fits: u64,
    ) -> Result<Option<Arc<Segment>>, Error> {
        let table = self.table();
        // Compared as fractions of a million, which is exact enough for a choice.
        let ratio =
            |segment: &Segment| u128::from(segment.live()) * 1_000_000 / u128::from(segment.len().max(1));
        let moves = |segment: &Segment| segment.len().saturating_sub(segment.dead());
        let worth = table.values().filter(|segment| is_worth(segment, share) && moves(segment) <= fits);
        let Some(source) = worth.min_by_key(|segment| ratio(segment)).cloned() else { return Ok(None) };
        if self.active() == Some(source.id) {
            self.seal(&source)?;
            self.active.store(None);
        }
        if self.cold.load().as_ref().is_some_and(|cold| cold.id == source.id) {
            self.cold.store(None);
        }
        writer.tails.retain(|id| id != source.id);
        Ok(Some(source))
    }

    /// Returns what compactions with this share would free.
    pub(crate) fn gain(&self, share: u64) -> u64 {
        self.table.load().values().filter(|segment| is_worth(segment, share)).map(|found| found.dead()).sum()
    }

    pub(crate) fn sync_dir(&self) -> Result<(), Error> {
        sync_dir(&self.dir).map_err(Error::io("syncing the segments' folder"))
    }

    /// A new segment needs room for itself and the next; a tombstone may use up the reserve.
    fn check_disk_for(&self, draft: &Draft<'_>) -> Result<(), Error> {
        if draft.is_put() { self.check_disk(self.sizes.segment.saturating_mul(2)) } else { Ok(()) }
    }

    fn check_disk(&self, need: u64) -> Result<(), Error> {
        let need = need.max(RESERVE);
        let free = Segment::disk_free(&self.dir).map_err(Error::io("asking the disk for its free space"))?;
        if free < need {
            let (need, free) = (Bytes::new(need), Bytes::new(free));
            return Err(Error::Full { need, free, limit: Limit::Disk });
        }
        Ok(())
    }

    /// Ends a segment: its records are synced, and its hint is written as long as there is room for one.
    fn seal(&self, segment: &Segment) -> Result<(), Error> {
        self.sync()?;
        self.write_hint(segment);
        Ok(())
    }

    /// A hint only saves time: a segment without one is scanned by the next rebuild.
    fn write_hint(&self, segment: &Segment) {
        if let Ok(Some(found)) = scan::headers(segment) {
            let _ = hint::write(&self.dir, segment.id, segment.len(), &found);
        }
    }

    /// Returns once everything appended before the call survives a power cut.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        // Earlier segments were synced when they were sealed.
        let sync = || self.active.load_full().map_or(Ok(()), |segment| segment.sync());
        self.group.wait(sync).map_err(Error::io("syncing a segment"))
    }

    /// Notes, in its own record, that the block which lay there is gone.
    pub(crate) fn bury(&self, writer: &mut Writer, multihash: &[u8], buried: &Entry) -> Result<(), Error> {
        let entry = self.append(writer, &Draft::tombstone(multihash))?;
        writer.tails.on_tombstone(entry.segment, entry.offset, (buried.segment, buried.offset));
        Ok(())
    }

    /// Returns true while the bytes of a block that was released are still in a segment.
    pub(crate) fn covers(&self, entry: &Entry) -> bool {
        self.table.load().get(&entry.segment).is_some_and(|segment| entry.offset < segment.len())
    }

    /// Notes that a record is no longer pointed to. Space comes back with [`Self::reclaim`].
    pub(crate) fn release(&self, writer: &mut Writer, entry: &Entry, span: u64) {
        writer.tails.on_dead(entry.segment, entry.offset);
        if let Some(segment) = self.table.load().get(&entry.segment) {
            segment.sub_live(span);
        }
    }

    /// Gives back the room of dead segments and of the dead ends of others.
    pub(crate) fn reclaim(&self, writer: &mut Writer) {
        self.unlink_dead();
        let (table, active) = (self.table(), self.active());
        writer.tails.retain(|id| table.contains_key(&id));
        for (id, offset) in writer.tails.dead_ends() {
            let Some(segment) = table.get(&id) else { continue };
            let freed = segment.len().saturating_sub(offset);
            let cut = if active == Some(id) { segment.cut(offset) } else { self.cut_sealed(segment, offset) };
            // A disk that refuses leaves the dead end where it is, as if it lay in the middle.
            if cut.is_ok() {
                let tombstones = writer.tails.on_cut(id, offset);
                segment.note_graves(tombstones.saturating_mul(-64));
                self.used.fetch_sub(freed, Ordering::Relaxed);
            }
        }
    }

    /// Cuts a sealed segment and writes its hint anew. The old hint goes first: should the segment be opened
    /// for appending by a rebuild, it could grow to the length that the old hint speaks of.
    fn cut_sealed(&self, segment: &Segment, len: u64) -> io::Result<()> {
        match fs::remove_file(hint::path(&self.dir, segment.id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => sync_dir(&self.dir)?,
        }
        segment.cut(len)?;
        // Later syncs are of the active segment alone. What is refused here costs the next rebuild a scan.
        if segment.sync().is_ok() {
            self.write_hint(segment);
        }
        Ok(())
    }

    /// Unlinks segments that hold no live block; the caller holds the writer lock or is the only user.
    pub(crate) fn unlink_dead(&self) {
        let active = self.active();
        let mut dead: Vec<Arc<Segment>> = Vec::new();
        for segment in self.table.load().values() {
            if segment.live() == 0 && segment.len() > 0 {
                dead.push(segment.clone());
            }
        }
        if dead.is_empty() {
            return;
        }
        if dead.iter().any(|segment| Some(segment.id) == active) {
            self.active.store(None);
        }
        let cold = self.cold.load_full();
        if cold.is_some_and(|cold| dead.iter().any(|segment| segment.id == cold.id)) {
            self.cold.store(None);
        }
        self.change_table(|table| table.retain(|id, _| !dead.iter().any(|segment| segment.id == *id)));
        for segment in dead {
            self.used.fetch_sub(segment.len(), Ordering::Relaxed);
            // A file that stays behind holds no live block; the next rebuild finds and drops it.
            let _ = fs::remove_file(hint::path(&self.dir, segment.id));
            let _ = fs::remove_file(Segment::path(&self.dir, segment.id));
        }
    }

    fn change_table(&self, change: impl FnOnce(&mut Table)) {
        let mut table = Table::clone(&self.table.load());
        change(&mut table);
        self.table.store(Arc::new(table));
    }

    /// Lets a test look at the files.
    #[cfg(test)]
    pub(crate) fn step(&self) {
        if let Some(look) = &mut *self.on_step.lock() {
            look();
        }
    }

    /// Leaves half a record behind and reports a full disk, once.
    #[cfg(test)]
    fn inject(&self, segment: &Segment) -> Result<(), Error> {
        if !self.fault.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let path = Segment::path(&self.dir, segment.id);
        let file = fs::OpenOptions::new().write(true).open(path).map_err(Error::io("opening"))?;
        let head = Draft::put(&[9; 34], &[9; 100]).head(9);
        std::os::unix::fs::FileExt::write_all_at(&file, &head, segment.len())
            .map_err(Error::io("writing"))?;
        Err(Error::io("appending")(io::Error::from(io::ErrorKind::StorageFull)))
    }
}

fn is_worth(segment: &Segment, share: u64) -> bool {
    segment.dead().saturating_mul(share) > segment.len() && !segment.is_given_up()
}
