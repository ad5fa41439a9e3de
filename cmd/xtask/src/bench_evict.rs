//! `cargo xtask bench evict`: what each eviction policy hits on recorded requests, against exact golden counts.
//!
//! It exists because a policy is only as good as its figures: every change of a rule shows here, next to the
//! policies it has to beat. It touches no store and no network.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use pop_evict::{Aged, Id, Lfu, Lru, Policy, S3Fifo, Sieve};
use pop_units::Bytes;
use serde_json::json;

use crate::flag::Flags;
use crate::trace::{Sizes, Trace};

/// Shares of the footprint, as the part of it and in words.
const SHARES: [(u64, &str); 4] = [(1000, "0.1 %"), (100, "1 %"), (20, "5 %"), (10, "10 %")];

/// Refs for the measurement of memory.
const REFS: u64 = 200_000;

/// Cells in which the design itself expects less than S3-FIFO: trace, share, metric.
const FORESEEN: &[(&str, &str, &str)] = &[("web07", "0.1 %", "object")];

/// What the aged policy hits exactly: trace, capacity, objects, bytes.
const GOLDEN: [(&str, u64, u64, u64); 4] = [
    ("web07/unit", 204, 34_153, 34_153),
    ("web07/unit", 2048, 44_638, 44_638),
    ("adapt", 3_042_135, 17_434, 131_583_169),
    ("adapt", 30_421_357, 23_142, 163_436_182),
];

/// A policy of the table.
struct Entrant {
    name: &'static str,
    make: fn(Bytes) -> Box<dyn Policy>,
}

const ENTRANTS: [Entrant; 5] = [
    Entrant { name: "lru", make: |capacity| Box::new(Lru::new(capacity)) },
    Entrant { name: "lfu (plain)", make: |capacity| Box::new(Lfu::new(capacity)) },
    Entrant { name: "sieve", make: |capacity| Box::new(Sieve::new(capacity)) },
    Entrant { name: "s3-fifo", make: |capacity| Box::new(S3Fifo::new(capacity)) },
    Entrant { name: "aged", make: |capacity| Box::new(Aged::new(capacity)) },
];

/// Hits of one policy on one trace at one capacity.
#[derive(Clone, Copy, Debug)]
struct Score {
    hits: u64,
    bytes: u64,
}

/// All scores of one trace, by policy and share, and how long each policy took.
struct Sheet {
    trace: Trace,
    scores: Vec<[Score; SHARES.len()]>,
    took: Vec<Duration>,
}

/// Runs every policy over every trace; returns whether all golden counts are exact.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    let flags = Flags::parse(words, &["--salt", "--memory-of"], &["--json"])?;
    if let Some(name) = flags.text("--memory-of") {
        return tell_memory(name);
    }
    let salt: u64 = flags.value("--salt", "0")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/eviction");
    let traces = [
        Trace::adapt(&folder)?,
        Trace::web07(&folder, &Sizes::Lognormal { salt })?,
        Trace::web07(&folder, &Sizes::Unit)?,
    ];
    let memory: Vec<_> = ENTRANTS.iter().map(|entrant| (entrant.name, memory_of(entrant.name))).collect();
    let golden = check_golden(&traces);
    let sheets: Vec<Sheet> = traces.into_iter().map(measure).collect();
    if flags.has("--json") {
        println!("{}", serde_json::to_string_pretty(&as_json(&sheets, &golden, &memory))?);
    } else {
        print(&sheets, &golden, &memory);
    }
    Ok(golden.iter().all(|line| line.is_exact))
}

fn replay(trace: &Trace, policy: &mut dyn Policy) -> Score {
    let mut score = Score { hits: 0, bytes: 0 };
    for (id, size) in trace.requests() {
        if policy.request(id, size) {
            score.hits += 1;
            score.bytes += size.get();
        }
    }
    score
}

/// A golden count and what was counted.
struct Golden {
    text: String,
    is_exact: bool,
}

