//! Writing an archive.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use cid::Cid;
use pop_units::Bytes;

use super::frame::{header, section_head};
use super::header as fixed;
use super::index::Index;
use super::input::BUFFER;
use crate::block::Block;

/// Writes an archive, block by block: version 1, or version 2 with a sorted index behind the data.
///
/// The header of version 2 states sizes that are known only at the end, so its output must be able to seek;
/// until then the header is all zeros, which no reader takes for an archive.
#[derive(Debug)]
pub struct CarWriter<W: Write> {
    output: BufWriter<W>,
    /// How many bytes of data were written: the header of version 1 and all sections.
    size: u64,
    indexed: Option<Indexed<W>>,
}

/// What version 2 has around its data.
#[derive(Debug)]
struct Indexed<W: Write> {
    index: Index,
    /// Where in the output the archive starts.
    start: u64,
    /// Seeks: held as a function, so that version 1 needs no output that can.
    seek: fn(&mut BufWriter<W>, u64) -> io::Result<()>,
}

impl<W: Write> CarWriter<W> {
    /// Starts an archive of version 1.
    ///
    /// # Errors
    /// The output gives an error, or there is no root.
    pub fn new(output: W, roots: &[Cid]) -> io::Result<Self> {
        let output = BufWriter::with_capacity(BUFFER, output);
        Self { output, size: 0, indexed: None }.begin(roots)
    }

    /// Writes a block.
    ///
    /// # Errors
    /// The output gives an error.
    pub fn write(&mut self, block: &Block) -> io::Result<()> {
        self.write_parts(block.cid(), block.data())
    }

    /// Writes a block that is known to be one.
    ///
    /// # Errors
    /// The output gives an error.
    pub fn write_parts(&mut self, cid: &Cid, data: &[u8]) -> io::Result<()> {
        if let Some(indexed) = &mut self.indexed {
            indexed.index.add(cid, self.size);
        }
        self.put(&[&section_head(cid, Bytes::of(data)), data])
    }

    /// Returns how many bytes of header, blocks and CIDs were written so far; the index comes on top.
    pub const fn size(&self) -> Bytes {
        Bytes::new(self.size)
    }

    /// Writes the index, if there is one, flushes and returns the output, at the end of the archive. Without it
    /// the end of the archive may be missing, and version 2 has no header.
    ///
    /// # Errors
    /// The output gives an error.
    pub fn finish(mut self) -> io::Result<W> {
        if let Some(Indexed { index, start, seek }) = self.indexed.take() {
            let header = fixed::v2(self.size).ok_or(io::ErrorKind::FileTooLarge)?;
            let mut counted = Counted { output: &mut self.output, size: 0 };
            index.write(&mut counted)?;
            let end = [fixed::DATA_OFFSET, self.size, counted.size];
            let end = end.iter().try_fold(start, |sum, part| sum.checked_add(*part));
            let end = end.ok_or(io::ErrorKind::FileTooLarge)?;
            seek(&mut self.output, start)?;
            self.output.write_all(&header)?;
            seek(&mut self.output, end)?;
        }
        self.output.flush()?;
        self.output.into_inner().map_err(io::IntoInnerError::into_error)
    }

    fn begin(mut self, roots: &[Cid]) -> io::Result<Self> {
        self.put(&[&header(roots)?])?;
        Ok(self)
    }

    fn put(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        for part in parts {
            self.output.write_all(part)?;
            self.size = self.size.saturating_add(Bytes::of(part).get());
        }
        Ok(())
    }
}

impl<W: Write + Seek> CarWriter<W> {
    /// Starts an archive of version 2 with an index, at the place where the output stands.
    ///
    /// The index is held in memory until the end, 40 bytes for each block whose digest has 32.
    ///
    /// # Errors
    /// The output gives an error or cannot seek, or there is no root.
    pub fn indexed(mut output: W, roots: &[Cid]) -> io::Result<Self> {
        let start = output.stream_position().map_err(|error| {
            let message = format!(
                "version 2 states its sizes first, so it goes to a file, not to a pipe; write version 1 ({error})"
            );
            io::Error::new(io::ErrorKind::NotSeekable, message)
        })?;
        let mut output = BufWriter::with_capacity(BUFFER, output);
        output.write_all(&[0; 51])?;
        let seek = |output: &mut BufWriter<W>, to| output.seek(SeekFrom::Start(to)).map(drop);
        let indexed = Indexed { index: Index::default(), start, seek };
        Self { output, size: 0, indexed: Some(indexed) }.begin(roots)
    }
}

/// Counts what passes.
struct Counted<'a, W> {
    output: &'a mut W,
    size: u64,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.size = self.size.saturating_add(Bytes::of(&bytes[..written]).get());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests;
