//! What is there after a stop that was no orderly one. A dropped store stands for a killed process: nothing
//! is written on drop but what sled holds back, and the index is rebuilt either way.

use std::os::unix::fs::FileExt;

use super::*;
use crate::OpenError;

/// Three committed DAGs over several segments, the store closed or dropped.
fn furnish(repo: &Path, close: bool) -> Vec<Block> {
    let store = open(repo);
    let mut all = Vec::new();
    for seed in 0..3 {
        let leaves: Vec<Block> = (0..4).map(|n| leaf(seed * 10 + n, 900)).collect();
        let root = node(&leaves.iter().collect::<Vec<_>>());
        let blocks: Vec<&Block> = std::iter::once(&root).chain(&leaves).collect();
        commit(&store, &blocks);
        all.extend(blocks.into_iter().cloned());
    }
    if close {
        store.close().unwrap();
    }
    all
}

fn refs_of(blocks: &[Block]) -> Vec<&Block> {
    blocks.iter().collect()
}

#[test]
fn an_orderly_stop_is_trusted_and_any_other_rebuilds() {
    let repo = tempfile::tempdir().unwrap();
    let blocks = furnish(repo.path(), true);
    {
        let store = open(repo.path());
        let report = store.report();
        assert!(report.clean && !report.rebuilt, "{report:?}");
        assert_eq!(report.blocks, 15);
        assert!(holds(&store, &refs_of(&blocks)));
        commit(&store, &[&leaf(99, 50)]);
    }
    let store = open(repo.path());
    let report = store.report();
    assert!(!report.clean && report.rebuilt && report.broken.is_empty(), "{report:?}");
    assert_eq!(report.blocks, 16);
    assert!(holds(&store, &refs_of(&blocks)) && holds(&store, &[&leaf(99, 50)]));
    for root in store.refs().unwrap() {
        store.remove(&root.root).unwrap();
    }
    assert_eq!(store.used(), Bytes::ZERO);
    assert!(files(repo.path(), "seg").is_empty());
}

#[test]
fn a_closed_store_changes_no_more() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let staging = store.stage("tx").unwrap();
    store.close().unwrap();
    assert!(matches!(staging.put(&leaf(1, 10)), Err(crate::Error::Closed)));
    assert!(matches!(store.stage("other"), Err(crate::Error::Closed)));
    assert!(matches!(store.close(), Err(crate::Error::Closed)));
}

#[test]
fn a_lost_or_foreign_index_is_rebuilt() {
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 4] = [
        ("deleted", |index| fs::remove_dir_all(index).unwrap()),
        ("garbage", |index| fs::write(index.join("db"), vec![0xa5; 70_000]).unwrap()),
        ("emptied", |index| {
            fs::remove_dir_all(index).unwrap();
            drop(sled::open(index).unwrap());
        }),
        ("cut", |index| {
            let file = fs::File::options().write(true).open(index.join("db")).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }),
    ];
    for (name, spoil) in spoils {
        let repo = tempfile::tempdir().unwrap();
        let blocks = furnish(repo.path(), true);
        spoil(&repo.path().join("blocks/index"));
        let store = open(repo.path());
        assert!(holds(&store, &refs_of(&blocks)), "{name}");
        assert_eq!(store.report().blocks, 15, "{name}");
    }
}

/// What rots after an orderly stop may only be met by the call that needs it. That call fails, and the next
/// start builds the index anew.
#[test]
fn an_index_that_rots_is_rebuilt_by_the_start_after_it_was_noticed() {
    let repo = tempfile::tempdir().unwrap();
    let leaves: Vec<Block> = (0..3000).map(|n| leaf(n, 20)).collect();
    let links: Vec<&Block> = leaves.iter().collect();
    let root = node(&links);
    {
        let store = Store::open(repo.path(), crate::Options::default()).unwrap();
        commit(&store, &[&[&root], &links[..]].concat());
        store.close().unwrap();
    }
    let db = repo.path().join("blocks/index/db");
    let len = fs::metadata(&db).unwrap().len();
    for at in (0..8).map(|eighth| len / 8 * eighth) {
        let file = fs::File::options().write(true).open(&db).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0xa5; 5000], at).unwrap();
        let store = Store::open(repo.path(), crate::Options::default()).unwrap();
        let all = links.iter().all(|leaf| store.get(leaf.cid()).is_ok_and(|data| data.is_some()));
        let _ = store.close();
        drop(store);
        let store = Store::open(repo.path(), crate::Options::default()).unwrap();
        assert!(all || store.report().rebuilt, "at {at} of {len}");
        assert!(holds(&store, &links), "at {at} of {len}");
        store.close().unwrap();
    }
}

