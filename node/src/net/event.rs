//! What the network tells the rest of the node.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

pub use libp2p::gossipsub::MessageId;
use libp2p::{Multiaddr, PeerId, gossipsub};

use super::Stream;

/// Something that happened on the network.
#[derive(Debug)]
pub enum NetEvent {
    /// A signed message on a topic; it travels on only after [`super::NetHandle::report`] accepts it.
    Gossip {
        /// Who signed it.
        author: PeerId,
        /// The neighbour it came from.
        source: PeerId,
        /// Its topic.
        topic: String,
        /// The payload, at most [`super::MAX_GOSSIP`] bytes.
        data: Vec<u8>,
        /// What to report on.
        id: MessageId,
    },
    /// A peer opened a substream.
    Inbound {
        /// Who opened it.
        peer: PeerId,
        /// The protocol agreed on.
        protocol: String,
        /// The substream; dropping it resets it.
        stream: Stream,
    },
    /// The first connection with a peer stands.
    Connected {
        /// The peer.
        peer: PeerId,
    },
    /// A connected peer said who it is; comes again when it changes, and not at all while the channel is crowded.
    Identified {
        /// The peer.
        peer: PeerId,
        /// Its agent string.
        agent: String,
        /// Addresses it says it listens on, usable ones only.
        addresses: Vec<Multiaddr>,
        /// Protocols it says it speaks.
        protocols: Vec<String>,
    },
    /// The last connection with a peer is gone.
    Disconnected {
        /// The peer.
        peer: PeerId,
    },
    /// A connected peer joined a topic; left out while the channel is crowded.
    Subscribed {
        /// The peer.
        peer: PeerId,
        /// The topic.
        topic: String,
    },
}

/// The verdict on a gossip message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// Forward it.
    Accept,
    /// Do not forward it; its sender is at fault.
    Reject,
    /// Do not forward it; nobody is at fault.
    Ignore,
}

impl From<Acceptance> for gossipsub::MessageAcceptance {
    fn from(acceptance: Acceptance) -> Self {
        match acceptance {
            Acceptance::Accept => Self::Accept,
            Acceptance::Reject => Self::Reject,
            Acceptance::Ignore => Self::Ignore,
        }
    }
}

/// One connected peer.
#[derive(Debug, Clone)]
pub struct PeerSummary {
    /// The peer.
    pub peer: PeerId,
    /// Where it is connected, then where it says it listens.
    pub addresses: Vec<Multiaddr>,
    /// Its agent string, once identified.
    pub agent: Option<String>,
    /// The last round trip measured.
    pub latency: Option<Duration>,
    /// The topics it joined.
    pub topics: Vec<String>,
    /// When its first connection stood.
    pub since: SystemTime,
}

/// What was dropped because a bound was reached, since the start.
#[derive(Debug, Default)]
pub struct Counters {
    gossip_dropped: AtomicU64,
    streams_refused: AtomicU64,
    events_dropped: AtomicU64,
    strangers: AtomicU64,
}

impl Counters {
    /// Gossip messages not handed over because the event channel was full.
    pub fn gossip_dropped(&self) -> u64 {
        self.gossip_dropped.load(Ordering::Relaxed)
    }

    /// Inbound substreams reset because the event channel or a connection's share was full.
    pub fn streams_refused(&self) -> u64 {
        self.streams_refused.load(Ordering::Relaxed)
    }

    /// Other events lost because nobody drained the channel; what they told can be asked of the handle.
    pub fn events_dropped(&self) -> u64 {
        self.events_dropped.load(Ordering::Relaxed)
    }

    /// Peers disconnected because they do not speak pop.
    pub fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }

    pub(super) fn count_gossip_dropped(&self) {
        self.gossip_dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_stream_refused(&self) {
        self.streams_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_event_dropped(&self) {
        self.events_dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_stranger(&self) {
        self.strangers.fetch_add(1, Ordering::Relaxed);
    }
}
