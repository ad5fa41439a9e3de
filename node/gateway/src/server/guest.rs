//! Who is at the door, and how much of it they may take.
//!
//! Counts connections and requests, in all and for each address, and how fast an address begins requests. An
//! address of IPv6 is its /64, as whoever has one address there has all of them. Never remembers more than
//! [`REMEMBERED`] addresses that are not here now.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::figures::{Cause, Figures};
use crate::settings::Limits;

/// Addresses are spread over so many locks.
const SHARDS: usize = 16;

/// Addresses that left and whose pace is still remembered. Above it the memory of all who left is given up: what
/// a flood of addresses gains by that is one more allowance for each, which it has anyway.
const REMEMBERED: usize = 65_536;

/// An address may begin ten seconds' worth of requests at once.
const BURST: Duration = Duration::from_secs(10);

/// How long a client is asked to wait when there is no better answer.
const LATER: Duration = Duration::from_secs(1);

/// Everybody at the door.
pub(super) struct Guests {
    shards: [Mutex<HashMap<u128, Arc<Guest>>>; SHARDS],
    hasher: RandomState,
    connections: AtomicUsize,
    requests: AtomicUsize,
    bounds: Bounds,
    figures: Figures,
    began: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    connections: usize,
    connections_each: usize,
    requests: usize,
    requests_each: usize,
    pace: Option<Pace>,
}

/// One address.
#[derive(Default)]
struct Guest {
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// [`Pace`]'s memory, in nanoseconds since the door opened.
    due: AtomicU64,
}

/// Why somebody is turned away, and when to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) cause: Cause,
    pub(super) wait: Duration,
}

/// How fast requests may begin: the generic cell rate algorithm (ITU-T I.371), a token bucket in one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Between two requests in the long run.
    apart: Duration,
    /// What may be used at once.
    burst: Duration,
}

impl Pace {
    /// So many requests a second; `None` when there is no bound.
    pub(super) fn each_second(requests: u32) -> Option<Self> {
        let apart = Duration::from_secs(1).checked_div(requests)?;
        Some(Self { apart, burst: BURST })
    }

    /// Admits a request, given the time until which earlier ones have used what there is.
    ///
    /// Returns the new such time, or how long to wait.
    pub(super) fn admit(self, due: Duration, now: Duration) -> Result<Duration, Duration> {
        let next = due.max(now).saturating_add(self.apart);
        let ahead = next.saturating_sub(now);
        match ahead <= self.burst.max(self.apart) {
            true => Ok(next),
            false => Err(ahead.saturating_sub(self.burst)),
        }
    }
}

/// A connection that is counted. Dropping it makes room.
pub(super) struct Seat {
    guests: Arc<Guests>,
    met: Option<Met>,
}

/// A request that is counted. Dropping it makes room.
pub(super) struct Turn {
    guests: Arc<Guests>,
    met: Met,
}

/// An address that is remembered as long as this lives.
struct Met {
    guests: Arc<Guests>,
    key: u128,
    guest: Option<Arc<Guest>>,
}

