//! One question of this node: on gossip or to named peers, again if nobody answers, until it is answered.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use pop_dag::{Cid, Scope};
use pop_exchange::offer::{Auction, Bid, Strategy, Unfit, check};
use pop_units::PricePerByte;
use pop_wire::offer::{Offer, SignedOffer};
use pop_wire::query::{Query, VERSION};
use pop_wire::{RequestId, limit, query_topic};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::answer::ask;
use super::error::{FetchError, told};
use super::quote::Quote;
use super::shared::{Reply, Shared, unix_seconds};

/// How long one round of gossip is given: dials across the world included.
const ROUND: Duration = Duration::from_secs(3);
/// Rounds that somebody heard and nobody answered, before the question is given up.
const SILENT_ROUNDS: u32 = 2;
/// Answers that wait to be looked at.
const REPLIES: usize = 64;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) root: Cid,
    pub(super) scope: Scope,
    pub(super) max_price: PricePerByte,
    /// Whom to ask; everybody when empty.
    pub(super) peers: Vec<Multiaddr>,
    pub(super) strategy: Strategy,
    pub(super) deadline: Instant,
}

/// A question that is open until this is dropped.
pub(super) struct Asking {
    shared: Arc<Shared>,
    question: Question,
    auction: Auction,
    replies: mpsc::Receiver<Reply>,
    sender: mpsc::Sender<Reply>,
    ids: Vec<RequestId>,
    heard_by: HashSet<PeerId>,
    round_ends: Instant,
    silent: u32,
    /// An offer was taken since the last round.
    is_stale: bool,
    unfit: Option<Unfit>,
    /// The cheapest offer above what is paid.
    dear: Option<Box<Offer>>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut tables = self.shared.tables();
        for id in &self.ids {
            tables.asked.close(id);
            tables.waiting.remove(id);
        }
    }
}

impl Asking {
    pub(super) fn new(shared: &Arc<Shared>, question: Question) -> Self {
        let (sender, replies) = mpsc::channel(REPLIES);
        Self {
            shared: Arc::clone(shared),
            auction: Auction::new(question.strategy, question.deadline),
            round_ends: Instant::now(),
            question,
            replies,
            sender,
            ids: Vec::new(),
            heard_by: HashSet::new(),
            silent: 0,
            is_stale: false,
            unfit: None,
            dear: None,
        }
    }

    /// Returns how many offers came, fit or not.
    pub(super) fn offers(&self) -> u64 {
        u64::try_from(self.auction.offers()).unwrap_or(u64::MAX)
    }

    /// Returns how many peers were asked.
    pub(super) fn asked(&self) -> usize {
        if self.is_gossip() { self.heard_by.len() } else { self.question.peers.len() }
    }

    /// Returns why the last unfit offer was left.
    pub(super) const fn unfit(&self) -> Option<&Unfit> {
        self.unfit.as_ref()
    }

    /// Returns the cheapest offer above what is paid.
    pub(super) fn take_dear(&mut self) -> Option<Box<Offer>> {
        self.dear.take()
    }

