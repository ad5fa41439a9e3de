//! What the network is started with, and the bounds it keeps.

use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::identity::Keypair;

/// The largest gossip payload, in bytes: a query is a few hundred, and every node on the topic pays for it.
pub const MAX_GOSSIP: usize = 4096;

/// Everything the network needs to start.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// The node's identity.
    pub keypair: Keypair,
    /// Addresses to listen on: `/tcp/..`, `/tcp/../ws` and `/udp/../quic-v1`.
    pub listen: Vec<Multiaddr>,
    /// Addresses told to peers besides the ones listened on.
    pub announce: Vec<Multiaddr>,
    /// Peers kept connected, with backoff; the node itself and duplicates are dropped.
    pub bootstrap: Vec<Multiaddr>,
    /// Gossip topics to join.
    pub topics: Vec<String>,
    /// Substream protocols served and opened.
    pub protocols: Vec<String>,
    /// The agent string; peers whose agent does not begin with `pop/` are disconnected.
    pub agent: String,
    /// Bounds.
    pub limits: Limits,
}

impl NetConfig {
    /// Returns a configuration that listens nowhere and serves nothing yet.
    pub fn new(keypair: Keypair) -> Self {
        Self {
            keypair,
            listen: Vec::new(),
            announce: Vec::new(),
            bootstrap: Vec::new(),
            topics: Vec::new(),
            protocols: Vec::new(),
            agent: concat!("pop/", env!("CARGO_PKG_VERSION")).to_owned(),
            limits: Limits::default(),
        }
    }
}

/// Bounds of the network; the defaults suit a node at home and a node in a rack.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections in all; an idle one costs about 100 kB, so the default is about 50 MB.
    pub established: u32,
    /// Connections with one peer: one per transport, and one crossing dial of each.
    pub per_peer: u32,
    /// Discovered peers are dialled while fewer than this are connected; zero switches discovery off.
    pub target_peers: usize,
    /// Events waiting for the consumer; when full, gossip is dropped and inbound streams are reset.
    pub events: usize,
    /// Commands waiting for the loop; when full, callers wait.
    pub commands: usize,
    /// A connection without streams and without a place in a gossip mesh is closed after this.
    pub idle: Duration,
    /// A peer that has not identified itself as pop by then is disconnected.
    pub identify: Duration,
    /// A connection attempt, handshakes included, ends after this.
    pub dial: Duration,
    /// The negotiation of one substream ends after this.
    pub open: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            established: 500,
            per_peer: 4,
            target_peers: 12,
            events: 1024,
            commands: 256,
            idle: Duration::from_secs(120),
            identify: Duration::from_secs(15),
            dial: Duration::from_secs(10),
            open: Duration::from_secs(10),
        }
    }
}
