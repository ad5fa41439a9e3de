//! Memory for what answers remember of their way through a DAG, over all of them.
//!
//! An archive remembers the blocks that it has written and the links that wait, a listing the shards that it stands
//! in; both for as long as the client takes. What one of them may come to is bounded by its own limits, and the sum
//! here: one more is not begun where there is little left, and what grows beyond it is broken off.

mod rights;

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;
use pop_dag::Buf;
use pop_units::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[cfg(test)]
pub(crate) use self::rights::{ARCHIVES, EACH};
use self::rights::{Denied, Right, Rights};
use crate::refusal::Refusal;

/// Memory for all. The largest CAR, of 917,504 blocks, comes to 65 MiB and for a moment to 94; one of a
/// thousand blocks takes 200 KiB, and a listing what a block or a few have.
const MEMORY: Bytes = Bytes::MIB.saturating_mul(256);
/// What of it archives leave to listings.
const LISTINGS: Bytes = Bytes::MIB.saturating_mul(64);
/// What has to be left beside that for one more archive, so that those that were begun can grow.
const GROWTH: Bytes = Bytes::MIB.saturating_mul(32);
/// The unit that memory is counted in.
const UNIT: u64 = 4096;
/// Seconds after which there may be memory again.
const SOON: u64 = 10;

/// See the module.
pub(crate) struct Walks {
    rights: Arc<Rights>,
    memory: Arc<Semaphore>,
    /// What archives leave.
    spare: Bytes,
    /// What has to be left for one more archive.
    least: Bytes,
}

/// What one answer remembers, as part of the memory for all.
pub(crate) struct Share {
    memory: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
    /// What it leaves to others.
    spare: Bytes,
    _right: Option<Right>,
}

/// Text with the memory that it takes.
struct Counted {
    text: String,
    _memory: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Walks {
    pub(crate) fn new() -> Self {
        Self::of(MEMORY, LISTINGS, GROWTH)
    }

    /// Counts as much memory, of which archives leave `spare`, and begin only with `growth` beside that.
    pub(crate) fn of(memory: Bytes, spare: Bytes, growth: Bytes) -> Self {
        let memory = Arc::new(Semaphore::new(Bytes::new(memory.get() / UNIT).as_usize()));
        let least = spare.saturating_add(growth);
        Self { rights: Arc::default(), memory, spare, least }
    }

    /// Returns the share of an archive that begins, for an address.
    ///
    /// # Errors
    /// There are as many as there may be, in all or for the address.
    pub(crate) fn archive(&self, from: IpAddr) -> Result<Share, Refusal> {
        let right = self.rights.take(from).map_err(denied)?;
        if self.memory.available_permits() < units(self.least) {
            return Err(full());
        }
        Ok(Share { spare: self.spare, _right: Some(right), ..self.listing() })
    }

    /// Returns the share of a listing that begins.
    pub(crate) fn listing(&self) -> Share {
        Share { memory: Arc::clone(&self.memory), taken: None, spare: Bytes::ZERO, _right: None }
    }

    /// Counts text until it was sent.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn text(&self, text: String) -> Result<Buf, Refusal> {
        let mut memory = self.listing();
        memory.hold(Bytes::new(u64::try_from(text.capacity()).unwrap_or(u64::MAX)))?;
        Ok(Buf::from_owner(Counted { text, _memory: memory }))
    }

    /// Takes all memory but so much.
    #[cfg(test)]
    pub(crate) fn leave(&self, rest: Bytes) -> OwnedSemaphorePermit {
        let most = self.memory.available_permits() - units(rest);
        Arc::clone(&self.memory).try_acquire_many_owned(u32::try_from(most).unwrap()).unwrap()
    }

    /// Returns how much memory is left.
    #[cfg(test)]
    pub(crate) fn left(&self) -> Bytes {
        Bytes::new(u64::try_from(self.memory.available_permits()).unwrap() * UNIT)
    }
}

