//! Writing an archive of version 1.

use std::io::{self, BufWriter, Write};

use bytes::Bytes as Buf;
use cid::Cid;

use super::{BUFFER, Header};
use crate::block::Block;
use crate::codec::proto::put_varint;
use crate::source::{BlockSource, SinkError};
use crate::walk::{self, RunError, Scope, Totals};

/// Writes an archive, block by block.
#[derive(Debug)]
pub struct CarWriter<W: Write> {
    output: BufWriter<W>,
}

impl<W: Write> CarWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// The output gives an error, or there is no root.
    pub fn new(output: W, roots: &[Cid]) -> io::Result<Self> {
        if roots.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an archive needs a root"));
        }
        let header = Header { roots: Some(roots.to_vec()), version: 1 };
        let bytes = serde_ipld_dagcbor::to_vec(&header).map_err(io::Error::other)?;
        let mut output = BufWriter::with_capacity(BUFFER, output);
        put(&mut output, &[&bytes])?;
        Ok(Self { output })
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
        put(&mut self.output, &[&cid.to_bytes(), data])
    }

    /// Flushes and returns the output. Without it the end of the archive may be missing.
    ///
    /// # Errors
    /// The output gives an error.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        self.output.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

fn put(output: &mut impl Write, parts: &[&[u8]]) -> io::Result<()> {
    let len = parts.iter().fold(0, |sum, part| sum + pop_units::Bytes::of(part).get());
    let mut prefix = Vec::new();
    put_varint(&mut prefix, len);
    output.write_all(&prefix)?;
    parts.iter().try_for_each(|part| output.write_all(part))
}

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The blocks could not be walked over.
    #[error(transparent)]
    Walk(#[from] RunError),
    /// The output gave an error.
    #[error("the archive could not be written")]
    Write(#[from] io::Error),
}

/// Writes what `scope` means of `root` as an archive, in walk order.
///
/// # Errors
/// A block is missing or cannot be read, or the output gives an error.
pub fn export(
    root: Cid,
    scope: &Scope,
    source: &dyn BlockSource,
    output: &mut dyn Write,
) -> Result<Totals, ExportError> {
    let mut writer = CarWriter::new(output, &[root])?;
    let totals = walk::run(root, scope, source, &mut |cid: &Cid, data: &Buf| {
        writer.write_parts(cid, data).map_err(SinkError::new)
    })?;
    writer.finish()?;
    Ok(totals)
}
