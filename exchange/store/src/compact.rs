//! Compaction: what is alive in a segment is moved to another, and the segment is unlinked.
//!
//! A record that is moved keeps its sequence number, so that a rebuild sees no difference, and its old copy
//! goes only after the new one survives a power cut. Until then the segment counts as holding all of it.

use std::sync::Arc;

use pop_units::Bytes;

use crate::error::Error;
use crate::index::Entry;
use crate::record::PUT;
use crate::scan::{self, Found};
use crate::segment::Segment;
use crate::store::Inner;

/// Dead to more than a half: moving costs less than it frees.
pub(crate) const HALF: u64 = 2;
/// Dead to more than a quarter: moving costs at most three times what it frees.
pub(crate) const QUARTER: u64 = 4;
/// Dead at all.
pub(crate) const ANY: u64 = u64::MAX;
/// A put that needs room, where nothing may be evicted, moves at most seven bytes for each it frees.
pub(crate) const EIGHTH: u64 = 8;

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Written again elsewhere.
    pub moved: Bytes,
    /// Given back to the disk.
    pub freed: Bytes,
}

/// A segment on its way out.
struct Moving {
    source: Arc<Segment>,
    /// The lowest sequence number of what a tombstone may still have to bury in other segments.
    horizon: u64,
    targets: Vec<Arc<Segment>>,
    /// What was alive in the source and now is elsewhere.
    survived: u64,
    written: u64,
}

impl Inner {
    /// Compacts one segment of those that are dead to more than one part of `share` and have at most `fits`
    /// to be moved.
    pub(crate) fn compact(&self, share: u64, fits: u64) -> Result<Compacted, Error> {
        let _compaction = self.compaction.lock();
        let mut moving = {
            let mut writer = self.log.lock();
            self.check_open()?;
            let before = self.log.used();
            self.log.reclaim(&mut writer);
            let freed = before.saturating_sub(self.log.used());
            if freed > Bytes::ZERO {
                return Ok(Compacted { moved: Bytes::ZERO, freed });
            }
            let Some(source) = self.log.detach_sparsest(&mut writer, share, fits)? else {
                return Ok(Compacted::default());
            };
            let table = self.log.table();
            let others = table.values().filter(|segment| segment.id != source.id);
            let horizon = others.filter_map(|segment| segment.oldest_dead()).min().unwrap_or(u64::MAX);
            Moving { source, horizon, targets: Vec::new(), survived: 0, written: 0 }
        };
        let moved = self.move_out(&mut moving);
        let settled = self.settle(&moving);
        let is_damaged = matches!(moved, Err(Error::Damaged { .. }));
        let is_gone = !self.log.table().contains_key(&moving.source.id);
        // Something in it counts as alive that cannot be moved, and trying again would not help.
        if is_damaged || (moved.is_ok() && !is_gone) {
            moving.source.give_up();
        }
        moved.and(settled)?;
        let len = if is_gone { moving.source.len() } else { 0 };
        let freed = Bytes::new(len.saturating_sub(moving.written));
        Ok(Compacted { moved: Bytes::new(moving.survived), freed })
    }

    fn move_out(&self, moving: &mut Moving) -> Result<(), Error> {
        let records = scan::records(&moving.source).map_err(Error::io("reading a segment"))?;
        records.iter().try_for_each(|found| self.move_record(moving, found))
    }

    fn move_record(&self, moving: &mut Moving, found: &Found) -> Result<(), Error> {
        let mut writer = self.log.lock();
        self.check_open()?;
        let entry = self.index.get(&found.multihash)?;
        let is_needed = match &entry {
            Some(entry) => found.kind == PUT && entry.is_at(moving.source.id, found.offset),
            None => found.kind != PUT && found.seq > moving.horizon,
        };
        if !is_needed {
            return Ok(());
        }
        let bytes = scan::sound(&moving.source, found).map_err(Error::io("reading a block"))?;
        let bytes = bytes.ok_or_else(|| {
            let what = format!("segment {:08x} at {}: not what was written", moving.source.id, found.offset);
            Error::Damaged { what }
        })?;
        let (target, offset) = self.log.append_cold(&mut writer, found, &bytes)?;
        moving.written = moving.written.saturating_add(found.span());
        if found.kind == PUT {
            let segment = target.id;
            self.index.update(&found.multihash, |entry| Entry { segment, offset, ..entry })?;
            moving.survived = moving.survived.saturating_add(found.span());
        }
        if moving.targets.last().is_none_or(|last| last.id != target.id) {
            moving.targets.push(target);
        }
        #[cfg(test)]
        self.log.step();
        Ok(())
    }

    /// Makes what was moved durable, and only then gives up the source as far as it was moved.
    fn settle(&self, moving: &Moving) -> Result<(), Error> {
        for target in &moving.targets {
            if let Err(error) = target.sync() {
                // The source goes on counting as alive, which only a rebuild can put right.
                moving.source.give_up();
                self.index.doubt();
                return Err(Error::io("syncing a segment")(error));
            }
        }
        #[cfg(test)]
        self.log.step();
        let mut writer = self.log.lock();
        moving.source.sub_live(moving.survived);
        self.log.reclaim(&mut writer);
        self.log.sync_dir()?;
        #[cfg(test)]
        self.log.step();
        Ok(())
    }

    /// Compacts one segment if what must be moved fits beside all that is there; returns whether that freed
    /// something. Damage in a segment is no reason to stop: it is not compacted again.
    pub(crate) fn compact_within(&self, share: u64) -> Result<bool, Error> {
        let free = self.log.sizes().capacity.saturating_sub(self.log.used().get());
        match self.compact(share, free) {
            Ok(done) => Ok(done.freed > Bytes::ZERO),
            Err(Error::Damaged { .. } | Error::Full { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
