use futures::FutureExt;
use http_body_util::BodyExt;
use pop_dag::unixfs::{Entry, Profile, Rules, add_file, directory, read_range};
use pop_dag::{Block, Buf, Cid, Codec, Memory, Scope, What, car};
use pop_units::Bytes;
use proptest::prelude::*;

use crate::testing;
use crate::testing::arriving::Arriving;
use crate::walks::{ARCHIVES, EACH};

/// Asks and returns status, body, how many frames it had and whether it ended well.
async fn ask(memory: Memory, path: &str) -> (u16, Vec<u8>, usize, bool) {
    let site = testing::site(memory);
    let (head, mut body) = testing::ask(&site, "GET", path, &[]).await.into_parts();
    let (mut bytes, mut frames) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap()),
            Err(_) => return (head.status.as_u16(), bytes, frames, false),
        }
        frames += 1;
    }
    (head.status.as_u16(), bytes, frames, true)
}

fn add(content: &[u8], chunk: u64, memory: &mut Memory) -> Cid {
    let profile = Profile { chunk: Bytes::new(chunk), max_links: 20, ..Profile::default() };
    add_file(&mut &content[..], &Rules::from(profile), memory, &mut |_| ()).unwrap().cid
}

fn noise(len: u32) -> Vec<u8> {
    (0..len).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

#[tokio::test]
async fn many_batches_are_one_archive() {
    let mut memory = Memory::new();
    let large = add(&noise(5 << 20), 300_000, &mut memory);
    let small = add(&noise(300_000), 100, &mut memory);
    let entry = |name: &str, cid| Entry { name: name.to_owned(), cid, tsize: Bytes::ZERO };
    let entries = vec![entry("large", large), entry("small", small)];
    let root = *directory(entries, &Profile::default(), &mut memory).unwrap().0.cid();
    let mut expected = Vec::new();
    let totals = car::export(root, &Scope::all(), &memory, &mut expected).unwrap();
    assert!(totals.blocks > 100, "{}", totals.blocks);
    let (status, bytes, frames, whole) = ask(memory, &format!("/ipfs/{root}?format=car")).await;
    assert_eq!((status, whole), (200, true));
    assert!(bytes == expected, "the archive differs from the one that an export writes");
    // A large block is two frames, small ones share theirs.
    assert!(frames < 90, "{frames} frames");
}

#[tokio::test]
async fn codecs_without_known_links_are_single_blocks() {
    let mut memory = Memory::new();
    let raw = Block::of(Codec::Raw, Buf::from_static(b"blob 0"));
    let git = Cid::new_v1(0x78, *raw.cid().hash());
    memory.insert(raw);
    for (query, expected) in
        [("", 406), ("&dag-scope=all", 406), ("&dag-scope=block", 200), ("&dag-scope=entity", 200)]
    {
        let (status, ..) = ask(memory.clone(), &format!("/ipfs/{git}?format=car{query}")).await;
        assert_eq!(status, expected, "{query}");
    }
    assert_eq!(ask(memory.clone(), &format!("/ipfs/{git}?format=raw")).await.1, b"blob 0");
    for code in [0x51, 0x0200] {
        let plain = Cid::new_v1(code, *git.hash());
        let (status, bytes, ..) = ask(memory.clone(), &format!("/ipfs/{plain}?format=car")).await;
        let mut car = car::CarReader::new(&bytes[..]).unwrap();
        assert_eq!((status, *car.next_block().unwrap().unwrap().cid()), (200, plain));
    }
}

#[tokio::test]
async fn below_the_root_codecs_without_known_links_are_leaves() {
    let mut memory = Memory::new();
    let raw = Block::of(Codec::Raw, Buf::from_static(b"blob 0"));
    let git = Cid::new_v1(0x78, *raw.cid().hash());
    memory.insert(raw);
    let file = add(&noise(1000), 100, &mut memory);
    let entry = |name: &str, cid| Entry { name: name.to_owned(), cid, tsize: Bytes::ZERO };
    let entries = vec![entry("a", git), entry("b", file)];
    let root = *directory(entries, &Profile::default(), &mut memory).unwrap().0.cid();
    for path in [format!("/ipfs/{root}?format=car"), format!("/ipfs/{root}?format=car&car-dups=y")] {
        let (status, bytes, _, whole) = ask(memory.clone(), &path).await;
        assert_eq!((status, whole), (200, true));
        let mut car = car::CarReader::new(&bytes[..]).unwrap();
        let mut cids = Vec::new();
        while let Some(block) = car.next_block().unwrap() {
            cids.push(*block.cid());
        }
        assert_eq!((cids[0], cids[1], cids[2]), (root, git, file));
        assert!(cids.len() > 4);
    }
}

#[tokio::test]
async fn a_block_of_too_many_links_is_told_before_the_head() {
    let mut memory = Memory::new();
    let leaf = *Block::of(Codec::Raw, Buf::from_static(b"x")).cid();
    let link = || pop_dag::codec::pb::Link { cid: leaf, name: None, tsize: None };
    for (count, expected) in [(1 << 16, 404), ((1 << 16) + 1, 422)] {
        let links = std::iter::repeat_with(link).take(count).collect();
        let node = pop_dag::codec::pb::Node { links, data: None };
        let wide = Block::of(Codec::DagPb, node.encode().into());
        memory.insert(wide.clone());
        // Its bytes show that they are not waited for: no block of the leaf is here.
        let (status, bytes, _, whole) =
            ask(memory.clone(), &format!("/ipfs/{}?format=car", wide.cid())).await;
        let is_cut = status == 200 && !whole;
        assert!(status == expected || expected == 404 && is_cut, "{count}: {status} {}", bytes.len());
    }
}

#[tokio::test]
async fn archives_at_once_are_counted() {
    let mut memory = Memory::new();
    let file = add(&noise(2 << 20), 100_000, &mut memory);
    let entry = Entry { name: "a".to_owned(), cid: file, tsize: Bytes::ZERO };
    let root = *directory(vec![entry], &Profile::default(), &mut memory).unwrap().0.cid();
    let site = testing::site(memory);
    let begin = |from: [u8; 4], count: usize| -> Vec<_> {
        (0..count).map(|_| site.walks.archive(from.into()).unwrap()).collect()
    };
    let (here, others) = ([127, 0, 0, 1], [203, 0, 113, 9]);
    for (format, status) in [("car", 503), ("tar", 503), ("car", 429), ("tar", 429)] {
        let _all_but_one = match status {
            503 => [begin(others, EACH), begin(here, ARCHIVES - EACH - 1)],
            _ => [begin(others, 0), begin(here, EACH - 1)],
        };
        let path = format!("/ipfs/{root}?format={format}");
        let first = testing::ask(&site, "GET", &path, &[]).await;
        assert_eq!(first.status().as_u16(), 200);
        let second = testing::ask(&site, "GET", &path, &[]).await;
        assert_eq!(second.status().as_u16(), status);
        assert!(second.headers().contains_key("retry-after"));
        drop(first);
        assert_eq!(testing::get(&site, "GET", &path, &[]).await.0.as_u16(), 200, "its place is free again");
    }
}

#[tokio::test]
async fn all_of_an_empty_file_is_no_mistake() {
    let mut memory = Memory::new();
    let profile = Rules::from(Profile::v0_2015());
    let empty = add_file(&mut &b""[..], &profile, &mut memory, &mut |_| ()).unwrap().cid;
    let (status, ..) = ask(memory.clone(), &format!("/ipfs/{empty}?format=car&entity-bytes=0:*")).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn what_is_malformed_is_told_before_the_head() {
    let mut memory = Memory::new();
    let broken = Block::of(Codec::DagCbor, Buf::from_static(b"\xff"));
    memory.insert(broken.clone());
    let (status, ..) = ask(memory.clone(), &format!("/ipfs/{}?format=car", broken.cid())).await;
    assert_eq!(status, 422);
    let (status, bytes, ..) =
        ask(memory, &format!("/ipfs/{}?format=car&dag-scope=block", broken.cid())).await;
    assert_eq!(status, 200);
    assert!(car::CarReader::new(&bytes[..]).unwrap().next_block().unwrap().is_some());
}

#[tokio::test]
async fn a_child_that_is_missing_breaks_the_body_off_after_what_is_here() {
    let mut memory = Memory::new();
    let content = noise(4 << 20);
    let root = add(&content, 300_000, &mut memory);
    let lost = *Block::of(Codec::Raw, Buf::copy_from_slice(&content[3_000_000..3_300_000])).cid();
    assert!(memory.remove(&lost));
    let (status, bytes, _, whole) = ask(memory, &format!("/ipfs/{root}?format=car")).await;
    assert_eq!((status, whole), (200, false));
    let mut car = car::CarReader::new(&bytes[..]).unwrap();
    let mut count = 0;
    while car.next_block().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 11, "the root and ten leaves");
}

#[tokio::test]
async fn memory_for_clients_changes_no_byte() {
    let mut memory = Memory::new();
    // Leaves above and below what is read at a time.
    let entries = [(3 << 20, 1_000_000), (1 << 20, 30_000), (200_000, 64 << 10), (10, 100)];
    let entries = entries.iter().enumerate().map(|(n, (len, chunk))| {
        let cid = add(&noise(*len), *chunk, &mut memory);
        Entry { name: n.to_string(), cid, tsize: Bytes::ZERO }
    });
    let entries = entries.collect();
    let root = *directory(entries, &Profile::default(), &mut memory).unwrap().0.cid();
    let mut expected = Vec::new();
    car::export(root, &Scope::all(), &memory, &mut expected).unwrap();
    for in_flight in [0, 64 << 10, 300 << 10, 2 << 20, 32 << 20] {
        let mut settings = testing::settings();
        settings.limits.in_flight = Bytes::new(in_flight);
        let site = testing::site_with(settings, memory.clone());
        // The second time, leaves are known and read by parts.
        for _ in 0..2 {
            let (status, _, bytes) =
                testing::get(&site, "GET", &format!("/ipfs/{root}?format=car"), &[]).await;
            assert_eq!(status.as_u16(), 200);
            assert!(bytes == expected, "with {in_flight} bytes in flight");
        }
        let spare = site.budget.has_spare(in_flight / 4 * 3);
        assert!(spare, "all room has come back");
    }
}

#[tokio::test]
async fn blocks_go_out_as_they_come() {
    let mut memory = Memory::new();
    let content = noise(1_000_000);
    let root = add(&content, 200_000, &mut memory);
    let mut cids = Vec::new();
    pop_dag::walk::run(root, &Scope::all(), &memory, &mut |cid: &Cid, _: &Buf| {
        cids.push(*cid);
        Ok(())
    })
    .unwrap();
    let node = std::sync::Arc::new(Arriving::new(Memory::new()));
    let mut settings = testing::settings();
    settings.fetch_for = vec!["127.0.0.0/8".parse().unwrap()];
    let site = std::sync::Arc::new(crate::site::Site::new(settings, node.clone()));
    let path = format!("/ipfs/{root}?format=car");
    let asking = tokio::spawn(async move { testing::ask(&site, "GET", &path, &[]).await });
    while node.asked() == 0 {
        tokio::task::yield_now().await;
    }
    node.arrive(&root, &memory);
    let response = asking.await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let mut body = response.into_body();
    let (mut bytes, mut next) = (Vec::new(), 1);
    // The head is there with the first block; each further one comes when the client has had those before.
    while let Some(frame) =
        body.frame().now_or_never().unwrap_or_else(|| Some(Ok(http_body::Frame::data(Buf::new()))))
    {
        let data = frame.unwrap().into_data().unwrap();
        bytes.extend_from_slice(&data);
        if data.is_empty() {
            if let Some(cid) = cids.get(next) {
                node.arrive(cid, &memory);
                next += 1;
            }
            tokio::task::yield_now().await;
        }
    }
    let mut expected = Vec::new();
    car::export(root, &Scope::all(), &memory, &mut expected).unwrap();
    assert!(bytes == expected);
    assert_eq!(node.asked(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_archive_of_a_range_holds_the_range_and_no_more(
        len in 1u32..3000,
        chunk in 1u64..200,
        from in 0u64..3000,
        more in 0u64..3000,
        dups in any::<bool>(),
    ) {
        let content = noise(len);
        let mut memory = Memory::new();
        let root = add(&content, chunk, &mut memory);
        let (from, to) = (from % u64::from(len), (from % u64::from(len) + more).min(u64::from(len) - 1));
        let dups = if dups { "&car-dups=y" } else { "" };
        let path = format!("/ipfs/{root}?format=car&entity-bytes={from}:{to}{dups}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (status, bytes, _, whole) = runtime.block_on(ask(memory, &path));
        prop_assert_eq!((status, whole), (200, true));
        let mut car = car::CarReader::new(&bytes[..]).unwrap();
        let mut back = Memory::new();
        while let Some(block) = car.next_block().unwrap() {
            back.insert(block);
        }
        let mut read = Vec::new();
        read_range(&root, from..to + 1, &back, &mut read, &mut |_| ()).unwrap();
        let (start, end) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap() + 1);
        prop_assert_eq!(&read, &content[start..end]);
        // Whoever walks over it finds nothing that is not needed.
        let selection = super::Ask { what: What::Entity, bytes: Some(format!("{from}:{to}").parse().unwrap()), repeats: false };
        let walked = pop_dag::walk::run_selection(root, &selection.selection(Vec::new()), &back, &mut |_, _| Ok(()));
        prop_assert_eq!(usize::try_from(walked.unwrap().blocks).unwrap(), back.len());
    }
}

/// A directory of so many files, and so many bytes in each.
fn many(count: u32, len: u32, memory: &mut Memory) -> Cid {
    let bytes = noise(len);
    let entry = |n: u32| {
        let leaf = Block::of(Codec::Raw, [&n.to_be_bytes(), bytes.as_slice()].concat().into());
        let cid = *leaf.cid();
        memory.insert(leaf);
        Entry { name: format!("{n:05}"), cid, tsize: Bytes::ZERO }
    };
    let entries = (0..count).map(entry).collect();
    *directory(entries, &Profile::default(), memory).unwrap().0.cid()
}

#[tokio::test]
async fn what_archives_remember_is_counted_and_bounded() {
    let mut memory = Memory::new();
    let root = many(3000, 100, &mut memory);
    let site = testing::site(memory);
    let all = site.walks.left();
    for format in ["car", "tar"] {
        let path = format!("/ipfs/{root}?format={format}");
        let begun = testing::ask(&site, "GET", &path, &[]).await;
        let taken = all.saturating_sub(site.walks.left());
        assert!(taken > Bytes::new(10_000) && taken < Bytes::MIB, "{format}: {taken}");
        drop(begun);
        assert_eq!(site.walks.left(), all);

        let little = site.walks.leave(Bytes::MIB);
        let refused = testing::ask(&site, "GET", &path, &[]).await;
        assert_eq!(refused.status().as_u16(), 503);
        assert!(refused.headers().contains_key("retry-after"));
        drop(little);
        assert_eq!(testing::get(&site, "GET", &path, &[]).await.0.as_u16(), 200);
        assert_eq!(site.walks.left(), all);
    }
    // What cannot grow any more is broken off, and not taken for whole.
    let path = format!("/ipfs/{root}?format=car");
    let (_, mut body) = testing::ask(&site, "GET", &path, &[]).await.into_parts();
    let little = site.walks.leave(Bytes::MIB);
    let broken = loop {
        match body.frame().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error.to_string(),
            None => panic!("it came whole"),
        }
    };
    assert!(broken.contains("as many archives"), "{broken}");
    drop((body, little));
    assert_eq!(site.walks.left(), all);
}
