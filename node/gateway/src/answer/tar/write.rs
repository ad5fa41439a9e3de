//! Writing an archive, batch by batch.

use pop_dag::unixfs::FileReader;
use pop_dag::{BlockSource, Cid};
use pop_units::Bytes;

use super::header;
use super::tour::{Tour, What};
use crate::answer::batch::{Batch, Pieces};
use crate::body::gap;
use crate::view::Gap;

/// An archive under way.
pub(super) struct Writer {
    tour: Tour,
    /// The file that is being written, and how far.
    file: Option<(Cid, Bytes)>,
}

impl Writer {
    pub(super) const fn new(root: Cid) -> Self {
        Self { tour: Tour::new(root), file: None }
    }

    /// Goes on with a file, as far as the batch has room.
    fn copy(&mut self, cid: Cid, at: Bytes, batch: &mut Batch, blocks: &dyn BlockSource) -> Result<(), Gap> {
        let mut reader = FileReader::open(&cid, blocks).map_err(gap)?;
        reader.seek_to(at);
        while batch.room() > 0 {
            let piece = reader.piece(batch.room()).map_err(gap)?;
            if piece.is_empty() {
                self.file = None;
                batch.push(header::end_of(reader.size().as_usize()));
                return Ok(());
            }
            batch.push(piece);
            self.file = Some((cid, reader.position()));
        }
        Ok(())
    }
}

impl Pieces for Writer {
    fn fill(&mut self, batch: &mut Batch, blocks: &dyn BlockSource) -> Result<(), Gap> {
        while !batch.is_full() {
            if let Some((cid, at)) = self.file {
                self.copy(cid, at, batch, blocks)?;
                continue;
            }
            let Some(entry) = self.tour.next(blocks)? else {
                batch.push(header::end());
                batch.end();
                return Ok(());
            };
            batch.push(header::of(&entry));
            batch.count();
            match entry.what {
                What::File(_) => self.file = Some((entry.cid, Bytes::ZERO)),
                What::Value(data) => {
                    let end = header::end_of(data.len());
                    batch.push(data);
                    batch.push(end);
                }
                What::Directory | What::Symlink(_) => {}
            }
        }
        Ok(())
    }
}
