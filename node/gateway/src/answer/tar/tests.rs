use std::collections::BTreeMap;
use std::io::Read;

use http_body_util::BodyExt;
use pop_dag::codec::pb;
use pop_dag::unixfs::{Profile, Rules, add_file};
use pop_dag::{Block, Buf, Cid, Codec, Memory};

use super::tour::Tour;
use crate::testing;
use crate::view::{Gap, Paced};
use crate::walks::{Share, Walks};

/// A UnixFS message of a type, with more fields behind it.
fn unixfs(kind: u8, more: &[u8]) -> Vec<u8> {
    [&[0x08, kind], more].concat()
}

fn node(links: &[(&str, Cid)], data: &[u8], memory: &mut Memory) -> Cid {
    let link = |(name, cid): &(&'static str, Cid)| pb::Link { cid: *cid, name: Some(name), tsize: None };
    let names: Vec<(&'static str, Cid)> =
        links.iter().map(|(name, cid)| (&*Box::leak((*name).to_owned().into_boxed_str()), *cid)).collect();
    let node = pb::Node { links: names.iter().map(link).collect(), data: Some(data) };
    let block = Block::of(Codec::DagPb, Buf::from(node.encode()));
    let cid = *block.cid();
    memory.insert(block);
    cid
}

fn dir(links: &[(&str, Cid)], memory: &mut Memory) -> Cid {
    node(links, &unixfs(1, &[]), memory)
}

fn leaf(text: &str, memory: &mut Memory) -> Cid {
    let block = Block::of(Codec::Raw, Buf::from(text.to_owned()));
    let cid = *block.cid();
    memory.insert(block);
    cid
}

async fn ask(root: &Cid, memory: Memory) -> (u16, Vec<u8>, bool) {
    let site = testing::site(memory);
    let path = format!("/ipfs/{root}?format=tar");
    let (head, mut body) = testing::ask(&site, "GET", &path, &[]).await.into_parts();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap()),
            Err(_) => return (head.status.as_u16(), bytes, false),
        }
    }
    (head.status.as_u16(), bytes, true)
}

/// Unpacks an archive: what stands at each path below the top, as mode, time and content.
fn unpack(root: &Cid, bytes: &[u8]) -> BTreeMap<String, (u32, u64, String)> {
    assert_eq!(bytes.len() % 512, 0);
    let mut found = BTreeMap::new();
    for entry in ::tar::Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let path = path.strip_prefix(&root.to_string()).unwrap().to_owned();
        let mut text = entry.link_name_bytes().map_or_else(String::new, |target| {
            format!("-> {}", String::from_utf8(target.into_owned()).unwrap())
        });
        entry.read_to_string(&mut text).unwrap();
        let head = entry.header();
        assert_eq!((head.uid().unwrap(), head.gid().unwrap()), (0, 0));
        found.insert(path, (head.mode().unwrap(), head.mtime().unwrap(), text));
    }
    found
}

fn tree(list: &[(&str, u32, u64, &str)]) -> BTreeMap<String, (u32, u64, String)> {
    list.iter()
        .map(|(path, mode, time, text)| ((*path).to_owned(), (*mode, *time, (*text).to_owned())))
        .collect()
}

#[tokio::test]
async fn names_with_steps_stay_inside() {
    let memory = &mut Memory::new();
    let file = leaf("x", memory);
    let inner = dir(&[("../b", file), ("./c//d", file), ("e/../f", file)], memory);
    let root = dir(&[("a", inner)], memory);
    let (status, bytes, whole) = ask(&root, memory.clone()).await;
    assert_eq!((status, whole), (200, true));
    let expected = [
        ("/", 0o755, 0, ""),
        ("/a/", 0o755, 0, ""),
        ("/b", 0o644, 0, "x"),
        ("/a/c/d", 0o644, 0, "x"),
        ("/a/f", 0o644, 0, "x"),
    ];
    assert_eq!(unpack(&root, &bytes), tree(&expected));
}

