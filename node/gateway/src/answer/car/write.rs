//! Writing an archive, batch by batch.

use std::error::Error;

use bytes::Bytes;
use http::StatusCode;
use pop_dag::walk::WalkError;
use pop_dag::{BlockSource, CodecError, Walk, car};

use super::Ask;
use crate::answer::batch::{Batch, Pieces};
use crate::asked::Asked;
use crate::refusal::Refusal;
use crate::resolve::Found;
use crate::view::Gap;

/// An archive under way.
pub(super) struct Writer {
    walk: Walk,
    /// What the archive begins with, until it was written.
    header: Option<Bytes>,
}

impl Writer {
    pub(super) fn new(asked: &Asked, found: &Found, ask: &Ask) -> Result<Self, Refusal> {
        let selection = ask.selection(asked.target.segments.clone());
        let walk = Walk::select(asked.target.root, &selection).map_err(|error| wrong(&error))?;
        let header = car::header(&[found.cid]);
        let header =
            header.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        Ok(Self { walk, header: Some(header) })
    }
}

impl Pieces for Writer {
    fn fill(&mut self, batch: &mut Batch, blocks: &dyn BlockSource) -> Result<(), Gap> {
        while !batch.is_full() {
            let Some(cid) = self.walk.want().copied() else {
                self.header.take().into_iter().for_each(|header| batch.push(header));
                batch.end();
                return Ok(());
            };
            let data = blocks.block(&cid)?.ok_or(Gap::Missing(cid))?;
            let repeat = self.walk.is_repeat();
            self.walk.on_block(&data).map_err(|error| Gap::Failed(wrong(&error)))?;
            // Not before the first block is here: a header alone would be taken for what can be sent already.
            self.header.take().into_iter().for_each(|header| batch.push(header));
            if !repeat {
                batch.push(car::section_head(&cid, pop_units::Bytes::of(&data)));
                batch.push(data);
            }
            batch.count();
        }
        Ok(())
    }
}

/// Returns what an error of the walk is to the client: before the head it is the answer, after it the end.
fn wrong(error: &WalkError) -> Refusal {
    let said = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match error {
        WalkError::NotFound { .. } | WalkError::NotADirectory { .. } => {
            Refusal::new(StatusCode::NOT_FOUND, said)
        }
        WalkError::Codec { source: CodecError::Unsupported(_), .. } => {
            let hint = "Ask for its block: dag-scope=block, or format=raw.";
            Refusal::new(StatusCode::NOT_ACCEPTABLE, said).hint(hint)
        }
        _ => Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, said),
    }
}
