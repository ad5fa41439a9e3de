//! Real daemons for the tests: own processes, own repositories in a temporary directory, loopback only.
//!
//! Every wait is for an event with a deadline; every process is killed when its test ends, however it ends.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for a daemon to answer or to end; slow machines need seconds, never this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A repository and, while it runs, its daemon.
pub(crate) struct Pop {
    home: tempfile::TempDir,
    flags: Vec<String>,
    daemon: Option<Child>,
}

/// What a command of the CLI answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) json: Value,
    pub(crate) stderr: String,
}

impl Answer {
    /// Returns the result of a command that must have worked.
    #[track_caller]
    pub(crate) fn done(self) -> Value {
        assert_eq!(self.code, 0, "{} {}", self.json, self.stderr);
        self.json
    }

    /// Returns the message of an error that must have this exit code.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{} {}", self.json, self.stderr);
        self.json["error"]["message"].as_str().expect("errors have a message").to_owned()
    }
}

impl Pop {
    /// Starts a daemon with an embedded chain of its own.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut pop = Self::new(flags);
        pop.run();
        pop
    }

    /// Starts a daemon that lives on the chain that `bank` serves, and knows `bank` as its bootstrap.
    pub(crate) fn join(bank: &Self, flags: &[&str]) -> Self {
        let status = bank.json(&["chain", "status"]).done();
        let url = status["listen"].as_str().expect("the bank serves its chain").to_owned();
        let token = bank.repo().join("chain.token");
        let address = bank.address();
        let mut all = vec!["--chain", &url, "--chain-token-file", token.to_str().unwrap()];
        all.extend(["--bootstrap", &address]);
        all.extend(flags);
        Self::start(&all)
    }

    /// Makes a repository without running its daemon.
    pub(crate) fn new(flags: &[&str]) -> Self {
        let home = tempfile::Builder::new().prefix("pop-test-").tempdir().unwrap();
        let mut all = vec!["--listen".to_owned(), "/ip4/127.0.0.1/tcp/0".to_owned()];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        Self { home, flags: all, daemon: None }
    }

    /// Runs the daemon and waits until it answers.
    pub(crate) fn run(&mut self) {
        let log =
            std::fs::File::options().create(true).append(true).open(self.home.path().join("log")).unwrap();
        let mut command = self.command(&["start"]);
        command.args(&self.flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        while !self.repo().join("api").exists() || self.json(&["ping"]).code != 0 {
            let ended = self.daemon.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "daemon ended: {ended:?}\n{}", self.log());
            assert!(Instant::now() < deadline, "daemon does not answer\n{}", self.log());
            std::thread::yield_now();
        }
        self.keep_ports();
    }

    /// Makes the next run listen where this one does, so that others find it again.
    fn keep_ports(&mut self) {
        let ping = self.json(&["ping"]).done();
        let chain = self.json(&["chain", "status"]).done();
        let address = ping["addresses"][0].as_str().unwrap();
        let address = address.split("/p2p/").next().unwrap().to_owned();
        let served = chain["listen"].as_str().and_then(|url| url.split('/').nth(2)).map(str::to_owned);
        for flag in &mut self.flags {
            match (flag.as_str(), &served) {
                ("/ip4/127.0.0.1/tcp/0", _) => flag.clone_from(&address),
                ("127.0.0.1:0", Some(served)) => flag.clone_from(served),
                _ => {}
            }
        }
    }

    /// Kills the daemon without warning.
    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
        // A killed daemon leaves its address behind; a waiting start must not take it for an answer.
        std::fs::remove_file(self.repo().join("api")).ok();
    }

    /// Stops the daemon in order and returns its exit code.
    pub(crate) fn off(&mut self) -> i32 {
        self.json(&["off"]).done();
        let mut daemon = self.daemon.take().expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = daemon.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "daemon does not stop\n{}", self.log());
            std::thread::yield_now();
        }
    }

    /// Runs a command of the CLI to its end.
    pub(crate) fn json(&self, args: &[&str]) -> Answer {
        answer(self.command(args).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs a command of the CLI to its end, with a program's output as its input.
    pub(crate) fn json_from(&self, source: Stdio, args: &[&str]) -> Answer {
        answer(self.command(args).stdin(source).output().unwrap())
    }

    /// Starts a command of the CLI without waiting for its end.
    pub(crate) fn spawn(&self, args: &[&str]) -> Running {
        let mut command = self.command(args);
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Running(child)
    }

    /// Returns a dialable address of the daemon, peer id included.
    pub(crate) fn address(&self) -> String {
        let ping = self.json(&["ping"]).done();
        let peer = ping["peer_id"].as_str().unwrap();
        let address = ping["addresses"][0].as_str().unwrap();
        match address.contains("/p2p/") {
            true => address.to_owned(),
            false => format!("{address}/p2p/{peer}"),
        }
    }

    /// Returns the default address of the wallet.
    pub(crate) fn wallet(&self) -> String {
        self.json(&["wallet", "default"]).done()["address"].as_str().unwrap().to_owned()
    }

    /// Returns what the default address holds.
    pub(crate) fn balance(&self) -> u128 {
        atto(&self.json(&["wallet", "balance"]).done()["balance_atto"])
    }

    /// Gives `to` money of this node's default address.
    pub(crate) fn fund(&self, to: &Self, amount: &str) {
        self.json(&["wallet", "pay", &self.wallet(), &to.wallet(), amount]).done();
    }

    /// Waits until this node is connected to another one and shares its gossip.
    pub(crate) fn meet(&self, other: &Self) {
        let peer = other.json(&["ping"]).done()["peer_id"].as_str().unwrap().to_owned();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let peers = self.json(&["peers"]).done();
            let met = |p: &Value| {
                p["peer_id"] == peer.as_str() && p["regions"].as_array().is_some_and(|r| !r.is_empty())
            };
            if peers.as_array().unwrap().iter().any(met) {
                return;
            }
            assert!(Instant::now() < deadline, "never met {peer}: {peers}\n{}", self.log());
            std::thread::yield_now();
        }
    }

    /// Adds a file and commits it without replication; returns the root.
    pub(crate) fn publish(&self, path: &Path) -> String {
        self.json(&["put", path.to_str().unwrap()]).done();
        let committed = self.json(&["commit", "--cache-rf", "0"]).done();
        committed["root"].as_str().unwrap().to_owned()
    }

    /// Returns the repository's directory.
    pub(crate) fn repo(&self) -> PathBuf {
        self.home.path().join("repo")
    }

    /// Returns a path for a test's own files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Returns the process id of the daemon.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("it runs").id()
    }

    /// Returns what the daemon logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pop"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(self.home.path());
        command.arg("--repo").arg(self.repo()).arg("--json").args(args);
        command
    }
}

