//! The processes of their own that the memory and opening measurements start. Each prints numbers.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use pop_units::Bytes;

use super::input::{self, Leaves};

/// Leaves under one root; with it and the node between they are the thousand.
const FANOUT: u64 = 998;

/// Runs one of them.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    match *words {
        ["load", repo, size, len] => load(Path::new(repo), size.parse()?, size_of(len)?)?,
        ["fill", repo, blocks] => fill(Path::new(repo), blocks.parse()?)?,
        ["open", repo, how] => open(Path::new(repo), how)?,
        ["hold", repo] => hold(Path::new(repo))?,
        _ => bail!("unknown words {words:?}"),
    }
    Ok(true)
}

fn size_of(len: &str) -> Result<Bytes> {
    Ok(Bytes::new(len.parse()?))
}

/// Prints resident memory before and at the peak, in KiB.
fn load(repo: &Path, size: u64, len: Bytes) -> Result<()> {
    let store = input::open(repo)?;
    let mut leaves = Leaves::new(len)?;
    // One block through every layer first: idle is a store that works, not one that was never used.
    let first = leaves.dag(1)?;
    input::keep(&store, &first)?;
    let idle = status_kib("VmRSS:")?;
    let staging = store.stage("bench")?;
    let (mut nodes, mut links) = (Vec::new(), Vec::new());
    for _ in 0..size / len.get() {
        let leaf = leaves.block();
        staging.put(&leaf)?;
        links.push(*leaf.cid());
        if links.len() >= 1000 {
            let node = input::node_of(links.drain(..))?;
            staging.put(&node)?;
            nodes.push(*node.cid());
        }
    }
    let root = input::node_of(nodes.into_iter().chain(links))?;
    input::commit(staging, &root)?;
    let peak = status_kib("VmHWM:")?;
    store.close()?;
    println!("{idle} {peak}");
    Ok(())
}

/// Fills a store with small blocks under many roots and stops in order.
fn fill(repo: &Path, blocks: u64) -> Result<()> {
    let store = input::open(repo)?;
    let mut leaves = Leaves::new(Bytes::new(4 << 10))?;
    let mut left = blocks;
    while left > 0 {
        let count = left.min(FANOUT);
        input::keep(&store, &leaves.dag(count)?)?;
        left = left.saturating_sub(count + 2);
    }
    Ok(store.close()?)
}

/// Prints how many milliseconds an open takes.
fn open(repo: &Path, how: &str) -> Result<()> {
    let begun = Instant::now();
    let store = input::open(repo)?;
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    let report = store.report();
    ensure!(report.rebuilt == (how == "rebuilt"), "expected an index that is {how}: {report:?}");
    ensure!(report.broken.is_empty() && report.swept == 0, "{report:?}");
    store.close()?;
    println!("{took}");
    Ok(())
}

/// Opens, says so, and waits to be killed.
fn hold(repo: &Path) -> Result<()> {
    let _store = input::open(repo)?;
    println!("open");
    std::io::stdout().flush()?;
    // Ends with the parent at the latest.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).context("waiting")?;
    Ok(())
}

fn status_kib(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such line in status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
