//! Putting: blocks durable at the end, against a file of the same bytes written in the same pieces and synced.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use pop_dag::Block;
use pop_units::Bytes;

use super::input::{self, Dag, Leaves};
use super::{Bench, clear};
use crate::table::{self, Bound, Row, mib, number};

/// Sizes that must reach the bound, and one that shows what small blocks cost.
const SIZES: [(Bytes, Bound); 3] = [
    (Bytes::new(256 << 10), Bound::AtLeast(0.8)),
    (Bytes::new(1 << 20), Bound::AtLeast(0.8)),
    (Bytes::new(16 << 10), Bound::None),
];

/// Measures every size.
pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (len, bound) in SIZES {
        let dag = Leaves::new(len)?.dag(bench.size.get() / len.get())?;
        let (file, repo) = (bench.fresh("plain")?, bench.fresh("repo")?);
        let speed = |seconds: f64| mib(bench.size.get()) / seconds;
        let plain = || write_plain(&file, &dag.leaves).map(speed);
        let pairs = table::in_turn(bench.repeat, plain, || put(&repo, &dag, false).map(speed))?;
        let name = format!("put {len} blocks, durable ÷ file write and fsync");
        rows.push(Row::ratio(name, bound, &pairs, "MiB/s").noting("hashed before"));
        if bound == Bound::None {
            continue;
        }
        let hashed = || put(&repo, &dag, true).map(speed);
        let pairs = table::in_turn(bench.repeat, plain, hashed)?;
        let name = format!("the same, {len} blocks, hashing one after the other on the putting thread");
        rows.push(Row::ratio(name, Bound::None, &pairs, "MiB/s"));
    }
    Ok(rows)
}

/// Writes the leaves to one file, piece by piece, and syncs it; returns seconds.
fn write_plain(path: &Path, leaves: &[Block]) -> Result<f64> {
    clear(path)?;
    let begun = Instant::now();
    let mut file = File::create(path)?;
    leaves.iter().try_for_each(|leaf| file.write_all(leaf.data()))?;
    file.sync_all()?;
    let took = begun.elapsed().as_secs_f64();
    drop(file);
    clear(path)?;
    Ok(took)
}

/// Puts and commits a DAG into a new store; returns seconds.
fn put(repo: &Path, dag: &Dag, hashing: bool) -> Result<f64> {
    clear(repo)?;
    let store = input::open(repo)?;
    super::settle();
    let begun = Instant::now();
    let staging = store.stage("bench")?;
    for leaf in dag.blocks() {
        if hashing {
            staging.put(&Block::verified(*leaf.cid(), leaf.data().clone())?)?;
        } else {
            staging.put(leaf)?;
        }
    }
    input::commit(staging, &dag.root)?;
    let took = begun.elapsed().as_secs_f64();
    store.close()?;
    drop(store);
    clear(repo)?;
    Ok(took)
}

/// Returns blocks per second for DAGs committed one by one.
pub(super) fn commit_rate(repo: &Path, dags: &[Dag]) -> Result<f64> {
    clear(repo)?;
    let store = input::open(repo)?;
    super::settle();
    let begun = Instant::now();
    dags.iter().try_for_each(|dag| input::keep(&store, dag))?;
    let took = begun.elapsed().as_secs_f64();
    store.close()?;
    let blocks: usize = dags.iter().map(|dag| dag.leaves.len().max(1)).sum();
    Ok(number(u64::try_from(blocks)?) / took)
}
