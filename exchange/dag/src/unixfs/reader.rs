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
use super::file_node::{FileNode, Holder};
use super::read::load;
use crate::source::BlockSource;
use crate::walk::MAX_WAITING;

/// Deepest chain of nodes in a file; balanced files stay in single digits and trickled ones near twenty.
pub const MAX_FILE_DEPTH: usize = 64;

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

/// A node on the way to the current position.
#[derive(Debug)]
struct Node {
    /// Where the node's content starts in the file.
    start: u64,
    node: FileNode,
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
        let node = FileNode::decode(root, &first, None)?;
        let (size, parts) = (node.size().get(), node.parts());
        Ok(Self { source, size, at: 0, parts, nodes: vec![Node { start: 0, node }] })
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
            let above = node.start;
            let (cid, start, size) = match node.node.at(self.at.saturating_sub(above)) {
                None => return Ok(Buf::new()),
                Some(Holder::Own(own)) => {
                    let piece = own.slice(..own.len().min(limit));
                    self.at += Bytes::of(&piece).get();
                    return Ok(piece);
                }
                Some(Holder::Part { cid, start, size }) => (cid, above.saturating_add(start), size),
            };
            if self.nodes.len() >= MAX_FILE_DEPTH {
                return Err(ExportError::TooDeep { cid });
            }
            let node = FileNode::decode(&cid, &load(&cid, &self.source)?, Some(Bytes::new(size)))?;
            if self.parts + node.parts() > MAX_WAITING {
                return Err(ExportError::TooDeep { cid });
            }
            self.parts += node.parts();
            self.nodes.push(Node { start, node });
        }
    }

    fn leave_passed_nodes(&mut self) {
        while let Some(left) = self.nodes.pop_if(|node| self.at < node.start || self.at >= node.end()) {
            self.parts -= left.node.parts();
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
    fn end(&self) -> u64 {
        self.start.saturating_add(self.node.size().get())
    }
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
