//! Verifying: damage is found wherever it is, costs what it hit and nothing else, and stays found.

use std::os::unix::fs::FileExt;

use pop_dag::BlockSource;

use super::*;
use crate::{RefKey, Verified};

struct World {
    repo: tempfile::TempDir,
    store: Store,
    /// Each a root with three leaves; the last leaf is shared by all.
    dags: Vec<Vec<Block>>,
}

fn world() -> World {
    world_of(options())
}

fn world_of(options: Options) -> World {
    let repo = tempfile::tempdir().unwrap();
    let store = Store::open(repo.path(), options).unwrap();
    let shared = leaf(1, 700);
    let dag = |seed: u64| {
        let leaves = [leaf(seed, 900), leaf(seed + 1, 900)];
        let root = node(&[&leaves[0], &leaves[1], &shared]);
        [vec![root], leaves.to_vec(), vec![shared.clone()]].concat()
    };
    let dags: Vec<Vec<Block>> = (1..7).map(|n| dag(n * 10)).collect();
    dags.iter().for_each(|blocks| commit(&store, &blocks.iter().collect::<Vec<_>>()));
    World { repo, store, dags }
}

impl World {
    fn entry(&self, block: &Block) -> crate::index::Entry {
        self.store.inner.index.get(&block.cid().hash().to_bytes()).unwrap().unwrap()
    }

    /// Changes a byte of a block's record.
    fn damage(&self, block: &Block, at: u64) {
        let entry = self.entry(block);
        let path = self.repo.path().join(format!("blocks/segs/{:08x}.seg", entry.segment));
        let file = fs::File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, entry.offset + at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], entry.offset + at).unwrap();
    }

    fn verify(&self) -> Verified {
        self.store.verify(&mut |_| true).unwrap()
    }

    /// Everything that is still listed as complete reads, and counts are those of a rebuild.
    fn check(self, broken: &[usize]) {
        for (n, blocks) in self.dags.iter().enumerate() {
            let brief = self.store.brief(blocks[0].cid()).unwrap().unwrap();
            assert_eq!(brief.complete, !broken.contains(&n), "dag {n}");
            assert!(!brief.complete || holds(&self.store, &blocks.iter().collect::<Vec<_>>()));
        }
        let counts = |store: &Store| -> Vec<(Vec<u8>, u32)> {
            store.inner.index.all().into_iter().map(|(key, entry)| (key, entry.refs)).collect()
        };
        let (before, briefs) = (counts(&self.store), self.store.briefs().unwrap());
        drop(self.store);
        let store = open(self.repo.path());
        assert!(store.report().broken.is_empty(), "it was known before: {:?}", store.report());
        assert_eq!(counts(&store), before);
        assert_eq!(store.briefs().unwrap(), briefs);
        // What was lost comes back with a fetch, and then all is well.
        for blocks in &self.dags {
            commit(&store, &blocks.iter().collect::<Vec<_>>());
            assert!(holds(&store, &blocks.iter().collect::<Vec<_>>()));
        }
        let after = store.verify(&mut |_| true).unwrap();
        assert!(after.damaged.is_empty() && after.finished, "{after:?}");
    }
}

#[test]
fn a_sound_store_has_nothing_to_tell() {
    let world = world();
    world.store.remove(world.dags[0][0].cid()).unwrap();
    let verified = world.verify();
    assert_eq!(verified.sound, 5 * 3 + 1);
    assert!(verified.dead >= 3 && verified.dead_damaged == 0 && verified.finished);
    assert!(verified.damaged.is_empty());
    assert_eq!(verified.read, world.store.used());
}

#[test]
fn a_damaged_leaf_is_named_with_the_refs_that_lose_it() {
    let world = world();
    let (own, shared) = (&world.dags[2][1], &world.dags[0][3]);
    world.damage(own, 200);
    let offset = world.entry(own).offset;
    let verified = world.verify();
    let [damage] = &verified.damaged[..] else { panic!("{verified:?}") };
    assert_eq!((damage.cid, damage.offset), (*own.cid(), offset));
    assert_eq!(damage.refs, [*world.dags[2][0].cid()]);
    assert!(hides(&world.store, &[own]));
    assert!(holds(&world.store, &[shared]));
    world.check(&[2]);
}

#[test]
fn a_source_gives_no_block_whose_bytes_have_rotted() {
    let world = world();
    let (rotten, sound) = (&world.dags[2][1], &world.dags[0][3]);
    world.damage(rotten, 200);
    let refused = world.store.block(rotten.cid()).unwrap_err();
    assert!(matches!(refused.0.downcast_ref(), Some(crate::Error::Damaged { .. })), "{refused}");
    assert_eq!(world.store.block(sound.cid()).unwrap().as_ref(), Some(sound.data()));
}

