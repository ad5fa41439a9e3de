//! A process that commits, removes, evicts and compacts is stopped at random moments; everything it reported
//! must be there, and nothing that it reported as gone.
//!
//! The ignored tests do the same with a file system of their own on a loop device, and need root. More rounds
//! by the environment: `POP_STORE_ROUNDS`, which `cargo xtask crash store` and `crash power` set.

#![expect(clippy::unwrap_used, reason = "a test states what must hold; its helpers do too")]

mod disk;
mod full;
mod history;
mod writer;

use std::time::{Duration, Instant};

use history::History;
use writer::{open, start};

fn rounds(usual: u64) -> u64 {
    std::env::var("POP_STORE_ROUNDS").map_or(usual, |rounds| rounds.parse().unwrap())
}

/// Not a test by itself: the process that gets stopped.
#[test]
fn committing_child() {
    writer::run();
}

fn line(round: u64, history: &History, opening: Duration) -> String {
    format!(
        "round {round}: {} commits reported and here, {} removed, {} evicted; opened in {} ms",
        history.kept.len(),
        history.removed.len(),
        history.evicted,
        opening.as_millis()
    )
}

#[test]
fn every_reported_commit_survives_a_kill() {
    let (repo, rounds) = (tempfile::tempdir().unwrap(), rounds(4));
    let mut history = History::default();
    for round in 0..rounds {
        let (mut writer, told) = start(repo.path(), round, if rounds > 4 { 2500 } else { 300 });
        writer.kill();
        told.iter().for_each(|line| history.hear(round, &line));
        let begun = Instant::now();
        let store = open(repo.path());
        let opening = begun.elapsed();
        assert!(store.report().rebuilt);
        history.verify(&store);
        history.verify_rows(&store, round);
        println!("{}", line(round, &history, opening));
        history.clear(&store, round);
        // Every other round goes on from a stop in good order.
        if round % 2 == 1 {
            store.close().unwrap();
            drop(store);
            let store = open(repo.path());
            assert!(!store.report().rebuilt);
            history.verify(&store);
            store.close().unwrap();
        }
    }
}

#[test]
#[ignore = "mounts an image, which needs root"]
fn every_reported_commit_survives_a_power_cut() {
    for round in 0..rounds(6) {
        let dir = tempfile::tempdir().unwrap();
        let image = disk::image(dir.path(), 96);
        let mount = disk::Mount::image(&image, "before");
        let (mut writer, told) = start(&mount.0, round, 3000);
        writer.halt();
        let mut history = History::default();
        told.try_iter().for_each(|line| history.hear(round, &line));
        // What the image holds now is what had reached the device.
        let copy = dir.path().join("copy.img");
        std::fs::copy(&image, &copy).unwrap();
        writer.kill();
        drop(mount);
        // What is told now was done before the copy, but not read before it: it may be there.
        told.iter().for_each(|line| history.hear_late(round, &line));
        let mount = disk::Mount::image(&copy, "after");
        let begun = Instant::now();
        let store = open(&mount.0);
        let opening = begun.elapsed();
        history.verify(&store);
        history.verify_rows(&store, round);
        println!("{}", line(round, &history, opening));
        drop(store);
        // A second open finds the same.
        let store = open(&mount.0);
        history.verify(&store);
        drop(store);
    }
}
