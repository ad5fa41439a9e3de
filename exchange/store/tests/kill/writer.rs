//! The process that gets stopped: threads that commit and remove, and one that makes room, all at once.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use cid::Cid;
use pop_dag::{Block, Codec};
use pop_store::{Batch, Error, Options, Ref, Store};
use pop_units::Bytes;
use rand::Rng;

use crate::history::Id;

const REPO: &str = "POP_STORE_KILL_REPO";
const ROUND: &str = "POP_STORE_KILL_ROUND";
/// Threads that commit.
pub(crate) const THREADS: u64 = 2;
/// A pinned commit is removed this many later.
const KEPT: u64 = 9;

/// Opens a store so small that it evicts and compacts all the time.
pub(crate) fn open(repo: &Path) -> Store {
    let (segment_size, capacity) = (Bytes::new(256 << 10), Bytes::new(10 << 20));
    Store::open(repo, Options { segment_size, capacity, ..Options::default() }).unwrap()
}

/// Commits that nobody pinned go when room is needed.
pub(crate) fn is_cached((_, _, n): Id) -> bool {
    n % 3 == 2
}

/// The DAG of one commit, its root first: leaves of all sizes, and one that it shares with its neighbour.
pub(crate) fn dag((round, thread, n): Id) -> Vec<Block> {
    let leaf = |of: u64, at: u64| {
        let len = usize::try_from(500 + 2500 * at * at).unwrap();
        let stamp = [round, thread, of, at];
        let data: Vec<u8> = stamp.iter().flat_map(|part| part.to_le_bytes()).cycle().take(len).collect();
        Block::of(Codec::Raw, data.into())
    };
    let shared = leaf((n / 2) | 1 << 40, 3);
    let leaves: Vec<Block> = (0..6).map(|at| leaf(n, at)).chain([shared]).collect();
    let links: Vec<Cid> = leaves.iter().map(|block| *block.cid()).collect();
    let root = Block::of(Codec::DagCbor, serde_ipld_dagcbor::to_vec(&links).unwrap().into());
    std::iter::once(root).chain(leaves).collect()
}

/// Puts and commits one DAG.
pub(crate) fn commit(store: &Store, id: Id) -> Result<(), Error> {
    let blocks = dag(id);
    let (_, thread, n) = id;
    let staging = store.stage(&format!("tx {thread} {n}"))?;
    for (at, block) in blocks.iter().enumerate() {
        staging.put(block)?;
        if at == 3 && n % 5 == 0 {
            staging.set_roots(&[*block.cid()])?;
        }
    }
    let pinned = !is_cached(id);
    staging.commit(Ref { complete: true, pinned, ..Ref::new(*blocks[0].cid()) })
}

/// Returns the key of a thread's durable row.
pub(crate) fn row(round: u64, thread: u64) -> Vec<u8> {
    [round.to_be_bytes(), thread.to_be_bytes()].concat()
}

/// Runs until it is killed, if this process was started for it.
pub(crate) fn run() {
    let (Ok(repo), Ok(round)) = (std::env::var(REPO), std::env::var(ROUND)) else { return };
    let round: u64 = round.parse().unwrap();
    let store = open(Path::new(&repo));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                let _ends = Ends;
                (0..u64::MAX).for_each(|n| step(store, (round, thread, n)));
            });
        }
        make_room(&store);
    });
}

/// A thread that panics takes the process with it: its parent then sees it end too early.
struct Ends;

impl Drop for Ends {
    fn drop(&mut self) {
        std::process::exit(1);
    }
}

fn step(store: &Store, id: Id) {
    let (round, thread, n) = id;
    tell("put", id);
    match commit(store, id) {
        // The rest may be pinned or on its way in, too; the next is tried with what goes meanwhile.
        Err(error) if error.is_full() => {
            return store.stage(&format!("tx {thread} {n}")).unwrap().discard().unwrap();
        }
        committed => committed.unwrap(),
    }
    store.state().apply(Batch::new().put("acks", row(round, thread), n.to_be_bytes())).unwrap();
    tell("kept", id);
    let old = (round, thread, n.saturating_sub(KEPT));
    if n >= KEPT && !is_cached(old) {
        tell("remove", old);
        store.remove(dag(old)[0].cid()).unwrap();
        tell("removed", old);
    }
}

fn make_room(store: &Store) {
    let root = *Block::of(Codec::Raw, b"on its way in".as_slice().into()).cid();
    for n in 0u64.. {
        // Refused where all that is there is pinned or held, which others change.
        drop(store.reserve(&root, Bytes::new(512 << 10)));
        store.compact(n % 2 == 0).unwrap();
        let mut cached = store.refs().unwrap().into_iter().filter(|found| !found.pinned);
        if let Some(found) = cached.nth(3) {
            store.touch(&found.root, n).unwrap();
        }
    }
}

fn tell(what: &str, (_, thread, n): Id) {
    let mut out = std::io::stdout().lock();
    // A full stop tells a whole line from one that was cut short.
    out.write_all(format!("\n{what} {thread} {n} .\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// The process, which does not outlive a test that fails.
pub(crate) struct Writer(Child);

impl Writer {
    /// Stops it for now.
    pub(crate) fn halt(&self) {
        crate::disk::run("kill", &["-STOP", &self.0.id().to_string()]);
    }

    /// Ends it at once and for good.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the process, waits for its first report and then for a random moment.
pub(crate) fn start(repo: &Path, round: u64, most: u64) -> (Writer, Receiver<String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "committing_child", "--nocapture"])
        .env(REPO, repo)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (tell, told) = std::sync::mpsc::channel();
    let (started, first) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if line.starts_with("kept") {
                let _ = started.send(());
            }
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    first.recv_timeout(Duration::from_secs(60)).unwrap();
    std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..most)));
    assert!(child.try_wait().unwrap().is_none(), "the writer ended by itself");
    (Writer(child), told)
}
