//! Names of requests, so that a client's complaint, a proxy's log and ours can be laid side by side.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Where a request and its answer carry the name.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A longer name is not taken over.
const LONGEST: usize = 128;

/// Makes names that no other run of the gateway made.
pub(super) struct Ids {
    run: u64,
    next: AtomicU64,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self { run: RandomState::new().hash_one(()), next: AtomicU64::new(1) }
    }

    /// Returns the name that the request came with, if it is one, or a new one.
    pub(super) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(&X_REQUEST_ID) {
            Some(id) if is_sane(id.as_bytes()) => id.clone(),
            _ => self.make(),
        }
    }

    fn make(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut text = [0; 32];
        for (shift, half) in [self.run, number].iter().zip(text.chunks_exact_mut(16)) {
            write_hex(*shift, half);
        }
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
    }
}

fn write_hex(mut number: u64, to: &mut [u8]) {
    for digit in to.iter_mut().rev() {
        let at = usize::try_from(number % 16).unwrap_or_default();
        *digit = b"0123456789abcdef".get(at).copied().unwrap_or(b'0');
        number /= 16;
    }
}

fn is_sane(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_name_is_taken_over_and_another_is_replaced() {
        let ids = Ids::new();
        let of = |id: &[u8]| {
            let headers = HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_bytes(id).unwrap())]);
            ids.of(&headers).as_bytes().to_vec()
        };
        assert_eq!(of(b"proxy-1:77"), b"proxy-1:77");
        let odd: [&[u8]; 4] = [b"", b"two words", b"\xc3\xa9", &[b'x'; 129]];
        for odd in odd {
            let made = of(odd);
            assert!(made != odd && made.len() == 32 && made.iter().all(u8::is_ascii_hexdigit));
        }
    }

    #[test]
    fn names_differ_within_a_run_and_between_runs() {
        let (one, two) = (Ids::new(), Ids::new());
        let made = [one.make(), one.make(), two.make()];
        let halves = made.each_ref().map(|id| id.to_str().unwrap().split_at(16));
        assert_eq!(halves[0].0, halves[1].0);
        assert_ne!(halves[0].1, halves[1].1);
        assert_ne!(halves[0].0, halves[2].0);
        assert!(halves[1].1.ends_with("0002"));
    }
}
