//! Counting what was sent over HTTP, without making a request wait for it.
//!
//! Requests note what they sent in a table in memory; a task writes it down once a second. Asking costs nothing, so
//! little makes a use: a reader must have taken a good part of a root, and is then one use of it for an hour, however
//! often it asks and under how many addresses of its network.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pop_dag::Cid;
use pop_store::{Serve, Store};
use pop_units::{AttoFil, Bytes};
use tokio_util::sync::CancellationToken;

use crate::content::unix_seconds;
use crate::pool::Pool;

/// Pairs of root and reader in one second. More than that many readers are not told apart: what is sent to them is
/// not counted, and the policy has enough to go by.
const PAIRS: usize = 4096;
/// Pairs that are remembered from second to second. What is sent to others while there are as many is no use.
const REMEMBERED: usize = 65_536;
/// How often it is written down.
const FLUSH: Duration = Duration::from_secs(1);
/// A reader is one use of a root in this time.
const APART: Duration = Duration::from_secs(3600);
/// The part of a root that a use takes, or so much of a large one.
const PART: u64 = 16;
const ENOUGH: Bytes = Bytes::MIB;

/// A root, and who reads it.
type Pair = (Cid, IpAddr);

/// What was sent since it was last written down, and who has had how much.
#[derive(Debug, Default)]
pub(super) struct Usage {
    sent: Mutex<HashMap<Pair, Bytes>>,
    readers: Arc<Mutex<Readers>>,
}

/// What readers got lately.
#[derive(Debug, Default)]
struct Readers(HashMap<Pair, Got>);

#[derive(Clone, Copy, Debug)]
struct Got {
    bytes: Bytes,
    is_counted: bool,
    /// Since the first bytes, or since the use was counted.
    since: Instant,
}

impl Usage {
    /// Notes bytes below a root that a reader got.
    pub(super) fn note(&self, root: &Cid, size: Bytes, to: IpAddr) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (*root, reader(to));
        if sent.len() < PAIRS || sent.contains_key(&key) {
            let sum = sent.entry(key).or_default();
            *sum = sum.saturating_add(size);
        }
    }

    fn take(&self) -> HashMap<Pair, Bytes> {
        std::mem::take(&mut self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes down what was noted, once a second and at the end.
    pub(super) async fn write_down(&self, store: Store, pool: Pool, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(FLUSH)).await.is_some() {
            self.flush(&store, &pool, Instant::now()).await;
        }
        self.flush(&store, &pool, Instant::now()).await;
    }

    async fn flush(&self, store: &Store, pool: &Pool, now: Instant) {
        let sent = self.take();
        if sent.is_empty() {
            return;
        }
        let (store, readers) = (store.clone(), Arc::clone(&self.readers));
        let written = pool.run(move || {
            let mut readers = readers.lock().unwrap_or_else(PoisonError::into_inner);
            sent.into_iter().try_for_each(|(pair, size)| record(&store, &mut readers, pair, size, now))
        });
        if let Ok(Err(error)) = written.await {
            tracing::warn!(%error, "uses over HTTP are not counted");
        }
    }
}

impl Readers {
    /// Notes what a reader got, and returns whether that makes it a use of a root of this size.
    fn is_use(&mut self, pair: Pair, size: Bytes, of: Bytes, now: Instant) -> bool {
        let is_over = |got: &Got| now.saturating_duration_since(got.since) >= APART;
        if self.0.len() >= REMEMBERED && !self.0.contains_key(&pair) {
            self.0.retain(|_, got| !is_over(got));
            if self.0.len() >= REMEMBERED {
                return false;
            }
        }
        let fresh = Got { bytes: Bytes::ZERO, is_counted: false, since: now };
        let got = self.0.entry(pair).or_insert(fresh);
        if is_over(got) {
            *got = fresh;
        }
        got.bytes = got.bytes.saturating_add(size);
        let enough = Bytes::new(of.get() / PART).clamp(Bytes::new(1), ENOUGH);
        let is_use = !got.is_counted && got.bytes >= enough;
        if is_use {
            (got.is_counted, got.since) = (true, now);
        }
        is_use
    }
}

/// Returns what stands for a reader: its address in IPv4, its /64 in IPv6, where whoever has one address has all.
fn reader(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX)).into(),
        four @ IpAddr::V4(_) => four,
    }
}

