//! Retrievals for requests: each content once at a time, however many ask for it, and only while somebody waits.
//!
//! A retrieval begins with the first request that misses content, and those that come for the same join it. When the
//! last of them leaves, it ends; what it has verified and paid for stays staged, and the next one goes on from there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use pop_dag::unixfs::{self, EntryKind};
use pop_dag::{BlockSource, Buf, Cid, SourceError, What};
use pop_gateway::{Arrival, Blocks, Miss, Retrieval, Wanted};
use pop_store::{Held, Staging, Store};
use pop_units::{AttoFil, Bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::terms::{Terms, miss};
use crate::pool::Pool;
use crate::trade::{FetchRequest, Follower, Trade};

/// Retrievals at once. Each may keep a batch of blocks in memory and a deal open.
const AT_ONCE: usize = 64;
/// What a directory is shown by, if it is there.
const INDEX: &str = "index.html";

/// Content that is retrieved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    root: Cid,
    path: Vec<String>,
    whole: bool,
}

impl Key {
    /// Returns whether whoever retrieves this gets all of `other` too.
    fn covers(&self, other: &Self) -> bool {
        self.root == other.root
            && match self.whole {
                true => other.path.starts_with(&self.path),
                false => !other.whole && other.path == self.path,
            }
    }
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
        let key = Key { root: wanted.root, path: wanted.path, whole: wanted.whole };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, flight| flight.strong_count() > 0);
        let joined = running.iter().filter(|(other, _)| other.covers(&key));
        let joined = joined.filter_map(|(_, flight)| flight.upgrade()).find(|flight| !flight.is_over());
        let flight = match joined {
            Some(flight) => flight,
            None => {
                let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Miss::Busy)?;
                let flight = self.spawn(key.clone(), place);
                running.insert(key, Arc::downgrade(&flight));
                flight
            }
        };
        let blocks: Blocks = flight.blocks.clone();
        Ok(Retrieval { blocks, arrival: flight.arrival.clone(), stay: Box::new(flight) })
    }

    fn spawn(self: &Arc<Self>, key: Key, place: OwnedSemaphorePermit) -> Arc<Flight> {
        let blocks = Arc::new(Arriving::new(self.store.clone()));
        let (steps, arrival) = watch::channel(Arrival::default());
        let cancel = self.stop.child_token();
        let span = tracing::info_span!("retrieval", root = %key.root);
        let (all, coming, left) = (Arc::clone(self), Arc::clone(&blocks), cancel.clone());
        let task = async move {
            let _place = place;
            let steps = Arc::new(steps);
            let work = all.run(&key, &coming, &steps);
            let ended = left.run_until_cancelled(work).await.unwrap_or(Err(Miss::Stopped));
            tracing::debug!(path = key.path.join("/"), ?ended, "ended");
            steps.send_modify(|arrival| arrival.ended = Some(ended));
        };
        self.tasks.spawn(task.instrument(span));
        Arc::new(Flight { blocks, arrival, _cancel: cancel.drop_guard() })
    }

    async fn run(
        &self,
        key: &Key,
        blocks: &Arc<Arriving>,
        steps: &Arc<watch::Sender<Arrival>>,
    ) -> Result<(), Miss> {
        let (store, root) = (self.store.clone(), key.root);
        let held = self.pool.run(move || store.hold(&root)).await.map_err(|_| Miss::Stopped)?;
        // Set once: this is the only one that does.
        let _ = blocks.held.set(held);
        let what = if key.whole { What::All } else { What::Entity };
        let spent = self.fetch(key, what, AttoFil::ZERO, (blocks, steps)).await?;
        if !key.whole && self.has_index(key, blocks).await? {
            let mut index = key.clone();
            index.path.push(INDEX.to_owned());
            self.fetch(&index, What::Entity, spent, (blocks, steps)).await?;
        }
        Ok(())
    }

    /// Retrieves one part, after so much was spent; returns what has been spent now.
    async fn fetch(
        &self,
        key: &Key,
        what: What,
        spent: AttoFil,
        (blocks, steps): (&Arc<Arriving>, &Arc<watch::Sender<Arrival>>),
    ) -> Result<AttoFil, Miss> {
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
        let before = steps.borrow().bytes;
        let follower = Steps { blocks: Arc::clone(blocks), steps: Arc::clone(steps), before };
        let fetched = self.trade.fetch_followed(request, Arc::new(follower)).await;
        let fetched = fetched.map_err(|error| miss(error, self.terms.timeout))?;
        spent.checked_add(fetched.spent).map_err(|_| Miss::Refused { why: "the sum is too large".to_owned() })
    }

    /// Returns whether the path leads to a directory that is shown by its index page.
    async fn has_index(&self, key: &Key, blocks: &Arc<Arriving>) -> Result<bool, Miss> {
        let (key, blocks) = (key.clone(), Arc::clone(blocks));
        let looked = self.pool.run(move || {
            let found = unixfs::resolve(&key.root, &key.path, &*blocks).ok()?;
            let is_directory = found.kind == EntryKind::Directory;
            is_directory.then(|| unixfs::lookup(&found.cid, INDEX, &*blocks).ok().flatten()).flatten()
        });
        Ok(looked.await.map_err(|_| Miss::Stopped)?.is_some())
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
}

impl Arriving {
    fn new(store: Store) -> Self {
        Self { store, stagings: Mutex::default(), held: OnceLock::new() }
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

    fn on_step(&self, held: Bytes) {
        let sum = self.before.saturating_add(held);
        self.steps.send_modify(|arrival| arrival.bytes = arrival.bytes.max(sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retrieval_covers_what_lies_below_it_only_when_it_is_of_everything() {
        let root: Cid = "bafkqaaa".parse().unwrap();
        let key = |path: &str, whole| Key {
            root,
            path: path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            whole,
        };
        let table = [
            (key("", true), key("a/b", false), true),
            (key("a", true), key("a/b", true), true),
            (key("a", true), key("ab", false), false),
            (key("a/b", true), key("a", false), false),
            (key("a", false), key("a", false), true),
            (key("a", false), key("a", true), false),
            (key("a", false), key("a/b", false), false),
        ];
        for (one, other, covers) in table {
            assert_eq!(one.covers(&other), covers, "{one:?} {other:?}");
        }
    }
}
