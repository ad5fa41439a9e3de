//! Opening a store: trusting the index after an orderly stop, building it anew after any other.
//!
//! A rebuild reads what sealed segments hold from their hints and scans the others, takes the newest record
//! of each multihash, counts refs by walking every live ref through the blocks that are there, and drops
//! what neither a ref nor a staging with roots reaches.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes as Buf;
use cid::Cid;
use parking_lot::Mutex;
use pop_units::Bytes;

use crate::bytes_at::sync_dir;
use crate::cache::Cache;
use crate::clean::Clean;
use crate::error::{Error, OpenError};
use crate::hint;
use crate::hold::Holds;
use crate::index::{Entry, Index};
use crate::log::{Log, Table};
use crate::reach::{Blocks, Key, Reach};
use crate::record::{self, PUT};
use crate::refs;
use crate::room::Sizes;
use crate::scan::{self, Found};
use crate::segment::Segment;
use crate::staging::{self, Staged};
use crate::state::{Batch, State};
use crate::store::{Inner, Options};

/// What an open found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// True when the last stop was orderly, or there was nothing before.
    pub clean: bool,
    /// True when the index was built anew.
    pub rebuilt: bool,
    /// How many blocks there are.
    pub blocks: u64,
    /// How much of torn tails was cut off; none of it was ever acknowledged.
    pub cut: Bytes,
    /// How many blocks were dropped because nothing holds them.
    pub swept: u64,
    /// Roots that were complete and are no longer: blocks of theirs are damaged or gone.
    pub broken: Vec<Cid>,
}

type Stagings = BTreeMap<String, Arc<Staged>>;

struct Opening<'a> {
    segs: PathBuf,
    index_dir: PathBuf,
    options: &'a Options,
    state: State,
    report: OpenReport,
}

/// Opens the store of a repository.
pub(crate) fn open(repo: &Path, options: &Options) -> Result<Inner, OpenError> {
    let blocks = repo.join("blocks");
    let segs = blocks.join("segs");
    let io = |source| OpenError::Io { path: blocks.clone(), source };
    fs::create_dir_all(&segs).map_err(io)?;
    let lock = lock(&blocks)?;
    let ids = segment_ids(&segs).map_err(io)?;
    // The state says which blocks to keep: a new one beside old blocks would sweep them all.
    let state = State::open_as(repo.join("state"), ids.is_empty())?;
    [repo, &blocks].into_iter().try_for_each(sync_dir).map_err(io)?;
    let clean = Clean::take(&blocks).map_err(io)?;
    let index_dir = blocks.join("index");
    let is_first = ids.is_empty() && !index_dir.exists();
    let report = OpenReport { clean: clean.is_some() || is_first, ..OpenReport::default() };
    let mut opening = Opening { segs, index_dir, options, state, report };
    let trusted = clean.and_then(|clean| opening.trust(&clean, &ids));
    let (log, index, stagings) = match trusted {
        Some(parts) => parts,
        None => opening.rebuild(&ids)?,
    };
    opening.report.blocks = index.count();
    let cache = Cache::open(&opening.state, options.policy, Bytes::new(log.sizes().soft))?;
    let stagings = Mutex::new(stagings);
    Ok(Inner {
        eviction: Mutex::new(()),
        ops: Mutex::new(()),
        rows: Mutex::new(()),
        compaction: Mutex::new(()),
        log,
        stagings,
        settling: Mutex::default(),
        holds: Holds::default(),
        pledged: 0.into(),
        cache: Mutex::new(cache),
        index,
        state: opening.state,
        report: opening.report,
        closed: false.into(),
        blocks_dir: blocks,
        _lock: lock,
    })
}

fn lock(blocks: &Path) -> Result<File, OpenError> {
    let path = blocks.join("lock");
    let io = |source| OpenError::Io { path: path.clone(), source };
    let mut file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            return Err(OpenError::InUse { path, pid });
        }
        Err(error) => return Err(io(error.into())),
    }
    // For the message alone, so that a full disk does not keep the store from opening.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

fn segment_ids(segs: &Path) -> io::Result<Vec<u32>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(segs)? {
        ids.extend(entry?.file_name().to_str().and_then(Segment::id_of));
    }
    ids.sort_unstable();
    Ok(ids)
}

