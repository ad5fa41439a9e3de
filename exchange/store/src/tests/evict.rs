//! Eviction: a store stays inside its capacity, keeps what is used, and never gives up what it must not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use pop_units::AttoFil;

use super::*;
use crate::{Error, Figures, Limit, Serve};

const CAPACITY: u64 = 512 << 10;

fn small(repo: &Path) -> Store {
    with_capacity(repo, CAPACITY)
}

fn with_capacity(repo: &Path, capacity: u64) -> Store {
    Store::open(repo, Options { capacity: Bytes::new(capacity), ..Options::default() }).unwrap()
}

/// A root over leaves that no other seed has.
fn dag(seed: u64, leaves: u64, len: usize) -> Vec<Block> {
    let leaves: Vec<Block> = (0..leaves).map(|n| leaf(seed * 1000 + n, len)).collect();
    let root = node(&leaves.iter().collect::<Vec<_>>());
    std::iter::once(root).chain(leaves).collect()
}

fn size(blocks: &[Block]) -> Bytes {
    blocks.iter().fold(Bytes::ZERO, |sum, block| sum.saturating_add(block.size()))
}

/// Fetches a DAG as the node does: room first, then block after block, then the commit.
fn fetch(store: &Store, blocks: &[Block]) -> Result<(), Error> {
    fetch_as(store, "fetch", blocks)
}

fn fetch_as(store: &Store, name: &str, blocks: &[Block]) -> Result<(), Error> {
    let root = blocks[0].cid();
    let room = store.reserve(root, size(blocks))?;
    let staging = store.stage(name)?;
    staging.within(&room);
    for block in blocks {
        staging.put(block)?;
        inside(store);
    }
    staging.commit(Ref { complete: true, ..Ref::new(*root) })
}

fn pin(store: &Store, blocks: &[Block]) {
    let staging = store.stage("own").unwrap();
    put(&staging, &blocks.iter().collect::<Vec<_>>());
    staging.commit(Ref { complete: true, pinned: true, ..Ref::new(*blocks[0].cid()) }).unwrap();
}

fn serve(store: &Store, root: &Cid, peer: u64, now: u64) -> bool {
    let peer = peer.to_be_bytes();
    store.served(root, Serve { peer: &peer, bytes: Bytes::new(10), revenue: AttoFil::ZERO, now }).unwrap()
}

fn is_here(store: &Store, blocks: &[Block]) -> bool {
    let listed = store.brief(blocks[0].cid()).unwrap().is_some();
    let held = holds(store, &blocks.iter().collect::<Vec<_>>());
    assert!(held || !listed, "a ref that is listed reads");
    listed
}

/// The files themselves, not what the store thinks of them.
fn on_disk(repo: &Path) -> u64 {
    files(repo, "seg").iter().map(|file| fs::metadata(file).map_or(0, |found| found.len())).sum()
}

fn inside(store: &Store) {
    assert!(store.used() <= store.capacity(), "{} of {}", store.used(), store.capacity());
    let table = store.inner.log.table();
    assert!(table.values().map(|segment| segment.len()).sum::<u64>() <= store.capacity().get());
}

#[test]
fn content_that_comes_back_after_an_eviction_stays() {
    let repo = tempfile::tempdir().unwrap();
    let back = dag(0, 4, 3000);
    let store = small(repo.path());
    fetch(&store, &back).unwrap();
    (1..50).for_each(|seed| fetch(&store, &dag(seed, 4, 3000)).unwrap());
    assert!(!is_here(&store, &back));
    fetch(&store, &back).unwrap();
    assert!(store.figures().usage.ghosts > 0, "what went is remembered");
    while store.compact(true).unwrap() != crate::Compacted::default() {}
    assert!(is_here(&store, &back));
    drop(store);
    let store = small(repo.path());
    while store.compact(true).unwrap() != crate::Compacted::default() {}
    assert!(is_here(&store, &back) && store.brief(back[0].cid()).unwrap().unwrap().complete);
}