#[test]
fn an_index_of_another_moment_is_not_trusted() {
    let repo = tempfile::tempdir().unwrap();
    let blocks = furnish(repo.path(), true);
    let old = repo.path().join("old-index");
    copy_tree(&repo.path().join("blocks/index"), &old);
    {
        let store = open(repo.path());
        store.remove(blocks[0].cid()).unwrap();
        commit(&store, &refs_of(&blocks[..5]));
        store.close().unwrap();
    }
    fs::remove_dir_all(repo.path().join("blocks/index")).unwrap();
    fs::rename(&old, repo.path().join("blocks/index")).unwrap();
    let store = open(repo.path());
    assert!(store.report().rebuilt);
    assert!(holds(&store, &refs_of(&blocks)));
}

#[test]
fn an_index_of_another_version_is_not_trusted() {
    let repo = tempfile::tempdir().unwrap();
    let blocks = furnish(repo.path(), true);
    // The marker says which version the index is of: everything else in it stays true.
    let marker = repo.path().join("blocks/CLEAN");
    let mut body = fs::read(&marker).unwrap();
    body.truncate(body.len() - 4);
    let name = b"version";
    let at = body.windows(name.len()).position(|window| window == name).unwrap() + name.len();
    assert_eq!(body[at], 1, "a small number is one byte");
    body[at] = 2;
    let crc = crc32c::crc32c(&body).to_le_bytes();
    fs::write(&marker, [body, crc.to_vec()].concat()).unwrap();
    let store = open(repo.path());
    assert!(store.report().rebuilt);
    assert!(holds(&store, &refs_of(&blocks)));
}

#[test]
fn hints_save_reading_and_are_not_needed() {
    let repo = tempfile::tempdir().unwrap();
    let blocks = furnish(repo.path(), false);
    let hints = files(repo.path(), "hint");
    assert!(hints.len() >= 2, "{hints:?}");
    fs::remove_file(&hints[0]).unwrap();
    fs::write(&hints[1], b"POPH, but not really a hint").unwrap();
    {
        let store = open(repo.path());
        assert!(holds(&store, &refs_of(&blocks)));
    }
    assert_eq!(files(repo.path(), "hint"), hints, "the rebuild writes them anew");
    let mut bytes = fs::read(&hints[0]).unwrap();
    bytes[30] ^= 1;
    fs::write(&hints[0], bytes).unwrap();
    assert!(holds(&open(repo.path()), &refs_of(&blocks)));
}

#[test]
fn a_tail_torn_at_any_byte_costs_only_what_was_not_acknowledged() {
    let origin = tempfile::tempdir().unwrap();
    let (kept, last) = (leaf(1, 100), leaf(2, 80));
    let whole;
    {
        let store = open(origin.path());
        commit(&store, &[&kept]);
        whole = store.used().get();
        put(&store.stage("tx").unwrap(), &[&last]);
        assert!(store.used().get() > whole + 140);
    }
    let segment = files(origin.path(), "seg").pop().unwrap();
    let bytes = fs::read(&segment).unwrap();
    let torn = tempfile::tempdir().unwrap();
    copy_tree(origin.path(), torn.path());
    let target = torn.path().join(segment.strip_prefix(origin.path()).unwrap());
    for end in usize::try_from(whole).unwrap()..bytes.len() {
        fs::write(&target, &bytes[..end]).unwrap();
        let store = open(torn.path());
        assert!(holds(&store, &[&kept]) && hides(&store, &[&last]), "cut at {end}");
        let cut = u64::try_from(end).unwrap() - whole;
        // Losing only padding tears nothing.
        let report = store.report();
        assert!(report.cut == Bytes::new(cut) || report.swept == 1, "cut at {end}: {report:?}");
        commit(&store, &[&last]);
        assert!(holds(&store, &[&kept, &last]));
        store.remove(last.cid()).unwrap();
    }
}

