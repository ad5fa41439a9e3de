//! Behaviour of the store as a whole, on small segments.

mod compact;
mod crash;
mod durable;
mod evict;
mod model;
mod refs;
mod tail;
mod verify;
mod visible;

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes as Buf;
use cid::Cid;
use pop_dag::{Block, Codec};
use pop_units::Bytes;

use crate::{Options, Ref, Staging, Store};

const SEGMENT: Bytes = Bytes::new(4 << 10);

fn options() -> Options {
    Options { segment_size: SEGMENT, ..Options::default() }
}

fn open(repo: &Path) -> Store {
    Store::open(repo, options()).unwrap()
}

/// A raw block of `len` bytes, different for each seed.
fn leaf(seed: u64, len: usize) -> Block {
    let mut data = seed.to_le_bytes().to_vec();
    data.resize(len.max(8), u8::try_from(seed % 251).unwrap());
    Block::of(Codec::Raw, data.into())
}

/// A node that links to these blocks.
fn node(links: &[&Block]) -> Block {
    let links: Vec<Cid> = links.iter().map(|block| *block.cid()).collect();
    Block::of(Codec::DagCbor, Buf::from(serde_ipld_dagcbor::to_vec(&links).unwrap()))
}

fn put(staging: &Staging, blocks: &[&Block]) {
    for block in blocks {
        staging.put(block).unwrap();
    }
}

/// Stages and commits blocks under the first of them.
fn commit(store: &Store, blocks: &[&Block]) {
    let staging = store.stage("tests").unwrap();
    put(&staging, blocks);
    staging.commit(Ref { complete: true, ..Ref::new(*blocks[0].cid()) }).unwrap();
}

fn holds(store: &Store, blocks: &[&Block]) -> bool {
    blocks.iter().all(|block| store.get(block.cid()).unwrap().as_ref() == Some(block.data()))
}

fn hides(store: &Store, blocks: &[&Block]) -> bool {
    blocks.iter().all(|block| {
        let cid = block.cid();
        store.get(cid).unwrap().is_none() && !store.has(cid).unwrap() && store.size(cid).unwrap().is_none()
    })
}

/// Files of one kind under the segments' folder, in order.
fn files(repo: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repo.join("blocks/segs")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
