//! What a commit costs, and what the blocks take on the disk before and after half of them went.

use anyhow::{Context, Result};
use pop_dag::Block;
use pop_units::Bytes;

use super::input::{self, Dag, Leaves};
use super::{Bench, clear, load};
use crate::table::{self, Bound, Row, number};

const LEN: Bytes = Bytes::new(256 << 10);
/// Blocks of one commit.
const GROUP: u64 = 64;
/// Commits of single blocks in a round, and of groups.
const SINGLES: u64 = 128;
const GROUPS: u64 = 8;

/// Compares commits of many blocks with commits of one: small blocks, where syncs are all there is to save, and
/// large ones, where a quick disk spends the time on their bytes.
pub(super) fn commits(bench: &Bench) -> Result<Vec<Row>> {
    [Bytes::new(16 << 10), Bytes::new(64 << 10), LEN].into_iter().map(|len| commits_of(bench, len)).collect()
}

fn commits_of(bench: &Bench, len: Bytes) -> Result<Row> {
    let repo = bench.fresh("repo")?;
    let mut leaves = Leaves::new(len)?;
    let singles: Vec<Dag> =
        (0..SINGLES).map(|_| Dag { root: leaves.block(), nodes: Vec::new(), leaves: Vec::new() }).collect();
    let groups: Vec<Dag> = (0..GROUPS).map(|_| leaves.dag(GROUP)).collect::<Result<_>>()?;
    let rate = |dags: &[Dag]| load::commit_rate(&repo, dags);
    let pairs = table::in_turn(bench.repeat, || rate(&singles), || rate(&groups))?;
    clear(&repo)?;
    let name = format!("commits of {GROUP} blocks of {len} ÷ commits of one");
    Ok(Row::ratio(name, Bound::AtLeast(5.0), &pairs, "blocks/s"))
}

/// Fills a store, takes every second root away, reclaims, and looks at the disk.
pub(super) fn disk(bench: &Bench) -> Result<Vec<Row>> {
    let (mut loaded, mut reclaimed, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    for _ in bench.rounds() {
        let repo = bench.fresh("repo")?;
        let store = input::open(&repo)?;
        let mut leaves = Leaves::new(LEN)?;
        let dags = bench.size.get() / LEN.get() / GROUP;
        let roots: Vec<Block> = (0..dags)
            .map(|_| {
                let dag = leaves.dag(GROUP)?;
                input::keep(&store, &dag)?;
                Ok(dag.root)
            })
            .collect::<Result<_>>()?;
        let logical = number(dags * GROUP * LEN.get());
        loaded.push(number(input::on_disk(&repo)?) / logical);
        for root in roots.iter().step_by(2) {
            store.remove(root.cid())?;
        }
        let begun = std::time::Instant::now();
        let mut copied = 0;
        loop {
            let done = store.compact(true)?;
            copied += done.moved.get();
            if done.freed == Bytes::ZERO && done.moved == Bytes::ZERO {
                break;
            }
        }
        moved.push(table::mib(copied) / begun.elapsed().as_secs_f64());
        let live = number((dags / 2) * GROUP * LEN.get());
        reclaimed.push(number(input::on_disk(&repo)?) / live);
        for root in roots.iter().skip(1).step_by(2) {
            store.get(root.cid())?.context("a block that should have stayed is gone")?;
        }
        store.close()?;
        drop(store);
        clear(&repo)?;
    }
    Ok(vec![
        Row::new("disk ÷ logical, after load", Bound::AtMost(1.02), "", loaded).noting("the whole repo"),
        Row::new("disk ÷ live, half deleted and reclaimed", Bound::AtMost(1.15), "", reclaimed),
        Row::new("moving what stays", Bound::None, "MiB/s", moved).noting("durable, while others go on"),
    ])
}
