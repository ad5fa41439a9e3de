//! Real daemons for the evidence drivers: the built binary, its own repo, loopback addresses, deadlines.
//!
//! A daemon dies with its handle, whatever happens to the driver, and every wait here has an end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use cargo_metadata::MetadataCommand;
use pop_units::AttoFil;
use serde_json::Value;

/// Short beside any step that is timed, long beside a system call.
const POLL: Duration = Duration::from_millis(5);
/// A node that rebuilds its index after a kill has this long to answer.
const READY: Duration = Duration::from_secs(60);
/// An orderly stop flushes and seals; beyond this it hangs.
const STOP: Duration = Duration::from_secs(30);
/// A call that moves no content.
pub(crate) const CALL: Duration = Duration::from_secs(60);

/// The binary under test.
#[derive(Debug, Clone)]
pub(crate) struct Binary(PathBuf);

impl Binary {
    /// Uses `path`, or builds the release binary.
    pub(crate) fn find(path: Option<&str>) -> Result<Self> {
        if let Some(path) = path {
            let path = std::path::absolute(path)?;
            anyhow::ensure!(path.is_file(), "{} is not a file", path.display());
            return Ok(Self(path));
        }
        let status = Command::new("cargo").args(["build", "--release", "--bin", "pop"]).status()?;
        anyhow::ensure!(status.success(), "cargo build: {status}");
        let metadata = MetadataCommand::new().no_deps().exec().context("cargo metadata")?;
        Ok(Self(metadata.target_directory.join("release/pop").into()))
    }

    fn command(&self, repo: &Path) -> Command {
        let mut command = Command::new(&self.0);
        // The caller's own settings must not leak into a measurement.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("POP_")) {
            command.env_remove(name);
        }
        command.arg("--repo").arg(repo).stdin(Stdio::null());
        command
    }
}

/// How a daemon is started.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    /// Names the repo and log below the driver's folder.
    pub(crate) name: &'static str,
    /// Flags of `pop start` besides the addresses.
    pub(crate) flags: Vec<String>,
    /// Whether it serves its embedded ledger to the others.
    pub(crate) serves_chain: bool,
}

/// Everything that stays the same over restarts.
#[derive(Debug)]
struct Setup {
    binary: Binary,
    role: Role,
    repo: PathBuf,
    log: PathBuf,
    listen: String,
    chain_listen: String,
}

impl Setup {
    fn spawn(&self) -> Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = self.binary.command(&self.repo);
        command.arg("start").args(["--listen", &self.listen]).args(&self.role.flags);
        if self.role.serves_chain {
            command.args(["--chain-listen", &self.chain_listen]);
        }
        command.stdout(log.try_clone()?).stderr(log).spawn().context("pop start")
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }
}

/// A running daemon and how to call it.
#[derive(Debug)]
pub(crate) struct Daemon {
    setup: Setup,
    child: Child,
    peer_id: String,
}

impl Daemon {
    /// Starts a daemon with a fresh repo below `folder` and waits until it answers.
    pub(crate) fn start(binary: &Binary, folder: &Path, role: Role) -> Result<Self> {
        let setup = Setup {
            binary: binary.clone(),
            repo: folder.join(role.name),
            log: folder.join(format!("{}.log", role.name)),
            listen: "/ip4/127.0.0.1/tcp/0".to_owned(),
            chain_listen: "127.0.0.1:0".to_owned(),
            role,
        };
        let child = setup.spawn()?;
        let mut daemon = Self { setup, child, peer_id: String::new() };
        daemon.wait_ready()?;
        Ok(daemon)
    }

