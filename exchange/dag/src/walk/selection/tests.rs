use std::collections::HashSet;

use bytes::Bytes as Buf;
use cid::Cid;
use multihash::Multihash;
use proptest::prelude::*;

use super::*;
use crate::car::{CarReader, header, section_head};
use crate::codec::pb::{Link, Node};
use crate::codec::{PLAIN_CBOR, PLAIN_JSON};
use crate::source::{BlockSource, Memory};
use crate::unixfs::tests::read_car;
use crate::unixfs::{Added, Chunker, Layout, Profile, Rules, add_file, list, read_range};
use crate::walk::{RunError, Walk, WalkError, What, run, run_selection};
use crate::{Block, Codec, CodecError};

fn node(to: &[Cid], memory: &mut Memory) -> Cid {
    let links = to.iter().map(|cid| Link { cid: *cid, name: None, tsize: None }).collect();
    let block = Block::of(Codec::DagPb, Buf::from(Node { links, data: None }.encode()));
    let cid = *block.cid();
    memory.insert(block);
    cid
}

fn scope(path: &[&str], what: What) -> Scope {
    Scope { path: path.iter().map(|part| (*part).to_owned()).collect(), what }
}

fn order(root: Cid, selection: &Selection, source: &dyn BlockSource) -> Result<Vec<Cid>, RunError> {
    let mut cids = Vec::new();
    run_selection(root, selection, source, &mut |cid: &Cid, _: &Buf| {
        cids.push(*cid);
        Ok(())
    })?;
    Ok(cids)
}

fn bytes(text: &str) -> Selection {
    Selection { bytes: Some(text.parse().unwrap()), ..Selection::default() }
}

/// Returns only those blocks.
fn only(cids: &[Cid], source: &Memory) -> Memory {
    let mut kept = Memory::new();
    for cid in cids {
        let data = source.block(cid).unwrap().unwrap();
        kept.insert(Block::verified(*cid, data).unwrap());
    }
    kept
}

fn read(root: &Cid, range: Range<u64>, source: &dyn BlockSource) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    read_range(root, range, source, &mut out, &mut |_| ()).is_ok().then_some(out)
}

/// A file of tiny leaves and nodes.
fn add(content: &[u8], profile: Profile, layout: Layout, memory: &mut Memory) -> Added {
    let small = Profile { chunk: Bytes::new(3), max_links: 3, ..profile };
    let rules = Rules { profile: small, chunker: Chunker::Profile, layout };
    add_file(&mut &content[..], &rules, memory, &mut |_| ()).unwrap()
}

#[test]
fn ranges_have_the_form_of_the_specification() {
    let range = |from, to| Ok(ByteRange { from, to });
    let table = [
        ("0:*", range(0, None)),
        ("-1024:*", range(-1024, None)),
        ("0:1023", range(0, Some(1023))),
        ("499:-1000", range(499, Some(-1000))),
        ("-5:-5", range(-5, Some(-5))),
        ("-5:7", range(-5, Some(7))),
        ("9223372036854775807:*", range(i64::MAX, None)),
        ("-9223372036854775808:*", range(i64::MIN, None)),
        ("5:4", Err(ByteRangeError::Order)),
        ("-5:-6", Err(ByteRangeError::Order)),
        ("", Err(ByteRangeError::Form)),
        ("1", Err(ByteRangeError::Form)),
        (":", Err(ByteRangeError::Form)),
        ("*:1", Err(ByteRangeError::Form)),
        ("1:", Err(ByteRangeError::Form)),
        ("+1:2", Err(ByteRangeError::Form)),
        ("1:+2", Err(ByteRangeError::Form)),
        ("1 :2", Err(ByteRangeError::Form)),
        ("1:2:3", Err(ByteRangeError::Form)),
        ("0x1:2", Err(ByteRangeError::Form)),
        ("1.0:2", Err(ByteRangeError::Form)),
        ("0:9223372036854775808", Err(ByteRangeError::Form)),
    ];
    for (text, expected) in table {
        assert_eq!(text.parse::<ByteRange>(), expected, "{text:?}");
        if let Ok(range) = expected {
            assert_eq!(range.to_string(), text);
        }
    }
}

