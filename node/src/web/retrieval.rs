//! Retrievals for requests: each content once at a time, however many ask for it, and only while somebody waits.
//!
//! A retrieval begins with the first request that misses content, and those that come for the same join it. When the
//! last of them leaves, it ends; what it has verified and paid for stays staged, and the next one goes on from there.
//! When everything has come by then, it still pays for it and keeps it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use pop_dag::unixfs::{self, EntryKind, ResolveError};
use pop_dag::{BlockSource, Buf, Cid, SourceError, What};
use pop_gateway::{Arrival, Blocks, Miss, Retrieval, Wanted};
use pop_store::{Held, Staging, Store};
use pop_units::{AttoFil, Bytes};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::terms::{Terms, miss};
use crate::pool::Pool;
use crate::trade::{FetchRequest, Follower, Trade};

/// Retrievals at once. Each may keep a batch of blocks in memory and a deal open.
const AT_ONCE: usize = 64;
/// How long the end of a retrieval waits for the last step to be told: a reader may be faster than the report.
const SETTLING: Duration = Duration::from_millis(250);
/// How long a retrieval that has everything may take to pay for it and to keep it.
const CLOSING: Duration = Duration::from_secs(30);
/// What a directory is shown by, if it is there.
const INDEX: &str = "index.html";

/// Content that is retrieved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    root: Cid,
    path: Vec<String>,
    what: What,
}

impl Key {
    /// Returns whether whoever retrieves this gets all of `other` too.
    fn covers(&self, other: &Self) -> bool {
        self.root == other.root
            && match self.what {
                What::All => other.path.starts_with(&self.path),
                What::Entity => other.what != What::All && other.path == self.path,
                What::Block => other == self,
            }
    }

    fn child(&self, name: &str) -> Self {
        let mut child = self.clone();
        child.path.push(name.to_owned());
        child
    }

    /// Returns the root and the directory that the path ends in.
    fn above(&self) -> Vec<Self> {
        let parent = self.path.len().checked_sub(1);
        let mut ends: Vec<usize> = parent.into_iter().flat_map(|end| [0, end]).collect();
        ends.dedup();
        ends.into_iter().map(|end| Self { path: self.path[..end].to_vec(), ..self.clone() }).collect()
    }
}

/// What one retrieval works with.
struct Way {
    key: Key,
    blocks: Arc<Arriving>,
    steps: Arc<watch::Sender<Arrival>>,
    /// Everybody who waited has left.
    left: CancellationToken,
}

/// What carries retrievals out.
pub(super) struct Retrievals {
    trade: Trade,
    store: Store,
    pool: Pool,
    terms: Terms,
    places: Arc<Semaphore>,
    running: Mutex<HashMap<Key, Weak<Flight>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A retrieval, as those who wait for it hold it; the last that lets go of it ends it.
struct Flight {
    blocks: Arc<Arriving>,
    arrival: watch::Receiver<Arrival>,
    _cancel: DropGuard,
}

impl Retrievals {
    pub(super) fn new(trade: Trade, store: Store, pool: Pool, terms: Terms) -> Self {
        Self {
            trade,
            store,
            pool,
            terms,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            running: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Begins a retrieval, or joins one that brings what is wanted.
    ///
    /// # Errors
    /// The policy is against it, the node is stopping, or too many run.
    pub(super) fn begin(self: &Arc<Self>, wanted: Wanted) -> Result<Retrieval, Miss> {
        if !self.terms.may_fetch() {
            return Err(Miss::Local);
        }
        if self.stop.is_cancelled() {
            return Err(Miss::Stopped);
        }
        let key = Key { root: wanted.root, path: wanted.path, what: wanted.what };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, flight| flight.strong_count() > 0);
        let joined = running.iter().filter(|(other, _)| other.covers(&key));
        let joined = joined.filter_map(|(other, flight)| Some((*other != key, flight.upgrade()?)));
        // One that is for more may fail for what is not wanted here, so one for the same comes first.
        let joined = joined.filter(|(_, flight)| !flight.is_over()).min_by_key(|(is_wider, _)| *is_wider);
        let (is_wider, flight) = match joined {
            Some(joined) => joined,
            None => {
                let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Miss::Busy)?;
                let flight = self.spawn(key.clone(), place);
                running.insert(key, Arc::downgrade(&flight));
                (false, flight)
            }
        };
        let blocks: Blocks = flight.blocks.clone();
        Ok(Retrieval { blocks, arrival: flight.arrival.clone(), is_wider, stay: Box::new(flight) })
    }