    /// Starts again after [`Daemon::kill`], on the same repo and the same addresses.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.child = self.setup.spawn()?;
        self.wait_ready()
    }

    /// Kills without warning, as a power cut would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().context("kill")?;
        self.child.wait().context("wait")?;
        Ok(())
    }

    /// Stops in order.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.call(&["off"], STOP)?;
        let deadline = Instant::now() + STOP;
        while self.child.try_wait()?.is_none() {
            anyhow::ensure!(Instant::now() < deadline, "{} still runs after `pop off`", self.setup.role.name);
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Runs a command of the CLI and returns its result.
    pub(crate) fn call(&self, words: &[&str], limit: Duration) -> Result<Value> {
        self.begin(words)?.finish(limit)
    }

    /// Starts a command of the CLI and lets it run.
    pub(crate) fn begin(&self, words: &[&str]) -> Result<Running> {
        let stdout = tempfile::NamedTempFile::new()?;
        let stderr = tempfile::NamedTempFile::new()?;
        let child = self
            .setup
            .binary
            .command(&self.setup.repo)
            .arg("--json")
            .args(words)
            .stdout(stdout.reopen()?)
            .stderr(stderr.reopen()?)
            .spawn()
            .with_context(|| format!("pop {}", words.join(" ")))?;
        let what = format!("{}: pop {}", self.setup.role.name, words.join(" "));
        Ok(Running { what, child, stdout, stderr, begun: Instant::now() })
    }

    /// Returns an address with which another node dials this one.
    pub(crate) fn address(&self) -> String {
        format!("{}/p2p/{}", self.setup.listen, self.peer_id)
    }

    /// Returns the address of the embedded ledger's API.
    pub(crate) fn chain_url(&self) -> String {
        format!("http://{}", self.setup.chain_listen)
    }

    /// Returns the file with the token of the embedded ledger's API.
    pub(crate) fn chain_token(&self) -> PathBuf {
        self.setup.repo.join("chain.token")
    }

    /// Returns its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the last lines that the daemon wrote.
    pub(crate) fn log_tail(&self) -> String {
        self.setup.log_tail()
    }

    /// Returns the highest resident memory so far, in bytes.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// Returns the resident memory now, in bytes.
    pub(crate) fn memory_now(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    fn memory(&self, field: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).context(path)?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY;
        let pong = loop {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended at start with {status}; its log ends:\n{}",
                    self.setup.role.name,
                    self.setup.log_tail()
                );
            }
            if let Ok(pong) = self.call(&["ping"], CALL) {
                break pong;
            }
            if Instant::now() > deadline {
                bail!("{} does not answer; its log ends:\n{}", self.setup.role.name, self.setup.log_tail());
            }
            std::thread::sleep(POLL * 10);
        };
        self.peer_id = text(&pong, "peer_id")?;
        // Kept for restarts: the others know this node by these addresses.
        self.setup.listen = loopback_address(&pong)?;
        if self.setup.role.serves_chain {
            let status = self.call(&["chain", "status"], CALL)?;
            self.setup.chain_listen = authority(&text(&status, "listen")?);
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already gone is fine; there is nobody left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command of the CLI on its way.
#[derive(Debug)]
pub(crate) struct Running {
    what: String,
    child: Child,
    stdout: tempfile::NamedTempFile,
    stderr: tempfile::NamedTempFile,
    begun: Instant,
}

impl Running {
    /// Returns whether it ended by itself.
    pub(crate) fn is_over(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Returns how long it has run.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits for the end and returns the JSON document; kills it at the limit.
    pub(crate) fn finish(mut self, limit: Duration) -> Result<Value> {
        let status = self.wait(limit)?;
        let stdout = std::fs::read_to_string(self.stdout.path())?;
        if !status.success() {
            let stderr = std::fs::read_to_string(self.stderr.path()).unwrap_or_default();
            bail!("{} ended with {status}: {} {}", self.what, stdout.trim(), stderr.trim());
        }
        serde_json::from_str(&stdout).with_context(|| format!("{} printed no JSON: {stdout:?}", self.what))
    }

    fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} is not done after {} s", self.what, limit.as_secs());
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Polls `question` until it answers, at most for `limit`.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut question: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = question()? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            bail!("no {what} within {} s", limit.as_secs());
        }
        std::thread::sleep(POLL * 10);
    }
}

/// Returns a string field.
pub(crate) fn text(value: &Value, field: &str) -> Result<String> {
    let found = value.get(field).and_then(Value::as_str);
    found.map(str::to_owned).ok_or_else(|| anyhow!("no text `{field}` in {value}"))
}

/// Returns an integer field.
pub(crate) fn count(value: &Value, field: &str) -> Result<u64> {
    value.get(field).and_then(Value::as_u64).ok_or_else(|| anyhow!("no count `{field}` in {value}"))
}

/// Returns a field of seconds.
pub(crate) fn seconds(value: &Value, field: &str) -> Result<f64> {
    value.get(field).and_then(Value::as_f64).ok_or_else(|| anyhow!("no seconds `{field}` in {value}"))
}

/// Returns an amount field, a decimal string of attoFIL.
pub(crate) fn atto(value: &Value, field: &str) -> Result<AttoFil> {
    Ok(AttoFil::new(text(value, field)?.parse().with_context(|| format!("`{field}` in {value}"))?))
}

/// Returns the loopback TCP address out of a `ping` of the node itself, without the peer id.
fn loopback_address(pong: &Value) -> Result<String> {
    let addresses = pong.get("addresses").and_then(Value::as_array).context("no addresses in ping")?;
    addresses
        .iter()
        .filter_map(Value::as_str)
        .map(|address| address.split("/p2p/").next().unwrap_or(address))
        .find(|address| address.starts_with("/ip4/127.0.0.1/tcp/") && !address.contains("/ws"))
        .map(str::to_owned)
        .with_context(|| format!("no loopback TCP address in {pong}"))
}

/// Returns `host:port` of an address that may be written as a URL.
fn authority(address: &str) -> String {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    address.split('/').next().unwrap_or(address).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn address_for_dialling_is_plain_loopback_tcp() {
        let pong = json!({"addresses": [
            "/ip4/127.0.0.1/udp/1/quic-v1",
            "/ip4/127.0.0.1/tcp/2/ws",
            "/ip4/127.0.0.1/tcp/3/p2p/12D3",
        ]});
        assert_eq!(loopback_address(&pong).unwrap(), "/ip4/127.0.0.1/tcp/3");
    }

    #[test]
    fn authority_of_both_spellings() {
        assert_eq!(authority("127.0.0.1:7"), "127.0.0.1:7");
        assert_eq!(authority("http://127.0.0.1:7/rpc/v1"), "127.0.0.1:7");
    }

    #[test]
    fn amounts_are_decimal_strings() {
        assert_eq!(atto(&json!({"spent_atto": "12"}), "spent_atto").unwrap(), AttoFil::new(12));
        assert!(atto(&json!({"spent_atto": 12}), "spent_atto").is_err());
    }

    #[test]
    fn until_ends_at_the_limit() {
        assert!(until("answer", Duration::ZERO, || Ok(None::<()>)).is_err());
    }
}
