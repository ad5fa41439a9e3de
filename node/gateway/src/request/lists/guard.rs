//! Blocks without those that are never served.
//!
//! A path is checked before it is followed, but an archive or the index page of a directory holds blocks that no path
//! named. What is on the deny list by its CID therefore cannot even be read for an answer.

use pop_dag::{BlockSource, Buf, Cid, SourceError};

use super::Lists;
use crate::refusal::Refusal;

/// Blocks behind the deny list.
pub(crate) struct Guarded<'a> {
    blocks: &'a dyn BlockSource,
    lists: &'a Lists,
}

/// A block is on the deny list.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct Denied(Refusal);

impl<'a> Guarded<'a> {
    pub(crate) fn new(blocks: &'a dyn BlockSource, lists: &'a Lists) -> Self {
        Self { blocks, lists }
    }
}

impl Denied {
    /// Returns what to say when an error of a source is this.
    pub(crate) fn refusal(error: &SourceError) -> Option<Refusal> {
        error.0.downcast_ref().map(|Self(refusal)| refusal.clone())
    }
}

impl BlockSource for Guarded<'_> {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        self.lists.check_block(cid, &[]).map_err(|refusal| SourceError::new(Denied(refusal)))?;
        self.blocks.block(cid)
    }

    fn has(&self, cid: &Cid) -> Result<bool, SourceError> {
        self.blocks.has(cid)
    }
}