#[test]
fn a_crash_between_the_rows_and_the_blocks_of_an_eviction_ends_it_at_the_next_open() {
    let repo = tempfile::tempdir().unwrap();
    let refs: Vec<Vec<Block>> = (0..6).map(|seed| dag(seed, 4, 3000)).collect();
    {
        let store = small(repo.path());
        refs.iter().for_each(|blocks| fetch(&store, blocks).unwrap());
        let inner = &store.inner;
        let (_ops, _rows) = (inner.ops.lock(), inner.rows.lock());
        let briefs = refs[..3].iter().map(|blocks| store.brief(blocks[0].cid()).unwrap().unwrap());
        drop(inner.fell(briefs.collect()).unwrap());
    }
    let store = small(repo.path());
    assert_eq!((store.report().swept, store.figures().refs, store.figures().usage.refs), (15, 3, 3));
    assert!(refs[3..].iter().all(|blocks| is_here(&store, blocks)));
    assert!(refs[..3].iter().all(|blocks| hides(&store, &blocks.iter().collect::<Vec<_>>())));
}

#[test]
fn ten_times_the_capacity_streams_through_and_the_hot_refs_stay() {
    let repo = tempfile::tempdir().unwrap();
    let store = small(repo.path());
    let most = Arc::new(AtomicU64::new(0));
    let (path, seen) = (repo.path().to_owned(), most.clone());
    *store.inner.log.on_step.lock() =
        Some(Box::new(move || _ = seen.fetch_max(on_disk(&path), Ordering::Relaxed)));
    let hot: Vec<Vec<Block>> = (0..4).map(|seed| dag(9000 + seed, 6, 1500)).collect();
    let (mut sent, mut seed) = (0, 0);
    while sent < 10 * CAPACITY {
        // Sizes of one to nine leaves, so that deaths are spread over segments.
        let cold = dag(seed, 1 + seed * 7 % 9, 1800);
        sent += size(&cold).get();
        fetch(&store, &cold).unwrap();
        most.fetch_max(on_disk(repo.path()), Ordering::Relaxed);
        for blocks in &hot {
            if seed == 0 {
                fetch(&store, blocks).unwrap();
            } else if seed % 6 == 0 {
                serve(&store, blocks[0].cid(), seed, seed);
            }
        }
        seed += 1;
    }
    *store.inner.log.on_step.lock() = None;
    assert!(most.load(Ordering::Relaxed) <= CAPACITY, "{most:?} bytes lay on the disk");
    assert!(hot.iter().all(|blocks| is_here(&store, blocks)), "{:?}", store.figures());
    let figures = store.figures();
    assert!(figures.moved <= figures.written, "{} moved for {} written", figures.moved, figures.written);
    let full = figures.live.get() * 100 / CAPACITY;
    println!("live {full} %, moved {} % of written", figures.moved.get() * 100 / figures.written.get());
    assert!(full >= 50, "{full} % of the capacity is in use");
    let here = |seed: &u64| is_here(&store, &dag(*seed, 1 + *seed * 7 % 9, 1800));
    let kept = (0..seed).filter(here).count();
    assert_eq!(store.refs().unwrap().len(), kept + hot.len());
}

#[test]
fn compaction_moves_less_than_is_written_when_fetches_mix_and_uses_are_spread() {
    let repo = tempfile::tempdir().unwrap();
    let store = small(repo.path());
    // Four fetches take turns block by block, so that each segment holds parts of many refs; which of 300
    // refs is asked for next follows Zipf's law, by a fixed sequence of numbers.
    let mut random = 12345u64;
    let mut next = || {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let part = (random >> 33) % 1000;
        300 * part * part * part / 1_000_000_000
    };
    let (mut asked, mut hits) = (0, 0);
    for now in 0..180 {
        let mut missing: Vec<Vec<Block>> = Vec::new();
        while missing.len() < 4 {
            let seed = next();
            let blocks = dag(seed, 1 + seed % 6, 2200);
            asked += 1;
            if store.brief(blocks[0].cid()).unwrap().is_some() {
                hits += 1;
                serve(&store, blocks[0].cid(), asked, now);
            } else if !missing.contains(&blocks) {
                missing.push(blocks);
            }
        }
        let rooms: Vec<_> =
            missing.iter().map(|blocks| store.reserve(blocks[0].cid(), size(blocks)).unwrap()).collect();
        let stagings: Vec<_> = (0..4).map(|lane| store.stage(&format!("lane {lane}")).unwrap()).collect();
        stagings.iter().zip(&rooms).for_each(|(staging, room)| staging.within(room));
        for turn in 0..7 {
            for (staging, blocks) in stagings.iter().zip(&missing) {
                blocks.get(turn).iter().for_each(|block| staging.put(block).unwrap());
                inside(&store);
            }
        }
        for (staging, blocks) in stagings.into_iter().zip(&missing) {
            staging.commit(Ref { complete: true, ..Ref::new(*blocks[0].cid()) }).unwrap();
        }
    }
    let Figures { live, moved, written, .. } = store.figures();
    let (full, share) = (live.get() * 100 / CAPACITY, moved.get() * 100 / written.get());
    println!("live {full} %, moved {share} % of {written}, {hits} hits of {asked}");
    assert!(moved <= written && full >= 65, "{share} % moved, {full} % in use");
}

