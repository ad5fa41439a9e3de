//! A process that commits in a loop is stopped at random moments; every commit it reported must be there.
//!
//! The ignored tests do the same with a file system of their own on a loop device, and need root.

#![expect(clippy::unwrap_used, reason = "a test states what must hold; its helpers do too")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use cid::Cid;
use pop_dag::{Block, Codec};
use pop_store::{Batch, Error, Options, Ref, Store};
use pop_units::Bytes;
use rand::Rng;

const REPO: &str = "POP_STORE_KILL_REPO";
const ROUND: &str = "POP_STORE_KILL_ROUND";

fn open(repo: &Path) -> Store {
    Store::open(repo, Options { segment_size: Bytes::new(64 << 10), ..Options::default() }).unwrap()
}

/// The DAG of one commit: a root and leaves, all told by the number.
fn dag(round: u64, n: u64) -> Vec<Block> {
    let leaf = |at: u64| {
        let len = usize::try_from(500 + 900 * at).unwrap();
        let data: Vec<u8> =
            [round, n, at].iter().flat_map(|part| part.to_le_bytes()).cycle().take(len).collect();
        Block::of(Codec::Raw, data.into())
    };
    let leaves: Vec<Block> = (0..6).map(leaf).collect();
    let links: Vec<Cid> = leaves.iter().map(|block| *block.cid()).collect();
    let root = Block::of(Codec::DagCbor, serde_ipld_dagcbor::to_vec(&links).unwrap().into());
    std::iter::once(root).chain(leaves).collect()
}

fn commit(store: &Store, round: u64, n: u64) -> Result<(), Error> {
    let blocks = dag(round, n);
    let staging = store.stage(&format!("tx {n}"))?;
    blocks.iter().try_for_each(|block| staging.put(block))?;
    staging.commit(Ref { complete: true, ..Ref::new(*blocks[0].cid()) })
}

/// Not a test by itself: the process that gets stopped.
#[test]
fn committing_child() {
    let (Ok(repo), Ok(round)) = (std::env::var(REPO), std::env::var(ROUND)) else { return };
    let round: u64 = round.parse().unwrap();
    let store = open(Path::new(&repo));
    let mut out = std::io::stdout();
    for n in 0.. {
        commit(&store, round, n).unwrap();
        store.state().apply(Batch::new().put("acks", round.to_be_bytes(), n.to_be_bytes())).unwrap();
        // Every third commit takes the one before it away again.
        if n % 3 == 2 {
            store.remove(dag(round, n - 1)[0].cid()).unwrap();
        }
        if n % 4 == 3 {
            store.compact(n % 8 == 3).unwrap();
        }
        writeln!(out, "\nack {n}").unwrap();
        out.flush().unwrap();
    }
}

/// Starts the child, waits for its first report and then for a random moment.
fn start(repo: &Path, round: u64, most: u64) -> (Child, Receiver<u64>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "committing_child", "--nocapture"])
        .env(REPO, repo)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some(n) = line.strip_prefix("ack ").and_then(|n| n.parse().ok()) {
                let _ = tell.send(n);
            }
        }
    });
    told.recv_timeout(Duration::from_secs(60)).unwrap();
    std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..most)));
    (child, told)
}

/// Compares a store with the last number that each round reported.
fn verify(store: &Store, last: &[u64]) {
    assert!(store.report().rebuilt && store.report().broken.is_empty(), "{:?}", store.report());
    let mut live = 0;
    for (round, last) in (0..).zip(last) {
        let acked = store.state().get("acks", &u64::to_be_bytes(round)).unwrap().unwrap();
        assert!(u64::from_be_bytes(acked.try_into().unwrap()) >= *last);
        for n in 0..=*last {
            let blocks = dag(round, n);
            let is_there = store.ref_of(blocks[0].cid()).unwrap().is_some();
            let is_removed = n % 3 == 1 && n < *last;
            // The one before the last may have been removed without a report.
            assert!(is_there || is_removed || (n % 3 == 1 && n == *last), "round {round}, commit {n}");
            assert!(!is_there || !is_removed, "round {round}, commit {n} came back");
            for block in &blocks {
                let found = store.get(block.cid()).unwrap();
                assert_eq!(found.as_ref(), is_there.then_some(block.data()), "round {round}, commit {n}");
            }
            live += usize::from(is_there);
        }
    }
    let refs = store.refs().unwrap().len();
    assert!(refs - live <= 2 * last.len(), "only commits on their way at the stop may be there beside");
    assert_eq!(store.report().blocks, u64::try_from(refs * 7).unwrap());
}

