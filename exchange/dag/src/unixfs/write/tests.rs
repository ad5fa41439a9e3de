use std::collections::BTreeSet;
use std::os::unix::fs::symlink;

use bytes::Bytes as Buf;
use proptest::prelude::*;

use super::*;
use crate::codec::pb;
use crate::unixfs::node::{FsNode, Kind};
use crate::unixfs::reader::tests::Counting;
use crate::unixfs::tests::{add, read_car};
use crate::unixfs::{
    Entry, MAX_NAME, Outside, Profile, Rules, add_path, check_tree, directory, leads_outside, tx_root,
};
use crate::{Block, Codec, Memory};

const NEW: TreeOptions = TreeOptions { overwrite: false, max_entries: 1 << 20, outside: Outside::Refuse };
const OVER: TreeOptions = TreeOptions { overwrite: true, ..NEW };

fn export(root: &Cid, memory: &Memory, dest: &Path, options: &TreeOptions) -> Result<Tree, ExportError> {
    write_tree(root, memory, dest, options, &mut |_| ())
}

fn put(block: Block, memory: &mut Memory) -> Cid {
    let cid = *block.cid();
    memory.insert(block);
    cid
}

fn file(content: &[u8], memory: &mut Memory) -> Cid {
    put(Block::of(Codec::Raw, Buf::copy_from_slice(content)), memory)
}

fn pb_node(fs: &FsNode<'_>, links: &[(&str, Cid)], memory: &mut Memory) -> Cid {
    let data = fs.encode();
    let link = |(name, cid): &(&'static str, Cid)| pb::Link { cid: *cid, name: Some(name), tsize: Some(1) };
    let names: Vec<(&'static str, Cid)> =
        links.iter().map(|(name, cid)| (&*String::from(*name).leak(), *cid)).collect();
    let node = pb::Node { links: names.iter().map(link).collect(), data: Some(&data) };
    put(Block::of(Codec::DagPb, Buf::from(node.encode())), memory)
}

fn folder(links: &[(&str, Cid)], memory: &mut Memory) -> Cid {
    pb_node(&FsNode::new(Kind::Directory), links, memory)
}

fn link_to(target: &str, memory: &mut Memory) -> Cid {
    pb_node(&FsNode { data: Some(target.as_bytes()), ..FsNode::new(Kind::Symlink) }, &[], memory)
}

/// A file whose second leaf is not there.
fn broken(memory: &mut Memory) -> Cid {
    let small = Profile { chunk: Bytes::new(2), ..Profile::default() };
    let root = add(b"gone!", &small, memory).cid;
    memory.remove(Block::of(Codec::Raw, Buf::from_static(b"ne")).cid());
    root
}

/// Every path below a directory, with what is there.
fn content(dir: &Path) -> BTreeSet<(PathBuf, String)> {
    let mut all = BTreeSet::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(at) = waiting.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap();
            let what = if kind.is_dir() {
                waiting.push(path.clone());
                "directory".to_owned()
            } else if kind.is_symlink() {
                format!("to {:?}", fs::read_link(&path).unwrap())
            } else if !kind.is_file() {
                "special".to_owned()
            } else {
                String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
            };
            all.insert((path.strip_prefix(dir).unwrap().to_owned(), what));
        }
    }
    all
}

#[test]
fn a_new_destination_appears_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("dest");
    let mut memory = Memory::new();
    let (good, bad) = (file(b"good", &mut memory), broken(&mut memory));
    let sub = folder(&[("a", good), ("b", bad)], &mut memory);
    let root = folder(&[("first", good), ("sub", sub)], &mut memory);
    let mut seen = 0;
    let refused = write_tree(&root, &memory, &dest, &NEW, &mut |_| {
        seen += 1;
        assert!(!dest.exists());
    });
    assert!(matches!(refused, Err(ExportError::Missing { .. })));
    assert_eq!((seen, content(dir.path()).len()), (3, 0));
}

