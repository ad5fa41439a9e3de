//! When to ask an authority: in time, and not again at once after a refusal.

use std::time::{Duration, SystemTime};

/// The first pause after a failure; doubled with each more. Public authorities lock a name out for an hour
/// after five failed validations, which these pauses do not reach.
const FIRST: Duration = Duration::from_secs(120);
/// Several tries fit into the last third of any certificate.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// A certificate that seems to have ended when it comes is the work of a wrong clock, here or there: asking again
/// at once would use up what an authority gives one name in a week. Tests have authorities that forgive.
const LEAST: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 3600 });

/// Returns when a certificate is renewed: after two thirds of its time, and at once where there is none.
pub(super) fn due(validity: Option<(SystemTime, SystemTime)>, now: SystemTime) -> SystemTime {
    let Some((begins, ends)) = validity else {
        return now;
    };
    let third = ends.duration_since(begins).unwrap_or_default() / 3;
    ends.checked_sub(third).unwrap_or(begins)
}

/// Returns when the certificate that just came is renewed.
pub(super) fn after(validity: Option<(SystemTime, SystemTime)>, now: SystemTime) -> SystemTime {
    due(validity, now).max(now.checked_add(LEAST).unwrap_or(now))
}

/// Returns how long to wait after a failure that followed so many others.
pub(super) fn pause(before: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(before)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn certificate_is_renewed_when_a_third_of_its_time_is_left() {
        assert_eq!(due(Some((at(0), at(90))), at(10)), at(60));
        assert_eq!(due(Some((at(0), at(90))), at(500)), at(60), "what ended is due");
        assert_eq!(due(None, at(10)), at(10));
    }

    #[test]
    fn certificate_that_ends_at_once_is_not_renewed_at_once() {
        assert_eq!(after(Some((at(0), at(90))), at(1)), at(60));
        assert_eq!(after(Some((at(0), at(3))), at(10)), at(15));
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        let minutes: Vec<u64> = [0, 1, 2, 5, 8, u32::MAX].map(|n| pause(n).as_secs() / 60).to_vec();
        assert_eq!(minutes, [2, 4, 8, 64, 360, 360]);
    }

    #[test]
    fn first_hour_holds_fewer_tries_than_authorities_forgive() {
        let tries = (0..).scan(Duration::ZERO, |sum, n| {
            *sum += pause(n);
            Some(*sum)
        });
        // The try at the start and these.
        assert_eq!(1 + tries.take_while(|sum| *sum < Duration::from_secs(3600)).count(), 5);
    }
}
