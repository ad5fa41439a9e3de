//! `cargo xtask bench store`: the block store against plain files on the same disk, in the same minute.
//!
//! It uses the store as a library, with the allocator of the binary. Baselines and measurements take turns;
//! a table says what must be reached and what was. A miss is told, not an error: a shared disk decides too.

mod child;
mod input;
mod load;
mod read;
mod reopen;
mod space;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use pop_units::Bytes;

use crate::flag::Flags;
use crate::table::{self, Row};

pub(crate) use child::run as child;

/// What the measurements share.
struct Bench {
    repeat: u32,
    size: Bytes,
    blocks: u32,
    folder: PathBuf,
}

type Part = fn(&Bench) -> Result<Vec<Row>>;

/// The parts by the names that `--only` takes.
const PARTS: [(&str, Part); 6] = [
    ("put", load::rows),
    ("get", read::rows),
    ("commit", space::commits),
    ("disk", space::disk),
    ("memory", reopen::memory),
    ("open", reopen::opens),
];

/// Runs the benchmark.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    if let Some(done) = optimised(&[&["bench", "store"], words].concat())? {
        return Ok(done);
    }
    let valued = ["--repeat", "--size", "--blocks", "--only", "--dir"];
    let flags = Flags::parse(words, &valued, &["--json"])?;
    let folder: PathBuf = flags.text("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::Builder::new().prefix("pop-bench-").tempdir_in(folder)?;
    let bench = Bench {
        repeat: flags.value("--repeat", "5")?,
        size: flags.value("--size", "1GiB")?,
        blocks: flags.value("--blocks", "100000")?,
        folder: folder.path().to_owned(),
    };
    ensure!(bench.repeat > 0, "--repeat 0 measures nothing");
    ensure!(bench.size >= Bytes::MIB.saturating_mul(32), "--size below 32MiB measures the start alone");
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

/// Runs the command again as an optimised build where this is none, and returns how that went.
pub(crate) fn optimised(words: &[&str]) -> Result<Option<bool>> {
    if !cfg!(debug_assertions) {
        return Ok(None);
    }
    let cargo = ["run", "--quiet", "--release", "--package", "xtask", "--"];
    Ok(Some(Command::new("cargo").args(cargo).args(words).status()?.success()))
}

impl Bench {
    /// Returns a folder that is not there yet.
    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        clear(&path)?;
        Ok(path)
    }

    fn rounds(&self) -> std::ops::Range<u32> {
        0..self.repeat
    }
}

/// Removes what a round left, and lets the disk come to rest before the next.
fn clear(path: &Path) -> Result<()> {
    if path.is_dir() {
        std::fs::remove_dir_all(path)?;
    } else if path.exists() {
        std::fs::remove_file(path)?;
    }
    settle();
    Ok(())
}

/// Waits until the kernel has nothing left to write; without it one round pays for the one before.
pub(crate) fn settle() {
    let _ = Command::new("sync").status();
}
