//! The real program against a real daemon of its own: a repo in a temporary directory, sockets on loopback.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is the assertion")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const NOBODYS: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
/// A daemon that is not up or down in this time never will be.
const LIMIT: Duration = Duration::from_secs(30);

fn pop(repo: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pop"));
    command.env_clear().env("HOME", repo).env("POP_REPO", repo).stdin(Stdio::null());
    command
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A daemon that is killed when the test is over.
struct Daemon {
    _dir: tempfile::TempDir,
    repo: PathBuf,
    child: Child,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Stopped by the test itself, or not at all.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        let child = pop(&repo)
            .args(["start", "--listen", "/ip4/127.0.0.1/tcp/0"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the daemon is up", || repo.join("api").exists());
        Self { _dir: dir, repo, child }
    }

    fn run(&self, args: &[&str]) -> Output {
        pop(&self.repo).current_dir(self.repo.parent().unwrap()).args(args).output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[&["--json"], args].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn code(&self, args: &[&str]) -> i32 {
        self.run(args).status.code().unwrap()
    }

    /// Writes a file beside the repo, where the commands run.
    fn file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.repo.parent().unwrap().join(name), bytes).unwrap();
    }
}

#[test]
fn what_is_put_comes_back_byte_for_byte_through_files_and_pipes() {
    let daemon = Daemon::start();
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    daemon.file("data", &bytes);
    let put = daemon.json(&["put", "data"]);
    assert_eq!(put["entries"][0]["key"], "data");
    assert_eq!(put["total_size"], bytes.len());
    let committed = daemon.json(&["commit", "--cache-rf", "0"]);
    assert_eq!(daemon.json(&["status"]), serde_json::json!({ "tx": null }));
    let path = format!("{}/data", committed["root"].as_str().unwrap());
    assert!(daemon.run(&["get", &path, "-o", "-"]).stdout == bytes);
    let got = daemon.json(&["get", &path, "-o", "copy"]);
    assert_eq!((&got["source"], &got["spent_atto"]), (&Value::from("local"), &Value::from("0")));
    assert!(std::fs::read(daemon.repo.parent().unwrap().join("copy")).unwrap() == bytes);
}

#[test]
fn a_car_goes_through_a_pipe_and_a_short_one_is_refused() {
    let daemon = Daemon::start();
    daemon.file("data", &[7; 100_000]);
    daemon.json(&["put", "data"]);
    let root = daemon.json(&["commit", "--cache-rf", "0"])["root"].as_str().unwrap().to_owned();
    let car = daemon.run(&["export", &root, "-o", "-"]).stdout;
    let import = |bytes: &[u8]| {
        let mut child = pop(&daemon.repo)
            .args(["--json", "import", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        child.wait_with_output().unwrap()
    };
    let imported: Value = serde_json::from_slice(&import(&car).stdout).unwrap();
    assert_eq!(imported["roots"], serde_json::json!([root]));
    assert_eq!(import(&car[..car.len() - 1]).status.code(), Some(7));
    // Nothing stays of what went through the pipe.
    assert_eq!(std::fs::read_dir(daemon.repo.join("tmp")).unwrap().count(), 0);
}

#[test]
fn failures_have_their_exit_codes() {
    let daemon = Daemon::start();
    assert_eq!(daemon.code(&["get", NOBODYS, "--timeout", "100ms"]), 4);
    assert_eq!(daemon.code(&["put", "missing"]), 7);
    assert_eq!(daemon.code(&["start"]), 8);
    assert_eq!(daemon.json(&["put", "missing"])["error"]["code"], "bad_input");
}

#[test]
fn two_commands_at_once_see_their_own_results() {
    let daemon = Daemon::start();
    daemon.file("data", &[1; 5_000_000]);
    let (put, pings) = std::thread::scope(|scope| {
        let put = scope.spawn(|| daemon.json(&["put", "data"]));
        let pings: Vec<_> = (0..4).map(|_| scope.spawn(|| daemon.json(&["ping"]))).collect();
        (put.join().unwrap(), pings.into_iter().map(|ping| ping.join().unwrap()).collect::<Vec<_>>())
    });
    assert_eq!(put["total_size"], 5_000_000);
    assert!(pings.iter().all(|ping| ping["peer_id"].is_string() && ping["peer_id"] == pings[0]["peer_id"]));
}

#[test]
fn off_returns_when_the_daemon_is_gone() {
    let mut daemon = Daemon::start();
    assert_eq!(daemon.json(&["off"]), serde_json::json!({ "stopped": true }));
    wait_until("the process ends", || daemon.child.try_wait().unwrap().is_some());
    assert_eq!(daemon.code(&["status"]), 3);
}

#[test]
fn init_sets_a_repo_up_once() {
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("repo");
    let made = pop(&repo).args(["--json", "init"]).output().unwrap();
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert!(made["peer_id"].is_string() && made["address"].as_str().unwrap().starts_with("f1"));
    assert_eq!(pop(&repo).arg("init").output().unwrap().status.code(), Some(6));
}

#[test]
fn an_interrupted_command_ends_with_130_and_leaves_nothing() {
    let daemon = Daemon::start();
    let spooled = || std::fs::read_dir(daemon.repo.join("tmp")).unwrap().count();
    // A pipe that never ends.
    let mut import =
        pop(&daemon.repo).args(["import", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the import reads", || spooled() == 1);
    let killed = Command::new("kill").args(["-INT", &import.id().to_string()]).status().unwrap();
    assert!(killed.success());
    wait_until("the import ends", || import.try_wait().unwrap().is_some());
    assert_eq!(import.wait().unwrap().code(), Some(130));
    assert_eq!(spooled(), 0);
}

#[test]
fn the_demo_ends_verified_with_all_money_accounted_for() {
    let dir = tempfile::tempdir().unwrap();
    let output = pop(dir.path())
        .env("TMPDIR", dir.path())
        .args(["--json", "demo", "--size", "5MiB"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors} {}", String::from_utf8_lossy(&output.stdout));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["verified"], true);
    assert_eq!(told["spent_atto"], told["earned_atto"]);
    assert_ne!(told["spent_atto"], "0");
    assert_eq!(told["cached_by"].as_array().unwrap().len(), 1);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the demo left something behind");
}
