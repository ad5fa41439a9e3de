//! Reading files: whole, in part, or as a seekable stream.
//!
//! Only the blocks that the asked bytes need are asked for. Memory holds the nodes on the way to the current
//! position and one leaf. What nodes claim about sizes is checked wherever the reader passes, so that a lie
//! ends the reading and never shifts a byte; nothing is allocated by a claim.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use bytes::Bytes as Buf;
use cid::Cid;
use pop_units::Bytes;

use super::ExportError;
use super::node::{FsNode, Kind};
use super::read::{decode, load};
use crate::codec::{Codec, CodecError, pb};
use crate::source::BlockSource;
use crate::walk::MAX_WAITING;

/// Deepest chain of nodes in a file; balanced files stay in single digits and trickled ones near twenty.
const MAX_FILE_DEPTH: usize = 64;

/// The content of a UnixFS file or of a raw block, in any layout.
#[derive(Debug)]
pub struct FileReader<S> {
    source: S,
    size: u64,
    at: u64,
    /// The nodes from the root to the one that was read last.
    nodes: Vec<Node>,
    /// How many parts the nodes have together.
    parts: usize,
}

#[derive(Debug)]
struct Node {
    /// Where the node's content starts in the file.
    start: u64,
    /// Content in the node itself; it goes before that of the parts.
    own: Buf,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    cid: Cid,
    /// Where the part's content ends in the file.
    end: u64,
}

impl<S: BlockSource> FileReader<S> {
    /// Opens a file; reads its first block.
    ///
    /// # Errors
    /// It is no file, or its first block is missing or cannot be read.
    pub fn open(root: &Cid, source: S) -> Result<Self, ExportError> {
        Self::of(root, load(root, &source)?, source)
    }

    /// Opens a file whose first block is at hand.
    pub(super) fn of(root: &Cid, first: Buf, source: S) -> Result<Self, ExportError> {
        let node = Node::of(root, first, 0, None)?;
        Ok(Self { source, size: node.end(), at: 0, parts: node.parts.len(), nodes: vec![node] })
    }

    /// Returns the size of the file, as its first block states it.
    pub const fn size(&self) -> Bytes {
        Bytes::new(self.size)
    }

    /// Returns where the next piece starts.
    pub const fn position(&self) -> Bytes {
        Bytes::new(self.at)
    }

    /// Moves to a position, which may lie behind the end. Reads nothing.
    pub const fn seek_to(&mut self, position: Bytes) {
        self.at = position.get();
    }

    /// Returns the next bytes as they lie in their block, `limit` at most; nothing at the end.
    ///
    /// # Errors
    /// A block is missing, cannot be read, or does not have the size that is claimed for it. The position
    /// stays, so that the call may be repeated when the block has arrived.
    pub fn piece(&mut self, limit: usize) -> Result<Buf, ExportError> {
        if self.at >= self.size || limit == 0 {
            return Ok(Buf::new());
        }
        loop {
            self.leave_passed_nodes();
            // The root covers the whole file, so that it is never left.
            let Some(node) = self.nodes.last() else { return Ok(Buf::new()) };
            if let Some(own) = node.own_from(self.at) {
                let piece = own.slice(..own.len().min(limit));
                self.at += Bytes::of(&piece).get();
                return Ok(piece);
            }
            let Some((part, start)) = node.part_at(self.at) else { return Ok(Buf::new()) };
            if self.nodes.len() >= MAX_FILE_DEPTH {
                return Err(ExportError::TooDeep { cid: part.cid });
            }
            let data = load(&part.cid, &self.source)?;
            let below = Node::of(&part.cid, data, start, Some(part.end - start))?;
            if self.parts + below.parts.len() > MAX_WAITING {
                return Err(ExportError::TooDeep { cid: part.cid });
            }
            self.parts += below.parts.len();
            self.nodes.push(below);
        }
    }

    fn leave_passed_nodes(&mut self) {
        while let Some(node) = self.nodes.pop_if(|node| self.at < node.start || self.at >= node.end()) {
            self.parts -= node.parts.len();
        }
    }

    /// Writes the bytes up to `end` or the end of the file and returns how many there were.
    pub(super) fn copy_to(
        &mut self,
        end: u64,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(Bytes),
    ) -> Result<Bytes, ExportError> {
        let from = self.at;
        while self.at < end {
            let left = usize::try_from(end - self.at).unwrap_or(usize::MAX);
            let piece = self.piece(left)?;
            if piece.is_empty() {
                break;
            }
            out.write_all(&piece).map_err(ExportError::Write)?;
            progress(Bytes::of(&piece));
        }
        Ok(Bytes::new(self.at - from))
    }
}

