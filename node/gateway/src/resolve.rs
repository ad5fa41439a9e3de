//! From a path to what it leads to.
//!
//! The way is the one that CARs and other nodes take, [`Walk`]. Symlinks are not followed, at its end or before.

use http::StatusCode;
use pop_dag::unixfs::{self, EntryKind};
use pop_dag::{
    BlockSource, Buf, Cid, Codec, CodecError, Scope, SourceError, Walk, WalkError, What, identity,
};
use pop_units::Bytes;
use std::time::Duration;

use crate::asked::Target;
use crate::refusal::{Keep, Refusal};
use crate::view::{Gap, View};

/// Multicodec of plain CBOR.
const CBOR: u64 = 0x51;
/// Multicodec of plain JSON.
const JSON: u64 = 0x0200;
/// What a verified DAG does not have, it will never have.
const ABSENT: Duration = Duration::from_secs(86_400);
/// A malformed DAG stays malformed; shorter, as readers get better.
pub(crate) const MALFORMED: Keep = Keep::For(Duration::from_secs(3600));

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The roots of the path's segments, from the first root to the terminal; shards of directories are none.
    pub(crate) roots: Vec<Cid>,
    /// How many segments lead to each of the roots.
    pub(crate) starts: Vec<usize>,
    /// The terminal block.
    pub(crate) cid: Cid,
    pub(crate) kind: Kind,
    /// Segments that lead on inside the terminal block, which has no link there.
    pub(crate) rest: Vec<String>,
}

/// What the terminal block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A UnixFS file or raw block of so many bytes.
    File(Bytes),
    /// A directory, in one block or sharded, or a transaction's root.
    Directory,
    Symlink,
    /// A block of dag-cbor, dag-json, cbor or json.
    Value,
    /// A block of a codec that is not known here.
    Other,
    /// A block of UnixFS that breaks its rules, or holds no content: good for nothing but as a block.
    Malformed,
}

impl Found {
    /// Returns why there is no content, when the block is [`Kind::Malformed`].
    pub(crate) fn refusal(&self) -> Refusal {
        let what = format!("{} is no well-formed UnixFS node", self.cid);
        let hint = "The block itself is to be had with format=raw.";
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, what).hint(hint).keep(MALFORMED)
    }
}

/// Follows a path over verified blocks. Symlinks are not followed.
///
/// # Errors
/// The path does not exist, a block on it is malformed, or is not to be had.
pub(crate) async fn find(view: &View, target: &Target) -> Result<Found, Refusal> {
    let site = view.site();
    let removals = site.changes();
    if let Some(found) = site.memory.path(&target.root, &target.segments, removals) {
        return Ok(found);
    }
    let (root, path) = (target.root, target.segments.clone());
    let found = view.read_small(move |blocks| follow(blocks, root, &path)).await?;
    // What is on its way may go again without having been here.
    if !view.has_fetched() {
        site.memory.keep_path(&target.root, &target.segments, &found, removals);
    }
    Ok(found)
}

/// Follows a path over the blocks that are here.
pub(crate) fn follow(blocks: &dyn BlockSource, root: Cid, path: &[String]) -> Result<Found, Gap> {
    let scope = Scope { path: path.to_vec(), what: What::Block };
    let mut walk = match Walk::new(root, &scope) {
        Ok(walk) => walk,
        Err(error) => return ends_in_value(error, &[root], &[0]),
    };
    let mut last = None;
    while let Some(cid) = walk.want().copied() {
        let data = blocks.block(&cid)?.ok_or(Gap::Missing(cid))?;
        if let Err(error) = walk.on_block(&data) {
            return ends_in_value(error, walk.roots(), walk.starts());
        }
        last = Some((cid, data));
    }
    let (roots, starts) = (walk.roots().to_vec(), walk.starts().to_vec());
    let cid = walk.target().copied().unwrap_or(root);
    let data = match (identity(&cid), last) {
        (Some(data), _) => Buf::copy_from_slice(data),
        (None, Some((block, data))) if block == cid => data,
        // A path may lead to a block that it has passed; the walk does not ask for it again.
        (None, _) => blocks.block(&cid)?.ok_or(Gap::Missing(cid))?,
    };
    Ok(Found { roots, starts, cid, kind: kind(&cid, data), rest: walk.rest().to_vec() })
}

/// Tells what a block is.
fn kind(cid: &Cid, data: Buf) -> Kind {
    let found = unixfs::resolve(cid, &[], &One(data)).map(|found| (found.kind, found.size));
    match (Codec::from_code(cid.codec()), found) {
        (_, Ok((EntryKind::File | EntryKind::Raw, size))) => Kind::File(size),
        (_, Ok((EntryKind::Directory, _))) => Kind::Directory,
        (_, Ok((EntryKind::Symlink, _))) => Kind::Symlink,
        (Some(Codec::DagPb | Codec::Raw), _) => Kind::Malformed,
        // Values go out as they are, well formed or not.
        (Some(Codec::DagCbor | Codec::DagJson), _) => Kind::Value,
        (None, _) => {
            if matches!(cid.codec(), CBOR | JSON) {
                Kind::Value
            } else {
                Kind::Other
            }
        }
    }
}

/// Tells what a walk's error is to the one who asked: where blocks are not looked into, the path ends there.
fn ends_in_value(error: WalkError, roots: &[Cid], starts: &[usize]) -> Result<Found, Gap> {
    let found = |cid, kind, rest| Found { roots: roots.to_vec(), starts: starts.to_vec(), cid, kind, rest };
    match error {
        WalkError::NotFound { segment } => Err(absent(format!("there is no {segment:?}"))),
        WalkError::NotADirectory { segment, cid } if matches!(cid.codec(), CBOR | JSON) => {
            Ok(found(cid, Kind::Value, vec![segment]))
        }
        WalkError::NotADirectory { segment, cid } => {
            Err(absent(format!("there is no {segment:?}: {cid} is no directory")))
        }
        WalkError::Codec { cid, source: CodecError::Unsupported(_) } => {
            Ok(found(cid, Kind::Other, vec![String::new()]))
        }
        WalkError::Codec { cid, source } => Err(malformed(&cid, &source)),
        error => {
            let refusal = Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
            Err(Gap::Failed(refusal.keep(MALFORMED)))
        }
    }
}

fn absent(what: String) -> Gap {
    Gap::Failed(Refusal::new(StatusCode::NOT_FOUND, what).keep(Keep::For(ABSENT)))
}

fn malformed(cid: &Cid, source: &CodecError) -> Gap {
    let what = format!("block {cid} cannot be read: {source}");
    Gap::Failed(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, what).keep(MALFORMED))
}

/// One block that is at hand.
struct One(Buf);

impl BlockSource for One {
    fn block(&self, _: &Cid) -> Result<Option<Buf>, SourceError> {
        Ok(Some(self.0.clone()))
    }
}

#[cfg(test)]
mod tests;