#[test]
fn ranges_lie_where_the_specification_says() {
    let table = [
        ("0:*", 10, Some(0..10)),
        ("0:*", 0, None),
        ("0:9", 10, Some(0..10)),
        ("0:99", 10, Some(0..10)),
        ("9:9", 10, Some(9..10)),
        ("10:*", 10, None),
        ("10:12", 10, None),
        ("-3:*", 10, Some(7..10)),
        ("-30:*", 10, Some(0..10)),
        ("-3:-2", 10, Some(7..9)),
        ("4:-2", 10, Some(4..9)),
        ("4:-9", 10, None),
        ("0:-11", 10, None),
        ("-30:-11", 10, None),
        ("-3:2", 10, None),
        ("-9:2", 10, Some(1..3)),
        ("-9223372036854775808:9223372036854775807", u64::MAX, Some((1 << 63) - 1..1 << 63)),
    ];
    for (text, size, expected) in table {
        assert_eq!(text.parse::<ByteRange>().unwrap().within(size), expected, "{text} of {size}");
    }
}

#[test]
fn what_is_no_file_is_walked_as_an_entity() {
    let (root, memory) = read_car("unixfs/subdir-with-mixed-block-files.car");
    let whole = order(root, &Selection::of(Scope::of(What::Entity)), &memory).unwrap();
    assert_eq!(order(root, &bytes("0:0"), &memory).unwrap(), whole);
    let raw = Block::of(Codec::Raw, Buf::from_static(b"bytes"));
    let mut memory = memory;
    memory.insert(raw.clone());
    assert_eq!(order(*raw.cid(), &bytes("7:9"), &memory).unwrap(), [*raw.cid()]);
}

#[test]
fn bytes_behind_the_end_are_the_first_block() {
    let mut memory = Memory::new();
    let file = add(b"some content", Profile::v1_2025(), Layout::Balanced, &mut memory).cid;
    for range in ["12:*", "12:99", "0:-13", "9:-5"] {
        assert_eq!(order(file, &bytes(range), &memory).unwrap(), [file], "{range}");
    }
    let empty = add(b"", Profile::v0_2015(), Layout::Balanced, &mut memory).cid;
    assert_eq!(order(empty, &bytes("0:*"), &memory).unwrap(), [empty]);
}

#[test]
fn a_part_that_is_there_twice_gives_both_ends() {
    let mut memory = Memory::new();
    // Two inner nodes of three leaves each, the same; three more of the same make a third level.
    let content = b"aaabbbccc".repeat(6);
    let file = add(&content, Profile::v1_2025(), Layout::Balanced, &mut memory).cid;
    let inner: HashSet<_> = order(file, &Selection::default(), &memory).unwrap().into_iter().collect();
    let leaf = |text: &'static [u8]| *Block::of(Codec::Raw, Buf::from_static(text)).cid();
    let got = order(file, &bytes("7:10"), &memory).unwrap();
    assert_eq!(&got[got.len() - 2..], [leaf(b"ccc"), leaf(b"aaa")]);
    assert!(got.iter().all(|cid| inner.contains(cid)));
    assert_eq!(got.iter().collect::<HashSet<_>>().len(), got.len());
    assert_eq!(read(&file, 7..11, &only(&got, &memory)).unwrap(), b"ccaa"[..]);
}

#[test]
fn sizes_that_do_not_add_up_end_the_walk() {
    use crate::unixfs::node::{FsNode, Kind};
    let mut memory = Memory::new();
    let leaf = Block::of(Codec::Raw, Buf::from_static(b"abc"));
    memory.insert(leaf.clone());
    let mut file = |sizes: &[u64], below: &[Cid]| {
        let fs = FsNode { blocksizes: sizes.to_vec(), ..FsNode::new(Kind::File) };
        let links = below.iter().map(|cid| Link { cid: *cid, name: None, tsize: None }).collect();
        let data = fs.encode();
        let block = Block::of(Codec::DagPb, Buf::from(Node { links, data: Some(&data) }.encode()));
        memory.insert(block.clone());
        *block.cid()
    };
    let part = file(&[3, 3], &[*leaf.cid(), *leaf.cid()]);
    let liar = file(&[1 << 40, 3], &[part, *leaf.cid()]);
    let short = file(&[3], &[*leaf.cid(), *leaf.cid()]);
    let huge = file(&[u64::MAX, 2], &[*leaf.cid(), *leaf.cid()]);
    for (root, at) in [(liar, part), (short, short), (huge, huge)] {
        let refused = order(root, &bytes("1:1"), &memory);
        let Err(RunError::Walk(error)) = refused else { panic!("{refused:?}") };
        assert!(matches!(*error, WalkError::Codec { cid, .. } if cid == at), "{error:?}");
    }
}

