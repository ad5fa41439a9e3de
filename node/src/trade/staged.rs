//! The staging of a retrieval: its name, what of the traversal it holds, and its commit.

use pop_dag::unixfs::{self, EntryKind};
use pop_dag::{Block, Cid, Scope, Walk, What};
use pop_store::{Ref, RefKey, Staging, Store};
use pop_units::Bytes;

use super::error::FetchError;
use super::fetch::FetchRequest;
use super::shared::unix_seconds;
use crate::content::archive::names;

/// Bytes of a staging's name; a longer path is named by its hash.
const NAME: usize = 160;

/// Returns the name of the staging that content comes into: what was staged by an earlier call is found again.
pub(super) fn staging_name(request: &FetchRequest) -> String {
    let path = request.path.join("/");
    let name = format!("fetch:{}/{path}", request.root);
    match name.len() <= NAME && request.path.iter().all(|segment| !segment.contains('/')) {
        true => name,
        false => {
            let bytes: Vec<u8> = request.path.iter().flat_map(|s| s.bytes().chain([0])).collect();
            let hash = Block::of(pop_dag::Codec::Raw, bytes.into());
            format!("fetch:{}#{}", request.root, hash.cid())
        }
    }
}

/// Opens the staging; its root makes what is in it survive a restart. Blocks.
pub(super) fn stage(store: &Store, name: &str, root: Cid) -> Result<Staging, pop_store::Error> {
    let staging = store.stage(name)?;
    if staging.roots()? != [root] {
        staging.set_roots(&[root])?;
    }
    Ok(staging)
}

/// How far a traversal gets with what is here.
pub(super) struct Held {
    pub(super) walk: Walk,
    pub(super) blocks: u64,
    pub(super) bytes: Bytes,
}

/// Follows the traversal over what is here, and takes hold of it. Blocks.
pub(super) fn resume(staging: &Staging, root: Cid, scope: &Scope) -> Result<Held, FetchError> {
    let no_path = |e| FetchError::NoPath(Box::new(e));
    let mut held = Held { walk: Walk::new(root, scope).map_err(no_path)?, blocks: 0, bytes: Bytes::ZERO };
    while let Some(cid) = held.walk.want().copied() {
        let Some(data) = staging.get(&cid)? else { break };
        // Checked again: a block that rotted on the disk is bought again rather than kept.
        let Ok(block) = Block::verified(cid, data) else { break };
        staging.put(&block)?;
        held.walk.on_block(block.data()).map_err(no_path)?;
        held.blocks = held.blocks.saturating_add(1);
        held.bytes = held.bytes.saturating_add(block.size());
    }
    Ok(held)
}

/// Makes what came permanent. Blocks.
pub(super) fn keep(
    staging: Staging,
    request: &FetchRequest,
    target: Option<Cid>,
) -> Result<(), pop_store::Error> {
    let keys = match target {
        Some(cid) if !request.path.is_empty() => {
            let size = stated_size(&staging, request, cid).unwrap_or(staging.bytes());
            vec![RefKey::new(request.path.join("/"), cid, size)]
        }
        Some(_) | None => names(&request.root, &staging),
    };
    let complete = request.path.is_empty() && (request.what == What::All || is_whole(&staging, request));
    let found = Ref { keys, complete, last_used: unix_seconds(), ..Ref::new(request.root) };
    staging.commit(found)
}

/// Returns whether nothing below the root is missing: what it takes to read a file is all of it.
fn is_whole(staging: &Staging, request: &FetchRequest) -> bool {
    let is_all = |kind| match request.what {
        What::Block => matches!(kind, EntryKind::Raw | EntryKind::Symlink),
        What::Entity => matches!(kind, EntryKind::File | EntryKind::Raw | EntryKind::Symlink),
        What::All => true,
    };
    unixfs::resolve(&request.root, &[], staging).is_ok_and(|found| is_all(found.kind))
}

/// Returns the size that its directory states for what the path leads to.
fn stated_size(staging: &Staging, request: &FetchRequest, target: Cid) -> Option<Bytes> {
    let (mut at, mut size) = (request.root, None);
    for name in &request.path {
        let entry = unixfs::lookup(&at, name, staging).ok()??;
        (at, size) = (entry.cid, Some(entry.tsize));
    }
    size.filter(|_| at == target)
}
