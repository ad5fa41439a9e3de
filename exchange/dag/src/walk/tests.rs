use bytes::Bytes as Buf;
use multihash::Multihash;
use proptest::prelude::*;

use super::*;
use crate::codec::pb::{Link, Node};
use crate::source::{BlockSource, Memory};
use crate::unixfs::tests::read_car;
use crate::unixfs::{Profile, add_file, list};
use crate::{Block, Codec, proof};

/// Adds a dag-pb node without UnixFS data that links to `to`.
fn node(to: &[Cid], memory: &mut Memory) -> Cid {
    let links = to.iter().map(|cid| Link { cid: *cid, name: None, tsize: None }).collect();
    let block = Block::of(Codec::DagPb, Buf::from(Node { links, data: None }.encode()));
    let cid = *block.cid();
    memory.insert(block);
    cid
}

fn leaf(text: &'static str, memory: &mut Memory) -> Cid {
    let block = Block::of(Codec::Raw, Buf::from_static(text.as_bytes()));
    let cid = *block.cid();
    memory.insert(block);
    cid
}

fn inline(codec: Codec, data: &[u8]) -> Cid {
    Cid::new_v1(codec.code(), Multihash::wrap(0, data).unwrap())
}

fn order(root: Cid, scope: &Scope, memory: &Memory) -> Result<Vec<Cid>, RunError> {
    let mut cids = Vec::new();
    run(root, scope, memory, &mut |cid: &Cid, _: &Buf| {
        cids.push(*cid);
        Ok(())
    })?;
    Ok(cids)
}

fn scope(path: &[&str], what: What) -> Scope {
    Scope { path: path.iter().map(|part| (*part).to_owned()).collect(), what }
}

#[test]
fn blocks_come_depth_first_in_link_order_and_once() {
    let memory = &mut Memory::new();
    let (a, b, c) = (leaf("a", memory), leaf("b", memory), leaf("c", memory));
    let left = node(&[b, a, b], memory);
    let right = node(&[a, c, left], memory);
    let root = node(&[left, right, left], memory);
    assert_eq!(order(root, &Scope::all(), memory).unwrap(), [root, left, b, a, right, c]);
    let totals = run(root, &Scope::all(), memory, &mut |_, _| Ok(())).unwrap();
    assert_eq!((totals.blocks, totals.target), (6, Some(root)));
}

#[test]
fn versions_of_a_cid_are_one_block_and_codecs_are_two() {
    let memory = &mut Memory::new();
    let inner = node(&[leaf("a", memory)], memory);
    let old = Cid::new_v0(*inner.hash()).unwrap();
    let bytes = Cid::new_v1(Codec::Raw.code(), *inner.hash());
    let root = node(&[bytes, inner, old], memory);
    let a = leaf("a", memory);
    assert_eq!(order(root, &Scope::all(), memory).unwrap(), [root, bytes, inner, a]);
}

#[test]
fn identity_links_are_resolved_and_never_wanted() {
    let memory = &mut Memory::new();
    let a = leaf("a", memory);
    let carried = Node { links: vec![Link { cid: a, name: None, tsize: None }], data: None }.encode();
    let root = node(&[inline(Codec::Raw, b"tiny"), inline(Codec::DagPb, &carried)], memory);
    assert_eq!(order(root, &Scope::all(), memory).unwrap(), [root, a]);
    let walk = Walk::new(inline(Codec::DagPb, &carried), &Scope::all()).unwrap();
    assert_eq!(walk.want(), Some(&a));
    let broken = inline(Codec::DagPb, b"\xff");
    assert!(matches!(Walk::new(broken, &Scope::all()), Err(WalkError::Codec { cid, .. }) if cid == broken));
}

