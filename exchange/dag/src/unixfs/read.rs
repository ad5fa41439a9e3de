//! Looking things up: what a path leads to, what a block is, where a symlink leads.

use bytes::Bytes as Buf;
use cid::Cid;
use pop_units::Bytes;

use super::node::{FsNode, Kind};
use super::{ExportError, tx_root};
use crate::block::identity;
use crate::codec::{Codec, CodecError, cbor, pb};
use crate::source::{BlockSource, SourceError};
use crate::walk::{self, RunError, Scope, WalkError, What};

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The block.
    pub cid: Cid,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of a file or block, length of a symlink's target, zero for a directory.
    pub size: Bytes,
}

/// What an entry is to somebody who opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A UnixFS file.
    File,
    /// Plain bytes: a file of one block, or data.
    Raw,
    /// A directory, in one block or sharded, or a transaction's root.
    Directory,
    /// A symlink.
    Symlink,
    /// A dag-cbor or other value.
    Value,
}

/// Why a path leads nowhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// There is no such entry.
    #[error("no entry {segment:?}")]
    NotFound {
        /// The part of the path.
        segment: String,
    },
    /// The path goes on below something that has no entries.
    #[error("{segment:?} is looked up in {cid}, which is no directory")]
    NotADirectory {
        /// The part of the path.
        segment: String,
        /// What has no entries.
        cid: Cid,
    },
    /// A block on the way is not here.
    #[error("block {cid} is not here")]
    Missing {
        /// The block.
        cid: Cid,
    },
    /// A block on the way cannot be read.
    #[error("block {cid} cannot be read")]
    Codec {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        #[source]
        source: CodecError,
    },
    /// The way is too long.
    #[error("the path does not end")]
    TooDeep,
    /// Blocks could not be read.
    #[error("blocks could not be read")]
    Source(#[from] SourceError),
}

impl From<RunError> for ResolveError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Missing { cid } => Self::Missing { cid },
            RunError::Source(source) => Self::Source(source),
            RunError::Visit(visit) => Self::Source(SourceError(visit.0)),
            RunError::Walk(walk) => (*walk).into(),
        }
    }
}

impl From<WalkError> for ResolveError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::NotFound { segment } => Self::NotFound { segment },
            WalkError::NotADirectory { segment, cid } => Self::NotADirectory { segment, cid },
            WalkError::Codec { cid, source } => Self::Codec { cid, source },
            WalkError::TooDeep { .. }
            | WalkError::TooWide { .. }
            | WalkError::TooLong { .. }
            | WalkError::Over
            | WalkError::NotALeaf { .. } => Self::TooDeep,
        }
    }
}

/// Follows `path` from `root`. Symlinks on the way are not followed.
///
/// # Errors
/// The path does not exist, or a block on the way is missing or cannot be read.
pub fn resolve(root: &Cid, path: &[String], source: &dyn BlockSource) -> Result<Resolved, ResolveError> {
    let scope = Scope { path: path.to_vec(), what: What::Block };
    let mut last = (*root, Buf::new());
    let totals = walk::run(*root, &scope, source, &mut |cid: &Cid, data: &Buf| {
        last = (*cid, data.clone());
        Ok(())
    })?;
    let cid = totals.target.ok_or(ResolveError::TooDeep)?;
    let data = match identity(&cid) {
        Some(data) => Buf::copy_from_slice(data),
        None if last.0 == cid => last.1,
        None => source.block(&cid)?.ok_or(ResolveError::Missing { cid })?,
    };
    let (kind, size) = describe(&cid, &data).map_err(|source| ResolveError::Codec { cid, source })?;
    Ok(Resolved { cid, kind, size })
}

/// Returns what a block is and the size that [`Resolved`] states.
pub(super) fn describe(cid: &Cid, data: &[u8]) -> Result<(EntryKind, Bytes), CodecError> {
    match Codec::from_code(cid.codec()) {
        Some(Codec::Raw) => Ok((EntryKind::Raw, Bytes::of(data))),
        Some(Codec::DagPb) => {
            let node = pb::Node::decode(data).map_err(CodecError::Pb)?;
            let fs = FsNode::decode(node.data.unwrap_or_default()).map_err(CodecError::UnixFs)?;
            let size = || fs.content_size().map(Bytes::new).ok_or(CodecError::UnixFs(pb::Fault::Size));
            match fs.kind {
                Kind::File | Kind::Raw => Ok((EntryKind::File, size()?)),
                Kind::Directory | Kind::HamtShard => Ok((EntryKind::Directory, Bytes::ZERO)),
                Kind::Symlink => Ok((EntryKind::Symlink, Bytes::of(fs.data.unwrap_or_default()))),
                Kind::Metadata => Ok((EntryKind::Value, Bytes::of(data))),
            }
        }
        Some(Codec::DagCbor) => {
            cbor::links(data)?;
            match tx_root::entries(data) {
                Some(_) => Ok((EntryKind::Directory, Bytes::ZERO)),
                None => Ok((EntryKind::Value, Bytes::of(data))),
            }
        }
        Some(Codec::DagJson) | None => Ok((EntryKind::Value, Bytes::of(data))),
    }
}

/// Returns where a symlink leads.
///
/// # Errors
/// It is no symlink, or its block is missing or cannot be read.
pub fn symlink_target(cid: &Cid, source: &dyn BlockSource) -> Result<String, ExportError> {
    if cid.codec() != Codec::DagPb.code() {
        return Err(ExportError::Kind { cid: *cid, wanted: "symlink" });
    }
    target_of(cid, &load(cid, source)?)
}

/// Returns where a symlink leads whose block is at hand.
pub(super) fn target_of(cid: &Cid, data: &[u8]) -> Result<String, ExportError> {
    let (_, fs) = decode(cid, data)?;
    if fs.kind != Kind::Symlink {
        return Err(ExportError::Kind { cid: *cid, wanted: "symlink" });
    }
    String::from_utf8(fs.data.unwrap_or_default().to_vec())
        .map_err(|_| ExportError::Codec { cid: *cid, source: CodecError::UnixFs(pb::Fault::Name) })
}

/// Reads a block as a UnixFS node.
pub(super) fn decode<'a>(cid: &Cid, data: &'a [u8]) -> Result<(pb::Node<'a>, FsNode<'a>), ExportError> {
    let fault = |source| ExportError::Codec { cid: *cid, source };
    let node = pb::Node::decode(data).map_err(CodecError::Pb).map_err(fault)?;
    let fs = FsNode::decode(node.data.unwrap_or_default()).map_err(CodecError::UnixFs).map_err(fault)?;
    Ok((node, fs))
}

pub(super) fn load(cid: &Cid, source: &dyn BlockSource) -> Result<Buf, ExportError> {
    match identity(cid) {
        Some(data) => Ok(Buf::copy_from_slice(data)),
        None => source.block(cid)?.ok_or(ExportError::Missing { cid: *cid }),
    }
}
