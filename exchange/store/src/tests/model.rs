//! Random operations against a model that is too simple to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Blocks 0 to 5 are leaves, 6 to 9 nodes over them and over each other.
fn world() -> Vec<Block> {
    let mut blocks: Vec<Block> =
        (0..6).map(|seed| leaf(seed, 40 + 90 * usize::try_from(seed).unwrap())).collect();
    for children in LINKS {
        let children: Vec<&Block> = children.iter().map(|child| &blocks[*child]).collect();
        let parent = node(&children);
        blocks.push(parent);
    }
    blocks
}

const LINKS: [&[usize]; 4] = [&[0, 1], &[1, 2, 3], &[6, 4], &[7, 8, 5, 5]];
const NAMES: [&str; 2] = ["one", "two"];

/// What should be there: which blocks each ref and each staging holds.
#[derive(Default, Debug)]
struct Model {
    refs: BTreeMap<usize, BTreeSet<usize>>,
    stagings: BTreeMap<usize, (BTreeSet<usize>, Vec<usize>)>,
}

impl Model {
    fn present(&self) -> BTreeSet<usize> {
        self.refs
            .values()
            .chain(self.stagings.values().map(|(blocks, _)| blocks))
            .flatten()
            .copied()
            .collect()
    }

    fn visible(&self) -> BTreeSet<usize> {
        self.refs.values().flatten().copied().collect()
    }

    /// Blocks that the roots reach through those that are there.
    fn reach(&self, roots: &[usize]) -> BTreeSet<usize> {
        let (present, mut reached, mut stack) = (self.present(), BTreeSet::new(), roots.to_vec());
        while let Some(block) = stack.pop() {
            if present.contains(&block) && reached.insert(block) {
                stack.extend(block.checked_sub(6).map_or(&[][..], |node| LINKS[node]));
            }
        }
        reached
    }

    /// Stagings keep what their roots reach; parts of a DAG grow by what is there.
    fn restart(&mut self, rebuilt: bool) {
        if rebuilt {
            // The rebuild walks through all records not yet known to be dead, staged or not.
            let grown: Vec<_> = self.refs.keys().map(|root| (*root, self.reach(&[*root]))).collect();
            self.refs.extend(grown);
        }
        let kept: Vec<_> =
            self.stagings.iter().map(|(name, (_, roots))| (*name, self.reach(roots))).collect();
        for (name, blocks) in kept {
            let staging = self.stagings.get_mut(&name).unwrap();
            staging.0 = blocks;
        }
        self.stagings.retain(|_, (_, roots)| !roots.is_empty());
    }
}

#[derive(Clone, Debug)]
enum Op {
    Put(usize, usize),
    Roots(usize, Vec<usize>),
    Commit(usize, usize),
    Discard(usize),
    /// Moves all of one staging into the other.
    Absorb(usize),
    /// Puts some blocks into a staging of their own, which is then discarded.
    Attempt(Vec<usize>),
    Remove(usize),
    Compact(bool),
    Close,
    Crash,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => (0..2usize, 0..10usize).prop_map(|(name, block)| Op::Put(name, block)),
        2 => (0..2usize, prop::collection::vec(0..10usize, 0..3)).prop_map(|(name, roots)| Op::Roots(name, roots)),
        3 => (0..2usize, 0..10usize).prop_map(|(name, root)| Op::Commit(name, root)),
        1 => (0..2usize).prop_map(Op::Discard),
        1 => (0..2usize).prop_map(Op::Absorb),
        2 => prop::collection::vec(0..10usize, 0..8).prop_map(Op::Attempt),
        2 => (0..10usize).prop_map(Op::Remove),
        2 => any::<bool>().prop_map(Op::Compact),
        1 => Just(Op::Close),
        1 => Just(Op::Crash),
    ];
    prop::collection::vec(op, 1..40)
}