#[test]
fn scopes_mean_block_entity_or_all() {
    let (root, memory) = read_car("unixfs/subdir-with-mixed-block-files.car");
    let dir = list(&root, &memory).unwrap().remove(0);
    let files = list(&dir.cid, &memory).unwrap();
    let large = files.iter().max_by_key(|entry| entry.tsize).unwrap();
    let cids = |path: &[&str], what| order(root, &scope(path, what), &memory).unwrap();
    assert_eq!(cids(&[], What::Block), [root]);
    assert_eq!(cids(&[], What::Entity), [root]);
    assert_eq!(cids(&[&dir.name], What::Entity), [root, dir.cid]);
    assert_eq!(cids(&[&dir.name, &large.name], What::Block), [root, dir.cid, large.cid]);
    let file = cids(&[&dir.name, &large.name], What::Entity);
    assert!(file.len() > 4 && file[..3] == [root, dir.cid, large.cid]);
    assert_eq!(file, cids(&[&dir.name, &large.name], What::All));
    assert!(cids(&[], What::All).len() > file.len());
}

#[test]
fn entity_of_a_sharded_directory_is_its_shards_without_content() {
    let memory = &mut Memory::new();
    let file = leaf("content", memory);
    let entry = |n: u32| crate::unixfs::Entry {
        name: format!("{n:0>40}"),
        cid: file,
        tsize: pop_units::Bytes::new(7),
    };
    let (root, _) =
        crate::unixfs::directory((0..4000).map(entry).collect(), &Profile::default(), memory).unwrap();
    let shards = order(*root.cid(), &Scope::of(What::Entity), memory).unwrap();
    assert_eq!(shards.len() + 1, memory.len());
    assert!(!shards.contains(&file));
    let name = format!("{:0>40}", 77);
    let to_file = order(*root.cid(), &scope(&[&name], What::All), memory).unwrap();
    assert_eq!((to_file.first(), to_file.last()), (Some(root.cid()), Some(&file)));
    assert!(to_file.len() <= 4);
}

#[test]
fn a_leaf_can_be_passed_over_and_nothing_else() {
    let memory = &mut Memory::new();
    let (a, b) = (leaf("a", memory), leaf("b", memory));
    let root = node(&[a, b], memory);
    let mut walk = Walk::new(root, &Scope::all()).unwrap();
    assert_eq!(walk.on_leaf_skipped(), Err(WalkError::NotALeaf { cid: root }));
    walk.on_block(&memory.block(&root).unwrap().unwrap()).unwrap();
    walk.on_leaf_skipped().unwrap();
    assert_eq!(walk.want(), Some(&b));
    walk.on_leaf_skipped().unwrap();
    assert_eq!(walk.want(), None);
    assert_eq!(walk.on_block(b""), Err(WalkError::Over));
}

#[test]
fn what_is_not_here_is_passed_over_with_all_below_it() {
    let mut memory = Memory::new();
    let (lost, kept) = (leaf("lost", &mut memory), leaf("kept", &mut memory));
    let below = node(&[lost], &mut memory);
    let root = node(&[below, kept], &mut memory);
    memory.remove(&below);
    let (mut seen, mut absent) = (Vec::new(), Vec::new());
    let mut visit = |cid: &Cid, _: &Buf| {
        seen.push(*cid);
        Ok(())
    };
    let totals = crate::walk::run_partial(root, &Scope::all(), &memory, &mut visit, &mut |cid| {
        absent.push(*cid);
    });
    assert_eq!(totals.unwrap().blocks, 2);
    assert_eq!((seen, absent), (vec![root, kept], vec![below]));
    memory.remove(&root);
    let nothing = crate::walk::run_partial(root, &Scope::all(), &memory, &mut |_, _| Ok(()), &mut |_| ());
    assert!(matches!(nothing, Err(RunError::Missing { cid }) if cid == root));
}

#[test]
fn a_walk_is_not_over_after_an_error() {
    let memory = &mut Memory::new();
    let a = leaf("a", memory);
    let root = node(&[a], memory);
    let mut walk = Walk::new(root, &Scope::all()).unwrap();
    assert!(matches!(walk.on_block(b"\xff\xff"), Err(WalkError::Codec { .. })));
    assert_eq!(walk.want(), Some(&root));
    let missing = order(root, &Scope::all(), &Memory::new());
    assert!(matches!(missing, Err(RunError::Missing { cid }) if cid == root));
}