impl Opening<'_> {
    /// Takes the index over as it is; `None` on any doubt.
    fn trust(&self, clean: &Clean, ids: &[u32]) -> Option<(Log, Index, Stagings)> {
        let known: Vec<u32> = clean.segments.iter().map(|(id, ..)| *id).collect();
        if clean.generation != self.state.generation() || known != ids {
            return None;
        }
        let mut table = Table::new();
        for (id, len, live) in &clean.segments {
            let segment = Segment::open(&self.segs, *id).ok().filter(|segment| segment.len() == *len)?;
            segment.add_live(*live);
            table.insert(*id, segment.into());
        }
        let index = Index::open(&self.index_dir).ok()?;
        if !index.is_of(clean.stamp, clean.blocks) {
            return None;
        }
        let log = self.log(table, (clean.next_id, clean.next_seq));
        if let Some(active) = clean.active {
            log.activate(active);
        }
        let stagings = self.stagings(&Indexed { index: &index, log: &log }).ok()?;
        Some((log, index, stagings))
    }

    fn log(&self, table: Table, next: (u32, u64)) -> Log {
        Log::new(&self.segs, Sizes::of(self.options), table, next)
    }

    fn stagings(&self, blocks: &dyn Blocks) -> Result<Stagings, Error> {
        let mut stagings = Stagings::new();
        for name in staging::names(&self.state)? {
            let staged = Staged::revived(&self.state, &name, blocks)?;
            stagings.insert(name, staged.into());
        }
        Ok(stagings)
    }

    fn rebuild(&mut self, ids: &[u32]) -> Result<(Log, Index, Stagings), OpenError> {
        self.report.rebuilt = !ids.is_empty();
        let path = self.index_dir.clone();
        let io = |source| OpenError::Io { path: path.clone(), source };
        if path.exists() {
            fs::remove_dir_all(&path).map_err(io)?;
        }
        let index = Index::open(&path).map_err(|what| OpenError::Damaged {
            path: path.clone(),
            what: format!("a new index: {what}"),
        })?;
        let io = |source| OpenError::Io { path: self.segs.clone(), source };
        let mut catalog = Catalog::default();
        let (mut table, mut active) = (Table::new(), None);
        for id in ids {
            let segment = Segment::open(&self.segs, *id).map_err(io)?;
            let is_last = ids.last() == Some(id);
            let (cut, is_open) = catalog.read(&self.segs, &segment, is_last).map_err(io)?;
            self.report.cut = self.report.cut.saturating_add(Bytes::new(cut));
            if is_open {
                active = Some(*id);
            }
            table.insert(*id, segment.into());
        }
        let next_id = ids.last().map_or(0, |id| id.saturating_add(1));
        let log = self.log(table, (next_id, catalog.last_seq.saturating_add(1)));
        self.count_refs(&mut catalog, &log, &index)?;
        let stagings = self.stagings(&Read { catalog: &catalog, log: &log })?;
        self.report.swept = catalog.settle(&log, &index, &stagings)?;
        if let Some(active) = active {
            log.activate(active);
        }
        log.unlink_dead();
        Ok((log, index, stagings))
    }

    /// Counts every live ref for the blocks it reaches, and notes which refs lost blocks.
    fn count_refs(&mut self, catalog: &mut Catalog, log: &Log, index: &Index) -> Result<(), Error> {
        let mut batch = Batch::new();
        for mut found in refs::list_bare(&self.state)? {
            let reach = Reach::of(&[found.root], &Read { catalog, log })?;
            for key in reach.blocks.keys() {
                if let Some(Some(entry)) = catalog.newest.get_mut(key).map(|(_, entry)| entry.as_mut()) {
                    entry.refs = entry.refs.saturating_add(1);
                }
            }
            let was_complete = found.complete;
            found.complete = (was_complete && reach.missing.is_none()) || reach.is_whole();
            if was_complete && !found.complete {
                self.report.broken.push(found.root);
            }
            if !found.complete {
                let id = refs::id(&found.root);
                reach.blocks.iter().try_for_each(|(key, len)| index.add_member(&id, key, *len))?;
            }
            if !found.complete {
                refs::recheck_names(&self.state, &mut batch, &found.root, (&reach, &Read { catalog, log }))?;
            }
            if was_complete != found.complete || found.size != reach.size() {
                found.size = reach.size();
                refs::put_bare(&mut batch, &found)?;
            }
        }
        Ok(self.state.apply(batch)?)
    }
}

