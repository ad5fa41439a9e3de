//! The blocks that one request may see: those that are here, and where the policy allows it those on their way.
//!
//! Work over blocks is a closure that reads what it needs and gives up at the first block that is not here. It is
//! done again when more has arrived, so it must have no effect but its result. Nothing here waits longer than the
//! settings say for the next step forward, nor [`STEPS`] times as long before the head of the answer, and whoever
//! stops waiting leaves the retrieval.

mod miss;
mod pace;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::StatusCode;
use pop_dag::{BlockSource, Buf, Cid, SourceError, What};
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, timeout};

use crate::content::{Arrival, Blocks, Hold, Miss, Retrieval, Wanted};
use crate::figures::Fetched;
use crate::refusal::Refusal;
use crate::request::lists::guard::{Denied, Guarded};
use crate::site::Site;

pub(crate) use self::pace::Paced;
use self::pace::{Awaited, Gone, Waiter};

/// How many times as long as one step a head may take in all: a search, a provider that falls silent, another
/// search, and the blocks of the path. Whoever sends a block just before each step is over holds it no longer.
const STEPS: u32 = 4;

/// The blocks of one request. Clones share the retrieval, which goes on as long as one of them lives.
#[derive(Clone)]
pub(crate) struct View(Arc<Shared>);

struct Shared {
    site: Arc<Site>,
    wanted: Wanted,
    /// Whether what is missing may be looked for elsewhere.
    may_fetch: bool,
    /// When the head is due; `None` for a time that no clock reaches.
    due: Option<Instant>,
    /// Whether the head is made.
    is_answered: AtomicBool,
    /// Begun by the first block that is missing, and once; then once more if that was for more and failed.
    fetches: [OnceCell<Result<Fetch, Miss>>; 2],
    /// Whether it was counted what came of the retrieval.
    is_counted: AtomicBool,
    /// What keeps the content here for an answer that takes its time; tried once.
    hold: OnceLock<Option<Hold>>,
}

/// A retrieval, as it is for this request.
struct Fetch {
    blocks: Blocks,
    arrival: watch::Receiver<Arrival>,
    is_wider: bool,
    _stay: Box<dyn std::any::Any + Send + Sync>,
}

/// Why work over blocks did not end.
#[derive(Debug)]
pub(crate) enum Gap {
    /// A block is not here. The work is done again when it has come.
    Missing(Cid),
    /// It will never end well.
    Failed(Refusal),
}

impl From<SourceError> for Gap {
    fn from(error: SourceError) -> Self {
        if let Some(refusal) = Denied::refusal(&error) {
            return Self::Failed(refusal);
        }
        if let Some(refusal) = Gone::refusal(&error) {
            return Self::Failed(refusal);
        }
        tracing::error!(%error, "blocks could not be read");
        Self::Failed(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "this node could not read its blocks"))
    }
}

impl View {
    /// Begins with the request, which is when the time of its head begins.
    pub(crate) fn new(site: Arc<Site>, wanted: Wanted, may_fetch: bool) -> Self {
        let due = Instant::now().checked_add(whole(&site));
        Self::due(site, wanted, may_fetch, due)
    }

    fn due(site: Arc<Site>, wanted: Wanted, may_fetch: bool, due: Option<Instant>) -> Self {
        Self(Arc::new(Shared {
            site,
            wanted,
            may_fetch,
            due,
            is_answered: AtomicBool::new(false),
            fetches: Default::default(),
            is_counted: AtomicBool::new(false),
            hold: OnceLock::new(),
        }))
    }

    /// Returns a view for something else below the same root. The time of the head goes on.
    pub(crate) fn of(&self, path: Vec<String>, what: What) -> Self {
        let Shared { site, wanted, may_fetch, due, .. } = &*self.0;
        Self::due(Arc::clone(site), Wanted { path, what, ..wanted.clone() }, *may_fetch, *due)
    }

    /// Notes that the head is made: from now on each step has its time, and all of them what an answer may take.
    pub(crate) fn answered(&self) {
        self.0.is_answered.store(true, Ordering::Relaxed);
    }

    pub(crate) fn site(&self) -> &Arc<Site> {
        &self.0.site
    }

    /// Returns whether something was missing and is being retrieved, or was.
    pub(crate) fn has_fetched(&self) -> bool {
        self.fetch().is_some()
    }

    /// Returns a small block that was read lately, without waiting.
    pub(crate) fn peek(&self, cid: &Cid) -> Option<Buf> {
        self.0.site.memory.block(cid, self.0.site.changes())
    }

