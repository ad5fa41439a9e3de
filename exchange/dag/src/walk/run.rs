//! A whole walk over blocks that are at hand: for proofs, accounting, export and checks of completeness.

use bytes::Bytes as Buf;
use cid::Cid;
use pop_units::Bytes;

use super::{Scope, Selection, Walk, WalkError};
use crate::source::{BlockSource, SinkError, SourceError};

/// What a walk met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many blocks.
    pub blocks: u64,
    /// The sum of their sizes.
    pub bytes: Bytes,
    /// What the path led to.
    pub target: Option<Cid>,
}

/// Why a walk over local blocks stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A block is not here.
    #[error("block {cid} is not here")]
    Missing {
        /// The block.
        cid: Cid,
    },
    /// The walk itself cannot go on.
    #[error(transparent)]
    Walk(Box<WalkError>),
    /// The blocks could not be read.
    #[error("blocks could not be read")]
    Source(#[from] SourceError),
    /// The visitor refused a block.
    #[error("a block was refused")]
    Visit(#[from] SinkError),
}

impl From<WalkError> for RunError {
    fn from(error: WalkError) -> Self {
        Self::Walk(Box::new(error))
    }
}

/// Walks over blocks of `source` and hands each to `visit`, in order.
///
/// # Errors
/// A block is missing or cannot be read, the path does not exist, or the visitor refuses.
pub fn run(
    root: Cid,
    scope: &Scope,
    source: &dyn BlockSource,
    visit: &mut dyn FnMut(&Cid, &Buf) -> Result<(), SinkError>,
) -> Result<Totals, RunError> {
    let mut missing = |cid: &Cid| Err(RunError::Missing { cid: *cid });
    follow(Walk::new(root, scope)?, source, visit, &mut missing)
}

/// Walks over a part that is chosen more finely than a [`Scope`] can, as [`run`] does.
///
/// # Errors
/// As [`run`], or the part is above the budget of the selection.
pub fn run_selection(
    root: Cid,
    selection: &Selection,
    source: &dyn BlockSource,
    visit: &mut dyn FnMut(&Cid, &Buf) -> Result<(), SinkError>,
) -> Result<Totals, RunError> {
    let mut missing = |cid: &Cid| Err(RunError::Missing { cid: *cid });
    follow(Walk::select(root, selection)?, source, visit, &mut missing)
}

/// Walks over what `source` has of a partial DAG: a block that is not here is told to `absent` and passed over
/// with all below it.
///
/// # Errors
/// A block cannot be read, the way to the target is missing or does not exist, or the visitor refuses.
pub fn run_partial(
    root: Cid,
    scope: &Scope,
    source: &dyn BlockSource,
    visit: &mut dyn FnMut(&Cid, &Buf) -> Result<(), SinkError>,
    absent: &mut dyn FnMut(&Cid),
) -> Result<Totals, RunError> {
    let mut passed = |cid: &Cid| {
        absent(cid);
        Ok(())
    };
    follow(Walk::new(root, scope)?, source, visit, &mut passed)
}

fn follow(
    mut walk: Walk,
    source: &dyn BlockSource,
    visit: &mut dyn FnMut(&Cid, &Buf) -> Result<(), SinkError>,
    absent: &mut dyn FnMut(&Cid) -> Result<(), RunError>,
) -> Result<Totals, RunError> {
    let mut totals = Totals::default();
    while let Some(cid) = walk.want().copied() {
        let Some(data) = source.block(&cid)? else {
            absent(&cid)?;
            walk.on_absent().map_err(|_| RunError::Missing { cid })?;
            continue;
        };
        let repeat = walk.is_repeat();
        walk.on_block(&data)?;
        if repeat {
            continue;
        }
        visit(&cid, &data)?;
        totals.blocks += 1;
        totals.bytes = totals.bytes.saturating_add(Bytes::of(&data));
    }
    totals.target = walk.target().copied();
    Ok(totals)
}
