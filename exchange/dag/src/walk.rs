//! The one walk over a DAG that server, client and proof share.
//!
//! Depth first, a block before what it links to, links in the order of their block, each block once: what
//! CAR calls `order=dfs, dups=n`. A receiver asks [`Walk::want`] and can demand that the next block is
//! exactly that one. The walk does no I/O and does not hash: it is handed data that its caller has verified.

mod path;
mod run;

use std::collections::HashSet;

use cid::Cid;
use serde::{Deserialize, Serialize};

pub use self::run::{RunError, Totals, run, run_partial};

use self::path::Next;
use crate::block::{identity, is_leaf};
use crate::codec::{CodecError, links, pb};
use crate::unixfs::node::{FsNode, Kind};
use crate::unixfs::shard::Shape;

/// Deepest chain of links that is followed. A file has at most four levels per TiB, a sharded directory eight,
/// and a path of 4,096 characters fewer than this many directories of two characters each.
pub const MAX_DEPTH: u32 = 1024;
/// Most links that wait to be visited: 25 MiB of memory. A balanced file waits with at most 1,024 for each
/// level and an unsharded directory has some five thousand entries.
pub const MAX_WAITING: usize = 1 << 18;

/// Which part of a DAG is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// The way from the root to the target; its blocks come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// How much of the target.
    #[serde(default)]
    pub what: What,
}

/// How much of the target of a path is meant: the `dag-scope` of trustless gateways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The target's block alone.
    Block,
    /// What it takes to read the target: a whole file, the entries of a directory without their content.
    Entity,
    /// Everything below the target.
    #[default]
    All,
}

impl Scope {
    /// Everything below the root.
    pub const fn all() -> Self {
        Self { path: Vec::new(), what: What::All }
    }

    /// `what` of the root.
    pub const fn of(what: What) -> Self {
        Self { path: Vec::new(), what }
    }
}

/// A walk over the part of a DAG that a [`Scope`] means.
#[derive(Clone, Debug)]
pub struct Walk {
    path: Vec<String>,
    /// How many segments of the path are behind us.
    passed: usize,
    /// How many shards of a sharded directory the current segment has led through.
    shards: usize,
    what: What,
    target: Option<Cid>,
    waiting: Vec<Waiting>,
    seen: HashSet<Seen>,
}

/// Why a walk cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// A block cannot be read.
    #[error("block {cid} cannot be read")]
    Codec {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        #[source]
        source: CodecError,
    },
    /// The path names something that is not there.
    #[error("no entry {segment:?}")]
    NotFound {
        /// The part of the path.
        segment: String,
    },
    /// The path goes on below something that has no entries.
    #[error("{segment:?} is looked up in {cid}, which is no directory")]
    NotADirectory {
        /// The part of the path.
        segment: String,
        /// What has no entries.
        cid: Cid,
    },
    /// Links are nested above [`MAX_DEPTH`].
    #[error("{cid} lies deeper than {MAX_DEPTH} links")]
    TooDeep {
        /// The block.
        cid: Cid,
    },
    /// More than [`MAX_WAITING`] links would wait.
    #[error("{cid} has too many links")]
    TooWide {
        /// The block.
        cid: Cid,
    },
    /// Data was handed in although nothing is wanted.
    #[error("the walk is over")]
    Over,
    /// A block was to be passed over although its links matter.
    #[error("{cid} is no leaf")]
    NotALeaf {
        /// The block.
        cid: Cid,
    },
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    cid: Cid,
    depth: u32,
    follow: Follow,
}

/// What a waiting block is to the walk.
#[derive(Clone, Copy, Debug)]
enum Follow {
    /// A step of the path.
    Path,
    /// The end of the path.
    Target,
    /// Below the target, with all its links.
    All,
    /// Below the target, part of a sharded directory: only further shards matter.
    Shards,
}

/// A visited block. The codec belongs to it: the same bytes have other links under another codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Seen {
    codec: u64,
    hash: u64,
    /// The first 32 bytes of the digest; accepted hash functions leave no two blocks sharing them.
    digest: [u8; 32],
}

impl Seen {
    fn of(cid: &Cid) -> Self {
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(cid.hash().digest()) {
            *to = *from;
        }
        Self { codec: cid.codec(), hash: cid.hash().code(), digest }
    }
}

impl Walk {
    /// Starts a walk.
    ///
    /// # Errors
    /// The root is an identity CID and what it carries ends the walk with an error.
    pub fn new(root: Cid, scope: &Scope) -> Result<Self, WalkError> {
        let mut walk = Self {
            path: scope.path.clone(),
            passed: 0,
            shards: 0,
            what: scope.what,
            target: None,
            waiting: Vec::new(),
            seen: HashSet::new(),
        };
        walk.step_to(root, 0);
        walk.settle()?;
        Ok(walk)
    }

    /// Returns the block that comes next; `None` when the walk is over.
    pub fn want(&self) -> Option<&Cid> {
        self.waiting.last().map(|waiting| &waiting.cid)
    }

    /// Returns what the path leads to, once it has been followed to its end.
    pub const fn target(&self) -> Option<&Cid> {
        self.target.as_ref()
    }

    /// Takes the verified data of the wanted block and moves on.
    ///
    /// # Errors
    /// The block cannot be read or the path does not exist. The same block is wanted again, so a walk never
    /// looks complete after an error.
    pub fn on_block(&mut self, data: &[u8]) -> Result<(), WalkError> {
        let next = self.waiting.pop().ok_or(WalkError::Over)?;
        if let Err(error) = self.visit(next, data).and_then(|()| self.settle()) {
            self.waiting.push(next);
            return Err(error);
        }
        Ok(())
    }