#[test]
fn all_cached_refs_may_go_not_only_the_first_of_each_rank() {
    let repo = tempfile::tempdir().unwrap();
    let store = small(repo.path());
    let refs: Vec<Vec<Block>> = (0..24).map(|seed| dag(seed, 4, 3000)).collect();
    for (n, blocks) in (0..).zip(&refs) {
        fetch(&store, blocks).unwrap();
        (0..n % 5).for_each(|peer| _ = serve(&store, blocks[0].cid(), peer, n));
    }
    let large = dag(100, 16, 29_500);
    fetch(&store, &large).unwrap();
    assert!(is_here(&store, &large));
    assert_eq!(refs.iter().filter(|blocks| is_here(&store, blocks)).count(), 0);
}

#[test]
fn what_is_evicted_stays_away_over_a_restart() {
    for orderly in [true, false] {
        let repo = tempfile::tempdir().unwrap();
        let refs: Vec<Vec<Block>> = (0..60).map(|seed| dag(seed, 4, 3000)).collect();
        let (listed, figures) = {
            let store = small(repo.path());
            refs.iter().for_each(|blocks| fetch(&store, blocks).unwrap());
            if orderly {
                store.close().unwrap();
            }
            (store.briefs().unwrap(), store.figures())
        };
        assert!(listed.len() < 50, "{}", listed.len());
        let store = small(repo.path());
        assert_eq!(store.report().clean, orderly);
        assert_eq!(store.briefs().unwrap(), listed);
        let again = store.figures();
        assert_eq!((again.refs, again.live, again.blocks), (figures.refs, figures.live, figures.blocks));
        assert_eq!((again.usage.used, again.usage.refs), (figures.usage.used, figures.usage.refs));
        assert!(again.used <= figures.used);
        for blocks in &refs {
            assert_eq!(is_here(&store, blocks), listed.iter().any(|brief| brief.root == *blocks[0].cid()));
            assert!(is_here(&store, blocks) || hides(&store, &blocks.iter().collect::<Vec<_>>()));
        }
    }
}

#[test]
fn what_is_shared_frees_nothing_until_the_last_ref_goes() {
    let repo = tempfile::tempdir().unwrap();
    let store = small(repo.path());
    let shared: Vec<Block> = (0..16).map(|seed| leaf(seed, 24_000)).collect();
    for seed in 0..10 {
        let own = leaf(500 + seed, 700);
        let root = node(&shared.iter().chain([&own]).collect::<Vec<_>>());
        let blocks: Vec<Block> = std::iter::once(root).chain(shared.iter().cloned()).chain([own]).collect();
        let staging = store.stage("tx").unwrap();
        put(&staging, &blocks.iter().collect::<Vec<_>>());
        staging.commit(Ref { complete: true, ..Ref::new(*blocks[0].cid()) }).unwrap();
    }
    assert_eq!(store.refs().unwrap().len(), 10, "ten refs fit because their blocks are shared");
    let room = store.reserve(leaf(900, 10).cid(), Bytes::new(300_000)).unwrap();
    assert!(store.refs().unwrap().is_empty(), "all had to go before anything came free");
    assert!(room.left() >= Bytes::new(300_000));
}

#[test]
fn a_ref_that_can_never_fit_is_refused_before_anything_goes() {
    let repo = tempfile::tempdir().unwrap();
    let store = small(repo.path());
    let (own, cached) = (dag(1, 8, 20_000), dag(2, 4, 3000));
    pin(&store, &own);
    fetch(&store, &cached).unwrap();
    let root = *leaf(3, 10).cid();
    for ask in [CAPACITY, CAPACITY - size(&own).get()] {
        let refused = store.reserve(&root, Bytes::new(ask));
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    }
    assert!(is_here(&store, &cached));
    drop(store.reserve(&root, Bytes::new(300_000)).unwrap());
}

