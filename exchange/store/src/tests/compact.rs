//! Compaction: the room of dead blocks comes back and nothing else changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::{Compacted, Error, Limit};

/// Commits this many leaves and removes all whose number the rest does not hold.
fn furnish(store: &Store, count: u64, is_kept: impl Fn(u64) -> bool) -> (Vec<Block>, Vec<Block>) {
    let blocks: Vec<Block> = (0..count).map(|seed| leaf(seed, 900)).collect();
    blocks.iter().for_each(|block| commit(store, &[block]));
    let (kept, gone): (Vec<_>, Vec<_>) = (0..).zip(blocks).partition(|(n, _)| is_kept(*n));
    let bare = |blocks: Vec<(u64, Block)>| -> Vec<Block> { blocks.into_iter().map(|(_, b)| b).collect() };
    let (kept, gone) = (bare(kept), bare(gone));
    remove(store, &gone);
    (kept, gone)
}

fn remove(store: &Store, blocks: &[Block]) {
    for block in blocks {
        store.remove(block.cid()).unwrap();
    }
}

fn all(blocks: &[Block]) -> Vec<&Block> {
    blocks.iter().collect()
}

fn live(store: &Store) -> u64 {
    let entries = store.inner.index.all();
    entries.iter().map(|(key, entry)| crate::record::span(key.len(), entry.len)).sum()
}

fn compact_all(store: &Store, force: bool) -> u32 {
    let mut steps = 0;
    while store.compact(force).unwrap() != Compacted::default() {
        steps += 1;
        assert!(steps < 200, "compaction does not end");
    }
    steps
}

#[test]
fn after_half_is_removed_the_rest_takes_little_more_than_itself() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (kept, gone) = furnish(&store, 80, |n| n % 2 == 0);
    assert!(compact_all(&store, true) > 2);
    let (used, live) = (store.used().get(), live(&store));
    assert!(used * 100 <= live * 115, "{used} for {live}");
    let on_disk: u64 = files(repo.path(), "seg").iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert_eq!(on_disk, used);
    assert!(holds(&store, &all(&kept)) && hides(&store, &all(&gone)));
    let table = store.inner.log.table();
    assert_eq!(table.values().map(|segment| segment.live()).sum::<u64>(), live);
    let before = store.inner.index.all();
    for close in [false, true] {
        if close {
            store.close().unwrap();
        }
        let copy = tempfile::tempdir().unwrap();
        copy_tree(repo.path(), copy.path());
        let store = open(copy.path());
        assert_eq!(store.report().clean, close);
        assert!(holds(&store, &all(&kept)) && hides(&store, &all(&gone)));
        assert_eq!(store.inner.index.all(), before);
        assert_eq!(store.report().swept, 0, "tombstones are still there");
    }
}

#[test]
fn unless_forced_only_what_is_mostly_dead_is_moved() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    // Four to a segment.
    let (kept, _) = furnish(&store, 40, |n| n >= 20 || n % 4 == 2);
    let (used, table) = (store.used(), store.inner.log.table());
    assert_eq!((table[&0].live(), table[&0].len()), (968, 3 * 968), "the last was cut off");
    let mut done = Compacted::default();
    while done.moved == Bytes::ZERO {
        done = store.compact(false).unwrap();
    }
    assert_eq!((done.moved.get(), done.freed.get()), (968, 2 * 968));
    assert!(store.used() < used);
    compact_all(&store, false);
    assert!(table.values().skip(5).take(5).all(|segment| store.inner.log.table().contains_key(&segment.id)));
    assert!(store.inner.log.table().values().all(|segment| segment.dead() * 2 <= segment.len()));
    assert!(holds(&store, &all(&kept)));
}

#[test]
fn tombstones_go_once_nothing_is_left_to_bury() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (kept, _) = furnish(&store, 40, |n| n % 2 == 0);
    compact_all(&store, true);
    // What is dead now lies in the segments of survivors, with the tombstones of all others.
    remove(&store, &kept[4..]);
    compact_all(&store, true);
    let (used, live) = (store.used().get(), live(&store));
    assert!(used - live <= 64 * 40, "{used} for {live}");
    assert!(holds(&store, &all(&kept[..4])));
}

#[test]
fn a_copy_at_any_step_opens_with_everything() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (kept, gone) = furnish(&store, 16, |n| n % 3 == 0);
    let staged = leaf(500, 300);
    let staging = store.stage("tx").unwrap();
    put(&staging, &[&staged]);
    staging.set_roots(&[*staged.cid()]).unwrap();
    let copies = Arc::new(Mutex::new(Vec::new()));
    let (path, taken) = (repo.path().to_owned(), copies.clone());
    *store.inner.log.on_step.lock() = Some(Box::new(move || {
        let copy = tempfile::tempdir().unwrap();
        copy_tree(&path, copy.path());
        taken.lock().unwrap().push(copy);
    }));
    let sources = files(repo.path(), "seg");
    compact_all(&store, true);
    *store.inner.log.on_step.lock() = None;
    drop(store);
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    assert!(copies.len() > 8, "{}", copies.len());
    for (n, copy) in copies.iter().enumerate() {
        let check = || {
            let store = open(copy.path());
            assert!(holds(&store, &all(&kept)), "step {n}: {:?}", store.report());
            assert!(hides(&store, &all(&gone)) && store.report().broken.is_empty(), "step {n}");
            let found = store.stage("tx").unwrap().get(staged.cid()).unwrap();
            assert_eq!(found.as_ref(), Some(staged.data()), "step {n}");
            assert_eq!(store.report().blocks, u64::try_from(kept.len() + 1).unwrap());
        };
        check();
        // As long as every source is there, nothing needs the copies, synced or not.
        if sources.iter().all(|path| copy.path().join(path.strip_prefix(repo.path()).unwrap()).exists()) {
            for fresh in files(copy.path(), "seg").iter().skip(sources.len()) {
                fs::write(fresh, [0xa5; 100]).unwrap();
            }
            check();
        }
    }
}

