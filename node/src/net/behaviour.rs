//! The protocols of a node, put together.

use std::time::Duration;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::kad::store::MemoryStore;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, allow_block_list, gossipsub, identify, kad, ping};

use super::config::{MAX_GOSSIP, NetConfig};
use super::error::StartError;
use super::streams;

/// The protocol family in identify; a changed number means a network that does not mix with this one.
const FAMILY: &str = "/pop/id/1.0.0";

/// The private routing table: nodes of other networks never enter it.
const KAD: StreamProtocol = StreamProtocol::new("/pop/kad/1.0.0");

/// What a signed message has around its payload at most: topic, author, sequence number, signature and key.
/// The receiving side measures all of it.
const ENVELOPE: usize = 1024;

/// Connections in the middle of their handshake, each way: handshakes cost CPU before they prove anything.
const PENDING: u32 = 64;

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    // Refusals come first, so that nobody below sets anything up for a connection that is not to be.
    pub(super) banned: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(super) limits: connection_limits::Behaviour,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) kad: Toggle<kad::Behaviour<MemoryStore>>,
    pub(super) gossip: gossipsub::Behaviour,
    pub(super) streams: streams::Behaviour,
}

impl Behaviour {
    pub(super) fn new(config: &NetConfig, streams: streams::Behaviour) -> Result<Self, StartError> {
        let public = config.keypair.public();
        let local = public.to_peer_id();
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(PENDING))
            .with_max_pending_outgoing(Some(PENDING))
            .with_max_established(Some(config.limits.established))
            .with_max_established_per_peer(Some(config.limits.per_peer));
        let identify = identify::Config::new(FAMILY.to_owned(), public)
            .with_agent_version(config.agent.clone())
            .with_push_listen_addr_updates(true);
        let discovery = (config.limits.target_peers > 0).then(|| {
            let mut kad = kad::Behaviour::with_config(local, MemoryStore::new(local), routing());
            kad.set_mode(Some(kad::Mode::Server));
            kad
        });
        Ok(Self {
            banned: allow_block_list::Behaviour::default(),
            limits: connection_limits::Behaviour::new(limits),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::default(),
            kad: Toggle::from(discovery),
            gossip: gossip(config)?,
            streams,
        })
    }
}

fn routing() -> kad::Config {
    let mut config = kad::Config::new(KAD);
    config.set_query_timeout(Duration::from_secs(30));
    // Peers are all that is looked up; records of strangers are never kept.
    config.set_record_filtering(kad::StoreInserts::FilterBoth);
    config
}

fn gossip(config: &NetConfig) -> Result<gossipsub::Behaviour, StartError> {
    let refused = |reason: String| StartError::Gossip { reason };
    let topics: Vec<_> = config.topics.iter().map(gossipsub::IdentTopic::new).collect();
    let mut settings = gossipsub::ConfigBuilder::default();
    // The default message id, author and sequence number, stays: the same query asked again must travel again.
    settings
        .validation_mode(gossipsub::ValidationMode::Strict)
        .validate_messages()
        .flood_publish(true)
        // A node that has just started should not wait five seconds for its first mesh upkeep.
        .heartbeat_initial_delay(Duration::from_millis(500))
        .heartbeat_interval(Duration::from_secs(1));
    for topic in &topics {
        settings.max_transmit_size_for_topic(MAX_GOSSIP + ENVELOPE, topic.hash());
    }
    let settings = settings.build().map_err(|error| refused(error.to_string()))?;
    let signed = gossipsub::MessageAuthenticity::Signed(config.keypair.clone());
    let mut gossip =
        gossipsub::Behaviour::new(signed, settings).map_err(|reason| refused(reason.to_owned()))?;
    for topic in &topics {
        gossip.subscribe(topic).map_err(|error| refused(error.to_string()))?;
    }
    Ok(gossip)
}
