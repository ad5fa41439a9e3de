//! Who sees which block when.

use multihash_codetable::{Code, MultihashDigest};
use pop_dag::BlockSource;

use super::*;
use crate::{Error, Limit, RefKey};

#[test]
fn what_is_committed_reads_back_and_lists() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (a, b) = (leaf(1, 100), leaf(2, 3000));
    let root = node(&[&a, &b]);
    commit(&store, &[&root, &a, &b]);
    assert!(holds(&store, &[&root, &a, &b]));
    assert_eq!(store.size(b.cid()).unwrap(), Some(Bytes::new(3000)));
    assert_eq!(store.block(a.cid()).unwrap(), Some(a.data().clone()));
    let found = store.ref_of(root.cid()).unwrap().unwrap();
    assert!(found.complete);
    assert_eq!(found.size, Bytes::new(3100).saturating_add(root.size()));
    assert!(store.stagings().is_empty());
}

#[test]
fn a_key_is_the_multihash_whatever_the_codec_and_version() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (a, root) = (leaf(1, 100), node(&[&leaf(1, 100)]));
    commit(&store, &[&root, &a]);
    let as_raw = Cid::new_v1(Codec::Raw.code(), *root.cid().hash());
    assert_eq!(store.get(&as_raw).unwrap().as_ref(), Some(root.data()));
    let long = Cid::new_v1(Codec::Raw.code(), multihash::Multihash::wrap(0x13, &[7; 64]).unwrap());
    assert_eq!(store.get(&long).unwrap(), None);
}

#[test]
fn staged_blocks_are_seen_by_their_staging_alone() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let a = leaf(1, 100);
    let (mine, other) = (store.stage("mine").unwrap(), store.stage("other").unwrap());
    put(&mine, &[&a, &a]);
    assert!(hides(&store, &[&a]));
    assert_eq!(mine.get(a.cid()).unwrap().as_ref(), Some(a.data()));
    assert_eq!(other.get(a.cid()).unwrap(), None);
    assert_eq!(mine.bytes(), Bytes::new(100));
    let used = store.used();
    put(&other, &[&a]);
    assert_eq!(store.used(), used, "a block that is stored is not written again");
    mine.discard().unwrap();
    assert_eq!(other.get(a.cid()).unwrap().as_ref(), Some(a.data()));
    other.discard().unwrap();
    assert_eq!(store.used(), Bytes::ZERO);
}

#[test]
fn blocks_the_root_does_not_reach_go_with_the_commit() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (a, stray) = (leaf(1, 100), leaf(2, 100));
    let root = node(&[&a]);
    commit(&store, &[&root, &a, &stray]);
    assert!(holds(&store, &[&root, &a]));
    assert!(hides(&store, &[&stray]));
    assert_eq!(store.inner.index.count(), 2);
}

#[test]
fn an_ended_staging_takes_nothing_more() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let a = leaf(1, 100);
    let staging = store.stage("tx").unwrap();
    put(&staging, &[&a]);
    staging.clone().commit(Ref::new(*a.cid())).unwrap();
    assert!(matches!(staging.put(&leaf(2, 9)), Err(Error::NoStaging { .. })));
    assert!(matches!(staging.clone().commit(Ref::new(*a.cid())), Err(Error::NoStaging { .. })));
    assert!(matches!(staging.discard(), Err(Error::NoStaging { .. })));
    assert!(holds(&store, &[&a]));
}

#[test]
fn a_false_claim_to_be_complete_commits_nothing() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (a, b) = (leaf(1, 100), leaf(2, 100));
    let root = node(&[&a, &b]);
    let staging = store.stage("tx").unwrap();
    put(&staging, &[&root, &a]);
    let claim = Ref { complete: true, ..Ref::new(*root.cid()) };
    let refused = staging.clone().commit(claim.clone());
    assert!(matches!(refused, Err(Error::Incomplete { missing }) if missing == *b.cid()));
    assert!(hides(&store, &[&root, &a]));
    put(&staging, &[&b]);
    staging.commit(claim).unwrap();
    assert!(holds(&store, &[&root, &a, &b]));
}

