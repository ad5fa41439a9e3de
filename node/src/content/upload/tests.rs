use std::fs;
use std::path::Path;

use pop_dag::Memory;
use pop_dag::unixfs::{add_path, list};
use pop_rpc::{ErrorCode, PutParams, Reporter};
use pop_store::Options;

use super::*;
use crate::content::put;

fn store(capacity: Bytes) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options { capacity, ..Options::default() }).unwrap();
    (dir, store)
}

/// Carries out an upload whose pieces are these; without a commit among them the other side leaves.
async fn upload(store: &Store, codec: Option<Codec>, pieces: Vec<Piece>) -> Result<Kept, Lost> {
    let (sender, receiver) = mpsc::channel(4);
    let mut incoming =
        Incoming { pieces: receiver, stop: CancellationToken::new(), runtime: Handle::current() };
    let store = store.clone();
    let work =
        tokio::task::spawn_blocking(move || carry_out(&store, codec, &mut incoming, &Cancel::default()));
    for piece in pieces {
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    drop(sender);
    work.await.unwrap()
}

fn file(name: &str, content: &[u8]) -> Vec<Piece> {
    let content = content.chunks(100_000).map(|piece| Piece::Bytes(Buf::copy_from_slice(piece)));
    [Piece::File(name.to_owned())].into_iter().chain(content).collect()
}

fn files(files: &[(String, Vec<u8>)]) -> Vec<Piece> {
    let pieces = files.iter().flat_map(|(name, content)| file(name, content));
    pieces.chain([Piece::Commit]).collect()
}

/// Two files and the end.
fn whole(files: [Vec<Piece>; 2]) -> Vec<Piece> {
    files.into_iter().flatten().chain([Piece::Commit]).collect()
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(step).collect()
}

fn write(dir: &Path, files: &[(String, Vec<u8>)]) {
    for (name, content) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn added(path: &Path) -> Added {
    add_path(path, &Rules::default(), &mut Memory::new(), &mut |_| {}).unwrap()
}

fn tree() -> Vec<(String, Vec<u8>)> {
    let row = |name: &str, content: Vec<u8>| (name.to_owned(), content);
    vec![
        row("z.bin", noise(3_000_000, 1)),
        row("site/index.html", b"<h1>hello</h1>".to_vec()),
        row("empty", Vec::new()),
        row("site/img/a b.png", noise(1 << 20, 2)),
        row("site/img/deep/er/x", noise(1, 3)),
        row("\u{65e5}\u{672c}", b"same".to_vec()),
        row("copy", b"same".to_vec()),
    ]
}

#[tokio::test]
async fn an_upload_has_the_root_that_a_put_of_the_files_has() {
    let many = (0..9000).map(|n| (format!("file number {n}"), n.to_string().into_bytes())).collect();
    for tree in [tree(), many] {
        let (dir, store) = store(Bytes::GIB);
        let here = dir.path().join("tree");
        write(&here, &tree);
        let kept = upload(&store, Some(Codec::DagPb), files(&tree)).await.unwrap();
        let expected = added(&here);
        assert_eq!((kept.root, kept.size), (expected.cid, expected.size));
        assert!(kept.entries.is_sorted_by(|a, b| a.key < b.key));
        for named in &kept.entries {
            assert_eq!(named.added, added(&here.join(&named.key)), "{}", named.key);
        }
        // Read back as everybody reads it.
        let found = store.ref_of(&kept.root).unwrap().unwrap();
        assert!(found.complete && found.pinned);
        assert_eq!(found.keys.len(), kept.entries.len());
        assert!(found.keys.iter().all(|key| key.here));
        assert!(list(&kept.root, &store).is_ok());
        assert!(store.stagings().is_empty());
    }
}

#[tokio::test]
async fn a_root_of_dag_cbor_is_the_one_of_a_transaction() {
    let (dir, store) = store(Bytes::GIB);
    let here = dir.path().join("tree");
    write(&here, &tree());
    let kept = upload(&store, Some(Codec::DagCbor), files(&tree())).await.unwrap();
    let entries = ["copy", "empty", "site", "z.bin", "\u{65e5}\u{672c}"].map(|key| {
        let Added { cid, tsize, .. } = added(&here.join(key));
        pop_dag::unixfs::Entry { name: key.to_owned(), cid, tsize }
    });
    let (block, _) = tx_root::build(entries.to_vec()).unwrap();
    assert_eq!(kept.root, *block.cid());
    assert!(store.ref_of(&kept.root).unwrap().unwrap().complete);
}

#[tokio::test]
async fn one_file_has_the_root_of_the_file() {
    let (dir, store) = store(Bytes::GIB);
    for content in [Vec::new(), b"small".to_vec(), noise(5_000_001, 4)] {
        let path = dir.path().join("one");
        fs::write(&path, &content).unwrap();
        let mut pieces = file("says nothing", &content);
        pieces.push(Piece::Commit);
        let kept = upload(&store, None, pieces).await.unwrap();
        let expected = added(&path);
        assert_eq!((kept.root, kept.size), (expected.cid, expected.size));
        assert!(kept.entries.is_empty());
        assert!(store.ref_of(&kept.root).unwrap().unwrap().pinned);
    }
}

#[tokio::test]
async fn whatever_ends_it_before_the_commit_leaves_nothing() {
    let (_dir, store) = store(Bytes::new(64 << 20));
    let before = store.used();
    let some = |name: &str| file(name, &noise(3 << 20, 5));
    let rows: Vec<(&str, Option<Codec>, Vec<Piece>)> = vec![
        ("nothing comes", None, Vec::new()),
        ("leaves in a file", None, some("")),
        ("leaves in a form", Some(Codec::DagPb), some("a")),
        ("no name", Some(Codec::DagPb), whole([some("a"), some("")])),
        ("dots", Some(Codec::DagPb), whole([some("a"), some("b/../c")])),
        ("twice", Some(Codec::DagPb), whole([some("a"), some("a")])),
        ("file and directory", Some(Codec::DagPb), whole([some("a"), some("a/b")])),
        ("directory and file", Some(Codec::DagPb), whole([some("a/b"), some("a")])),
        ("two files as one", None, whole([some("a"), some("b")])),
        ("bytes of no file", Some(Codec::DagPb), vec![Piece::Bytes(Buf::from_static(b"x")), Piece::Commit]),
        ("no file", None, vec![Piece::Commit]),
        ("too much", None, whole([file("", &noise(100 << 20, 6)), Vec::new()])),
    ];
    for (what, codec, pieces) in rows {
        let lost = upload(&store, codec, pieces).await.unwrap_err();
        if what == "too much" {
            let is_full = matches!(&lost, Lost::Pipe(PipeError::Store(error)) if error.is_full());
            assert!(is_full, "{lost:?}");
        }
        assert!(store.stagings().is_empty(), "{what}");
        assert!(store.refs().unwrap().is_empty(), "{what}");
        while store.compact(true).unwrap() != pop_store::Compacted::default() {}
        assert_eq!(store.used(), before, "{what}");
    }
}

#[tokio::test]
async fn the_open_transaction_has_no_part_in_it() {
    let (dir, store) = store(Bytes::GIB);
    let path = dir.path().join("mine.txt");
    fs::write(&path, "mine").unwrap();
    let order = put::Order::read(PutParams { paths: vec![path], ..PutParams::default() }).unwrap();
    order.carry_out(&store, &Cancel::default(), &Reporter::mute()).unwrap();
    let before = serde_json::to_value(put::status(&store).unwrap()).unwrap();
    upload(&store, Some(Codec::DagPb), files(&tree())).await.unwrap();
    upload(&store, Some(Codec::DagPb), file("mine.txt", b"other")).await.unwrap_err();
    assert_eq!(serde_json::to_value(put::status(&store).unwrap()).unwrap(), before);
    assert_eq!(store.stagings(), ["tx"]);
    let (root, _) = crate::content::commit::commit(&store, true).unwrap();
    assert!(store.ref_of(&root).unwrap().unwrap().complete);
    let error = crate::content::commit::commit(&store, true).unwrap_err();
    assert_eq!(error.code, ErrorCode::Usage);
}

#[tokio::test]
async fn a_stop_ends_what_waits_for_bytes() {
    let (_dir, store) = store(Bytes::GIB);
    let (sender, receiver) = mpsc::channel(4);
    let stop = CancellationToken::new();
    let mut incoming = Incoming { pieces: receiver, stop: stop.clone(), runtime: Handle::current() };
    let own = store.clone();
    let work = tokio::task::spawn_blocking(move || carry_out(&own, None, &mut incoming, &Cancel::default()));
    sender.send(Piece::File(String::new())).await.unwrap();
    stop.cancel();
    assert!(matches!(work.await.unwrap(), Err(Lost::Left)));
    assert!(store.stagings().is_empty());
}