fn check_golden(traces: &[Trace]) -> Vec<Golden> {
    let check = |&(name, capacity, hits, bytes): &(&str, u64, u64, u64)| {
        let trace = traces.iter().find(|trace| trace.name == name)?;
        let score = replay(trace, &mut Aged::new(Bytes::new(capacity)));
        let is_exact = (score.hits, score.bytes) == (hits, bytes);
        let verdict = if is_exact { "exact".to_owned() } else { format!("WRONG, must be {hits}, {bytes}") };
        let text =
            format!("{name}, capacity {capacity}: {} hits, {} bytes: {verdict}", score.hits, score.bytes);
        Some(Golden { text, is_exact })
    };
    let missing = |name: &str| Golden { text: format!("{name}: no such trace"), is_exact: false };
    GOLDEN.iter().map(|line| check(line).unwrap_or_else(|| missing(line.0))).collect()
}

fn measure(trace: Trace) -> Sheet {
    let mut scores = Vec::new();
    let mut took = Vec::new();
    for entrant in &ENTRANTS {
        let start = Instant::now();
        scores.push(SHARES.map(|(part, _)| {
            let mut policy = (entrant.make)(Bytes::new(trace.footprint() / part));
            replay(&trace, policy.as_mut())
        }));
        took.push(start.elapsed());
    }
    Sheet { trace, scores, took }
}

impl Sheet {
    fn scores_of(&self, name: &str) -> Option<&[Score; SHARES.len()]> {
        let place = ENTRANTS.iter().position(|entrant| entrant.name == name)?;
        self.scores.get(place)
    }

    /// Returns a percentage in hundredths.
    fn share(&self, score: Score) -> (u64, u64) {
        let hundredths = |part: u64, whole: u64| {
            let exact = u128::from(part) * 10_000 / u128::from(whole.max(1));
            u64::try_from(exact).unwrap_or(u64::MAX)
        };
        (hundredths(score.hits, self.trace.count()), hundredths(score.bytes, self.trace.bytes()))
    }

    /// Returns the cells in which the aged policy is below S3-FIFO: share, metric, by how many hundredths.
    fn shortfalls(&self) -> Vec<(&'static str, &'static str, u64)> {
        let (Some(ours), Some(theirs)) = (self.scores_of("aged"), self.scores_of("s3-fifo")) else {
            return Vec::new();
        };
        let mut cells = Vec::new();
        for (((_, share), ours), theirs) in SHARES.iter().zip(ours).zip(theirs) {
            let (objects, bytes) = (self.share(*ours), self.share(*theirs));
            if ours.hits < theirs.hits {
                cells.push((*share, "object", bytes.0 - objects.0));
            }
            if ours.bytes < theirs.bytes && !self.trace.is_unit() {
                cells.push((*share, "byte", bytes.1 - objects.1));
            }
        }
        cells
    }

    fn requests_per_second(&self, took: Duration) -> u128 {
        let count = u128::from(self.trace.count()) * u128::try_from(SHARES.len()).unwrap_or(1);
        count * 1_000_000 / took.as_micros().max(1)
    }
}

/// Measures one policy with many refs, in bytes for each, and prints it: a process of its own, because memory that
/// another measurement gave back would hide what this one takes.
fn tell_memory(name: &str) -> Result<bool> {
    let entrant = ENTRANTS.iter().find(|entrant| entrant.name == name).context("no such policy")?;
    let before = resident_memory().context("no /proc/self/status")?;
    let mut policy = (entrant.make)(Bytes::new(REFS * 1024));
    // Names as long as those of roots; four times what fits, so that every ghost has its place.
    for number in 0..REFS * 4 {
        let id = Id::new(&[[0; 28].as_slice(), &number.to_be_bytes()].concat());
        policy.request(&id, Bytes::new(1023));
        if number % 4 == 0 {
            policy.request(
                &Id::new(&[[0; 28].as_slice(), &(number / 4 * 3).to_be_bytes()].concat()),
                Bytes::new(1023),
            );
        }
    }
    let taken = resident_memory().context("no /proc/self/status")?.saturating_sub(before);
    println!("{}", taken / policy.usage().refs.max(1));
    Ok(true)
}

