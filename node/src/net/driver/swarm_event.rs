//! What the loop does with the swarm's events: one method for each.

use std::time::Instant;

use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::{ConnectionId, StreamUpgradeError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, gossipsub, identify, kad, ping};

use super::{Driver, Purpose};
use crate::net::behaviour::BehaviourEvent;
use crate::net::config::MAX_GOSSIP;
use crate::net::event::{Acceptance, NetEvent};
use crate::net::peers::{Peer, is_ours, printable, usable};

impl Driver {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.on_closed(peer_id, connection_id, num_established);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                match (self.dials.remove(&connection_id), peer_id) {
                    // An address alone does not tell whose it is; with enough connections to that peer, one of them
                    // does.
                    (Some(Purpose::Asked(reply)), Some(peer)) if self.peers.contains_key(&peer) => {
                        let _ = reply.send(Ok(peer));
                    }
                    (Some(purpose), _) => self.on_dial_failed(purpose, &error),
                    (None, _) => {}
                }
            }
            SwarmEvent::NewListenAddr { listener_id, address } => self.on_listening(listener_id, address),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.send_modify(|now| now.addresses.retain(|known| *known != address));
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                tracing::warn!(?addresses, ?reason, "listener closed");
                self.listening.send_modify(|now| now.addresses.retain(|known| !addresses.contains(known)));
                self.settle(listener_id);
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener"),
            SwarmEvent::IncomingConnectionError { error, .. } => {
                tracing::debug!(%error, "inbound connection failed");
            }
            // Progress of dials, candidates for external addresses and the like; the list grows with libp2p.
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(event) => self.on_identify(event),
            BehaviourEvent::Ping(event) => self.on_ping(event),
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Streams(inbound) => self.on_inbound(inbound),
            BehaviourEvent::Banned(never) => match never {},
            BehaviourEvent::Limits(never) => match never {},
        }
    }

    fn on_established(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        match self.dials.remove(&connection) {
            Some(Purpose::Asked(reply)) => {
                let _ = reply.send(Ok(peer));
            }
            Some(Purpose::Bootstrap(index)) => self.bootstrap.on_dialled(index, peer),
            None => {}
        }
        if self.peers.contains_key(&peer) {
            return;
        }
        let identify_by = Instant::now() + self.limits.identify;
        self.peers.insert(peer, Peer::new(endpoint.get_remote_address().clone(), identify_by));
        self.bootstrap.on_connected(peer);
        self.outbox.tell(NetEvent::Connected { peer });
    }

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId, left: u32) {
        if left > 0 {
            if let Some(peer) = self.peers.get_mut(&peer) {
                peer.unanswered.remove(&connection);
            }
            return;
        }
        self.peers.remove(&peer);
        self.bootstrap.on_disconnected(peer, Instant::now(), rand::random());
        self.outbox.tell(NetEvent::Disconnected { peer });
    }

    fn on_listening(&mut self, listener: ListenerId, address: Multiaddr) {
        tracing::info!(%address, "listening");
        self.listening.send_modify(|now| {
            if !now.addresses.contains(&address) {
                now.addresses.push(address);
            }
        });
        self.settle(listener);
    }

    fn settle(&mut self, listener: ListenerId) {
        self.unsettled.retain(|waiting| *waiting != listener);
        if self.unsettled.is_empty() {
            self.listening.send_modify(|now| now.settled = true);
        }
    }

    fn on_ping(&mut self, event: ping::Event) {
        let Some(peer) = self.peers.get_mut(&event.peer) else { return };
        let took = match event.result {
            Ok(took) => Some(took),
            Err(ping::Failure::Timeout) => None,
            // Not spoken, or broken off: the connection itself says more about that.
            Err(ping::Failure::Unsupported | ping::Failure::Other { .. }) => return,
        };
        if peer.on_ping(event.connection, took) {
            tracing::debug!(peer = %event.peer, "pings stay unanswered, closing the connection");
            self.swarm.close_connection(event.connection);
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        match event {
            identify::Event::Received { peer_id, info, .. } => self.on_identified(peer_id, info),
            identify::Event::Error { peer_id, error, .. } => {
                // A connection that merely broke says nothing about who the peer is.
                let broke = matches!(error, StreamUpgradeError::Io(_));
                let unknown = self.peers.get(&peer_id).is_some_and(|peer| peer.identify_by.is_some());
                if unknown && !broke {
                    self.show_out(peer_id, "it does not identify itself");
                }
            }
            identify::Event::Sent { .. } | identify::Event::Pushed { .. } => {}
        }
    }

    fn on_identified(&mut self, id: PeerId, info: identify::Info) {
        if !is_ours(&info) {
            self.show_out(id, &printable(&info.agent_version));
            return;
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let addresses = usable(id, &peer.remote, &info.listen_addrs);
        peer.identify_by = None;
        let agent = printable(&info.agent_version);
        peer.agent = Some(agent.clone());
        peer.listens.clone_from(&addresses);
        self.bootstrap.on_identified(id);
        if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
            for address in &addresses {
                kad.add_address(&id, address.clone());
            }
        }
        let protocols = info.protocols.iter().map(ToString::to_string).collect();
        self.outbox.mention(NetEvent::Identified { peer: id, agent, addresses, protocols });
    }

    fn on_kad(&mut self, event: kad::Event) {
        // Only the routing table is used; lookups are the table's own upkeep.
        if let kad::Event::RoutingUpdated { peer, .. } | kad::Event::RoutablePeer { peer, .. } = event {
            self.meet(peer);
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.on_message(propagation_source, message_id, message);
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                self.outbox.mention(NetEvent::Subscribed { peer: peer_id, topic: topic.into_string() });
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                tracing::debug!(peer = %peer_id, "slow gossip peer");
            }
            gossipsub::Event::Unsubscribed { .. } | gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
    }

    fn on_message(&mut self, source: PeerId, id: gossipsub::MessageId, message: gossipsub::Message) {
        let author = message.source.filter(|_| message.data.len() <= MAX_GOSSIP);
        let verdict = match author {
            None => Some(Acceptance::Reject),
            Some(author) => {
                let topic = message.topic.into_string();
                let event = NetEvent::Gossip { author, source, topic, data: message.data, id: id.clone() };
                // Otherwise the verdict is the consumer's.
                (!self.outbox.gossip(event)).then_some(Acceptance::Ignore)
            }
        };
        if let Some(verdict) = verdict {
            let gossip = &mut self.swarm.behaviour_mut().gossip;
            gossip.report_message_validation_result(&id, &source, verdict.into());
        }
    }
}
