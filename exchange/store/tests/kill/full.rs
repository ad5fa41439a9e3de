//! A file system that others fill to the last byte: what was reported stays, what does not fit is refused, and
//! with room everything goes on.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use pop_store::{Batch, Options, Ref, Store};
use pop_units::Bytes;

use crate::disk::{Mount, image};
use crate::history::Id;
use crate::writer::{commit, dag};

fn open(repo: &Path) -> Store {
    Store::open(repo, Options { segment_size: Bytes::new(1 << 20), ..Options::default() }).unwrap()
}

/// Commits that eviction leaves alone, by number.
fn id(n: u64) -> Id {
    (7, 0, n * 3)
}

fn holds(store: &Store, n: u64) -> bool {
    dag(id(n)).iter().all(|block| store.get(block.cid()).unwrap().as_ref() == Some(block.data()))
}

/// Takes every byte that is left.
fn fill(disk: &Path) -> std::path::PathBuf {
    let path = disk.join("filling");
    let mut file = std::fs::File::create(&path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    // What was promised to other files may come free once this one is on the disk.
    file.sync_all().unwrap();
    while file.write_all(&[1; 64]).is_ok() {}
    path
}

/// Runs a test on a disk and on one in memory, which refuse at different moments.
fn on_both(mib: u32, test: impl Fn(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let disk = Mount::image(&image(dir.path(), mib.into()), "disk");
    test(&disk.0);
    let memory = Mount::memory(&dir.path().join("memory"), mib);
    test(&memory.0);
}

#[test]
#[ignore = "mounts an image, which needs root"]
fn a_full_disk_refuses_and_recovers() {
    on_both(80, |disk| {
        let store = open(disk);
        for n in 0..5 {
            commit(&store, id(n)).unwrap();
        }
        let filling = fill(disk);
        // The active segment has room of its own; the disk says no at the latest when it is full.
        let refused = (5..200).map(|n| commit(&store, id(n))).find_map(Result::err).unwrap();
        assert!(refused.is_full(), "{refused:?}");
        let refused = store.state().apply(Batch::new().put("t", b"k", b"v")).unwrap_err();
        assert!(refused.is_full(), "{refused:?}");
        assert!((0..5).all(|n| holds(&store, n)));
        // Long enough for the databases' own flushes to meet the full disk.
        std::thread::sleep(Duration::from_millis(2500));
        assert!(store.remove(dag(id(0))[0].cid()).unwrap() > Bytes::ZERO);
        std::fs::remove_file(&filling).unwrap();
        commit(&store, id(300)).unwrap();
        drop(store);
        let store = open(disk);
        assert!(store.report().broken.is_empty());
        assert!([1, 2, 3, 4, 300].into_iter().all(|n| holds(&store, n)));
        assert_eq!(store.ref_of(dag(id(0))[0].cid()).unwrap(), None);
    });
}

#[test]
#[ignore = "mounts an image, which needs root"]
fn a_commit_on_a_full_disk_is_refused_and_can_be_tried_again() {
    on_both(80, |disk| {
        let store = open(disk);
        commit(&store, id(0)).unwrap();
        let blocks = dag(id(1));
        let staging = store.stage("late").unwrap();
        blocks.iter().for_each(|block| staging.put(block).unwrap());
        staging.sync().unwrap();
        let filling = fill(disk);
        let found = || Ref { complete: true, pinned: true, ..Ref::new(*blocks[0].cid()) };
        let refused = staging.clone().commit(found()).unwrap_err();
        assert!(refused.is_full(), "{refused:?}");
        assert!(store.get(blocks[1].cid()).unwrap().is_none(), "refused and yet visible");
        assert!(holds(&store, 0));
        std::fs::remove_file(&filling).unwrap();
        staging.commit(found()).unwrap();
        drop(store);
        let store = open(disk);
        assert!(holds(&store, 0) && holds(&store, 1));
    });
}

#[test]
#[ignore = "mounts an image, which needs root"]
fn a_compaction_on_a_full_disk_loses_nothing_and_goes_on_later() {
    on_both(96, |disk| {
        let store = open(disk);
        for n in 0..40 {
            commit(&store, id(n)).unwrap();
        }
        for n in (0..40).step_by(2) {
            store.remove(dag(id(n))[0].cid()).unwrap();
        }
        let filling = fill(disk);
        // A segment without survivors still goes; one whose survivors find no room stays.
        let refused = (0..200).find_map(|_| match store.compact(true) {
            Ok(done) if done.freed == Bytes::ZERO && done.moved == Bytes::ZERO => Some(None),
            Ok(_) => None,
            Err(error) => Some(Some(error)),
        });
        let refused = refused.flatten();
        assert!(refused.as_ref().is_none_or(pop_store::Error::is_full), "{refused:?}");
        assert!((1..40).step_by(2).all(|n| holds(&store, n)));
        std::fs::remove_file(&filling).unwrap();
        while store.compact(true).unwrap().freed > Bytes::ZERO {}
        assert!((1..40).step_by(2).all(|n| holds(&store, n)));
        drop(store);
        let store = open(disk);
        assert!(store.report().broken.is_empty());
        assert!((1..40).step_by(2).all(|n| holds(&store, n)));
        assert!((0..40).step_by(2).all(|n| store.ref_of(dag(id(n))[0].cid()).unwrap().is_none()));
    });
}