/// The newest record of every multihash in the segments: its sequence number, and its place if it is a block.
#[derive(Default)]
struct Catalog {
    newest: HashMap<Key, (u64, Option<Entry>)>,
    last_seq: u64,
}

impl Catalog {
    /// Takes in one segment. Returns how much of its tail was cut off, and whether it may be appended to.
    fn read(&mut self, segs: &Path, segment: &Segment, is_last: bool) -> io::Result<(u64, bool)> {
        if let Some(found) = hint::read(segs, segment.id, segment.len()) {
            self.take(segment, found);
            return Ok((0, false));
        }
        let scan = scan::scan(segment)?;
        let cut = segment.len().saturating_sub(scan.good);
        if cut > 0 {
            segment.truncate(scan.good)?;
        }
        // What a killed process wrote may be in memory alone; from here on it counts as stored.
        segment.sync()?;
        let is_open = is_last && !scan.hole;
        if !is_open {
            // A hint only saves time; on a full disk the next rebuild scans again.
            let _ = hint::write(segs, segment.id, scan.good, &scan.found);
        }
        self.take(segment, scan.found);
        Ok((cut, is_open))
    }

    fn take(&mut self, segment: &Segment, found: Vec<Found>) {
        segment.note_all_read();
        for record in found {
            segment.note(&record);
            self.last_seq = self.last_seq.max(record.seq);
            let entry = Entry { segment: segment.id, offset: record.offset, len: record.len, refs: 0 };
            let value = (record.seq, (record.kind == PUT).then_some(entry));
            let newest = self.newest.entry(record.multihash.into()).or_insert(value);
            if newest.0 <= record.seq {
                *newest = value;
            }
        }
    }

    fn entry(&self, key: &[u8]) -> Option<&Entry> {
        self.newest.get(key)?.1.as_ref()
    }

    /// Writes what something holds into the index and returns how many blocks nothing holds.
    fn settle(self, log: &Log, index: &Index, stagings: &Stagings) -> Result<u64, Error> {
        let (table, mut swept) = (log.table(), 0u64);
        // In the order of the index, whose pages are then touched once each.
        let mut newest: Vec<(Key, (u64, Option<Entry>))> = self.newest.into_iter().collect();
        newest.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        for (key, (_, entry)) in newest {
            let Some(entry) = entry else { continue };
            if entry.refs == 0 && !stagings.values().any(|staged| staged.holds(&key)) {
                swept = swept.saturating_add(1);
                continue;
            }
            index.insert(&key, entry)?;
            if let Some(segment) = table.get(&entry.segment) {
                segment.add_live(record::span(key.len(), entry.len));
            }
        }
        Ok(swept)
    }
}

/// Blocks as a rebuild sees them; their checksums are looked at, because this is the moment of doubt.
struct Read<'a> {
    catalog: &'a Catalog,
    log: &'a Log,
}

impl Blocks for Read<'_> {
    fn find(&self, key: &[u8]) -> Result<Option<u32>, Error> {
        Ok(self.catalog.entry(key).map(|entry| entry.len))
    }

    fn data(&self, key: &[u8]) -> Result<Option<Buf>, Error> {
        self.catalog.entry(key).map_or(Ok(None), |entry| self.log.read(entry, key, true))
    }
}

/// Blocks as a trusting open sees them.
struct Indexed<'a> {
    index: &'a Index,
    log: &'a Log,
}

impl Blocks for Indexed<'_> {
    fn find(&self, key: &[u8]) -> Result<Option<u32>, Error> {
        Ok(self.index.get(key)?.map(|entry| entry.len))
    }

    fn data(&self, key: &[u8]) -> Result<Option<Buf>, Error> {
        self.index.get(key)?.map_or(Ok(None), |entry| self.log.read(&entry, key, false))
    }
}
