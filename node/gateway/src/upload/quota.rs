//! What one token may upload in 24 hours, as a plain state machine.
//!
//! Bytes of an upload that runs are held at once, and count from the moment it is kept; an upload that is not kept
//! gives them back, as nothing of it stays. In every window of 24 hours no more than the limit is kept: bytes count
//! until 24 hours after the end of the ten minutes in which they were kept, so that memory is bounded too.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use pop_units::Bytes;

/// How long bytes count.
pub(crate) const WINDOW: Duration = Duration::from_secs(24 * 3600);
/// Bytes kept within this share one entry: at most 145 are remembered.
pub(crate) const GRAIN: Duration = Duration::from_secs(600);

/// The account of one token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quota {
    kept: VecDeque<Kept>,
    /// Bytes of uploads that run.
    held: Bytes,
}

/// Bytes that were kept within one grain.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// The end of the grain.
    until: Instant,
    bytes: Bytes,
}

impl Kept {
    fn leaves(&self) -> Instant {
        self.until + WINDOW
    }
}

/// Why bytes are over the quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// They are more than the whole quota.
    Never,
    /// They fit after so long, if nothing else is kept meanwhile.
    Later(Duration),
}

impl Quota {
    /// Holds `more` for an upload that has `had` already.
    pub(crate) fn hold(&mut self, had: Bytes, more: Bytes, limit: Bytes, now: Instant) -> Result<(), Over> {
        if had.saturating_add(more) > limit {
            return Err(Over::Never);
        }
        self.forget(now);
        let used = self.used().saturating_add(more);
        if used <= limit {
            self.held = self.held.saturating_add(more);
            return Ok(());
        }
        Err(Over::Later(self.until_free(used.saturating_sub(limit), now)))
    }

    /// Ends an upload that held `held`: it was kept, or nothing of it was.
    pub(crate) fn end(&mut self, held: Bytes, is_kept: bool, now: Instant) {
        self.held = self.held.saturating_sub(held);
        if !is_kept || held.is_zero() {
            return;
        }
        match self.kept.back_mut() {
            Some(last) if now < last.until => last.bytes = last.bytes.saturating_add(held),
            _ => self.kept.push_back(Kept { until: now + GRAIN, bytes: held }),
        }
    }

    /// Returns whether nothing is left to remember.
    pub(crate) fn is_idle(&mut self, now: Instant) -> bool {
        self.forget(now);
        self.kept.is_empty() && self.held.is_zero()
    }

    fn used(&self) -> Bytes {
        self.kept.iter().fold(self.held, |sum, kept| sum.saturating_add(kept.bytes))
    }

    fn forget(&mut self, now: Instant) {
        while self.kept.front().is_some_and(|first| first.leaves() <= now) {
            self.kept.pop_front();
        }
    }

    /// Returns how long it takes until `missing` bytes no longer count. What runs will be kept, for all one knows.
    fn until_free(&self, missing: Bytes, now: Instant) -> Duration {
        let mut freed = Bytes::ZERO;
        for kept in &self.kept {
            freed = freed.saturating_add(kept.bytes);
            if freed >= missing {
                return kept.leaves().saturating_duration_since(now);
            }
        }
        WINDOW
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Bytes = Bytes::new(1000);

    fn bytes(count: u64) -> Bytes {
        Bytes::new(count)
    }

    #[test]
    fn what_is_kept_counts_for_a_day_and_what_is_not_for_nothing() {
        let (mut quota, start) = (Quota::default(), Instant::now());
        quota.hold(Bytes::ZERO, bytes(900), LIMIT, start).unwrap();
        quota.end(bytes(900), false, start);
        quota.hold(Bytes::ZERO, bytes(900), LIMIT, start).unwrap();
        quota.end(bytes(900), true, start);
        let later = Over::Later(WINDOW + GRAIN);
        assert_eq!(quota.hold(Bytes::ZERO, bytes(200), LIMIT, start), Err(later));
        assert_eq!(quota.hold(Bytes::ZERO, bytes(100), LIMIT, start), Ok(()));
        quota.end(bytes(100), false, start);
        assert_eq!(quota.hold(Bytes::ZERO, bytes(200), LIMIT, start + WINDOW + GRAIN), Ok(()));
    }

    #[test]
    fn uploads_that_run_share_what_is_left() {
        let (mut quota, now) = (Quota::default(), Instant::now());
        quota.hold(Bytes::ZERO, bytes(600), LIMIT, now).unwrap();
        assert_eq!(quota.hold(Bytes::ZERO, bytes(600), LIMIT, now), Err(Over::Later(WINDOW)));
        quota.end(bytes(600), false, now);
        assert_eq!(quota.hold(Bytes::ZERO, bytes(600), LIMIT, now), Ok(()));
    }

    #[test]
    fn what_can_never_fit_is_told_apart() {
        let (mut quota, now) = (Quota::default(), Instant::now());
        assert_eq!(quota.hold(Bytes::ZERO, bytes(1001), LIMIT, now), Err(Over::Never));
        quota.hold(Bytes::ZERO, bytes(1000), LIMIT, now).unwrap();
        assert_eq!(quota.hold(bytes(1000), bytes(1), LIMIT, now), Err(Over::Never));
        assert_eq!(quota.hold(Bytes::ZERO, Bytes::new(u64::MAX), LIMIT, now), Err(Over::Never));
        assert!(!quota.is_idle(now));
    }

    proptest! {
        /// Against a list of everything that was ever kept.
        #[test]
        fn no_window_ever_keeps_more_than_the_limit(
            uploads in prop::collection::vec((0_u64..20_000, 0_u64..700, any::<bool>()), 1..120),
        ) {
            let start = Instant::now();
            let (mut quota, mut log, mut now) = (Quota::default(), Vec::<(Instant, u64)>::new(), start);
            for (wait, size, is_kept) in uploads {
                now += Duration::from_secs(wait);
                let in_window = |within: Duration| -> u64 {
                    log.iter().filter(|(at, _)| now - *at < within).map(|(_, size)| size).sum()
                };
                match quota.hold(Bytes::ZERO, bytes(size), LIMIT, now) {
                    Ok(()) => {
                        quota.end(bytes(size), is_kept, now);
                        if is_kept {
                            log.push((now, size));
                            prop_assert!(log.iter().filter(|(at, _)| now - *at < WINDOW).map(|(_, s)| s).sum::<u64>() <= 1000);
                        }
                    }
                    Err(Over::Later(wait)) => {
                        // Refused only when a window one grain longer was full, and the promise is kept.
                        prop_assert!(in_window(WINDOW + GRAIN) + size > 1000);
                        prop_assert!(wait <= WINDOW + GRAIN);
                        let mut then = quota.clone();
                        prop_assert_eq!(then.hold(Bytes::ZERO, bytes(size), LIMIT, now + wait), Ok(()));
                    }
                    Err(Over::Never) => prop_assert!(false, "700 fit"),
                }
                prop_assert!(quota.kept.len() <= 146);
            }
            prop_assert!(quota.is_idle(now + WINDOW + GRAIN));
        }
    }
}
