//! Methods about this node and the others it knows.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use pop_rpc::{Error, ErrorCode, PeerEntry, PingParams, Pong, Result};

use crate::fault::Fault;
use crate::net::{PeerSummary, Target};
use crate::node::Node;

/// Longest wait for a peer's answer to a ping.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells who this node is, or asks another one.
pub(super) async fn ping(node: &Node, params: PingParams) -> Result<Pong> {
    match params.target {
        None => own(node).await,
        Some(target) => other(node, &target).await,
    }
}

async fn own(node: &Node) -> Result<Pong> {
    let addresses = node.net.listeners().await.map_err(Fault::fault)?;
    let peers = node.net.peers().await.map_err(Fault::fault)?;
    Ok(Pong::Own {
        peer_id: node.net.local_peer_id().to_string(),
        addresses: addresses.iter().map(ToString::to_string).collect(),
        peers: peers.iter().map(|peer| peer.peer.to_string()).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        gateway: node.gateway.get().map(|urls| urls.http.clone()),
        gateway_https: node.gateway.get().and_then(|urls| urls.https.clone()),
    })
}

async fn other(node: &Node, target: &str) -> Result<Pong> {
    let (reached, peer) = parse_target(target)?;
    let latency = node.net.ping(reached, PATIENCE).await.map_err(Fault::fault)?;
    let peers = node.net.peers().await.map_err(Fault::fault)?;
    let found = peers.into_iter().find(|known| match peer {
        Some(peer) => known.peer == peer,
        None => known.addresses.iter().any(|address| target.starts_with(&address.to_string())),
    });
    let agent = found.as_ref().and_then(|known| known.agent.clone()).unwrap_or_default();
    Ok(Pong::Peer {
        peer_id: peer.or(found.map(|known| known.peer)).map(|peer| peer.to_string()).unwrap_or_default(),
        version: agent.strip_prefix("pop/").unwrap_or(&agent).to_owned(),
        latency_s: latency.as_secs_f64(),
    })
}

/// Reads a peer id, or a multiaddr with the peer id where it has one.
fn parse_target(text: &str) -> Result<(Target, Option<PeerId>)> {
    if let Ok(peer) = text.parse::<PeerId>() {
        return Ok((peer.into(), Some(peer)));
    }
    let address: Multiaddr = text.parse().map_err(|_| {
        let message = format!("{text:?} is neither a peer id nor a multiaddr");
        Error::new(ErrorCode::Usage, message).with_hint("`pop peers` lists those that are connected")
    })?;
    let peer = address.iter().find_map(|part| match part {
        libp2p::multiaddr::Protocol::P2p(peer) => Some(peer),
        _ => None,
    });
    Ok((address.into(), peer))
}

/// Lists the connected nodes.
pub(super) async fn peers(node: &Node) -> Result<Vec<PeerEntry>> {
    let peers = node.net.peers().await.map_err(Fault::fault)?;
    Ok(peers.into_iter().map(|peer| entry(node, peer)).collect())
}

fn entry(node: &Node, peer: PeerSummary) -> PeerEntry {
    let regions = peer.topics.iter().filter_map(|topic| pop_wire::region_of(topic));
    let (score, why) = node.trade.standing(&peer.peer);
    PeerEntry {
        peer_id: peer.peer.to_string(),
        addresses: peer.addresses.iter().map(ToString::to_string).collect(),
        regions: regions.map(str::to_owned).collect(),
        latency_s: peer.latency.map(|latency| latency.as_secs_f64()),
        score,
        why,
    }
}

/// Reads a peer id.
pub(super) fn parse_peer(text: &str) -> Result<PeerId> {
    text.parse().map_err(|_| {
        let message = format!("{text:?} is no peer id");
        Error::new(ErrorCode::Usage, message).with_hint("`pop peers` lists those that are connected")
    })
}

/// Reads the multiaddr of a provider; a peer id alone stands for a connected one.
pub(super) fn parse_address(text: &str) -> Result<Multiaddr> {
    if let Ok(peer) = text.parse::<PeerId>() {
        return Ok(Multiaddr::empty().with(libp2p::multiaddr::Protocol::P2p(peer)));
    }
    text.parse().map_err(|_| {
        let message = format!("{text:?} is neither a multiaddr nor a peer id");
        Error::new(ErrorCode::Usage, message).with_hint("write it like /ip4/192.0.2.1/tcp/41504/p2p/12D3…")
    })
}