#[test]
fn pinned_refs_are_never_evicted_and_a_store_full_of_them_says_so() {
    let repo = tempfile::tempdir().unwrap();
    let store = small(repo.path());
    let own: Vec<Vec<Block>> = (0..6).map(|seed| dag(seed, 4, 16_000)).collect();
    own.iter().for_each(|blocks| pin(&store, blocks));
    let staging = store.stage("more").unwrap();
    let more = dag(50, 12, 16_000);
    let refused = more.iter().map(|block| staging.put(block)).find_map(Result::err).unwrap();
    assert!(matches!(refused, Error::Full { limit: Limit::Capacity, .. }), "{refused}");
    staging.discard().unwrap();
    assert!(own.iter().all(|blocks| is_here(&store, blocks)));
    // What is no longer pinned may go, and what is pinned from now on not.
    store.set_pinned(own[2][0].cid(), false).unwrap();
    fetch(&store, &dag(60, 16, 8000)).unwrap();
    let gone: Vec<usize> = (0..6).filter(|n| !is_here(&store, &own[*n])).collect();
    assert_eq!(gone, [2]);
    store.set_pinned(dag(60, 16, 8000)[0].cid(), true).unwrap();
    assert!(matches!(fetch(&store, &dag(70, 12, 8000)), Err(Error::TooLarge { .. } | Error::Full { .. })));
    assert!(is_here(&store, &dag(60, 16, 8000)));
}

#[test]
fn held_and_staged_refs_stay_until_they_are_let_go() {
    let repo = tempfile::tempdir().unwrap();
    let store = small(repo.path());
    let refs: Vec<Vec<Block>> = (0..4).map(|seed| dag(seed, 4, 24_000)).collect();
    refs.iter().for_each(|blocks| fetch(&store, blocks).unwrap());
    let held = store.hold(refs[0][0].cid());
    let twice = store.hold(refs[0][0].cid());
    let staging = store.stage("next key").unwrap();
    staging.set_roots(&[*refs[1][0].cid()]).unwrap();
    let root = *leaf(99, 10).cid();
    let free = |size| store.reserve(&root, Bytes::new(size));
    assert!(matches!(free(400_000), Err(Error::Full { limit: Limit::Capacity, .. })));
    assert!(refs.iter().all(|blocks| is_here(&store, blocks)), "nothing goes for what does not fit anyway");
    drop(free(250_000).unwrap());
    assert!(is_here(&store, &refs[0]) && is_here(&store, &refs[1]));
    assert!(!is_here(&store, &refs[2]) && !is_here(&store, &refs[3]));
    drop(held);
    assert!(free(400_000).is_err() && is_here(&store, &refs[0]), "held twice");
    drop(twice);
    staging.discard().unwrap();
    drop(free(400_000).unwrap());
    assert!(!is_here(&store, &refs[0]) && !is_here(&store, &refs[1]));
}

#[test]
fn a_stated_size_evicts_no_more_than_a_step_before_its_blocks_come() {
    let repo = tempfile::tempdir().unwrap();
    let store = small(repo.path());
    let refs: Vec<Vec<Block>> = (0..4).map(|seed| dag(seed, 4, 24_000)).collect();
    refs.iter().for_each(|blocks| fetch(&store, blocks).unwrap());
    let (large, step) = (dag(9, 18, 20_000), Bytes::new(10_000));
    let room = store.reserve_step(large[0].cid(), size(&large), step).unwrap();
    assert!(refs.iter().filter(|blocks| is_here(&store, blocks)).count() >= 3, "a word alone costs little");
    let other = store.reserve_step(leaf(7, 10).cid(), Bytes::new(200_000), step);
    assert!(matches!(other, Err(Error::Full { limit: Limit::Capacity, .. })), "both will not fit");
    let never = store.reserve_step(leaf(7, 10).cid(), Bytes::new(CAPACITY), step);
    assert!(matches!(never, Err(Error::TooLarge { .. })));
    let staging = store.stage("large").unwrap();
    staging.within(&room);
    for block in &large {
        staging.put(block).unwrap();
        inside(&store);
    }
    staging.commit(Ref { complete: true, ..Ref::new(*large[0].cid()) }).unwrap();
    assert!(is_here(&store, &large));
    drop(room);
    drop(store.reserve_step(leaf(7, 10).cid(), Bytes::new(200_000), step).unwrap());
}