#[tokio::test]
async fn names_that_lead_outside_are_refused_before_the_head() {
    for name in ["..", "../x", "../../x", "a/../..", "x/../../y", ".", "", "/", "a\0b"] {
        let memory = &mut Memory::new();
        let file = leaf("x", memory);
        let root = dir(&[(name, file)], memory);
        let (status, bytes, _) = ask(&root, memory.clone()).await;
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(status, 400, "{name:?}: {text}");
        assert!(text.contains("relative UnixFS paths outside the root are not allowed"), "{text}");
    }
    // What only begins like the top is outside of it.
    let memory = &mut Memory::new();
    let file = leaf("x", memory);
    let root = dir(&[("a", file)], memory);
    let evil = format!("../{root}-evil");
    let root = dir(&[(&evil, file)], memory);
    assert_eq!(ask(&root, memory.clone()).await.0, 400);
}

#[tokio::test]
async fn a_late_name_that_leads_outside_breaks_off() {
    let memory = &mut Memory::new();
    let file = leaf("x", memory);
    let evil = dir(&[("../../x", file)], memory);
    let names: Vec<_> = (0..5000).map(|n| format!("{n:04}")).collect();
    let mut links: Vec<_> = names.iter().map(|name| (name.as_str(), file)).collect();
    links.push(("zzz", evil));
    let root = dir(&links, memory);
    let (status, bytes, whole) = ask(&root, memory.clone()).await;
    assert_eq!((status, whole), (200, false));
    assert!(bytes.len() > 5000 * 1024 - (1 << 20), "{}", bytes.len());
}

#[tokio::test]
async fn long_names_and_targets_stand_in_extended_heads() {
    let memory = &mut Memory::new();
    let file = leaf("x", memory);
    let (long, wide) = ("n".repeat(250), "ż".repeat(90));
    let target = "t/".repeat(120);
    let mut fields = vec![0x12, 240, 1];
    fields.extend_from_slice(target.as_bytes());
    let link = node(&[], &unixfs(4, &fields), memory);
    let inner = dir(&[(&wide, file)], memory);
    let root = dir(&[("l", link), (&long, inner)], memory);
    let (status, bytes, whole) = ask(&root, memory.clone()).await;
    assert_eq!((status, whole), (200, true));
    let expected = [
        ("/", 0o755, 0, ""),
        ("/l", 0o777, 0, &*format!("-> {target}")),
        (&*format!("/{long}/"), 0o755, 0, ""),
        (&*format!("/{long}/{wide}"), 0o644, 0, "x"),
    ];
    assert_eq!(unpack(&root, &bytes), tree(&expected));
}

#[tokio::test]
async fn modes_and_times_are_those_of_the_content() {
    let memory = &mut Memory::new();
    // Mode 0o104755 and the second 1,700,000,000; the bit that changes users is not handed out.
    let more = [0x12, 1, b'x', 0x18, 1, 0x38, 0xed, 0x93, 0x02, 0x42, 6, 0x08, 0x80, 0xe2, 0xcf, 0xaa, 0x06];
    let file = node(&[], &unixfs(2, &more), memory);
    let old = node(&[], &unixfs(2, &[0x12, 1, b'y', 0x18, 1]), memory);
    let root = dir(&[("new", file), ("old", old)], memory);
    let (_, bytes, _) = ask(&root, memory.clone()).await;
    let expected = [("/", 0o755, 0, ""), ("/new", 0o755, 1_700_000_000, "x"), ("/old", 0o644, 0, "y")];
    assert_eq!(unpack(&root, &bytes), tree(&expected));
}

#[tokio::test]
async fn large_files_come_in_batches_and_other_values_as_their_bytes() {
    let memory = &mut Memory::new();
    let content = "0123456789abcde\n".repeat(200_001);
    let small = Profile { chunk: pop_units::Bytes::new(100_000), ..Profile::default() };
    let rules = Rules::from(small);
    let large = add_file(&mut content.as_bytes(), &rules, memory, &mut |_| ()).unwrap().cid;
    let value = Block::of(Codec::DagJson, Buf::from_static(b"{\"a\":1}"));
    memory.insert(value.clone());
    let root = dir(&[("large", large), ("value", *value.cid())], memory);
    let (status, bytes, whole) = ask(&root, memory.clone()).await;
    assert_eq!((status, whole), (200, true));
    let expected = [("/", 0o755, 0, ""), ("/large", 0o644, 0, &*content), ("/value", 0o644, 0, "{\"a\":1}")];
    assert!(unpack(&root, &bytes) == tree(&expected));
}

