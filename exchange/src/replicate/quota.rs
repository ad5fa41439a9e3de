//! How much other peers may store here without paying.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p_identity::PeerId;
use pop_units::Bytes;

/// The quota counts what came within this time.
const WINDOW: Duration = Duration::from_secs(24 * 3600);
/// Peers that are remembered.
const PEERS: usize = 4096;

/// Why a copy is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaRefusal {
    /// The peer has stored enough today.
    #[error("quota of this peer is used up, {left} are left")]
    Used {
        /// What is left.
        left: Bytes,
    },
    /// The peer is being served already.
    #[error("too many copies for this peer are under way")]
    Busy,
    /// There is no room on this node.
    #[error("no room for {size}, {room} is free")]
    NoRoom {
        /// What the peer says it is.
        size: Bytes,
        /// What is free.
        room: Bytes,
    },
    /// Too many peers.
    #[error("too many peers store here")]
    Crowded,
}

#[derive(Debug)]
struct Share {
    used: Bytes,
    live: u32,
    since: Instant,
}

/// Bytes stored for each peer. A copy reserves the most it may take, and gives back what it did not.
#[derive(Debug)]
pub struct Quota {
    per_peer: Bytes,
    live_per_peer: u32,
    shares: HashMap<PeerId, Share>,
}

impl Quota {
    /// Allows `per_peer` bytes a day and `live_per_peer` copies at a time.
    pub fn new(per_peer: Bytes, live_per_peer: u32) -> Self {
        Self { per_peer, live_per_peer, shares: HashMap::new() }
    }

    /// Reserves for a copy that the peer says is `claimed` long, while `room` bytes are free. Returns the most
    /// bytes that may be pulled; the claim serves only to refuse early. Each success must be followed by one
    /// [`Quota::settle`].
    ///
    /// # Errors
    /// No copy is to be kept.
    pub fn reserve(
        &mut self,
        peer: PeerId,
        claimed: Bytes,
        room: Bytes,
        now: Instant,
    ) -> Result<Bytes, QuotaRefusal> {
        if claimed > room {
            return Err(QuotaRefusal::NoRoom { size: claimed, room });
        }
        if self.shares.len() >= PEERS && !self.shares.contains_key(&peer) {
            let is_fresh = |s: &Share| s.live > 0 || now.saturating_duration_since(s.since) < WINDOW;
            self.shares.retain(|_, share| is_fresh(share));
            if self.shares.len() >= PEERS {
                return Err(QuotaRefusal::Crowded);
            }
        }
        let share = self.shares.entry(peer).or_insert(Share { used: Bytes::ZERO, live: 0, since: now });
        if share.live == 0 && now.saturating_duration_since(share.since) >= WINDOW {
            *share = Share { used: Bytes::ZERO, live: 0, since: now };
        }
        let left = self.per_peer.saturating_sub(share.used);
        if claimed > left || left.is_zero() {
            return Err(QuotaRefusal::Used { left });
        }
        if share.live >= self.live_per_peer {
            return Err(QuotaRefusal::Busy);
        }
        share.live += 1;
        // Reserving the claim, and not more, lets several honest copies run side by side; whoever claims too
        // little is cut off at the claim.
        share.used = share.used.saturating_add(claimed);
        Ok(claimed)
    }

    /// Ends a copy that reserved `reserved` bytes and stored `stored`.
    pub fn settle(&mut self, peer: &PeerId, reserved: Bytes, stored: Bytes) {
        if let Some(share) = self.shares.get_mut(peer) {
            share.live = share.live.saturating_sub(1);
            share.used = share.used.saturating_sub(reserved).saturating_add(stored);
        }
    }
}
