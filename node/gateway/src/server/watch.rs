//! When a connection has kept everybody waiting for too long.
//!
//! A state machine that looks at a connection's counters now and then, so that nothing that happens often reads a
//! clock or sets a timer. What it finds overdue is late by at most two looks.

use std::time::{Duration, Instant};

use crate::figures::Cut;
use crate::settings::Limits;

/// How long a connection that is being closed may take to read the last answer: enough for a reader to see it
/// before unread bytes of its own make the system reset the connection.
const CLOSING: Duration = Duration::from_secs(5);

/// What a connection has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Bytes that came.
    pub(super) read: u64,
    /// Bytes that the client's side of the connection took.
    pub(super) written: u64,
    /// Whether bytes wait to be taken.
    pub(super) is_blocked: bool,
    /// Requests that began.
    pub(super) begun: u64,
    /// Requests that are being answered.
    pub(super) open: usize,
    /// Bytes that had come when the last request began.
    pub(super) read_before: u64,
    /// Whether requests come over HTTP/2, where bytes may come at any time.
    pub(super) is_multiplexed: bool,
    /// Whether the connection is only being read to its end.
    pub(super) is_closing: bool,
}

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A request to begin, after so many.
    Idle(u64),
    /// The rest of a request's head, after so many requests; the first one is waited for from the start.
    Head(u64),
    /// The end of the answer that began with this request.
    Answer(u64),
    /// The client to close.
    Closing,
}

/// Watches one connection.
#[derive(Debug)]
pub(super) struct Watch {
    bounds: Bounds,
    phase: Phase,
    since: Instant,
    /// Bytes that were taken when the client last was seen to take any or had nothing to take, and when that was.
    moved: (u64, Instant),
}

/// How long each may take.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    idle: Duration,
    head: Duration,
    stall: Duration,
    whole: Duration,
}

/// Returns how often to look: often enough for the shortest bound, and so seldom that thousands of connections at
/// rest cost nothing.
pub(super) fn interval(limits: &Limits) -> Duration {
    let shortest = limits.head.min(limits.idle).min(limits.stall).min(limits.whole).min(CLOSING);
    (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(3))
}

impl Watch {
    /// Begins when the connection does.
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let bounds =
            Bounds { idle: limits.idle, head: limits.head, stall: limits.stall, whole: limits.whole };
        Self { bounds, phase: Phase::Head(0), since: now, moved: (0, now) }
    }

    /// Looks at the connection, and returns why it is to be cut, if it is.
    pub(super) fn on_look(&mut self, seen: Seen, now: Instant) -> Option<Cut> {
        if !seen.is_blocked || self.moved.0 != seen.written {
            self.moved = (seen.written, now);
        }
        if now.saturating_duration_since(self.moved.1) >= self.bounds.stall {
            return Some(Cut::Stalled);
        }
        let phase = self.phase_of(seen);
        if phase != self.phase {
            self.phase = phase;
            self.since = now;
        }
        let taken = now.saturating_duration_since(self.since);
        match phase {
            Phase::Idle(_) => (taken >= self.bounds.idle).then_some(Cut::Idle),
            Phase::Head(_) => (taken >= self.bounds.head).then_some(Cut::Head),
            // Streams of one connection have watches of their own.
            Phase::Answer(_) if seen.is_multiplexed => None,
            Phase::Answer(_) => (taken >= self.bounds.whole).then_some(Cut::Whole),
            Phase::Closing => (taken >= CLOSING).then_some(Cut::Idle),
        }
    }

    fn phase_of(&self, seen: Seen) -> Phase {
        match seen {
            Seen { is_closing: true, .. } => Phase::Closing,
            Seen { open: 0, begun: 0, .. } => Phase::Head(0),
            Seen { open: 0, is_multiplexed: true, begun, .. } => Phase::Idle(begun),
            Seen { open: 0, read, read_before, begun, .. } if read > read_before => Phase::Head(begun),
            Seen { open: 0, begun, .. } => Phase::Idle(begun),
            Seen { begun, .. } => Phase::Answer(begun),
        }
    }
}

/// Watches one answer of several on a connection.
#[derive(Debug)]
pub(super) struct StreamWatch {
    stall: Duration,
    whole: Duration,
    began: Instant,
    moved: (u64, Instant),
}