#[test]
fn a_part_becomes_the_whole_and_leaves_as_one() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (a, b) = (leaf(1, 100), leaf(2, 100));
    let root = node(&[&a, &b]);
    let part = store.stage("part").unwrap();
    put(&part, &[&root, &a]);
    part.commit(Ref::new(*root.cid())).unwrap();
    assert!(!store.ref_of(root.cid()).unwrap().unwrap().complete);
    commit(&store, &[&root, &a, &b]);
    assert!(store.ref_of(root.cid()).unwrap().unwrap().complete);
    assert_eq!(store.remove(root.cid()).unwrap(), Bytes::new(200).saturating_add(root.size()));
    assert!(hides(&store, &[&root, &a, &b]));
    assert_eq!(store.used(), Bytes::ZERO);
}

#[test]
fn a_part_never_frees_what_came_later_with_another_ref() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (a, b) = (leaf(1, 100), leaf(2, 100));
    let root = node(&[&a, &b]);
    let part = store.stage("part").unwrap();
    put(&part, &[&root, &a]);
    part.commit(Ref::new(*root.cid())).unwrap();
    commit(&store, &[&b]);
    assert_eq!(store.remove(root.cid()).unwrap(), Bytes::new(100).saturating_add(root.size()));
    assert!(holds(&store, &[&b]));
}

#[test]
fn shared_blocks_go_with_the_last_ref() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (shared, a, b) = (leaf(1, 100), leaf(2, 100), leaf(3, 100));
    let (one, two) = (node(&[&shared, &a, &shared]), node(&[&shared, &b]));
    commit(&store, &[&one, &a, &shared]);
    commit(&store, &[&two, &b]);
    assert_eq!(store.remove(one.cid()).unwrap(), Bytes::new(100).saturating_add(one.size()));
    assert!(hides(&store, &[&one, &a]));
    assert!(holds(&store, &[&two, &b, &shared]));
    store.remove(two.cid()).unwrap();
    assert!(hides(&store, &[&two, &b, &shared]));
    assert_eq!(store.remove(two.cid()).unwrap(), Bytes::ZERO);
    assert_eq!(store.used(), Bytes::ZERO);
}

#[test]
fn a_staging_keeps_what_a_removed_ref_held() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let a = leaf(1, 100);
    commit(&store, &[&a]);
    let staging = store.stage("next").unwrap();
    put(&staging, &[&a]);
    assert_eq!(store.remove(a.cid()).unwrap(), Bytes::ZERO);
    assert!(hides(&store, &[&a]));
    staging.commit(Ref::new(*a.cid())).unwrap();
    assert!(holds(&store, &[&a]));
}

#[test]
fn committing_a_root_again_merges() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let a = leaf(1, 100);
    let key = |name: &str| RefKey { here: true, ..RefKey::new(name, *a.cid(), Bytes::new(100)) };
    let again = |keys: Vec<RefKey>, pinned| {
        let staging = store.stage("tx").unwrap();
        put(&staging, &[&a]);
        staging.commit(Ref { keys, pinned, ..Ref::new(*a.cid()) }).unwrap();
    };
    again(vec![key("x"), key("y")], true);
    assert!(store.touch(a.cid(), 70).unwrap());
    again(vec![key("z"), key("y")], false);
    let found = store.ref_of(a.cid()).unwrap().unwrap();
    assert_eq!(found.keys, [key("x"), key("y"), key("z")]);
    assert_eq!((found.pinned, found.complete, found.frequency, found.last_used), (true, true, 1, 70));
    assert_eq!(found.size, Bytes::new(100));
    store.set_pinned(a.cid(), false).unwrap();
    assert!(!store.ref_of(a.cid()).unwrap().unwrap().pinned);
    store.remove(a.cid()).unwrap();
    assert!(hides(&store, &[&a]));
    assert!(!store.touch(a.cid(), 71).unwrap());
    assert!(matches!(store.set_pinned(a.cid(), true), Err(Error::NoRef { .. })));
}