    fn spawn(self: &Arc<Self>, key: Key, place: OwnedSemaphorePermit) -> Arc<Flight> {
        let blocks = Arc::new(Arriving::new(self.store.clone()));
        let (steps, arrival) = watch::channel(Arrival::default());
        let cancel = self.stop.child_token();
        let span = tracing::info_span!("retrieval", root = %key.root);
        let (all, coming, left) = (Arc::clone(self), Arc::clone(&blocks), cancel.clone());
        let task = async move {
            let _place = place;
            let way = Way { key, blocks: coming, steps: Arc::new(steps), left };
            let ended = all.go(&way).await;
            tracing::debug!(path = way.key.path.join("/"), ?ended, "ended");
            way.steps.send_modify(|arrival| arrival.ended = Some(ended));
        };
        self.tasks.spawn(task.instrument(span));
        Arc::new(Flight { blocks, arrival, _cancel: cancel.drop_guard() })
    }

    /// Retrieves while somebody waits.
    async fn go(&self, way: &Way) -> Result<(), Miss> {
        let mut work = std::pin::pin!(self.run(way));
        tokio::select! {
            ended = &mut work => return ended,
            () = way.left.cancelled() => {}
        }
        if self.stop.is_cancelled() {
            return Err(Miss::Stopped);
        }
        tokio::select! {
            ended = &mut work => return ended,
            () = way.blocks.is_all_here(SETTLING) => {}
        }
        match way.blocks.has_all() {
            true => tokio::time::timeout(CLOSING, work).await.unwrap_or(Err(Miss::Stopped)),
            false => Err(Miss::Stopped),
        }
    }

    async fn run(&self, way: &Way) -> Result<(), Miss> {
        let (store, key) = (self.store.clone(), &way.key);
        let root = key.root;
        let held = self.pool.run(move || store.hold(&root)).await.map_err(|_| Miss::Stopped)?;
        // Set once: this is the only one that does.
        let _ = way.blocks.held.set(held);
        let spent = match self.fetch(way, key, key.what, AttoFil::ZERO).await {
            Err(none @ Miss::NotFound { .. }) => return Err(self.explain(way, none).await),
            fetched => fetched?,
        };
        if key.what == What::Entity && !way.left.is_cancelled() && self.has_index(way).await? {
            self.fetch(way, &key.child(INDEX), What::Entity, spent).await?;
        }
        Ok(())
    }

    /// Finds out whether a path that nobody offers exists: who has its directories and not the entry offers nothing.
    /// The root is the first to ask for: what it does not have is told by nothing below it.
    async fn explain(&self, way: &Way, none: Miss) -> Miss {
        let mut spent = AttoFil::ZERO;
        for above in way.key.above() {
            spent = match self.fetch(way, &above, What::Entity, spent).await {
                Ok(spent) => spent,
                Err(Miss::NotFound { .. }) => continue,
                Err(_) => return none,
            };
            if let Some(why) = self.absent(way).await {
                return Miss::NoPath { why };
            }
        }
        none
    }

    /// Returns why a path cannot exist, by what is here.
    async fn absent(&self, way: &Way) -> Option<String> {
        let (key, blocks) = (way.key.clone(), Arc::clone(&way.blocks));
        let looked = self.pool.run(move || {
            let absent = unixfs::resolve(&key.root, &key.path, &*blocks).err()?;
            let is_certain =
                matches!(absent, ResolveError::NotFound { .. } | ResolveError::NotADirectory { .. });
            is_certain.then(|| absent.to_string())
        });
        looked.await.ok().flatten()
    }

    /// Retrieves one part, after so much was spent; returns what has been spent now.
    async fn fetch(&self, way: &Way, key: &Key, what: What, spent: AttoFil) -> Result<AttoFil, Miss> {
        let request = FetchRequest {
            root: key.root,
            path: key.path.clone(),
            what,
            max_price: self.terms.max_price,
            max_spend: Some(self.terms.max_spend.saturating_sub(spent)),
            peers: Vec::new(),
            strategy: self.terms.strategy,
            timeout: self.terms.timeout,
        };
        let before = way.steps.borrow().bytes;
        let (blocks, steps) = (Arc::clone(&way.blocks), Arc::clone(&way.steps));
        blocks.all_here.store(false, Ordering::Release);
        let fetched = self.trade.fetch_followed(request, Arc::new(Steps { blocks, steps, before })).await;
        let fetched = fetched.map_err(|error| miss(error, self.terms.timeout))?;
        spent.checked_add(fetched.spent).map_err(|_| Miss::Refused { why: "the sum is too large".to_owned() })
    }

