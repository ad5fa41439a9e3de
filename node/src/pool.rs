//! The store pool: blocking disk work, off the runtime's threads and bounded in number.
//!
//! Tasks of the runtime never touch a disk; they hand a closure in and await its result. When the pool is
//! full, callers wait their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// More than this at once only makes one disk seek more.
const AT_ONCE: usize = 16;

/// The pool is closed: the node is stopping, or the work panicked.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the node is stopping")]
pub struct Stopped;

/// A cloneable handle on the pool.
#[derive(Clone, Debug)]
pub struct Pool {
    permits: Arc<Semaphore>,
    running: TaskTracker,
}

impl Pool {
    /// Makes a pool for the disk.
    pub fn new() -> Self {
        Self::of(AT_ONCE)
    }

    /// Makes a pool that does so much at once.
    pub fn of(at_once: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(at_once)), running: TaskTracker::new() }
    }

    /// Runs blocking work and returns its result.
    ///
    /// A dropped call leaves the work running to its end; pass a [`Cancel`] into long work.
    ///
    /// # Errors
    /// The pool is closed.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Stopped)?;
        let span = tracing::Span::current();
        let task = self.running.spawn_blocking(move || {
            let _permit = permit;
            span.in_scope(work)
        });
        task.await.map_err(|_| Stopped)
    }

    /// Refuses new work and waits until the running work has ended.
    pub async fn close(&self) {
        self.permits.close();
        self.running.close();
        self.running.wait().await;
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells long blocking work that nobody waits for it any more.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Returns true once the waiting side is gone.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns a guard that cancels when it is dropped.
    pub fn on_drop(&self) -> CancelGuard {
        CancelGuard(self.clone())
    }
}

/// Cancels its [`Cancel`] when dropped.
#[derive(Debug)]
pub struct CancelGuard(Cancel);

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn closed_pool_finishes_what_runs_and_refuses_more() {
        let pool = Pool::new();
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
        pool.close().await;
        assert!(pool.run(|| 7).await.is_err());
    }

    #[test]
    fn dropped_guard_cancels() {
        let cancel = Cancel::default();
        drop(cancel.on_drop());
        assert!(cancel.is_cancelled());
    }
}
