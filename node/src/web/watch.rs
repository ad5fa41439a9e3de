//! What the node tells those who watch it: whether it is ready, and its figures.
//!
//! The listener asks often and must not wait, and the store, the network and the books may keep it waiting: so the
//! figures are taken every few seconds and told from memory. A node that cannot take them in time is not ready.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pop_gateway::admin::{Probe, Sample};
use pop_store::Figures;
use pop_units::AttoFil;
use tokio_util::sync::CancellationToken;

use super::retrieval::Retrievals;
use crate::node::Node;

/// How often the figures are taken.
const EVERY: Duration = Duration::from_secs(5);
/// Figures as old as this say that something hangs.
const STALE: Duration = Duration::from_secs(30);

/// The node, watched.
pub(super) struct Watch {
    node: Node,
    retrievals: Option<Arc<Retrievals>>,
    /// Set at the stop.
    stopping: CancellationToken,
    taken: Mutex<Taken>,
}

struct Taken {
    at: Instant,
    samples: Vec<Sample>,
}

impl Watch {
    pub(super) fn new(
        node: Node,
        retrievals: Option<Arc<Retrievals>>,
        stopping: CancellationToken,
        now: Instant,
    ) -> Self {
        Self { node, retrievals, stopping, taken: Mutex::new(Taken { at: now, samples: Vec::new() }) }
    }

    /// Takes the figures from time to time.
    pub(super) async fn run(&self) {
        loop {
            let samples = self.take().await;
            *self.taken.lock().unwrap_or_else(PoisonError::into_inner) =
                Taken { at: Instant::now(), samples };
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn take(&self) -> Vec<Sample> {
        let node = &self.node;
        let mut samples = vec![
            gauge("pop_peers", "Connected nodes", self.peers().await),
            gauge("pop_unpaid_bytes", "Bytes that were sent and are not paid for", node.trade.unpaid().get()),
            gauge("pop_deals", "Deals that are being served", node.trade.serving()),
        ];
        if let Some(retrievals) = &self.retrievals {
            let running = retrievals.running();
            samples.push(gauge("pop_retrievals", "Retrievals for requests of the gateway", running));
        }
        samples.extend(self.network());
        let (store, wallet) = (node.store.clone(), node.money.wallet.clone());
        let looked = node.pool.run(move || (store.figures(), wallet.earnings()));
        if let Ok((figures, earnings)) = looked.await {
            samples.extend(of_store(&figures));
            match earnings {
                Ok(earnings) => samples.extend(of_money(&earnings)),
                Err(error) => tracing::warn!(%error, "the books cannot be read"),
            }
        }
        samples
    }

    async fn peers(&self) -> u64 {
        let peers = self.node.net.peers().await.unwrap_or_default();
        u64::try_from(peers.len()).unwrap_or(u64::MAX)
    }

    fn network(&self) -> Vec<Sample> {
        let counted = self.node.net.counters();
        let dropped = "What was dropped because a bound was reached";
        let rows = [
            ("gossip", counted.gossip_dropped()),
            ("streams", counted.streams_refused()),
            ("events", counted.events_dropped()),
            ("strangers", counted.strangers()),
        ];
        let row = |(what, count): (&str, u64)| Sample {
            labels: vec![("what", what.to_owned())],
            ..counter("pop_net_dropped_total", dropped, count)
        };
        rows.into_iter().map(row).collect()
    }
}

impl Probe for Watch {
    fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        if self.stopping.is_cancelled() {
            troubles.push("the node is stopping".to_owned());
        }
        let age = self.taken.lock().unwrap_or_else(PoisonError::into_inner).at.elapsed();
        if age >= STALE {
            troubles.push(format!("store and network have not answered for {} s", age.as_secs()));
        }
        troubles
    }

    fn samples(&self) -> Vec<Sample> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).samples.clone()
    }
}

fn of_store(figures: &Figures) -> Vec<Sample> {
    vec![
        gauge("pop_store_used_bytes", "What files of blocks take", figures.used.get()),
        gauge("pop_store_live_bytes", "What of it is in use", figures.live.get()),
        gauge("pop_store_capacity_bytes", "What files of blocks may take", figures.capacity.get()),
        gauge("pop_store_reserved_bytes", "Room kept for content on its way", figures.reserved.get()),
        gauge("pop_store_pinned_bytes", "The sizes of pinned roots added up", figures.pinned.get()),
        gauge("pop_store_roots", "Roots that are kept", figures.refs),
        gauge("pop_store_pinned_roots", "Roots that are pinned", figures.pinned_refs),
        gauge("pop_store_blocks", "Blocks that are kept", figures.blocks),
        counter("pop_store_written_bytes_total", "What was written since the start", figures.written.get()),
        counter("pop_store_moved_bytes_total", "What compactions wrote again", figures.moved.get()),
    ]
}

fn of_money(earnings: &pop_wallet::Earnings) -> Vec<Sample> {
    vec![
        fil("pop_earned_fil_total", "What was promised to this node", earnings.earned),
        fil("pop_collected_fil_total", "What was paid out to this node", earnings.collected),
        fil("pop_spent_fil_total", "What this node promised to others", earnings.spent),
        counter("pop_sold_bytes_total", "What was sent for it", earnings.bytes_sold.get()),
        counter("pop_bought_bytes_total", "What was received for it", earnings.bytes_bought.get()),
    ]
}

fn gauge(name: &'static str, help: &'static str, value: u64) -> Sample {
    Sample { name, help, is_counter: false, labels: Vec::new(), value: number(value.into()) }
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Sample {
    Sample { is_counter: true, ..gauge(name, help, value) }
}

fn fil(name: &'static str, help: &'static str, value: AttoFil) -> Sample {
    let value = number(value.get()) / number(AttoFil::from_fil(1).get());
    Sample { value, ..counter(name, help, 0) }
}

/// Returns the nearest number of those that figures are made of.
fn number(value: u128) -> f64 {
    value.to_string().parse().unwrap_or(f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_told_in_fil() {
        let half = fil("pop_spent_fil_total", "Spent", AttoFil::new(500_000_000_000_000_000));
        assert_eq!((half.value, half.is_counter), (0.5, true));
        assert_eq!(gauge("pop_peers", "Peers", 1 << 40).value, 1_099_511_627_776.0);
    }
}
