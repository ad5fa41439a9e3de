//! The trade room: content in for money and out for money, over the network, the store and the wallet.
//!
//! The rules are in `pop-exchange`; here are the tasks that carry them out. Each substream of a peer is worked on
//! in a task of its own, within bounds per peer and for all; nothing here decides a price, a proof or a payment.

mod answer;
mod ask;
mod buy;
mod dispatch;
mod error;
mod fetch;
mod keep;
mod lane;
mod link;
mod purse;
mod quote;
mod serve;
mod shared;
mod staged;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::identity::Keypair;
use pop_dag::{Cid, Scope};
pub use pop_exchange::offer::Strategy;
use pop_rpc::Reporter;
use pop_store::Store;
use pop_units::Bytes;
use pop_wallet::{Hour, Wallet, WalletError};
use pop_wire::{DISPATCH, OFFER, TRANSFER, query_topic, region_of};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::dispatch::{Cached, DispatchOptions};
pub(crate) use self::error::told;
pub use self::error::{DispatchError, FetchError};
pub use self::fetch::{FetchRequest, Fetched, Follower};
pub use self::purse::PurseError;
pub use self::quote::Quote;

use self::answer::Gossip;
use self::purse::WalletPurse;
use self::shared::{Handles, Policy, Shared};
use crate::config::Config;
use crate::net::{NetEvent, NetHandle, Stream};
use crate::pool::Pool;

/// Tasks of this room at once; what comes above is dropped, and the peer sees a reset.
const TASKS: usize = 1024;

/// What the room works with.
pub struct Parts {
    /// The network.
    pub net: NetHandle,
    /// The store.
    pub store: Store,
    /// The money.
    pub wallet: Wallet,
    /// Where blocking work goes.
    pub pool: Pool,
    /// The node's key, which signs offers.
    pub keypair: Keypair,
}

/// Returns the gossip topics of regions.
pub fn topics(regions: &[String]) -> Vec<String> {
    regions.iter().map(|region| query_topic(region)).collect()
}

/// Returns the protocols of this room's substreams.
pub fn protocols() -> Vec<String> {
    [TRANSFER, OFFER, DISPATCH].map(str::to_owned).to_vec()
}

/// The handle on the room.
#[derive(Clone)]
pub struct Trade {
    shared: Arc<Shared>,
}

impl Trade {
    /// Furnishes the room. The returned task serves peers until `stop` is cancelled or `events` ends. Blocks.
    ///
    /// # Errors
    /// What was spent today cannot be read.
    pub fn new(
        parts: Parts,
        config: &Config,
        events: mpsc::Receiver<NetEvent>,
        stop: CancellationToken,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), WalletError> {
        let policy = Policy {
            regions: config.regions.clone(),
            price: config.price,
            max_spend_per_day: config.max_spend_per_day,
            // No peer may fill more than a quarter of the disk in a day.
            quota: Bytes::new(config.capacity.get() / 4),
        };
        let Parts { net, store, wallet, pool, keypair } = parts;
        let spent = wallet.spent_by_hour(Hour::of(shared::unix_seconds()))?;
        let purse = Arc::new(WalletPurse::new(wallet));
        let handles = Handles { net, store, pool, purse, key: keypair, spent };
        let shared = Shared::new(handles, policy, stop);
        let trade = Self { shared: Arc::clone(&shared) };
        Ok((trade, serve_peers(shared, events)))
    }

    /// Retrieves content and keeps it. A dropped call leaves what came in a staging, where the next call for
    /// the same content goes on.
    ///
    /// # Errors
    /// Nobody has it, nobody gives it on these terms, or this node cannot take it.
    pub async fn fetch(&self, request: FetchRequest, progress: Reporter) -> Result<Fetched, FetchError> {
        fetch::fetch(&self.shared, request, progress, None).await
    }