#[tokio::test]
async fn memory_for_clients_changes_no_byte() {
    let memory = &mut Memory::new();
    let content = "0123456789abcde\n".repeat(50_001);
    let rules = Rules::from(Profile { chunk: pop_units::Bytes::new(90_000), ..Profile::default() });
    let large = add_file(&mut content.as_bytes(), &rules, memory, &mut |_| ()).unwrap().cid;
    let root = dir(&[("large", large), ("leaf", leaf(&content, memory))], memory);
    let (_, expected, _) = ask(&root, memory.clone()).await;
    for in_flight in [0, 100 << 10, 1 << 20] {
        let mut settings = testing::settings();
        settings.limits.in_flight = pop_units::Bytes::new(in_flight);
        let site = testing::site_with(settings, memory.clone());
        let (_, _, bytes) = testing::get(&site, "GET", &format!("/ipfs/{root}?format=tar"), &[]).await;
        assert!(bytes == expected, "with {in_flight} bytes in flight");
    }
}

fn share() -> Share {
    Walks::new().archive([127, 0, 0, 1].into()).unwrap()
}

/// Looks a tree over; returns how many turns it took.
fn looked_over(root: Cid, memory: &Memory) -> (u32, Result<(), Gap>) {
    let (mut tour, mut turns) = (Tour::new(root, share()), 0);
    loop {
        turns += 1;
        match tour.look_over(&Paced::new(memory)) {
            Ok(false) => {}
            Ok(true) => return (turns, Ok(())),
            Err(gap) => return (turns, Err(gap)),
        }
    }
}

#[test]
fn others_have_their_turn_while_a_tree_is_looked_over() {
    let memory = &mut Memory::new();
    let below = |count: u32, memory: &mut Memory| {
        let names: Vec<_> = (0..count).map(|n| format!("{n:04}")).collect();
        let dirs: Vec<_> = names
            .iter()
            .map(|name| node(&[], &unixfs(1, &[0x12, 4, 0, 0, 0, name.as_bytes()[3]]), memory))
            .collect();
        let links: Vec<_> = names.iter().map(String::as_str).zip(dirs).collect();
        dir(&links, memory)
    };
    let few = below(200, memory);
    assert!(matches!(looked_over(few, memory), (1, Ok(()))));
    let many = below(1000, memory);
    assert!(matches!(looked_over(many, memory), (4, Ok(()))), "1,001 blocks in turns of 256");
}

#[tokio::test]
async fn nothing_stands_where_a_symlink_leads_away() {
    let memory = &mut Memory::new();
    let file = leaf("x", memory);
    let link = node(&[], &unixfs(4, b"\x12\x04/etc"), memory);
    let inner = dir(&[("passwd", file)], memory);
    for links in [
        &[("a", link), ("a/passwd", file)][..],
        &[("a", link), ("./a", inner)],
        &[("a", link), ("b/../a", file)],
        &[("a", link), ("a//b/c", link)],
    ] {
        let root = dir(links, memory);
        let (status, bytes, _) = ask(&root, memory.clone()).await;
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(status, 400, "{links:?}: {text}");
        assert!(text.contains("stands where a symlink leads away"), "{text}");
    }
    // A name that only begins the same is another one.
    let root = dir(&[("a", link), ("ab", file), ("b", inner)], memory);
    let (status, bytes, whole) = ask(&root, memory.clone()).await;
    assert_eq!((status, whole), (200, true));
    assert_eq!(unpack(&root, &bytes).len(), 5);
}