impl Guests {
    pub(super) fn new(limits: &Limits, figures: Figures, now: Instant) -> Arc<Self> {
        let connections = limits.connections.max(1);
        let requests = limits.requests.max(1);
        let bounds = Bounds {
            connections,
            connections_each: share(limits.connections_per_address, connections),
            requests,
            requests_each: share(limits.requests_per_address, requests),
            pace: Pace::each_second(limits.rate_per_address),
        };
        Arc::new(Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            bounds,
            figures,
            began: now,
        })
    }

    /// Seats a connection. One from a believed proxy stands for many clients, so only the whole bounds it.
    ///
    /// # Errors
    /// There is no room.
    pub(super) fn seat(self: &Arc<Self>, from: IpAddr, is_proxy: bool) -> Result<Seat, Refused> {
        let refuse = |cause| self.refuse(cause, LATER);
        if !enter(&self.connections, self.bounds.connections) {
            return Err(refuse(Cause::Connections));
        }
        let mut seat = Seat { guests: Arc::clone(self), met: None };
        self.figures.connections().inc();
        if !is_proxy {
            let met = self.meet(from);
            if !enter(&met.guest().connections, self.bounds.connections_each) {
                return Err(refuse(Cause::AddressConnections));
            }
            seat.met = Some(met);
        }
        Ok(seat)
    }

    /// Gives a request its turn.
    ///
    /// # Errors
    /// There is no room, or the address is too fast.
    pub(super) fn turn(self: &Arc<Self>, from: IpAddr, now: Instant) -> Result<Turn, Refused> {
        let met = self.meet(from);
        if let Some(pace) = self.bounds.pace {
            let now = now.saturating_duration_since(self.began);
            met.guest().admit(pace, now).map_err(|wait| self.refuse(Cause::Rate, wait))?;
        }
        if !enter(&self.requests, self.bounds.requests) {
            return Err(self.refuse(Cause::Requests, LATER));
        }
        if !enter(&met.guest().requests, self.bounds.requests_each) {
            leave(&self.requests);
            return Err(self.refuse(Cause::AddressRequests, LATER));
        }
        self.figures.requests_open().inc();
        Ok(Turn { guests: Arc::clone(self), met })
    }

    fn refuse(&self, cause: Cause, wait: Duration) -> Refused {
        self.figures.refused(cause);
        Refused { cause, wait }
    }

    fn meet(self: &Arc<Self>, from: IpAddr) -> Met {
        let key = key(from);
        let mut shard = self.shard(key);
        if !shard.contains_key(&key) && shard.len() >= REMEMBERED / SHARDS {
            shard.retain(|_, guest| Arc::strong_count(guest) > 1);
        }
        let guest = Arc::clone(shard.entry(key).or_default());
        Met { guests: Arc::clone(self), key, guest: Some(guest) }
    }

    fn shard(&self, key: u128) -> MutexGuard<'_, HashMap<u128, Arc<Guest>>> {
        let [first, ..] = &self.shards;
        let hash = usize::try_from(self.hasher.hash_one(key) % 16).unwrap_or_default();
        let shard = self.shards.get(hash).unwrap_or(first);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    fn admit(&self, pace: Pace, now: Duration) -> Result<(), Duration> {
        let mut due = self.due.load(Ordering::Relaxed);
        loop {
            let next = pace.admit(Duration::from_nanos(due), now)?;
            let next = u64::try_from(next.as_nanos()).unwrap_or(u64::MAX);
            match self.due.compare_exchange_weak(due, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => due = other,
            }
        }
    }
}

impl Met {
    fn guest(&self) -> &Guest {
        // Only Drop takes it.
        self.guest.as_deref().expect("a guest is met until it is dropped")
    }
}