#[test]
fn refs_list_the_least_used_first() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let blocks = [leaf(1, 10), leaf(2, 10), leaf(3, 10)];
    blocks.iter().for_each(|block| commit(&store, &[block]));
    for (block, uses, at) in [(0, 3, 5), (1, 1, 9), (2, 1, 7)] {
        (0..uses).for_each(|_| assert!(store.touch(blocks[block].cid(), at).unwrap()));
    }
    let order: Vec<Cid> = store.refs().unwrap().into_iter().map(|found| found.root).collect();
    assert_eq!(order, [*blocks[2].cid(), *blocks[1].cid(), *blocks[0].cid()]);
}

#[test]
fn identity_blocks_are_here_and_take_no_room() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let inline = Cid::new_v1(Codec::Raw.code(), multihash::Multihash::wrap(0, b"tiny").unwrap());
    let block = Block::verified(inline, Buf::from_static(b"tiny")).unwrap();
    let a = leaf(1, 10);
    let links = node(&[&a]);
    let wrapped = multihash::Multihash::wrap(0, links.data()).unwrap();
    let hidden = Block::verified(Cid::new_v1(Codec::DagCbor.code(), wrapped), links.data().clone()).unwrap();
    let root = node(&[&block, &hidden]);
    commit(&store, &[&root, &block, &hidden, &a]);
    assert_eq!(store.inner.index.count(), 2);
    assert!(holds(&store, &[&root, &block, &a]), "links inside an identity CID count");
}

#[test]
fn a_full_store_says_so_and_goes_on_once_there_is_room() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), Options { capacity: Bytes::new(1000), ..options() }).unwrap();
    let (a, b) = (leaf(1, 600), leaf(2, 600));
    commit(&store, &[&a]);
    store.set_pinned(a.cid(), true).unwrap();
    let staging = store.stage("tx").unwrap();
    let refused = staging.put(&b);
    assert!(matches!(refused, Err(Error::Full { limit: Limit::Capacity, .. })));
    assert!(holds(&store, &[&a]));
    store.remove(a.cid()).unwrap();
    staging.put(&b).unwrap();
    staging.commit(Ref::new(*b.cid())).unwrap();
    assert!(holds(&store, &[&b]));
}

#[test]
fn a_torn_append_on_a_full_disk_leaves_the_store_usable() {
    let repo = tempfile::tempdir().unwrap();
    let (a, b, c) = (leaf(1, 600), leaf(2, 600), leaf(3, 50));
    {
        let store = open(repo.path());
        commit(&store, &[&a]);
        store.inner.log.fault.store(true, std::sync::atomic::Ordering::Relaxed);
        let staging = store.stage("tx").unwrap();
        let refused = staging.put(&b);
        assert!(matches!(refused, Err(Error::Full { limit: Limit::Disk, .. })));
        assert!(holds(&store, &[&a]));
        put(&staging, &[&c]);
        staging.commit(Ref::new(*c.cid())).unwrap();
    }
    let store = open(repo.path());
    assert!(holds(&store, &[&a, &c]));
    assert!(hides(&store, &[&b]));
}

#[test]
fn reading_while_refs_come_and_go_gives_the_block_or_nothing() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let blocks: Vec<Block> = (0..12).map(|seed| leaf(seed, 900)).collect();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut seen = 0;
                while seen == 0 || !done.load(std::sync::atomic::Ordering::Relaxed) {
                    for block in &blocks {
                        if let Some(data) = store.get(block.cid()).unwrap() {
                            assert_eq!(&data, block.data());
                            seen += 1;
                        }
                    }
                }
            });
        }
        for round in 0..5 {
            blocks.iter().for_each(|block| commit(&store, &[block]));
            for block in blocks.iter().skip(round % 2) {
                store.remove(block.cid()).unwrap();
            }
        }
        blocks.iter().for_each(|block| commit(&store, &[block]));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_ref_that_is_listed_can_be_read() {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), Options::default()).unwrap();
    let leaves: Vec<Block> = (0..400).map(|seed| leaf(seed, 16)).collect();
    let root = node(&leaves.iter().collect::<Vec<_>>());
    let staging = store.stage("tx").unwrap();
    put(&staging, &leaves.iter().chain([&root]).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        let store = &store;
        let reader = scope.spawn(|| {
            while store.ref_of(root.cid()).unwrap().is_none() && store.refs().unwrap().is_empty() {}
            assert!(leaves.iter().all(|block| store.has(block.cid()).unwrap()));
        });
        staging.commit(Ref { complete: true, ..Ref::new(*root.cid()) }).unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn staging_takes_blocks_from_an_import() {
    use pop_dag::unixfs::{Rules, add_file, write_file};
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let data: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[1] ^ n.to_le_bytes()[2]).collect();
    let mut staging = store.stage("tx").unwrap();
    let added = add_file(&mut data.as_slice(), &Rules::default(), &mut staging, &mut |_| {}).unwrap();
    staging.commit(Ref { complete: true, ..Ref::new(added.cid) }).unwrap();
    let mut back = Vec::new();
    write_file(&added.cid, &store, &mut back, &mut |_| {}).unwrap();
    assert!(back == data);
}

