//! What the owner of the gateway may choose, checked and without defaults of its own where money or safety is concerned.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use pop_units::Bytes;

/// Every choice about the gateway.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where plain HTTP is served.
    pub listen: SocketAddr,
    /// Which answers strangers may have.
    pub serves: Serves,
    /// Host names that have subdomains: `{cid}.ipfs.{host}`. Names, without port.
    pub hosts: Vec<String>,
    /// From where `X-Forwarded-Proto`, `-Host` and `-For` are believed.
    pub proxies: Vec<IpNet>,
    /// For whom content that is not here is looked for elsewhere. What it may cost is the node's to know.
    pub fetch_for: Vec<IpNet>,
    /// How long the first verified block may take.
    pub fetch_timeout: Duration,
    /// Files with lists of what is never and of what alone is served.
    pub lists: Lists,
    /// Bounds on clients.
    pub limits: Limits,
    /// Who may upload, and how much; `None` when nobody may.
    pub uploads: Option<Uploads>,
    /// Where requests are logged.
    pub access_log: Option<AccessLog>,
    /// TLS beside plain HTTP.
    pub tls: Option<Tls>,
}

/// Which answers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Files, directories, blocks and CARs.
    Everything,
    /// Only blocks and CARs, which clients verify and browsers do not run.
    Trustless,
}

/// The files of [`Settings::lists`]; read again when they change.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// One CID or path in a line; `451` behind it says that a law forbids it, else 410 is answered.
    pub deny: Option<PathBuf>,
    /// When given, roots that do not stand in it are 410.
    pub allow: Option<PathBuf>,
}

/// Bounds on clients.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// Open connections of one address.
    pub connections_per_address: usize,
    /// Requests that are being answered.
    pub requests: usize,
    /// Requests of one address that are being answered.
    pub requests_per_address: usize,
    /// Requests that one address may begin each second, with ten seconds' worth at once; no bound when zero.
    pub rate_per_address: u32,
    /// How long a request's head may take to come.
    pub head: Duration,
    /// How long a connection may be idle between requests.
    pub idle: Duration,
    /// How long a client may take nothing, or an upload bring nothing.
    pub stall: Duration,
    /// How long an answer may take in all.
    pub whole: Duration,
    /// Memory for blocks on their way to clients, over all of them.
    pub in_flight: Bytes,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connections: 4096,
            connections_per_address: 1024,
            requests: 2048,
            requests_per_address: 512,
            rate_per_address: 0,
            head: seconds(10),
            idle: seconds(75),
            stall: seconds(30),
            whole: seconds(3600),
            in_flight: Bytes::MIB.saturating_mul(32),
        }
    }
}

/// Who may upload, and how much.
#[derive(Clone, Debug)]
pub struct Uploads {
    /// One token in a line, a name for the log in front of it if there is a colon. Without the file, whoever
    /// connects over loopback may upload, and nobody else.
    pub tokens: Option<PathBuf>,
    /// The largest body.
    pub body: Bytes,
    /// What one token may upload in 24 hours; no bound when `None`.
    pub quota: Option<Bytes>,
}

/// How requests are logged.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// The file; standard output when `None`.
    pub to: Option<PathBuf>,
    /// What a line looks like.
    pub format: LogForm,
}

/// What a line of the access log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogForm {
    /// The combined form of web servers.
    Combined,
    /// One JSON object.
    Json,
}

/// TLS beside plain HTTP.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Where it is served.
    pub listen: SocketAddr,
    /// Where the certificate is from.
    pub source: Certificates,
    /// The port where clients find it, when plain HTTP for a name of the certificate is to lead there.
    pub redirect: Option<NonZeroU16>,
}

/// Where certificates are from.
#[derive(Clone, Debug)]
pub enum Certificates {
    /// Files of the owner; read again when they change.
    Files {
        /// The chain, in PEM.
        chain: PathBuf,
        /// The key, in PEM.
        key: PathBuf,
    },
    /// An authority that speaks ACME (RFC 8555), asked by TLS-ALPN-01.
    Acme {
        /// The names to certify.
        domains: Vec<String>,
        /// The authority's directory.
        directory: String,
        /// Whom it may write to.
        contact: Option<String>,
        /// Roots that the authority's own certificate is checked against, in PEM; the system's when `None`.
        roots: Option<PathBuf>,
        /// Where account and certificates are kept.
        cache: PathBuf,
    },
}