#[test]
fn a_tail_of_zeros_or_garbage_is_cut_off() {
    for filling in [0u8, 0x50] {
        let repo = tempfile::tempdir().unwrap();
        let blocks = furnish(repo.path(), false);
        let last = files(repo.path(), "seg").pop().unwrap();
        let file = fs::File::options().write(true).open(&last).unwrap();
        let len = file.metadata().unwrap().len();
        file.write_all_at(&vec![filling; 5000], len).unwrap();
        let store = open(repo.path());
        assert_eq!(store.report().cut, Bytes::new(5000));
        assert_eq!(fs::metadata(&last).unwrap().len(), len);
        assert!(holds(&store, &refs_of(&blocks)));
    }
}

#[test]
fn a_hole_costs_the_blocks_in_it_and_names_their_ref() {
    let repo = tempfile::tempdir().unwrap();
    let (a, b, c) = (leaf(1, 100), leaf(2, 100), leaf(3, 100));
    {
        let store = open(repo.path());
        [&a, &b, &c].into_iter().for_each(|block| commit(&store, &[block]));
    }
    let segment = files(repo.path(), "seg").pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[168 + 64] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let store = open(repo.path());
    assert!(holds(&store, &[&a, &c]));
    assert!(hides(&store, &[&b]));
    assert_eq!(store.report().broken, [*b.cid()]);
    assert!(!store.ref_of(b.cid()).unwrap().unwrap().complete);
    commit(&store, &[&b]);
    assert!(holds(&store, &[&a, &b, &c]));
}

#[test]
fn a_block_that_looks_like_a_record_is_never_taken_for_one() {
    let repo = tempfile::tempdir().unwrap();
    let victim = leaf(7, 40);
    // What a peer would send: a record of the victim's multihash over other bytes, and a high number.
    let key = victim.cid().hash().to_bytes();
    let draft = crate::record::Draft::put(&key, &[0xee; 40]);
    let mut forged = draft.head(u64::MAX);
    forged.extend_from_slice(draft.payload());
    let carrier = Block::of(Codec::Raw, forged.into());
    let after = leaf(8, 40);
    {
        let store = open(repo.path());
        commit(&store, &[&carrier]);
        commit(&store, &[&after]);
        put(&store.stage("tx").unwrap(), &[&victim]);
    }
    let segment = files(repo.path(), "seg").pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[0] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let store = open(repo.path());
    commit(&store, &[&victim]);
    assert!(holds(&store, &[&victim, &after]));
    drop(store);
    assert!(holds(&open(repo.path()), &[&victim, &after]));
}

#[test]
fn a_staging_survives_with_its_roots_and_vanishes_without() {
    for close in [true, false] {
        let repo = tempfile::tempdir().unwrap();
        let (a, stray, lost) = (leaf(1, 100), leaf(2, 100), leaf(3, 100));
        let root = node(&[&a, &leaf(77, 10)]);
        {
            let store = open(repo.path());
            let kept = store.stage("tx:open").unwrap();
            put(&kept, &[&root, &a, &stray]);
            kept.set_roots(&[*lost.cid()]).unwrap();
            kept.set_roots(&[*root.cid()]).unwrap();
            put(&store.stage("fetch").unwrap(), &[&lost]);
            if close {
                store.close().unwrap();
            }
        }
        let store = open(repo.path());
        assert_eq!(store.report().clean, close);
        assert_eq!(store.stagings(), ["tx:open"]);
        assert_eq!(store.inner.index.count(), 2, "stray and lost are swept");
        let kept = store.stage("tx:open").unwrap();
        assert_eq!(kept.roots().unwrap(), [*root.cid()]);
        assert_eq!(kept.bytes(), Bytes::new(100).saturating_add(root.size()));
        assert!(hides(&store, &[&root, &a]));
        assert_eq!(kept.get(a.cid()).unwrap().as_ref(), Some(a.data()));
        kept.commit(Ref::new(*root.cid())).unwrap();
        assert!(holds(&store, &[&root, &a]));
        drop(store);
        let store = open(repo.path());
        assert!(store.stagings().is_empty());
        assert!(holds(&store, &[&root, &a]));
    }
}

