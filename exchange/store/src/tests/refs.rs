//! What is known about refs: names, what of them is here, and the rows it is kept in.

use std::sync::atomic::{AtomicBool, Ordering};

use pop_units::AttoFil;

use super::*;
use crate::{Batch, RefKey};

/// A transaction of names over two leaves each, and the root.
fn transaction(names: u64) -> (Block, Vec<(RefKey, Vec<Block>)>) {
    let entry = |n: u64| {
        let leaves = [leaf(n * 10, 300), leaf(n * 10 + 1, 300)];
        let top = node(&[&leaves[0], &leaves[1]]);
        let key = RefKey::new(format!("name {n:03}"), *top.cid(), Bytes::new(600));
        (key, [vec![top], leaves.to_vec()].concat())
    };
    let entries: Vec<_> = (0..names).map(entry).collect();
    (node(&entries.iter().map(|(_, blocks)| &blocks[0]).collect::<Vec<_>>()), entries)
}

/// Commits the root with some of its names, whatever else the caller says about them.
fn commit_names(store: &Store, root: &Block, entries: &[&(RefKey, Vec<Block>)]) {
    let staging = store.stage("fetch").unwrap();
    put(&staging, &[root]);
    entries.iter().for_each(|(_, blocks)| put(&staging, &blocks.iter().collect::<Vec<_>>()));
    let keys = entries.iter().map(|(key, _)| key.clone()).collect();
    staging.commit(Ref { keys, ..Ref::new(*root.cid()) }).unwrap();
}

fn here(store: &Store, root: &Block) -> Vec<bool> {
    store.ref_of(root.cid()).unwrap().unwrap().keys.iter().map(|key| key.here).collect()
}

#[test]
fn a_node_that_has_one_name_knows_that_it_has_only_that_one_also_after_a_restart() {
    for (orderly, index_lost) in [(true, false), (true, true), (false, false)] {
        let repo = tempfile::tempdir().unwrap();
        let (root, entries) = transaction(3);
        let reopen = |store: Store| {
            if orderly {
                store.close().unwrap();
            }
            drop(store);
            if index_lost {
                fs::remove_dir_all(repo.path().join("blocks/index")).unwrap();
            }
            open(repo.path())
        };
        let store = open(repo.path());
        commit_names(&store, &root, &[&entries[1]]);
        let store = reopen(store);
        let found = store.ref_of(root.cid()).unwrap().unwrap();
        assert!(!found.complete);
        assert_eq!(found.keys, [RefKey { here: true, ..entries[1].0.clone() }]);
        // A name whose blocks are not here is known, and known to be missing.
        let staging = store.stage("names").unwrap();
        staging.commit(Ref { keys: vec![entries[0].0.clone()], ..Ref::new(*root.cid()) }).unwrap();
        assert_eq!(here(&store, &root), [false, true]);
        let store = reopen(store);
        assert_eq!(here(&store, &root), [false, true]);
        commit_names(&store, &root, &[&entries[0]]);
        let store = reopen(store);
        assert_eq!(here(&store, &root), [true, true]);
        assert!(!store.brief(root.cid()).unwrap().unwrap().complete);
        commit_names(&store, &root, &[&entries[2]]);
        let brief = store.brief(root.cid()).unwrap().unwrap();
        assert_eq!((brief.complete, brief.names), (true, 3));
        let size = entries.iter().flat_map(|(_, blocks)| blocks).chain([&root]);
        assert_eq!(brief.size, size.fold(Bytes::ZERO, |sum, block| sum.saturating_add(block.size())));
        assert_eq!(store.remove(root.cid()).unwrap(), brief.size);
        assert_eq!(store.used(), Bytes::ZERO);
    }
}

#[test]
fn a_name_is_here_only_when_all_below_it_is() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (root, mut entries) = transaction(2);
    let missing = entries[0].1.pop().unwrap();
    let both: Vec<_> = entries.iter().collect();
    commit_names(&store, &root, &both);
    assert_eq!(here(&store, &root), [false, true]);
    // A block that came with another ref is here; the name says so once it is looked at again.
    commit(&store, &[&missing]);
    commit_names(&store, &root, &both);
    assert_eq!(here(&store, &root), [true, true]);
    assert!(store.brief(root.cid()).unwrap().unwrap().complete);
}