#[test]
fn what_was_in_a_directory_survives_a_failed_export() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("a", "old a"), ("b", "old b"), ("sub/c", "old c")] {
        fs::create_dir_all(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join(name), text).unwrap();
    }
    let before = content(dir.path());
    let mut memory = Memory::new();
    let (good, bad) = (file(b"good", &mut memory), broken(&mut memory));
    let fresh = folder(&[("x", good), ("y", bad)], &mut memory);
    for (links, added) in [
        (&[("b", bad)][..], &[][..]),
        (&[("fresh", fresh)], &[]),
        (&[("good", good), ("fresh", fresh)], &[("good", "good")]),
    ] {
        let root = folder(links, &mut memory);
        assert!(export(&root, &memory, dir.path(), &OVER).is_err());
        let added = added.iter().map(|(path, text)| (PathBuf::from(path), String::from(*text)));
        assert_eq!(content(dir.path()), before.iter().cloned().chain(added).collect());
    }
    let sub = folder(&[("c", good)], &mut memory);
    let root = folder(&[("sub", sub)], &mut memory);
    let refused = export(&root, &memory, dir.path(), &NEW);
    assert!(matches!(refused, Err(ExportError::Exists { path }) if path == dir.path().join("sub/c")));
    export(&root, &memory, dir.path(), &OVER).unwrap();
    assert_eq!(fs::read(dir.path().join("sub/c")).unwrap(), b"good");
    assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"old a");
}

#[test]
fn files_and_symlinks_are_replaced_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut memory = Memory::new();
    let good = file(b"new", &mut memory);
    fs::write(dir.path().join("file"), "old").unwrap();
    symlink("file", dir.path().join("link")).unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    for name in ["dir", "socket"] {
        let root = folder(&[(name, good)], &mut memory);
        let refused = export(&root, &memory, dir.path(), &OVER);
        assert!(matches!(refused, Err(ExportError::Exists { path }) if path == dir.path().join(name)));
        assert!(matches!(
            export(&good, &memory, &dir.path().join(name), &OVER),
            Err(ExportError::Exists { .. })
        ));
    }
    for name in ["file", "link"] {
        let root = folder(&[(name, folder(&[], &mut Memory::new()))], &mut memory);
        folder(&[], &mut memory);
        assert!(matches!(export(&root, &memory, dir.path(), &OVER), Err(ExportError::Exists { .. })));
    }
    let root = folder(&[("file", link_to("link", &mut memory)), ("link", good)], &mut memory);
    export(&root, &memory, dir.path(), &OVER).unwrap();
    assert_eq!(fs::read_link(dir.path().join("file")).unwrap(), Path::new("link"));
    assert_eq!(fs::read(dir.path().join("link")).unwrap(), b"new");
    assert_eq!(content(dir.path()).len(), 4);
}

#[test]
fn symlinks_that_lead_outside_are_left_out_by_wish_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("dest");
    let mut memory = Memory::new();
    let (good, inside) = (file(b"x", &mut memory), link_to("f", &mut memory));
    let (up, absolute) = (link_to("../../x", &mut memory), link_to("/etc/passwd", &mut memory));
    let sub = folder(&[("f", good), ("in", inside), ("up", up)], &mut memory);
    let root = folder(&[("etc", absolute), ("sub", sub), ("z", good)], &mut memory);
    assert!(matches!(
        export(&root, &memory, &dest, &NEW),
        Err(ExportError::Link { path, target }) if path == dest.join("etc") && target == "/etc/passwd"
    ));
    assert_eq!(content(dir.path()).len(), 0);
    let options = TreeOptions { outside: Outside::LeaveOut, ..NEW };
    let tree = export(&root, &memory, &dest, &options).unwrap();
    let expected = Tree {
        files: 2,
        directories: 2,
        symlinks: 1,
        bytes: Bytes::new(2),
        left_out: 2,
        left_out_first: vec![
            (dest.join("etc"), "/etc/passwd".to_owned()),
            (dest.join("sub/up"), "../../x".to_owned()),
        ],
    };
    assert_eq!(tree, expected);
    assert_eq!(content(&dest).len(), 4);
    let checked = check_tree(&root, &memory, &options).unwrap();
    assert_eq!(checked.left_out_first[1].0, Path::new("sub/up"));
    assert_eq!(Tree { left_out_first: tree.left_out_first.clone(), ..checked }, tree);
    assert!(matches!(
        check_tree(&root, &memory, &NEW),
        Err(ExportError::Link { path, .. }) if path == Path::new("etc")
    ));
}

