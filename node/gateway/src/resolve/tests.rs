use pop_dag::unixfs::{Profile, tx_root};
use pop_dag::{Block, Memory};

use super::*;
use crate::testing::dag::{self, DIRECTORY, FILE, METADATA, SYMLINK};

fn path(text: &str) -> Vec<String> {
    text.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
}

fn found(blocks: &Memory, root: Cid, text: &str) -> Found {
    follow(blocks, root, &path(text)).unwrap()
}

fn refused(blocks: &Memory, root: Cid, text: &str) -> (u16, Keep, String) {
    match follow(blocks, root, &path(text)) {
        Err(Gap::Failed(refusal)) => (refusal.status.as_u16(), refusal.keep, refusal.message.clone()),
        other => panic!("{text}: {other:?}"),
    }
}

/// Returns the block of one name in a map of dag-cbor.
fn cbor(value: &pop_dag::Value, blocks: &mut Memory) -> Cid {
    let data = pop_dag::codec::encode(Codec::DagCbor, value).unwrap();
    dag::block(Codec::DagCbor, &data, blocks)
}

fn map(entries: Vec<(&str, pop_dag::Value)>) -> pop_dag::Value {
    let entries = entries.into_iter().map(|(name, value)| (name.into(), value)).collect();
    pop_dag::Value::Map(pop_dag::codec::Map::new(entries).unwrap())
}

#[test]
fn roots_are_those_of_the_segments() {
    let mut blocks = Memory::new();
    let file = dag::raw(b"hello", &mut blocks);
    let inner = dag::dir(&[("a.txt", file)], &mut blocks);
    let outer = dag::dir(&[("sub", inner)], &mut blocks);
    let kind = Kind::File(Bytes::new(5));
    let rest = Vec::new();
    assert_eq!(
        found(&blocks, outer, "sub/a.txt"),
        Found { roots: vec![outer, inner, file], starts: vec![0, 1, 2], cid: file, kind, rest: rest.clone() }
    );
    assert_eq!(found(&blocks, outer, "sub").kind, Kind::Directory);
    assert_eq!(found(&blocks, file, ""), Found { roots: vec![file], starts: vec![0], cid: file, kind, rest });
}

#[test]
fn shards_are_no_roots() {
    let mut blocks = Memory::new();
    let file = dag::raw(b"hello", &mut blocks);
    let names: Vec<String> = (0..600).map(|n| format!("file {n}")).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), file)).collect();
    let sharded = Profile { shard_above: Bytes::new(100), ..Profile::default() };
    let dir = dag::dir_by(&entries, &sharded, &mut blocks);
    for name in ["file 0", "file 599"] {
        assert_eq!(found(&blocks, dir, name).roots, [dir, file]);
    }
    let (status, keep, message) = refused(&blocks, dir, "file 600");
    assert_eq!((status, keep), (404, Keep::For(ABSENT)));
    assert!(message.contains("\"file 600\""));
}

#[test]
fn what_a_verified_dag_does_not_have_is_told_by_its_segment() {
    let mut blocks = Memory::new();
    let file = dag::raw(b"hello", &mut blocks);
    let link = dag::node(SYMLINK, b"/a", &[], None, &mut blocks);
    let dir = dag::dir(&[("a", file), ("link", link)], &mut blocks);
    for (text, segment) in [("b", "b"), ("b/a", "b"), ("a/x", "x"), ("link/a", "a")] {
        let (status, keep, message) = refused(&blocks, dir, text);
        assert_eq!((status, keep), (404, Keep::For(ABSENT)), "{text}");
        assert!(message.contains(&format!("{segment:?}")), "{text}: {message}");
    }
    assert_eq!(found(&blocks, dir, "link").kind, Kind::Symlink);
}

#[test]
fn a_block_that_is_not_here_is_a_gap() {
    let mut blocks = Memory::new();
    let file = dag::raw(b"hello", &mut blocks);
    let dir = dag::dir(&[("a", file)], &mut blocks);
    blocks.remove(&file);
    assert!(matches!(follow(&blocks, dir, &path("a")), Err(Gap::Missing(cid)) if cid == file));
    blocks.remove(&dir);
    assert!(matches!(follow(&blocks, dir, &path("a")), Err(Gap::Missing(cid)) if cid == dir));
}

