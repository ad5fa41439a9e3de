//! A process that commits in a loop is killed at random moments; every commit it reported must be there.

#![expect(clippy::unwrap_used, reason = "a test states what must hold; its helpers do too")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cid::Cid;
use pop_dag::{Block, Codec};
use pop_store::{Batch, Options, Ref, Store};
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

/// Not a test by itself: the process that gets killed.
#[test]
fn committing_child() {
    let (Ok(repo), Ok(round)) = (std::env::var(REPO), std::env::var(ROUND)) else { return };
    let round: u64 = round.parse().unwrap();
    let store = open(Path::new(&repo));
    let mut out = std::io::stdout();
    for n in 0.. {
        let blocks = dag(round, n);
        let staging = store.stage(&format!("tx {n}")).unwrap();
        blocks.iter().for_each(|block| staging.put(block).unwrap());
        staging.commit(Ref { complete: true, ..Ref::new(*blocks[0].cid()) }).unwrap();
        store.state().apply(Batch::new().put("acks", round.to_be_bytes(), n.to_be_bytes())).unwrap();
        // Every third commit takes the one before it away again.
        if n % 3 == 2 {
            store.remove(dag(round, n - 1)[0].cid()).unwrap();
        }
        writeln!(out, "\nack {n}").unwrap();
        out.flush().unwrap();
    }
}

/// Runs the child until it has been up for a while and returns the last number it reported.
fn kill_one(repo: &Path, round: u64) -> Option<u64> {
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
    let reader = std::thread::spawn(move || {
        let acks = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("ack ")?.parse().ok());
        acks.fold(None, |_, n: u64| {
            let _ = tell.send(n);
            Some(n)
        })
    });
    // The first report, then a random moment.
    told.recv_timeout(Duration::from_secs(60)).unwrap();
    std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..250)));
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn every_reported_commit_survives_a_kill() {
    let repo = tempfile::tempdir().unwrap();
    let mut last = Vec::new();
    for round in 0..4 {
        last.push(kill_one(repo.path(), round).unwrap());
        let store = open(repo.path());
        assert!(store.report().rebuilt && store.report().broken.is_empty(), "{:?}", store.report());
        let mut live = 0;
        for (round, last) in (0..).zip(&last) {
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
                live += if is_there { blocks.len() } else { 0 };
            }
        }
        let extra = store.refs().unwrap().len() * 7 - live;
        assert!(extra <= 7 * last.len() * 2, "only commits on their way at the kill may be there beside");
        assert_eq!(store.report().blocks, u64::try_from(store.refs().unwrap().len() * 7).unwrap());
        if round % 2 == 1 {
            store.close().unwrap();
        }
    }
}