fn memory_of(name: &str) -> Option<u64> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new(program).args(["bench", "evict", "--memory-of", name]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn resident_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn percent(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn print(sheets: &[Sheet], golden: &[Golden], memory: &[(&str, Option<u64>)]) {
    for sheet in sheets {
        print_sheet(sheet);
    }
    println!("below S3-FIFO, in points:");
    for (trace, (share, metric, by)) in shortfalls(sheets) {
        let verdict =
            if is_foreseen(trace, share, metric) { "as the design says" } else { "NOT in the design" };
        println!("  {trace}, {share}, {metric}: {} ({verdict})", percent(by));
    }
    println!("golden counts of the aged policy:");
    golden.iter().for_each(|line| println!("  {}", line.text));
    println!("memory for each of {REFS} refs, ghosts included:");
    for (name, taken) in memory {
        println!("  {name}: {}", taken.map_or("unknown".to_owned(), |taken| format!("{taken} B")));
    }
}

/// Prints a table that is one in documents too.
fn print_sheet(sheet: &Sheet) {
    let Sheet { trace, scores, took } = sheet;
    let footprint = Bytes::new(trace.footprint());
    println!(
        "{}: {} requests, footprint {footprint}; hits in % of objects / bytes",
        trace.name,
        trace.count()
    );
    println!("| policy | {} | requests/s |", SHARES.map(|(_, share)| share).join(" | "));
    println!("|---|{}---|", "---|".repeat(SHARES.len()));
    for ((entrant, scores), took) in ENTRANTS.iter().zip(scores).zip(took) {
        let cells = scores.map(|score| match (sheet.share(score), trace.is_unit()) {
            ((objects, _), true) => percent(objects),
            ((objects, bytes), false) => format!("{} / {}", percent(objects), percent(bytes)),
        });
        let speed = sheet.requests_per_second(*took);
        println!("| {} | {} | {speed} |", entrant.name, cells.join(" | "));
    }
    println!();
}

fn shortfalls(sheets: &[Sheet]) -> impl Iterator<Item = (&'static str, (&'static str, &'static str, u64))> {
    sheets.iter().flat_map(|sheet| sheet.shortfalls().into_iter().map(|cell| (sheet.trace.name, cell)))
}

fn is_foreseen(trace: &str, share: &str, metric: &str) -> bool {
    FORESEEN.contains(&(trace, share, metric))
}

fn as_json(sheets: &[Sheet], golden: &[Golden], memory: &[(&str, Option<u64>)]) -> serde_json::Value {
    let mut cells = Vec::new();
    for sheet in sheets {
        for ((entrant, scores), took) in ENTRANTS.iter().zip(&sheet.scores).zip(&sheet.took) {
            for ((_, share), score) in SHARES.iter().zip(scores) {
                cells.push(json!({
                    "trace": sheet.trace.name,
                    "policy": entrant.name,
                    "cache": share,
                    "requests": sheet.trace.count(),
                    "bytes": sheet.trace.bytes(),
                    "hits": score.hits,
                    "hit_bytes": score.bytes,
                    "requests_per_second": u64::try_from(sheet.requests_per_second(*took)).ok(),
                }));
            }
        }
    }
    let below = shortfalls(sheets).map(|(trace, (share, metric, by))| {
        let foreseen = is_foreseen(trace, share, metric);
        json!({"trace": trace, "cache": share, "metric": metric, "points": percent(by), "foreseen": foreseen})
    });
    json!({
        "cells": cells,
        "below_s3_fifo": below.collect::<Vec<_>>(),
        "golden": golden.iter().map(|line| json!({"text": line.text, "exact": line.is_exact})).collect::<Vec<_>>(),
        "bytes_per_ref": memory.iter().map(|(name, taken)| json!({"policy": name, "bytes": taken})).collect::<Vec<_>>(),
    })
}
