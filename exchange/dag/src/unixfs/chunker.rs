//! Cutting content into the pieces that become leaves.
//!
//! The pieces of a file, one after the other, are the file, and where it is cut never depends on how much a
//! read happens to return. Memory is bounded: one piece, and for the content-defined chunker one buffer.

mod buzhash;

use std::io::Read;

use bytes::Bytes as Buf;
use pop_units::Bytes;

/// What is read at once to look for cuts. Many times the longest piece, so that little is moved.
const BUFFER: usize = 4 * buzhash::MAX;

/// Room for the first piece of content whose size is not known: most such content is small.
const FIRST: usize = 64 << 10;

/// Where to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// After so many bytes.
    Every(Bytes),
    /// Where the content says so.
    Content,
}

/// The pieces of one file, in order.
pub(super) struct Chunks<'a> {
    reader: &'a mut dyn Read,
    cut: Cut,
    /// What is read and not yet handed out; used by [`Cut::Content`] alone.
    buffer: Vec<u8>,
    /// Where in the buffer the next piece starts.
    start: usize,
    /// How many bytes should still come, if somebody knows.
    expected: Option<u64>,
    is_first: bool,
    is_over: bool,
}

impl<'a> Chunks<'a> {
    /// Cuts what `reader` gives. `expected` is how much that will be: only a hint how much memory to take.
    pub(super) fn new(reader: &'a mut dyn Read, cut: Cut, expected: Option<u64>) -> Self {
        Self { reader, cut, buffer: Vec::new(), start: 0, expected, is_first: true, is_over: false }
    }

    /// Returns the next piece, never an empty one; `None` at the end.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Buf>> {
        match self.cut {
            Cut::Every(size) => self.fixed(size.as_usize()),
            Cut::Content => self.defined(),
        }
    }

    fn fixed(&mut self, size: usize) -> std::io::Result<Option<Buf>> {
        if self.is_over {
            return Ok(None);
        }
        // The leaf's own memory, filled by the reader: content is not moved again.
        let mut piece = Vec::with_capacity(self.room(size));
        self.fill(&mut piece, size)?;
        if piece.is_empty() {
            return Ok(None);
        }
        // Short pieces must not hold a whole chunk's memory while they wait in the sink.
        piece.shrink_to_fit();
        Ok(Some(Buf::from(piece)))
    }

    fn defined(&mut self) -> std::io::Result<Option<Buf>> {
        if !self.is_over && self.buffer.len() - self.start < buzhash::MAX {
            self.buffer.drain(..self.start);
            self.start = 0;
            let room = self.room(BUFFER);
            self.buffer.reserve(room);
            let mut buffer = std::mem::take(&mut self.buffer);
            let filled = self.fill(&mut buffer, BUFFER);
            self.buffer = buffer;
            filled?;
        }
        let rest = &self.buffer[self.start..];
        if rest.is_empty() {
            return Ok(None);
        }
        let piece = &rest[..buzhash::cut(rest)];
        self.start += piece.len();
        // A copy, as a slice would keep the whole buffer for as long as the sink keeps any piece of it.
        Ok(Some(Buf::copy_from_slice(piece)))
    }

    /// Returns how much memory to take for up to `size` bytes.
    fn room(&self, size: usize) -> usize {
        match self.expected {
            Some(expected) => usize::try_from(expected).map_or(size, |expected| expected.min(size)),
            None if self.is_first => FIRST.min(size),
            None => size,
        }
    }

    /// Reads until `into` is `size` long; less only at the end of the content.
    fn fill(&mut self, into: &mut Vec<u8>, size: usize) -> std::io::Result<()> {
        let missing = u64::try_from(size - into.len()).unwrap_or(u64::MAX);
        let got = u64::try_from((&mut *self.reader).take(missing).read_to_end(into)?).unwrap_or(u64::MAX);
        self.expected = self.expected.map(|expected| expected.saturating_sub(got));
        self.is_first = false;
        self.is_over = got < missing;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
