//! Import from and export to a disk.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

fn import(path: &Path) -> Result<(Added, Memory), ImportError> {
    let mut memory = Memory::new();
    add_path(path, &Rules::default(), &mut memory, &mut |_| ()).map(|added| (added, memory))
}

fn export(root: &Cid, memory: &Memory, dest: &Path, overwrite: bool) -> Result<Bytes, ExportError> {
    let options = TreeOptions { overwrite, ..TreeOptions::default() };
    write_tree(root, memory, dest, &options, &mut |_| ()).map(|tree| tree.bytes)
}

fn dag_pb(fs: &FsNode<'_>, links: &[(&str, Cid)], memory: &mut Memory) -> Cid {
    let link = |(name, cid): &(&'static str, Cid)| pb::Link { cid: *cid, name: Some(*name), tsize: Some(1) };
    let links: Vec<(&'static str, Cid)> =
        links.iter().map(|(name, cid)| (&*Box::leak((*name).to_owned().into_boxed_str()), *cid)).collect();
    let data = fs.encode();
    let node = pb::Node { links: links.iter().map(link).collect(), data: Some(&data) };
    let block = Block::of(Codec::DagPb, Buf::from(node.encode()));
    let cid = *block.cid();
    memory.insert(block);
    cid
}

fn link_to(target: &str, memory: &mut Memory) -> Cid {
    dag_pb(&FsNode { data: Some(target.as_bytes()), ..FsNode::new(Kind::Symlink) }, &[], memory)
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("sub/empty")).unwrap();
    fs::write(tree.join("a.txt"), "alpha").unwrap();
    fs::write(tree.join("sub/b"), vec![7; 2_500_000]).unwrap();
    fs::write(tree.join("sub/nothing"), "").unwrap();
    symlink("../a.txt", tree.join("sub/link")).unwrap();
    let (added, memory) = import(&tree).unwrap();
    assert_eq!(added.size, Bytes::new(2_500_005));

    let dest = dir.path().join("copy");
    assert_eq!(export(&added.cid, &memory, &dest, false).unwrap(), added.size);
    assert_eq!(fs::read_to_string(dest.join("sub/link")).unwrap(), "alpha");
    assert_eq!(fs::read_link(dest.join("sub/link")).unwrap(), Path::new("../a.txt"));
    assert!(dest.join("sub/empty").is_dir());
    assert_eq!(import(&dest).unwrap().0, added);

    let again = export(&added.cid, &memory, &dest, false);
    assert!(matches!(again, Err(ExportError::Exists { path }) if path == dest.join("a.txt")));
    assert_eq!(export(&added.cid, &memory, &dest, true).unwrap(), added.size);
    assert_eq!(import(&dest).unwrap().0, added);
}

#[test]
fn what_cannot_be_added_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    assert!(matches!(import(&missing), Err(ImportError::Io { path, .. }) if path == missing));

    let socket = dir.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(matches!(
        import(dir.path()),
        Err(ImportError::Special { path, what: "socket" }) if path == socket
    ));
    fs::remove_file(&socket).unwrap();

    let pipe = dir.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(matches!(
        import(dir.path()),
        Err(ImportError::Special { path, what: "pipe" }) if path == pipe
    ));
    fs::remove_file(&pipe).unwrap();

    let name = dir.path().join(OsStr::from_bytes(b"caf\xe9"));
    fs::write(&name, "x").unwrap();
    assert!(matches!(import(dir.path()), Err(ImportError::NotUtf8 { path }) if path == name));
}

#[test]
fn a_file_that_grows_while_it_is_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    fs::write(&file, vec![1; 1 << 20]).unwrap();
    let mut memory = Memory::new();
    let mut grow = |_| {
        use std::io::Write;
        let mut log = fs::OpenOptions::new().append(true).open(&file).unwrap();
        log.write_all(b"more").unwrap();
    };
    let refused = add_path(dir.path(), &Rules::default(), &mut memory, &mut grow);
    assert!(matches!(refused, Err(ImportError::Changed { path }) if path == file));
}

#[test]
fn a_file_that_vanishes_or_shrinks_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a"), dir.path().join("b"));
    fs::write(&first, vec![1; 3 << 20]).unwrap();
    fs::write(&second, "later").unwrap();
    let mut vanish = |_| drop(fs::remove_file(&second));
    let refused = add_path(dir.path(), &Rules::default(), &mut Memory::new(), &mut vanish);
    assert!(matches!(refused, Err(ImportError::Io { path, .. }) if path == second));
    let mut shrink = |_| fs::write(&first, "short").unwrap();
    let refused = add_path(dir.path(), &Rules::default(), &mut Memory::new(), &mut shrink);
    assert!(matches!(refused, Err(ImportError::Changed { path }) if path == first));
}

