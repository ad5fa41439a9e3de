//! What must hold when a block is read as a file, a directory or a symlink, whatever its bytes.

use pop_dag::codec::pb::Node;
use pop_dag::unixfs::{self, FileReader, Listing};
use pop_dag::{Block, Buf, Codec, Memory};

/// Reads a dag-pb block as everything that it could be.
///
/// # Panics
/// What is read as a directory or file has no dag-pb node in it.
pub(crate) fn check(bytes: &[u8]) {
    let block = Block::of(Codec::DagPb, Buf::copy_from_slice(bytes));
    let cid = *block.cid();
    let mut blocks = Memory::new();
    blocks.insert(block);
    let is_node = Node::decode(bytes).is_ok();
    let found = unixfs::resolve(&cid, &[], &blocks);
    assert!(is_node || found.is_err(), "what is no node is something");
    let opened = [
        FileReader::open(&cid, &blocks).is_ok(),
        Listing::open(&cid, &blocks).is_ok(),
        unixfs::symlink_target(&cid, &blocks).is_ok(),
    ];
    assert!(opened.iter().filter(|opened| **opened).count() <= 1, "one node is two things");
}
