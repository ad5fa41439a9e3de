//! `cargo xtask bench cache`: recorded requests through a real store, against the policy alone at the same capacity.
//!
//! It exists because eviction takes whole refs out of a log: what compaction cannot give back is cache lost,
//! and what it moves is written twice. Both show here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use cid::Cid;
use pop_dag::{Block, Codec};
use pop_evict::{Aged, Policy};
use pop_store::{Error, Options, Ref, Serve, Store};
use pop_units::{AttoFil, Bytes};
use serde_json::json;

use crate::flag::Flags;
use crate::trace::{Sizes, Trace};

/// Larger content is a node of blocks of this size.
const BLOCK: u64 = 1 << 20;
/// The disk is looked at after so many requests.
const LOOK_EVERY: u64 = 64;

/// What one run came to.
#[derive(Default)]
struct Outcome {
    hits: u64,
    hit_bytes: u64,
    refused: u64,
    looks: u64,
    live_sum: u64,
    live_least: u64,
    used_most: u64,
    evicted: u64,
    written: u64,
    moved: u64,
}

/// Runs the traces; false when the files ever took more than the capacity.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    let flags = Flags::parse(words, &["--dir", "--part", "--only"], &["--json"])?;
    let part: u64 = flags.value("--part", "20")?;
    let dir: PathBuf = flags.value("--dir", "/dev/shm")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/eviction");
    let traces = [(Trace::adapt(&folder)?, 1), (Trace::web07(&folder, &Sizes::Lognormal { salt: 0 })?, 64)];
    let mut is_within = true;
    for (trace, scale) in &traces {
        if flags.text("--only").is_some_and(|name| name != trace.name) {
            continue;
        }
        let capacity = Bytes::new(trace.footprint() / scale / part.max(1));
        let start = Instant::now();
        let real = replay(trace, *scale, capacity, &dir).with_context(|| trace.name)?;
        let pure = simulate(trace, *scale, capacity);
        is_within &= real.used_most <= capacity.get();
        print(trace, &real, pure, (capacity, *scale, start.elapsed().as_millis()), flags.has("--json"));
    }
    Ok(is_within)
}

fn simulate(trace: &Trace, scale: u64, capacity: Bytes) -> (u64, u64) {
    let mut policy = Aged::new(capacity);
    let (mut hits, mut bytes) = (0, 0);
    for (id, size) in trace.requests() {
        let size = Bytes::new((size.get() / scale).max(16));
        if policy.request(id, size) {
            hits += 1;
            bytes += size.get();
        }
    }
    (hits, bytes)
}

fn replay(trace: &Trace, scale: u64, capacity: Bytes, dir: &Path) -> Result<Outcome> {
    let repo = tempfile::tempdir_in(dir)?;
    let store = Store::open(repo.path(), Options { capacity, ..Options::default() })?;
    let mut roots: HashMap<Vec<u8>, Cid> = HashMap::new();
    let mut found = Outcome { live_least: u64::MAX, ..Outcome::default() };
    let (mut stored, mut has_filled) = (0u64, false);
    for (number, (id, size)) in (0u64..).zip(trace.requests()) {
        let size = (size.get() / scale).max(16);
        let root = match roots.get(id.as_bytes()) {
            Some(root) => *root,
            None => {
                let root = *blocks(id.as_bytes(), size)?.last().context("no block")?.cid();
                roots.insert(id.as_bytes().to_vec(), root);
                root
            }
        };
        if store.brief(&root)?.is_some() {
            // Every request is another peer's.
            let peer = number.to_be_bytes();
            let serve = Serve { peer: &peer, bytes: Bytes::new(size), revenue: AttoFil::ZERO, now: number };
            store.served(&root, serve)?;
            found.hits += 1;
            found.hit_bytes += size;
        } else if store.admits(&root, Bytes::new(size)) {
            match fetch(&store, &root, &blocks(id.as_bytes(), size)?) {
                Ok(()) => stored += 1,
                Err(Error::TooLarge { .. } | Error::Full { .. }) => found.refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
        if number % LOOK_EVERY == 0 {
            let figures = store.figures();
            found.used_most = found.used_most.max(figures.used.get());
            has_filled |= figures.refs < stored;
            if has_filled {
                found.looks += 1;
                found.live_sum += figures.live.get();
                found.live_least = found.live_least.min(figures.live.get());
            }
        }
    }
    let figures = store.figures();
    found.evicted = stored.saturating_sub(figures.refs);
    (found.written, found.moved) = (figures.written.get(), figures.moved.get());
    store.close()?;
    Ok(found)
}

fn fetch(store: &Store, root: &Cid, blocks: &[Block]) -> Result<(), Error> {
    let size = blocks.iter().map(|block| Bytes::of(block.data()).get()).sum();
    let room = store.reserve(root, Bytes::new(size))?;
    let staging = store.stage("bench")?;
    staging.within(&room);
    let put = blocks.iter().try_for_each(|block| staging.put(block));
    if let Err(error) = put {
        staging.discard()?;
        return Err(error);
    }
    staging.commit(Ref { complete: true, ..Ref::new(*root) })
}

/// Returns the blocks of an object, its root last.
fn blocks(id: &[u8], size: u64) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut links = Vec::new();
    for number in 0..size.div_ceil(BLOCK) {
        let mut data = [id, &number.to_be_bytes()].concat();
        data.resize(usize::try_from(BLOCK.min(size - number * BLOCK))?.max(data.len()), 0);
        let block = Block::of(Codec::Raw, data.into());
        links.push(*block.cid());
        blocks.push(block);
    }
    if links.len() > 1 {
        blocks.push(Block::of(Codec::DagCbor, serde_ipld_dagcbor::to_vec(&links)?.into()));
    }
    Ok(blocks)
}

/// Returns a part of a whole in hundredths of a percent, as text in percent.
fn percent(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 10_000 / u128::from(whole.max(1));
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn print(trace: &Trace, real: &Outcome, pure: (u64, u64), run: (Bytes, u64, u128), as_json: bool) {
    let (capacity, scale, took) = run;
    let (count, bytes) = (trace.count(), trace.bytes() / scale);
    let cap = capacity.get();
    let live_least = if real.looks == 0 { 0 } else { real.live_least };
    let row = json!({
        "trace": trace.name,
        "capacity": cap,
        "objects_%": percent(real.hits, count),
        "objects_pure_%": percent(pure.0, count),
        "bytes_%": percent(real.hit_bytes, bytes),
        "bytes_pure_%": percent(pure.1, bytes),
        "live_mean_%": percent(real.live_sum / real.looks.max(1), cap),
        "live_least_%": percent(live_least, cap),
        "used_most_%": percent(real.used_most, cap),
        "moved_of_written_%": percent(real.moved, real.written),
        "evicted": real.evicted,
        "refused": real.refused,
        "ms": u64::try_from(took).ok(),
    });
    if as_json {
        println!("{row}");
    } else if let Some(row) = row.as_object() {
        row.iter().for_each(|(name, value)| println!("{name:>20}  {}", value.to_string().trim_matches('"')));
        println!();
    }
}
