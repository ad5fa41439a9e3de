//! `cargo xtask bench import`: what comes in through the daemon, against the slower of hashing and writing.
//!
//! Every measurement has a daemon and a repo of its own, because a second put of the same bytes writes nothing.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use pop_dag::{Block, Buf, Codec};
use pop_units::Bytes;

use crate::flag::Flags;
use crate::fleet::{Binary, CALL, Daemon, Role, text};
use crate::market::LONG;
use crate::sample;
use crate::table::{self, Bound, Row, mib, number};

/// One write of the baseline, and one piece that it hashes.
const STEP: usize = 1 << 20;
/// Files of one folder.
const FOLDER: u64 = 1000;

struct Bench {
    binary: Binary,
    folder: PathBuf,
    size: Bytes,
    large: Bytes,
    files: u64,
    repeat: u32,
}

type Part = fn(&Bench) -> Result<Vec<Row>>;

const PARTS: [(&str, Part); 4] = [("put", put), ("large", large), ("files", files), ("car", car)];

/// Runs the benchmark.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    if let Some(done) = crate::bench_store::optimised(&[&["bench", "import"], words].concat())? {
        return Ok(done);
    }
    let valued = ["--size", "--large", "--files", "--repeat", "--only", "--pop", "--dir"];
    let flags = Flags::parse(words, &valued, &["--json"])?;
    let folder: PathBuf = flags.text("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::Builder::new().prefix("pop-bench-").tempdir_in(folder)?;
    let bench = Bench {
        binary: Binary::find(flags.text("--pop"))?,
        folder: folder.path().to_owned(),
        size: flags.value("--size", "1GiB")?,
        large: flags.value("--large", "8GiB")?,
        files: flags.value("--files", "100000")?,
        repeat: flags.value("--repeat", "5")?,
    };
    ensure!(bench.repeat > 0, "--repeat 0 measures nothing");
    let only: Vec<&str> = flags.text("--only").map_or_else(Vec::new, |only| only.split(',').collect());
    let mut rows = Vec::new();
    for (name, part) in PARTS {
        if only.is_empty() || only.contains(&name) {
            eprintln!("{name} ...");
            rows.extend(part(&bench)?);
        }
    }
    ensure!(!rows.is_empty(), "--only takes {}", PARTS.map(|(name, _)| name).join(","));
    table::print(&rows, flags.has("--json"));
    Ok(true)
}

impl Bench {
    fn daemon(&self) -> Result<Daemon> {
        let _ = std::fs::remove_dir_all(self.folder.join("node"));
        crate::bench_store::settle();
        let flags = ["--chain", "local"].map(str::to_owned).to_vec();
        Daemon::start(&self.binary, &self.folder, Role { name: "node", flags, serves_chain: false })
    }

    /// Returns a file of so many random bytes, made once.
    fn sample(&self, name: &str, size: Bytes) -> Result<PathBuf> {
        let path = self.folder.join(name);
        if !path.exists() {
            sample::write_random(&path, size)?;
        }
        Ok(path)
    }

    /// Writes so many bytes to a file and syncs it; returns seconds.
    fn write(&self, size: Bytes) -> Result<f64> {
        let path = self.folder.join("plain");
        crate::bench_store::settle();
        let piece = vec![0xa5; STEP];
        let begun = Instant::now();
        let mut file = File::create(&path)?;
        (0..pieces(size)).try_for_each(|_| file.write_all(&piece))?;
        file.sync_all()?;
        let took = begun.elapsed().as_secs_f64();
        drop(file);
        std::fs::remove_file(&path)?;
        crate::bench_store::settle();
        Ok(took)
    }
}

fn pieces(size: Bytes) -> u64 {
    size.get() / Bytes::MIB.get()
}

/// Hashes so many bytes on this core; returns seconds.
fn hash(size: Bytes) -> f64 {
    let piece = Buf::from(vec![0xa5; STEP]);
    let begun = Instant::now();
    for _ in 0..pieces(size) {
        std::hint::black_box(Block::of(Codec::Raw, piece.clone()));
    }
    begun.elapsed().as_secs_f64()
}

/// What one call of the command line took, and what the daemon needed for it.
struct Call {
    seconds: f64,
    idle: f64,
    peak: f64,
}

fn timed(daemon: &Daemon, words: &[&str]) -> Result<Call> {
    let idle = mib(daemon.memory_now()?);
    let begun = Instant::now();
    daemon.call(words, LONG)?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Call { seconds, idle, peak: mib(daemon.peak_memory()?) })
}

