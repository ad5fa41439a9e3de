//! The node under attack: a gateway on loopback with a large file and small ones.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pop_units::Bytes;

use super::wire::{Until, connect, talk};
use crate::fleet::{Binary, CALL, Daemon, Role, text, until};
use crate::market::LONG;
use crate::sample;

/// One small file.
const SMALL: Bytes = Bytes::new(16 << 10);
/// A gateway that starts listens within a moment.
const START: Duration = Duration::from_secs(30);
/// A server in trouble is given this long to answer before that is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// Where whoever only looks comes from.
pub(super) const OWNER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);

/// A node and what it serves.
pub(super) struct Door {
    pub(super) daemon: Daemon,
    pub(super) at: SocketAddr,
    pub(super) root: String,
    pub(super) size: Bytes,
    /// The bytes of `small.bin`.
    pub(super) small: Vec<u8>,
}

impl Door {
    /// Starts a node below `folder` and puts content into it.
    pub(super) fn open(
        binary: &Binary,
        folder: &Path,
        name: &'static str,
        size: Bytes,
        more: &[&str],
    ) -> Result<Self> {
        let at = free()?;
        let listen = at.to_string();
        let content = folder.join(format!("{name}-content"));
        std::fs::create_dir_all(&content)?;
        let (large, small) = (content.join("large.bin"), content.join("small.bin"));
        sample::write_random(&large, size)?;
        sample::write_random(&small, SMALL)?;
        // Nobody on loopback is a proxy here, so that attackers there have an address of their own.
        let flags = ["--chain", "local", "--gateway-listen", &listen, "--gateway-proxies", "192.0.2.0/24"];
        let flags = flags.iter().chain(more).map(|&word| word.to_owned()).collect();
        let daemon = Daemon::start(binary, folder, Role { name, flags, serves_chain: false })?;
        daemon.call(&["put", utf8(&large)?, utf8(&small)?], LONG)?;
        let root = text(&daemon.call(&["commit", "--cache-rf", "0"], CALL)?, "root")?;
        listens(at)?;
        std::fs::remove_file(&large)?;
        Ok(Self { daemon, at, root, size, small: std::fs::read(&small)? })
    }

    pub(super) fn large_path(&self) -> String {
        format!("/ipfs/{}/large.bin", self.root)
    }

    pub(super) fn small_path(&self) -> String {
        format!("/ipfs/{}/small.bin", self.root)
    }

    /// Returns a GET of a path, with further lines of the head, each with its end.
    pub(super) fn get(&self, path: &str, more: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", self.at).into_bytes()
    }

    /// Checks that the node answers a newcomer, and its owner.
    pub(super) fn check_alive(&self) -> Result<()> {
        let ask = self.get(&self.small_path(), "Connection: close\r\n");
        let heard = talk(connect(self.at, OWNER)?, std::iter::once(ask), Until::Answer, PATIENCE)?;
        ensure!(heard.status() == 200 && heard.body() == self.small, "a newcomer got {}", heard.head());
        self.daemon.call(&["ping"], CALL).map(|_| ())
    }

    /// Returns what the store holds: blocks, live bytes, roots.
    pub(super) fn holds(&self) -> Result<(u64, u64, u64)> {
        self.daemon.call(&["gc"], LONG)?;
        let store = self.daemon.call(&["store"], CALL)?;
        let field = |name| crate::fleet::count(&store, name);
        Ok((field("blocks")?, field("live")?, field("refs")?))
    }
}

/// Returns an address that nobody has just now.
pub(crate) fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Waits until somebody listens.
pub(crate) fn listens(at: SocketAddr) -> Result<()> {
    until("gateway", START, || Ok(TcpStream::connect(at).ok().map(|_| ())))
}

pub(crate) fn utf8(path: &Path) -> Result<&str> {
    path.to_str().context("temp dir is not UTF-8")
}