#[test]
fn blocks_come_as_often_as_they_are_linked_when_asked_for() {
    let memory = &mut Memory::new();
    let leaf = |text: &'static str, memory: &mut Memory| {
        let block = Block::of(Codec::Raw, Buf::from_static(text.as_bytes()));
        memory.insert(block.clone());
        *block.cid()
    };
    let (a, b) = (leaf("a", memory), leaf("b", memory));
    let left = node(&[b, a, b], memory);
    let root = node(&[left, a, left], memory);
    let all = Selection { repeats: true, ..Selection::default() };
    assert_eq!(order(root, &all, memory).unwrap(), [root, left, b, a, b, a, left, b, a, b]);
    let tiny = Cid::new_v1(Codec::Raw.code(), Multihash::wrap(0, b"tiny").unwrap());
    let root = node(&[tiny, a, tiny], memory);
    assert_eq!(order(root, &all, memory).unwrap(), [root, a]);
}

#[test]
fn a_bomb_is_cut_off_by_the_budget() {
    let memory = &mut Memory::new();
    let mut bomb = node(&[], memory);
    for _ in 0..100 {
        bomb = node(&[bomb, bomb], memory);
    }
    assert_eq!(order(bomb, &Selection::default(), memory).unwrap().len(), 101);
    let over = |budget| {
        let refused = order(bomb, &Selection { repeats: true, budget, ..Selection::default() }, memory);
        let Err(RunError::Walk(error)) = refused else { panic!("{refused:?}") };
        *error
    };
    assert!(matches!(over(Budget { blocks: 10_000, ..Budget::MAX }), WalkError::TooLong { .. }));
    assert!(matches!(over(Budget { bytes: Bytes::MIB, ..Budget::MAX }), WalkError::TooLong { .. }));
    assert!(matches!(over(Budget { depth: 50, ..Budget::MAX }), WalkError::TooDeep { limit: 50, .. }));
    let exact = Budget { blocks: 101, ..Budget::MAX };
    assert!(order(bomb, &Selection { budget: exact, ..Selection::default() }, memory).is_ok());
    let short = Budget { blocks: 100, ..Budget::MAX };
    assert!(order(bomb, &Selection { budget: short, ..Selection::default() }, memory).is_err());
}

