//! An archive of a part of a DAG.

use std::fmt;
use std::io::{self, Write};

use bytes::Bytes as Buf;
use cid::Cid;

use super::CarWriter;
use crate::source::{BlockSource, SinkError};
use crate::walk::{self, RunError, Scope, Totals};

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The blocks could not be walked over: one is missing, or its path leads nowhere.
    #[error(transparent)]
    Walk(RunError),
    /// The output gave an error.
    #[error("the archive could not be written")]
    Write(#[from] io::Error),
}

impl From<RunError> for ExportError {
    /// What the writer refused is an error of the output, not of the walk.
    fn from(error: RunError) -> Self {
        match error {
            RunError::Visit(SinkError(inner)) => match inner.downcast::<io::Error>() {
                Ok(io) => Self::Write(*io),
                Err(other) => Self::Walk(RunError::Visit(SinkError(other))),
            },
            other => Self::Walk(other),
        }
    }
}

/// What an export does about blocks that are not here.
pub enum Gaps<'a> {
    /// It ends with an error that names the first.
    Refused,
    /// It leaves them out, with all below them, and tells each. The way to the target must be here even so.
    Told(&'a mut dyn FnMut(&Cid)),
}

impl fmt::Debug for Gaps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "Refused",
            Self::Told(_) => "Told",
        })
    }
}

/// What to write: a part of a DAG, and where its blocks are.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// The root.
    pub root: Cid,
    /// Which part of what is below it.
    pub scope: &'a Scope,
    /// Where the blocks come from.
    pub source: &'a dyn BlockSource,
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("root", &self.root).field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl<W: Write> CarWriter<W> {
    /// Writes a part of a DAG, in walk order and each block once. `progress` is told each block
    /// that was written, and an error of it ends the export.
    ///
    /// # Errors
    /// A block is missing and gaps are refused, a block cannot be read, the path leads nowhere, the output gives
    /// an error, or `progress` does.
    pub fn write_dag(
        &mut self,
        part: Part<'_>,
        gaps: Gaps<'_>,
        progress: &mut dyn FnMut(&Cid, &Buf) -> Result<(), SinkError>,
    ) -> Result<Totals, ExportError> {
        let Part { root, scope, source } = part;
        let mut visit = |cid: &Cid, data: &Buf| {
            self.write_parts(cid, data).map_err(SinkError::new)?;
            progress(cid, data)
        };
        let totals = match gaps {
            Gaps::Refused => walk::run(root, scope, source, &mut visit),
            Gaps::Told(absent) => walk::run_partial(root, scope, source, &mut visit, absent),
        };
        Ok(totals?)
    }
}

/// Writes what `scope` means of `root` as an archive of version 1, without gaps.
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
    let totals = writer.write_dag(Part { root, scope, source }, Gaps::Refused, &mut |_, _| Ok(()))?;
    writer.finish()?;
    Ok(totals)
}
