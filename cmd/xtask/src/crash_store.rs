//! `cargo xtask crash store|power|full`: the store's crash tests, with as many rounds as evidence needs.
//!
//! What is done and what must hold stands in the tests of `pop-store`; this only runs them, in a folder of
//! choice, and says so where the machine lacks what they need.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::flag::Flags;

/// Runs one kind of crash; returns whether every promise was kept.
pub(crate) fn run(what: &str, words: &[&str]) -> Result<bool> {
    let flags = Flags::parse(words, &["--rounds", "--dir"], &[])?;
    let (test, rounds, is_mounting) = match what {
        "store" => ("every_reported_commit_survives_a_kill", "20", false),
        "power" => ("every_reported_commit_survives_a_power_cut", "10", true),
        _ => ("full::", "1", true),
    };
    let rounds: u32 = flags.value("--rounds", rounds)?;
    ensure!(rounds > 0, "--rounds 0 shows nothing");
    if let Some(lacking) = is_mounting.then(lacking).flatten() {
        println!("skipped, nothing was shown: {lacking}");
        return Ok(true);
    }
    let mut command = Command::new("cargo");
    command.args(["test", "--quiet", "--package", "pop-store", "--test", "kill", "--", "--nocapture", test]);
    command.args(["--test-threads", "1"]).args(is_mounting.then_some("--ignored"));
    command.env("POP_STORE_ROUNDS", rounds.to_string());
    if let Some(folder) = flags.text("--dir") {
        command.env("TMPDIR", std::path::absolute(folder)?);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("cargo test")?;
    let out = child.stdout.take().context("no output")?;
    let mut seen = 0u32;
    for line in BufReader::new(out).lines() {
        let line = line?;
        if line.starts_with("round ") {
            seen += 1;
            println!("{line}");
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "a promise was broken, see above: {status}");
    if what == "full" {
        println!("full disks: nothing reported was lost, everything went on with room");
        return Ok(true);
    }
    ensure!(seen == rounds, "{seen} of {rounds} rounds ran");
    println!("{rounds} rounds: 0 reported commits lost, 0 damaged, 0 back, every start succeeded");
    Ok(true)
}

/// Returns what mounting an image lacks here.
fn lacking() -> Option<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_root = status
        .lines()
        .any(|line| line.strip_prefix("Uid:").is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0")));
    if !is_root {
        return Some("mounting an image needs root");
    }
    (!Path::new("/dev/loop-control").exists()).then_some("there are no loop devices")
}
