//! The CLEAN marker: what an orderly stop leaves so that the next open may trust the index.
//!
//! It is taken away before anything is changed, and speaks of one exact set of files: another state, another
//! index or a segment of another length make it worthless, and the index is rebuilt.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::bytes_at::{replace_file, sync_dir, u32_at};

/// Raised when the meaning of the index or of this file changes.
const VERSION: u32 = 1;
const NAME: &str = "CLEAN";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clean {
    version: u32,
    /// The generation of the state that the refs were counted from.
    pub(crate) generation: u64,
    /// The stamp that the index got at the same close.
    pub(crate) stamp: u64,
    pub(crate) blocks: u64,
    pub(crate) next_id: u32,
    pub(crate) next_seq: u64,
    pub(crate) active: Option<u32>,
    /// Number, length and live bytes of each segment.
    pub(crate) segments: Vec<(u32, u64, u64)>,
}

impl Clean {
    /// Returns a marker of the present version.
    pub(crate) fn new(generation: u64, stamp: u64, next: (u32, u64)) -> Self {
        let (next_id, next_seq) = next;
        Self {
            version: VERSION,
            generation,
            stamp,
            blocks: 0,
            next_id,
            next_seq,
            active: None,
            segments: Vec::new(),
        }
    }

    /// Writes the marker durably.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let mut out = serde_ipld_dagcbor::to_vec(self).map_err(io::Error::other)?;
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        replace_file(&dir.join(NAME), &out)
    }

    /// Takes the marker away and returns it if it reads and is of this version.
    pub(crate) fn take(dir: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(dir.join(NAME)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        fs::remove_file(dir.join(NAME))?;
        sync_dir(dir)?;
        let Some((body, crc)) = bytes.len().checked_sub(4).and_then(|at| bytes.split_at_checked(at)) else {
            return Ok(None);
        };
        if crc32c::crc32c(body) != u32_at(crc, 0) {
            return Ok(None);
        }
        let clean: Option<Self> = serde_ipld_dagcbor::from_slice(body).ok();
        Ok(clean.filter(|clean| clean.version == VERSION))
    }
}