    /// Returns whether the path leads to a directory that is shown by its index page.
    async fn has_index(&self, way: &Way) -> Result<bool, Miss> {
        let (key, blocks) = (way.key.clone(), Arc::clone(&way.blocks));
        let looked = self.pool.run(move || {
            let found = unixfs::resolve(&key.root, &key.path, &*blocks).ok()?;
            let is_directory = found.kind == EntryKind::Directory;
            is_directory.then(|| unixfs::lookup(&found.cid, INDEX, &*blocks).ok().flatten()).flatten()
        });
        Ok(looked.await.map_err(|_| Miss::Stopped)?.is_some())
    }

    /// Returns how many run.
    pub(super) fn running(&self) -> u64 {
        u64::try_from(self.tasks.len()).unwrap_or(u64::MAX)
    }

    /// Ends what runs, and waits until it has ended.
    pub(super) async fn finish(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Whoever is dropped without being finished ends what runs all the same.
impl Drop for Retrievals {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Flight {
    fn is_over(&self) -> bool {
        self.arrival.borrow().ended.is_some()
    }
}

/// What is here, and what has come.
struct Arriving {
    store: Store,
    /// Stagings of the retrieval's parts. They stay readable after their commit.
    stagings: Mutex<Vec<Staging>>,
    /// Keeps what was retrieved from being evicted while it is read.
    held: OnceLock<Held>,
    /// Whether the part that is retrieved has come whole.
    all_here: AtomicBool,
    moved: Notify,
}

impl Arriving {
    fn new(store: Store) -> Self {
        Self {
            store,
            stagings: Mutex::default(),
            held: OnceLock::new(),
            all_here: AtomicBool::new(false),
            moved: Notify::new(),
        }
    }

    fn has_all(&self) -> bool {
        self.all_here.load(Ordering::Acquire)
    }

    /// Waits until everything has come, for at most so long.
    async fn is_all_here(&self, most: Duration) {
        let come = async {
            loop {
                let moved = self.moved.notified();
                if self.has_all() {
                    return;
                }
                moved.await;
            }
        };
        // Whoever waited looks for himself.
        let _ = tokio::time::timeout(most, come).await;
    }

    fn stagings(&self) -> Vec<Staging> {
        self.stagings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl BlockSource for Arriving {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        if let Some(data) = self.store.block(cid)? {
            return Ok(Some(data));
        }
        for staging in self.stagings() {
            if let Some(data) = staging.get_checked(cid).map_err(SourceError::new)? {
                return Ok(Some(data));
            }
        }
        // Committed between the two looks.
        self.store.block(cid)
    }

    fn part(&self, cid: &Cid, range: Range<u64>) -> Result<Option<Buf>, SourceError> {
        if let Some(part) = self.store.part(cid, range.clone())? {
            return Ok(Some(part));
        }
        for staging in self.stagings() {
            if let Some(part) = staging.part(cid, range.clone())? {
                return Ok(Some(part));
            }
        }
        self.store.part(cid, range)
    }

    fn has(&self, cid: &Cid) -> Result<bool, SourceError> {
        if BlockSource::has(&self.store, cid)? {
            return Ok(true);
        }
        for staging in self.stagings() {
            if BlockSource::has(&staging, cid)? {
                return Ok(true);
            }
        }
        BlockSource::has(&self.store, cid)
    }
}

/// Tells those who wait of each step.
struct Steps {
    blocks: Arc<Arriving>,
    steps: Arc<watch::Sender<Arrival>>,
    /// What came before this part.
    before: Bytes,
}

impl Follower for Steps {
    fn on_staging(&self, staging: &Staging) {
        let mut stagings = self.blocks.stagings.lock().unwrap_or_else(PoisonError::into_inner);
        stagings.push(staging.clone());
    }

    fn on_step(&self, held: Bytes, all: Option<Bytes>) {
        if all.is_some_and(|all| held >= all) {
            self.blocks.all_here.store(true, Ordering::Release);
            self.blocks.moved.notify_waiters();
        }
        let sum = self.before.saturating_add(held);
        self.steps.send_modify(|arrival| arrival.bytes = arrival.bytes.max(sum));
    }
}

#[cfg(test)]
mod tests;