#[test]
fn values_are_followed_along_links_and_not_beyond() {
    let mut blocks = Memory::new();
    let file = dag::raw(b"hello", &mut blocks);
    let dir = dag::dir(&[("f", file)], &mut blocks);
    let inner = map(vec![("link", pop_dag::Value::Link(Box::new(dir))), ("n", pop_dag::Value::Unsigned(1))]);
    let list = pop_dag::Value::List([inner.clone(), inner].into());
    let value = cbor(&map(vec![("list", list)]), &mut blocks);
    assert_eq!(found(&blocks, value, "list/1/link/f").roots, [value, dir, file]);
    assert_eq!(found(&blocks, value, "list/1/link/f").starts, [0, 3, 4]);
    let inside = found(&blocks, value, "list/0/n");
    assert_eq!((inside.cid, inside.kind, inside.rest), (value, Kind::Value, path("list/0/n")));
    assert_eq!(refused(&blocks, value, "list/2").0, 404);
    assert_eq!(refused(&blocks, value, "list/0/n/x").0, 404);
    let json = format!("{{\"to\":{{\"/\":\"{file}\"}},\"n\":1}}");
    let json = dag::block(Codec::DagJson, json.as_bytes(), &mut blocks);
    assert_eq!(found(&blocks, json, "to").roots, [json, file]);
    assert_eq!(found(&blocks, json, "n").rest, path("n"));
}

#[test]
fn plain_values_and_unknown_codecs_are_not_looked_into() {
    let mut blocks = Memory::new();
    let held = dag::raw(b"{\"a\":1}", &mut blocks);
    for (code, kind) in [(0x0200, Kind::Value), (0x51, Kind::Value), (0x78, Kind::Other)] {
        let cid = Cid::new_v1(code, *held.hash());
        assert_eq!(
            found(&blocks, cid, ""),
            Found { roots: vec![cid], starts: vec![0], cid, kind, rest: Vec::new() }
        );
        let inside = found(&blocks, cid, "a");
        assert_eq!((inside.cid, inside.kind, inside.rest.is_empty()), (cid, kind, false));
    }
}

#[test]
fn roots_of_transactions_are_directories() {
    let mut blocks = Memory::new();
    let file = dag::raw(b"hello", &mut blocks);
    let entry = pop_dag::unixfs::Entry { name: "a".into(), cid: file, tsize: Bytes::new(5) };
    let (root, _): (Block, Bytes) = tx_root::build(vec![entry]).unwrap();
    let cid = *root.cid();
    blocks.insert(root);
    assert_eq!(found(&blocks, cid, "").kind, Kind::Directory);
    assert_eq!(found(&blocks, cid, "a").roots, [cid, file]);
}

#[test]
fn malformed_nodes_are_told_and_still_blocks() {
    let mut blocks = Memory::new();
    let leaf = dag::raw(b"hello", &mut blocks);
    let lies = [
        dag::node(FILE, b"", &[(leaf, 5)], Some(6), &mut blocks),
        dag::node(FILE, b"x", &[(leaf, u64::MAX)], None, &mut blocks),
        dag::node(METADATA, b"x", &[], None, &mut blocks),
        dag::node(77, b"x", &[], None, &mut blocks),
        dag::block(Codec::DagPb, b"\xff\xff", &mut blocks),
    ];
    for cid in lies {
        let found = found(&blocks, cid, "");
        assert_eq!(found.kind, Kind::Malformed);
        assert_eq!(found.refusal().status, 422);
    }
    let broken = dag::block(Codec::DagPb, b"\xff\xff", &mut blocks);
    assert_eq!(refused(&blocks, broken, "a").0, 422);
    let empty = dag::node(DIRECTORY, b"", &[], None, &mut blocks);
    assert_eq!(found(&blocks, empty, "").kind, Kind::Directory);
}

#[test]
fn identity_cids_carry_their_block() {
    let blocks = Memory::new();
    let inline = |codec: u64, data: &[u8]| {
        let hash = [&[0, u8::try_from(data.len()).unwrap()], data].concat();
        Cid::read_bytes([&[1, u8::try_from(codec).unwrap()], hash.as_slice()].concat().as_slice()).unwrap()
    };
    let cid = inline(0x55, b"hello");
    assert_eq!(found(&blocks, cid, "").kind, Kind::File(Bytes::new(5)));
    assert_eq!(refused(&blocks, cid, "x").0, 404);
    let empty = inline(0x55, b"");
    assert_eq!(empty.to_string(), "bafkqaaa");
    assert_eq!(found(&blocks, empty, "").kind, Kind::File(Bytes::ZERO));
}
