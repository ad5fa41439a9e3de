//! The threads that read blocks: few, and always the same.
//!
//! A runtime starts a thread for blocking work whenever none is idle at that moment, and each keeps some MiB of the
//! memory that it had last. With a thousand clients that is more than all their answers hold.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::sync::{Semaphore, oneshot};

/// How many there are: enough to keep a disk busy.
const THREADS: usize = 8;

type Job = Box<dyn FnOnce() + Send>;

/// The threads, which end with this.
pub(crate) struct Readers {
    jobs: mpsc::Sender<Job>,
    /// One turn for each thread: no job waits behind another that a client has already left.
    turns: Arc<Semaphore>,
}

/// The work panicked, or no thread is there to do it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broken;

impl Readers {
    /// Starts the threads; fewer when the system gives no more.
    pub(crate) fn start() -> Self {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        let mut turns = 0;
        for _ in 0..THREADS {
            let waiting = Arc::clone(&waiting);
            match std::thread::Builder::new().name("gateway-read".to_owned()).spawn(move || work(&waiting)) {
                Ok(_) => turns += 1,
                Err(error) => tracing::error!(%error, "a thread that reads blocks could not be started"),
            }
        }
        Self { jobs, turns: Arc::new(Semaphore::new(turns)) }
    }

    /// Runs blocking work when its turn comes.
    ///
    /// Cancel safe: work that has begun goes on, and its result is dropped.
    ///
    /// # Errors
    /// The work panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Broken> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Broken)?;
        let (done, waiting) = oneshot::channel();
        let job = Box::new(move || {
            let result = work();
            drop(turn);
            // Nobody waits for it any more.
            let _ = done.send(result);
        });
        self.jobs.send(job).map_err(|_| Broken)?;
        waiting.await.map_err(|_| Broken)
    }
}

fn work(waiting: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // Its caller is told by the answer that never comes; the thread is needed by others.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

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

    #[tokio::test]
    async fn work_that_nobody_waits_for_gives_its_turn_back() {
        let readers = Readers::start();
        for _ in 0..10 * THREADS {
            drop(futures::future::select(Box::pin(readers.run(|| ())), std::future::ready(())).await);
        }
        assert!(readers.run(|| true).await.is_ok());
    }
}
