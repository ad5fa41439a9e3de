//! `cargo xtask clients`: programs that other people wrote, against the gateway of the real binary on loopback.
//!
//! A site is made and put into a node; curl, wget, a headless Chromium, `@helia/verified-fetch` and `ipfs-car` read
//! it, and what they got is compared with its files. Nothing is installed for good: Debian packages that are
//! missing are named, and the two npm packages go into the temporary folder.

mod browser;
mod curl;
mod gate;
mod npm;
mod program;
mod served;
mod site;
mod tree;
mod wget;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use self::served::Served;
use self::site::Site;
use crate::flag::Flags;
use crate::fleet::Binary;

/// What the steps share.
struct Clients {
    binary: Binary,
    site: Site,
    served: Served,
    /// Where the steps put what they fetch.
    folder: PathBuf,
    /// Where screenshots go, which stay.
    out: PathBuf,
    /// A folder that holds the npm packages already.
    modules: Option<PathBuf>,
    report: Report,
}

/// What was compared, line by line.
#[derive(Default)]
struct Report {
    failed: u32,
    passed: u32,
}

/// One group of steps: the name that `--only` takes, and the programs it needs with their Debian packages.
type Part = (&'static str, fn(&mut Clients) -> Result<()>, &'static [(&'static str, &'static str)]);

/// What a step compared, or why it is wrong, and its name.
type Step = (&'static str, fn(&Clients) -> Result<String>);

const PARTS: [Part; 4] = [
    ("curl", curl::run, &[("curl", "curl"), ("tar", "tar")]),
    ("wget", wget::run, &[("wget", "wget")]),
    ("chromium", browser::run, &[("chromium", "chromium"), ("curl", "curl")]),
    ("npm", npm::run, &[("npm", "npm"), ("curl", "curl"), ("tar", "tar")]),
];

/// Runs the parts; returns whether every step was right.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    let flags = Flags::parse(words, &["--only", "--pop", "--dir", "--out", "--modules"], &[])?;
    let only: Vec<&str> = flags.text("--only").map_or_else(Vec::new, |only| only.split(',').collect());
    let is_known = |name: &&str| PARTS.iter().any(|(known, ..)| known == name);
    ensure!(only.iter().all(is_known), "--only takes {}", PARTS.map(|(name, ..)| name).join(","));
    let parts: Vec<_> =
        PARTS.into_iter().filter(|(name, ..)| only.is_empty() || only.contains(name)).collect();
    let mut needed: Vec<_> = parts.iter().flat_map(|(.., programs)| programs.iter().copied()).collect();
    needed.push(("ffmpeg", "ffmpeg"));
    if flags.text("--modules").is_some() {
        needed.retain(|&(program, _)| program != "npm");
    }
    program::needs(&needed)?;

    let binary = Binary::find(flags.text("--pop"))?;
    let folder: PathBuf = flags.text("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::Builder::new().prefix("pop-clients-").tempdir_in(folder)?;
    let out = std::path::absolute(flags.text("--out").unwrap_or("target/clients"))?;
    std::fs::create_dir_all(&out)?;
    eprintln!("content ...");
    let site = Site::make(&folder.path().join("site"))?;
    let served = Served::start(&binary, folder.path(), "gateway", &["--gateway-serve", "full"])?;
    let site = served.put(site)?;
    println!("      content: {}", site.told()?);
    let modules = flags.text("--modules").map(std::path::absolute).transpose()?;
    let report = Report::default();
    let folder_path = folder.path().to_owned();
    let mut clients = Clients { binary, site, served, folder: folder_path, out, modules, report };
    for (name, part, _) in parts {
        if let Err(error) = part(&mut clients) {
            clients.report.step(name, Err(error));
        }
    }
    let Report { failed, passed } = clients.report;
    println!("{passed} steps right, {failed} wrong");
    if failed > 0 {
        eprintln!("the node said\n{}", clients.served.log_tail());
    }
    Ok(failed == 0)
}

impl Report {
    /// Prints what a step compared, or why it is wrong.
    fn step(&mut self, name: &str, outcome: Result<String>) {
        match outcome {
            Ok(fact) => {
                self.passed = self.passed.saturating_add(1);
                println!("ok    {name}: {fact}");
            }
            Err(error) => {
                self.failed = self.failed.saturating_add(1);
                println!("FAIL  {name}: {}", format!("{error:#}").replace('\n', " "));
            }
        }
    }
}

impl Clients {
    /// Makes a folder for what one step fetches.
    fn space(&self, name: &str) -> Result<PathBuf> {
        let space = self.folder.join("fetched").join(name);
        std::fs::create_dir_all(&space)?;
        Ok(space)
    }

    /// Runs the steps of a part in turn; one that fails does not keep the others from running.
    fn steps(&mut self, part: &str, steps: &[Step]) {
        for (name, step) in steps {
            let outcome = step(self);
            self.report.step(&format!("{part}, {name}"), outcome);
        }
    }
}

/// Returns a path as a word of a command line.
fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| anyhow::anyhow!("{} is not UTF-8", path.display()))
}