fn put_once(bench: &Bench, path: &Path) -> Result<Call> {
    let daemon = bench.daemon()?;
    let call = timed(&daemon, &["put", utf8(path)?])?;
    daemon.stop()?;
    Ok(call)
}

/// A file of the usual size.
fn put(bench: &Bench) -> Result<Vec<Row>> {
    let file = bench.sample("file.bin", bench.size)?;
    let (mut above, mut hashes, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    let speed = |seconds: f64| mib(bench.size.get()) / seconds;
    let slower = || {
        let (hashed, written) = (hash(bench.size), bench.write(bench.size)?);
        hashes.push(speed(hashed));
        writes.push(speed(written));
        Ok(speed(hashed.max(written)))
    };
    let ours = || {
        let call = put_once(bench, &file)?;
        above.push(call.peak - call.idle);
        Ok(speed(call.seconds))
    };
    let pairs = table::in_turn(bench.repeat, slower, ours)?;
    let note = format!("SHA-256 {:.0}, write {:.0} MiB/s", table::median(&hashes), table::median(&writes));
    let name = format!("`put` of {} ÷ the slower of SHA-256 on one core and a durable write", bench.size);
    Ok(vec![
        Row::ratio(name, Bound::AtLeast(0.7), &pairs, "MiB/s").noting(&note),
        Row::new(format!("peak memory above idle, `put` of {}", bench.size), Bound::None, "MiB", above),
    ])
}

/// The memory of a file many times as large, which must be the same.
fn large(bench: &Bench) -> Result<Vec<Row>> {
    let file = bench.sample("large.bin", bench.large)?;
    let call = put_once(bench, &file)?;
    std::fs::remove_file(&file)?;
    let speed = format!("{:.0} MiB/s", mib(bench.large.get()) / call.seconds);
    let name = format!("peak memory above idle, `put` of {}", bench.large);
    Ok(vec![Row::new(name, Bound::None, "MiB", vec![call.peak - call.idle]).noting(&speed)])
}

/// A tree of small files.
fn files(bench: &Bench) -> Result<Vec<Row>> {
    let tree = bench.folder.join("tree");
    let mut piece = vec![0; 4096];
    for number in 0..bench.files {
        let folder = tree.join(format!("folder-{}", number / FOLDER));
        if number % FOLDER == 0 {
            std::fs::create_dir_all(&folder)?;
        }
        if let Some(head) = piece.first_chunk_mut() {
            *head = number.to_le_bytes();
        }
        std::fs::write(folder.join(format!("file-{number}")), &piece)?;
    }
    let (mut rate, mut above) = (Vec::new(), Vec::new());
    for _ in 0..bench.repeat {
        let call = put_once(bench, &tree)?;
        rate.push(number(bench.files) / call.seconds);
        above.push(call.peak - call.idle);
    }
    std::fs::remove_dir_all(&tree)?;
    let name = |what: &str| format!("{what}`put` of {} files of 4 KiB", bench.files);
    Ok(vec![
        Row::new(name(""), Bound::AtLeast(5000.0), "files/s", rate),
        Row::new(name("peak memory above idle, "), Bound::None, "MiB", above),
    ])
}

/// An archive of the usual size.
fn car(bench: &Bench) -> Result<Vec<Row>> {
    let (file, archive) = (bench.sample("file.bin", bench.size)?, bench.folder.join("file.car"));
    let daemon = bench.daemon()?;
    daemon.call(&["put", utf8(&file)?], LONG)?;
    let root = text(&daemon.call(&["commit", "--cache-rf", "0"], CALL)?, "root")?;
    daemon.call(&["export", &root, "-o", utf8(&archive)?], LONG)?;
    daemon.stop()?;
    File::open(&archive)?.sync_all()?;
    let speed = |seconds: f64| mib(bench.size.get()) / seconds;
    let mut above = Vec::new();
    let ours = || {
        let daemon = bench.daemon()?;
        let call = timed(&daemon, &["import", utf8(&archive)?, "--cache-rf", "0"])?;
        above.push(call.peak - call.idle);
        daemon.stop()?;
        Ok(speed(call.seconds))
    };
    let pairs = table::in_turn(bench.repeat, || bench.write(bench.size).map(speed), ours)?;
    std::fs::remove_file(&archive)?;
    let name = format!("CAR import of {} ÷ a durable write", bench.size);
    Ok(vec![
        Row::ratio(name, Bound::AtLeast(0.6), &pairs, "MiB/s"),
        Row::new(format!("peak memory above idle, CAR import of {}", bench.size), Bound::None, "MiB", above),
    ])
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().context("temp dir is not UTF-8")
}
