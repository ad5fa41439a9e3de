//! Blocks without those that are never served.
//!
//! A path is checked before it is followed, but an archive or the index page of a directory holds blocks that no path
//! named. What is on the deny list by its CID therefore cannot even be read for an answer.

use std::ops::Range;

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

    fn check(&self, cid: &Cid) -> Result<(), SourceError> {
        self.lists.check_block(cid, &[]).map_err(|refusal| SourceError::new(Denied(refusal)))
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
        self.check(cid)?;
        self.blocks.block(cid)
    }

    fn part(&self, cid: &Cid, range: Range<u64>) -> Result<Option<Buf>, SourceError> {
        self.check(cid)?;
        self.blocks.part(cid, range)
    }

    fn has(&self, cid: &Cid) -> Result<bool, SourceError> {
        self.blocks.has(cid)
    }
}

#[cfg(test)]
mod tests {
    use pop_dag::{Block, Codec};

    use super::*;
    use crate::settings;

    /// A block that is only to be had in parts.
    struct InParts(Block);

    impl BlockSource for InParts {
        fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
            Err(SourceError::new(format!("all of {cid} was read")))
        }

        fn part(&self, _: &Cid, range: Range<u64>) -> Result<Option<Buf>, SourceError> {
            let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
            Ok(Some(self.0.data().slice(start..end)))
        }
    }

    #[test]
    fn parts_are_read_as_parts_and_only_when_they_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let deny = dir.path().join("deny");
        let [free, denied] = [b"free", b"deny"].map(|data| Block::of(Codec::Raw, data.as_slice().into()));
        std::fs::write(&deny, denied.cid().to_string()).unwrap();
        let lists = Lists::new(&settings::Lists { deny: Some(deny), allow: None });
        lists.load(std::time::Instant::now()).unwrap();
        for block in [free, denied.clone()] {
            let (cid, blocks) = (*block.cid(), InParts(block));
            let part = Guarded::new(&blocks, &lists).part(&cid, 1..3);
            match cid == *denied.cid() {
                false => assert_eq!(part.unwrap().unwrap(), b"re".as_slice()),
                true => assert_eq!(Denied::refusal(&part.unwrap_err()).unwrap().status, 410),
            }
        }
    }
}
