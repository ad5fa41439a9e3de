//! Group commit: one sync of the disk serves everyone who was waiting when it began.
//!
//! A sync costs milliseconds and covers all that was written before it, so callers that arrive while one
//! runs share the next. After a sync fails nothing written since the last good one is known to be on disk
//! (the kernel may have dropped the pages), so every later caller gets the error until a reopen.

use std::io;

use parking_lot::{Condvar, Mutex};

#[derive(Default)]
struct Rounds {
    started: u64,
    done: u64,
    running: bool,
    failed: Option<(io::ErrorKind, String)>,
}

/// The waiters of one file.
#[derive(Default)]
pub(crate) struct GroupSync {
    rounds: Mutex<Rounds>,
    turned: Condvar,
}

impl GroupSync {
    /// Returns once a sync that began after this call has ended; the caller may be the one to run it.
    pub(crate) fn wait(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut rounds = self.rounds.lock();
        let mine = rounds.started.saturating_add(1);
        while rounds.running || rounds.done >= mine {
            if let Some((kind, text)) = &rounds.failed {
                return Err(io::Error::new(*kind, text.clone()));
            }
            if rounds.done >= mine {
                return Ok(());
            }
            self.turned.wait(&mut rounds);
        }
        if let Some((kind, text)) = &rounds.failed {
            return Err(io::Error::new(*kind, text.clone()));
        }
        rounds.running = true;
        rounds.started = mine.max(rounds.started.saturating_add(1));
        let round = rounds.started;
        drop(rounds);
        let outcome = sync();
        let mut rounds = self.rounds.lock();
        rounds.running = false;
        match &outcome {
            Ok(()) => rounds.done = round,
            Err(error) => {
                rounds.failed = Some((error.kind(), format!("a sync was refused, reopen to go on: {error}")));
            }
        }
        self.turned.notify_all();
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn waiters_share_syncs_and_none_returns_before_one_that_began_later() {
        let (group, syncs, written) = (GroupSync::default(), AtomicU32::new(0), AtomicU32::new(0));
        let durable = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let mine = written.fetch_add(1, Ordering::SeqCst) + 1;
                        group
                            .wait(|| {
                                let seen = written.load(Ordering::SeqCst);
                                syncs.fetch_add(1, Ordering::SeqCst);
                                std::thread::yield_now();
                                durable.fetch_max(seen, Ordering::SeqCst);
                                Ok(())
                            })
                            .unwrap();
                        assert!(durable.load(Ordering::SeqCst) >= mine);
                    }
                });
            }
        });
        assert!(syncs.load(Ordering::SeqCst) <= 400);
    }

    #[test]
    fn a_failed_sync_is_never_forgotten() {
        let group = GroupSync::default();
        assert!(group.wait(|| Err(io::Error::other("no"))).is_err());
        assert!(group.wait(|| Ok(())).is_err());
    }
}
