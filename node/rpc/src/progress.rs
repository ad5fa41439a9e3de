//! How far a long operation is: reported by the daemon, coalesced, and streamed to whoever watches.
//!
//! Reports never wait: a watcher that is slow sees fewer of them, the operation does not slow down for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::Error;

/// How far an operation is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// What it does now, in one word: `read`, `route`, `transfer`, `dispatch`, `write`.
    pub stage: String,
    /// The bytes of this stage that are done.
    pub done: u64,
    /// All bytes of this stage, where known.
    pub total: Option<u64>,
    /// Something that happened once, for people: `cached by 12D3…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a subscription to a long operation carries: any number of progress reports, then one of the other two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "{T}Event")]
pub enum Event<T> {
    /// It goes on.
    Progress(Progress),
    /// It is done; nothing follows.
    Done(T),
    /// It failed; nothing follows.
    Failed(Error),
}

/// Reports that wait for a slow watcher at most. Notes beyond it replace the latest one.
const WAITING: usize = 64;

/// The daemon's end: cloneable, callable from any thread, never blocks.
#[derive(Clone, Debug, Default)]
pub struct Reporter {
    queue: Option<Arc<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<VecDeque<Progress>>,
    arrived: Notify,
}

impl Reporter {
    /// Returns a reporter that nobody listens to.
    pub fn mute() -> Self {
        Self::default()
    }

    /// Returns a reporter whose reports [`Reporter::next`] yields.
    pub fn heard() -> Self {
        Self { queue: Some(Arc::default()) }
    }

    /// Reports that `done` of `total` bytes of `stage` are done.
    pub fn report(&self, stage: &str, done: u64, total: Option<u64>) {
        if self.queue.is_some() {
            self.push(Progress { stage: stage.to_owned(), done, total, note: None });
        }
    }

    /// Reports something that happened once.
    pub fn note(&self, stage: &str, note: impl Into<String>) {
        if self.queue.is_some() {
            self.push(Progress { stage: stage.to_owned(), note: Some(note.into()), ..Progress::default() });
        }
    }

    /// Waits for the next report; for ever when nobody can listen. Cancel safe.
    pub async fn next(&self) -> Progress {
        let Some(queue) = &self.queue else { return std::future::pending().await };
        loop {
            if let Some(report) = self.try_next() {
                return report;
            }
            queue.arrived.notified().await;
        }
    }

    /// Returns the next report that already waits.
    pub fn try_next(&self) -> Option<Progress> {
        let queue = self.queue.as_ref()?;
        queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn push(&self, report: Progress) {
        let Some(queue) = &self.queue else { return };
        let mut waiting = queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let supersedes = waiting.back().is_some_and(|last| {
            waiting.len() >= WAITING
                || (last.note.is_none() && report.note.is_none() && last.stage == report.stage)
        });
        if supersedes {
            waiting.pop_back();
        }
        waiting.push_back(report);
        drop(waiting);
        queue.arrived.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_one_stage_coalesce_and_notes_do_not() {
        let reporter = Reporter::heard();
        reporter.report("read", 1, None);
        reporter.report("read", 2, None);
        reporter.note("dispatch", "a");
        reporter.note("dispatch", "b");
        reporter.report("read", 3, Some(9));
        let seen: Vec<_> = std::iter::from_fn(|| reporter.try_next()).collect();
        assert_eq!(seen.len(), 4);
        assert_eq!(seen[0].done, 2);
        assert_eq!(seen[2].note.as_deref(), Some("b"));
    }

    #[test]
    fn a_watcher_that_never_reads_costs_bounded_memory() {
        let reporter = Reporter::heard();
        (0..10_000).for_each(|n| reporter.note("dispatch", n.to_string()));
        let seen: Vec<_> = std::iter::from_fn(|| reporter.try_next()).collect();
        assert_eq!(seen.len(), WAITING);
        assert_eq!(seen.last().and_then(|p| p.note.clone()).as_deref(), Some("9999"));
    }

    #[test]
    fn events_are_tagged_by_what_they_are() {
        let event: Event<u8> = Event::Done(7);
        assert_eq!(serde_json::to_string(&event).unwrap(), r#"{"done":7}"#);
    }
}
