//! Getting: random blocks from a warm store, against random pieces of one file read into a buffer that is
//! used again and again.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use pop_dag::{Block, Cid};
use pop_store::Store;
use pop_units::Bytes;

use super::input::{self, Leaves, Shuffle};
use super::{Bench, clear};
use crate::table::{self, Bound, Row, mib, number};

const SIZES: [(Bytes, Bound); 4] = [
    (Bytes::new(256 << 10), Bound::AtLeast(0.6)),
    (Bytes::new(1 << 20), Bound::AtLeast(0.6)),
    (Bytes::new(16 << 10), Bound::None),
    (Bytes::new(4 << 10), Bound::None),
];
/// What lies in the store and in the file: far more than the processor's caches hold.
const STORED: u64 = 512 << 20;
/// What one thread reads in a round, about a quarter of a second; at most so many reads.
const READ: u64 = 4 << 30;
const MOST_READS: u64 = 1 << 18;

/// Measures every size with one thread and with two.
pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (len, bound) in SIZES {
        let (path, repo) = (bench.fresh("plain")?, bench.fresh("repo")?);
        let dag = Leaves::new(len)?.dag(STORED / len.get())?;
        write(&path, &dag.leaves)?;
        let (file, store) = (File::open(&path)?, input::open(&repo)?);
        input::keep(&store, &dag)?;
        let cids: Vec<Cid> = dag.leaves.iter().map(|leaf| *leaf.cid()).collect();
        check(&store, &dag.leaves)?;
        drop(dag);
        for threads in [1, 2] {
            let plain = |seed| read_plain(&file, len, seed);
            let ours = |seed| read_store(&store, &cids, len, seed);
            let pairs = table::in_turn(bench.repeat, || speed(threads, plain), || speed(threads, ours))?;
            let threads = if threads == 1 { "1 thread" } else { "2 threads" };
            let name = format!("warm random get, {len}, {threads} ÷ pread");
            rows.push(Row::ratio(name, bound, &pairs, "MiB/s"));
        }
        let whole = |_| {
            let begun = Instant::now();
            let read = read_store(&store, &cids, len, 5)?;
            Ok(begun.elapsed().as_secs_f64() * 1e6 / number(read / len.get()))
        };
        let took = bench.rounds().map(whole).collect::<Result<_>>()?;
        rows.push(Row::new(format!("one warm get, {len}"), Bound::None, "µs", took));
        store.close()?;
        drop((store, file));
        clear(&path)?;
        clear(&repo)?;
    }
    let took = bench.rounds().map(|_| hand_over()).collect::<Result<_>>()?;
    rows.push(Row::new("handing a call to another thread and back", Bound::None, "µs", took));
    Ok(rows)
}

/// Returns how many microseconds a round trip to a thread that does nothing takes: what a read that cannot
/// block would save by staying where it is.
fn hand_over() -> Result<f64> {
    const TURNS: u32 = 20_000;
    let (to, from_here) = std::sync::mpsc::sync_channel::<u32>(1);
    let (back, answers) = std::sync::mpsc::sync_channel::<u32>(1);
    let worker = std::thread::spawn(move || from_here.into_iter().try_for_each(|turn| back.send(turn)));
    let begun = Instant::now();
    for turn in 0..TURNS {
        to.send(turn).context("the thread is gone")?;
        answers.recv().context("the thread is gone")?;
    }
    let took = begun.elapsed().as_secs_f64() * 1e6 / f64::from(TURNS);
    drop(to);
    let _ = worker.join();
    Ok(took)
}

fn write(path: &Path, leaves: &[Block]) -> Result<()> {
    let mut file = File::create(path)?;
    leaves.iter().try_for_each(|leaf| file.write_all(leaf.data()))?;
    Ok(file.sync_all()?)
}

/// Warms the store, and sees that it gives back what it was given.
fn check(store: &Store, leaves: &[Block]) -> Result<()> {
    for leaf in leaves {
        ensure!(store.get(leaf.cid())?.as_ref() == Some(leaf.data()), "{} is not what was put", leaf.cid());
    }
    Ok(())
}

/// Runs the reader on so many threads at once and returns MiB/s of all.
fn speed(threads: u64, read: impl Fn(u64) -> Result<u64> + Sync) -> Result<f64> {
    let begun = Instant::now();
    let sums: Vec<Result<u64>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|seed| {
                let read = &read;
                scope.spawn(move || read(seed * 7919 + 17))
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("a reader panicked")))
            .collect()
    });
    let took = begun.elapsed().as_secs_f64();
    let sum: u64 = sums.into_iter().sum::<Result<u64>>()?;
    Ok(mib(sum) / took)
}

fn reads(len: Bytes) -> u64 {
    (READ / len.get()).min(MOST_READS)
}

fn read_plain(file: &File, len: Bytes, seed: u64) -> Result<u64> {
    let (mut order, mut buffer) = (Shuffle::new(seed), vec![0; len.as_usize()]);
    for _ in 0..reads(len) {
        let at = order.next(STORED / len.get());
        file.read_exact_at(&mut buffer, at * len.get())?;
        std::hint::black_box(&buffer);
    }
    Ok(reads(len) * len.get())
}

fn read_store(store: &Store, cids: &[Cid], len: Bytes, seed: u64) -> Result<u64> {
    let mut order = Shuffle::new(seed);
    for _ in 0..reads(len) {
        let at = usize::try_from(order.next(STORED / len.get()))?;
        let cid = cids.get(at).context("fewer blocks than put")?;
        let data = store.get(cid)?.context("a block is gone")?;
        ensure!(Bytes::of(&data) == len, "a block of another size");
        std::hint::black_box(&data);
    }
    Ok(reads(len) * len.get())
}