#[test]
fn hostile_shapes_are_cut_off() {
    let memory = &mut Memory::new();
    let mut deep = leaf("end", memory);
    for _ in 0..MAX_DEPTH {
        deep = node(&[deep], memory);
    }
    assert!(order(deep, &Scope::all(), memory).is_ok());
    let deeper = node(&[deep], memory);
    let refused = order(deeper, &Scope::all(), memory);
    assert!(matches!(&refused, Err(RunError::Walk(e)) if matches!(**e, WalkError::TooDeep { .. })));

    let fill = leaf("fill", memory);
    let mut wide = leaf("end", memory);
    for _ in 0..6 {
        let mut links = vec![fill; 50_000];
        links[0] = wide;
        wide = node(&links, memory);
    }
    let refused = order(wide, &Scope::all(), memory);
    assert!(matches!(&refused, Err(RunError::Walk(e)) if matches!(**e, WalkError::TooWide { .. })));
}

#[test]
fn a_path_ends_inside_a_dag_cbor_block() {
    let memory = &mut Memory::new();
    let a = leaf("a", memory);
    // {"x": [0, {"y": link}]}
    let mut data = hex::decode("a16178820 0a16179".replace(' ', "")).unwrap();
    data.extend_from_slice(&[0xd8, 42, 0x58, 37, 0]);
    data.extend_from_slice(&a.to_bytes());
    let block = Block::of(Codec::DagCbor, Buf::from(data));
    let root = *block.cid();
    memory.insert(block);
    assert_eq!(order(root, &scope(&["x", "1", "y"], What::All), memory).unwrap(), [root, a]);
    assert_eq!(order(root, &scope(&["x", "1"], What::Block), memory).unwrap(), [root]);
    assert_eq!(order(root, &scope(&["x", "1"], What::All), memory).unwrap(), [root, a]);
    for path in [&["z"][..], &["x", "2"], &["x", "-1"]] {
        let refused = order(root, &scope(path, What::All), memory);
        assert!(
            matches!(&refused, Err(RunError::Walk(e)) if matches!(**e, WalkError::NotFound { .. })),
            "{path:?}"
        );
    }
    let refused = order(root, &scope(&["x", "0", "q"], What::All), memory);
    assert!(matches!(&refused, Err(RunError::Walk(e)) if matches!(**e, WalkError::NotADirectory { .. })));
}