    /// Returns the next offer to try; `None` when nobody is left. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<SignedOffer>, FetchError> {
        if self.ids.is_empty() {
            self.begin_round().await?;
        }
        loop {
            while let Ok(reply) = self.replies.try_recv() {
                self.on_reply(reply);
            }
            let now = Instant::now();
            let until = match self.auction.next(now) {
                Bid::Take(signed) => {
                    self.is_stale = true;
                    return Ok(Some(*signed));
                }
                Bid::Nobody => return Ok(None),
                Bid::Wait(until) => until,
            };
            if self.is_gossip() && now >= self.round_ends {
                if !self.may_ask_again() {
                    return Ok(None);
                }
                self.begin_round().await?;
                continue;
            }
            self.wait(if self.is_gossip() { until.min(self.round_ends) } else { until }).await;
        }
    }

    async fn wait(&mut self, until: Instant) {
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            Some(reply) = self.replies.recv() => self.on_reply(reply),
            // Nobody could hear the question; now somebody can.
            () = shared.joined.notified(), if self.is_gossip() && self.heard_by.is_empty() => {
                self.round_ends = Instant::now();
            }
            () = sleep_until(until.into()) => {}
        }
    }

    fn is_gossip(&self) -> bool {
        self.question.peers.is_empty()
    }

    /// Once more for those who came since, if a deal has failed; otherwise until enough rounds were silent.
    fn may_ask_again(&self) -> bool {
        let is_answered = self.auction.offers() > 0 || self.unfit.is_some();
        if is_answered { self.is_stale } else { self.silent < SILENT_ROUNDS }
    }

    fn on_reply(&mut self, reply: Reply) {
        match reply {
            Reply::Offer(signed) => {
                // One too many changes nothing.
                self.auction.on_offer(*signed, Instant::now());
            }
            Reply::Unfit(peer, unfit, dear) => {
                tracing::debug!(%peer, %unfit, "offer left");
                if let Some(dear) = dear {
                    self.dear = Some(Quote::cheaper(self.dear.take(), dear));
                }
                self.unfit = Some(unfit);
            }
            Reply::AllAnswered => self.auction.on_complete(),
        }
    }

    async fn begin_round(&mut self) -> Result<(), FetchError> {
        self.round_ends = Instant::now() + ROUND;
        self.is_stale = false;
        let query = self.query().await?;
        self.ids.push(query.req_id);
        if !self.question.peers.is_empty() {
            self.ask_named(&query);
            return Ok(());
        }
        {
            let mut tables = self.shared.tables();
            let opened = tables.asked.ask(query.clone(), self.question.deadline, Instant::now());
            opened.map_err(|e| FetchError::TimedOut(e.to_string()))?;
            tables.waiting.insert(query.req_id, self.sender.clone());
        }
        let bytes = query.to_gossip().map_err(|e| FetchError::Refused { why: e.to_string(), quote: None })?;
        for region in &self.shared.policy.regions {
            let topic = query_topic(region);
            self.heard_by.extend(self.shared.net.subscribers(&topic).await?);
            if let Err(error) = self.shared.net.publish(&topic, bytes.clone()).await {
                tracing::debug!(%topic, error = %told(&error), "query was not published");
            }
        }
        if !self.heard_by.is_empty() {
            self.silent = self.silent.saturating_add(1);
        }
        Ok(())
    }

    async fn query(&self) -> Result<Query, FetchError> {
        let mut reply_addrs = self.shared.net.listeners().await?;
        reply_addrs.truncate(limit::REPLY_ADDRS);
        let left = self.question.deadline.saturating_duration_since(Instant::now());
        Ok(Query {
            v: VERSION,
            req_id: RequestId::new(rand::random()),
            root: self.question.root,
            scope: self.question.scope.clone(),
            max_price: self.question.max_price,
            ttl_s: u16::try_from(left.as_secs()).unwrap_or(u16::MAX),
            reply_addrs,
            chain: self.shared.purse.chain(),
        })
    }

    /// Asks each named peer; the auction is complete once all have answered.
    fn ask_named(&self, query: &Query) {
        let asks: Vec<_> = self
            .question
            .peers
            .iter()
            .cloned()
            .map(|address| {
                let (shared, query, sender) = (Arc::clone(&self.shared), query.clone(), self.sender.clone());
                async move {
                    if let Some(reply) = ask_address(&shared, address, &query).await {
                        // Nobody listens any more once the question is closed.
                        let _ = sender.send(reply).await;
                    }
                }
            })
            .collect();
        let sender = self.sender.clone();
        self.shared.spawn(async move {
            futures::future::join_all(asks).await;
            let _ = sender.send(Reply::AllAnswered).await;
        });
    }
}

async fn ask_address(shared: &Shared, address: Multiaddr, query: &Query) -> Option<Reply> {
    let peer = match peer_of(&address) {
        Some(peer) if address.iter().count() == 1 => peer,
        Some(_) | None => shared.net.dial(address.clone()).await.ok()?,
    };
    match ask(shared, peer, query).await {
        Ok(Some(signed)) => match check(&signed, &peer, query, unix_seconds()) {
            Ok(()) => Some(Reply::Offer(Box::new(signed))),
            Err(unfit) => Some(Reply::unfit(peer, unfit, signed)),
        },
        Ok(None) => None,
        Err(error) => {
            tracing::debug!(%peer, %error, "peer does not answer");
            None
        }
    }
}

fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    address.iter().find_map(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    })
}
