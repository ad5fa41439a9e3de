//! The way out to the consumer of events, which never makes the swarm wait.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::event::{Counters, NetEvent};

/// Connection events kept for a consumer that is late: a few for each of 500 peers. Beyond it the oldest go.
const BACKLOG: usize = 4096;

/// A bounded channel with manners: streams and gossip are refused when it is full, connection events wait.
pub(super) struct Outbox {
    room: mpsc::Sender<NetEvent>,
    backlog: VecDeque<NetEvent>,
    counters: Arc<Counters>,
}

impl Outbox {
    pub(super) fn new(room: mpsc::Sender<NetEvent>, counters: Arc<Counters>) -> Self {
        Self { room, backlog: VecDeque::new(), counters }
    }

    /// Tells of a connection; kept for later when the channel is full.
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
    ///
    /// Leaves a quarter of the channel to streams: a flood of gossip must not refuse deals.
    pub(super) fn gossip(&mut self, event: NetEvent) -> bool {
        let crowded = self.room.capacity() < self.room.max_capacity().div_ceil(4);
        let taken = !crowded && self.backlog.is_empty() && self.room.try_send(event).is_ok();
        if !taken {
            self.counters.count_gossip_dropped();
        }
        taken
    }

    /// Hands over an inbound stream, or resets and counts it.
    pub(super) fn stream(&mut self, event: NetEvent) {
        if !self.backlog.is_empty() || self.room.try_send(event).is_err() {
            self.counters.count_stream_refused();
        }
    }
}
