//! Lanes of a channel as the chain publishes them: an AMT of bit width 3 of `[redeemed, nonce]`.
//!
//! The root is part of what a client reads from any node, so the embedded ledger builds the same tree. Reading
//! is a walk without I/O, since a client gets each block by a call of its own. It never trusts a block: each
//! is checked against its CID, and the number of blocks is bounded.

use std::collections::BTreeMap;

use cid::Cid;
use fvm_ipld_amt::Amt;
use fvm_ipld_blockstore::{Blockstore, MemoryBlockstore};
use pop_payments::paych::LaneEntry;
use pop_payments::{LaneState, SignedAtto};
use pop_units::{AttoFil, Lane};
use serde::Deserialize;
use serde_bytes::ByteBuf;

use crate::cids;

const BIT_WIDTH: u32 = 3;
/// Children of a node: 2 to the bit width.
const WIDTH: u64 = 8;
/// 22 levels of 3 bits cover every 64-bit index.
const MAX_HEIGHT: u32 = 21;
/// Blocks of a tree that are read at most; a channel of the house has 16 lanes, which are three blocks.
const MAX_BLOCKS: usize = 1024;

/// A tree of lanes that is damaged, too large or no tree of lanes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LanesError {
    /// The tree cannot be built.
    #[error("lanes make no tree: {0}")]
    Build(String),
    /// A block is not what its CID says, or does not decode.
    #[error("block {0} holds no lanes")]
    Block(Cid),
    /// The tree has more blocks than anybody honest needs.
    #[error("lanes fill more than {MAX_BLOCKS} blocks")]
    TooLarge,
}

#[derive(Deserialize)]
struct Root(u32, u32, serde::de::IgnoredAny, Node);

#[derive(Deserialize)]
struct Node(ByteBuf, Vec<Cid>, Vec<LaneEntry>);

/// The blocks of a tree of lanes.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: Cid,
    /// All blocks, the root's included.
    pub(crate) blocks: Vec<(Cid, Vec<u8>)>,
}

/// Builds the tree.
pub(crate) fn build(lanes: &BTreeMap<Lane, LaneState>) -> Result<Tree, LanesError> {
    let store = MemoryBlockstore::new();
    let mut amt = Amt::new_with_bit_width(&store, BIT_WIDTH);
    for (lane, state) in lanes {
        let entry = LaneEntry { redeemed: SignedAtto::from(state.redeemed), nonce: state.nonce };
        amt.set(lane.get(), entry).map_err(|e| LanesError::Build(e.to_string()))?;
    }
    let root = amt.flush().map_err(|e| LanesError::Build(e.to_string()))?;
    let mut blocks = Vec::new();
    let mut walk = Walk::new(root);
    while let Some(cid) = walk.want() {
        let found = store.get(&cid).ok().flatten().ok_or(LanesError::Block(cid))?;
        walk.on_block(&found)?;
        blocks.push((cid, found));
    }
    Ok(Tree { root, blocks })
}

/// Reads a tree block by block: give it the data of [`Walk::want`] until it wants no more.
pub(crate) struct Walk {
    /// Blocks still to read, with the first lane below each and its height where known.
    open: Vec<(Cid, u64, Option<u32>)>,
    seen: usize,
    lanes: BTreeMap<Lane, LaneState>,
}

impl Walk {
    pub(crate) fn new(root: Cid) -> Self {
        Self { open: vec![(root, 0, None)], seen: 0, lanes: BTreeMap::new() }
    }

    pub(crate) fn want(&self) -> Option<Cid> {
        self.open.last().map(|(cid, ..)| *cid)
    }

    pub(crate) fn on_block(&mut self, data: &[u8]) -> Result<(), LanesError> {
        let Some((cid, first, height)) = self.open.pop() else { return Ok(()) };
        self.seen += 1;
        if self.seen + self.open.len() > MAX_BLOCKS {
            return Err(LanesError::TooLarge);
        }
        let damaged = LanesError::Block(cid);
        if cids::chain_cid(data) != cid {
            return Err(damaged);
        }
        let (height, node) = match height {
            Some(height) => (height, fvm_ipld_encoding::from_slice(data).ok()),
            None => match fvm_ipld_encoding::from_slice(data).ok() {
                Some(Root(BIT_WIDTH, height, _, node)) => (height, Some(node)),
                _ => (0, None),
            },
        };
        let node = node.filter(|_| height <= MAX_HEIGHT);
        node.and_then(|node| self.on_node(node, first, height)).ok_or(damaged)
    }

    /// Returns the lanes once nothing is wanted.
    pub(crate) fn finish(self) -> BTreeMap<Lane, LaneState> {
        self.lanes
    }

    fn on_node(&mut self, Node(map, links, rows): Node, first: u64, height: u32) -> Option<()> {
        let [map] = map.as_slice() else { return None };
        let set = (0..WIDTH).filter(|slot| map >> slot & 1 == 1);
        let entries = if height == 0 { rows.len() } else { links.len() };
        if set.clone().count() != entries || links.len() + rows.len() != entries {
            return None;
        }
        let span = WIDTH.checked_pow(height);
        for (at, slot) in set.enumerate() {
            let lane = slot.checked_mul(span?)?.checked_add(first)?;
            match (links.get(at), rows.get(at)) {
                (Some(link), None) => self.open.push((*link, lane, Some(height.checked_sub(1)?))),
                (None, Some(LaneEntry { redeemed, nonce })) => {
                    let redeemed = AttoFil::try_from(*redeemed).ok()?;
                    self.lanes.insert(Lane::new(lane), LaneState { redeemed, nonce: *nonce });
                }
                _ => return None,
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use pop_payments::paych::MAX_LANE;
    use pop_units::Nonce;

    use super::*;

    fn lanes(of: &[u64]) -> BTreeMap<Lane, LaneState> {
        let state =
            |lane: u64| LaneState { redeemed: AttoFil::new(u128::from(lane)), nonce: Nonce::new(lane) };
        of.iter().map(|lane| (Lane::new(*lane), state(*lane))).collect()
    }

    fn read(tree: &Tree) -> Result<BTreeMap<Lane, LaneState>, LanesError> {
        let mut walk = Walk::new(tree.root);
        while let Some(cid) = walk.want() {
            let found = tree.blocks.iter().find(|(c, _)| *c == cid).unwrap();
            walk.on_block(&found.1)?;
        }
        Ok(walk.finish())
    }

    #[test]
    fn lanes_read_back_from_the_tree() {
        for of in [vec![], vec![0], vec![7, 8], (0..200).collect(), vec![0, 9, 1 << 40, MAX_LANE]] {
            let lanes = lanes(&of);
            assert_eq!(read(&build(&lanes).unwrap()).unwrap(), lanes);
        }
    }

    #[test]
    fn a_changed_block_is_refused() {
        let mut tree = build(&lanes(&[1, 2, 30])).unwrap();
        tree.blocks[0].1[0] ^= 1;
        assert!(matches!(read(&tree), Err(LanesError::Block(_))));
    }
}
