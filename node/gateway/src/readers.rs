//! The threads that read blocks: few, and always the same.
//!
//! A runtime starts a thread for blocking work whenever none is idle at that moment, and each keeps some MiB of the
//! memory that it had last. With a thousand clients that is more than all their answers hold.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How many there are: enough to keep a disk busy while the others wait for it.
const THREADS: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// The threads, which end with this.
///
/// A job waits for a thread and not for whoever wants its result: an answer whose client has stopped is not polled,
/// and a turn that it were given would be kept from all others.
pub(crate) struct Readers(Arc<Desk>);

/// Where jobs wait for a thread.
#[derive(Default)]
struct Desk {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    is_over: bool,
}

/// The work panicked, or no thread is there to do it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broken;

impl Readers {
    /// Starts the threads; fewer when the system gives no more.
    pub(crate) fn start() -> Self {
        let desk = Arc::<Desk>::default();
        let start = |_: &usize| {
            let desk = Arc::clone(&desk);
            let started =
                std::thread::Builder::new().name("gateway-read".to_owned()).spawn(move || desk.work());
            if let Err(error) = &started {
                tracing::error!(%error, "a thread that reads blocks could not be started");
            }
            started.is_ok()
        };
        let started = (0..THREADS).filter(start).count();
        desk.lock().is_over = started == 0;
        Self(desk)
    }

    /// Runs blocking work when its turn comes.
    ///
    /// Cancel safe: work that has begun goes on, and its result is dropped; other work is not begun.
    ///
    /// # Errors
    /// The work panicked, or there are no threads.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Broken> {
        let (done, result) = oneshot::channel();
        self.0.put(Box::new(move || {
            if !done.is_closed() {
                // Who waited for it may have left meanwhile.
                let _ = done.send(work());
            }
        }));
        result.await.map_err(|_| Broken)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.more.notify_all();
    }
}

impl Desk {
    fn put(&self, job: Job) {
        let mut waiting = self.lock();
        if !waiting.is_over {
            waiting.jobs.push_back(job);
            drop(waiting);
            self.more.notify_one();
        }
    }

    /// Does jobs until there will be no more.
    fn work(&self) {
        loop {
            let is_idle = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.is_over;
            let mut waiting =
                self.more.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
            let Some(job) = waiting.jobs.pop_front() else { return };
            drop(waiting);
            // Who waits for it is told by the result that never comes; the thread is needed by others.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing is done under the lock that could leave it half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_works_share_few_threads_and_survive_one_that_panics() {
        let readers = Arc::new(Readers::start());
        assert!(readers.run(|| panic!("as expected")).await.is_err());
        let works = (0..1000).map(|n| {
            let readers = Arc::clone(&readers);
            tokio::spawn(async move { readers.run(move || (n, std::thread::current().id())).await.unwrap() })
        });
        let done: Vec<_> = futures::future::join_all(works).await.into_iter().map(Result::unwrap).collect();
        assert!(done.iter().enumerate().all(|(at, (n, _))| at == *n));
        let threads: HashSet<_> = done.iter().map(|(_, thread)| *thread).collect();
        assert!(threads.len() <= THREADS);
    }

    /// Keeps every thread busy until what it returns is dropped.
    async fn busy(readers: &Readers) -> Vec<mpsc::Sender<()>> {
        let (begun, begins) = mpsc::channel();
        let mut stops = Vec::new();
        for _ in 0..THREADS {
            let (stop, stopped) = mpsc::channel::<()>();
            stops.push(stop);
            let begun = begun.clone();
            let mut work = Box::pin(readers.run(move || {
                begun.send(()).unwrap();
                let _ = stopped.recv();
            }));
            // What has begun goes on when nobody waits for it.
            assert!(futures::poll!(&mut work).is_pending());
            begins.recv().unwrap();
        }
        stops
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_not_begun() {
        let readers = Readers::start();
        let stops = busy(&readers).await;
        let (begun, begins) = mpsc::channel();
        let mut left = Box::pin(readers.run(move || begun.send(())));
        assert!(futures::poll!(&mut left).is_pending());
        drop((left, stops));
        assert!(readers.run(|| true).await.is_ok());
        assert!(begins.recv().is_err());
    }

    #[tokio::test]
    async fn who_stops_waiting_holds_up_nobody() {
        let readers = Readers::start();
        let stops = busy(&readers).await;
        let mut stopped: Vec<_> = (0..10 * THREADS).map(|n| Box::pin(readers.run(move || n))).collect();
        for one in &mut stopped {
            assert!(futures::poll!(one).is_pending());
        }
        drop(stops);
        assert!(readers.run(|| true).await.is_ok());
        for (n, one) in stopped.into_iter().enumerate() {
            assert_eq!(one.await.ok(), Some(n));
        }
    }
}