    /// As [`Self::fetch`], for somebody who uses the content while it comes.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub async fn fetch_followed(
        &self,
        request: FetchRequest,
        follower: Arc<dyn Follower>,
    ) -> Result<Fetched, FetchError> {
        fetch::fetch(&self.shared, request, Reporter::mute(), Some(follower)).await
    }

    /// Returns the payload bytes of everything below a root if it is all here. Blocks; reads no leaf.
    pub(crate) fn measure(&self, root: &Cid) -> Option<Bytes> {
        answer::measure(&self.shared.store, root, &Scope::all())
    }

    /// Asks peers to keep copies; fewer than asked for are no error. A dropped call revokes what it
    /// authorised.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn dispatch(
        &self,
        root: Cid,
        size: Bytes,
        options: DispatchOptions,
        progress: Reporter,
    ) -> Result<Vec<Cached>, DispatchError> {
        dispatch::dispatch(&self.shared, (root, size), options, progress).await
    }

    /// Returns a peer's score and why: one for each finished deal, less five for each that it broke off.
    pub fn standing(&self, peer: &PeerId) -> (f64, String) {
        let record = self.shared.record(peer);
        let score = f64::from(record.deals) - 6.0 * f64::from(record.faults);
        let why = match record.deals {
            0 => "no deals yet".to_owned(),
            deals => format!("{deals} deals, {} received, {} broken off", record.received, record.faults),
        };
        (score, why)
    }

    /// Returns true while a retrieval works in the staging of this name.
    pub fn is_busy(&self, staging: &str) -> bool {
        self.shared.is_busy(staging)
    }

    /// Returns the bytes that clients have left unpaid.
    pub fn unpaid(&self) -> Bytes {
        self.shared.tables().debts.total()
    }

    /// Returns how many deals are being served.
    pub fn serving(&self) -> u64 {
        u64::try_from(shared::DEALS.saturating_sub(self.shared.deals.available_permits())).unwrap_or(u64::MAX)
    }

    /// Begins nothing new and lets what runs finish, for at most `limit`. Cancel safe.
    pub async fn drain(&self, limit: Duration) {
        self.shared.draining.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(limit, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.shared.tasks.len(), "deals did not end in time");
        }
    }
}

async fn serve_peers(shared: Arc<Shared>, mut events: mpsc::Receiver<NetEvent>) {
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => break,
            event = events.recv() => match event {
                Some(event) => on_event(&shared, event),
                None => break,
            },
        }
    }
    shared.tasks.close();
    shared.tasks.wait().await;
}

fn on_event(shared: &Arc<Shared>, event: NetEvent) {
    match event {
        NetEvent::Gossip { author, source, topic, data, id } => {
            if region_of(&topic).is_some() && shared.tasks.len() < TASKS {
                let gossip = Gossip { author, source, data, id };
                shared.spawn(answer::on_gossip(Arc::clone(shared), gossip));
            }
        }
        NetEvent::Inbound { peer, protocol, stream } => on_inbound(shared, peer, &protocol, stream),
        NetEvent::Subscribed { .. } => shared.joined.notify_waiters(),
        NetEvent::Connected { .. } | NetEvent::Identified { .. } | NetEvent::Disconnected { .. } => {}
    }
}

fn on_inbound(shared: &Arc<Shared>, peer: PeerId, protocol: &str, stream: Stream) {
    let place = if shared.tasks.len() < TASKS { shared.place(peer) } else { None };
    let Some(place) = place else {
        tracing::debug!(%peer, protocol, "substream over the bounds");
        return;
    };
    let task = Arc::clone(shared);
    match protocol {
        TRANSFER => shared.spawn(hold(place, serve::serve(task, peer, stream))),
        OFFER => shared.spawn(hold(place, answer::on_stream(task, peer, stream))),
        DISPATCH => shared.spawn(hold(place, keep::on_stream(task, peer, stream))),
        other => tracing::debug!(%peer, protocol = other, "no such protocol in this room"),
    }
}

/// Keeps a peer's place for as long as its substream is worked on.
async fn hold(place: shared::Place, work: impl Future<Output = ()>) {
    work.await;
    drop(place);
}
