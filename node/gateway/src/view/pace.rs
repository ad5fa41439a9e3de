//! How long a piece of work may go on: while somebody waits for it, and no longer than its turn.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use pop_dag::{BlockSource, Buf, Cid, SourceError};
use pop_units::Bytes;

use crate::refusal::Refusal;

/// Blocks of one turn: directories of small files are many of them.
const BLOCKS: u32 = 256;
/// Bytes of one turn.
const BYTES: Bytes = Bytes::new(8 << 20);

/// Held by whoever waits for work; without it the work finds no further block.
#[derive(Default)]
pub(super) struct Waiter(Arc<AtomicBool>);

impl Waiter {
    /// Returns what tells the work that nobody waits for it any more.
    pub(super) fn gone(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Nobody waits for the work.
#[derive(Debug, thiserror::Error)]
#[error("nobody waits for this any more")]
pub(super) struct Gone;

impl Gone {
    /// Returns what the work ends with when an error of a source is this. It is shown to nobody.
    pub(super) fn refusal(error: &SourceError) -> Option<Refusal> {
        let gone = error.0.downcast_ref::<Self>()?;
        Some(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, gone.to_string()))
    }
}

/// Blocks for as long as somebody waits.
pub(super) struct Awaited<'a> {
    pub(super) blocks: &'a dyn BlockSource,
    pub(super) gone: &'a AtomicBool,
}

impl Awaited<'_> {
    fn check(&self) -> Result<(), SourceError> {
        if self.gone.load(Ordering::Relaxed) { Err(SourceError::new(Gone)) } else { Ok(()) }
    }
}

impl BlockSource for Awaited<'_> {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        self.check()?;
        self.blocks.block(cid)
    }

    fn part(&self, cid: &Cid, range: Range<u64>) -> Result<Option<Buf>, SourceError> {
        self.check()?;
        self.blocks.part(cid, range)
    }

    fn has(&self, cid: &Cid) -> Result<bool, SourceError> {
        self.check()?;
        self.blocks.has(cid)
    }
}

/// Counts what is read in one turn. Work that can go on later ends its turn when this is spent, so that others
/// have theirs.
pub(crate) struct Paced<'a> {
    blocks: &'a dyn BlockSource,
    left: Cell<(u32, Bytes)>,
}

impl<'a> Paced<'a> {
    pub(crate) const fn new(blocks: &'a dyn BlockSource) -> Self {
        Self { blocks, left: Cell::new((BLOCKS, BYTES)) }
    }

    /// Returns true when the turn is over.
    pub(crate) const fn is_spent(&self) -> bool {
        let (blocks, bytes) = self.left.get();
        blocks == 0 || bytes.is_zero()
    }

    fn count(&self, data: Option<Buf>) -> Option<Buf> {
        let (blocks, bytes) = self.left.get();
        let size = data.as_ref().map_or(Bytes::ZERO, |data| Bytes::of(data));
        self.left.set((blocks.saturating_sub(1), bytes.saturating_sub(size)));
        data
    }
}

impl BlockSource for Paced<'_> {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        Ok(self.count(self.blocks.block(cid)?))
    }

    fn part(&self, cid: &Cid, range: Range<u64>) -> Result<Option<Buf>, SourceError> {
        Ok(self.count(self.blocks.part(cid, range)?))
    }

    fn has(&self, cid: &Cid) -> Result<bool, SourceError> {
        self.blocks.has(cid)
    }
}