/// Counts what a reader got, as a use when it is one; a root that is no ref has none. Blocks.
fn record(
    store: &Store,
    readers: &mut Readers,
    (root, to): Pair,
    bytes: Bytes,
    now: Instant,
) -> Result<(), pop_store::Error> {
    let Some(brief) = store.brief(&root)? else { return Ok(()) };
    if !readers.is_use((root, to), bytes, brief.size, now) {
        return store.sent(&root, bytes).map(drop);
    }
    // Begins like no peer id does, which is a multihash.
    let reader = format!("http:{to}");
    let serve = Serve { peer: reader.as_bytes(), bytes, revenue: AttoFil::ZERO, now: unix_seconds() };
    store.served(&root, serve).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pop_dag::{Block, Codec};

    fn stored(dir: &std::path::Path) -> (Store, Cid) {
        let store = Store::open(dir, pop_store::Options::default()).unwrap();
        let block = Block::of(Codec::Raw, vec![7; 100].into());
        let staging = store.stage("test").unwrap();
        staging.put(&block).unwrap();
        let found = pop_store::Ref { complete: true, ..pop_store::Ref::new(*block.cid()) };
        staging.commit(found).unwrap();
        (store, *block.cid())
    }

    #[tokio::test]
    async fn what_a_reader_gets_in_an_hour_is_one_use_with_all_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (store, root) = stored(dir.path());
        let (usage, pool) = (Usage::default(), Pool::new());
        let [one, two] = ["127.0.0.1", "::ffff:127.0.0.2"].map(|address| address.parse().unwrap());
        for _ in 0..10 {
            usage.note(&root, Bytes::new(10), one);
        }
        usage.note(&root, Bytes::new(100), two);
        let stop = CancellationToken::new();
        stop.cancel();
        usage.write_down(store.clone(), pool.clone(), stop).await;
        let counted = || {
            let brief = store.brief(&root).unwrap().unwrap();
            (brief.frequency, brief.bytes_served.get())
        };
        assert_eq!(counted(), (2, 200));
        usage.note(&root, Bytes::new(100), one);
        usage.flush(&store, &pool, Instant::now()).await;
        assert_eq!(counted(), (2, 300), "within the hour");
        usage.note(&root, Bytes::new(1), "127.0.0.3".parse().unwrap());
        usage.flush(&store, &pool, Instant::now()).await;
        assert_eq!(counted(), (2, 301), "a hundredth is no use");
    }

    #[test]
    fn little_adds_up_to_one_use_an_hour_and_addresses_of_a_network_are_one_reader() {
        let mut readers = Readers::default();
        let root = *Block::of(Codec::Raw, vec![7; 100].into()).cid();
        let [a, b, other] = ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"]
            .map(|address| (root, reader(address.parse().unwrap())));
        assert_eq!(a, b);
        let (now, gib) = (Instant::now(), Bytes::MIB.saturating_mul(1024));
        let half = Bytes::new(Bytes::MIB.get() / 2);
        assert!(!readers.is_use(a, half, gib, now));
        assert!(readers.is_use(b, half, gib, now), "a mebibyte of much");
        assert!(!readers.is_use(a, gib, gib, now + APART - FLUSH));
        assert!(readers.is_use(other, half, Bytes::MIB, now), "a sixteenth of little");
        assert!(readers.is_use(a, gib, gib, now + APART));
    }

    #[test]
    fn more_readers_than_are_told_apart_take_no_more_memory() {
        let usage = Usage::default();
        let mut readers = Readers::default();
        let root = *Block::of(Codec::Raw, vec![7; 100].into()).cid();
        let (now, one) = (Instant::now(), Bytes::new(1));
        for at in 0..70_000u32 {
            usage.note(&root, one, IpAddr::V4(at.into()));
            readers.is_use((root, IpAddr::V4(at.into())), one, one, now);
        }
        assert_eq!(usage.take().len(), PAIRS);
        assert_eq!(readers.0.len(), REMEMBERED);
        assert!(readers.is_use((root, IpAddr::V4(69_999.into())), one, one, now + APART));
        assert_eq!(readers.0.len(), 1, "what is over is forgotten");
    }
}
