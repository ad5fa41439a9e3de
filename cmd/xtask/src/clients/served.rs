//! A node with a gateway on loopback, and its access log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::site::Site;
use super::utf8;
use crate::fleet::{Binary, CALL, Daemon, Role, text, until};
use crate::market::LONG;

/// A line is written when its answer ends, which is a moment after the client has all of it.
const WRITTEN: Duration = Duration::from_secs(10);

/// The node.
pub(super) struct Served {
    daemon: Daemon,
    /// `127.0.0.1:PORT`.
    pub(super) at: String,
    log: PathBuf,
}

impl Served {
    /// Starts a node with a fresh repo.
    pub(super) fn start(binary: &Binary, folder: &Path, name: &'static str, flags: &[&str]) -> Result<Self> {
        let log = folder.join(format!("{name}.access"));
        let listen = ["--chain", "local", "--gateway-listen", "127.0.0.1:0"];
        let logged = ["--access-log", utf8(&log)?, "--access-log-format", "json"];
        let flags = listen.iter().chain(&logged).chain(flags).map(|&word| word.to_owned()).collect();
        let daemon = Daemon::start(binary, folder, Role { name, flags, serves_chain: false })?;
        let gateway = text(&daemon.call(&["ping"], CALL)?, "gateway")?;
        let at =
            gateway.strip_prefix("http://").context("the gateway's URL")?.trim_end_matches('/').to_owned();
        Ok(Self { daemon, at, log })
    }

    /// Puts a site into the node; the site learns its CID.
    pub(super) fn put(&self, mut site: Site) -> Result<Site> {
        let put = self.daemon.call(&["put", utf8(&site.folder)?], LONG)?;
        self.daemon.call(&["commit", "--cache-rf", "0"], LONG)?;
        let entry = put.pointer("/entries/0").context("put told no entry")?;
        site.cid = text(entry, "cid")?;
        Ok(site)
    }

    /// Runs a command of the CLI.
    pub(super) fn call(&self, words: &[&str]) -> Result<Value> {
        self.daemon.call(words, LONG)
    }

    /// Returns the address of a path in the form that has one origin for all content.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.at)
    }

    /// Returns the origin that a CID has for itself.
    pub(super) fn origin(&self, cid: &str) -> String {
        let port = self.at.rsplit(':').next().unwrap_or_default();
        format!("http://{cid}.ipfs.localhost:{port}")
    }

    /// Returns how many requests are logged so far.
    pub(super) fn mark(&self) -> Result<usize> {
        Ok(self.since(0)?.len())
    }

    /// Returns the requests that were logged after a mark.
    pub(super) fn since(&self, mark: usize) -> Result<Vec<Value>> {
        let log = match std::fs::read_to_string(&self.log) {
            Ok(log) => log,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().skip(mark).map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Waits until a request after the mark is logged about which `what` has something to say.
    pub(super) fn logged<T>(&self, mark: usize, what: impl Fn(&Value) -> Option<T>) -> Result<T> {
        let found =
            until("such request in the access log", WRITTEN, || Ok(self.since(mark)?.iter().find_map(&what)));
        found.with_context(|| format!("{:?}", self.since(mark).unwrap_or_default()))
    }

    /// Returns the last lines that the node wrote.
    pub(super) fn log_tail(&self) -> String {
        self.daemon.log_tail()
    }
}

/// Returns a text field of a logged request; what is not there is empty.
pub(super) fn field<'a>(request: &'a Value, name: &str) -> &'a str {
    request.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the status of a logged request.
pub(super) fn status(request: &Value) -> u64 {
    request.get("status").and_then(Value::as_u64).unwrap_or_default()
}