#[test]
fn where_a_symlink_may_lead() {
    for (target, depth) in [("a", 1), ("./a/b", 1), ("../a", 2), ("../../a/b", 3), ("..", 2)] {
        assert!(!leads_outside(target, depth), "{target}");
    }
    for (target, depth) in
        [("", 1), ("/", 9), ("..", 1), ("../..", 2), ("a/..", 9), ("a/../../b", 9), ("a\0", 1), ("a", 0)]
    {
        assert!(leads_outside(target, depth), "{target}");
    }
}

#[test]
fn looking_a_tree_over_reads_no_leaf() {
    let mut memory = Memory::new();
    let mut entries = Vec::new();
    for n in 0u32..5000 {
        let cid = file(&n.to_be_bytes(), &mut memory);
        entries.push(Entry { name: format!("file-number-{n:05}"), cid, tsize: Bytes::new(4) });
    }
    let big = add(&[7; 3_000_000], &Profile::default(), &mut memory);
    entries.push(Entry { name: "big".to_owned(), cid: big.cid, tsize: big.tsize });
    let before = memory.len();
    let (root, _) = directory(entries, &Profile::default(), &mut memory).unwrap();
    let (root, shards) = (*root.cid(), memory.len() - before);
    let source = Counting::new(&memory);
    let tree = check_tree(&root, &source, &NEW).unwrap();
    assert_eq!((tree.files, tree.directories, tree.bytes), (5001, 1, Bytes::new(3_020_000)));
    assert_eq!(source.take().len(), shards + 1);

    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("dest");
    assert_eq!(export(&root, &memory, &dest, &NEW).unwrap(), tree);
    let again = add_path(&dest, &Rules::default(), &mut Memory::new(), &mut |_| ()).unwrap();
    assert_eq!(again.cid, root);
}

#[test]
fn transactions_and_values_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut memory = Memory::new();
    let good = file(b"content", &mut memory);
    let entry = |name: &str, cid| Entry { name: name.to_owned(), cid, tsize: Bytes::new(7) };
    let (inner, _) = tx_root::build(vec![entry("a", good)]).unwrap();
    let inner = put(inner, &mut memory);
    let (root, _) = tx_root::build(vec![entry("tx", inner), entry("b", good)]).unwrap();
    let root = put(root, &mut memory);
    let tree = export(&root, &memory, &dir.path().join("tx"), &NEW).unwrap();
    assert_eq!((tree.files, tree.directories), (2, 2));
    assert_eq!(fs::read(dir.path().join("tx/tx/a")).unwrap(), b"content");

    let (root, memory) = read_car("unixfs/dir-with-dag-cbor-with-links.car");
    let tree = export(&root, &memory, &dir.path().join("mixed"), &NEW).unwrap();
    assert!(tree.files > 0);
    for entry in crate::unixfs::list(&root, &memory).unwrap() {
        if entry.cid.codec() == Codec::DagCbor.code() {
            let written = fs::read(dir.path().join("mixed").join(&entry.name)).unwrap();
            assert_eq!(written, memory.block(&entry.cid).unwrap().unwrap());
        }
    }
}

#[test]
fn names_that_the_disk_refuses_are_told_and_nothing_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut memory = Memory::new();
    let good = file(b"x", &mut memory);
    let long = "n".repeat(MAX_NAME);
    let root = folder(&[("a", good), (&long, good)], &mut memory);
    let dest = dir.path().join("dest");
    assert!(matches!(
        export(&root, &memory, &dest, &NEW),
        Err(ExportError::Io { path, .. }) if path == dest.join(&long)
    ));
    assert_eq!(content(dir.path()).len(), 0);
    let nowhere = dir.path().join("no/such/place");
    assert!(
        matches!(export(&root, &memory, &nowhere, &NEW), Err(ExportError::Io { path, .. }) if path == nowhere)
    );
    fs::write(dir.path().join("file"), "").unwrap();
    for below in ["file/x", "file/x/y"] {
        let below = dir.path().join(below);
        assert!(
            matches!(export(&root, &memory, &below, &NEW), Err(ExportError::Io { path, .. }) if path == below)
        );
    }
    let proc = Path::new("/proc/self/new");
    assert!(matches!(export(&root, &memory, proc, &NEW), Err(ExportError::Io { path, .. }) if path == proc));
}