#[test]
fn dag_json_is_walked_and_a_path_ends_inside() {
    let memory = &mut Memory::new();
    let (a, b) = (leaf("a", memory), leaf("b", memory));
    // In the order of the block, in whatever form it is.
    let text = format!(r#"{{"x": [0, {{"y": {{"/": "{b}"}}}}], "a": {{"/":"{a}"}}}}"#);
    let block = Block::of(Codec::DagJson, Buf::from(text));
    let root = *block.cid();
    memory.insert(block);
    assert_eq!(order(root, &Scope::all(), memory).unwrap(), [root, b, a]);
    assert_eq!(order(root, &scope(&["x", "1", "y"], What::All), memory).unwrap(), [root, b]);
    assert_eq!(order(root, &scope(&["x", "1"], What::Block), memory).unwrap(), [root]);
    let refused = order(root, &scope(&["x", "2"], What::All), memory);
    assert!(matches!(&refused, Err(RunError::Walk(e)) if matches!(**e, WalkError::NotFound { .. })));
    let refused = order(root, &scope(&["x", "0", "q"], What::All), memory);
    assert!(matches!(&refused, Err(RunError::Walk(e)) if matches!(**e, WalkError::NotADirectory { .. })));
    let broken = Block::of(Codec::DagJson, Buf::from_static(b"{"));
    memory.insert(broken.clone());
    let refused = order(*broken.cid(), &Scope::all(), memory);
    assert!(matches!(&refused, Err(RunError::Walk(e)) if matches!(**e, WalkError::Codec { .. })));
}

#[test]
fn only_who_has_every_block_can_prove_it() {
    let memory = &mut Memory::new();
    let small = Profile { chunk: pop_units::Bytes::new(2), ..Profile::default() };
    let root = add_file(&mut &b"some content"[..], &small.into(), memory, &mut |_| ()).unwrap().cid;
    let all = Scope::all();
    let proof = proof::prove(&root, &all, &[1; 32], memory).unwrap();
    assert_eq!(proof::prove(&root, &all, &[1; 32], memory).unwrap(), proof);
    assert_ne!(proof::prove(&root, &all, &[2; 32], memory).unwrap(), proof);
    assert_ne!(proof::prove(&root, &Scope::of(What::Block), &[1; 32], memory).unwrap(), proof);
    let leaf = *Block::of(Codec::Raw, Buf::from_static(b"me")).cid();
    assert!(memory.remove(&leaf));
    let refused = proof::prove(&root, &all, &[1; 32], memory);
    assert!(matches!(refused, Err(RunError::Missing { cid }) if cid == leaf));
}

#[test]
fn proof_separates_cid_and_data() {
    let cid = inline(Codec::Raw, b"");
    let one = {
        let mut prover = proof::Prover::new(&[0; 32]);
        prover.on_block(&cid, b"ab");
        prover.on_block(&cid, b"c");
        prover.finish()
    };
    let mut prover = proof::Prover::new(&[0; 32]);
    prover.on_block(&cid, b"a");
    prover.on_block(&cid, b"bc");
    assert_ne!(prover.finish(), one);
}

#[test]
fn scope_has_a_stable_form() {
    let text = serde_json::to_string(&scope(&["a", "b"], What::Entity)).unwrap();
    assert_eq!(text, r#"{"path":["a","b"],"what":"entity"}"#);
    assert_eq!(serde_json::from_str::<Scope>("{}").unwrap(), Scope::all());
}

proptest! {
    #[test]
    fn random_blocks_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        pb in any::<bool>(),
        path in prop::collection::vec("[a-z0-9]{1,2}", 0..3),
        what in prop_oneof![Just(What::Block), Just(What::Entity), Just(What::All)],
    ) {
        let codec = if pb { Codec::DagPb } else { Codec::DagCbor };
        let root = *Block::of(codec, Buf::from(bytes.clone())).cid();
        let mut walk = Walk::new(root, &Scope { path, what }).unwrap();
        for _ in 0..5 {
            let _ = walk.on_block(&bytes);
        }
    }
}

#[test]
fn what_a_walk_holds_grows_with_what_it_has_seen_and_not_without() {
    let memory = &mut Memory::new();
    let leaves: Vec<Cid> = (0_u32..2000)
        .map(|n| {
            let leaf = Block::of(Codec::Raw, Buf::copy_from_slice(&n.to_be_bytes()));
            let cid = *leaf.cid();
            memory.insert(leaf);
            cid
        })
        .collect();
    let root = node(&leaves, memory);
    for repeats in [false, true] {
        let selection = Selection { repeats, ..Selection::default() };
        let mut walk = Walk::select(root, &selection).unwrap();
        assert!(walk.held() < Bytes::new(4096));
        let (mut seen, mut before) = (0_u64, walk.held());
        while let Some(cid) = walk.want().copied() {
            walk.on_block(&memory.block(&cid).unwrap().unwrap()).unwrap();
            seen += 1;
            let remembered = if repeats { 0 } else { 57 * seen };
            assert!(walk.held() >= Bytes::new(remembered));
            // What a table takes was told before it grew.
            assert!(seen == 1 || walk.held() <= before || walk.seen.len() == walk.seen.capacity());
            before = walk.held();
        }
        // 2,001 blocks take a table of 4,096 places, and 2,000 links waited.
        let table = if repeats { 0 } else { 57 * 4096 };
        let least = Bytes::new(table + 2000 * 100);
        assert!(walk.held() >= least && walk.held() < least.saturating_mul(2), "{}", walk.held());
    }
}
