//! `cargo xtask abuse`: a real gateway, one client that behaves, and many that do not.
//!
//! Each attack is answered with the status that it deserves, costs a bounded amount of memory, and is not felt by
//! the client that behaves; afterwards the node answers newcomers correctly. What is not so is a line with FAIL.

mod crowd;
pub(crate) mod door;
mod good;
mod head;
mod multiplex;
mod path;
mod smuggle;
mod upload;
pub(crate) mod wire;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pop_units::Bytes;
use serde_json::{Value, json};

use self::door::{Door, PATIENCE};
use self::good::{Felt, Good};
use self::wire::{Until, connect, talk};
use crate::flag::Flags;
use crate::fleet::{Binary, Daemon};
use crate::table::mib;

/// What an attack may cost, above idle: what a thousand slow readers may.
const MEMORY: f64 = 128.0;
/// What the client that behaves may wait at worst. Far above what it waits on a machine at rest, and far below
/// what being locked out would be.
const LATENCY: Duration = Duration::from_secs(2);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(25);
/// How long memory and sockets have to come to rest after an attack.
const REST: Duration = Duration::from_secs(1);

/// What the attacks share.
struct Bench {
    door: Door,
    /// A second node, without tokens and with a small bound on bodies.
    open: Door,
    is_quick: bool,
}

/// One thing that was done and what came of it.
#[derive(Debug)]
struct Case {
    what: String,
    expected: String,
    seen: String,
    is_ok: bool,
}

impl Case {
    fn new(
        what: impl Into<String>,
        expected: impl Into<String>,
        seen: impl Into<String>,
        is_ok: bool,
    ) -> Self {
        Self { what: what.into(), expected: expected.into(), seen: seen.into(), is_ok }
    }
}

/// What one attack showed.
struct Report {
    name: &'static str,
    cases: Vec<Case>,
    took: Duration,
    peak: f64,
    felt: Felt,
}

type Attack = fn(&Bench) -> Result<Vec<Case>>;

/// The attacks by the names that `--only` takes.
const ATTACKS: [(&str, Attack); 12] = [
    ("slow-loris", head::slow),
    ("headers", head::headers),
    ("urls", head::urls),
    ("paths", path::tricks),
    ("ranges", head::ranges),
    ("smuggling", smuggle::shapes),
    ("multiplex", multiplex::resets),
    ("flood", crowd::flood),
    ("parallel", crowd::parallel),
    ("uploads", upload::beyond),
    ("stalled", crowd::stalled),
    ("http10", crowd::old),
];

/// Runs the attacks; returns whether the node stood all of them.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    let flags = Flags::parse(words, &["--size", "--only", "--pop", "--dir"], &["--quick", "--json"])?;
    let only: Vec<&str> = flags.text("--only").map_or_else(Vec::new, |only| only.split(',').collect());
    let is_known = |name: &&str| ATTACKS.iter().any(|(known, _)| known == name);
    ensure!(only.iter().all(is_known), "--only takes {}", ATTACKS.map(|(name, _)| name).join(","));
    let is_quick = flags.has("--quick");
    let size: Bytes = flags.value("--size", if is_quick { "256MiB" } else { "1GiB" })?;
    ensure!(size >= Bytes::MIB.saturating_mul(64), "--size below 64MiB fits into the buffers of sockets");
    let binary = Binary::find(flags.text("--pop"))?;
    let folder: PathBuf = flags.text("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::Builder::new().prefix("pop-abuse-").tempdir_in(folder)?;
    eprintln!("content ...");
    let bench = open(&binary, folder.path(), size, is_quick)?;
    let reports = attack(&bench, &only)?;
    let is_ok = reports.iter().all(Report::is_ok);
    print(&reports, flags.has("--json"));
    Ok(is_ok)
}

