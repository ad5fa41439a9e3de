//! The one walk over a DAG that server, client and proof share.
//!
//! Depth first, a block before what it links to, links in the order of their block, each block once: what
//! CAR calls `order=dfs, dups=n`. A receiver asks [`Walk::want`] and can demand that the next block is
//! exactly that one. The walk does no I/O and does not hash: it is handed data that its caller has verified.
//!
//! What peers ask each other for is a [`Scope`]. A [`Selection`] is finer and stays in this process: bytes of a
//! file, blocks as often as they are linked, a budget.

mod error;
mod path;
mod range;
mod run;
mod selection;

use std::collections::HashMap;
use std::ops::Range;

use cid::Cid;
use pop_units::Bytes;
use serde::{Deserialize, Serialize};

pub use self::error::WalkError;
pub use self::run::{RunError, Totals, run, run_partial, run_selection};
pub use self::selection::{Budget, ByteRange, ByteRangeError, Selection};

use self::path::Next;
use crate::block::{identity, is_leaf};
use crate::codec::{CodecError, links, pb};
use crate::unixfs::node::{FsNode, Kind};
use crate::unixfs::shard::Shape;

/// Deepest chain of links that is followed. A file has at most four levels per TiB, a sharded directory eight,
/// and a path of 4,096 characters fewer than this many directories of two characters each.
pub const MAX_DEPTH: u32 = 1024;
/// Most links that wait to be visited: 32 MiB of memory. A balanced file waits with at most 1,024 for each
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

