//! Looking things up: paths, listings, file content.

use std::collections::HashSet;
use std::io::Write;

use bytes::Bytes as Buf;
use cid::Cid;
use pop_units::Bytes;

use super::node::{FsNode, Kind};
use super::{Entry, ExportError, hamt, tx_root};
use crate::block::identity;
use crate::codec::{Codec, CodecError, cbor, pb};
use crate::source::{BlockSource, SourceError};
use crate::walk::{self, MAX_WAITING, RunError, Scope, WalkError, What};

/// Deepest chain of nodes in a file; balanced files stay in single digits and trickled ones near twenty.
const MAX_FILE_DEPTH: u32 = 64;

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

/// Returns the entries of a directory; those of a sharded one sorted by name.
///
/// # Errors
/// It is no directory, or a block is missing or not well formed.
pub fn list(dir: &Cid, source: &dyn BlockSource) -> Result<Vec<Entry>, ExportError> {
    let data = load(dir, source)?;
    let wrong = ExportError::Kind { cid: *dir, wanted: "directory" };
    let fault = |source| ExportError::Codec { cid: *dir, source };
    match Codec::from_code(dir.codec()) {
        Some(Codec::DagCbor) => {
            cbor::links(&data).map_err(CodecError::Cbor).map_err(fault)?;
            tx_root::entries(&data).ok_or(wrong)
        }
        Some(Codec::DagPb) => {
            let (node, fs) = decode(dir, &data)?;
            match fs.kind {
                Kind::Directory => Ok(node.links.iter().map(|link| entry(link, 0)).collect()),
                Kind::HamtShard => list_shards(dir, source),
                Kind::File | Kind::Raw | Kind::Symlink | Kind::Metadata => Err(wrong),
            }
        }
        Some(Codec::Raw | Codec::DagJson) | None => Err(wrong),
    }
}

/// Collects the entries of all shards. Every entry must lie where its name hashes to, so that neither a
/// shared shard nor an endless one can make a listing longer than its blocks.
fn list_shards(dir: &Cid, source: &dyn BlockSource) -> Result<Vec<Entry>, ExportError> {
    let mut entries = Vec::new();
    let mut seen = HashSet::from([*dir]);
    let mut waiting = vec![(*dir, Vec::new())];
    while let Some((cid, way)) = waiting.pop() {
        let data = load(&cid, source)?;
        let (node, fs) = decode(&cid, &data)?;
        let malformed = || ExportError::Shard { cid };
        if fs.kind != Kind::HamtShard || way.len() >= hamt::LEVELS {
            return Err(malformed());
        }
        hamt::check(&fs).map_err(|fault| ExportError::Codec { cid, source: CodecError::UnixFs(fault) })?;
        for link in &node.links {
            let (prefix, name) = link.name.and_then(|name| name.split_at_checked(2)).ok_or_else(malformed)?;
            let mut way: Vec<u8> = way.clone();
            let byte = u8::from_str_radix(prefix, 16).map_err(|_| malformed())?;
            if format!("{byte:02X}") != prefix {
                return Err(malformed());
            }
            way.push(byte);
            if !name.is_empty() {
                if !hamt::hash(name).starts_with(&way) {
                    return Err(malformed());
                }
                entries.push(entry(link, 2));
            } else if seen.insert(link.cid) {
                waiting.push((link.cid, way));
            } else {
                return Err(malformed());
            }
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn entry(link: &pb::Link<'_>, skip: usize) -> Entry {
    let name = link.name.unwrap_or_default();
    let tsize = Bytes::new(link.tsize.unwrap_or_default());
    Entry { name: name.get(skip..).unwrap_or_default().to_owned(), cid: link.cid, tsize }
}

/// Returns where a symlink leads.
///
/// # Errors
/// It is no symlink, or its block is missing or cannot be read.
pub fn symlink_target(cid: &Cid, source: &dyn BlockSource) -> Result<String, ExportError> {
    let wrong = || ExportError::Kind { cid: *cid, wanted: "symlink" };
    if cid.codec() != Codec::DagPb.code() {
        return Err(wrong());
    }
    let data = load(cid, source)?;
    let (_, fs) = decode(cid, &data)?;
    if fs.kind != Kind::Symlink {
        return Err(wrong());
    }
    String::from_utf8(fs.data.unwrap_or_default().to_vec())
        .map_err(|_| ExportError::Codec { cid: *cid, source: CodecError::UnixFs(pb::Fault::Name) })
}

/// Writes the content of a file in order and returns its size.
///
/// `progress` is called with the size of each piece once it was written. What nodes claim about sizes must
/// hold, which also bounds the work by the size that is claimed at the root.
///
/// # Errors
/// It is no file, a block is missing or not well formed, or the writer gives an error.
pub fn write_file(
    root: &Cid,
    source: &dyn BlockSource,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Bytes),
) -> Result<Bytes, ExportError> {
    let mut written = Bytes::ZERO;
    let mut put = |content: &[u8]| -> Result<(), ExportError> {
        if content.is_empty() {
            return Ok(());
        }
        out.write_all(content).map_err(ExportError::Write)?;
        let size = Bytes::of(content);
        written = written.saturating_add(size);
        progress(size);
        Ok(())
    };
    let mut waiting = vec![(*root, None, 0)];
    while let Some((cid, claimed, depth)) = waiting.pop() {
        let data = load(&cid, source)?;
        if cid.codec() == Codec::Raw.code() {
            if claimed.is_some_and(|claimed| Bytes::new(claimed) != Bytes::of(&data)) {
                return Err(ExportError::Size { cid });
            }
            put(&data)?;
            continue;
        }
        let (node, fs) = file_node(&cid, &data, claimed)?;
        put(fs.data.unwrap_or_default())?;
        if depth == MAX_FILE_DEPTH || waiting.len() + node.links.len() > MAX_WAITING {
            return Err(ExportError::TooDeep { cid });
        }
        let children = node.links.iter().zip(&fs.blocksizes).rev();
        let filled = children.filter(|(_, size)| **size > 0);
        waiting.extend(filled.map(|(link, size)| (link.cid, Some(*size), depth + 1)));
    }
    Ok(written)
}

/// Reads a node of a file and checks its sizes.
fn file_node<'a>(
    cid: &Cid,
    data: &'a [u8],
    claimed: Option<u64>,
) -> Result<(pb::Node<'a>, FsNode<'a>), ExportError> {
    let wrong = || ExportError::Kind { cid: *cid, wanted: "file" };
    if cid.codec() != Codec::DagPb.code() {
        return Err(wrong());
    }
    let (node, fs) = decode(cid, data)?;
    if !matches!(fs.kind, Kind::File | Kind::Raw) {
        return Err(wrong());
    }
    let size = fs.content_size().filter(|size| claimed.is_none_or(|claimed| claimed == *size));
    if size.is_none() || node.links.len() != fs.blocksizes.len() {
        return Err(ExportError::Size { cid: *cid });
    }
    Ok((node, fs))
}

fn decode<'a>(cid: &Cid, data: &'a [u8]) -> Result<(pb::Node<'a>, FsNode<'a>), ExportError> {
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