#[test]
fn a_damaged_leaf_that_all_share_breaks_all() {
    let world = world();
    world.damage(&world.dags[0][3], 100);
    let verified = world.verify();
    assert_eq!(verified.damaged.len(), 1);
    assert_eq!(verified.damaged[0].refs.len(), 6);
    world.check(&[0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_damaged_node_or_header_loses_what_it_hid_and_nothing_else() {
    for (block, at) in [(0, 70), (0, 0), (1, 0), (2, 9), (1, 30)] {
        let world = world();
        let victim = world.dags[3][block].clone();
        world.damage(&victim, at);
        let verified = world.verify();
        assert_eq!(verified.damaged.len(), 1, "block {block} at {at}: {verified:?}");
        assert_eq!(verified.damaged[0].cid.hash(), victim.cid().hash());
        assert_eq!(verified.damaged[0].refs, [*world.dags[3][0].cid()]);
        assert!(hides(&world.store, &[&victim]));
        if block == 0 {
            assert!(hides(&world.store, &[&world.dags[3][1], &world.dags[3][2]]), "nothing reaches them");
        }
        world.check(&[3]);
    }
}

#[test]
fn damage_where_nothing_is_in_use_harms_nobody() {
    let world = world_of(Options::default());
    let dead = world.dags[1][1].clone();
    world.damage(&dead, 300);
    world.store.remove(world.dags[1][0].cid()).unwrap();
    let verified = world.verify();
    assert!(verified.damaged.is_empty(), "{verified:?}");
    assert_eq!(verified.dead_damaged, 1);
    assert!((0..6).filter(|n| *n != 1).all(|n| holds(&world.store, &[&world.dags[n][0], &world.dags[n][1]])));
}

#[test]
fn a_whole_segment_that_does_not_read_costs_its_blocks() {
    let world = world();
    let segment = world.entry(&world.dags[2][1]).segment;
    let hit = |block: &Block| world.entry(block).segment == segment;
    let broken: Vec<usize> = (0..6).filter(|n| world.dags[*n].iter().any(hit)).collect();
    let lost = world.dags.iter().flatten().filter(|block| hit(block)).count();
    assert!(lost > 2 && broken.len() < 6);
    let path = world.repo.path().join(format!("blocks/segs/{segment:08x}.seg"));
    fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap();
    let verified = world.verify();
    assert!(verified.damaged.len() >= lost, "{verified:?}");
    world.check(&broken);
}

#[test]
fn a_verification_that_is_ended_deals_with_what_it_found() {
    let world = world();
    world.damage(&world.dags[0][1], 100);
    let mut asked = 0;
    let verified = world.store.verify(&mut |_| {
        asked += 1;
        asked < 2
    });
    let verified = verified.unwrap();
    assert!(!verified.finished);
    assert_eq!(verified.damaged.len(), 1);
    world.check(&[0]);
}

#[test]
fn a_name_that_lost_a_block_is_no_longer_here() {
    let repo = tempfile::tempdir().unwrap();
    let store = open(repo.path());
    let (a, b) = (leaf(1, 300), leaf(2, 300));
    let root = node(&[&a, &b]);
    let key = |name: &str, block: &Block| RefKey::new(name, *block.cid(), Bytes::new(300));
    let staging = store.stage("tx").unwrap();
    put(&staging, &[&root, &a, &b]);
    staging.commit(Ref { keys: vec![key("a", &a), key("b", &b)], ..Ref::new(*root.cid()) }).unwrap();
    let world = World { repo, store, dags: vec![vec![root.clone(), a, b]] };
    world.damage(&world.dags[0][2], 100);
    assert_eq!(world.verify().damaged.len(), 1);
    let found = world.store.ref_of(root.cid()).unwrap().unwrap();
    assert_eq!(found.keys.iter().map(|key| key.here).collect::<Vec<_>>(), [true, false]);
    world.check(&[0]);
}

#[test]
fn an_open_staging_loses_a_damaged_block_and_takes_it_again() {
    let world = world();
    let staging = world.store.stage("tx").unwrap();
    let (a, b) = (leaf(800, 500), leaf(801, 500));
    put(&staging, &[&a, &b]);
    world.damage(&a, 100);
    let verified = world.verify();
    assert_eq!((verified.damaged.len(), verified.damaged[0].refs.len()), (1, 0));
    assert_eq!(staging.get(a.cid()).unwrap(), None);
    assert_eq!(staging.get(b.cid()).unwrap().as_ref(), Some(b.data()));
    assert_eq!(staging.bytes(), Bytes::new(500));
    put(&staging, &[&a]);
    staging.commit_all(vec![Ref::new(*a.cid()), Ref::new(*b.cid())]).unwrap();
    assert!(holds(&world.store, &[&a, &b]));
    assert_eq!(
        world.store.figures().reclaimable > Bytes::ZERO,
        world.store.compact(true).unwrap().freed > Bytes::ZERO
    );
}