    /// Runs work that needs few and small blocks, right here when they were read lately.
    ///
    /// Cancel safe: work that has begun ends with its next block, and its result is dropped.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) async fn read_small<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&dyn BlockSource) -> Result<T, Gap> + Send + 'static,
    ) -> Result<T, Refusal> {
        match work(&Guarded::new(&Remembered(self), &self.0.site.lists)) {
            Ok(value) => return Ok(value),
            Err(Gap::Failed(refusal)) => return Err(refusal),
            Err(Gap::Missing(_)) => {}
        }
        let site = Arc::clone(&self.0.site);
        self.read(move |blocks| work(&Guarded::new(&Remembering { blocks, site: &site }, &site.lists))).await
    }

    /// Runs work that needs few and small blocks over what is here, and returns nothing when a block is not.
    ///
    /// Cancel safe, as [`Self::read`].
    ///
    /// # Errors
    /// What the work says.
    pub(crate) async fn read_here<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&dyn BlockSource) -> Result<T, Gap> + Send + 'static,
    ) -> Result<Option<T>, Refusal> {
        match work(&Guarded::new(&Remembered(self), &self.0.site.lists)) {
            Ok(value) => return Ok(Some(value)),
            Err(Gap::Failed(refusal)) => return Err(refusal),
            Err(Gap::Missing(_)) => {}
        }
        let site = Arc::clone(&self.0.site);
        let blocks = site.content.blocks();
        let work = move |blocks: &dyn BlockSource| {
            work(&Guarded::new(&Remembering { blocks, site: &site }, &site.lists))
        };
        match self.attempt(work, blocks, None).await?.1 {
            Ok(value) => Ok(Some(value)),
            Err(Gap::Failed(refusal)) => Err(refusal),
            Err(Gap::Missing(_)) => Ok(None),
        }
    }

    /// Runs blocking work over the blocks, off the runtime's threads.
    ///
    /// When the work meets a missing block, the content is retrieved where the policy allows it, and the work is
    /// done again each time that more has come.
    ///
    /// Cancel safe: work that has begun ends with its next block, and its result is dropped.
    ///
    /// # Errors
    /// What the work says, or why the missing block is not to be had.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnMut(&dyn BlockSource) -> Result<T, Gap> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (mut work, mut missing) = (work, None);
        let [first, second] = &self.0.fetches;
        loop {
            // Noted before the work looks, so that nothing that comes meanwhile is slept through.
            let fetch = self.fetch();
            let mut seen = fetch.map(|fetch| fetch.arrival.clone());
            let ended = seen.as_mut().and_then(|arrival| arrival.borrow_and_update().ended.clone());
            let is_wider = fetch.is_some_and(|fetch| fetch.is_wider);
            let blocks = match fetch {
                Some(fetch) => Arc::clone(&fetch.blocks),
                None => self.0.site.content.blocks(),
            };
            let (back, done) = self.attempt(work, blocks, missing).await?;
            work = back;
            let cid = match done {
                Ok(value) => {
                    if seen.is_some() {
                        self.count(Fetched::Found);
                    }
                    return Ok(value);
                }
                Err(Gap::Failed(refusal)) => return Err(refusal),
                Err(Gap::Missing(cid)) => cid,
            };
            missing = Some(cid);
            match (seen, ended) {
                (None, _) => self.begin(&cid, first).await?,
                (Some(_), Some(Ok(()))) => return Err(self.lost(&cid)),
                (Some(_), Some(Err(miss))) if is_wider && miss::is_of_more(&miss) => {
                    self.begin(&cid, second).await?;
                }
                (Some(_), Some(Err(miss))) => return Err(self.missed(miss)),
                (Some(arrival), None) => self.wait(&cid, arrival).await?,
            }
        }
    }

    /// Is [`Self::read`] for answers that read on afterwards: from before this work on, the content is not evicted as
    /// long as the view lives.
    ///
    /// Cancel safe, as [`Self::read`].
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) async fn read_long<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&dyn BlockSource) -> Result<T, Gap> + Send + 'static,
    ) -> Result<T, Refusal> {
        let view = self.clone();
        let work = move |blocks: &dyn BlockSource| {
            view.hold();
            work(blocks)
        };
        self.read(work).await
    }

    /// Keeps the content here. Blocks.
    fn hold(&self) {
        // A retrieval keeps what it brings for all who wait for it.
        if !self.has_fetched() {
            self.0.hold.get_or_init(|| self.0.site.content.hold(&self.0.wanted.root));
        }
    }

    /// Runs the work once, as long as it is waited for and unless the block that was missing is still not here.
    async fn attempt<T: Send + 'static, W>(
        &self,
        mut work: W,
        blocks: Blocks,
        missing: Option<Cid>,
    ) -> Result<(W, Result<T, Gap>), Refusal>
    where
        W: FnMut(&dyn BlockSource) -> Result<T, Gap> + Send + 'static,
    {
        let site = Arc::clone(&self.0.site);
        let waiter = Waiter::default();
        let gone = waiter.gone();
        let attempt = move || {
            let blocks = Guarded::new(&*blocks, &site.lists);
            let blocks = Awaited { blocks: &blocks, gone: &gone };
            let done = match missing {
                Some(cid) => match blocks.has(&cid) {
                    Ok(true) => work(&blocks),
                    Ok(false) => Err(Gap::Missing(cid)),
                    Err(error) => Err(error.into()),
                },
                None => work(&blocks),
            };
            (work, done)
        };
        let done = self.0.site.readers.run(attempt).await;
        drop(waiter);
        done.map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the work for this answer broke"))
    }

    /// Returns the last retrieval, if there is one.
    fn fetch(&self) -> Option<&Fetch> {
        self.0.fetches.iter().rev().find_map(|fetch| fetch.get()?.as_ref().ok())
    }

    /// Begins the retrieval that `cid` is missing for, or joins the one of a clone.
    async fn begin(&self, cid: &Cid, at: &OnceCell<Result<Fetch, Miss>>) -> Result<(), Refusal> {
        if !self.0.may_fetch {
            return Err(self.not_here(cid));
        }
        let content = &self.0.site.content;
        let begun = at.get_or_init(async || {
            let Retrieval { blocks, arrival, is_wider, stay } =
                content.retrieve(self.0.wanted.clone()).await?;
            // Of the second one the failure counts, whatever it is of.
            let is_wider = is_wider && std::ptr::eq(at, &self.0.fetches[0]);
            Ok(Fetch { blocks, arrival, is_wider, _stay: stay })
        });
        let time = self.step().min(self.left());
        match timeout(time, begun).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(Miss::Local)) => Err(self.not_here(cid)),
            Ok(Err(miss)) => Err(self.missed(miss.clone())),
            Err(_) => Err(self.too_late("nobody was found who sends it", time)),
        }
    }

    /// Waits for the next step of the retrieval.
    async fn wait(&self, cid: &Cid, mut arrival: watch::Receiver<Arrival>) -> Result<(), Refusal> {
        let (step, left) = (self.step(), self.left());
        // Steps that come fast enough are there at once: they are not to hide that time is up.
        if !left.is_zero() {
            match timeout(step.min(left), arrival.changed()).await {
                Ok(Ok(())) => return Ok(()),
                // Whoever ran the retrieval is gone without a word.
                Ok(Err(_)) => return Err(self.lost(cid)),
                Err(_) => {}
            }
        }
        if left < step {
            let bytes = arrival.borrow().bytes.get();
            let tried = format!("{bytes} bytes came, and block {cid}, which the answer begins with, did not");
            return Err(self.too_late(&tried, whole(&self.0.site)));
        }
        Err(self.too_late(&format!("block {cid} was asked for and did not come"), step))
    }

    /// Returns how long a step may take.
    fn step(&self) -> Duration {
        self.0.site.settings.fetch_timeout
    }

    /// Returns how long the head may yet take.
    fn left(&self) -> Duration {
        match self.0.due {
            Some(due) if !self.0.is_answered.load(Ordering::Relaxed) => {
                due.saturating_duration_since(Instant::now())
            }
            Some(_) | None => Duration::MAX,
        }
    }

    fn not_here(&self, cid: &Cid) -> Refusal {
        let root = &self.0.wanted.root;
        let what = match cid == root {
            true => format!("{root} is not here"),
            false => format!("block {cid} of {root} is not here"),
        };
        let hint = match self.0.site.settings.fetch_for.is_empty() {
            true => "This node serves what it holds; with --gateway-fetch it looks for the rest elsewhere.",
            false => {
                "This node looks for content elsewhere only for those whom its --gateway-fetch names, and not \
                 when a page of another site leads them here."
            }
        };
        Refusal::new(StatusCode::NOT_FOUND, what).hint(hint)
    }

    /// Counts what came of the retrieval, once: what fails after something was found breaks an answer off, and is
    /// counted as that.
    fn count(&self, how: Fetched) {
        if !self.0.is_counted.swap(true, Ordering::Relaxed) {
            self.0.site.figures.fetched(how);
        }
    }

    fn missed(&self, miss: Miss) -> Refusal {
        self.count(miss::counted(&miss));
        miss.into()
    }

    fn lost(&self, cid: &Cid) -> Refusal {
        self.count(Fetched::Failed);
        let what = format!("block {cid} was not among what was retrieved of {}", self.0.wanted.root);
        Refusal::new(StatusCode::BAD_GATEWAY, what).retry_after(miss::SOON)
    }

    fn too_late(&self, tried: &str, within: Duration) -> Refusal {
        self.missed(Miss::TimedOut { tried: format!("{tried} within {} s", within.as_secs_f32()) })
    }
}

/// Returns how long a head may take.
fn whole(site: &Site) -> Duration {
    site.settings.fetch_timeout.saturating_mul(STEPS)
}

/// What was read lately, and nothing else.
struct Remembered<'a>(&'a View);

impl BlockSource for Remembered<'_> {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        Ok(self.0.peek(cid))
    }
}

/// Blocks that are remembered when they are small.
struct Remembering<'a> {
    blocks: &'a dyn BlockSource,
    site: &'a Site,
}

impl BlockSource for Remembering<'_> {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        let removals = self.site.changes();
        if let Some(block) = self.site.memory.block(cid, removals) {
            return Ok(Some(block));
        }
        let block = self.blocks.block(cid)?;
        if let Some(block) = &block {
            self.site.memory.keep_block(cid, block, removals);
        }
        Ok(block)
    }

    fn part(&self, cid: &Cid, range: Range<u64>) -> Result<Option<Buf>, SourceError> {
        self.blocks.part(cid, range)
    }

    fn has(&self, cid: &Cid) -> Result<bool, SourceError> {
        self.blocks.has(cid)
    }
}

#[cfg(test)]
mod tests;
