//! Random operations against a model that is too simple to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{Error, Held, RefKey, Room, Serve};

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
    pinned: BTreeSet<usize>,
    /// Roots of guards that are around.
    held: Vec<usize>,
}

/// What keeps refs from being evicted for as long as it is around.
#[derive(Default)]
struct Guards {
    held: Vec<Held>,
    rooms: Vec<Room>,
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

    /// Takes note of refs that were evicted, none of which may be one that must stay.
    fn forget_evicted(&mut self, store: &Store, world: &[Block]) {
        let gone = |root: &usize| store.brief(world[*root].cid()).unwrap().is_none();
        for root in self.refs.keys().copied().filter(gone).collect::<Vec<_>>() {
            let is_staged = self.stagings.values().any(|(_, roots)| roots.contains(&root));
            let must_stay = self.pinned.contains(&root) || self.held.contains(&root) || is_staged;
            assert!(!must_stay && store.capacity() != UNBOUNDED, "{root} went, {self:?}");
            self.refs.remove(&root);
        }
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
    /// Commits several roots at once, with their children as names.
    CommitAll(usize, Vec<usize>),
    Pin(usize, bool),
    Serve(usize, u8),
    Hold(usize),
    Reserve(usize, u64),
    LetGo,
    Discard(usize),
    /// Moves all of one staging into the other.
    Absorb(usize),
    /// Puts some blocks into a staging of their own, which is then discarded.
    Attempt(Vec<usize>),
    Remove(usize),
    Compact(bool),
    Close,
    Crash,
    /// As a crash, with the index lost.
    Loss,
}

const UNBOUNDED: Bytes = Bytes::new(u64::MAX);

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => (0..2usize, 0..10usize).prop_map(|(name, block)| Op::Put(name, block)),
        2 => (0..2usize, prop::collection::vec(0..10usize, 0..3)).prop_map(|(name, roots)| Op::Roots(name, roots)),
        3 => (0..2usize, 0..10usize).prop_map(|(name, root)| Op::Commit(name, root)),
        2 => (0..2usize, prop::collection::vec(0..10usize, 1..4))
            .prop_map(|(name, roots)| Op::CommitAll(name, roots)),
        1 => (0..10usize, any::<bool>()).prop_map(|(root, pinned)| Op::Pin(root, pinned)),
        2 => (0..10usize, 0..3u8).prop_map(|(root, peer)| Op::Serve(root, peer)),
        1 => (0..10usize).prop_map(Op::Hold),
        1 => (0..10usize, 1..2500u64).prop_map(|(root, size)| Op::Reserve(root, size)),
        1 => Just(Op::LetGo),
        1 => (0..2usize).prop_map(Op::Discard),
        1 => (0..2usize).prop_map(Op::Absorb),
        2 => prop::collection::vec(0..10usize, 0..8).prop_map(Op::Attempt),
        2 => (0..10usize).prop_map(Op::Remove),
        2 => any::<bool>().prop_map(Op::Compact),
        1 => Just(Op::Close),
        1 => Just(Op::Crash),
        1 => Just(Op::Loss),
    ];
    prop::collection::vec(op, 1..40)
}

/// Puts what fits and returns which blocks did.
fn try_put(staging: &Staging, blocks: &[usize], world: &[Block]) -> Vec<usize> {
    let put = |block: &usize| match staging.put(&world[*block]) {
        Ok(()) => true,
        Err(Error::Full { .. }) => false,
        Err(error) => panic!("{error}"),
    };
    blocks.iter().copied().filter(put).collect()
}

fn apply(op: &Op, store: &Store, model: &mut Model, world: &[Block], guards: &mut Guards) {
    match op {
        Op::Put(name, block) => {
            let fit = try_put(&store.stage(NAMES[*name]).unwrap(), &[*block], world);
            model.stagings.entry(*name).or_default().0.extend(fit);
        }
        Op::CommitAll(name, roots) => {
            let staging = store.stage(NAMES[*name]).unwrap();
            staging.commit_all(roots.iter().map(|root| with_names(*root, world)).collect()).unwrap();
            let reached: Vec<_> = roots.iter().map(|root| (*root, model.reach(&[*root]))).collect();
            for (root, reached) in reached {
                model.refs.entry(root).or_default().extend(reached);
            }
            model.stagings.remove(name);
            for root in roots {
                check_names(store, model, world, *root);
            }
        }
        Op::Pin(..) | Op::Serve(..) | Op::Hold(_) | Op::Reserve(..) => {
            apply_use(op, store, model, world, guards)
        }
        Op::LetGo => let_go(model, guards),
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
            try_put(&staging, blocks, world);
            staging.discard().unwrap();
            assert!(store.used() <= used, "{} after {used}", store.used());
        }
        Op::Remove(root) => {
            store.remove(world[*root].cid()).unwrap();
            model.refs.remove(root);
            model.pinned.remove(root);
        }
        Op::Compact(force) => drop(store.compact(*force).unwrap()),
        Op::Close | Op::Crash | Op::Loss => {}
    }
}

