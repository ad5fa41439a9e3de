//! Blocks for the measurements: no two alike, hashed before any clock runs.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use pop_dag::{Block, Buf, Cid, Codec};
use pop_store::{Options, Ref, Staging, Store};
use pop_units::Bytes;

/// Links of one node, far below what makes a block too large.
const FANOUT: usize = 1000;

/// A DAG: leaves of one size, nodes that link to them, and the root over those.
pub(super) struct Dag {
    pub(super) root: Block,
    pub(super) nodes: Vec<Block>,
    pub(super) leaves: Vec<Block>,
}

impl Dag {
    /// Returns what is put, the root aside.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.leaves.iter().chain(&self.nodes)
    }
}

/// Makes leaves one after the other without keeping them.
pub(super) struct Leaves {
    base: Vec<u8>,
    made: u64,
}

impl Leaves {
    /// Prepares leaves of a size.
    pub(super) fn new(len: Bytes) -> Result<Self> {
        let mut base = vec![0; len.as_usize()];
        let mut random = std::fs::File::open("/dev/urandom").context("the system's random source")?;
        random.read_exact(&mut base)?;
        Ok(Self { base, made: 0 })
    }

    /// Returns the next leaf's bytes.
    pub(super) fn bytes(&mut self) -> Buf {
        self.made += 1;
        let stamp = self.made.to_le_bytes();
        if let Some(head) = self.base.first_chunk_mut() {
            *head = stamp;
        }
        Buf::copy_from_slice(&self.base)
    }

    /// Returns the next leaf.
    pub(super) fn block(&mut self) -> Block {
        Block::of(Codec::Raw, self.bytes())
    }

    /// Returns a DAG of the next `count` leaves.
    pub(super) fn dag(&mut self, count: u64) -> Result<Dag> {
        let leaves: Vec<Block> = (0..count).map(|_| self.block()).collect();
        let node = |leaves: &[Block]| node_of(leaves.iter().map(|leaf| *leaf.cid()));
        let nodes: Vec<Block> = leaves.chunks(FANOUT).map(node).collect::<Result<_>>()?;
        Ok(Dag { root: node_of(nodes.iter().map(|node| *node.cid()))?, nodes, leaves })
    }
}

/// Returns a node that links to all of these.
pub(super) fn node_of(links: impl Iterator<Item = Cid>) -> Result<Block> {
    let links: Vec<Cid> = links.collect();
    Ok(Block::of(Codec::DagCbor, serde_ipld_dagcbor::to_vec(&links)?.into()))
}

/// Opens a store as the node does.
pub(super) fn open(repo: &Path) -> Result<Store> {
    Store::open(repo, Options::default()).with_context(|| repo.display().to_string())
}

/// Commits what is staged under a root, which is put first.
pub(super) fn commit(staging: Staging, root: &Block) -> Result<()> {
    staging.put(root)?;
    Ok(staging.commit(Ref { complete: true, ..Ref::new(*root.cid()) })?)
}

/// Puts a DAG and commits it.
pub(super) fn keep(store: &Store, dag: &Dag) -> Result<()> {
    let staging = store.stage("bench")?;
    dag.blocks().try_for_each(|block| staging.put(block))?;
    commit(staging, &dag.root)
}

/// Returns what the files below a folder take on the disk.
pub(super) fn on_disk(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        sum += if found.is_dir() { on_disk(&entry.path())? } else { found.blocks() * 512 };
    }
    Ok(sum)
}

/// Numbers in an order that no read-ahead guesses; the same in every run.
pub(super) struct Shuffle(u64);

impl Shuffle {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Returns a number below `limit`.
    pub(super) fn next(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}