#[test]
fn a_walk_knows_the_roots_of_its_path() {
    let (root, memory) = read_car("unixfs/subdir-with-mixed-block-files.car");
    let dir = list(&root, &memory).unwrap().remove(0);
    let file = list(&dir.cid, &memory).unwrap().remove(0);
    let at_end = |root: Cid, path: &[&str], source: &Memory| {
        let mut walk = Walk::new(root, &scope(path, What::Block)).unwrap();
        while let Some(cid) = walk.want().copied() {
            walk.on_block(&source.block(&cid).unwrap().unwrap()).unwrap();
        }
        walk
    };
    let walk = at_end(root, &[&dir.name, &file.name], &memory);
    assert_eq!((walk.roots(), walk.rest().len()), (&[root, dir.cid, file.cid][..], 0));
    assert_eq!(walk.target(), Some(&file.cid));
    assert_eq!(at_end(root, &[], &memory).roots(), [root]);

    let mut memory = memory;
    let text = format!(r#"{{"a":{{"to":{{"/":"{root}"}},"in":[1]}}}}"#);
    let value = Block::of(Codec::DagJson, Buf::from(text));
    memory.insert(value.clone());
    let walk = at_end(*value.cid(), &["a", "to", &dir.name], &memory);
    assert_eq!(walk.roots(), [*value.cid(), root, dir.cid]);
    let walk = at_end(*value.cid(), &["a", "in", "0"], &memory);
    assert_eq!((walk.roots(), walk.target()), (&[*value.cid()][..], Some(value.cid())));
    assert_eq!(walk.rest(), ["a", "in", "0"]);

    let mut early = Walk::new(root, &scope(&[&dir.name], What::All)).unwrap();
    assert_eq!((early.roots(), early.target(), early.rest().len()), (&[root][..], None, 0));
    early.on_block(&memory.block(&root).unwrap().unwrap()).unwrap();
    assert_eq!(early.target(), Some(&dir.cid));
}

#[test]
fn plain_values_are_leaves_and_other_codecs_only_blocks() {
    let memory = &mut Memory::new();
    let named = |code: u64, text: &'static str, memory: &mut Memory| {
        let raw = Block::of(Codec::Raw, Buf::from_static(text.as_bytes()));
        let cid = Cid::new_v1(code, *raw.cid().hash());
        memory.insert(raw);
        cid
    };
    let (json, cbor) = (named(PLAIN_JSON, "{", memory), named(PLAIN_CBOR, "\u{1}", memory));
    let root = node(&[json, cbor], memory);
    assert_eq!(order(root, &Selection::default(), memory).unwrap(), [root, json, cbor]);
    let refused = Walk::new(json, &scope(&["x"], What::All)).unwrap().on_block(b"{}");
    assert_eq!(refused, Err(WalkError::NotADirectory { segment: "x".to_owned(), cid: json }));
    let git = named(0x78, "blob", memory);
    for what in [What::Block, What::Entity] {
        assert_eq!(order(git, &Selection::of(Scope::of(what)), memory).unwrap(), [git]);
    }
    let refused = order(git, &Selection::default(), memory);
    let Err(RunError::Walk(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(*error, WalkError::Codec { cid: git, source: CodecError::Unsupported(0x78) });
}

fn layouts() -> impl Strategy<Value = (Profile, Layout)> {
    let profile = prop_oneof![Just(Profile::v1_2025()), Just(Profile::v0_2015())];
    (profile, prop_oneof![Just(Layout::Balanced), Just(Layout::Trickle)])
}

proptest! {
    #[test]
    fn a_range_is_read_from_what_is_walked_and_needs_all_of_it(
        // Few letters, so that parts repeat.
        content in prop::collection::vec(b'a'..b'c', 0..200),
        (profile, layout) in layouts(),
        from in -220i64..220,
        len in 0i64..220,
        negative in any::<bool>(),
    ) {
        let mut memory = Memory::new();
        let file = add(&content, profile, layout, &mut memory).cid;
        let size = i64::try_from(content.len()).unwrap();
        let to = if negative { from.max(0) + len - size } else { from.max(0) + len };
        let range = ByteRange { from, to: Some(to) };
        let once = Selection { bytes: Some(range), ..Selection::default() };
        let cids = order(file, &once, &memory).unwrap();
        prop_assert_eq!(cids.iter().collect::<HashSet<_>>().len(), cids.len());
        let kept = only(&cids, &memory);
        prop_assert_eq!(&order(file, &once, &kept).unwrap(), &cids, "other blocks are not needed");
        match range.within(u64::try_from(size).unwrap()) {
            None => prop_assert_eq!(&cids, &[file]),
            Some(at) => {
                let (start, end) = (usize::try_from(at.start).unwrap(), usize::try_from(at.end).unwrap());
                prop_assert_eq!(read(&file, at.clone(), &kept).unwrap(), &content[start..end]);
                for cid in &cids {
                    let mut less = kept.clone();
                    less.remove(cid);
                    prop_assert_eq!(read(&file, at.clone(), &less), None, "{} is not needed", cid);
                }
                let whole = order(file, &Selection::of(Scope::of(What::Entity)), &memory).unwrap();
                if at == (0..u64::try_from(size).unwrap()) {
                    prop_assert_eq!(&cids, &whole);
                }
                prop_assert!(cids.iter().all(|cid| whole.contains(cid)));
            }
        }
        // With repeats, the first of each block make the walk without.
        let often = order(file, &Selection { repeats: true, ..once }, &memory).unwrap();
        let mut seen = HashSet::new();
        let firsts: Vec<_> = often.into_iter().filter(|cid| seen.insert(*cid)).collect();
        prop_assert_eq!(firsts, cids);
    }

    #[test]
    fn an_archive_of_a_range_reads_back(
        content in prop::collection::vec(any::<u8>(), 1..300),
        (profile, layout) in layouts(),
        from in 0u64..300,
        len in 0u64..300,
        repeats in any::<bool>(),
    ) {
        let mut memory = Memory::new();
        let file = add(&content, profile, layout, &mut memory).cid;
        let size = u64::try_from(content.len()).unwrap();
        let (from, to) = (from.min(size - 1), (from + len).min(size - 1));
        let selection = Selection { repeats, ..bytes(&format!("{from}:{}", to.max(from))) };
        let mut archive = header(&[file]).unwrap().to_vec();
        run_selection(file, &selection, &memory, &mut |cid: &Cid, data: &Buf| {
            archive.extend_from_slice(&section_head(cid, Bytes::of(data)));
            archive.extend_from_slice(data);
            Ok(())
        }).unwrap();
        let mut car = CarReader::new(&archive[..]).unwrap();
        prop_assert_eq!(car.roots(), [file]);
        let mut back = Memory::new();
        while let Some(block) = car.next_block().unwrap() {
            back.insert(block);
        }
        let (start, end) = (usize::try_from(from).unwrap(), usize::try_from(to.max(from)).unwrap() + 1);
        prop_assert_eq!(read(&file, from..to.max(from) + 1, &back).unwrap(), &content[start..end]);
    }

    #[test]
    fn a_selection_of_random_blocks_never_panics(
        data in prop::collection::vec(any::<u8>(), 0..200),
        from in any::<i64>(),
        to in any::<Option<i64>>(),
        repeats in any::<bool>(),
    ) {
        let root = *Block::of(Codec::DagPb, Buf::from(data.clone())).cid();
        let selection = Selection { bytes: Some(ByteRange { from, to }), repeats, ..Selection::default() };
        let mut walk = Walk::select(root, &selection).unwrap();
        for _ in 0..5 {
            let _ = walk.on_block(&data);
        }
    }
}

#[test]
fn a_selection_of_a_scope_walks_as_the_scope() {
    let (root, memory) = read_car("unixfs/subdir-with-mixed-block-files.car");
    for what in [What::Block, What::Entity, What::All] {
        let mut plain = Vec::new();
        run(root, &Scope::of(what), &memory, &mut |cid: &Cid, _: &Buf| {
            plain.push(*cid);
            Ok(())
        })
        .unwrap();
        assert_eq!(order(root, &Selection::of(Scope::of(what)), &memory).unwrap(), plain);
    }
}

#[test]
fn a_walk_remembers_and_waits_for_no_more_than_it_may() {
    let memory = &mut Memory::new();
    let leaves: Vec<Cid> = (0..100_u8)
        .map(|n| {
            let block = Block::of(Codec::Raw, Buf::copy_from_slice(&[n]));
            memory.insert(block.clone());
            *block.cid()
        })
        .collect();
    let mut parts: Vec<Cid> = leaves.chunks(10).map(|part| node(part, memory)).collect();
    parts.push(parts[0]);
    let root = node(&parts, memory);
    let walked = |budget| order(root, &Selection { budget, ..Selection::default() }, memory);
    let fails = |budget| match walked(budget) {
        Err(RunError::Walk(error)) => *error,
        other => panic!("{other:?}"),
    };
    assert_eq!(walked(Budget { seen: 111, waiting: 20, ..Budget::MAX }).unwrap().len(), 111);
    assert!(matches!(fails(Budget { seen: 110, ..Budget::MAX }), WalkError::TooLong { .. }));
    assert!(matches!(fails(Budget { waiting: 10, ..Budget::MAX }), WalkError::TooWide { .. }));
    // Who remembers nothing needs no memory for it.
    let often =
        Selection { repeats: true, budget: Budget { seen: 0, ..Budget::MAX }, ..Selection::default() };
    assert_eq!(order(root, &often, memory).unwrap().len(), 122);
}

#[test]
fn codecs_that_are_not_read_may_be_leaves_below_the_target() {
    let memory = &mut Memory::new();
    let blob = Block::of(Codec::Raw, Buf::from_static(b"blob 0"));
    let git = Cid::new_v1(0x78, *blob.cid().hash());
    memory.insert(blob);
    let root = node(&[git], memory);
    let lenient = Selection { unread_are_leaves: true, ..Selection::default() };
    assert_eq!(order(root, &lenient, memory).unwrap(), [root, git]);
    let unread = |root, selection| match order(root, selection, memory) {
        Err(RunError::Walk(error)) => {
            matches!(*error, WalkError::Codec { source: CodecError::Unsupported(0x78), .. })
        }
        _ => false,
    };
    let strict = Selection::default();
    assert!(unread(root, &strict));
    assert!(unread(git, &lenient), "as the target it is what was asked for");
}
