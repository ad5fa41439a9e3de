//! Writing an archive, batch by batch.

use std::error::Error;

use bytes::Bytes;
use http::StatusCode;
use pop_dag::walk::WalkError;
use pop_dag::{BlockSource, Cid, CodecError, Walk, What, car, is_leaf};

use super::Ask;
use crate::answer::batch::{Batch, Here, Pieces};
use crate::asked::Asked;
use crate::refusal::Refusal;
use crate::resolve::Found;
use crate::view::Gap;
use crate::walks::Share;

/// What is read of a block at a time, where there is room for it: most blocks whole.
const PART: u64 = 1 << 20;

/// By how much a batch may be larger than its room: by what stands in front of its blocks, so that these are not read in
/// odd parts.
const SLACK: u64 = 4 << 10;

/// An archive under way.
pub(super) struct Writer {
    walk: Walk,
    /// Whether everything below the target is meant.
    holds_all: bool,
    /// What the archive begins with, until it was written.
    header: Option<Bytes>,
    /// What was begun and is not written yet.
    rest: Option<Rest>,
    /// Memory for what the walk remembers.
    share: Share,
}

/// The rest of a block whose start was written.
struct Rest {
    cid: Cid,
    at: u64,
    size: u64,
}

impl Writer {
    pub(super) fn new(asked: &Asked, found: &Found, ask: &Ask, share: Share) -> Result<Self, Refusal> {
        let selection = ask.selection(asked.target.segments.clone());
        let walk = Walk::select(asked.target.root, &selection).map_err(|error| wrong(&error))?;
        let header = car::header(&[found.cid]);
        let header =
            header.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let holds_all = ask.what == What::All;
        Ok(Self { walk, holds_all, header: Some(header), rest: None, share })
    }
}

impl Writer {
    /// Writes the next block, or as much of it as there is room for; returns false when there is none.
    fn next(&mut self, batch: &mut Batch, here: &Here<'_>) -> Result<bool, Gap> {
        // For what the block may make the walk remember there has to be memory before.
        self.share.hold(self.walk.held()).map_err(Gap::Failed)?;
        let more = self.block(batch, here)?;
        self.share.hold(self.walk.held()).map_err(Gap::Failed)?;
        Ok(more)
    }

    fn block(&mut self, batch: &mut Batch, here: &Here<'_>) -> Result<bool, Gap> {
        let Some(cid) = self.walk.want().copied() else { return Ok(false) };
        // A leaf that was read whole once needs no more than its size to be passed, and is read by parts.
        if is_leaf(&cid)
            && let Some(size) = here.site.memory.checked(&cid)
            && self.leaf(&cid, size, batch, here)?
        {
            return Ok(true);
        }
        // What a list says of a path below this block holds for the archive of it.
        if self.holds_all && self.walk.target().is_some() {
            here.site.lists.check_below(&cid, &[]).map_err(Gap::Failed)?;
        }
        // Where no room was given for whole blocks, few of them are in memory at once.
        let turn = (!batch.holds()).then(|| here.site.memory.turn(&cid));
        let data = here.blocks.block(&cid)?.ok_or(Gap::Missing(cid))?;
        let repeat = self.walk.is_repeat();
        self.walk.on_block(&data).map_err(|error| Gap::Failed(wrong(&error)))?;
        let size = pop_units::Bytes::of(&data);
        if is_leaf(&cid) {
            here.site.memory.keep_checked(&cid, size.get());
        }
        if !repeat {
            self.begin(&cid, size, batch);
            let at = pop_units::Bytes::of(&data[..batch.push_start(&data)]).get();
            self.rest = Some(Rest { cid, at, size: size.get() }).filter(|rest| rest.at < rest.size);
        }
        drop(turn);
        batch.count();
        Ok(true)
    }

    /// Writes the start of a leaf of a known size; returns false when the walk has to see it.
    fn leaf(&mut self, cid: &Cid, size: u64, batch: &mut Batch, here: &Here<'_>) -> Result<bool, Gap> {
        // Before anything is said of the block, it has to be here.
        let mut rest = Rest { cid: *cid, at: 0, size };
        let Some(first) = rest.part(batch, here)? else { return Ok(true) };
        if self.walk.on_leaf_skipped().is_err() {
            return Ok(false);
        }
        self.begin(cid, pop_units::Bytes::new(size), batch);
        batch.push(first);
        self.rest = Some(rest).filter(|rest| rest.at < rest.size);
        batch.count();
        Ok(true)
    }

    /// Writes what stands in front of a block. The header comes with the first: alone it would be taken for
    /// something that can be sent already.
    fn begin(&mut self, cid: &Cid, size: pop_units::Bytes, batch: &mut Batch) {
        self.header.take().into_iter().for_each(|header| batch.push(header));
        batch.push(car::section_head(cid, size));
    }
}

impl Rest {
    /// Returns how much of the block is read at a time.
    fn whole(&self) -> u64 {
        let end = self.at.saturating_add(PART);
        let end = end.saturating_sub(end.checked_rem(PART).unwrap_or_default());
        end.min(self.size).saturating_sub(self.at)
    }

    /// Reads the next part of the block, as far as the batch has room. A batch that holds much already is over instead
    /// of taking half a part: then there is none.
    fn part(&mut self, batch: &mut Batch, here: &Here<'_>) -> Result<Option<Bytes>, Gap> {
        let whole = self.whole();
        let room = u64::try_from(batch.room()).unwrap_or(u64::MAX);
        let fits = whole <= room.saturating_add(SLACK);
        if !fits && batch.is_half_full() {
            batch.close_early();
            return Ok(None);
        }
        let len = if fits { whole } else { room.max(1) };
        let end = self.at.saturating_add(len);
        let part = here.blocks.part(&self.cid, self.at..end)?.ok_or(Gap::Missing(self.cid))?;
        if pop_units::Bytes::of(&part).get() != end.saturating_sub(self.at) {
            let said = format!("block {} is shorter than it was", self.cid);
            return Err(Gap::Failed(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, said)));
        }
        self.at = end;
        Ok(Some(part))
    }
}

impl Pieces for Writer {
    fn fill(&mut self, batch: &mut Batch, here: &Here<'_>) -> Result<(), Gap> {
        while !batch.is_full() && !here.blocks.is_spent() {
            if let Some(rest) = &mut self.rest {
                if let Some(part) = rest.part(batch, here)? {
                    batch.push(part);
                }
                self.rest = self.rest.take().filter(|rest| rest.at < rest.size);
            } else if !self.next(batch, here)? {
                self.header.take().into_iter().for_each(|header| batch.push(header));
                batch.end();
                break;
            }
        }
        Ok(())
    }
}

/// Returns what an error of the walk is to the client: before the head it is the answer, after it the end.
fn wrong(error: &WalkError) -> Refusal {
    let said = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match error {
        WalkError::NotFound { .. } | WalkError::NotADirectory { .. } => {
            Refusal::new(StatusCode::NOT_FOUND, said)
        }
        WalkError::Codec { source: CodecError::Unsupported(_), .. } => {
            let hint = "Ask for its block: dag-scope=block, or format=raw.";
            Refusal::new(StatusCode::NOT_ACCEPTABLE, said).hint(hint)
        }
        _ => Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, said),
    }
}
