//! The way out to the consumer of events, which never makes the swarm wait.
//!
//! When the channel is full: connects and disconnects wait in a bounded backlog, everything else is dropped and
//! counted. What a peer can repeat at will (gossip, subscriptions, identities) leaves a part of the channel free.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::event::{Counters, NetEvent};

/// Connects and disconnects kept for a consumer that is late: a few for each of 500 peers. Beyond it the oldest
/// go.
const BACKLOG: usize = 4096;

/// A bounded channel with manners.
pub(super) struct Outbox {
    room: mpsc::Sender<NetEvent>,
    backlog: VecDeque<NetEvent>,
    counters: Arc<Counters>,
}

impl Outbox {
    pub(super) fn new(room: mpsc::Sender<NetEvent>, counters: Arc<Counters>) -> Self {
        Self { room, backlog: VecDeque::new(), counters }
    }

    /// Tells that a peer came or went; kept for later when the channel is full.
    pub(super) fn tell(&mut self, event: NetEvent) {
        let late = if self.backlog.is_empty() {
            match self.room.try_send(event) {
                Ok(()) | Err(TrySendError::Closed(_)) => return,
                Err(TrySendError::Full(event)) => event,
            }
        } else {
            event
        };
        if self.backlog.len() >= BACKLOG {
            self.backlog.pop_front();
            self.counters.count_event_dropped();
        }
        self.backlog.push_back(late);
    }

    /// Returns whether connection events wait for the consumer.
    pub(super) fn is_late(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Hands over one waiting event once there is room. Cancel safe.
    pub(super) async fn forward(&mut self) {
        match self.room.reserve().await {
            Ok(permit) => {
                if let Some(event) = self.backlog.pop_front() {
                    permit.send(event);
                }
            }
            // Nobody listens any more.
            Err(_) => self.backlog.clear(),
        }
    }

    /// Hands over a gossip message, or counts it as dropped and returns false.
    pub(super) fn gossip(&mut self, event: NetEvent) -> bool {
        let taken = self.offer(event);
        if !taken {
            self.counters.count_gossip_dropped();
        }
        taken
    }

    /// Tells what can also be asked for later.
    pub(super) fn mention(&mut self, event: NetEvent) {
        if !self.offer(event) {
            self.counters.count_event_dropped();
        }
    }

    /// Hands over what must not crowd out streams: a flood of it must not refuse deals.
    fn offer(&mut self, event: NetEvent) -> bool {
        let crowded = self.room.capacity() <= self.room.max_capacity() / 4;
        !crowded && self.backlog.is_empty() && self.room.try_send(event).is_ok()
    }

    /// Hands over an inbound stream, or resets and counts it.
    pub(super) fn stream(&mut self, event: NetEvent) {
        if !self.backlog.is_empty() || self.room.try_send(event).is_err() {
            self.counters.count_stream_refused();
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    fn outbox(size: usize) -> (Outbox, mpsc::Receiver<NetEvent>, Arc<Counters>) {
        let (room, events) = mpsc::channel(size);
        let counters = Arc::new(Counters::default());
        (Outbox::new(room, Arc::clone(&counters)), events, counters)
    }

    fn subscribed() -> NetEvent {
        NetEvent::Subscribed { peer: PeerId::random(), topic: "t".to_owned() }
    }

    #[test]
    fn what_peers_repeat_leaves_a_quarter_of_the_channel() {
        let (mut outbox, events, counters) = outbox(8);
        for _ in 0..8 {
            outbox.mention(subscribed());
        }
        assert_eq!((events.len(), counters.events_dropped()), (6, 2));
        assert!(!outbox.gossip(subscribed()));
        assert_eq!(counters.gossip_dropped(), 1);
    }

    #[tokio::test]
    async fn connects_wait_for_a_late_consumer_in_order() {
        let (mut outbox, mut events, counters) = outbox(4);
        let peers: Vec<PeerId> = (0..BACKLOG + 5).map(|_| PeerId::random()).collect();
        for peer in &peers {
            outbox.tell(NetEvent::Connected { peer: *peer });
        }
        assert!(outbox.is_late());
        assert_eq!(counters.events_dropped(), 1, "four in the channel, the oldest of the backlog lost");
        let mut heard = Vec::new();
        while let Ok(NetEvent::Connected { peer }) = events.try_recv() {
            heard.push(peer);
            if outbox.is_late() {
                outbox.forward().await;
            }
        }
        assert_eq!(heard[..4], peers[..4]);
        assert_eq!(heard[4..], peers[5..]);
    }
}