/// A walk over the part of a DAG that a [`Scope`] or a [`Selection`] means.
#[derive(Clone, Debug)]
pub struct Walk {
    path: Vec<String>,
    /// How many segments of the path are behind us.
    passed: usize,
    /// How many shards of a sharded directory the current segment has led through.
    shards: usize,
    what: What,
    /// Which bytes of the entity, when not all.
    bytes: Option<ByteRange>,
    /// Where those lie, once the size of the file is known.
    range: Range<u64>,
    /// Whether blocks are visited as often as they are linked.
    repeats: bool,
    /// Whether codecs that are not read are those of leaves.
    unread_are_leaves: bool,
    budget: Budget,
    /// What the path has led to so far, one for each link that it crossed.
    roots: Vec<Cid>,
    /// How many segments of the path stand before each of them.
    starts: Vec<usize>,
    /// How many segments of the path stand before the first that the target has no link for.
    reached: usize,
    waiting: Vec<Waiting>,
    /// The blocks that were visited, and whether everything below them was, or waits to be.
    seen: HashMap<Seen, bool>,
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
    /// Below the target, part of a file of which not all bytes are wanted: where the part starts, and its size.
    Part { start: u64, size: u64 },
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
        Self::select(root, &Selection::of(scope.clone()))
    }

    /// Starts a walk over a part that is chosen more finely than a [`Scope`] can.
    ///
    /// # Errors
    /// The root is an identity CID and what it carries ends the walk with an error.
    pub fn select(root: Cid, selection: &Selection) -> Result<Self, WalkError> {
        let Selection { scope, bytes, repeats, unread_are_leaves, budget } = selection;
        let mut walk = Self {
            path: scope.path.clone(),
            passed: 0,
            shards: 0,
            // Bytes are those of an entity, whatever else is asked for.
            what: if bytes.is_some() { What::Entity } else { scope.what },
            bytes: *bytes,
            range: 0..0,
            repeats: *repeats,
            unread_are_leaves: *unread_are_leaves,
            budget: *budget,
            roots: Vec::new(),
            starts: Vec::new(),
            reached: scope.path.len(),
            waiting: Vec::new(),
            seen: HashMap::new(),
        };
        walk.step_to(root, 0);
        walk.settle()?;
        Ok(walk)
    }

    /// Returns the block that comes next; `None` when the walk is over.
    pub fn want(&self) -> Option<&Cid> {
        self.waiting.last().map(|waiting| &waiting.cid)
    }

    /// Returns true when the wanted block was visited before and is wanted again only for other links of it.
    ///
    /// That happens when a file has the same part twice and each time other bytes of it are selected. Such a
    /// block is not sent or counted again.
    pub fn is_repeat(&self) -> bool {
        !self.repeats && self.want().is_some_and(|cid| self.seen.contains_key(&Seen::of(cid)))
    }

    /// Returns what the path leads to, once it has been followed to its end.
    pub fn target(&self) -> Option<&Cid> {
        self.roots.last().filter(|_| self.passed == self.path.len())
    }

    /// Returns what the path has led to so far: the root, then one CID for each link that it crossed, at its end
    /// the target. Shards of directories are not among them.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// Returns for each of [`Self::roots`] how many segments of the path lead to it: a link inside a value takes
    /// several.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// Returns the segments that lead on inside the target, which has no link there; none before the path has
    /// been followed to its end.
    pub fn rest(&self) -> &[String] {
        &self.path[self.reached..]
    }

    /// Returns about how much memory the walk holds, with what it takes to remember one more block.
    pub fn held(&self) -> Bytes {
        let bytes = |count: usize, each: usize| {
            Bytes::new(u64::try_from(count.saturating_mul(each)).unwrap_or(u64::MAX))
        };
        // One place in eight of a table stays free, and each has a mark of a byte.
        let places = self.seen.capacity().saturating_mul(8) / 7;
        let grows = self.seen.len() == self.seen.capacity() && self.seen.len() < self.budget.seen;
        // A table that grows is copied into one of twice its size.
        let tables = if grows && !self.repeats { 3 } else { 1 };
        let seen = bytes(places.saturating_mul(tables), size_of::<(Seen, bool)>().saturating_add(1));
        seen.saturating_add(bytes(self.waiting.capacity(), size_of::<Waiting>()))
    }

    /// Takes the verified data of the wanted block and moves on.
    ///
    /// # Errors
    /// The block cannot be read or the path does not exist. The same block is wanted again, so a walk never
    /// looks complete after an error.
    pub fn on_block(&mut self, data: &[u8]) -> Result<(), WalkError> {
        let next = self.waiting.last().copied().ok_or(WalkError::Over)?;
        self.spend(&next.cid, data)?;
        self.waiting.pop();
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
        self.mark(absent);
        self.settle()
    }

    /// Takes a block out of the budget.
    fn spend(&mut self, cid: &Cid, data: &[u8]) -> Result<(), WalkError> {
        let left = Budget {
            blocks: self.budget.blocks.checked_sub(1).ok_or(WalkError::TooLong { cid: *cid })?,
            bytes: self.budget.bytes.saturating_sub(Bytes::of(data)),
            ..self.budget
        };
        let is_full =
            !self.repeats && self.seen.len() >= self.budget.seen && !self.seen.contains_key(&Seen::of(cid));
        if Bytes::of(data) > self.budget.bytes || is_full {
            return Err(WalkError::TooLong { cid: *cid });
        }
        self.budget = left;
        Ok(())
    }

    /// Resolves identity CIDs and drops visited blocks until a block is really needed.
    fn settle(&mut self) -> Result<(), WalkError> {
        while let Some(next) = self.waiting.last().copied() {
            if let Some(data) = identity(&next.cid) {
                self.waiting.pop();
                self.expand(next, data)?;
            } else if self.is_passed(&next) {
                self.waiting.pop();
            } else {
                break;
            }
        }
        Ok(())
    }

    /// Returns true when the block and what is wanted below it were visited, or wait to be.
    fn is_passed(&self, block: &Waiting) -> bool {
        !self.repeats
            && self.seen.get(&Seen::of(&block.cid)).is_some_and(|whole| *whole || is_leaf(&block.cid))
    }

    fn visit(&mut self, block: Waiting, data: &[u8]) -> Result<(), WalkError> {
        self.expand(block, data)?;
        self.mark(block);
        Ok(())
    }

    fn mark(&mut self, block: Waiting) {
        if !self.repeats {
            let whole = !matches!(block.follow, Follow::Part { .. });
            let known = self.seen.entry(Seen::of(&block.cid)).or_default();
            *known |= whole;
        }
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
            Follow::Part { start, size } => self.push_parts(block, data, start..start.saturating_add(size)),
        }
    }

    /// Follows the path one block further.
    fn step(&mut self, block: Waiting, data: &[u8]) -> Result<(), WalkError> {
        let rest = &self.path[self.passed..];
        let next = path::next(&block.cid, data, rest, self.shards)?;
        let depth = self.deeper(&block)?;
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
                self.reached = self.passed;
                self.passed = self.path.len();
                self.expand(Waiting { follow: Follow::Target, ..block }, data)
            }
        }
    }

    fn step_to(&mut self, cid: Cid, depth: u32) {
        self.roots.push(cid);
        self.starts.push(self.passed);
        let follow = if self.passed == self.path.len() { Follow::Target } else { Follow::Path };
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
            Kind::File | Kind::Raw => match self.bytes {
                Some(bytes) => self.push_bytes(block, data, bytes),
                None => self.push_links(block, data),
            },
            Kind::HamtShard => self.push_shards(block, data),
            Kind::Directory | Kind::Symlink | Kind::Metadata => Ok(()),
        }
    }

    fn push_links(&mut self, block: Waiting, data: &[u8]) -> Result<(), WalkError> {
        let cids = match links(&block.cid, data) {
            Err(CodecError::Unsupported(_))
                if self.unread_are_leaves && matches!(block.follow, Follow::All) =>
            {
                Vec::new()
            }
            links => links.map_err(|source| WalkError::Codec { cid: block.cid, source })?,
        };
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

    /// Starts on the wanted bytes of a file. Without any, its first block is enough to see that there are none.
    fn push_bytes(&mut self, block: Waiting, data: &[u8], bytes: ByteRange) -> Result<(), WalkError> {
        let size = range::size(&block.cid, data)?;
        let Some(range) = bytes.within(size) else { return Ok(()) };
        if range == (0..size) {
            return self.push_links(block, data);
        }
        self.range = range;
        self.push_parts(block, data, 0..size)
    }

    /// Pushes the parts of a file's node that hold wanted bytes. Of a part that is wanted as a whole all links
    /// are followed, as if nothing had been selected.
    fn push_parts(&mut self, block: Waiting, data: &[u8], at: Range<u64>) -> Result<(), WalkError> {
        let parts = range::parts(&block.cid, data, at)?;
        let wanted = parts.into_iter().filter(|(_, at)| range::overlap(at, &self.range));
        let follow = |at: &Range<u64>| match range::covers(&self.range, at) {
            true => Follow::All,
            false => Follow::Part { start: at.start, size: at.end.saturating_sub(at.start) },
        };
        let links = wanted.map(|(cid, at)| (cid, follow(&at))).collect();
        self.push_each(block, links)
    }

    fn push(&mut self, block: Waiting, cids: Vec<Cid>, follow: Follow) -> Result<(), WalkError> {
        self.push_each(block, cids.into_iter().map(|cid| (cid, follow)).collect())
    }

    fn push_each(&mut self, block: Waiting, links: Vec<(Cid, Follow)>) -> Result<(), WalkError> {
        if links.is_empty() {
            return Ok(());
        }
        let depth = self.deeper(&block)?;
        if self.waiting.len() + links.len() > self.budget.waiting.min(MAX_WAITING) {
            return Err(WalkError::TooWide { cid: block.cid });
        }
        for (cid, follow) in links.into_iter().rev() {
            let link = Waiting { cid, depth, follow };
            if !self.is_passed(&link) {
                self.waiting.push(link);
            }
        }
        Ok(())
    }

    fn deeper(&self, block: &Waiting) -> Result<u32, WalkError> {
        let limit = self.budget.depth.min(MAX_DEPTH);
        if block.depth < limit {
            Ok(block.depth + 1)
        } else {
            Err(WalkError::TooDeep { cid: block.cid, limit })
        }
    }
}

#[cfg(test)]
mod tests;
