use pop_dag::unixfs::{Profile, add_file};
use pop_dag::{Block, BlockSource, Codec};

use super::*;
use crate::resolve::Kind;

fn block(size: usize) -> Block {
    Block::of(Codec::Raw, Buf::from(vec![7; size]))
}

#[test]
fn nothing_is_remembered_across_a_removal() {
    let memory = Memory::new();
    let block = block(10);
    let (cid, segments) = (*block.cid(), vec!["a".to_owned()]);
    let found =
        Found { roots: vec![cid], starts: vec![0], cid, kind: Kind::File(Bytes::new(10)), rest: Vec::new() };
    memory.keep_block(&cid, block.data(), 1);
    memory.keep_path(&cid, &segments, &found, 1);
    assert_eq!(memory.block(&cid, 1), Some(block.data().clone()));
    assert_eq!(memory.path(&cid, &segments, 1), Some(found));
    assert_eq!(memory.path(&cid, &[], 1), None);
    assert_eq!(memory.block(&cid, 2), None);
    assert_eq!(memory.path(&cid, &segments, 2), None);
}

#[test]
fn large_blocks_are_not_kept_and_small_ones_within_bounds() {
    let memory = Memory::new();
    let large = block(SMALL.as_usize() + 1);
    memory.keep_block(large.cid(), large.data(), 0);
    assert_eq!(memory.block(large.cid(), 0), None);
    for seed in 0..2000_u32 {
        let mut data = vec![0; SMALL.as_usize()];
        data[..4].copy_from_slice(&seed.to_le_bytes());
        let block = Block::of(Codec::Raw, data.into());
        memory.keep_block(block.cid(), block.data(), 0);
    }
    assert!(memory.blocks.weight() <= BLOCKS.get());
}

#[test]
fn nodes_are_kept_and_leaves_are_not() {
    let memory = Memory::new();
    let profile = Profile { chunk: Bytes::new(10), ..Profile::default() };
    let mut blocks = pop_dag::Memory::new();
    let root = add_file(&mut &[1; 100][..], &profile.into(), &mut blocks, &mut |_| {}).unwrap().cid;
    let data = blocks.block(&root).unwrap().unwrap();
    let node = Arc::new(FileNode::decode(&root, &data, None).unwrap());
    memory.keep_node(&root, &node, 0);
    assert!(memory.node(&root, 0).is_some() && memory.node(&root, 1).is_none());
    let leaf = block(10);
    let node = Arc::new(FileNode::decode(leaf.cid(), leaf.data(), None).unwrap());
    memory.keep_node(leaf.cid(), &node, 0);
    assert!(memory.node(leaf.cid(), 0).is_none());
}
