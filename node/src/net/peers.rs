//! The table of connected peers, and what makes a peer one of ours.
//!
//! Bounded by the connection limits: a peer is in the table exactly while it is connected.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, identify};

use super::bootstrap::peer_of;

/// Addresses kept of what a peer says about itself: several interfaces with two transports each.
const MAX_ADDRESSES: usize = 16;

/// Letters kept of an agent string: a name, a version and a remark.
const MAX_AGENT: usize = 64;

/// Pings that may go unanswered: more than bulk on a slow line delays, less than the quarter of an hour in which
/// TCP notices a dead peer.
const MAX_UNANSWERED: u8 = 3;

/// A connected peer.
pub(super) struct Peer {
    /// Where it is connected.
    pub(super) remote: Multiaddr,
    /// Where it says it listens.
    pub(super) listens: Vec<Multiaddr>,
    pub(super) agent: Option<String>,
    pub(super) latency: Option<Duration>,
    pub(super) since: SystemTime,
    /// Pings without an answer in a row, by connection.
    pub(super) unanswered: HashMap<ConnectionId, u8>,
    /// Until when it must have said who it is; none once it has.
    pub(super) identify_by: Option<Instant>,
}

impl Peer {
    pub(super) fn new(remote: Multiaddr, identify_by: Instant) -> Self {
        Self {
            remote,
            listens: Vec::new(),
            agent: None,
            latency: None,
            since: SystemTime::now(),
            unanswered: HashMap::new(),
            identify_by: Some(identify_by),
        }
    }

    /// Notes the outcome of a ping; returns true when the connection is to be given up.
    pub(super) fn on_ping(&mut self, connection: ConnectionId, took: Option<Duration>) -> bool {
        if took.is_some() {
            self.latency = took;
            self.unanswered.remove(&connection);
            return false;
        }
        let missed = self.unanswered.entry(connection).or_default();
        *missed = missed.saturating_add(1);
        *missed >= MAX_UNANSWERED
    }

    /// Returns every address known, the connected one first.
    pub(super) fn addresses(&self) -> Vec<Multiaddr> {
        let mut addresses = vec![self.remote.clone()];
        addresses.extend(self.listens.iter().filter(|address| **address != self.remote).cloned());
        addresses
    }
}

/// Connected peers by id.
pub(super) type Peers = HashMap<PeerId, Peer>;

/// Returns whether a peer's own words make it a pop node.
pub(super) fn is_ours(info: &identify::Info) -> bool {
    info.agent_version.starts_with("pop/")
        && info.protocols.iter().any(|protocol| protocol.as_ref().starts_with("/pop/"))
}

/// Returns a peer's agent string as it may be shown: short, and nothing a terminal would act on.
pub(super) fn printable(agent: &str) -> String {
    agent.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').take(MAX_AGENT).collect()
}

/// Returns those addresses of a peer that somebody else may try.
///
/// Loopback counts only if the peer itself is met there; another peer's id at the end is a lie.
pub(super) fn usable(peer: PeerId, remote: &Multiaddr, said: &[Multiaddr]) -> Vec<Multiaddr> {
    let near = is_loopback(remote);
    let mut kept: Vec<Multiaddr> = Vec::new();
    for address in said {
        let sane = !is_unspecified(address)
            && (near || !is_loopback(address))
            && peer_of(address).is_none_or(|named| named == peer)
            && address.iter().any(|part| matches!(part, Protocol::Tcp(_) | Protocol::Udp(_)));
        if sane && !kept.contains(address) {
            kept.push(address.clone());
        }
        if kept.len() == MAX_ADDRESSES {
            break;
        }
    }
    kept
}

fn is_loopback(address: &Multiaddr) -> bool {
    address.iter().any(|part| match part {
        Protocol::Ip4(ip) => ip.is_loopback(),
        Protocol::Ip6(ip) => ip.is_loopback(),
        _ => false,
    })
}

fn is_unspecified(address: &Multiaddr) -> bool {
    address.iter().any(|part| match part {
        Protocol::Ip4(ip) => ip.is_unspecified(),
        Protocol::Ip6(ip) => ip.is_unspecified(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_given_up_after_three_unanswered_pings_in_a_row() {
        let mut peer = Peer::new(Multiaddr::empty(), Instant::now());
        let (dead, slow) = (ConnectionId::new_unchecked(1), ConnectionId::new_unchecked(2));
        let took = Some(Duration::from_millis(7));
        assert_eq!([peer.on_ping(dead, None), peer.on_ping(slow, None)], [false, false]);
        assert_eq!([peer.on_ping(dead, None), peer.on_ping(slow, took)], [false, false]);
        assert_eq!([peer.on_ping(dead, None), peer.on_ping(slow, None)], [true, false]);
        assert_eq!(peer.latency, took);
    }

    #[test]
    fn an_agent_string_cannot_drive_the_terminal() {
        assert_eq!(printable("pop/1.0 \u{1b}[31mred\n\u{202e}"), "pop/1.0 [31mred");
        assert_eq!(printable(&"x".repeat(1000)).len(), MAX_AGENT);
    }

    #[test]
    fn addresses_that_lead_nowhere_are_not_kept() {
        let (peer, other) = (PeerId::random(), PeerId::random());
        let said: Vec<Multiaddr> = [
            "/ip4/0.0.0.0/tcp/1".to_owned(),
            "/ip4/127.0.0.1/tcp/1".to_owned(),
            "/ip4/192.0.2.7".to_owned(),
            format!("/ip4/192.0.2.7/tcp/1/p2p/{other}"),
            format!("/ip4/192.0.2.7/tcp/1/p2p/{peer}"),
            format!("/ip4/192.0.2.7/tcp/1/p2p/{peer}"),
            "/ip4/192.0.2.7/udp/1/quic-v1".to_owned(),
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
        let far = "/ip4/192.0.2.7/tcp/4".parse().unwrap();
        assert_eq!(usable(peer, &far, &said), [said[4].clone(), said[6].clone()]);
        let near = "/ip4/127.0.0.1/tcp/4".parse().unwrap();
        assert!(usable(peer, &near, &said).contains(&said[1]));
        let many: Vec<Multiaddr> =
            (1..100).map(|port| format!("/ip4/192.0.2.7/tcp/{port}").parse().unwrap()).collect();
        assert_eq!(usable(peer, &far, &many).len(), MAX_ADDRESSES);
    }
}
