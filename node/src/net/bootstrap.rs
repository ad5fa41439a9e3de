//! The bootstrap list: peers the node keeps itself connected to, with growing pauses between attempts.
//!
//! A plain state machine: it is told what happened and when, and answers what to dial now.

use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// The pause after the first failure: long enough for a restarting daemon.
const SHORTEST: Duration = Duration::from_secs(2);

/// The longest pause: a bootstrap peer that returns is found again within it.
const LONGEST: Duration = Duration::from_secs(600);

/// Which entry of the list.
pub(super) type Index = usize;

/// The list and the state of each entry.
pub(super) struct Bootstrap {
    entries: Vec<Entry>,
}

struct Entry {
    address: Multiaddr,
    peer: Option<PeerId>,
    state: State,
    /// Attempts since a peer was last identified behind this entry.
    attempts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting {
        until: Instant,
    },
    Dialling,
    Up,
    /// The entry is this node itself.
    Dropped,
}

impl Bootstrap {
    /// Takes the list; this node's own entries and repeated ones are dropped.
    pub(super) fn new(addresses: &[Multiaddr], local: PeerId, now: Instant) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        for address in addresses {
            let peer = peer_of(address);
            if peer == Some(local) || entries.iter().any(|entry| entry.address == *address) {
                continue;
            }
            let state = State::Waiting { until: now };
            entries.push(Entry { address: address.clone(), peer, state, attempts: 0 });
        }
        Self { entries }
    }

    /// Returns what to dial now; each returned entry counts as being dialled.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Index, Multiaddr)> {
        let mut due = Vec::new();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if matches!(entry.state, State::Waiting { until } if until <= now) {
                entry.state = State::Dialling;
                due.push((index, entry.address.clone()));
            }
        }
        due
    }

    /// Hears that a dial of the list found a peer.
    pub(super) fn on_dialled(&mut self, index: Index, peer: PeerId) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.peer = Some(peer);
            entry.state = State::Up;
        }
    }

    /// Hears that a dial of the list failed; `spread` in `0.0..1.0` shifts the pause by up to a fifth.
    pub(super) fn on_failed(&mut self, index: Index, now: Instant, spread: f64) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.pause(now, spread);
        }
    }

    /// Hears that the entry is this node itself.
    pub(super) fn on_itself(&mut self, index: Index) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.state = State::Dropped;
        }
    }

    /// Hears that a peer connected, whoever dialled.
    pub(super) fn on_connected(&mut self, peer: PeerId) {
        for entry in self.of(peer) {
            if matches!(entry.state, State::Waiting { .. }) {
                entry.state = State::Up;
            }
        }
    }

    /// Hears that a peer proved to be one of ours; only this makes the pauses short again.
    pub(super) fn on_identified(&mut self, peer: PeerId) {
        for entry in self.of(peer) {
            entry.attempts = 0;
        }
    }

    /// Hears that the last connection with a peer is gone.
    pub(super) fn on_disconnected(&mut self, peer: PeerId, now: Instant, spread: f64) {
        for entry in self.of(peer).filter(|entry| entry.state == State::Up) {
            entry.pause(now, spread);
        }
    }

    fn of(&mut self, peer: PeerId) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().filter(move |entry| entry.peer == Some(peer))
    }
}

impl Entry {
    fn pause(&mut self, now: Instant, spread: f64) {
        let doubled = SHORTEST.saturating_mul(2_u32.saturating_pow(self.attempts.min(16)));
        let pause = doubled.min(LONGEST).mul_f64(0.8 + 0.4 * spread.clamp(0.0, 1.0));
        self.attempts = self.attempts.saturating_add(1);
        self.state = State::Waiting { until: now + pause };
    }
}

/// Returns the peer an address ends in.
pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVEN: f64 = 0.5;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn own_and_repeated_entries_are_dropped() {
        let (local, now) = (PeerId::random(), Instant::now());
        let plain = address("/ip4/192.0.2.1/tcp/1");
        let own = plain.clone().with(Protocol::P2p(local));
        let mut list = Bootstrap::new(&[plain.clone(), plain.clone(), own], local, now);
        assert_eq!(list.due(now), [(0, plain)]);
        assert_eq!(list.due(now), [], "an entry being dialled is not due");
        list.on_itself(0);
        assert_eq!(list.due(now + LONGEST * 2), []);
    }

    #[test]
    fn pauses_double_up_to_ten_minutes_and_spread_by_a_fifth() {
        let mut now = Instant::now();
        let mut list = Bootstrap::new(&[address("/ip4/192.0.2.1/tcp/1")], PeerId::random(), now);
        for pause in [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600] {
            assert_eq!(list.due(now).len(), 1);
            list.on_failed(0, now, EVEN);
            assert_eq!(list.due(now + Duration::from_secs(pause) - Duration::from_millis(1)), []);
            now += Duration::from_secs(pause) + Duration::from_millis(1);
        }
        assert_eq!(list.due(now).len(), 1);
        list.on_failed(0, now, 0.0);
        assert_eq!(list.due(now + Duration::from_secs(481)).len(), 1);
    }

    #[test]
    fn only_an_identified_peer_makes_pauses_short_again() {
        let (peer, now) = (PeerId::random(), Instant::now());
        let mut list = Bootstrap::new(&[address("/ip4/192.0.2.1/tcp/1")], PeerId::random(), now);
        let second = Duration::from_secs(1);
        list.due(now);
        list.on_dialled(0, peer);
        list.on_disconnected(peer, now, EVEN);
        assert_eq!(list.due(now + 3 * second).len(), 1);
        list.on_dialled(0, peer);
        list.on_disconnected(peer, now, EVEN);
        assert_eq!(list.due(now + 3 * second), [], "a stranger's second goodbye costs four seconds");
        assert_eq!(list.due(now + 5 * second).len(), 1);
        list.on_dialled(0, peer);
        list.on_identified(peer);
        list.on_disconnected(peer, now, EVEN);
        assert_eq!(list.due(now + 3 * second).len(), 1);
    }

    #[test]
    fn a_peer_that_came_by_itself_is_not_dialled() {
        let (peer, now) = (PeerId::random(), Instant::now());
        let entry = address("/ip4/192.0.2.1/tcp/1").with(Protocol::P2p(peer));
        let mut list = Bootstrap::new(&[entry], PeerId::random(), now);
        list.on_connected(peer);
        assert_eq!(list.due(now), []);
        list.on_disconnected(peer, now, EVEN);
        assert_eq!(list.due(now + Duration::from_secs(3)).len(), 1);
    }
}
