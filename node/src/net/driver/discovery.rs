//! Meeting peers: whoever the routing table knows is dialled while few are connected, so that gossip meshes form.

use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::swarm::dial_opts::DialOpts;

use super::Driver;

/// The pause between looks at the routing table while too few peers are connected.
const PAUSE: Duration = Duration::from_secs(30);

/// Peers dialled in one look: dead entries of the table must not cause a storm of attempts.
const AT_ONCE: usize = 4;

/// When to look at the routing table next.
#[derive(Default)]
pub(super) struct Schedule {
    next: Option<Instant>,
}

impl Driver {
    /// Looks at the routing table from time to time.
    pub(super) fn discover(&mut self, now: Instant) {
        if self.peers.len() >= self.limits.target_peers || self.discovery.next.is_some_and(|next| next > now)
        {
            return;
        }
        self.discovery.next = Some(now + PAUSE);
        let known = self.strangers_to_meet();
        if known.is_empty() {
            return;
        }
        for peer in known {
            self.meet(peer);
        }
        if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
            // Fails only while the table is empty, and then there is nobody to ask.
            let _ = kad.bootstrap();
        }
    }

    /// Dials a peer of the routing table if more peers are wanted.
    pub(super) fn meet(&mut self, peer: PeerId) {
        let wanted = self.peers.len() < self.limits.target_peers && !self.peers.contains_key(&peer);
        if wanted && let Err(error) = self.swarm.dial(DialOpts::peer_id(peer).build()) {
            tracing::trace!(%peer, %error, "known peer not dialled");
        }
    }

    fn strangers_to_meet(&mut self) -> Vec<PeerId> {
        let connected = &self.peers;
        let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() else { return Vec::new() };
        let mut known = Vec::new();
        for bucket in kad.kbuckets() {
            known.extend(bucket.iter().map(|entry| *entry.node.key.preimage()));
        }
        known.retain(|peer| !connected.contains_key(peer));
        known.truncate(AT_ONCE);
        known
    }
}