#[test]
fn a_tree_longer_than_any_path_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut memory = Memory::new();
    let name = "n".repeat(250);
    let mut cid = file(b"deep", &mut memory);
    for _ in 0..100 {
        cid = folder(&[(&name, cid)], &mut memory);
    }
    let dest = dir.path().join("dest");
    let tree = export(&cid, &memory, &dest, &NEW).unwrap();
    assert_eq!((tree.files, tree.directories), (1, 100));
    // One that fails at its end is taken away again, all of it.
    let mut cid = broken(&mut memory);
    for _ in 0..100 {
        cid = folder(&[(&name, cid)], &mut memory);
    }
    assert!(export(&cid, &memory, &dir.path().join("other"), &NEW).is_err());
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["dest"]);
}

#[test]
fn nested_directories_of_full_blocks_are_bounded_in_memory() {
    let mut memory = Memory::new();
    let fill = file(b"x", &mut memory);
    let names: Vec<String> = (0..30_000).map(|n| format!("z{n}")).collect();
    let mut cid = fill;
    for _ in 0..60 {
        let mut links = vec![("a", cid)];
        links.extend(names.iter().map(|name| (name.as_str(), fill)));
        cid = folder(&links, &mut memory);
    }
    let refused = check_tree(&cid, &memory, &TreeOptions { max_entries: u64::MAX, ..NEW });
    assert!(matches!(refused, Err(ExportError::TooDeep { .. })));
}

#[test]
fn a_directory_that_is_swapped_for_a_symlink_meanwhile_leads_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let (dest, outside) = (dir.path().join("dest"), dir.path().join("outside"));
    fs::create_dir_all(dest.join("sub")).unwrap();
    fs::create_dir(&outside).unwrap();
    let mut memory = Memory::new();
    let good = file(b"x", &mut memory);
    let sub = folder(&[("a", good), ("b", good)], &mut memory);
    let root = folder(&[("sub", sub)], &mut memory);
    let mut swapped = false;
    let mut swap = |_| {
        if !swapped {
            swapped = true;
            fs::rename(dest.join("sub"), dest.join("moved")).unwrap();
            symlink(&outside, dest.join("sub")).unwrap();
        }
    };
    write_tree(&root, &memory, &dest, &OVER, &mut swap).unwrap();
    assert_eq!(content(&outside).len(), 0);
    assert_eq!(content(&dest.join("moved")).len(), 2);
}

#[test]
fn the_current_directory_and_names_left_by_a_killed_process_are_fine() {
    let dir = tempfile::tempdir().unwrap();
    let mut memory = Memory::new();
    let good = file(b"x", &mut memory);
    let partial = format!(".pop-{}-{}.partial", std::process::id(), 1 << 20);
    let root = folder(&[(&partial, good), ("a", good)], &mut memory);
    for count in 0..200 {
        let name = format!(".pop-{}-{count}.partial", std::process::id());
        fs::write(dir.path().join(name), "left").unwrap();
    }
    export(&root, &memory, &dir.path().join("."), &NEW).unwrap();
    assert_eq!(content(dir.path()).len(), 202);
    assert!(export(&good, &memory, &dir.path().join(".."), &OVER).is_err());
}