fn open(binary: &Binary, folder: &Path, size: Bytes, is_quick: bool) -> Result<Bench> {
    let tokens = folder.join("tokens");
    std::fs::write(&tokens, format!("abuse:{}\nother:{}\n", upload::TOKEN, upload::OTHER))?;
    let tokens = door::utf8(&tokens)?;
    let limit = upload::LIMIT.to_string();
    let quota = upload::QUOTA.to_string();
    let bounds =
        ["--upload-token-file", tokens, "--upload-limit", limit.as_str(), "--upload-quota", quota.as_str()];
    // Room for all addresses together; what one may have stays as it is without flags.
    let room = ["--gateway-connections", "12000", "--gateway-requests", "12000"];
    let door = Door::open(binary, folder, "node", size, &[bounds.as_slice(), &room].concat())?;
    let cap = upload::CAP.to_string();
    let open = Door::open(binary, folder, "open", Bytes::MIB, &["--upload-limit", &cap])?;
    Ok(Bench { door, open, is_quick })
}

fn attack(bench: &Bench, only: &[&str]) -> Result<Vec<Report>> {
    let good = Good::default();
    std::thread::scope(|scope| {
        scope.spawn(|| good.run(&bench.door));
        let reports = each(bench, only, &good);
        good.is_over.store(true, Ordering::Relaxed);
        reports
    })
}

fn each(bench: &Bench, only: &[&str], good: &Good) -> Result<Vec<Report>> {
    warm(bench)?;
    std::thread::sleep(REST);
    let idle = mib(bench.door.daemon.memory_now()?);
    let felt = good.take();
    eprintln!(
        "idle: {idle:.0} MiB; undisturbed, the good client waits {:.1} ms at worst, {:.1} ms at p99",
        milliseconds(felt.worst()),
        milliseconds(felt.p99())
    );
    let mut reports = Vec::new();
    for (name, attack) in ATTACKS {
        if !only.is_empty() && !only.contains(&name) {
            continue;
        }
        eprintln!("{name} ...");
        let begun = Instant::now();
        let _ = good.take();
        let (outcome, peak) = watched(&bench.door.daemon, || attack(bench));
        let took = begun.elapsed();
        let felt = good.take();
        let mut cases = outcome.unwrap_or_else(|error| {
            vec![Case::new("the attack itself", "to run", format!("{error:#}"), false)]
        });
        // The last attack ends the second node itself.
        let alive = bench.door.check_alive();
        let alive = if name == "http10" { alive } else { alive.and_then(|()| bench.open.check_alive()) };
        cases.push(match alive {
            Ok(()) => Case::new("a newcomer afterwards", "200", "200", true),
            Err(error) => Case::new("a newcomer afterwards", "200", format!("{error:#}"), false),
        });
        let report = Report { name, cases, took, peak: peak - idle, felt };
        report.tell();
        reports.push(report);
        std::thread::sleep(REST);
    }
    Ok(reports)
}

/// Brings the node to work, since idle is a node that works and not one that was never used.
fn warm(bench: &Bench) -> Result<()> {
    let ask = bench.door.get(&bench.door.large_path(), "Connection: close\r\n");
    let mut stream = connect(bench.door.at, door::OWNER)?;
    std::io::Write::write_all(&mut stream, &ask)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let read = std::io::copy(&mut stream, &mut std::io::sink())?;
    ensure!(read > bench.door.size.get(), "the large file came with {read} bytes");
    Ok(())
}

/// Runs something and returns the most memory that the node had meanwhile, in MiB.
fn watched<T>(daemon: &Daemon, work: impl FnOnce() -> T) -> (T, f64) {
    let (peak, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                peak.fetch_max(daemon.memory_now().unwrap_or_default(), Ordering::Relaxed);
                std::thread::sleep(LOOK);
            }
        });
        let outcome = work();
        is_over.store(true, Ordering::Relaxed);
        outcome
    });
    (outcome, mib(peak.into_inner()))
}

impl Bench {
    /// Says one request to the node and compares the status. 0 stands for a connection that ends without answer.
    fn case(&self, what: impl Into<String>, request: Vec<u8>, expected: &[u16]) -> Result<Case> {
        ask(&self.door, what, request, expected)
    }
}

