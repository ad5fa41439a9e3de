//! Writing an archive, batch by batch.

use std::ops::Range;

use http::StatusCode;
use pop_dag::{BlockSource, Buf, Cid, identity};
use pop_units::Bytes;

use super::header;
use super::tour::{Tour, What};
use crate::answer::batch::{Batch, Here, Pieces};
use crate::body::span;
use crate::refusal::Refusal;
use crate::view::Gap;

/// An archive under way.
pub(super) struct Writer {
    tour: Tour,
    file: Option<File>,
}

/// A file whose head was written.
#[derive(Clone, Copy)]
struct File {
    cid: Cid,
    at: u64,
    size: u64,
    /// Whether its content is the block as it is.
    is_block: bool,
}

impl Writer {
    pub(super) const fn new(tour: Tour) -> Self {
        Self { tour, file: None }
    }

    /// Writes a block as it is, or as much of it as there is room for; the rest is read again by parts.
    fn value(&mut self, cid: Cid, data: Buf, batch: &mut Batch) {
        let size = Bytes::of(&data).get();
        // What lies in its CID is nowhere else.
        if identity(&cid).is_some() || data.len() <= batch.room() {
            batch.push(data);
            batch.push(header::end_of(size));
            return;
        }
        let at = Bytes::of(&data[..batch.push_start(&data)]).get();
        self.file = Some(File { cid, at, size, is_block: true });
    }

    /// Goes on with a file, as far as the batch has room.
    fn copy(&mut self, mut file: File, batch: &mut Batch, here: &Here<'_>) -> Result<(), Gap> {
        if file.at < file.size {
            let room = u64::try_from(batch.room()).unwrap_or(u64::MAX);
            let range = file.at..file.size.min(file.at.saturating_add(room));
            let pieces = match file.is_block {
                true => vec![part(&file.cid, range, here)?],
                false => span::read(here.blocks, here.site, &file.cid, range, batch.holds())?,
            };
            for piece in pieces {
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

/// Reads a part of a block that was read whole in the same archive.
fn part(cid: &Cid, range: Range<u64>, here: &Here<'_>) -> Result<Buf, Gap> {
    let size = range.end.saturating_sub(range.start);
    let part = here.blocks.part(cid, range)?.ok_or(Gap::Missing(*cid))?;
    if Bytes::of(&part).get() != size {
        let said = format!("block {cid} is shorter than it was");
        return Err(Gap::Failed(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, said)));
    }
    Ok(part)
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
                What::File(size) => {
                    self.file = Some(File { cid: entry.cid, at: 0, size: size.get(), is_block: false });
                }
                What::Value(data) => self.value(entry.cid, data, batch),
                What::Directory | What::Symlink(_) => {}
            }
        }
        Ok(())
    }
}