    /// Passes over the wanted block without its data, which is possible for a leaf.
    ///
    /// # Errors
    /// The wanted block may have links, or is still a step of the path.
    pub fn on_leaf_skipped(&mut self) -> Result<(), WalkError> {
        let cid = *self.want().ok_or(WalkError::Over)?;
        if is_leaf(&cid) { self.on_block(&[]) } else { Err(WalkError::NotALeaf { cid }) }
    }

    /// Passes over the wanted block and all below it, because it is not here: the walk covers a partial DAG.
    ///
    /// # Errors
    /// Nothing else can be found without the wanted block: it is a step of the path, or its end.
    pub fn on_absent(&mut self) -> Result<(), WalkError> {
        let absent = self.waiting.last().copied().ok_or(WalkError::Over)?;
        if matches!(absent.follow, Follow::Path | Follow::Target) {
            return Err(WalkError::NotALeaf { cid: absent.cid });
        }
        self.waiting.pop();
        self.seen.insert(Seen::of(&absent.cid));
        self.settle()
    }

    /// Resolves identity CIDs and drops visited blocks until a block is really needed.
    fn settle(&mut self) -> Result<(), WalkError> {
        while let Some(next) = self.waiting.last().copied() {
            if let Some(data) = identity(&next.cid) {
                self.waiting.pop();
                self.expand(next, data)?;
            } else if self.seen.contains(&Seen::of(&next.cid)) {
                self.waiting.pop();
            } else {
                break;
            }
        }
        Ok(())
    }

    fn visit(&mut self, block: Waiting, data: &[u8]) -> Result<(), WalkError> {
        self.expand(block, data)?;
        self.seen.insert(Seen::of(&block.cid));
        Ok(())
    }

    fn expand(&mut self, block: Waiting, data: &[u8]) -> Result<(), WalkError> {
        match block.follow {
            Follow::Path => self.step(block, data),
            Follow::Target => match self.what {
                What::Block => Ok(()),
                What::Entity => self.expand_entity(block, data),
                What::All => self.push_links(block, data),
            },
            Follow::All => self.push_links(block, data),
            Follow::Shards => self.push_shards(block, data),
        }
    }

    /// Follows the path one block further.
    fn step(&mut self, block: Waiting, data: &[u8]) -> Result<(), WalkError> {
        let rest = &self.path[self.passed..];
        let next = path::next(&block.cid, data, rest, self.shards)?;
        let depth = deeper(&block)?;
        match next {
            Next::Shard(cid) => {
                self.shards += 1;
                self.waiting.push(Waiting { cid, depth, follow: Follow::Path });
                Ok(())
            }
            Next::Child { cid, used } => {
                self.passed += used;
                self.shards = 0;
                self.step_to(cid, depth);
                Ok(())
            }
            Next::Inside => {
                self.passed = self.path.len();
                self.target = Some(block.cid);
                self.expand(Waiting { follow: Follow::Target, ..block }, data)
            }
        }
    }

    fn step_to(&mut self, cid: Cid, depth: u32) {
        let follow = if self.passed == self.path.len() {
            self.target = Some(cid);
            Follow::Target
        } else {
            Follow::Path
        };
        self.waiting.push(Waiting { cid, depth, follow });
    }

    /// Reads a UnixFS file whole and a directory without its content; other blocks stand for themselves.
    fn expand_entity(&mut self, block: Waiting, data: &[u8]) -> Result<(), WalkError> {
        if block.cid.codec() != crate::Codec::DagPb.code() {
            return Ok(());
        }
        let fault = |source| WalkError::Codec { cid: block.cid, source };
        let node = pb::Node::decode(data).map_err(CodecError::Pb).map_err(fault)?;
        let Ok(fs) = FsNode::decode(node.data.unwrap_or_default()) else { return Ok(()) };
        match fs.kind {
            Kind::File | Kind::Raw => self.push_links(block, data),
            Kind::HamtShard => self.push_shards(block, data),
            Kind::Directory | Kind::Symlink | Kind::Metadata => Ok(()),
        }
    }

    fn push_links(&mut self, block: Waiting, data: &[u8]) -> Result<(), WalkError> {
        let cids = links(&block.cid, data).map_err(|source| WalkError::Codec { cid: block.cid, source })?;
        self.push(block, cids, Follow::All)
    }

    fn push_shards(&mut self, block: Waiting, data: &[u8]) -> Result<(), WalkError> {
        let fault = |source| WalkError::Codec { cid: block.cid, source };
        let node = pb::Node::decode(data).map_err(CodecError::Pb).map_err(fault)?;
        let fs = FsNode::decode(node.data.unwrap_or_default()).map_err(CodecError::UnixFs).map_err(fault)?;
        let shape = Shape::of(&node, &fs).map_err(CodecError::UnixFs).map_err(fault)?;
        let cids = node.links.iter().filter(|link| shape.is_shard(link)).map(|link| link.cid).collect();
        self.push(block, cids, Follow::Shards)
    }

    fn push(&mut self, block: Waiting, cids: Vec<Cid>, follow: Follow) -> Result<(), WalkError> {
        if cids.is_empty() {
            return Ok(());
        }
        let depth = deeper(&block)?;
        if self.waiting.len() + cids.len() > MAX_WAITING {
            return Err(WalkError::TooWide { cid: block.cid });
        }
        let fresh = cids.into_iter().rev().filter(|cid| !self.seen.contains(&Seen::of(cid)));
        self.waiting.extend(fresh.map(|cid| Waiting { cid, depth, follow }));
        Ok(())
    }
}

fn deeper(block: &Waiting) -> Result<u32, WalkError> {
    if block.depth < MAX_DEPTH { Ok(block.depth + 1) } else { Err(WalkError::TooDeep { cid: block.cid }) }
}

#[cfg(test)]
mod tests;
