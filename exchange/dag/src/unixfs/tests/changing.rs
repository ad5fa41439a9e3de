//! Trees that are odd, huge, or change while they are read.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::*;

fn import(path: &Path, progress: &mut dyn FnMut(Bytes)) -> Result<(Added, Memory), ImportError> {
    let mut memory = Memory::new();
    add_path(path, &Rules::default(), &mut memory, progress).map(|added| (added, memory))
}

/// Makes a directory look untouched for long: clocks of file systems tick in milliseconds.
fn age(dir: &Path) {
    File::open(dir).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
}

#[test]
fn a_directory_whose_list_changes_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let sub = dir.path().join("sub");
    type Change<'a> = &'a dyn Fn();
    let changes: [(&str, Change<'_>); 4] = [
        ("a new file", &|| fs::write(sub.join("new"), "x").unwrap()),
        ("a file gone that was read", &|| fs::remove_file(sub.join("a")).unwrap()),
        ("another name", &|| fs::rename(sub.join("a"), sub.join("0")).unwrap()),
        ("a new directory", &|| fs::create_dir(sub.join("zz")).unwrap()),
    ];
    for (what, change) in changes {
        if sub.exists() {
            fs::remove_dir_all(&sub).unwrap();
        }
        fs::create_dir(&sub).unwrap();
        fs::write(sub.join("a"), "first").unwrap();
        fs::write(sub.join("b"), "second").unwrap();
        age(&sub);
        let mut count = 0;
        let mut progress = |_| {
            count += 1;
            if count == 1 {
                change();
            }
        };
        let refused = import(dir.path(), &mut progress);
        assert!(
            matches!(&refused, Err(ImportError::Changed { path }) if *path == sub),
            "{what}: {refused:?}"
        );
    }
}

#[test]
fn a_directory_that_becomes_a_symlink_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "x").unwrap();
    fs::write(dir.path().join("a"), "first").unwrap();
    let sub = dir.path().join("sub");
    fs::create_dir(&sub).unwrap();
    let mut swap = |_| {
        fs::remove_dir(&sub).unwrap();
        symlink(outside.path(), &sub).unwrap();
    };
    let refused = import(dir.path(), &mut swap);
    assert!(matches!(refused, Err(ImportError::Io { path, .. }) if path == sub));
}

#[test]
fn a_file_that_becomes_a_pipe_a_symlink_or_a_directory_is_named() {
    let make: [&dyn Fn(&Path); 3] = [
        &|path| {
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, rustix::fs::Mode::RUSR, 0).unwrap();
        },
        &|path| symlink("/etc/hostname", path).unwrap(),
        &|path| fs::create_dir(path).unwrap(),
    ];
    for make in make {
        let dir = tempfile::tempdir().unwrap();
        let second = dir.path().join("b");
        fs::write(dir.path().join("a"), "first").unwrap();
        fs::write(&second, "second").unwrap();
        let mut swap = |_| {
            fs::remove_file(&second).unwrap();
            make(&second);
        };
        let refused = import(dir.path(), &mut swap);
        assert!(matches!(
            refused,
            Err(ImportError::Io { path, .. } | ImportError::Changed { path }) if path == second
        ));
    }
}

#[test]
fn a_file_rewritten_in_its_length_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("data");
    fs::write(&file, vec![1; 2 << 20]).unwrap();
    age(&file);
    let mut rewrite = |_| fs::write(&file, vec![2; 2 << 20]).unwrap();
    let refused = import(&file, &mut rewrite);
    assert!(matches!(refused, Err(ImportError::Changed { path }) if path == file));
}

#[test]
fn hard_links_and_sparse_files_are_plain_files() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    fs::write(&one, "shared").unwrap();
    fs::hard_link(&one, &two).unwrap();
    let sparse = File::create(dir.path().join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    let (added, memory) = import(dir.path(), &mut |_| ()).unwrap();
    assert_eq!(added.size, Bytes::new(12 + (3 << 20)));
    let entries = list(&added.cid, &memory).unwrap();
    let cid = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap().cid;
    assert_eq!(cid("one"), cid("two"));
    assert_eq!(read_back(&cid("sparse"), &memory).unwrap(), vec![0; 3 << 20]);
    // One block of zeros, three times; the file's node, one short leaf and the directory.
    assert_eq!(memory.len(), 4);
}