fn apply(op: &Op, store: &Store, model: &mut Model, world: &[Block]) {
    match op {
        Op::Put(name, block) => {
            put(&store.stage(NAMES[*name]).unwrap(), &[&world[*block]]);
            model.stagings.entry(*name).or_default().0.insert(*block);
        }
        Op::Roots(name, roots) => {
            let cids: Vec<Cid> = roots.iter().map(|root| *world[*root].cid()).collect();
            store.stage(NAMES[*name]).unwrap().set_roots(&cids).unwrap();
            model.stagings.entry(*name).or_default().1 = roots.clone();
        }
        Op::Commit(name, root) => {
            store.stage(NAMES[*name]).unwrap().commit(Ref::new(*world[*root].cid())).unwrap();
            let reached = model.reach(&[*root]);
            model.refs.entry(*root).or_default().extend(reached);
            model.stagings.remove(name);
        }
        Op::Discard(name) => {
            store.stage(NAMES[*name]).unwrap().discard().unwrap();
            model.stagings.remove(name);
        }
        Op::Absorb(into) => {
            let (into, other) = (*into, 1 - *into);
            store.stage(NAMES[into]).unwrap().absorb(store.stage(NAMES[other]).unwrap()).unwrap();
            let (blocks, _) = model.stagings.remove(&other).unwrap_or_default();
            model.stagings.entry(into).or_default().0.extend(blocks);
        }
        Op::Attempt(blocks) => {
            let used = store.used();
            let staging = store.stage("attempt").unwrap();
            put(&staging, &blocks.iter().map(|block| &world[*block]).collect::<Vec<_>>());
            staging.discard().unwrap();
            assert!(store.used() <= used, "{} after {used}", store.used());
        }
        Op::Remove(root) => {
            store.remove(world[*root].cid()).unwrap();
            model.refs.remove(root);
        }
        Op::Compact(force) => drop(store.compact(*force).unwrap()),
        Op::Close | Op::Crash => {}
    }
}

fn compare(store: &Store, model: &Model, world: &[Block]) {
    let visible = model.visible();
    for (n, block) in world.iter().enumerate() {
        let found = store.get(block.cid()).unwrap();
        assert_eq!(found.as_ref(), visible.contains(&n).then_some(block.data()), "block {n}, {model:?}");
    }
    let keys = |blocks: &BTreeSet<usize>| -> BTreeSet<Vec<u8>> {
        blocks.iter().map(|n| world[*n].cid().hash().to_bytes()).collect()
    };
    let entries = store.inner.index.all();
    let stored: BTreeSet<Vec<u8>> = entries.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(stored, keys(&model.present()), "{model:?}");
    assert_eq!(store.inner.index.count(), u64::try_from(stored.len()).unwrap());
    for (n, block) in world.iter().enumerate() {
        let holders = model.refs.values().filter(|blocks| blocks.contains(&n)).count();
        let key = block.cid().hash().to_bytes();
        let refs = entries.iter().find(|(found, _)| *found == key).map_or(0, |(_, entry)| entry.refs);
        assert_eq!(usize::try_from(refs).unwrap(), holders, "block {n}, {model:?}");
    }
    let live: u64 = entries.iter().map(|(key, entry)| crate::record::span(key.len(), entry.len)).sum();
    let table = store.inner.log.table();
    assert_eq!(table.values().map(|segment| segment.live()).sum::<u64>(), live);
    assert_eq!(Bytes::new(table.values().map(|segment| segment.len()).sum()), store.used());
    for found in store.refs().unwrap() {
        let root = world.iter().position(|block| *block.cid() == found.root).unwrap();
        let size = model.refs[&root].iter().fold(Bytes::ZERO, |sum, n| sum.saturating_add(world[*n].size()));
        assert_eq!(found.size, size, "ref {root}, {model:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_disk_holds_the_union_of_refs_and_stagings(ops in ops(), segment in prop::sample::select(&[1u64 << 10, 1 << 20])) {
        let repo = tempfile::tempdir().unwrap();
        let world = world();
        let options = || Options { segment_size: Bytes::new(segment), ..Options::default() };
        let mut store = Store::open(repo.path(), options()).unwrap();
        let mut model = Model::default();
        for op in &ops {
            apply(op, &store, &mut model, &world);
            let (stops, closes) = (matches!(op, Op::Close | Op::Crash), matches!(op, Op::Close));
            if stops {
                if closes {
                    store.close().unwrap();
                }
                drop(store);
                store = Store::open(repo.path(), options()).unwrap();
                model.restart(store.report().rebuilt);
            }
            // A ref of a part may grow by dead records that a rebuild meets again; the model cannot know.
            if matches!(op, Op::Crash) {
                adopt(&store, &mut model, &world);
            }
            compare(&store, &model, &world);
        }
    }
}

/// Lets the model's incomplete refs and stagings have what the store says they have, as long as that is
/// reachable and at least what was there before.
fn adopt(store: &Store, model: &mut Model, world: &[Block]) {
    let stored: BTreeSet<Vec<u8>> = store.inner.index.all().into_iter().map(|(key, _)| key).collect();
    let has = |n: &usize| stored.contains(&world[*n].cid().hash().to_bytes());
    let grown: BTreeSet<usize> = (0..world.len()).filter(has).collect();
    assert!(model.present().is_subset(&grown), "{model:?} lost blocks, {grown:?} left");
    let all = Model { refs: [(0, grown)].into(), stagings: BTreeMap::new() };
    let refs: Vec<_> = model.refs.keys().map(|root| (*root, all.reach(&[*root]))).collect();
    model.refs.extend(refs);
    for (blocks, roots) in model.stagings.values_mut() {
        *blocks = all.reach(roots);
    }
}
