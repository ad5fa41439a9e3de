//! Retrieval: ask, choose, buy, keep; and the next offer when one fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};
use pop_dag::{Cid, Scope, What};
use pop_exchange::deal::Fault;
use pop_exchange::deal::client::Terms;
use pop_exchange::offer::Strategy;
use pop_rpc::Reporter;
use pop_store::{Room, Staging};
use pop_units::{AttoFil, Bytes, PricePerByte};
use pop_wire::offer::{Offer, SignedOffer};
use pop_wire::transfer::{Grant, Refusal};
use pop_wire::{DealId, TRANSFER};
use tokio::time::timeout;

use super::ask::{Asking, Question};
use super::buy::{Bought, Purchase, buy};
use super::error::{DealError, FetchError, told};
use super::lane::Lane;
use super::quote::Quote;
use super::shared::{Shared, Turn};
use super::staged::{Held, keep, resume, stage, staging_name};
use crate::net::Stream;

/// What one call spends at most unless it says otherwise. The size in an offer is only a claim, and money for all
/// of it is deposited before the first byte comes.
const SPEND: AttoFil = AttoFil::from_fil(10);
/// Offers that this store has no room for, before a retrieval is given up. One may be a lie; a second is an answer.
const NO_ROOM: u32 = 2;
/// What an offer's word alone may evict; the rest goes as verified blocks come.
const STEP: Bytes = Bytes::MIB.saturating_mul(64);
/// How long a provider waits for the first frame, less the time on the way: a substream that was opened before
/// is good for so long.
const PROBED: Duration = Duration::from_secs(5);

/// What to retrieve, and on which terms.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// The root.
    pub root: Cid,
    /// The path below it.
    pub path: Vec<String>,
    /// How much of what the path leads to.
    pub what: What,
    /// The most to pay for a byte.
    pub max_price: PricePerByte,
    /// The most to pay in all; 10 FIL if it is not said.
    pub max_spend: Option<AttoFil>,
    /// Whom to ask; everybody when empty. An address of nothing but `/p2p/PEER` is a connected peer.
    pub peers: Vec<Multiaddr>,
    /// Which offer to take.
    pub strategy: Strategy,
    /// How long to look for an offer. A transfer lasts as long as blocks come.
    pub timeout: Duration,
}

/// Who uses content while it comes. Its calls must not block.
pub trait Follower: Send + Sync {
    /// Hears where blocks come to. Those that are there are verified; they stay readable after the end as well.
    fn on_staging(&self, staging: &Staging);

    /// Hears of each step forward: how many bytes of what is wanted are here, and of how many by the word of the
    /// offer that brings them.
    fn on_step(&self, held: Bytes, all: Option<Bytes>);
}

/// What was retrieved.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Payload bytes of the blocks in scope.
    pub size: Bytes,
    /// Who sent the last of them; this node if all were here.
    pub provider: PeerId,
    /// How many offers came.
    pub offers: u64,
    /// What was paid.
    pub spent: AttoFil,
    /// How many vouchers were given.
    pub vouchers: u64,
    /// The time spent looking for offers.
    pub routing: Duration,
    /// The time spent in deals.
    pub transfer: Duration,
}

/// Retrieves content and keeps it. A dropped call leaves what is verified and paid for in a staging of its
/// own, where the next call for the same content goes on.
pub(super) async fn fetch(
    shared: &Arc<Shared>,
    request: FetchRequest,
    progress: Reporter,
    follower: Option<Arc<dyn Follower>>,
) -> Result<Fetched, FetchError> {
    let name = staging_name(&request);
    let turn = timeout(request.timeout, shared.turn(&name)).await;
    let turn = turn.map_err(|_| FetchError::TimedOut("the same content is being retrieved".into()))?;
    let (store, root) = (shared.store.clone(), request.root);
    let staging = shared.pool.run(move || stage(&store, &name, root)).await??;
    if let Some(follower) = &follower {
        follower.on_staging(&staging);
    }
    let job = Job {
        shared,
        progress,
        follower,
        scope: Scope { path: request.path.clone(), what: request.what },
        request,
        staging,
        bought: Bought::default(),
        held: Bytes::ZERO,
        provider: shared.net.local_peer_id(),
        offers: 0,
        routing: Duration::ZERO,
        transfer: Duration::ZERO,
        last: None,
        dear: None,
        no_room: 0,
        _turn: turn,
    };
    job.run().await
}

struct Job<'a> {
    shared: &'a Arc<Shared>,
    request: FetchRequest,
    progress: Reporter,
    follower: Option<Arc<dyn Follower>>,
    scope: Scope,
    staging: Staging,
    /// The sum of all deals.
    bought: Bought,
    /// Payload bytes in scope that are here.
    held: Bytes,
    provider: PeerId,
    offers: u64,
    routing: Duration,
    transfer: Duration,
    /// Why the last offer failed.
    last: Option<(PeerId, DealError)>,
    /// The cheapest offer that costs more than may be spent.
    dear: Option<Box<Offer>>,
    /// Offers that there was no room for.
    no_room: u32,
    _turn: Turn,
}