impl StreamWatch {
    /// Begins when the request does.
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        Self { stall: limits.stall, whole: limits.whole, began: now, moved: (0, now) }
    }

    /// Looks at how many bytes were handed on, and whether it is the client that holds up the next ones.
    pub(super) fn on_look(&mut self, handed: u64, is_blocked: bool, now: Instant) -> Option<Cut> {
        if !is_blocked || self.moved.0 != handed {
            self.moved = (handed, now);
        }
        if now.saturating_duration_since(self.moved.1) >= self.stall {
            return Some(Cut::Stalled);
        }
        (now.saturating_duration_since(self.began) >= self.whole).then_some(Cut::Whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let seconds = Duration::from_secs;
        Limits {
            head: seconds(10),
            idle: seconds(75),
            stall: seconds(30),
            whole: seconds(3600),
            ..Limits::default()
        }
    }

    /// Shows each state at its second and returns what the last one led to, after none before.
    fn after(steps: &[(u64, Seen)]) -> Option<Cut> {
        let start = Instant::now();
        let mut watch = Watch::new(&limits(), start);
        let mut last = None;
        for (second, seen) in steps {
            assert_eq!(last, None, "cut before second {second}");
            last = watch.on_look(*seen, start + Duration::from_secs(*second));
        }
        last
    }

    #[test]
    fn a_connection_that_says_nothing_has_as_long_as_a_head() {
        let silent = Seen::default();
        assert_eq!(after(&[(3, silent), (9, silent)]), None);
        assert_eq!(after(&[(3, silent), (10, silent)]), Some(Cut::Head));
    }

    #[test]
    fn a_head_that_drips_gains_no_time() {
        let drip = |read| Seen { read, ..Seen::default() };
        assert_eq!(after(&[(2, drip(1)), (5, drip(2)), (9, drip(3)), (10, drip(4))]), Some(Cut::Head));
    }

    #[test]
    fn between_requests_there_is_more_time_until_one_begins() {
        let rest = Seen { read: 100, read_before: 100, begun: 1, ..Seen::default() };
        let drip = Seen { read: 101, ..rest };
        assert_eq!(after(&[(2, rest), (76, rest)]), None);
        assert_eq!(after(&[(2, rest), (77, rest)]), Some(Cut::Idle));
        assert_eq!(after(&[(2, rest), (60, drip), (69, drip)]), None);
        assert_eq!(after(&[(2, rest), (60, drip), (70, drip)]), Some(Cut::Head));
    }

    #[test]
    fn requests_that_are_answered_between_two_looks_count() {
        let rest = |begun| Seen { read: 100 * begun, read_before: 100 * begun, begun, ..Seen::default() };
        assert_eq!(after(&[(2, rest(1)), (70, rest(2)), (140, rest(3)), (210, rest(4))]), None);
        let drip = |begun| Seen { read: 100 * begun + 1, ..rest(begun) };
        assert_eq!(after(&[(2, drip(1)), (11, drip(2)), (20, drip(3)), (29, drip(4))]), None);
    }

    #[test]
    fn frames_of_http2_are_not_the_head_of_a_request() {
        let rest = Seen { read: 100, read_before: 50, begun: 1, is_multiplexed: true, ..Seen::default() };
        assert_eq!(after(&[(2, rest), (60, Seen { read: 200, ..rest })]), None);
        assert_eq!(after(&[(2, rest), (60, Seen { read: 200, ..rest }), (80, rest)]), Some(Cut::Idle));
    }

    #[test]
    fn a_client_that_takes_nothing_is_cut_and_one_that_is_slow_is_not() {
        let answer = |written, is_blocked| Seen { begun: 1, open: 1, written, is_blocked, ..Seen::default() };
        let stuck = answer(500, true);
        assert_eq!(after(&[(5, stuck), (20, stuck), (34, stuck)]), None);
        assert_eq!(after(&[(5, stuck), (20, stuck), (35, stuck)]), Some(Cut::Stalled));
        assert_eq!(after(&[(5, stuck), (34, answer(501, true)), (63, answer(501, true))]), None);
        // What the gateway itself waits for is not the client's fault.
        assert_eq!(after(&[(5, answer(500, false)), (300, answer(500, false)), (329, stuck)]), None);
    }

    #[test]
    fn an_answer_has_a_last_moment_and_the_next_one_its_own() {
        let answer = |begun| Seen { begun, open: 1, ..Seen::default() };
        assert_eq!(after(&[(1, answer(1)), (3600, answer(1))]), None);
        assert_eq!(after(&[(1, answer(1)), (3601, answer(1))]), Some(Cut::Whole));
        assert_eq!(after(&[(1, answer(1)), (3000, answer(2)), (6599, answer(2))]), None);
    }

    #[test]
    fn a_stream_is_cut_when_its_client_takes_nothing_of_it() {
        let start = Instant::now();
        let mut watch = StreamWatch::new(&limits(), start);
        let mut look = |second, handed, is_blocked| {
            watch.on_look(handed, is_blocked, start + Duration::from_secs(second))
        };
        assert_eq!(look(29, 0, false), None);
        assert_eq!(look(40, 10, true), None);
        assert_eq!(look(69, 10, true), None);
        assert_eq!(look(70, 10, true), Some(Cut::Stalled));
        assert_eq!(look(71, 11, true), None);
        assert_eq!(look(3600, 12, true), Some(Cut::Whole));
    }

    #[test]
    fn looks_are_seldom_at_rest_and_frequent_when_bounds_are_short() {
        assert_eq!(interval(&limits()), Duration::from_millis(1250));
        let short = Limits { head: Duration::from_millis(40), ..limits() };
        assert_eq!(interval(&short), Duration::from_millis(10));
    }
}
