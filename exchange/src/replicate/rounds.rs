//! Whom to ask for a copy, and when to ask again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p_identity::PeerId;
use pop_units::ReplicationFactor;

/// What the caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many copies.
    pub rf: ReplicationFactor,
    /// How many more rounds after the first.
    pub attempts: u32,
    /// How long to wait before the second round; each later wait is twice as long, up to an hour.
    pub backoff: Duration,
    /// Whether only the peers that were named are asked.
    pub named_only: bool,
}

/// How asking a peer went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has a copy and has proved it.
    Confirmed,
    /// It said no, or its proof is wrong: it is not asked again.
    Refused,
    /// It could not be reached or broke off: it is asked again in the next round.
    Failed,
}

/// What the driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask these peers, and report each with [`Rounds::on_outcome`].
    Ask(Vec<PeerId>),
    /// Wait for outcomes of those who are being asked.
    Await,
    /// Call again then, with the peers that are known by then.
    Wait(Instant),
    /// As many copies as asked for, or nobody is left to ask.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Running,
    Confirmed,
    Refused,
    FailedIn(u32),
}

/// One dispatch of one root.
#[derive(Debug)]
pub struct Rounds {
    plan: Plan,
    named: Vec<PeerId>,
    asked: HashMap<PeerId, Asked>,
    round: u32,
    resume: Option<Instant>,
}

impl Rounds {
    /// The longest wait between two rounds.
    pub const BACKOFF_MAX: Duration = Duration::from_secs(3600);

    /// Starts a dispatch that asks `named` first.
    pub fn new(plan: Plan, named: Vec<PeerId>) -> Self {
        Self { plan, named, asked: HashMap::new(), round: 0, resume: None }
    }

    /// Says what to do, given the peers of the right regions that are known now, best first.
    pub fn next(&mut self, known: &[PeerId], now: Instant) -> Step {
        let missing = usize::from(self.plan.rf.get()).saturating_sub(self.count(Asked::Confirmed));
        if missing == 0 {
            return Step::Done;
        }
        let running = self.count(Asked::Running);
        if self.resume.is_some_and(|at| now < at) {
            return if running > 0 { Step::Await } else { Step::Wait(self.resume.unwrap_or(now)) };
        }
        self.resume = None;
        let ask = self.candidates(known, missing.saturating_sub(running));
        if !ask.is_empty() {
            self.asked.extend(ask.iter().map(|peer| (*peer, Asked::Running)));
            return Step::Ask(ask);
        }
        if running > 0 {
            return Step::Await;
        }
        if self.round >= self.plan.attempts {
            return Step::Done;
        }
        let doubled = self.plan.backoff.saturating_mul(1 << self.round.min(16));
        self.round += 1;
        let at = now + doubled.min(Self::BACKOFF_MAX);
        self.resume = Some(at);
        Step::Wait(at)
    }

    /// Takes note of how asking a peer went.
    pub fn on_outcome(&mut self, peer: &PeerId, outcome: Outcome) {
        if let Some(asked @ Asked::Running) = self.asked.get_mut(peer) {
            *asked = match outcome {
                Outcome::Confirmed => Asked::Confirmed,
                Outcome::Refused => Asked::Refused,
                Outcome::Failed => Asked::FailedIn(self.round),
            };
        }
    }

    /// Returns how many peers have confirmed.
    pub fn confirmed(&self) -> usize {
        self.count(Asked::Confirmed)
    }

    fn count(&self, state: Asked) -> usize {
        self.asked.values().filter(|asked| **asked == state).count()
    }

    fn candidates(&self, known: &[PeerId], most: usize) -> Vec<PeerId> {
        let others = known.iter().filter(|_| !self.plan.named_only);
        let mut picked: Vec<PeerId> = Vec::new();
        for peer in self.named.iter().chain(others) {
            if picked.len() >= most {
                break;
            }
            let may_ask = match self.asked.get(peer) {
                None => true,
                Some(Asked::FailedIn(round)) => *round < self.round,
                Some(Asked::Running | Asked::Confirmed | Asked::Refused) => false,
            };
            if may_ask && !picked.contains(peer) {
                picked.push(*peer);
            }
        }
        picked
    }
}