impl Job<'_> {
    async fn run(mut self) -> Result<Fetched, FetchError> {
        let result = self.work().await;
        let is_worthless = match &result {
            Err(FetchError::NoPath(_)) => true,
            Err(_) => self.staging.bytes().is_zero(),
            Ok(_) => false,
        };
        if is_worthless {
            let staging = self.staging.clone();
            if let Ok(Err(error)) = self.shared.pool.run(move || staging.discard()).await {
                tracing::warn!(error = %told(&error), "an empty staging stays");
            }
        }
        result
    }

    async fn work(&mut self) -> Result<Fetched, FetchError> {
        let mut asking: Option<Asking> = None;
        loop {
            let held = self.resume().await?;
            if held.walk.want().is_none() {
                return self.commit(held.walk.target().copied()).await;
            }
            let begun = Instant::now();
            let asking = match &mut asking {
                Some(asking) => asking,
                none => none.insert(Asking::new(self.shared, self.question())),
            };
            self.progress.report("route", 0, None);
            let taken = asking.next().await?;
            self.routing = self.routing.saturating_add(begun.elapsed());
            self.offers = asking.offers();
            let Some(signed) = taken else {
                return Err(self.verdict(asking).await);
            };
            self.step(self.held, None);
            // What came is verified and staged: only after a failure is it worth looking at again.
            if let Some(target) = self.attempt(signed, held).await {
                return self.commit(Some(target)).await;
            }
            let is_full = matches!(&self.last, Some((_, DealError::Store(error))) if error.is_full());
            self.no_room = self.no_room.saturating_add(u32::from(is_full));
            if self.no_room >= NO_ROOM {
                return Err(self.verdict(asking).await);
            }
        }
    }

    fn step(&self, held: Bytes, all: Option<Bytes>) {
        if let Some(follower) = &self.follower {
            follower.on_step(held, all);
        }
    }

    fn question(&self) -> Question {
        Question {
            root: self.request.root,
            scope: self.scope.clone(),
            max_price: self.request.max_price,
            peers: self.request.peers.clone(),
            strategy: self.request.strategy,
            deadline: Instant::now() + self.request.timeout,
        }
    }

    async fn resume(&mut self) -> Result<Held, FetchError> {
        let (staging, root, scope) = (self.staging.clone(), self.request.root, self.scope.clone());
        let held = self.shared.pool.run(move || resume(&staging, root, &scope)).await??;
        self.held = held.bytes;
        self.step(self.held, None);
        Ok(held)
    }

    /// Tries one offer; returns what the path leads to when everything came.
    async fn attempt(&mut self, signed: SignedOffer, held: Held) -> Option<Cid> {
        let begun = Instant::now();
        let provider = signed.offer.provider;
        let offer = Box::new(signed.offer.clone());
        let (bought, result) = match self.deal(signed, held).await {
            Ok(done) => done,
            Err(error) => (Bought::default(), Err(error)),
        };
        self.transfer = self.transfer.saturating_add(begun.elapsed());
        self.bought.bytes = self.bought.bytes.saturating_add(bought.bytes);
        self.bought.vouchers = self.bought.vouchers.saturating_add(bought.vouchers);
        self.bought.spent = self.bought.spent.checked_add(bought.spent).unwrap_or(self.bought.spent);
        if result.is_ok() || !bought.bytes.is_zero() {
            self.provider = provider;
            self.held = self.held.saturating_add(bought.bytes);
        }
        let is_fault = matches!(&result, Err(DealError::Peer(_) | DealError::Unreachable(_)));
        self.shared.on_deal(provider, bought.bytes, is_fault);
        if let Err(error) = result {
            tracing::debug!(%provider, error = %told(&error), "offer failed");
            self.progress.note("transfer", format!("{provider}: {error}"));
            if matches!(error, DealError::TooDear { .. }) {
                self.dear = Some(Quote::cheaper(self.dear.take(), offer));
            }
            self.last = Some((provider, error));
            return None;
        }
        bought.whole
    }

    async fn deal(
        &self,
        signed: SignedOffer,
        held: Held,
    ) -> Result<(Bought, Result<(), DealError>), DealError> {
        let (shared, offer) = (self.shared, &signed.offer);
        let _turn = shared.buys.acquire().await.map_err(|_| DealError::Stopped)?;
        let size = offer.size.saturating_sub(held.bytes);
        let cost = offer.price.cost_of(size).map_err(Fault::from)?;
        let budget = self.budget(cost)?;
        // Before a byte or an attoFIL moves: what does not fit is not begun, and what must go for it goes now.
        let _room = self.reserve(size).await?;
        // Held until the deal is over, so that what is under way counts as well.
        let spending = shared.set_aside(cost, Instant::now());
        let spending = spending.map_err(|left| DealError::TooDear { cost, budget: left, of: "today" })?;
        let deal = DealId::new(rand::random());
        // Before money is deposited for it: who cannot be reached is not worth a channel.
        let mut stream = open(shared, offer.provider).await?;
        let begun = Instant::now();
        let lane = match (&offer.payee, offer.price.is_free()) {
            (Some(payee), false) => Some(Lane::hold(shared, *payee, deal, cost).await?),
            (None, _) | (Some(_), true) => None,
        };
        self.step(held.bytes, None);
        if begun.elapsed() > PROBED {
            stream = open(shared, offer.provider).await?;
        }
        let terms = Terms {
            deal,
            root: self.request.root,
            scope: self.scope.clone(),
            size,
            price: offer.price,
            interval: offer.interval,
            interval_max: offer.interval_max,
            budget,
        };
        let total = offer.size.get();
        let purchase = Purchase {
            terms,
            hold: lane.as_ref().map(|lane| lane.hold.clone()),
            spending: Some(spending),
            staging: self.staging.clone(),
            walk: held.walk,
            skip: held.blocks,
            grant: Grant::Offer(Box::new(signed)),
        };
        let before = held.bytes;
        let mut told = |staged: Bytes| {
            let done = before.saturating_add(staged).get();
            self.progress.report("transfer", done, Some(total.max(done)));
            self.step(Bytes::new(done), Some(Bytes::new(total)));
        };
        Ok(buy(shared, stream, purchase, &mut told).await)
    }

    /// Makes room for what an offer says is still to come. The offer may lie: only the first step is evicted for
    /// before bytes are here.
    async fn reserve(&self, size: Bytes) -> Result<Room, DealError> {
        let (store, staging, root) = (self.shared.store.clone(), self.staging.clone(), self.request.root);
        let reserved = self.shared.pool.run(move || {
            let room = store.reserve_step(&root, size, STEP)?;
            staging.within(&room);
            Ok(room)
        });
        reserved.await?
    }

    /// Returns what this call may still spend, if that covers `cost`.
    fn budget(&self, cost: AttoFil) -> Result<AttoFil, DealError> {
        let (whole, of) = match self.request.max_spend {
            Some(most) => (most, "by --max-spend"),
            None => (SPEND, "without --max-spend"),
        };
        let budget = whole.saturating_sub(self.bought.spent);
        if cost > budget {
            return Err(DealError::TooDear { cost, budget, of });
        }
        Ok(budget)
    }

    async fn commit(&self, target: Option<Cid>) -> Result<Fetched, FetchError> {
        let (staging, request) = (self.staging.clone(), self.request.clone());
        self.shared.pool.run(move || keep(staging, &request, target)).await??;
        Ok(Fetched {
            size: self.held,
            provider: self.provider,
            offers: self.offers,
            spent: self.bought.spent,
            vouchers: self.bought.vouchers,
            routing: self.routing,
            transfer: self.transfer,
        })
    }

    /// Says why nothing came of it: the last deal's reason before an offer's, an offer's before silence.
    async fn verdict(&mut self, asking: &mut Asking) -> FetchError {
        let dear = match (self.dear.take(), asking.take_dear()) {
            (Some(one), Some(other)) => Some(Quote::cheaper(Some(one), other)),
            (one, other) => one.or(other),
        };
        let Some((peer, error)) = self.last.take() else {
            return match asking.unfit() {
                Some(unfit) => {
                    FetchError::Refused { why: unfit.to_string(), quote: Quote::of(self.shared, dear).await }
                }
                None => FetchError::NotFound { asked: asking.asked() },
            };
        };
        match error {
            DealError::Peer(fault) => of_fault(peer, fault),
            DealError::TooDear { .. } => {
                FetchError::Refused { why: error.to_string(), quote: Quote::of(self.shared, dear).await }
            }
            DealError::Unreachable(_) => FetchError::Broken { peer, fault: Box::new(Fault::Closed) },
            DealError::Store(error) => FetchError::Store(error),
            DealError::Purse(error) => FetchError::Purse(error),
            DealError::Stopped => FetchError::Stopped,
        }
    }
}

/// Opens a substream for a deal.
async fn open(shared: &Shared, provider: PeerId) -> Result<Stream, DealError> {
    let stream = shared.net.open(provider, TRANSFER).await;
    stream.map_err(|e| DealError::Unreachable(e.to_string()))
}

fn of_fault(peer: PeerId, fault: Fault) -> FetchError {
    match fault {
        Fault::Refused { code: Refusal::NotHere | Refusal::Internal, .. }
        | Fault::Closed
        | Fault::Cancelled { .. }
        | Fault::Silence { .. } => FetchError::Broken { peer, fault: Box::new(fault) },
        Fault::Refused { .. } | Fault::Budget { .. } | Fault::Price => {
            FetchError::Refused { why: fault.to_string(), quote: None }
        }
        _ => FetchError::BadData { peer, fault: Box::new(fault) },
    }
}
