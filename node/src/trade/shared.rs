//! What the tasks of this room share: handles, and small tables behind locks that are never held while
//! waiting.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libp2p::PeerId;
use libp2p::identity::Keypair;
use pop_exchange::deal::Debts;
use pop_exchange::offer::Unfit;
use pop_exchange::replicate::{Authorisations, Quota};
use pop_exchange::route::{Asked, Heard};
use pop_keys::Address;
use pop_store::Store;
use pop_units::{AttoFil, Bytes, PricePerByte};
use pop_wallet::Hour;
use pop_wire::RequestId;
use pop_wire::offer::{Offer, SignedOffer};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::purse::Purse;
use crate::net::NetHandle;
use crate::pool::Pool;

/// Deals served at once. Each holds two batches of blocks in memory, so this bounds it to 128 MiB.
pub(super) const DEALS: usize = 32;
/// Substreams of one peer that are worked on at once; more are reset.
pub(super) const PER_PEER: u32 = 16;
/// Questions that are worked on at once: each may walk a DAG in the index.
pub(super) const ANSWERS: usize = 4;
/// Offers that are handed over at once.
pub(super) const DELIVERIES: usize = 32;
/// Proofs that are made at once for others: each reads a whole DAG, and deals need the disk too.
pub(super) const PROOFS: usize = 2;
/// Deals bought at once. Each may have a credit window of blocks in memory while the disk is behind, so this bounds it
/// to 256 MiB; more wait their turn.
pub(super) const BUYS: usize = 16;
/// Copies that are pulled at once.
pub(super) const PULLS: usize = 4;
/// Copies that are pulled at once for one peer.
const PULLS_PER_PEER: u32 = 2;
/// Peers whose record is kept.
const RECORDS: usize = 4096;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the owner allows.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    /// Regions whose queries are asked and answered.
    pub(super) regions: Vec<String>,
    /// What this node asks for.
    pub(super) price: PricePerByte,
    /// The most it spends in a day.
    pub(super) max_spend_per_day: Option<AttoFil>,
    /// What one peer may store here in a day without paying.
    pub(super) quota: Bytes,
}

/// What comes back to one of this node's questions.
pub(super) enum Reply {
    /// An offer that fits.
    Offer(Box<SignedOffer>),
    /// An offer that does not, and of whom; with the promise itself if only its price is in the way.
    Unfit(PeerId, Unfit, Option<Box<Offer>>),
    /// Everybody who was asked by name has answered.
    AllAnswered,
}

impl Reply {
    /// An offer that does not fit. Its price is worth telling only if its provider has signed it.
    pub(super) fn unfit(peer: PeerId, unfit: Unfit, signed: SignedOffer) -> Self {
        let is_dear = matches!(unfit, Unfit::TooDear { .. }) && signed.verify().is_ok();
        Self::Unfit(peer, unfit, is_dear.then(|| Box::new(signed.offer)))
    }
}

/// See the module.
pub(super) struct Shared {
    pub(super) net: NetHandle,
    pub(super) store: Store,
    pub(super) pool: Pool,
    pub(super) purse: Arc<dyn Purse>,
    pub(super) key: Keypair,
    pub(super) policy: Policy,
    pub(super) stop: CancellationToken,
    /// Set once the node drains: nothing new is begun.
    pub(super) draining: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) deals: Semaphore,
    pub(super) answers: Semaphore,
    pub(super) deliveries: Semaphore,
    pub(super) proofs: Semaphore,
    pub(super) buys: Semaphore,
    pub(super) pulls: Semaphore,
    /// A peer joined a topic.
    pub(super) joined: Notify,
    tables: Mutex<Tables>,
    /// A fetch or pull has ended; whoever waits for the same content looks again.
    freed: Notify,
}

/// The tables.
pub(super) struct Tables {
    pub(super) asked: Asked,
    pub(super) waiting: HashMap<RequestId, mpsc::Sender<Reply>>,
    pub(super) heard: Heard,
    pub(super) debts: Debts<Address>,
    pub(super) authorisations: Authorisations,
    pub(super) quota: Quota,
    busy: HashSet<String>,
    places: HashMap<PeerId, u32>,
    records: HashMap<PeerId, Record>,
    spent: VecDeque<(Instant, AttoFil)>,
    /// What deals under way may yet spend.
    promised: AttoFil,
}

impl Tables {
    /// Returns what may still be spent within a day.
    fn left_today(&mut self, most: AttoFil, now: Instant) -> AttoFil {
        while self.spent.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= DAY) {
            self.spent.pop_front();
        }
        let spent = AttoFil::checked_sum(self.spent.iter().map(|(_, amount)| *amount));
        let taken = spent.and_then(|spent| spent.checked_add(self.promised));
        taken.map_or(AttoFil::ZERO, |taken| most.saturating_sub(taken))
    }
}

/// How a peer has behaved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    pub(super) deals: u32,
    pub(super) received: Bytes,
    pub(super) faults: u32,
}

/// The handles that a [`Shared`] is made of.
pub(super) struct Handles {
    pub(super) net: NetHandle,
    pub(super) store: Store,
    pub(super) pool: Pool,
    pub(super) purse: Arc<dyn Purse>,
    pub(super) key: Keypair,
    /// What was spent before the start, in the hours of the day up to it.
    pub(super) spent: BTreeMap<Hour, AttoFil>,
}

