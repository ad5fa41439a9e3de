//! Questions: those this node asked and waits for, and those of others that it has heard.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use libp2p_identity::PeerId;
use pop_wire::RequestId;
use pop_wire::offer::SignedOffer;
use pop_wire::query::Query;

use crate::offer::{Unfit, check};

/// Questions of this node that may be open at once.
const ASKED: usize = 1024;
/// Questions of others that are remembered: two minutes of them at 64 a second.
const HEARD: usize = 8192;
/// Questions that one author may ask in [`RATE_WINDOW`]; a page of a few hundred files still loads.
const RATE: u32 = 512;
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// Authors whose rate is watched.
const AUTHORS: usize = 4096;

/// Too many questions are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ASKED} questions are open already")]
pub struct TooManyOpen;

/// This node's open questions, by request id.
#[derive(Debug, Default)]
pub struct Asked {
    open: HashMap<RequestId, (Query, Instant)>,
}

impl Asked {
    /// Opens a question until `deadline`.
    ///
    /// # Errors
    /// Too many are open.
    pub fn ask(&mut self, query: Query, deadline: Instant, now: Instant) -> Result<(), TooManyOpen> {
        if self.open.len() >= ASKED {
            self.open.retain(|_, (_, until)| *until > now);
        }
        if self.open.len() >= ASKED {
            return Err(TooManyOpen);
        }
        self.open.insert(query.req_id, (query, deadline));
        Ok(())
    }

    /// Matches an offer with its question.
    ///
    /// # Errors
    /// No question is open under its id, or the offer is unfit.
    pub fn on_offer(
        &self,
        signed: &SignedOffer,
        sender: &PeerId,
        now: Instant,
        now_s: u64,
    ) -> Result<RequestId, Unfit> {
        let id = signed.offer.req_id;
        let (query, until) = self.open.get(&id).ok_or(Unfit::NotAsked)?;
        if *until <= now {
            return Err(Unfit::NotAsked);
        }
        check(signed, sender, query, now_s)?;
        Ok(id)
    }

    /// Closes a question.
    pub fn close(&mut self, id: &RequestId) {
        self.open.remove(id);
    }

    /// Returns how many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Returns true when none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// The questions of others. Gossip may bring one twice, by several ways; the same question under a new id is
/// a new question.
#[derive(Debug, Default)]
pub struct Heard {
    known: HashSet<(PeerId, RequestId)>,
    order: VecDeque<(PeerId, RequestId)>,
    rates: HashMap<PeerId, (Instant, u32)>,
}

impl Heard {
    /// Returns true when the question deserves an answer: it is new, and its author does not ask too often.
    pub fn is_news(&mut self, author: PeerId, id: RequestId, now: Instant) -> bool {
        if self.known.contains(&(author, id)) || !self.is_within_rate(author, now) {
            return false;
        }
        if self.order.len() >= HEARD
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert((author, id));
        self.order.push_back((author, id));
        true
    }

    fn is_within_rate(&mut self, author: PeerId, now: Instant) -> bool {
        let is_fresh = |since: Instant| now.saturating_duration_since(since) < RATE_WINDOW;
        if self.rates.len() >= AUTHORS && !self.rates.contains_key(&author) {
            self.rates.retain(|_, (since, _)| is_fresh(*since));
            if self.rates.len() >= AUTHORS {
                return false;
            }
        }
        let (since, count) = self.rates.entry(author).or_insert((now, 0));
        if !is_fresh(*since) {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= RATE
    }
}

#[cfg(test)]
mod tests;
