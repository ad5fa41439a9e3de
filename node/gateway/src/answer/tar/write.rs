//! Writing an archive, batch by batch.

use pop_dag::Cid;
use pop_units::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::header;
use super::tour::{Tour, What};
use crate::answer::batch::{Batch, Here, Pieces};
use crate::body::span;
use crate::view::Gap;

/// An archive under way.
pub(super) struct Writer {
    tour: Tour,
    file: Option<File>,
    _right: OwnedSemaphorePermit,
}

/// A file whose head was written.
#[derive(Clone, Copy)]
struct File {
    cid: Cid,
    at: u64,
    size: u64,
}

impl Writer {
    pub(super) fn new(root: Cid, right: OwnedSemaphorePermit) -> Self {
        Self { tour: Tour::new(root), file: None, _right: right }
    }

    /// Goes on with a file, as far as the batch has room.
    fn copy(&mut self, mut file: File, batch: &mut Batch, here: &Here<'_>) -> Result<(), Gap> {
        if file.at < file.size {
            let room = u64::try_from(batch.room()).unwrap_or(u64::MAX);
            let range = file.at..file.size.min(file.at.saturating_add(room));
            for piece in span::read(here.blocks, here.site, &file.cid, range, batch.holds())? {
                file.at = file.at.saturating_add(Bytes::of(&piece).get());
                batch.push(piece);
            }
        }
        self.file = Some(file).filter(|file| file.at < file.size);
        if self.file.is_none() {
            batch.push(header::end_of(file.size));
        }
        Ok(())
    }
}

impl Pieces for Writer {
    fn fill(&mut self, batch: &mut Batch, here: &Here<'_>) -> Result<(), Gap> {
        while !batch.is_full() && !here.blocks.is_spent() {
            if let Some(file) = self.file {
                self.copy(file, batch, here)?;
                continue;
            }
            let Some(entry) = self.tour.next(here.blocks)? else {
                batch.push(header::end());
                batch.end();
                break;
            };
            // What a list says of a path below an entry holds for the archive of it.
            here.site.lists.check_below(&entry.cid, &[]).map_err(Gap::Failed)?;
            batch.push(header::of(&entry));
            batch.count();
            match entry.what {
                What::File(size) => self.file = Some(File { cid: entry.cid, at: 0, size: size.get() }),
                What::Value(data) => {
                    let end = header::end_of(Bytes::of(&data).get());
                    batch.push(data);
                    batch.push(end);
                }
                What::Directory | What::Symlink(_) => {}
            }
        }
        Ok(())
    }
}
