//! Every way the network can say no.

use libp2p::gossipsub;
use libp2p::swarm::{self, ConnectionDenied};
use libp2p::{Multiaddr, PeerId};

/// The network loop has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the network has stopped")]
pub struct Stopped;

/// Why the network could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address to listen on is taken, malformed or of a transport that is not built in.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address as configured.
        address: Multiaddr,
        /// What the transport said.
        #[source]
        source: libp2p::TransportError<std::io::Error>,
    },
    /// A protocol id does not begin with a slash.
    #[error("{protocol:?} is not a protocol id")]
    Protocol {
        /// The name as configured.
        protocol: String,
    },
    /// The identity could not be turned into transport keys.
    #[error("the node's identity does not fit the {lane} handshake: {reason}")]
    Identity {
        /// The handshake.
        lane: &'static str,
        /// What the handshake library said.
        reason: String,
    },
    /// Gossip refused its configuration or a topic.
    #[error("gossip refuses its configuration: {reason}")]
    Gossip {
        /// What the gossip library said.
        reason: String,
    },
}

/// Why a peer could not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The address is the node's own.
    #[error("the address is this node's own")]
    Itself,
    /// No address of the peer is known.
    #[error("no address of the peer is known")]
    NoAddress,
    /// Somebody else answers at that address.
    #[error("another peer answers there: {obtained}")]
    WrongPeer {
        /// Who answers.
        obtained: PeerId,
    },
    /// The peer is banned or a connection limit is reached.
    #[error("the connection is not allowed: {reason}")]
    Refused {
        /// Which rule spoke.
        reason: String,
    },
    /// No address could be connected to.
    #[error("no address answers: {tried}")]
    Unreachable {
        /// Each address with what happened there.
        tried: String,
    },
    /// The attempt was given up before it ended.
    #[error("the attempt was given up")]
    Aborted,
    /// The network loop has ended.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl DialError {
    /// Returns the same fact in the node's words.
    pub(super) fn of(error: &swarm::DialError) -> Self {
        match error {
            swarm::DialError::LocalPeerId { .. } => Self::Itself,
            swarm::DialError::NoAddresses => Self::NoAddress,
            swarm::DialError::DialPeerConditionFalse(_) | swarm::DialError::Aborted => Self::Aborted,
            swarm::DialError::WrongPeerId { obtained, .. } => Self::WrongPeer { obtained: *obtained },
            swarm::DialError::Denied { cause } => Self::Refused { reason: denial(cause) },
            swarm::DialError::Transport(tried) => {
                let tried: Vec<String> =
                    tried.iter().map(|(address, error)| format!("{address} ({})", root(error))).collect();
                Self::Unreachable { tried: tried.join(", ") }
            }
        }
    }
}

/// Why a substream could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The peer does not speak the protocol, or this node was not started with it.
    #[error("{protocol} is not spoken between this node and {peer}")]
    Unsupported {
        /// The peer asked.
        peer: PeerId,
        /// The protocol asked for.
        protocol: String,
    },
    /// The peer is not connected and dialling it came to nothing.
    #[error("{peer} cannot be reached")]
    Unreachable {
        /// The peer asked.
        peer: PeerId,
        /// Why.
        #[source]
        source: DialError,
    },
    /// The connection closed while the substream was being opened.
    #[error("{peer} went away")]
    Disconnected {
        /// The peer asked.
        peer: PeerId,
    },
    /// The peer did not answer in time.
    #[error("{peer} did not open the stream in time")]
    TimedOut {
        /// The peer asked.
        peer: PeerId,
    },
    /// Too many substreams are being opened already.
    #[error("{pending} streams are being opened already")]
    Busy {
        /// How many.
        pending: usize,
    },
    /// The substream broke during its negotiation.
    #[error("the stream to {peer} broke")]
    Io {
        /// The peer asked.
        peer: PeerId,
        /// What the transport said.
        #[source]
        source: std::io::Error,
    },
    /// The network loop has ended.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a payload was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Nobody connected listens on the topic; an ordinary state of a young node.
    #[error("no peer listens on {topic}")]
    InsufficientPeers {
        /// The topic.
        topic: String,
    },
    /// The payload is above the limit.
    #[error("{size} bytes are more than the {limit} a message may have")]
    TooLarge {
        /// What was handed in.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The send queues of all peers on the topic are full.
    #[error("the queues of all {peers} peers are full")]
    QueuesFull {
        /// How many peers were tried.
        peers: usize,
    },
    /// The gossip library refused the message.
    #[error("gossip refuses the message")]
    Refused(#[source] gossipsub::PublishError),
    /// The network loop has ended.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a ping brought no figure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    /// The peer could not be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The ping substream could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The peer broke the stream off or answered something else.
    #[error("the peer did not echo the ping")]
    NoEcho(#[source] Option<std::io::Error>),
    /// No answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(std::time::Duration),
}

/// Returns the innermost cause: libp2p nests transports five deep and prints each of them.
fn root(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn denial(cause: &ConnectionDenied) -> String {
    root(cause)
}
