//! Which blocks a root reaches through the blocks that are here.
//!
//! This decides what a ref keeps, so it is the same walk at commit, at removal and at rebuild. Order does
//! not matter to it; only blocks that may have links are read. The stack holds blocks that are here and
//! were not seen before, so a DAG of repeated links costs no more than its own blocks.

use std::collections::{HashMap, HashSet};

use bytes::Bytes as Buf;
use cid::Cid;

use crate::error::Error;

/// A multihash, the key of a block.
pub(crate) type Key = Box<[u8]>;

/// Returns the key of a block.
pub(crate) fn key(cid: &Cid) -> Key {
    cid.hash().to_bytes().into()
}

/// Where a walk looks for blocks.
pub(crate) trait Blocks {
    /// Returns the length of a block that is here.
    fn find(&self, key: &[u8]) -> Result<Option<u32>, Error>;
    /// Returns a block that is here.
    fn data(&self, key: &[u8]) -> Result<Option<Buf>, Error>;
}

/// What a walk reached.
#[derive(Default)]
pub(crate) struct Reach {
    pub(crate) blocks: HashMap<Key, u32>,
    /// The first block found missing.
    pub(crate) missing: Option<Cid>,
    /// True when a block could not be searched for links: of a foreign codec, or malformed.
    pub(crate) opaque: bool,
    seen: HashSet<Cid>,
    stack: Vec<Cid>,
}

impl Reach {
    /// Walks from the roots.
    pub(crate) fn of(roots: &[Cid], blocks: &dyn Blocks) -> Result<Self, Error> {
        let mut reach = Self::default();
        for root in roots {
            reach.visit(root, blocks)?;
        }
        while let Some(cid) = reach.stack.pop() {
            let data = match pop_dag::identity(&cid) {
                Some(inline) => Some(Buf::copy_from_slice(inline)),
                None => match blocks.data(&key(&cid)) {
                    Err(Error::Damaged { .. }) => None,
                    other => other?,
                },
            };
            let Some(data) = data else {
                reach.missing.get_or_insert(cid);
                continue;
            };
            match pop_dag::links(&cid, &data) {
                Ok(links) => links.iter().try_for_each(|link| reach.visit(link, blocks))?,
                Err(_) => reach.opaque = true,
            }
        }
        reach.seen = HashSet::new();
        Ok(reach)
    }

    fn visit(&mut self, cid: &Cid, blocks: &dyn Blocks) -> Result<(), Error> {
        if pop_dag::identity(cid).is_none() {
            let key = key(cid);
            if !self.blocks.contains_key(&key) {
                let Some(len) = blocks.find(&key)? else {
                    self.missing.get_or_insert(*cid);
                    return Ok(());
                };
                self.blocks.insert(key, len);
            }
        }
        // The same bytes may be met as raw and as a node: the second has links, the first has none.
        if !pop_dag::is_leaf(cid) && self.seen.insert(Cid::new_v1(cid.codec(), *cid.hash())) {
            self.stack.push(*cid);
        }
        Ok(())
    }

    /// Returns true when every block was here and could be searched for links.
    pub(crate) fn is_whole(&self) -> bool {
        self.missing.is_none() && !self.opaque
    }

    /// Returns true when a block is here and reached, or lies in its CID.
    pub(crate) fn has(&self, cid: &Cid) -> bool {
        pop_dag::identity(cid).is_some() || self.blocks.contains_key(&key(cid))
    }

    /// Returns the size of the blocks reached.
    pub(crate) fn size(&self) -> pop_units::Bytes {
        pop_units::Bytes::new(self.blocks.values().map(|len| u64::from(*len)).sum())
    }
}
