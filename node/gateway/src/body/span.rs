//! Bytes of a file, out of its blocks: one call reads a batch.
//!
//! Decoded nodes are shared by all who read the file. A leaf is read whole once, so that its checksum is compared
//! and its size is known to be what its node says; after that only the wanted part of it is read.

use std::ops::Range;
use std::sync::{Arc, MutexGuard};

use pop_dag::unixfs::{FileNode, Holder, MAX_FILE_DEPTH};
use pop_dag::{BlockSource, Buf, Cid, identity, is_leaf};
use pop_units::Bytes;

use super::{gap, malformed};
use crate::site::Site;
use crate::view::{Gap, Paced};

/// What is read of a leaf at a time: it stays in the processor's cache until it is sent.
const SEGMENT: u64 = 256 << 10;
/// What is read of it instead when less than that is wanted: an allocator keeps memory for each size and thread.
const MORSEL: u64 = 64 << 10;

/// Pieces below this are joined: one more piece costs more than the copy.
const SMALL: usize = 4 << 10;
/// Most leaves of a batch: tiny ones are found and read one by one.
pub(super) const LEAVES: usize = 1024;

/// Reads the bytes of a file in `range`, or as many of them from its start on as are here and within reason, but at
/// least one.
///
/// With `holds` the pieces may lie in larger memory, of which they are the greater part.
///
/// # Errors
/// The first byte's block is missing or malformed.
pub(crate) fn read(
    blocks: &dyn BlockSource,
    site: &Site,
    cid: &Cid,
    range: Range<u64>,
    holds: bool,
) -> Result<Vec<Buf>, Gap> {
    let blocks = &Paced::new(blocks);
    let mut spans = Spans { blocks, site, removals: site.changes(), holds, turn: None, way: Vec::new() };
    let (mut pieces, mut at) = (Vec::new(), range.start);
    while at < range.end && pieces.len() < LEAVES && (pieces.is_empty() || !blocks.is_spent()) {
        let most = range.end.saturating_sub(at);
        match spans.next(cid, at, most) {
            Ok(piece) if piece.is_empty() && pieces.is_empty() => {
                return Err(malformed(format!("{cid} is shorter than it says")));
            }
            Ok(piece) if piece.is_empty() => break,
            Ok(piece) => {
                at = at.saturating_add(Bytes::of(&piece).get());
                pieces.push(piece);
            }
            // What goes wrong behind the first piece is met again by the next batch.
            Err(_) if !pieces.is_empty() => break,
            Err(gap) => return Err(gap),
        }
    }
    Ok(joined(pieces))
}

/// Joins small pieces with those next to them.
fn joined(pieces: Vec<Buf>) -> Vec<Buf> {
    let mut all = Vec::new();
    let mut pieces = pieces.into_iter().peekable();
    while let Some(piece) = pieces.next() {
        let is_small = |next: &Buf| next.len() < SMALL;
        if !is_small(&piece) || !pieces.peek().is_some_and(is_small) {
            all.push(piece);
            continue;
        }
        let mut together = piece.to_vec();
        while let Some(next) = pieces.next_if(is_small) {
            together.extend_from_slice(&next);
        }
        all.push(together.into());
    }
    all
}

struct Spans<'a> {
    blocks: &'a dyn BlockSource,
    site: &'a Site,
    removals: u64,
    holds: bool,
    /// One of few turns to have whole blocks in memory that no room was given for.
    turn: Option<MutexGuard<'a, ()>>,
    /// The nodes on the way to the last position, and where each starts in the file.
    way: Vec<(u64, Arc<FileNode>)>,
}

/// A leaf that is not in a node of the file.
struct Leaf {
    cid: Cid,
    /// The size that its node claims; `None` for a leaf that is the whole file.
    claimed: Option<u64>,
    /// What is wanted of it.
    range: Range<u64>,
}

