//! Taking a staging over, and giving the end of the active segment back.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::Error;

fn wide(repo: &Path) -> Store {
    Store::open(repo, Options::default()).unwrap()
}

#[test]
fn an_absorbed_staging_lives_on_in_the_other() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (a, b, c) = (leaf(1, 100), leaf(2, 200), leaf(3, 300));
    let (tx, op) = (store.stage("tx").unwrap(), store.stage("op").unwrap());
    put(&tx, &[&a, &b]);
    put(&op, &[&b, &c]);
    op.set_roots(&[*c.cid()]).unwrap();
    tx.absorb(op.clone()).unwrap();
    assert_eq!(tx.bytes(), Bytes::new(600));
    assert_eq!(store.stagings(), ["tx"]);
    assert!(op.roots().unwrap().is_empty());
    assert!(matches!(op.put(&a), Err(Error::NoStaging { .. })));
    assert!(matches!(tx.absorb(op), Err(Error::NoStaging { .. })));
    assert_eq!(tx.get(c.cid()).unwrap().as_ref(), Some(c.data()));
    tx.absorb(tx.clone()).unwrap();
    assert_eq!(tx.bytes(), Bytes::new(600));
    let root = node(&[&a, &b, &c]);
    put(&tx, &[&root]);
    tx.commit(Ref { complete: true, ..Ref::new(*root.cid()) }).unwrap();
    assert!(holds(&store, &[&root, &a, &b, &c]));
}

#[test]
fn a_staging_of_another_store_is_not_absorbed() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, other) = (open(here.path()), open(there.path()));
    let (tx, op) = (store.stage("tx").unwrap(), other.stage("op").unwrap());
    assert!(matches!(tx.absorb(op), Err(Error::NoStaging { .. })));
    assert_eq!(other.stagings(), ["op"]);
}

#[test]
fn an_absorbed_block_is_never_without_a_holder() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let shared: Vec<Block> = (0..8).map(|seed| leaf(seed, 300)).collect();
    let (tx, done) = (store.stage("tx").unwrap(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let other = store.stage("other").unwrap();
                put(&other, &shared.iter().collect::<Vec<_>>());
                other.discard().unwrap();
            }
        });
        for block in &shared {
            let op = store.stage("op").unwrap();
            put(&op, &[block]);
            tx.absorb(op).unwrap();
            assert_eq!(tx.get(block.cid()).unwrap().as_ref(), Some(block.data()));
        }
        done.store(true, Ordering::Relaxed);
    });
    for block in &shared {
        assert_eq!(tx.get(block.cid()).unwrap().as_ref(), Some(block.data()));
    }
}

#[test]
fn after_a_crash_an_absorbed_block_is_kept_by_the_roots_of_its_new_staging() {
    for is_rooted in [true, false] {
        let repo = tempfile::tempdir().unwrap();
        let a = leaf(1, 100);
        {
            let store = open(repo.path());
            let (tx, op) = (store.stage("tx").unwrap(), store.stage("op").unwrap());
            put(&op, &[&a]);
            op.set_roots(&[*a.cid()]).unwrap();
            tx.absorb(op).unwrap();
            if is_rooted {
                tx.set_roots(&[*a.cid()]).unwrap();
            }
        }
        let store = open(repo.path());
        assert_eq!(store.stagings().len(), usize::from(is_rooted));
        let tx = store.stage("tx").unwrap();
        assert_eq!(tx.get(a.cid()).unwrap().is_some(), is_rooted);
    }
}

#[test]
fn a_discarded_staging_gives_its_room_back_at_once() {
    let repo = tempfile::tempdir().unwrap();
    let store = wide(repo.path());
    let kept = leaf(0, 500);
    commit(&store, &[&kept]);
    let used = store.used();
    let blocks: Vec<Block> = (1..300).map(|seed| leaf(seed, 700)).collect();
    for _ in 0..2 {
        let staging = store.stage("op").unwrap();
        put(&staging, &blocks.iter().collect::<Vec<_>>());
        put(&staging, &[&kept]);
        staging.discard().unwrap();
        assert_eq!(store.used(), used);
        let on_disk = fs::metadata(&files(repo.path(), "seg")[0]).unwrap().len();
        assert_eq!(Bytes::new(on_disk), used);
        commit(&store, &[&blocks[7]]);
        assert!(holds(&store, &[&kept, &blocks[7]]));
        store.remove(blocks[7].cid()).unwrap();
        assert_eq!(store.used(), used);
    }
    drop(store);
    let store = wide(repo.path());
    assert!(store.report().rebuilt && store.report().cut == Bytes::ZERO, "{:?}", store.report());
    assert!(holds(&store, &[&kept]));
    assert_eq!(store.report().blocks, 1);
}

