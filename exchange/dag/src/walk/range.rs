//! Where the parts of a file lie, for walks that visit only some of them.
//!
//! A part must have the size that is claimed for it. So the parts of one level never overlap, and at most two of
//! them are wanted in part: those that hold the first and the last byte.

use std::ops::Range;

use cid::Cid;

use super::WalkError;
use crate::block::is_leaf;
use crate::codec::{CodecError, pb};
use crate::unixfs::node::{FsNode, Kind};

/// Returns the size of the file that a block is the root of.
pub(super) fn size(cid: &Cid, data: &[u8]) -> Result<u64, WalkError> {
    let (_, fs) = node(cid, data)?;
    fs.content_size().ok_or_else(|| fault(cid, pb::Fault::Size))
}

/// Returns the parts that a node of a file links to and where each lies, given where the node does.
pub(super) fn parts(cid: &Cid, data: &[u8], at: Range<u64>) -> Result<Vec<(Cid, Range<u64>)>, WalkError> {
    if is_leaf(cid) {
        return Ok(Vec::new());
    }
    let (node, fs) = node(cid, data)?;
    let claimed = at.end.saturating_sub(at.start);
    if fs.content_size() != Some(claimed) || node.links.len() != fs.blocksizes.len() {
        return Err(fault(cid, pb::Fault::Size));
    }
    // Content of the node itself stands before that of its parts. No sum is above the node's, which was checked.
    let own = u64::try_from(fs.data.unwrap_or_default().len()).unwrap_or(u64::MAX);
    let mut next = at.start.saturating_add(own);
    let part = |(link, size): (&pb::Link<'_>, &u64)| {
        let start = next;
        next = start.saturating_add(*size);
        (link.cid, start..next)
    };
    Ok(node.links.iter().zip(&fs.blocksizes).map(part).collect())
}

/// Returns true when two ranges have a byte in common.
pub(super) fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start.max(b.start) < a.end.min(b.end)
}

/// Returns true when all of `inner` lies in `outer`.
pub(super) fn covers(outer: &Range<u64>, inner: &Range<u64>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn node<'a>(cid: &Cid, data: &'a [u8]) -> Result<(pb::Node<'a>, FsNode<'a>), WalkError> {
    if cid.codec() != crate::Codec::DagPb.code() {
        return Err(fault(cid, pb::Fault::Kind));
    }
    let wrong = |source| WalkError::Codec { cid: *cid, source };
    let node = pb::Node::decode(data).map_err(CodecError::Pb).map_err(wrong)?;
    let fs = FsNode::decode(node.data.unwrap_or_default()).map_err(CodecError::UnixFs).map_err(wrong)?;
    match fs.kind {
        Kind::File | Kind::Raw => Ok((node, fs)),
        Kind::Directory | Kind::HamtShard | Kind::Symlink | Kind::Metadata => {
            Err(fault(cid, pb::Fault::Kind))
        }
    }
}

fn fault(cid: &Cid, fault: pb::Fault) -> WalkError {
    WalkError::Codec { cid: *cid, source: CodecError::UnixFs(fault) }
}