#[test]
#[ignore = "needs root, to mount a small tmpfs"]
fn a_full_disk_is_told_with_the_path_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let done = std::process::Command::new(args[0]).args(&args[1..]).arg(dir.path()).status().unwrap();
        assert!(done.success());
    };
    run(&["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
    let mut memory = Memory::new();
    let (small, large) =
        (file(&[1; 4096], &mut memory), add(&[2; 2 << 20], &Profile::default(), &mut memory).cid);
    let root = folder(&[("a", small), ("b", large)], &mut memory);
    let dest = dir.path().join("dest");
    let refused = export(&root, &memory, &dest, &NEW);
    let merged = {
        fs::create_dir(&dest).unwrap();
        fs::write(dest.join("b"), "old").unwrap();
        export(&root, &memory, &dest, &OVER)
    };
    let left = content(&dest).into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    let old = fs::read(dest.join("b")).unwrap();
    run(&["umount"]);
    for refused in [refused, merged] {
        assert!(matches!(
            refused,
            Err(ExportError::Io { path, source })
                if path == dest.join("b") && source.kind() == std::io::ErrorKind::StorageFull
        ));
    }
    assert_eq!((left, old.as_slice()), (vec![PathBuf::from("a"), PathBuf::from("b")], &b"old"[..]));
}

#[test]
#[ignore = "a measurement; run it alone in a release build"]
fn many_small_files_are_written_at_the_pace_of_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut memory = Memory::new();
    let contents: Vec<Vec<u8>> = (0u32..100_000).map(|n| n.to_be_bytes().repeat(1024)).collect();
    let mut entries = Vec::new();
    for (n, content) in contents.iter().enumerate() {
        let cid = file(content, &mut memory);
        entries.push(Entry { name: format!("file-{n:06}"), cid, tsize: Bytes::of(content) });
    }
    let (root, _) = directory(entries, &Profile::default(), &mut memory).unwrap();
    for round in 0..3 {
        let start = std::time::Instant::now();
        let plain = dir.path().join(format!("plain-{round}"));
        fs::create_dir(&plain).unwrap();
        for (n, content) in contents.iter().enumerate() {
            fs::write(plain.join(format!("file-{n:06}")), content).unwrap();
        }
        let bare = start.elapsed();
        let start = std::time::Instant::now();
        export(root.cid(), &memory, &dir.path().join(format!("tree-{round}")), &NEW).unwrap();
        println!("plain loop {bare:?}, write_tree {:?}", start.elapsed());
    }
}

/// A tree as a person would have it on a disk.
#[derive(Clone, Debug)]
enum Thing {
    File(Vec<u8>),
    Link(String),
    Folder(Vec<(String, Thing)>),
}

impl Thing {
    fn write(&self, path: &Path) {
        match self {
            Self::File(content) => fs::write(path, content).unwrap(),
            Self::Link(target) => symlink(target, path).unwrap(),
            Self::Folder(things) => {
                fs::create_dir(path).unwrap();
                for (name, thing) in things {
                    if fs::symlink_metadata(path.join(name)).is_err() {
                        thing.write(&path.join(name));
                    }
                }
            }
        }
    }
}

fn things() -> impl Strategy<Value = Thing> {
    let leaf = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..50).prop_map(Thing::File),
        1 => "[a-cö]{1,3}(/[a-c])?".prop_map(Thing::Link),
    ];
    let name = "[a-zäöü .\\\\*:]{1,6}".prop_filter("special", |name| name != "." && name != "..");
    leaf.prop_recursive(4, 30, 6, move |inner| {
        prop::collection::vec((name.clone(), inner), 0..6).prop_map(Thing::Folder)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_tree_comes_back(things in prop::collection::vec(("[a-h]{1,2}", things()), 0..6)) {
        let dir = tempfile::tempdir().unwrap();
        let (tree, copy, merged) = (dir.path().join("tree"), dir.path().join("copy"), dir.path().join("merged"));
        Thing::Folder(things).write(&tree);
        let small = Profile { chunk: Bytes::new(7), shard_above: Bytes::new(60), ..Profile::default() };
        let mut memory = Memory::new();
        let added = add_path(&tree, &Rules::new(small), &mut memory, &mut |_| ()).unwrap();
        let written = export(&added.cid, &memory, &copy, &NEW).unwrap();
        prop_assert_eq!(content(&tree), content(&copy));
        prop_assert_eq!(written.bytes, added.size);
        prop_assert_eq!(check_tree(&added.cid, &memory, &NEW).unwrap(), written);
        fs::create_dir(&merged).unwrap();
        for _ in 0..2 {
            export(&added.cid, &memory, &merged, &OVER).unwrap();
            prop_assert_eq!(content(&tree), content(&merged));
        }
    }
}