impl Node {
    fn of(cid: &Cid, data: Buf, start: u64, claimed: Option<u64>) -> Result<Self, ExportError> {
        if cid.codec() == Codec::Raw.code() {
            if claimed.is_some_and(|claimed| Bytes::new(claimed) != Bytes::of(&data)) {
                return Err(ExportError::Size { cid: *cid });
            }
            return Ok(Self { start, own: data, parts: Vec::new() });
        }
        let (node, fs) = file_node(cid, &data, claimed)?;
        let own = data.slice_ref(fs.data.unwrap_or_default());
        let mut end = start.saturating_add(Bytes::of(&own).get());
        let part = |(link, size): (&pb::Link<'_>, &u64)| {
            end = end.saturating_add(*size);
            Part { cid: link.cid, end }
        };
        let parts = node.links.iter().zip(&fs.blocksizes).map(part).collect();
        Ok(Self { start, own, parts })
    }

    fn own_end(&self) -> u64 {
        self.start.saturating_add(Bytes::of(&self.own).get())
    }

    fn end(&self) -> u64 {
        self.parts.last().map_or_else(|| self.own_end(), |part| part.end)
    }

    /// Returns the node's own content from a position of the file on, which is not before the node's.
    fn own_from(&self, at: u64) -> Option<Buf> {
        let skip = usize::try_from(at.checked_sub(self.start)?).ok()?;
        (skip < self.own.len()).then(|| self.own.slice(skip..))
    }

    /// Returns the part that holds the byte at a position, and where the part starts.
    fn part_at(&self, at: u64) -> Option<(&Part, u64)> {
        let index = self.parts.partition_point(|part| part.end <= at);
        let before = index.checked_sub(1).and_then(|before| self.parts.get(before));
        self.parts.get(index).map(|part| (part, before.map_or_else(|| self.own_end(), |part| part.end)))
    }
}

/// Reads a node of a file and checks its sizes.
fn file_node<'a>(
    cid: &Cid,
    data: &'a [u8],
    claimed: Option<u64>,
) -> Result<(pb::Node<'a>, FsNode<'a>), ExportError> {
    let wrong = || ExportError::Kind { cid: *cid, wanted: "file" };
    if cid.codec() != Codec::DagPb.code() {
        return Err(wrong());
    }
    let (node, fs) = decode(cid, data)?;
    if !matches!(fs.kind, Kind::File | Kind::Raw) {
        return Err(wrong());
    }
    let size = fs.content_size().filter(|size| claimed.is_none_or(|claimed| claimed == *size));
    if size.is_none() || node.links.len() != fs.blocksizes.len() {
        return Err(ExportError::Size { cid: *cid });
    }
    // The specification demands it: what has named links is no file, whatever its type says.
    if node.links.iter().any(|link| !link.name.unwrap_or_default().is_empty()) {
        return Err(ExportError::Codec { cid: *cid, source: CodecError::UnixFs(pb::Fault::Named) });
    }
    Ok((node, fs))
}

impl<S: BlockSource> Read for FileReader<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.piece(buffer.len())?;
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

impl<S: BlockSource> Seek for FileReader<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl From<ExportError> for io::Error {
    /// Keeps the error inside; its kind tells what is missing from what is wrong.
    fn from(error: ExportError) -> Self {
        let kind = match &error {
            ExportError::Write(inner) | ExportError::Io { source: inner, .. } => inner.kind(),
            ExportError::Missing { .. } => io::ErrorKind::NotFound,
            ExportError::Source(_) => io::ErrorKind::Other,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// Writes the content of a file in order and returns its size.
///
/// `progress` is called with the size of each piece once it was written. What nodes claim about sizes must
/// hold, which also bounds the work by the size that is claimed at the root.
///
/// # Errors
/// It is no file, a block is missing or not well formed, or the writer gives an error.
pub fn write_file(
    root: &Cid,
    source: &dyn BlockSource,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Bytes),
) -> Result<Bytes, ExportError> {
    FileReader::open(root, source)?.copy_to(u64::MAX, out, progress)
}

/// Writes the bytes of a file that lie in `range` and in the file, and returns how many there were.
///
/// Beyond the first block, only blocks that the range needs are asked for.
///
/// # Errors
/// It is no file, a block is missing or not well formed, or the writer gives an error.
pub fn read_range(
    root: &Cid,
    range: Range<u64>,
    source: &dyn BlockSource,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Bytes),
) -> Result<Bytes, ExportError> {
    let mut reader = FileReader::open(root, source)?;
    reader.seek_to(Bytes::new(range.start));
    reader.copy_to(range.end, out, progress)
}

#[cfg(test)]
pub(super) mod tests;
