//! `cargo xtask crash gateway`: a node is killed in the middle of an upload, and of a fetch for a client.
//!
//! Nothing of a broken upload stays, and nothing earlier is lost. A client whose content is being fetched sees a
//! broken transfer when either node dies, never a short one that looks whole, and gets everything afterwards.

mod client;
mod fetch;
mod upload;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pop_units::Bytes;
use serde_json::json;

use crate::flag::Flags;
use crate::fleet::Binary;
use crate::sample;

/// New tries when something was over before the kill.
const MISSES: u32 = 8;

/// What one kill showed.
#[derive(Debug)]
struct Round {
    /// What was under way, and who died.
    what: &'static str,
    after: Duration,
    notes: String,
}

/// Runs the rounds; an unkept promise is an error that names it.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    let flags = Flags::parse(words, &["--rounds", "--only", "--size", "--pop", "--dir"], &["--json"])?;
    let rounds: u32 = flags.value("--rounds", "10")?;
    ensure!(rounds > 0, "--rounds 0 shows nothing");
    let size: Bytes = flags.value("--size", "256MiB")?;
    let only = flags.text("--only");
    ensure!(only.is_none_or(|only| matches!(only, "upload" | "fetch")), "--only takes upload or fetch");
    let binary = Binary::find(flags.text("--pop"))?;
    let folder: PathBuf = flags.text("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::Builder::new().prefix("pop-crash-").tempdir_in(folder)?;
    let mut done = Vec::new();
    if only != Some("fetch") {
        done.extend(upload::rounds(&binary, folder.path(), size, rounds)?);
    }
    if only != Some("upload") {
        done.extend(fetch::rounds(&binary, folder.path(), size, rounds)?);
    }
    print(&done, flags.has("--json"));
    Ok(true)
}

/// Repeats a try until it was hit in its middle.
fn hit(mut attempt: impl FnMut() -> Result<Option<Round>>) -> Result<Round> {
    for _ in 0..MISSES {
        if let Some(round) = attempt()? {
            eprintln!("{} after {:.3} s: {}", round.what, round.after.as_secs_f64(), round.notes);
            return Ok(round);
        }
    }
    bail!("it was over before the kill {MISSES} times; use a larger --size")
}

/// Returns a moment inside something that usually takes so long.
fn moment(usual: Duration) -> Result<Duration> {
    let usual = u64::try_from(usual.as_micros())?;
    Ok(Duration::from_micros(sample::between(usual / 20, usual * 9 / 10)?))
}

fn text_of(path: &Path) -> Result<&str> {
    path.to_str().context("temp dir is not UTF-8")
}

fn print(rounds: &[Round], as_json: bool) {
    if as_json {
        let rounds = rounds.iter().map(
            |round| json!({ "what": round.what, "after_s": round.after.as_secs_f64(), "notes": round.notes }),
        );
        println!("{}", json!({ "rounds": rounds.collect::<Vec<_>>() }));
        return;
    }
    println!("| killed | after | |\n|---|---|---|");
    for Round { what, after, notes } in rounds {
        println!("| {what} | {:.3} s | {notes} |", after.as_secs_f64());
    }
    println!("{} kills: nothing of a broken upload stayed, no short answer looked whole", rounds.len());
}
