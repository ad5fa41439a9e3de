//! Counting what was sent over HTTP, without making a request wait for it.
//!
//! Requests note what they sent in a table in memory; a task writes it down once a second. A page of a hundred
//! pictures and a film that is read in a thousand ranges are one use of their root by their reader each second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pop_dag::Cid;
use pop_store::{Serve, Store};
use pop_units::{AttoFil, Bytes};
use tokio_util::sync::CancellationToken;

use crate::content::unix_seconds;
use crate::pool::Pool;

/// Pairs of root and reader in one second. More than that many readers are not told apart: what is sent to them is
/// not counted, and the policy has enough to go by.
const PAIRS: usize = 4096;
/// How often it is written down.
const FLUSH: Duration = Duration::from_secs(1);

/// What was sent since it was last written down.
#[derive(Debug, Default)]
pub(super) struct Usage(Mutex<HashMap<(Cid, IpAddr), Bytes>>);

impl Usage {
    /// Notes bytes below a root that a reader got.
    pub(super) fn note(&self, root: &Cid, size: Bytes, to: IpAddr) {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (*root, to.to_canonical());
        if sent.len() < PAIRS || sent.contains_key(&key) {
            let sum = sent.entry(key).or_default();
            *sum = sum.saturating_add(size);
        }
    }

    fn take(&self) -> HashMap<(Cid, IpAddr), Bytes> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes down what was noted, once a second and at the end.
    pub(super) async fn write_down(&self, store: Store, pool: Pool, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(FLUSH)).await.is_some() {
            self.flush(&store, &pool).await;
        }
        self.flush(&store, &pool).await;
    }

    async fn flush(&self, store: &Store, pool: &Pool) {
        let sent = self.take();
        if sent.is_empty() {
            return;
        }
        let store = store.clone();
        let written =
            pool.run(move || sent.iter().try_for_each(|((root, to), size)| record(&store, root, *to, *size)));
        if let Ok(Err(error)) = written.await {
            tracing::warn!(%error, "uses over HTTP are not counted");
        }
    }
}

/// Counts one use; a root that is no ref has none. Blocks.
fn record(store: &Store, root: &Cid, to: IpAddr, bytes: Bytes) -> Result<(), pop_store::Error> {
    // Begins like no peer id does, which is a multihash.
    let reader = format!("http:{to}");
    let serve = Serve { peer: reader.as_bytes(), bytes, revenue: AttoFil::ZERO, now: unix_seconds() };
    store.served(root, serve).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pop_dag::{Block, Codec};

    #[tokio::test]
    async fn what_one_reader_gets_in_a_second_is_one_use_with_all_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), pop_store::Options::default()).unwrap();
        let block = Block::of(Codec::Raw, vec![7; 100].into());
        let staging = store.stage("test").unwrap();
        staging.put(&block).unwrap();
        let found = pop_store::Ref { complete: true, ..pop_store::Ref::new(*block.cid()) };
        staging.commit(found).unwrap();
        let usage = Usage::default();
        let [one, two] = ["127.0.0.1", "::ffff:127.0.0.2"].map(|address| address.parse().unwrap());
        for _ in 0..10 {
            usage.note(block.cid(), Bytes::new(10), one);
        }
        usage.note(block.cid(), Bytes::new(100), two);
        let stop = CancellationToken::new();
        stop.cancel();
        usage.write_down(store.clone(), Pool::new(), stop).await;
        let brief = store.brief(block.cid()).unwrap().unwrap();
        assert_eq!((brief.frequency, brief.bytes_served), (2, Bytes::new(200)));
    }

    #[test]
    fn more_readers_than_are_told_apart_take_no_more_memory() {
        let usage = Usage::default();
        let root = *Block::of(Codec::Raw, vec![7; 100].into()).cid();
        for at in 0..10_000u32 {
            usage.note(&root, Bytes::new(1), IpAddr::V4(at.into()));
        }
        assert_eq!(usage.take().len(), PAIRS);
    }
}
