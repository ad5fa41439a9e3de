//! Directories: one block while it is small, shards above that.

use pop_units::Bytes;

use super::node::{FsNode, Kind};
use super::profile::{Estimate, Profile};
use super::{Entry, ImportError, hamt};
use crate::block::Block;
use crate::codec::pb;
use crate::source::BlockSink;

/// Longest name of an entry: four times what file systems allow, and a full shard still fits a block.
pub const MAX_NAME: usize = 1024;

/// Hands the blocks of a directory to `sink` and returns its root block with the size of the whole DAG.
///
/// Entries may come in any order; the blocks depend on the set alone.
///
/// # Errors
/// A name cannot be written or stands twice, or the sink gives an error.
pub fn directory(
    mut entries: Vec<Entry>,
    profile: &Profile,
    sink: &mut dyn BlockSink,
) -> Result<(Block, Bytes), ImportError> {
    profile.check()?;
    sort(&mut entries)?;
    let estimate = |entry: &Entry| entry.name.len() + entry.cid.encoded_len();
    let names_and_cids: usize = entries.iter().map(estimate).sum();
    // A block is longer than its names and CIDs, so that this decides for both estimates.
    if names_and_cids > profile.shard_above.as_usize() {
        return hamt::write(&entries, profile, sink);
    }
    let data = FsNode::new(Kind::Directory).encode();
    let links = entries.iter().map(|entry| pb::Link {
        cid: entry.cid,
        name: Some(&entry.name),
        tsize: Some(entry.tsize.get()),
    });
    let block = profile.block(pb::Node { links: links.collect(), data: Some(&data) }.encode());
    if profile.estimate == Estimate::Block && block.size() > profile.shard_above {
        return hamt::write(&entries, profile, sink);
    }
    let tsize = entries.iter().try_fold(block.size(), |sum, entry| sum.checked_add(entry.tsize))?;
    sink.accept(block.clone())?;
    Ok((block, tsize))
}

/// Sorts by name and checks the names.
pub(super) fn sort(entries: &mut [Entry]) -> Result<(), ImportError> {
    if let Some(entry) = entries.iter().find(|entry| !is_name(&entry.name)) {
        return Err(ImportError::Name { name: entry.name.clone() });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    match entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => Err(ImportError::Duplicate { name: pair[0].name.clone() }),
        None => Ok(()),
    }
}

/// Returns true for what can name an entry, here and on a disk.
pub(super) fn is_name(name: &str) -> bool {
    let special = matches!(name, "" | "." | "..");
    !special && name.len() <= MAX_NAME && !name.contains(['/', '\0'])
}