#[test]
fn a_put_that_did_not_fit_leaves_a_full_store_as_it_was() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), Options { capacity: Bytes::new(20_000), ..options() }).unwrap();
    let kept = leaf(0, 3000);
    commit(&store, &[&kept]);
    store.set_pinned(kept.cid(), true).unwrap();
    let used = store.used();
    for _ in 0..5 {
        let staging = store.stage("op").unwrap();
        let refused = (1..100).map(|seed| staging.put(&leaf(seed, 900))).find_map(Result::err).unwrap();
        assert!(refused.is_full());
        staging.discard().unwrap();
        assert_eq!(store.used(), used, "sealed segments go as a whole, the first one's end is cut off");
    }
    assert!(holds(&store, &[&kept]));
}

#[test]
fn what_another_staging_put_behind_keeps_the_end() {
    let repo = tempfile::tempdir().unwrap();
    let store = wide(repo.path());
    let (a, b, c) = (leaf(1, 500), leaf(2, 500), leaf(3, 500));
    commit(&store, &[&a]);
    let used = store.used();
    let (op, other) = (store.stage("op").unwrap(), store.stage("other").unwrap());
    put(&op, &[&b]);
    put(&other, &[&c]);
    op.discard().unwrap();
    assert_eq!(other.get(c.cid()).unwrap().as_ref(), Some(c.data()));
    assert!(store.used() > used);
    other.discard().unwrap();
    assert_eq!(store.used(), used, "the tombstone of the first goes with it");
    store.remove(a.cid()).unwrap();
    assert_eq!(store.used(), Bytes::ZERO);
}

#[test]
fn a_copy_at_any_moment_around_a_cut_opens_with_everything_kept() {
    let origin = tempfile::tempdir().unwrap();
    let (a, b, c) = (leaf(1, 300), leaf(2, 300), leaf(3, 200));
    let store = wide(origin.path());
    commit(&store, &[&a]);
    let staging = store.stage("op").unwrap();
    put(&staging, &[&b, &leaf(4, 300)]);
    let segment = files(origin.path(), "seg").pop().unwrap();
    let before = fs::read(&segment).unwrap();
    staging.discard().unwrap();
    commit(&store, &[&c]);
    let after = fs::read(&segment).unwrap();
    drop(store);
    // The cut as a power cut may leave it: done, or never done and the old end still behind the new records.
    let mut undone = after.clone();
    undone.extend_from_slice(&before[after.len()..]);
    for bytes in [after, undone] {
        let copy = tempfile::tempdir().unwrap();
        copy_tree(origin.path(), copy.path());
        fs::write(copy.path().join(segment.strip_prefix(origin.path()).unwrap()), bytes).unwrap();
        let store = wide(copy.path());
        assert!(holds(&store, &[&a, &c]) && hides(&store, &[&b, &leaf(4, 300)]), "{:?}", store.report());
        assert!(store.report().broken.is_empty());
        commit(&store, &[&b]);
        drop(store);
        assert!(holds(&wide(copy.path()), &[&a, &b, &c]));
    }
}

#[test]
fn a_read_that_meets_a_cut_gives_the_block_or_nothing() {
    let repo = tempfile::tempdir().unwrap();
    let store = wide(repo.path());
    commit(&store, &[&leaf(99, 10)]);
    // Of one length, so that each is written exactly where another lay.
    let blocks: Vec<Block> = (0..6).map(|seed| leaf(seed, 150_000)).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut seen = 0;
                while seen == 0 || !done.load(Ordering::Relaxed) {
                    for block in &blocks {
                        let found = store.inner.read(block.cid(), false, |_, _| true).unwrap();
                        if let Some(data) = found {
                            assert!(data == *block.data());
                            seen += 1;
                        }
                    }
                }
            });
        }
        for round in 0..400 {
            let staging = store.stage("op").unwrap();
            put(&staging, &[&blocks[round % 6], &blocks[(round * 5 + 1) % 6]]);
            if round != 399 {
                staging.discard().unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