impl Shared {
    pub(super) fn new(handles: Handles, policy: Policy, stop: CancellationToken) -> Arc<Self> {
        let Handles { net, store, pool, purse, key, spent } = handles;
        let tables = Tables {
            asked: Asked::default(),
            waiting: HashMap::new(),
            heard: Heard::default(),
            debts: Debts::default(),
            authorisations: Authorisations::default(),
            quota: Quota::new(policy.quota, PULLS_PER_PEER),
            busy: HashSet::new(),
            places: HashMap::new(),
            records: HashMap::new(),
            spent: spent.into_iter().map(|(hour, amount)| (moment(hour), amount)).collect(),
            promised: AttoFil::ZERO,
        };
        Arc::new(Self {
            net,
            store,
            pool,
            purse,
            key,
            policy,
            stop,
            draining: CancellationToken::new(),
            tasks: TaskTracker::new(),
            deals: Semaphore::new(DEALS),
            answers: Semaphore::new(ANSWERS),
            deliveries: Semaphore::new(DELIVERIES),
            proofs: Semaphore::new(PROOFS),
            buys: Semaphore::new(BUYS),
            pulls: Semaphore::new(PULLS),
            joined: Notify::new(),
            tables: Mutex::new(tables),
            freed: Notify::new(),
        })
    }

    /// Returns the tables. A panic elsewhere cannot leave them half changed: each change is one call.
    pub(super) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of a peer's places; `None` when it has them all.
    pub(super) fn place(self: &Arc<Self>, peer: PeerId) -> Option<Place> {
        let mut tables = self.tables();
        let count = tables.places.entry(peer).or_insert(0);
        if *count >= PER_PEER {
            return None;
        }
        *count += 1;
        Some(Place { shared: Arc::clone(self), peer })
    }

    /// Returns true while somebody works on the content named so.
    pub(super) fn is_busy(&self, name: &str) -> bool {
        self.tables().busy.contains(name)
    }

    /// Waits until nobody else works on the content named so. Cancel safe.
    pub(super) async fn turn(self: &Arc<Self>, name: &str) -> Turn {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.tables().busy.insert(name.to_owned()) {
                return Turn { shared: Arc::clone(self), name: name.to_owned() };
            }
            freed.await;
        }
    }

    /// Sets `cost` aside from what may be spent in a day, so that deals made at once do not each count on all
    /// of it. The last handle that is dropped gives back what was not paid.
    ///
    /// # Errors
    /// What is left, when it is less.
    pub(super) fn set_aside(self: &Arc<Self>, cost: AttoFil, now: Instant) -> Result<Arc<Spending>, AttoFil> {
        let cost = match self.policy.max_spend_per_day {
            None => AttoFil::ZERO,
            Some(most) => {
                let mut tables = self.tables();
                let left = tables.left_today(most, now);
                if cost > left {
                    return Err(left);
                }
                tables.promised = tables.promised.checked_add(cost).map_err(|_| left)?;
                cost
            }
        };
        Ok(Arc::new(Spending { shared: Arc::clone(self), cost, paid: Mutex::new(AttoFil::ZERO) }))
    }

    /// Takes note of how a deal with a peer went.
    pub(super) fn on_deal(&self, peer: PeerId, received: Bytes, is_fault: bool) {
        let mut tables = self.tables();
        if tables.records.len() >= RECORDS && !tables.records.contains_key(&peer) {
            return;
        }
        let record = tables.records.entry(peer).or_default();
        record.deals = record.deals.saturating_add(1);
        record.received = record.received.saturating_add(received);
        record.faults = record.faults.saturating_add(u32::from(is_fault));
    }

    /// Returns how a peer has behaved.
    pub(super) fn record(&self, peer: &PeerId) -> Record {
        self.tables().records.get(peer).copied().unwrap_or_default()
    }

    /// Spawns a task that ends with the node.
    pub(super) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            // Stopped before its end, it leaves what a crash would leave.
            let _ = stop.run_until_cancelled(task).await;
        });
    }
}

/// Money set aside for one deal. Whoever signs its vouchers holds it, so that a deal whose call is dropped is
/// not settled before the last voucher is known.
pub(super) struct Spending {
    shared: Arc<Shared>,
    cost: AttoFil,
    paid: Mutex<AttoFil>,
}

impl Spending {
    /// Takes note of a voucher that was signed.
    pub(super) fn on_voucher(&self, amount: AttoFil) {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        *paid = paid.checked_add(amount).unwrap_or(AttoFil::new(u128::MAX));
    }
}

impl Drop for Spending {
    fn drop(&mut self) {
        let paid = *self.paid.get_mut().unwrap_or_else(PoisonError::into_inner);
        if self.shared.policy.max_spend_per_day.is_none() {
            return;
        }
        let mut tables = self.shared.tables();
        tables.promised = tables.promised.saturating_sub(self.cost);
        if !paid.is_zero() {
            tables.spent.push_back((Instant::now(), paid));
        }
    }
}

/// One of a peer's places.
pub(super) struct Place {
    shared: Arc<Shared>,
    peer: PeerId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tables = self.shared.tables();
        if let Some(count) = tables.places.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                tables.places.remove(&self.peer);
            }
        }
    }
}

/// The right to work on some content.
pub(super) struct Turn {
    shared: Arc<Shared>,
    name: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shared.tables().busy.remove(&self.name);
        self.shared.freed.notify_waiters();
    }
}

/// Returns when an hour of the past ended. A clock that cannot be turned back so far has just been started: then it is now.
fn moment(hour: Hour) -> Instant {
    let ago = Duration::from_secs(unix_seconds().saturating_sub(hour.end()));
    let now = Instant::now();
    now.checked_sub(ago).unwrap_or(now)
}

/// Returns the seconds since 1970, zero for a clock that stands before it.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