#[test]
fn a_name_that_the_root_does_not_reach_is_not_here() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (root, entries) = transaction(1);
    let stray = leaf(999, 100);
    let staging = store.stage("fetch").unwrap();
    put(&staging, &[&root, &stray]);
    let keys = vec![RefKey::new("stray", *stray.cid(), Bytes::new(100)), entries[0].0.clone()];
    staging.commit(Ref { keys, ..Ref::new(*root.cid()) }).unwrap();
    assert_eq!(here(&store, &root), [false, false]);
    assert!(hides(&store, &[&stray]));
}

#[test]
fn names_inside_names_are_looked_at_once() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    // A chain of nodes: each name holds all that come after it, and the last lacks a block.
    let gone = leaf(1, 100);
    let mut chain = vec![node(&[&gone])];
    for _ in 0..300 {
        let next = node(&[chain.last().unwrap(), chain.last().unwrap()]);
        chain.push(next);
    }
    let key = |(n, block): (usize, &Block)| RefKey::new(format!("{n:03}"), *block.cid(), Bytes::ZERO);
    let keys: Vec<RefKey> = chain.iter().enumerate().map(key).collect();
    for (blocks, whole) in [(chain.clone(), false), ([chain.clone(), vec![gone]].concat(), true)] {
        let staging = store.stage("fetch").unwrap();
        put(&staging, &blocks.iter().collect::<Vec<_>>());
        staging.commit(Ref { keys: keys.clone(), ..Ref::new(*chain.last().unwrap().cid()) }).unwrap();
        assert!(here(&store, chain.last().unwrap()).iter().all(|here| *here == whole));
    }
}

#[test]
fn several_roots_commit_in_one_step_or_not_at_all() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (a, b, c) = (leaf(1, 100), leaf(2, 100), leaf(3, 100));
    let (one, two) = (node(&[&a, &b]), node(&[&b, &c]));
    let staging = store.stage("car").unwrap();
    put(&staging, &[&one, &two, &a, &b]);
    let claim = |root: &Block, complete| Ref { complete, ..Ref::new(*root.cid()) };
    let refused = staging.clone().commit_all(vec![claim(&one, true), claim(&two, true)]);
    assert!(matches!(refused, Err(crate::Error::Incomplete { missing }) if missing == *c.cid()));
    assert!(store.refs().unwrap().is_empty() && hides(&store, &[&one, &a]));
    let key = RefKey::new("b", *b.cid(), Bytes::new(100));
    let twice = Ref { keys: vec![key], pinned: true, ..Ref::new(*one.cid()) };
    staging.commit_all(vec![claim(&one, true), claim(&two, false), twice]).unwrap();
    assert_eq!(store.refs().unwrap().len(), 2);
    let first = store.ref_of(one.cid()).unwrap().unwrap();
    assert!(first.complete && first.pinned && first.keys[0].here);
    assert!(!store.brief(two.cid()).unwrap().unwrap().complete);
    store.remove(one.cid()).unwrap();
    assert!(holds(&store, &[&two, &b]) && hides(&store, &[&one, &a]));
    store.stage("none").unwrap().commit_all(Vec::new()).unwrap();
}

#[test]
fn several_roots_are_seen_together_after_a_crash() {
    let repo = tempfile::tempdir().unwrap();
    let blocks: Vec<Block> = (0..20).map(|seed| leaf(seed, 100)).collect();
    {
        let store = open(repo.path());
        let staging = store.stage("car").unwrap();
        put(&staging, &blocks.iter().collect::<Vec<_>>());
        staging.commit_all(blocks.iter().map(|block| Ref::new(*block.cid())).collect()).unwrap();
    }
    let store = open(repo.path());
    assert!(holds(&store, &blocks.iter().collect::<Vec<_>>()));
    assert_eq!(store.figures().refs, 20);
}