#[test]
fn a_removed_ref_stays_removed_and_a_part_stays_a_part() {
    let repo = tempfile::tempdir().unwrap();
    let (a, b, c) = (leaf(1, 100), leaf(2, 100), leaf(3, 100));
    let root = node(&[&a, &b]);
    {
        let store = open(repo.path());
        let part = store.stage("part").unwrap();
        put(&part, &[&root, &a]);
        part.commit(Ref::new(*root.cid())).unwrap();
        commit(&store, &[&c]);
        store.remove(c.cid()).unwrap();
    }
    let store = open(repo.path());
    assert!(hides(&store, &[&c]) && holds(&store, &[&root, &a]));
    assert!(!store.ref_of(root.cid()).unwrap().unwrap().complete);
    commit(&store, &[&b]);
    store.remove(root.cid()).unwrap();
    assert!(hides(&store, &[&root, &a]) && holds(&store, &[&b]));
}

#[test]
fn a_second_open_is_told_that_the_store_is_in_use() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let refused = Store::open(repo.path(), options());
    let us = std::process::id();
    assert!(matches!(refused, Err(OpenError::InUse { pid: Some(pid), .. }) if pid == us), "{refused:?}");
    drop(store);
    open(repo.path());
}

#[test]
fn blocks_without_their_state_are_not_swept_but_reported() {
    let repo = tempfile::tempdir().unwrap();
    let blocks = furnish(repo.path(), true);
    let state = repo.path().join("state");
    fs::rename(&state, repo.path().join("aside")).unwrap();
    for _ in 0..2 {
        let refused = Store::open(repo.path(), options());
        assert!(matches!(refused, Err(OpenError::Damaged { .. })), "{refused:?}");
    }
    fs::remove_dir_all(&state).unwrap();
    fs::rename(repo.path().join("aside"), &state).unwrap();
    assert!(holds(&open(repo.path()), &refs_of(&blocks)));
}

#[test]
fn after_many_hands_a_rebuild_finds_the_index_as_it_was() {
    let repo = tempfile::tempdir().unwrap();
    let leaves: Vec<Block> = (0..24).map(|seed| leaf(seed, 60)).collect();
    let nodes: Vec<Block> = (0..12).map(|n| node(&[&leaves[n], &leaves[n + 5], &leaves[n * 2]])).collect();
    let before = {
        let store = open(repo.path());
        std::thread::scope(|scope| {
            for hand in 0..4usize {
                let (store, leaves, nodes) = (store.clone(), &leaves, &nodes);
                scope.spawn(move || {
                    for step in 0..30 {
                        let n = (hand * 7 + step * 5) % 12;
                        let staging = store.stage(&format!("hand {hand}")).unwrap();
                        put(&staging, &[&nodes[n], &leaves[n], &leaves[n + 5], &leaves[n * 2]]);
                        match step % 5 {
                            0 => staging.discard().unwrap(),
                            1 => staging.set_roots(&[*nodes[n].cid()]).unwrap(),
                            _ => staging.commit(Ref { complete: true, ..Ref::new(*nodes[n].cid()) }).unwrap(),
                        }
                        if step % 3 == 0 {
                            store.remove(nodes[(n + 3) % 12].cid()).unwrap();
                        }
                    }
                    store.stage(&format!("hand {hand}")).unwrap().discard().unwrap();
                });
            }
        });
        store.inner.index.all()
    };
    let store = open(repo.path());
    assert!(store.report().rebuilt && store.report().broken.is_empty());
    assert_eq!(store.inner.index.all(), before);
    let live: u64 = before.iter().map(|(key, entry)| crate::record::span(key.len(), entry.len)).sum();
    let table = store.inner.log.table();
    assert_eq!(table.values().map(|segment| segment.live()).sum::<u64>(), live);
}