#[test]
fn every_reported_commit_survives_a_kill() {
    let repo = tempfile::tempdir().unwrap();
    let mut last = Vec::new();
    for round in 0..4 {
        let (mut child, told) = start(repo.path(), round, 250);
        child.kill().unwrap();
        child.wait().unwrap();
        last.push(told.iter().last().unwrap_or(0));
        let store = open(repo.path());
        verify(&store, &last);
        if round % 2 == 1 {
            store.close().unwrap();
        }
    }
}

/// A file system on an image file, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(image: &Path, name: &str) -> Self {
        let point = image.with_file_name(name);
        std::fs::create_dir_all(&point).unwrap();
        run("mount", &["-o", "loop", image.to_str().unwrap(), point.to_str().unwrap()]);
        Self(point)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[self.0.to_str().unwrap()]);
    }
}

fn run(program: &str, args: &[&str]) {
    assert!(Command::new(program).args(args).status().unwrap().success(), "{program} {args:?}");
}

fn image(dir: &Path) -> PathBuf {
    let image = dir.join("disk.img");
    std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    run("mkfs.ext4", &["-q", image.to_str().unwrap()]);
    image
}

#[test]
#[ignore = "mounts an image, which needs root"]
fn every_reported_commit_survives_a_power_cut() {
    for _ in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let disk = image(dir.path());
        let mount = Mount::new(&disk, "before");
        let (mut child, told) = start(&mount.0, 0, 1500);
        run("kill", &["-STOP", &child.id().to_string()]);
        let last = told.try_iter().last().unwrap_or(0);
        // What the image holds now is what had reached the device.
        let copy = dir.path().join("copy.img");
        std::fs::copy(&disk, &copy).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        drop(mount);
        let mount = Mount::new(&copy, "after");
        let store = open(&mount.0);
        println!("{last} commits, {:?}", store.report());
        verify(&store, &[last]);
        drop(store);
    }
}

#[test]
#[ignore = "mounts an image, which needs root"]
fn a_full_disk_refuses_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let mount = Mount::new(&image(dir.path()), "disk");
    let store = open(&mount.0);
    let filling = mount.0.join("filling");
    for n in 0..5 {
        commit(&store, 0, n).unwrap();
    }
    let mut file = std::fs::File::create(&filling).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    drop(file);
    // The active segment has room of its own; the disk says no at the latest when it is full.
    let refused = (5..200).map(|n| commit(&store, 0, n)).find_map(Result::err).unwrap();
    assert!(refused.is_full(), "{refused:?}");
    let refused = store.state().apply(Batch::new().put("t", b"k", b"v")).unwrap_err();
    assert!(refused.is_full(), "{refused:?}");
    for n in 0..5 {
        let blocks = dag(0, n);
        assert!(blocks.iter().all(|block| store.get(block.cid()).unwrap().as_ref() == Some(block.data())));
    }
    // Long enough for the databases' own flushes to meet the full disk.
    std::thread::sleep(Duration::from_millis(2500));
    assert!(store.remove(dag(0, 0)[0].cid()).unwrap() > Bytes::ZERO);
    std::fs::remove_file(&filling).unwrap();
    commit(&store, 0, 300).unwrap();
    drop(store);
    let store = open(&mount.0);
    assert!(store.report().broken.is_empty());
    for n in [1, 2, 3, 4, 300] {
        let blocks = dag(0, n);
        assert!(
            blocks.iter().all(|block| store.get(block.cid()).unwrap().as_ref() == Some(block.data())),
            "{n}"
        );
    }
    assert_eq!(store.ref_of(dag(0, 0)[0].cid()).unwrap(), None);
    drop(store);
}
