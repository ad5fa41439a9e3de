//! Answers that share a connection: each has a task, and each is cut alone.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::task::TaskTracker;

use crate::figures::Cut;
use crate::server::watch::{StreamWatch, interval};
use crate::settings::Limits;

/// What moves on one stream.
#[derive(Default)]
pub(super) struct Flow {
    handed: AtomicU64,
    /// Whether it is the client that holds up the next bytes.
    is_blocked: AtomicBool,
    why: OnceLock<Cut>,
}

impl Flow {
    /// Counts bytes that the stream was given.
    pub(super) fn handed(&self, size: u64) {
        self.handed.fetch_add(size, Ordering::Relaxed);
        self.is_blocked.store(true, Ordering::Relaxed);
    }

    /// Notes that the stream has room, and waits for what it is to carry.
    pub(super) fn ask(&self) {
        self.is_blocked.store(false, Ordering::Relaxed);
    }

    /// Returns why the stream was cut, if it was.
    pub(super) fn why(&self) -> Option<Cut> {
        self.why.get().copied()
    }
}

/// Runs the streams of one connection.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: TaskTracker,
    limits: Arc<Limits>,
    /// The stream whose task comes next: the service is called, and at once its task is made.
    next: Arc<Mutex<Option<Arc<Flow>>>>,
}

impl Streams {
    pub(super) fn new(tasks: TaskTracker, limits: Arc<Limits>) -> Self {
        Self { tasks, limits, next: Arc::default() }
    }

    /// Begins a stream.
    pub(super) fn begin(&self) -> Arc<Flow> {
        let flow = Arc::<Flow>::default();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = Some(Arc::clone(&flow));
        flow
    }
}

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        let limits = Arc::clone(&self.limits);
        self.tasks.spawn(async move {
            match next {
                Some(flow) => run(stream, &flow, &limits).await,
                None => drop(stream.await),
            }
        });
    }
}

/// Runs a stream until it ends or is overdue; dropping it resets it.
async fn run(stream: impl Future, flow: &Flow, limits: &Limits) {
    let every = interval(limits);
    let now = Instant::now();
    let mut watch = StreamWatch::new(limits, now);
    let mut looks = interval_at((now + every).into(), every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stream = pin!(stream);
    loop {
        tokio::select! {
            biased;
            _ = stream.as_mut() => return,
            now = looks.tick() => {
                let handed = flow.handed.load(Ordering::Relaxed);
                let is_blocked = flow.is_blocked.load(Ordering::Relaxed);
                if let Some(why) = watch.on_look(handed, is_blocked, now.into()) {
                    let _ = flow.why.set(why);
                    return;
                }
            }
        }
    }
}
