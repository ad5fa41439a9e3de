//! One step of a path: from a block to the next one.

use cid::Cid;

use super::WalkError;
use crate::codec::{Codec, CodecError, Selected, cbor, is_linkless, json, pb};
use crate::unixfs::node::{FsNode, Kind};
use crate::unixfs::shard::{Found, Shape};
use crate::unixfs::tx_root;

/// Where a step leads.
pub(super) enum Next {
    /// To another block, `used` segments further.
    Child { cid: Cid, used: usize },
    /// To another shard of the same directory; the segment stays.
    Shard(Cid),
    /// The path ends inside this block.
    Inside,
}

/// Looks up the first of `path` in a block that lies `shards` below the root of its sharded directory.
pub(super) fn next(cid: &Cid, data: &[u8], path: &[String], shards: usize) -> Result<Next, WalkError> {
    let segment = path.first().ok_or(WalkError::Over)?;
    match Codec::from_code(cid.codec()) {
        Some(Codec::DagPb) => in_directory(cid, data, segment, shards),
        Some(Codec::DagCbor) => in_cbor(cid, data, path),
        Some(Codec::Raw) => Err(WalkError::NotADirectory { segment: segment.clone(), cid: *cid }),
        Some(Codec::DagJson) => in_json(cid, data, path),
        None if is_linkless(cid.codec()) => {
            Err(WalkError::NotADirectory { segment: segment.clone(), cid: *cid })
        }
        None => Err(WalkError::Codec { cid: *cid, source: CodecError::Unsupported(cid.codec()) }),
    }
}

fn in_directory(cid: &Cid, data: &[u8], segment: &str, shards: usize) -> Result<Next, WalkError> {
    let fault = |source| WalkError::Codec { cid: *cid, source };
    let node = pb::Node::decode(data).map_err(CodecError::Pb).map_err(fault)?;
    let fs = FsNode::decode(node.data.unwrap_or_default()).map_err(CodecError::UnixFs).map_err(fault)?;
    let not_found = || WalkError::NotFound { segment: segment.to_owned() };
    match fs.kind {
        Kind::Directory => {
            let link = node.links.iter().find(|link| link.name.unwrap_or_default() == segment);
            link.map(|link| Next::Child { cid: link.cid, used: 1 }).ok_or_else(not_found)
        }
        Kind::HamtShard => {
            let shape = Shape::of(&node, &fs).map_err(CodecError::UnixFs).map_err(fault)?;
            match shape.find(&node, segment, shards) {
                Some(Found::Shard(cid)) => Ok(Next::Shard(cid)),
                Some(Found::Entry(link)) => Ok(Next::Child { cid: link.cid, used: 1 }),
                None => Err(not_found()),
            }
        }
        Kind::File | Kind::Raw | Kind::Symlink | Kind::Metadata => {
            Err(WalkError::NotADirectory { segment: segment.to_owned(), cid: *cid })
        }
    }
}

/// An entry of a transaction's root goes before the map that it is written as.
fn in_cbor(cid: &Cid, data: &[u8], path: &[String]) -> Result<Next, WalkError> {
    let fault = |fault| WalkError::Codec { cid: *cid, source: CodecError::Cbor(fault) };
    let selected = cbor::select(data, path).map_err(fault)?;
    if let Some(entries) = tx_root::entries(data) {
        let found = entries.into_iter().find(|entry| Some(&entry.name) == path.first());
        let segment = || path.first().cloned().unwrap_or_default();
        let found = found.ok_or_else(|| WalkError::NotFound { segment: segment() })?;
        return Ok(Next::Child { cid: found.cid, used: 1 });
    }
    inside(cid, selected, path)
}

fn in_json(cid: &Cid, data: &[u8], path: &[String]) -> Result<Next, WalkError> {
    let fault = |fault| WalkError::Codec { cid: *cid, source: CodecError::Json(fault) };
    inside(cid, json::select(data, path).map_err(fault)?, path)
}

/// Takes what a path leads to inside a block of values for the step.
fn inside(cid: &Cid, selected: Selected, path: &[String]) -> Result<Next, WalkError> {
    let segment = |index: usize| path.get(index).cloned().unwrap_or_default();
    match selected {
        Selected::Link { cid, used } => Ok(Next::Child { cid, used }),
        Selected::Inside => Ok(Next::Inside),
        Selected::NotFound(index) => Err(WalkError::NotFound { segment: segment(index) }),
        Selected::NoMembers(index) => Err(WalkError::NotADirectory { segment: segment(index), cid: *cid }),
    }
}