#[test]
fn the_number_of_removals_changes_with_what_goes_and_with_nothing_else() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (a, b, shared) = (leaf(1, 100), leaf(2, 100), leaf(3, 100));
    let (one, two) = (node(&[&a, &shared]), node(&[&b, &shared]));
    let begun = store.removals();
    commit(&store, &[&one, &a, &shared]);
    commit(&store, &[&two, &b, &shared]);
    store.touch(one.cid(), 1).unwrap();
    store.set_pinned(one.cid(), true).unwrap();
    store.compact(true).unwrap();
    assert_eq!(store.removals(), begun, "nothing has gone");
    store.remove(one.cid()).unwrap();
    let removed = store.removals();
    assert_ne!(removed, begun);
    assert!(holds(&store, &[&two, &b, &shared]) && hides(&store, &[&one, &a]));
    let staging = store.stage("held").unwrap();
    put(&staging, &[&b, &two, &shared]);
    store.remove(two.cid()).unwrap();
    assert_ne!(store.removals(), removed, "what a staging still holds is out of sight as well");
    assert!(hides(&store, &[&two, &b, &shared]));
}

#[test]
fn parts_of_a_block_are_read_where_it_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (mine, other) = (leaf(1, 100), leaf(2, 100));
    let [one, two] = ["one", "two"].map(|name| store.stage(name).unwrap());
    put(&one, &[&mine]);
    put(&two, &[&other]);
    let part = |staging: &Staging, block: &Block| staging.get_part(block.cid(), 10..90).unwrap();
    assert_eq!(part(&one, &mine).unwrap(), mine.data()[10..90]);
    assert_eq!(one.get_part(mine.cid(), 90..500).unwrap().unwrap(), mine.data()[90..]);
    assert_eq!((part(&one, &other), store.get_part(mine.cid(), 0..9).unwrap()), (None, None));
    let after = one.clone();
    one.commit(Ref::new(*mine.cid())).unwrap();
    assert_eq!(part(&after, &mine).unwrap(), mine.data()[10..90]);
    two.clone().discard().unwrap();
    assert_eq!(part(&two, &other), None);
}

#[test]
fn parts_of_a_block_are_its_bytes_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let data: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let block = Block::of(Codec::Raw, data.clone().into());
    let long = Code::Sha2_512.digest(&data);
    let long = Block::verified(Cid::new_v1(Codec::Raw.code(), long), data.clone().into()).unwrap();
    commit(&store, &[&block, &leaf(1, 100)]);
    commit(&store, &[&long]);
    for cid in [block.cid(), long.cid()] {
        for (start, end) in
            [(0, 3000), (0, 1), (1, 2), (2999, 3000), (500, 1500), (0, 0), (7, 7), (3000, 3000)]
        {
            let part = store.get_part(cid, start..end).unwrap().unwrap();
            let [start, end] = [start, end].map(|at| usize::try_from(at).unwrap());
            assert_eq!(part, data[start..end], "{start}..{end}");
        }
        assert_eq!(store.get_part(cid, 2990..9000).unwrap().unwrap(), data[2990..]);
        assert_eq!(store.get_part(cid, 9000..u64::MAX).unwrap().unwrap(), data[..0]);
    }
    store.remove(block.cid()).unwrap();
    assert_eq!(store.get_part(block.cid(), 0..10).unwrap(), None);
}