#[test]
fn rooms_of_several_fetches_add_up_and_shrink_as_they_are_filled() {
    let repo = tempfile::tempdir().unwrap();
    let store = small(repo.path());
    let (a, b) = (dag(1, 8, 20_000), dag(2, 8, 20_000));
    let room = store.reserve(a[0].cid(), size(&a)).unwrap();
    let before = store.figures().reserved;
    assert!(before >= size(&a));
    let other = store.reserve(b[0].cid(), size(&b)).unwrap();
    assert!(store.reserve(leaf(3, 10).cid(), Bytes::new(200_000)).is_err(), "the rest is spoken for");
    // A put without a room leaves the rooms alone.
    let stranger = store.stage("stranger").unwrap();
    let refused = (0..30).map(|n| stranger.put(&leaf(7000 + n, 10_000))).find_map(Result::err).unwrap();
    assert!(refused.is_full());
    let staging = store.stage("a").unwrap();
    staging.within(&room);
    put(&staging, &a.iter().collect::<Vec<_>>());
    assert!(room.left() < Bytes::new(2000), "{}", room.left());
    staging.commit(Ref::new(*a[0].cid())).unwrap();
    drop(room);
    let staging = store.stage("b").unwrap();
    staging.within(&other);
    put(&staging, &b.iter().collect::<Vec<_>>());
    drop(other);
    assert_eq!(store.figures().reserved, Bytes::ZERO);
    staging.commit(Ref::new(*b[0].cid())).unwrap();
    assert!(is_here(&store, &a) && is_here(&store, &b));
}

#[test]
fn large_content_that_nobody_here_asked_for_must_be_asked_for_twice() {
    let repo = tempfile::tempdir().unwrap();
    let store = small(repo.path());
    let (root, large) = (*leaf(1, 10).cid(), Bytes::new(CAPACITY * 3 / 5));
    assert!(store.admits(leaf(2, 10).cid(), Bytes::new(1000)));
    assert!(!store.admits(&root, large));
    assert!(store.admits(&root, large));
    assert!(!store.admits(&root, Bytes::new(CAPACITY)), "nor ever");
    drop(store.reserve(leaf(3, 10).cid(), large).unwrap());
}

#[test]
fn one_peer_alone_cannot_keep_a_ref_that_is_on_probation() {
    let repo = tempfile::tempdir().unwrap();
    let store = small(repo.path());
    let refs: Vec<Vec<Block>> = (0..12).map(|seed| dag(seed, 2, 3000)).collect();
    refs.iter().for_each(|blocks| fetch(&store, blocks).unwrap());
    let root = refs[0][0].cid();
    assert!(serve(&store, root, 7, 100));
    assert!((0..50).all(|n| !serve(&store, root, 7, 101 + n)));
    let brief = store.brief(root).unwrap().unwrap();
    assert_eq!((brief.frequency, brief.bytes_served, brief.last_used), (1, Bytes::new(510), 150));
    assert!(serve(&store, root, 8, 200));
    assert_eq!(store.brief(root).unwrap().unwrap().frequency, 2);
    assert!(!serve(&store, leaf(999, 10).cid(), 1, 1), "there is no such ref");
}

#[test]
fn what_earns_stays_longer_than_what_is_free() {
    let repo = tempfile::tempdir().unwrap();
    let store = small(repo.path());
    let refs: Vec<Vec<Block>> = (0..40).map(|seed| dag(seed, 2, 5000)).collect();
    let pays = |n: u64| n.is_multiple_of(2);
    refs.iter().for_each(|blocks| fetch(&store, blocks).unwrap());
    for (n, blocks) in (0..).zip(&refs) {
        let revenue = AttoFil::new(if pays(n) { 1 << 40 } else { 0 });
        for peer in 0..3u8 {
            let serve = Serve { peer: &[peer + 1], bytes: size(blocks), revenue, now: n };
            store.served(blocks[0].cid(), serve).unwrap();
        }
    }
    for seed in 100..140 {
        fetch(&store, &dag(seed, 2, 5000)).unwrap();
        (0..2).for_each(|peer| _ = serve(&store, dag(seed, 2, 5000)[0].cid(), peer, 500));
    }
    let kept = |paid: bool| (0..).zip(&refs).filter(|(n, b)| pays(*n) == paid && is_here(&store, b)).count();
    assert!(kept(true) > kept(false), "{} that pay, {} that are free", kept(true), kept(false));
    let brief = store.brief(refs[0][0].cid()).unwrap();
    assert!(brief.is_none_or(|brief| brief.revenue == AttoFil::new(3 << 40)));
}