#[test]
fn directories_without_end_are_cut_off() {
    let memory = &mut Memory::new();
    let mut bomb = dir(&[], memory);
    for _ in 0..60 {
        bomb = dir(&[("a", bomb), ("b", bomb)], memory);
    }
    let mut tour = Tour::with_most(bomb, 10_000, share());
    let mut count = 0;
    let refused = loop {
        match tour.next(memory) {
            Ok(Some(_)) => count += 1,
            Ok(None) => panic!("it ended"),
            Err(gap) => break gap,
        }
    };
    assert_eq!(count, 10_000);
    assert!(matches!(refused, Gap::Failed(_)), "{refused:?}");

    let mut deep = dir(&[], memory);
    for _ in 0..200 {
        deep = dir(&[("a", deep)], memory);
    }
    assert!(matches!(looked_over(deep, memory), (_, Err(Gap::Failed(_)))));
}

#[test]
fn a_tour_goes_on_where_a_block_was_missing() {
    let memory = &mut Memory::new();
    let file = leaf("x", memory);
    let inner = dir(&[("f", file)], memory);
    let root = dir(&[("a", file), ("b", inner), ("c", file)], memory);
    let inner_block = Block::verified(inner, pop_dag::BlockSource::block(memory, &inner).unwrap().unwrap());
    memory.remove(&inner);
    let (mut tour, mut paths) = (Tour::new(root, share()), Vec::new());
    loop {
        match tour.next(memory) {
            Ok(Some(entry)) => paths.push(entry.path.replace(&root.to_string(), "")),
            Ok(None) => break,
            Err(Gap::Missing(cid)) => {
                assert_eq!((cid, paths.len()), (inner, 2));
                memory.insert(inner_block.clone().unwrap());
            }
            Err(gap) => panic!("{gap:?}"),
        }
    }
    assert_eq!(paths, ["", "/a", "/b", "/b/f", "/c"]);
}

#[test]
fn long_paths_of_deep_directories_are_counted() {
    let memory = &mut Memory::new();
    let many = "a/".repeat(30_000);
    let mut deep = dir(&[], memory);
    for _ in 0..100 {
        deep = dir(&[("b", deep)], memory);
    }
    let root = dir(&[(&many, deep)], memory);
    let walks = Walks::new();
    let (mut tour, all) = (Tour::new(root, walks.archive([127, 0, 0, 1].into()).unwrap()), walks.left());
    while tour.next(memory).unwrap().is_some() {
        assert!(all.saturating_sub(walks.left()) < pop_units::Bytes::MIB.saturating_mul(7));
    }
    let mut deeper = deep;
    for _ in 0..20 {
        deeper = dir(&[("b", deeper)], memory);
    }
    let long = "a/".repeat(32_600);
    let root = dir(&[(&long, deeper)], memory);
    assert!(matches!(looked_over(root, memory), (_, Ok(()))), "a path of 64 KiB at each of 122 levels");
    drop(tour);
    assert_eq!(walks.left(), all);
}

#[tokio::test]
async fn a_large_block_is_no_larger_part_of_a_batch_than_a_file() {
    let memory = &mut Memory::new();
    let bytes: Vec<u8> = (0_u32..300_000).flat_map(u32::to_le_bytes).collect();
    let value = pop_dag::Value::Bytes(bytes.clone().into());
    let block = Block::of(Codec::DagCbor, pop_dag::codec::encode(Codec::DagCbor, &value).unwrap().into());
    let (cid, data) = (*block.cid(), block.data().clone());
    memory.insert(block);
    let root = dir(&[("value", cid), ("z", leaf("x", memory))], memory);
    let mut settings = testing::settings();
    settings.limits.in_flight = pop_units::Bytes::ZERO;
    let site = testing::site_with(settings, memory.clone());
    let (_, mut body) =
        testing::ask(&site, "GET", &format!("/ipfs/{root}?format=tar"), &[]).await.into_parts();
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.unwrap().into_data().unwrap();
        assert!(frame.len() <= 20 << 10, "{}", frame.len());
        all.extend_from_slice(&frame);
    }
    let mut archive = ::tar::Archive::new(all.as_slice());
    let mut found = Vec::new();
    let mut entry = archive.entries().unwrap().nth(1).unwrap().unwrap();
    entry.read_to_end(&mut found).unwrap();
    assert!(found == data, "other bytes came");
}