/// What changes only which refs may go.
fn apply_use(op: &Op, store: &Store, model: &mut Model, world: &[Block], guards: &mut Guards) {
    match op {
        Op::Pin(root, pinned) => match store.set_pinned(world[*root].cid(), *pinned) {
            Err(Error::NoRef { .. }) => assert!(!model.refs.contains_key(root)),
            outcome => {
                outcome.unwrap();
                model.pinned.remove(root);
                model.pinned.extend(pinned.then_some(*root));
            }
        },
        Op::Serve(root, peer) => {
            let revenue = pop_units::AttoFil::new(u128::from(*peer) * 1000);
            let serve = Serve { peer: &[*peer], bytes: Bytes::new(100), revenue, now: 1 };
            let counted = store.served(world[*root].cid(), serve).unwrap();
            assert!(!counted || model.refs.contains_key(root));
        }
        Op::Hold(root) => {
            guards.held.push(store.hold(world[*root].cid()));
            model.held.push(*root);
        }
        Op::Reserve(root, size) => match store.reserve(world[*root].cid(), Bytes::new(*size)) {
            Err(Error::Full { .. } | Error::TooLarge { .. }) => {}
            outcome => {
                guards.rooms.push(outcome.unwrap());
                model.held.push(*root);
            }
        },
        _ => {}
    }
}

fn let_go(model: &mut Model, guards: &mut Guards) {
    *guards = Guards::default();
    model.held.clear();
}

fn with_names(root: usize, world: &[Block]) -> Ref {
    let children = root.checked_sub(6).map_or(&[][..], |node| LINKS[node]);
    let key = |child: &usize| RefKey::new(format!("{child}"), *world[*child].cid(), world[*child].size());
    Ref { keys: children.iter().map(key).collect(), ..Ref::new(*world[root].cid()) }
}

/// All that the root's DAG has, here or not.
fn whole(root: usize) -> BTreeSet<usize> {
    let all = Model { refs: [(0, (0..10).collect())].into(), ..Model::default() };
    all.reach(&[root])
}

/// A name says that it is here if and only if all below it was, when the ref was last committed.
fn check_names(store: &Store, model: &Model, world: &[Block], root: usize) {
    for key in store.ref_of(world[root].cid()).unwrap().unwrap().keys {
        let is_whole = whole(key.name.parse().unwrap()).is_subset(&model.refs[&root]);
        assert_eq!(key.here, is_whole, "{} in {root}, {model:?}", key.name);
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
    assert!(store.used() <= store.capacity(), "{} of {}", store.used(), store.capacity());
    let figures = store.figures();
    assert_eq!((figures.live, figures.used), (Bytes::new(live), store.used()));
    let refs = store.refs().unwrap();
    assert_eq!(figures.refs, u64::try_from(refs.len()).unwrap());
    assert_eq!(figures.usage.refs + figures.pinned_refs, figures.refs, "each is pinned or the policy's");
    let cached = refs.iter().filter(|found| !found.pinned).fold(0, |sum, found| sum + found.size.get());
    assert_eq!(figures.usage.used, Bytes::new(cached));
    for found in refs {
        let root = world.iter().position(|block| *block.cid() == found.root).unwrap();
        assert_eq!(found.pinned, model.pinned.contains(&root));
        assert_eq!(found.complete, whole(root).is_subset(&model.refs[&root]), "ref {root}, {model:?}");
        for key in found.keys.iter().filter(|key| key.here) {
            assert!(whole(key.name.parse().unwrap()).is_subset(&model.refs[&root]), "{key:?}");
        }
        let size = model.refs[&root].iter().fold(Bytes::ZERO, |sum, n| sum.saturating_add(world[*n].size()));
        assert_eq!(found.size, size, "ref {root}, {model:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_disk_holds_the_union_of_refs_and_stagings(
        ops in ops(),
        segment in prop::sample::select(&[1u64 << 10, 1 << 20]),
        capacity in prop::sample::select(&[u64::MAX, u64::MAX, 2800, 1800]),
    ) {
        let repo = tempfile::tempdir().unwrap();
        let world = world();
        let (segment_size, capacity) = (Bytes::new(segment), Bytes::new(capacity));
        let options = || Options { segment_size, capacity, ..Options::default() };
        let mut store = Store::open(repo.path(), options()).unwrap();
        let (mut model, mut guards) = (Model::default(), Guards::default());
        for op in &ops {
            apply(op, &store, &mut model, &world, &mut guards);
            model.forget_evicted(&store, &world);
            if matches!(op, Op::Close | Op::Crash | Op::Loss) {
                let_go(&mut model, &mut guards);
                if matches!(op, Op::Close) {
                    store.close().unwrap();
                }
                drop(store);
                if matches!(op, Op::Loss) {
                    fs::remove_dir_all(repo.path().join("blocks/index")).unwrap();
                }
                store = Store::open(repo.path(), options()).unwrap();
                model.restart(store.report().rebuilt);
            }
            // A ref of a part may grow by dead records that a rebuild meets again; the model cannot know.
            if matches!(op, Op::Crash | Op::Loss) {
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
    let all = Model { refs: [(0, grown)].into(), ..Model::default() };
    let refs: Vec<_> = model.refs.keys().map(|root| (*root, all.reach(&[*root]))).collect();
    model.refs.extend(refs);
    for (blocks, roots) in model.stagings.values_mut() {
        *blocks = all.reach(roots);
    }
}