#[test]
fn shadows_see_the_same_requests() {
    let repo = tempfile::tempdir().unwrap();
    let store = small(repo.path());
    let blocks = dag(1, 2, 3000);
    fetch(&store, &blocks).unwrap();
    (0..5).for_each(|peer| _ = serve(&store, blocks[0].cid(), peer, 1));
    let shadows = store.figures().shadows;
    assert_eq!((shadows.real.requests, shadows.real.hits), (6, 5));
    assert_eq!(shadows.others.len(), crate::Choice::ALL.len());
    assert!(shadows.others.iter().all(|(_, tally)| (tally.requests, tally.hits) == (6, 5)));
}

#[test]
fn every_policy_keeps_the_store_inside_its_capacity() {
    for policy in crate::Choice::ALL {
        let repo = tempfile::tempdir().unwrap();
        let options = Options { capacity: Bytes::new(CAPACITY / 4), policy, ..Options::default() };
        let store = Store::open(repo.path(), options).unwrap();
        for seed in 0..40 {
            fetch(&store, &dag(seed, 1 + seed % 3, 4000)).unwrap();
        }
        assert_eq!(store.figures().policy, policy);
        assert!(store.figures().refs > 2);
    }
}

#[test]
fn gets_removals_fetches_evictions_and_compactions_at_once_never_lose_what_is_listed() {
    let repo = tempfile::tempdir().unwrap();
    let store = small(repo.path());
    let own = dag(5000, 6, 6000);
    pin(&store, &own);
    let held: Vec<Block> = dag(6000, 3, 6000);
    fetch(&store, &held).unwrap();
    let (barrier, rounds) = (Barrier::new(6), 60);
    std::thread::scope(|scope| {
        for lane in 0..2u64 {
            let (store, barrier) = (&store, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for round in 0..rounds {
                    // The lanes meet each other's content, also while it is being evicted.
                    let blocks = dag((lane * 5 + round) % 40, 1 + round % 5, 7000);
                    let name = format!("lane {lane}");
                    match fetch_as(store, &name, &blocks) {
                        Ok(()) | Err(Error::Full { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                    if store.stagings().contains(&name) {
                        store.stage(&name).unwrap().discard().unwrap();
                    }
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..rounds {
                    let guard = store.hold(held[0].cid());
                    let is_listed = store.brief(held[0].cid()).unwrap().is_some_and(|brief| brief.complete);
                    for block in &held {
                        let found = store.get(block.cid()).unwrap();
                        assert!(!is_listed || found.as_ref() == Some(block.data()), "held and listed");
                    }
                    drop(guard);
                    assert!(is_here(&store, &own), "pinned");
                    inside(&store);
                }
            });
        }
        scope.spawn(|| {
            barrier.wait();
            for round in 0..rounds {
                store.remove(dag(round % 40, 1 + round % 5, 7000)[0].cid()).unwrap();
                serve(&store, held[0].cid(), round, round);
            }
        });
        scope.spawn(|| {
            barrier.wait();
            for round in 0..rounds {
                store.compact(round % 3 == 0).unwrap();
                assert!(store.verify(&mut |_| true).unwrap().damaged.is_empty());
            }
        });
    });
    assert_eq!(store.figures().reserved, Bytes::ZERO);
    let (listed, all) = (store.briefs().unwrap(), store.inner.index.all());
    drop(store);
    let store = small(repo.path());
    assert!(store.report().broken.is_empty());
    assert_eq!(store.briefs().unwrap(), listed);
    let places = |all: Vec<(Vec<u8>, crate::index::Entry)>| -> Vec<(Vec<u8>, u32)> {
        all.into_iter().map(|(key, entry)| (key, entry.refs)).collect()
    };
    assert_eq!(places(store.inner.index.all()), places(all), "counts in memory are those of a rebuild");
}