/// Says one request to a node and compares the status; whatever the status, nothing of the API may come back.
fn ask(door: &Door, what: impl Into<String>, request: Vec<u8>, expected: &[u16]) -> Result<Case> {
    let from = Ipv4Addr::new(127, 0, 0, 30);
    let heard = talk(connect(door.at, from)?, std::iter::once(request), Until::Answer, PATIENCE)?;
    let status = heard.status();
    let text = String::from_utf8_lossy(heard.body());
    let is_api = text.contains("jsonrpc") || text.contains("peer_id") || text.contains("root:x:");
    let is_switched = status == 101;
    let is_ok = expected.contains(&status) && !is_api && !is_switched && heard.end != wire::End::Silent;
    let seen =
        if is_ok { status.to_string() } else { format!("{status} {:?} {:?}", heard.end, heard.head()) };
    Ok(Case::new(what, listed(expected), seen, is_ok))
}

fn listed(expected: &[u16]) -> String {
    let words = expected.iter().map(|status| match status {
        0 => "cut".to_owned(),
        status => status.to_string(),
    });
    words.collect::<Vec<_>>().join(" or ")
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Report {
    fn is_ok(&self) -> bool {
        self.cases.iter().all(|case| case.is_ok) && self.is_small() && self.is_unfelt()
    }

    fn is_small(&self) -> bool {
        self.peak <= MEMORY
    }

    fn is_unfelt(&self) -> bool {
        self.felt.wrong.is_empty() && self.felt.worst() <= LATENCY
    }

    fn tell(&self) {
        for case in &self.cases {
            let verdict = if case.is_ok { "ok  " } else { "FAIL" };
            eprintln!("  {verdict} {}: {} (expected {})", case.what, case.seen, case.expected);
        }
        let verdict = if self.is_small() { "ok  " } else { "FAIL" };
        eprintln!("  {verdict} memory above idle: {:.1} MiB (expected ≤ {MEMORY:.0})", self.peak);
        let verdict = if self.is_unfelt() { "ok  " } else { "FAIL" };
        let Felt { took, wrong } = &self.felt;
        eprintln!(
            "  {verdict} the good client: {} requests, {} wrong {:?}, p99 {:.1} ms, worst {:.1} ms (expected ≤ {:.0})",
            took.len(),
            wrong.len(),
            wrong.first(),
            milliseconds(self.felt.p99()),
            milliseconds(self.felt.worst()),
            milliseconds(LATENCY)
        );
    }

    fn to_json(&self) -> Value {
        let cases = self.cases.iter().map(|case| {
            json!({ "what": case.what, "expected": case.expected, "seen": case.seen, "ok": case.is_ok })
        });
        json!({
            "name": self.name, "ok": self.is_ok(), "cases": cases.collect::<Vec<_>>(),
            "took_s": self.took.as_secs_f64(), "memory_above_idle_mib": self.peak,
            "good": {
                "requests": self.felt.took.len(), "wrong": self.felt.wrong,
                "p99_ms": milliseconds(self.felt.p99()), "worst_ms": milliseconds(self.felt.worst()),
            },
        })
    }
}

fn print(reports: &[Report], as_json: bool) {
    if as_json {
        println!("{}", Value::from(reports.iter().map(Report::to_json).collect::<Vec<_>>()));
        return;
    }
    println!("| attack | cases right | memory above idle | good client: requests, wrong | p99 | worst | |");
    println!("|---|---|---|---|---|---|---|");
    for report in reports {
        let right = report.cases.iter().filter(|case| case.is_ok).count();
        println!(
            "| {} | {right} of {} | {:.1} MiB | {}, {} | {:.1} ms | {:.1} ms | {} |",
            report.name,
            report.cases.len(),
            report.peak,
            report.felt.took.len(),
            report.felt.wrong.len(),
            milliseconds(report.felt.p99()),
            milliseconds(report.felt.worst()),
            if report.is_ok() { "ok" } else { "FAIL" }
        );
    }
}
