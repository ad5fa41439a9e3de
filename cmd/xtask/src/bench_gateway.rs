//! `cargo xtask bench gateway`: the gateway of the real binary against nginx, on the same bytes in the same run.
//!
//! Both have as many workers as there are processors, both read from the page cache, and one client measures
//! both in turn. It installs nothing; `apt-get install nginx-light wrk` brings what it needs. A miss is told,
//! not an error: what else the machine does decides too.

mod client;
mod download;
mod first;
mod site;
mod slow;
mod wrk;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pop_units::Bytes;

use self::site::{Nginx, Pop, Site};
use crate::flag::Flags;
use crate::fleet::Binary;
use crate::table::{self, Row};

/// What the measurements share.
struct Bench {
    repeat: u32,
    /// How long each run of `wrk` takes.
    load: Duration,
    readers: u32,
    site: Site,
    nginx: Nginx,
    pop: Pop,
}

type Part = fn(&mut Bench) -> Result<Vec<Row>>;

/// The parts by the names that `--only` takes.
const PARTS: [(&str, Part); 7] = [
    ("plain", download::plain),
    ("tls", download::tls),
    ("small", wrk::small),
    ("ranges", wrk::ranges),
    ("first", first::rows),
    ("car", download::car),
    ("memory", slow::memory),
];

/// Runs the benchmark.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    if let Some(done) = crate::bench_store::optimised(&[&["bench", "gateway"], words].concat())? {
        return Ok(done);
    }
    let valued = ["--size", "--files", "--repeat", "--seconds", "--readers", "--only", "--pop", "--dir"];
    let flags = Flags::parse(words, &valued, &["--json"])?;
    let only: Vec<&str> = flags.text("--only").map_or_else(Vec::new, |only| only.split(',').collect());
    let is_known = |name: &&str| PARTS.iter().any(|(known, _)| known == name);
    ensure!(only.iter().all(is_known), "--only takes {}", PARTS.map(|(name, _)| name).join(","));
    let size: Bytes = flags.value("--size", "1GiB")?;
    ensure!(size >= Bytes::MIB.saturating_mul(16), "--size below 16MiB measures the start alone");
    let repeat: u32 = flags.value("--repeat", "5")?;
    ensure!(repeat > 0, "--repeat 0 measures nothing");

    site::needs(&["nginx", "wrk"])?;
    let binary = Binary::find(flags.text("--pop"))?;
    let folder: PathBuf = flags.text("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::Builder::new().prefix("pop-bench-").tempdir_in(folder)?;
    let workers = std::thread::available_parallelism().context("counting processors")?;
    eprintln!("content ...");
    let mut site = Site::make(folder.path(), size, flags.value("--files", "1000")?)?;
    site.with_tls = only.is_empty() || only.contains(&"tls");
    let (site, pop) = Pop::start(&binary, site)?;
    let nginx = Nginx::start(&site, workers)?;
    eprintln!("{}, {workers} workers each, files of {} and 4 KiB", nginx.version, site.size);
    let mut bench = Bench {
        repeat,
        load: Duration::from_secs(flags.value("--seconds", "5")?),
        readers: flags.value("--readers", "1000")?,
        site,
        nginx,
        pop,
    };
    bench.verify()?;
    let (mut rows, mut all_ran) = (Vec::new(), true);
    for (name, part) in PARTS {
        if !only.is_empty() && !only.contains(&name) {
            continue;
        }
        eprintln!("{name} ...");
        match part(&mut bench) {
            Ok(more) => rows.extend(more),
            // Minutes of the other rows are not thrown away for it.
            Err(error) => {
                eprintln!("{name}: {error:#}\n{}", bench.pop.log_hint());
                all_ran = false;
            }
        }
    }
    table::print(&rows, flags.has("--json"));
    Ok(all_ran)
}

impl Bench {
    /// Looks at one answer of each kind, byte by byte, which also warms both.
    fn verify(&self) -> Result<()> {
        for (name, server) in [("nginx", &self.nginx.server), ("pop", &self.pop.server)] {
            client::verify(server, &self.site)
                .with_context(|| format!("{name} does not serve the content"))?;
        }
        Ok(())
    }
}