impl Share {
    /// Counts what is remembered now in place of what was before.
    ///
    /// # Errors
    /// There is no memory for it; what was counted before still is.
    pub(crate) fn hold(&mut self, now: Bytes) -> Result<(), Refusal> {
        let (now, before) = (units(now), self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        if before == now {
            return Ok(());
        }
        if before > now {
            // Given back by being dropped.
            drop(self.taken.as_mut().and_then(|taken| taken.split(before.saturating_sub(now))));
            return Ok(());
        }
        let more = now.saturating_sub(before);
        if self.memory.available_permits() < more.saturating_add(units(self.spare)) {
            return Err(full());
        }
        let more = u32::try_from(more).map_err(|_| full())?;
        let more = Arc::clone(&self.memory).try_acquire_many_owned(more).map_err(|_| full())?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }
}

fn units(bytes: Bytes) -> usize {
    Bytes::new(bytes.get().div_ceil(UNIT)).as_usize()
}

fn denied(why: Denied) -> Refusal {
    match why {
        Denied::All => full(),
        Denied::Address => {
            let message = "your address has as many archives under way as it may";
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(SOON)
        }
    }
}

fn full() -> Refusal {
    let message = "this node makes as many archives and listings as it can";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message).retry_after(SOON)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: Bytes = Bytes::MIB;
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn what_is_remembered_is_counted_as_it_grows_and_shrinks() {
        let walks = Walks::of(MIB, Bytes::ZERO, Bytes::ZERO);
        let mut one = walks.archive(HERE).unwrap();
        for size in [0, 1, 100_000, 100_001, 50_000, 1 << 20, 0, 4096] {
            one.hold(Bytes::new(size)).unwrap();
            let counted = MIB.saturating_sub(walks.left());
            assert_eq!(counted.get(), size.div_ceil(UNIT) * UNIT);
        }
        let mut other = walks.listing();
        let refusal = other.hold(MIB).unwrap_err();
        assert_eq!(refusal.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(refusal.headers.contains_key(http::header::RETRY_AFTER));
        other.hold(Bytes::new((1 << 20) - 4096)).unwrap();
        assert!(one.hold(Bytes::new(4097)).is_err());
        drop(other);
        one.hold(Bytes::new(4097)).unwrap();
        drop(one);
        assert_eq!(walks.left(), MIB);
    }

    #[test]
    fn archives_leave_memory_to_listings_and_to_those_that_were_begun() {
        let quarter = Bytes::new(MIB.get() / 4);
        let walks = Walks::of(MIB, quarter, quarter);
        let mut one = walks.archive(HERE).unwrap();
        one.hold(quarter.saturating_mul(2)).unwrap();
        let mut other = walks.archive(HERE).unwrap();
        other.hold(Bytes::new(1)).unwrap();
        assert!(walks.archive(HERE).is_err(), "less is left than one more may come to");
        one.hold(quarter.saturating_mul(3).saturating_sub(Bytes::new(UNIT))).unwrap();
        assert!(one.hold(quarter.saturating_mul(3)).is_err());
        assert!(other.hold(Bytes::new(UNIT + 1)).is_err());
        walks.listing().hold(quarter).unwrap();
        drop((one, other));
        let all: Vec<Share> = std::iter::from_fn(|| walks.archive(HERE).ok()).collect();
        assert_eq!(all.len(), EACH);
    }

    #[test]
    fn text_is_counted_until_its_last_slice_is_gone() {
        let walks = Walks::of(MIB, Bytes::ZERO, Bytes::ZERO);
        let mut text = walks.text("a".repeat(500_000)).unwrap();
        assert!(walks.text("b".repeat(600_000)).is_err());
        let rest = text.split_off(10);
        drop(text);
        assert!(walks.left() < Bytes::new(600_000));
        assert_eq!(rest.len(), 499_990);
        drop(rest);
        assert_eq!(walks.left(), MIB);
    }
}