#[test]
fn names_are_kept_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    // The same letter composed and decomposed, other scripts, emoji, spaces, controls, the longest name.
    let names =
        ["é", "e\u{301}", "日本語", "שלום", "👩‍👩‍👧", " ", "a\nb", "-rf", "%2e%2e", ".hidden", &"ü".repeat(127)];
    for name in names {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let (added, memory) = import(dir.path(), &mut |_| ()).unwrap();
    let entries = list(&added.cid, &memory).unwrap();
    assert_eq!(entries.len(), names.len());
    for entry in entries {
        assert_eq!(read_back(&entry.cid, &memory).unwrap(), entry.name.as_bytes());
    }
    let copy = tempfile::tempdir().unwrap();
    write_tree(&added.cid, &memory, copy.path(), &TreeOptions::default(), &mut |_| ()).unwrap();
    assert_eq!(import(copy.path(), &mut |_| ()).unwrap().0, added);
}

#[test]
fn empty_files_and_directories_are_what_they_are_under_any_chunker() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("nothing")).unwrap();
    for name in ["empty", "empty.txt", "empty.png"] {
        fs::write(dir.path().join(name), "").unwrap();
    }
    let cid = |chunker, memory: &mut Memory| {
        let rules = Rules { chunker, ..Rules::default() };
        add_path(dir.path(), &rules, memory, &mut |_| ()).unwrap().cid
    };
    let mut memory = Memory::new();
    let plain = cid(Chunker::Profile, &mut memory);
    for chunker in [Chunker::Auto, Chunker::Buzhash, Chunker::Size(Bytes::new(7))] {
        assert_eq!(cid(chunker, &mut memory), plain);
    }
    // One empty leaf, one empty directory, and what they lie in.
    assert_eq!(memory.len(), 3);
    fs::write(dir.path().join("empty.mp4"), "").unwrap();
    assert_ne!(cid(Chunker::Auto, &mut memory), cid(Chunker::Profile, &mut memory));
    let film = lookup(&cid(Chunker::Auto, &mut memory), "empty.mp4", &memory).unwrap().unwrap();
    assert_eq!(read_back(&film.cid, &memory).unwrap(), b"");
}

#[test]
fn a_hundred_thousand_files_in_one_directory_are_added_listed_and_found() {
    let dir = tempfile::tempdir().unwrap();
    // One file under many names: the file system makes links far faster than files, up to 65,000 of each.
    for half in 0..2 {
        let first = dir.path().join(format!("{half}-00000"));
        fs::write(&first, format!("content {half}")).unwrap();
        for at in 1..50_000 {
            fs::hard_link(&first, dir.path().join(format!("{half}-{at:05}"))).unwrap();
        }
    }
    let (added, memory) = import(dir.path(), &mut |_| ()).unwrap();
    assert_eq!(added.size, Bytes::new(900_000));
    // 256 shards below the root, and one wherever two of some 390 names share their second byte, too.
    assert!((25_000..35_000).contains(&memory.len()), "{}", memory.len());
    let entries = list(&added.cid, &memory).unwrap();
    assert_eq!(entries.len(), 100_000);
    assert!(entries.is_sorted_by(|a, b| a.name < b.name));
    for name in ["0-00000", "0-49999", "1-31415"] {
        assert!(lookup(&added.cid, name, &memory).unwrap().is_some(), "{name}");
    }
    assert!(lookup(&added.cid, "1-50000", &memory).unwrap().is_none());
}

#[test]
fn a_directory_in_one_block_is_refused_where_it_does_not_fit() {
    let mut memory = Memory::new();
    let file = add(b"x", &Profile::default(), &mut memory);
    let entry = |at: u32| Entry { name: format!("{at:06}"), cid: file.cid, tsize: file.tsize };
    let entries: Vec<Entry> = (0..100_000).map(entry).collect();
    let refused = tx_root::build(entries.clone());
    assert!(matches!(refused, Err(ImportError::TooLarge { entries: 100_000 })));
    // What does fit is a block like any other.
    let (block, _) = tx_root::build(entries[..20_000].to_vec()).unwrap();
    assert!(block.size() <= crate::MAX_BLOCK);
    assert_eq!(tx_root::entries(block.data()).unwrap().len(), 20_000);
    let widest = Profile { shard_above: Bytes::MIB, ..Profile::default() };
    let (block, _) = directory(entries[..20_000].to_vec(), &widest, &mut memory).unwrap();
    assert_eq!(list(block.cid(), &memory).unwrap(), entries[..20_000]);
}