#[test]
fn a_full_disk_leaves_the_source_in_place() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (kept, _) = furnish(&store, 24, |n| n % 2 == 0);
    // The first call finds segments without anything alive, and needs no room for those.
    store.compact(true).unwrap();
    let before = files(repo.path(), "seg");
    store.inner.log.fault.store(true, Ordering::Relaxed);
    let refused = store.compact(true);
    assert!(matches!(refused, Err(Error::Full { limit: Limit::Disk, .. })), "{refused:?}");
    assert!(before.iter().all(|path| path.exists()));
    assert!(holds(&store, &all(&kept)));
    let copy = tempfile::tempdir().unwrap();
    copy_tree(repo.path(), copy.path());
    assert!(holds(&open(copy.path()), &all(&kept)));
    compact_all(&store, true);
    assert!(holds(&store, &all(&kept)));
    assert!(store.used().get() * 100 <= live(&store) * 115);
}

#[test]
fn a_damaged_block_stays_where_it_is_and_stops_nothing_else() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (kept, _) = furnish(&store, 24, |n| n % 2 == 0);
    let first = &files(repo.path(), "seg")[0];
    let mut bytes = fs::read(first).unwrap();
    bytes[500] ^= 1;
    fs::write(first, bytes).unwrap();
    let outcomes: Vec<_> = (0..12).map(|_| store.compact(true)).collect();
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::Damaged { .. }))).count(), 1);
    assert!(first.exists());
    assert!(holds(&store, &all(&kept[1..])));
}

#[test]
fn a_full_store_makes_room_for_a_put_from_what_is_dead() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), Options { capacity: Bytes::new(42_000), ..options() }).unwrap();
    let (kept, _) = furnish(&store, 40, |n| n % 2 == 0);
    kept.iter().for_each(|block| store.set_pinned(block.cid(), true).unwrap());
    let fresh: Vec<Block> = (100..110).map(|seed| leaf(seed, 900)).collect();
    let staging = store.stage("tx").unwrap();
    put(&staging, &all(&fresh));
    assert!(store.used() <= store.capacity());
    assert!(holds(&store, &all(&kept)));
    let refused = (200..300).map(|seed| staging.put(&leaf(seed, 900))).find_map(Result::err).unwrap();
    assert!(matches!(refused, Error::Full { limit: Limit::Capacity, .. }));
    assert!(live(&store) >= 33_000, "{} of 42000 were put to use", live(&store));
    for block in &fresh {
        assert_eq!(staging.get(block.cid()).unwrap().as_ref(), Some(block.data()));
    }
}

#[test]
fn compacting_while_others_read_and_write_changes_nothing_for_them() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let fixed: Vec<Block> = (1000..1020).map(|seed| leaf(seed, 700)).collect();
    let root = node(&all(&fixed));
    let moving: Vec<Block> = (0..24).map(|seed| leaf(seed, 800)).collect();
    let staging = store.stage("fixed").unwrap();
    for (fixed, between) in fixed.iter().zip(&moving) {
        put(&staging, &[fixed]);
        commit(&store, &[between]);
    }
    put(&staging, &[&root]);
    staging.commit(Ref { complete: true, ..Ref::new(*root.cid()) }).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(holds(&store, &all(&fixed)));
                    for block in &moving {
                        let found = store.get(block.cid()).unwrap();
                        assert!(found.is_none_or(|data| data == *block.data()));
                    }
                }
            });
        }
        let compactor = scope.spawn(|| {
            let mut moved = Bytes::ZERO;
            while !done.load(Ordering::Relaxed) {
                moved = moved.saturating_add(store.compact(true).unwrap().moved);
            }
            moved
        });
        for round in 0..12 {
            for (n, block) in moving.iter().enumerate() {
                match (n + round) % 3 {
                    0 => commit(&store, &[block]),
                    1 => remove(&store, std::slice::from_ref(block)),
                    _ => {
                        let staging = store.stage("passing").unwrap();
                        put(&staging, &[block]);
                        staging.discard().unwrap();
                    }
                }
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(compactor.join().unwrap() > Bytes::ZERO);
    });
    let before = store.inner.index.all();
    let sum = |store: &Store| store.inner.log.table().values().map(|segment| segment.live()).sum::<u64>();
    assert_eq!(sum(&store), live(&store));
    drop(store);
    let store = open(repo.path());
    assert!(holds(&store, &all(&fixed)) && store.report().broken.is_empty());
    assert_eq!(store.inner.index.all(), before);
    assert_eq!(sum(&store), live(&store));
}

#[test]
fn a_close_ends_a_compaction_in_good_order() {
    for _ in 0..5 {
        let repo = tempfile::tempdir().unwrap();
        let store = open(repo.path());
        let (kept, _) = furnish(&store, 40, |n| n % 2 == 0);
        std::thread::scope(|scope| {
            scope.spawn(|| while store.compact(true).is_ok() {});
            scope.spawn(|| store.close().unwrap());
        });
        drop(store);
        let store = open(repo.path());
        assert!(store.report().clean && !store.report().rebuilt, "{:?}", store.report());
        assert!(holds(&store, &all(&kept)));
        compact_all(&store, true);
        assert!(store.used().get() * 100 <= live(&store) * 115);
    }
}