#[test]
fn rows_of_older_versions_open() {
    let repo = tempfile::tempdir().unwrap();
    let a = leaf(1, 100);
    let root = node(&[&a]);
    let id = root.cid().to_bytes();
    {
        let store = open(repo.path());
        commit(&store, &[&root, &a]);
        // As they were written before serves and the number of names were counted.
        let row = old::Row {
            root: *root.cid(),
            size: Bytes::new(100).saturating_add(root.size()),
            complete: true,
            pinned: false,
            frequency: 3,
            last_used: 9,
        };
        let name = old::KeyRow { cid: *a.cid(), size: Bytes::new(100) };
        let key = [&[u8::try_from(id.len()).unwrap()], id.as_slice(), b"name"].concat();
        let encode = |row: &dyn erased::Row| row.encode();
        let batch = Batch::new()
            .put("store/ref", &id, encode(&row))
            .put("store/ref-key", key, encode(&name))
            .delete("store/evict", &id)
            .delete("store/evict-head", b"");
        store.state().apply(batch).unwrap();
        store.close().unwrap();
    }
    let store = open(repo.path());
    let found = store.ref_of(root.cid()).unwrap().unwrap();
    assert_eq!(found.keys, [RefKey { here: true, ..RefKey::new("name", *a.cid(), Bytes::new(100)) }]);
    assert_eq!((found.frequency, found.revenue, found.bytes_served), (3, AttoFil::ZERO, Bytes::ZERO));
    assert_eq!(store.brief(root.cid()).unwrap().unwrap().names, 1);
    assert_eq!(store.figures().usage.refs, 1, "the policy takes in what it has no record of");
}

mod old {
    use super::*;

    #[derive(serde::Serialize)]
    pub(super) struct Row {
        pub(super) root: Cid,
        pub(super) size: Bytes,
        pub(super) complete: bool,
        pub(super) pinned: bool,
        pub(super) frequency: u64,
        pub(super) last_used: u64,
    }

    #[derive(serde::Serialize)]
    pub(super) struct KeyRow {
        pub(super) cid: Cid,
        pub(super) size: Bytes,
    }
}

mod erased {
    pub(super) trait Row {
        fn encode(&self) -> Vec<u8>;
    }

    impl<T: serde::Serialize> Row for T {
        fn encode(&self) -> Vec<u8> {
            serde_ipld_dagcbor::to_vec(self).unwrap()
        }
    }
}

#[test]
fn a_use_of_a_root_with_many_names_does_not_look_at_them() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let a = leaf(1, 100);
    let keys = (0..20_000).map(|n| RefKey::new(format!("{n}"), *a.cid(), Bytes::new(100))).collect();
    let staging = store.stage("tx").unwrap();
    put(&staging, &[&a]);
    staging.commit(Ref { keys, ..Ref::new(*a.cid()) }).unwrap();
    let started = std::time::Instant::now();
    (0..2000).for_each(|now| assert!(store.touch(a.cid(), now).unwrap()));
    let taken = started.elapsed();
    assert!(taken.as_secs() < 5, "2,000 uses took {taken:?}; 20,000 names for each would take minutes");
    assert_eq!(store.brief(a.cid()).unwrap().unwrap().names, 20_000);
    // One more name neither rewrites nor reads the others.
    let staging = store.stage("tx").unwrap();
    let more =
        vec![RefKey::new("more", *a.cid(), Bytes::new(100)), RefKey::new("7", *a.cid(), Bytes::new(1))];
    staging.commit(Ref { keys: more, ..Ref::new(*a.cid()) }).unwrap();
    assert_eq!(store.brief(a.cid()).unwrap().unwrap().names, 20_001);
    assert_eq!(store.ref_of(a.cid()).unwrap().unwrap().keys.len(), 20_001);
}

#[test]
fn a_ref_that_is_pinned_and_unpinned_while_it_is_committed_again_is_counted_once() {
    let repo = tempfile::tempdir().unwrap();
    let (store, done) = (open(repo.path()), AtomicBool::new(false));
    let leaf = leaf(1, 700);
    let root = node(&[&leaf]);
    commit(&store, &[&root, &leaf]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                store.set_pinned(root.cid(), n % 2 == 0).unwrap();
            }
        });
        (0..100).for_each(|_| commit(&store, &[&root, &leaf]));
        done.store(true, Ordering::Relaxed);
    });
    store.set_pinned(root.cid(), true).unwrap();
    let told = store.figures();
    let size = store.brief(root.cid()).unwrap().unwrap().size;
    assert_eq!((told.refs, told.pinned_refs, told.pinned, told.usage.refs), (1, 1, size, 0));
}
