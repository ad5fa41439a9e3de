//! What was found out lately, kept so that the next request needs no disk and no other thread.
//!
//! Everything here was verified when it was read. It holds only as long as no block has left this node since:
//! what was removed is not served from memory.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pop_dag::unixfs::FileNode;
use pop_dag::{Buf, Cid};
use pop_units::Bytes;
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use crate::resolve::Found;

/// The largest block that is kept. Larger ones are few in a second, and cost a disk more than a thread.
const SMALL: Bytes = Bytes::new(64 << 10);
/// Memory for blocks.
const BLOCKS: Bytes = Bytes::new(24 << 20);
/// Memory for resolved paths.
const PATHS: Bytes = Bytes::new(4 << 20);
/// Memory for nodes of files, at about 50 bytes for each leaf: enough for 300 GiB in leaves of 1 MiB.
const NODES: Bytes = Bytes::new(16 << 20);
/// Leaves whose checksum was compared, at about 40 bytes each.
const CHECKED: usize = 1 << 16;
/// Whole blocks of 2 MiB at most that are in memory at once without being counted elsewhere.
const TURNS: usize = 8;
/// Types that were told by content, at about 150 bytes each.
const TYPES: usize = 1 << 15;
/// What an entry takes beside its content: its key, its place in the cache and what the allocator adds.
const ENTRY: u64 = 256;

/// What is remembered.
pub(crate) struct Memory {
    blocks: Cache<Cid, Kept<Buf>, ByWeight>,
    paths: Cache<Path, Kept<Found>, ByWeight>,
    nodes: Cache<Cid, Kept<Arc<FileNode>>, ByWeight>,
    types: Cache<Cid, &'static str>,
    checked: Cache<u128, u64>,
    turns: [Mutex<()>; TURNS],
}

/// Something that holds as long as nothing was removed since.
#[derive(Clone)]
struct Kept<T> {
    value: T,
    removals: u64,
}

/// A root and the way from it.
#[derive(PartialEq, Eq, Hash)]
struct Path {
    root: Cid,
    segments: Vec<String>,
}

/// A [`Path`] that belongs to somebody else.
struct PathRef<'a> {
    root: &'a Cid,
    segments: &'a [String],
}

impl Hash for PathRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Hash::hash(self.root, state);
        Hash::hash(self.segments, state);
    }
}

impl Equivalent<Path> for PathRef<'_> {
    fn equivalent(&self, path: &Path) -> bool {
        *self.root == path.root && self.segments == path.segments
    }
}

impl Memory {
    pub(crate) fn new() -> Self {
        let cache = |bytes: Bytes| (bytes.as_usize() / 4096, bytes.get());
        let [blocks, paths, nodes] = [BLOCKS, PATHS, NODES].map(cache);
        Self {
            blocks: Cache::with_weighter(blocks.0, blocks.1, ByWeight),
            paths: Cache::with_weighter(paths.0, paths.1, ByWeight),
            nodes: Cache::with_weighter(nodes.0, nodes.1, ByWeight),
            types: Cache::new(TYPES),
            checked: Cache::new(CHECKED),
            turns: Default::default(),
        }
    }

    /// Returns a block, if nothing was removed since it was read.
    pub(crate) fn block(&self, cid: &Cid, removals: u64) -> Option<Buf> {
        self.blocks.get(cid).filter(|kept| kept.removals == removals).map(|kept| kept.value)
    }

    /// Keeps a block that is small. `removals` was looked at before the block was read.
    pub(crate) fn keep_block(&self, cid: &Cid, block: &Buf, removals: u64) {
        if Bytes::of(block) <= SMALL {
            self.blocks.insert(*cid, Kept { value: block.clone(), removals });
        }
    }

    /// Returns what a path leads to, if nothing was removed since it was followed.
    pub(crate) fn path(&self, root: &Cid, segments: &[String], removals: u64) -> Option<Found> {
        let kept = self.paths.get(&PathRef { root, segments });
        kept.filter(|kept| kept.removals == removals).map(|kept| kept.value)
    }

    /// Keeps what a path leads to. `removals` was looked at before it was followed.
    pub(crate) fn keep_path(&self, root: &Cid, segments: &[String], found: &Found, removals: u64) {
        let path = Path { root: *root, segments: segments.to_vec() };
        self.paths.insert(path, Kept { value: found.clone(), removals });
    }

    /// Returns a node of a file, if nothing was removed since it was read.
    pub(crate) fn node(&self, cid: &Cid, removals: u64) -> Option<Arc<FileNode>> {
        self.nodes.get(cid).filter(|kept| kept.removals == removals).map(|kept| kept.value)
    }

    /// Keeps a node of a file, unless it is a leaf or holds content, and with it its block.
    pub(crate) fn keep_node(&self, cid: &Cid, node: &Arc<FileNode>, removals: u64) {
        if node.parts() > 0 && node.own().is_empty() {
            self.nodes.insert(*cid, Kept { value: Arc::clone(node), removals });
        }
    }

    /// Returns the size of a leaf that was read whole and compared with its checksum since the start.
    pub(crate) fn checked(&self, cid: &Cid) -> Option<u64> {
        self.checked.get(&fingerprint(cid))
    }

    /// Notes that a leaf was read whole.
    pub(crate) fn keep_checked(&self, cid: &Cid, size: u64) {
        self.checked.insert(fingerprint(cid), size);
    }

    /// Waits for a turn to have a whole block in memory that is counted nowhere else.
    pub(crate) fn turn(&self, cid: &Cid) -> MutexGuard<'_, ()> {
        let index = usize::from(fingerprint(cid).to_be_bytes()[0]) % TURNS;
        self.turns[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the type that the content of a file told.
    pub(crate) fn content_type(&self, cid: &Cid) -> Option<&'static str> {
        self.types.get(cid)
    }

    /// Keeps the type that the content of a file told. It holds for ever.
    pub(crate) fn keep_content_type(&self, cid: &Cid, told: &'static str) {
        self.types.insert(*cid, told);
    }
}

/// Returns the first bytes of a digest: no two blocks share them.
fn fingerprint(cid: &Cid) -> u128 {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(cid.hash().digest()) {
        *to = *from;
    }
    u128::from_be_bytes(bytes)
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<Cid, Kept<Arc<FileNode>>> for ByWeight {
    fn weight(&self, _: &Cid, kept: &Kept<Arc<FileNode>>) -> u64 {
        let parts = u64::try_from(kept.value.parts()).unwrap_or(u64::MAX);
        parts.saturating_mul(50).saturating_add(ENTRY)
    }
}

impl Weighter<Cid, Kept<Buf>> for ByWeight {
    fn weight(&self, _: &Cid, kept: &Kept<Buf>) -> u64 {
        Bytes::of(&kept.value).get().saturating_add(ENTRY)
    }
}

impl Weighter<Path, Kept<Found>> for ByWeight {
    fn weight(&self, path: &Path, kept: &Kept<Found>) -> u64 {
        let text = path.segments.iter().chain(&kept.value.rest);
        let text = text.map(|segment| Bytes::of(segment.as_bytes()).get().saturating_add(32));
        let cids = u64::try_from(size_of_val(kept.value.roots.as_slice())).unwrap_or(u64::MAX);
        text.fold(cids.saturating_add(2 * ENTRY), u64::saturating_add)
    }
}

#[cfg(test)]
mod tests;