#[test]
fn nothing_is_written_outside_the_destination() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("dest");
    let mut memory = Memory::new();
    let file = add(b"evil", &Profile::default(), &mut memory).cid;
    let folder = FsNode::new(Kind::Directory);
    for name in ["..", ".", "", "../x", "/etc/x", "a\0b"] {
        let root = dag_pb(&folder, &[(name, file)], &mut memory);
        let refused = export(&root, &memory, &dest, true);
        assert!(matches!(refused, Err(ExportError::Name { .. })), "{name:?}");
    }
    for target in ["/etc", "..", "../x", "a/../..", "a/..", ""] {
        let link = link_to(target, &mut memory);
        let root = dag_pb(&folder, &[("link", link)], &mut memory);
        let refused = export(&root, &memory, &dest, true);
        assert!(matches!(refused, Err(ExportError::Link { .. })), "{target:?}");
        assert!(matches!(export(&link, &memory, &dest, true), Err(ExportError::Link { .. })));
    }
    // A symlink and a directory of the same name: the first counts, and nothing goes through the symlink.
    let inside = link_to("other", &mut memory);
    let sub = dag_pb(&folder, &[("f", file)], &mut memory);
    let root = dag_pb(&folder, &[("a", inside), ("a", sub)], &mut memory);
    export(&root, &memory, &dest, true).unwrap();
    assert_eq!(fs::read_link(dest.join("a")).unwrap(), Path::new("other"));
    assert!(!dest.join("other").exists());
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["dest"]);
}

#[test]
fn a_symlink_in_the_destination_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (dest, outside) = (dir.path().join("dest"), dir.path().join("outside"));
    fs::create_dir_all(&dest).unwrap();
    fs::create_dir_all(&outside).unwrap();
    symlink(&outside, dest.join("sub")).unwrap();
    let mut memory = Memory::new();
    let file = add(b"x", &Profile::default(), &mut memory).cid;
    let folder = FsNode::new(Kind::Directory);
    let sub = dag_pb(&folder, &[("f", file)], &mut memory);
    let root = dag_pb(&folder, &[("sub", sub)], &mut memory);
    assert!(matches!(export(&root, &memory, &dest, true), Err(ExportError::Exists { .. })));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_failed_export_leaves_no_partial_file() {
    let dir = tempfile::tempdir().unwrap();
    let small = Profile { chunk: Bytes::new(2), ..Profile::default() };
    let mut memory = Memory::new();
    let root = add(b"abcd", &small, &mut memory).cid;
    memory.remove(Block::of(Codec::Raw, Buf::from_static(b"cd")).cid());
    let refused = export(&root, &memory, &dir.path().join("file"), false);
    assert!(matches!(refused, Err(ExportError::Missing { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_tree_without_end_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut memory = Memory::new();
    let mut cid = add(b"x", &Profile::default(), &mut memory).cid;
    for _ in 0..40 {
        cid = dag_pb(&FsNode::new(Kind::Directory), &[("a", cid), ("b", cid)], &mut memory);
    }
    let options = TreeOptions { max_entries: 100, ..TreeOptions::default() };
    let refused = write_tree(&cid, &memory, &dir.path().join("bomb"), &options, &mut |_| ());
    assert!(matches!(refused, Err(ExportError::TooMany { limit: 100 })));
}

#[test]
fn directories_nest_to_the_limit_and_no_further() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, copy) = (dir.path().join("tree"), dir.path().join("copy"));
    let deepest = (1..MAX_TREE_DEPTH).fold(tree.clone(), |path, _| path.join("d"));
    fs::create_dir_all(&deepest).unwrap();
    fs::write(deepest.join("file"), "deep").unwrap();
    let (added, memory) = import(&tree).unwrap();
    export(&added.cid, &memory, &copy, false).unwrap();
    assert_eq!(import(&copy).unwrap().0, added);

    fs::create_dir(deepest.join("d")).unwrap();
    assert!(matches!(import(&tree), Err(ImportError::TooDeep { .. })));
    let mut memory = memory;
    let above = dag_pb(&FsNode::new(Kind::Directory), &[("d", added.cid)], &mut memory);
    let above = dag_pb(&FsNode::new(Kind::Directory), &[("d", above)], &mut memory);
    let refused = export(&above, &memory, &dir.path().join("deeper"), false);
    assert!(matches!(refused, Err(ExportError::TooDeep { .. })));
}

#[test]
fn symlink_of_another_writer_is_read() {
    let (root, memory) = read_car("unixfs/symlink.car");
    let entries = list(&root, &memory).unwrap();
    let kinds: Vec<_> = entries.iter().map(|entry| resolve(&entry.cid, &[], &memory).unwrap().kind).collect();
    let at = kinds.iter().position(|kind| *kind == EntryKind::Symlink).unwrap();
    assert_eq!(symlink_target(&entries[at].cid, &memory).unwrap(), "foo");
}