impl Drop for Pop {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command of the CLI that runs.
pub(crate) struct Running(Child);

impl Running {
    /// Waits for its answer.
    pub(crate) fn answer(self) -> Answer {
        answer(self.0.wait_with_output().unwrap())
    }

    /// Interrupts it as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }

    /// Reads its progress until a report of `stage` says more than `bytes`.
    pub(crate) fn reaches(&mut self, stage: &str, bytes: u64) {
        let stderr = self.0.stderr.as_mut().unwrap();
        let (mut line, mut byte) = (Vec::new(), [0]);
        while stderr.read(&mut byte).unwrap() == 1 {
            if byte[0] != b'\n' {
                line.push(byte[0]);
                continue;
            }
            let report: Value = serde_json::from_slice(&line).unwrap_or_default();
            if report["stage"] == stage && report["done"].as_u64().is_some_and(|done| done > bytes) {
                return;
            }
            line.clear();
        }
    }
}

fn answer(output: Output) -> Answer {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let json = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { code: output.status.code().unwrap_or(-1), json, stderr }
}

/// Reads a decimal string of attoFIL.
#[track_caller]
pub(crate) fn atto(value: &Value) -> u128 {
    value.as_str().expect("money is a string").parse().expect("of digits")
}

/// Returns bytes that neither compress nor repeat.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