impl Spans<'_> {
    /// Returns bytes from `at` on, `most` at most and as they lie together; nothing behind the end.
    fn next(&mut self, root: &Cid, at: u64, most: u64) -> Result<Buf, Gap> {
        if is_leaf(root) {
            return self.leaf(&Leaf { cid: *root, claimed: None, range: at..at.saturating_add(most) });
        }
        while self.way.pop_if(|(start, node)| at < *start || at >= end(*start, node)).is_some() {}
        if self.way.is_empty() {
            let node = self.node(root, None)?;
            self.way.push((0, node));
        }
        loop {
            let Some((above, node)) = self.way.last() else { return Ok(Buf::new()) };
            let above = *above;
            let (cid, start, size) = match node.at(at.saturating_sub(above)) {
                None => return Ok(Buf::new()),
                Some(Holder::Own(own)) => {
                    let len = own.len().min(Bytes::new(most).as_usize());
                    let whole = node.own().len();
                    return Ok(self.piece(own.slice(..len), whole));
                }
                Some(Holder::Part { cid, start, size }) => (cid, above.saturating_add(start), size),
            };
            if self.way.len() >= MAX_FILE_DEPTH {
                return Err(malformed(format!("{cid} is nested too deep")));
            }
            if is_leaf(&cid) {
                let skip = at.saturating_sub(start);
                let range = skip..skip.saturating_add(most).min(size);
                return self.leaf(&Leaf { cid, claimed: Some(size), range });
            }
            let node = self.node(&cid, Some(Bytes::new(size)))?;
            self.way.push((start, node));
        }
    }

    fn node(&mut self, cid: &Cid, claimed: Option<Bytes>) -> Result<Arc<FileNode>, Gap> {
        // What is remembered of it is behind no guard.
        self.site.lists.check_block(cid, &[]).map_err(Gap::Failed)?;
        let memory = &self.site.memory;
        if let Some(node) = memory.node(cid, self.removals)
            && claimed.is_none_or(|claimed| claimed == node.size())
        {
            return Ok(node);
        }
        let data = self.whole(cid)?;
        let node = Arc::new(FileNode::decode(cid, &data, claimed).map_err(gap)?);
        memory.keep_node(cid, &node, self.removals);
        Ok(node)
    }

    fn leaf(&mut self, leaf: &Leaf) -> Result<Buf, Gap> {
        let Leaf { cid, claimed, range } = leaf;
        let wrong = || malformed(format!("{cid} does not have the size that is claimed for it"));
        // Whoever writes a CID chooses the digest of one that carries its data: such a leaf is not remembered.
        let inline = identity(cid);
        if inline.is_none()
            && let Some(size) = self.site.memory.checked(cid)
        {
            if claimed.is_some_and(|claimed| claimed != size) {
                return Err(wrong());
            }
            let wanted = range.end.min(size).saturating_sub(range.start);
            let wanted = if wanted < SEGMENT { wanted.min(MORSEL) } else { SEGMENT };
            let range = range.start..range.start.saturating_add(wanted);
            return match self.blocks.part(cid, range)? {
                None => Err(Gap::Missing(*cid)),
                Some(part) if Bytes::of(&part).get() != wanted => Err(wrong()),
                Some(part) => Ok(part),
            };
        }
        let data = self.whole(cid)?;
        let size = Bytes::of(&data).get();
        if claimed.is_some_and(|claimed| claimed != size) {
            return Err(wrong());
        }
        if inline.is_none() {
            self.site.memory.keep_checked(cid, size);
        }
        let [start, end] = [range.start, range.end].map(|at| Bytes::new(at).as_usize().min(data.len()));
        Ok(self.piece(data.slice(start.min(end)..end), data.len()))
    }

    /// Reads a whole block.
    fn whole(&mut self, cid: &Cid) -> Result<Buf, Gap> {
        if let Some(data) = identity(cid) {
            return Ok(Buf::copy_from_slice(data));
        }
        if !self.holds && self.turn.is_none() {
            self.turn = Some(self.site.memory.turn(cid));
        }
        self.blocks.block(cid)?.ok_or(Gap::Missing(*cid))
    }

    /// Returns a piece of `whole` bytes of memory, copied out of it unless it may be held and is most of it.
    fn piece(&self, piece: Buf, whole: usize) -> Buf {
        match self.holds && piece.len() >= whole / 2 {
            true => piece,
            false => Buf::copy_from_slice(&piece),
        }
    }
}

fn end(start: u64, node: &FileNode) -> u64 {
    start.saturating_add(node.size().get())
}
