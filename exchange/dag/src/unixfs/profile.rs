//! The parameters that decide which CID a file gets (IPIP-0499).

use bytes::Bytes as Buf;
use pop_units::Bytes;

use super::ImportError;
use super::rules::is_chunk;
use crate::block::{Block, MAX_BLOCK};
use crate::codec::Codec;

/// The most content of a leaf: what is left of a block when its framing is taken off, as Kubo has it.
pub const MAX_CHUNK: Bytes = Bytes::new(MAX_BLOCK.get() - 256);

/// A UnixFS CID profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Whether CIDs are of version 0.
    pub cid_v0: bool,
    /// Whether leaves are plain bytes instead of UnixFS nodes.
    pub raw_leaves: bool,
    /// Size of a leaf's content.
    pub chunk: Bytes,
    /// Most links of a file node.
    pub max_links: usize,
    /// A directory whose estimated size is above this is sharded.
    pub shard_above: Bytes,
    /// How the size of a directory is estimated.
    pub estimate: Estimate,
}

/// How the size of a directory is estimated before it is sharded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimate {
    /// The lengths of names and CIDs.
    Links,
    /// The length of the block.
    Block,
}

impl Profile {
    /// `unixfs-v1-2025`: what this project adds content with.
    pub const fn v1_2025() -> Self {
        Self {
            cid_v0: false,
            raw_leaves: true,
            chunk: Bytes::MIB,
            max_links: 1024,
            shard_above: Bytes::new(256 << 10),
            estimate: Estimate::Block,
        }
    }

    /// `unixfs-v0-2015`: what most of IPFS was added with.
    pub const fn v0_2015() -> Self {
        Self {
            cid_v0: true,
            raw_leaves: false,
            chunk: Bytes::new(256 << 10),
            max_links: 174,
            shard_above: Bytes::new(256 << 10),
            estimate: Estimate::Links,
        }
    }

    /// Refuses parameters that would lose content, never end, or make blocks that nobody takes.
    pub(super) fn check(&self) -> Result<(), ImportError> {
        // Names and CIDs are estimated below what the block is: half of it leaves room.
        let half = Bytes::new(MAX_BLOCK.get() / 2);
        let sizes = is_chunk(self.chunk) && self.shard_above <= half;
        let links = (2..=8192).contains(&self.max_links);
        if sizes && links { Ok(()) } else { Err(ImportError::Profile) }
    }

    /// Returns a dag-pb block with the CID version of the profile.
    pub(super) fn block(&self, data: Vec<u8>) -> Block {
        if self.cid_v0 { Block::of_v0(Buf::from(data)) } else { Block::of(Codec::DagPb, Buf::from(data)) }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::v1_2025()
    }
}
