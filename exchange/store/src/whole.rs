//! Which DAGs are here as a whole: asked for each name inside a root that is not here as a whole itself.
//!
//! Names may share what they name, and one may lie inside another, so what was found out about a block is
//! kept for the next question: all of them together look at no block twice.

use std::collections::HashMap;

use bytes::Bytes as Buf;
use cid::Cid;

use crate::error::Error;
use crate::reach::{Blocks, key};

/// Links that may wait to be followed: 96 MiB. A DAG that needs more is not said to be here.
const MOST_PENDING: usize = 1 << 20;

/// A block on the path from the DAG's root, with the links that were not followed yet.
struct Step {
    cid: Cid,
    links: Vec<Cid>,
}

/// Answers one question after the other, as long as no block comes or goes.
pub(crate) struct Whole<'a> {
    blocks: &'a dyn Blocks,
    known: HashMap<Cid, bool>,
}

impl<'a> Whole<'a> {
    pub(crate) fn new(blocks: &'a dyn Blocks) -> Self {
        Self { blocks, known: HashMap::new() }
    }

    /// Returns true when every block of the DAG is here and could be searched for links.
    pub(crate) fn is_here(&mut self, root: &Cid) -> Result<bool, Error> {
        let (mut path, mut next, mut pending) = (Vec::new(), Some(plain(root)), 0usize);
        loop {
            if let Some(cid) = next.take() {
                let links = match self.known(&cid)? {
                    Some(true) => Some(Vec::new()),
                    Some(false) => None,
                    None => self.open(&cid)?,
                };
                let Some(links) = links else {
                    let above = path.iter().map(|step: &Step| step.cid);
                    self.known.extend(above.chain([cid]).map(|cid| (cid, false)));
                    return Ok(false);
                };
                pending = pending.saturating_add(links.len());
                if pending > MOST_PENDING {
                    return Ok(false);
                }
                path.push(Step { cid, links });
            }
            let Some(step) = path.last_mut() else { return Ok(true) };
            next = step.links.pop();
            pending = pending.saturating_sub(usize::from(next.is_some()));
            if next.is_none() {
                self.known.insert(step.cid, true);
                path.pop();
            }
        }
    }

    /// Answers without reading, where that is possible.
    fn known(&self, cid: &Cid) -> Result<Option<bool>, Error> {
        if let Some(known) = self.known.get(cid) {
            return Ok(Some(*known));
        }
        let is_here = pop_dag::identity(cid).is_some() || self.blocks.find(&key(cid))?.is_some();
        Ok((!is_here || pop_dag::is_leaf(cid)).then_some(is_here))
    }

    /// Returns the links that must be followed; `None` when the DAG cannot be whole.
    fn open(&self, cid: &Cid) -> Result<Option<Vec<Cid>>, Error> {
        let data = match pop_dag::identity(cid) {
            Some(inline) => Some(Buf::copy_from_slice(inline)),
            None => match self.blocks.data(&key(cid)) {
                Err(Error::Damaged { .. }) => None,
                other => other?,
            },
        };
        let links = data.and_then(|data| pop_dag::links(cid, &data).ok());
        let Some(links) = links else { return Ok(None) };
        let mut unknown = Vec::new();
        for link in &links {
            let link = plain(link);
            match self.known(&link)? {
                Some(true) => {}
                Some(false) => return Ok(None),
                None => unknown.push(link),
            }
        }
        Ok(Some(unknown))
    }
}

/// Returns the CID in the one form that it is known by, whatever version it was written in.
fn plain(cid: &Cid) -> Cid {
    Cid::new_v1(cid.codec(), *cid.hash())
}