impl Drop for Met {
    fn drop(&mut self) {
        let mut shard = self.guests.shard(self.key);
        self.guest = None;
        let Some(guest) = shard.get(&self.key) else { return };
        if Arc::strong_count(guest) > 1 {
            return;
        }
        let now = self.guests.began.elapsed();
        let is_rested = Duration::from_nanos(guest.due.load(Ordering::Relaxed)) <= now;
        if self.guests.bounds.pace.is_none() || is_rested {
            shard.remove(&self.key);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        leave(&self.guests.connections);
        self.guests.figures.connections().dec();
        if let Some(met) = &self.met {
            leave(&met.guest().connections);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        leave(&self.guests.requests);
        self.guests.figures.requests_open().dec();
        leave(&self.met.guest().requests);
    }
}

/// Returns the share of one address: never all there is, when there is more than one.
fn share(wanted: usize, all: usize) -> usize {
    wanted.min(all.saturating_sub(all.div_ceil(8))).max(1)
}

/// Counts one more if that is within the bound.
fn enter(counter: &AtomicUsize, bound: usize) -> bool {
    let one_more = |count: usize| count.checked_add(1).filter(|count| *count <= bound);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
}

fn leave(counter: &AtomicUsize) {
    let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
}

/// Returns what stands for an address: itself in IPv4, its /64 in IPv6.
pub(crate) fn key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(four) => u128::from(four.to_ipv6_mapped()),
        IpAddr::V6(six) => u128::from(six) & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            connections: 16,
            connections_per_address: 100,
            requests: 8,
            requests_per_address: 2,
            rate_per_address: 0,
            ..Limits::default()
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn remembered(guests: &Guests) -> usize {
        guests.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[test]
    fn one_address_never_gets_every_connection() {
        let guests = Guests::new(&limits(), Figures::new(), Instant::now());
        let mut seats = Vec::new();
        let refused = loop {
            match guests.seat(address("192.0.2.1"), false) {
                Ok(seat) => seats.push(seat),
                Err(refused) => break refused,
            }
        };
        assert_eq!((seats.len(), refused.cause), (14, Cause::AddressConnections));
        let _other = guests.seat(address("192.0.2.2"), false).unwrap();
        let _proxy = guests.seat(address("192.0.2.1"), true).unwrap();
        let full = guests.seat(address("192.0.2.3"), false).err().unwrap();
        assert_eq!(full.cause, Cause::Connections);
        seats.clear();
        assert!(guests.seat(address("192.0.2.3"), false).is_ok());
    }

    #[test]
    fn whoever_left_is_forgotten_and_what_they_held_is_free() {
        let guests = Guests::new(&limits(), Figures::new(), Instant::now());
        let seats: Vec<_> = (0..10).map(|_| guests.seat(address("192.0.2.1"), false).ok().unwrap()).collect();
        let turn = guests.turn(address("192.0.2.1"), Instant::now()).ok().unwrap();
        assert_eq!(remembered(&guests), 1);
        drop((seats, turn));
        assert_eq!(remembered(&guests), 0);
        assert_eq!(guests.connections.load(Ordering::Relaxed), 0);
        assert_eq!(guests.requests.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_refused_turn_takes_nothing() {
        let guests = Guests::new(&limits(), Figures::new(), Instant::now());
        let now = Instant::now();
        let turns: Vec<_> = (0..2).map(|_| guests.turn(address("192.0.2.1"), now).ok().unwrap()).collect();
        for _ in 0..20 {
            let refused = guests.turn(address("192.0.2.1"), now).err().unwrap();
            assert_eq!(refused.cause, Cause::AddressRequests);
        }
        assert!(guests.turn(address("192.0.2.2"), now).is_ok());
        drop(turns);
        assert!(guests.turn(address("192.0.2.1"), now).is_ok());
    }

    #[test]
    fn all_addresses_of_a_64_are_one_guest() {
        assert_eq!(key(address("2001:db8::1")), key(address("2001:db8::ffff:2")));
        assert_ne!(key(address("2001:db8::1")), key(address("2001:db8:0:1::1")));
        assert_eq!(key(address("::ffff:192.0.2.1")), key(address("192.0.2.1")));
        assert_ne!(key(address("192.0.2.1")), key(address("192.0.2.2")));
    }

    #[test]
    fn a_pace_allows_a_burst_and_then_its_rate() {
        let pace = Pace::each_second(2).unwrap();
        let at = Duration::from_millis;
        let mut due = Duration::ZERO;
        for _ in 0..20 {
            due = pace.admit(due, at(0)).unwrap();
        }
        assert_eq!(pace.admit(due, at(0)), Err(at(500)));
        assert_eq!(pace.admit(due, at(499)), Err(at(1)));
        due = pace.admit(due, at(500)).unwrap();
        assert_eq!(pace.admit(due, at(500)), Err(at(500)));
        // Long rest gives no more than the burst.
        let later = at(1_000_000);
        let burst = (0..100).scan(due, |due, _| {
            *due = pace.admit(*due, later).ok()?;
            Some(())
        });
        assert_eq!(burst.count(), 20);
        assert_eq!(Pace::each_second(0), None);
    }

    #[test]
    fn pace_is_remembered_after_the_last_connection_closed() {
        let limits = Limits { rate_per_address: 1, ..limits() };
        let now = Instant::now();
        let guests = Guests::new(&limits, Figures::new(), now);
        for _ in 0..10 {
            drop(guests.turn(address("192.0.2.1"), now).ok().unwrap());
        }
        let refused = guests.turn(address("192.0.2.1"), now).err().unwrap();
        assert_eq!(refused, Refused { cause: Cause::Rate, wait: Duration::from_secs(1) });
        assert!(guests.turn(address("192.0.2.2"), now).is_ok());
    }

    #[test]
    fn a_flood_of_addresses_is_not_remembered_for_ever() {
        let limits = Limits { rate_per_address: 1, ..limits() };
        let guests = Guests::new(&limits, Figures::new(), Instant::now());
        for number in 0..200_000_u32 {
            let from = IpAddr::from(number.to_be_bytes());
            drop(guests.turn(from, Instant::now()).ok().unwrap());
        }
        assert!(remembered(&guests) <= REMEMBERED + SHARDS, "{}", remembered(&guests));
    }
}
