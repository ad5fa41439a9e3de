//! The web door of the node: what the gateway is given, its start and its end.
//!
//! The gateway knows HTTP and nothing else; here it gets the node's blocks, the retrieval of what is missing, and a
//! place for uploads. The control API is no part of what it gets.

mod holds;
mod intake;
mod retrieval;
mod settings;
mod stock;
mod terms;
mod usage;
mod watch;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use pop_gateway::admin::Admin;
use pop_gateway::{Bound, Content, Figures, ServeError};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

use self::intake::Intakes;
use self::retrieval::Retrievals;
use self::stock::Stock;
use self::watch::Watch;
use crate::node::Node;

/// The least that requests under way get at the end, so that short ones are not cut.
const LEAST_DRAIN: Duration = Duration::from_secs(1);
/// How long it may take after the drain until every connection is reset, and what was sent is written down. The
/// gateway needs up to four seconds of it; a task that ended before would leave connections in the middle of an
/// answer, closed as if the answer were whole.
const CUT: Duration = Duration::from_secs(15);

/// Where a gateway answers.
#[derive(Clone, Debug)]
pub(crate) struct Urls {
    pub(crate) http: String,
    pub(crate) https: Option<String>,
}

/// A gateway that answers.
pub(crate) struct Gateway {
    urls: Urls,
    ended: CancellationToken,
    task: AbortHandle,
    intakes: Intakes,
    retrievals: Arc<Retrievals>,
    figures: Figures,
}

impl Gateway {
    /// Opens the gateway where the settings ask for one. It answers until `stop`.
    ///
    /// # Errors
    /// An address cannot be listened on, or a file of the settings cannot be used.
    pub(crate) async fn start(
        node: &Node,
        repo: &Path,
        stop: CancellationToken,
        tasks: &mut JoinSet<&'static str>,
    ) -> Result<Option<Self>, ServeError> {
        let Some(settings) = settings::of(&node.config, repo) else { return Ok(None) };
        let listen = settings.listen;
        let stock = Arc::new(Stock::new(node.clone(), addresses(node).await));
        let content: Arc<dyn Content> = stock.clone();
        let bound = Bound::bind(settings, content).await?;
        let unknown = |source| ServeError::Listen { address: listen, source };
        let address = bound.address().map_err(unknown)?;
        let private = bound.private_address().map_err(unknown)?;
        let urls = Urls {
            http: format!("http://{address}"),
            https: private.map(|address| format!("https://{address}")),
        };
        let (ended, intakes) = (CancellationToken::new(), stock.intakes.clone());
        let (retrievals, figures) = (Arc::clone(&stock.retrievals), bound.figures());
        let run = run(bound, stock, stop, ended.clone().drop_guard());
        let task = tasks.spawn(run.instrument(tracing::info_span!("gateway")));
        Ok(Some(Self { urls, ended, task, intakes, retrievals, figures }))
    }

    /// Returns where it answers.
    pub(crate) const fn urls(&self) -> &Urls {
        &self.urls
    }

    /// Waits until every answer under way has ended, or was cut because `drain` is over; the stop must have been
    /// asked for.
    pub(crate) async fn finished(&self, drain: Duration) {
        let limit = drain.max(LEAST_DRAIN).saturating_add(CUT);
        if tokio::time::timeout(limit, self.ended.cancelled()).await.is_err() {
            tracing::warn!("the gateway does not end");
            self.task.abort();
        }
        self.intakes.close().await;
    }
}

/// Opens the listener for those who watch the node, where the settings ask for one. It answers until `stop`, and
/// says from `stopping` on that the node is not ready.
///
/// # Errors
/// The address cannot be listened on.
pub(crate) async fn watch(
    node: &Node,
    gateway: Option<&Gateway>,
    stopping: CancellationToken,
    stop: CancellationToken,
    tasks: &mut JoinSet<&'static str>,
) -> Result<Option<SocketAddr>, ServeError> {
    let Some(address) = node.config.admin_listen else { return Ok(None) };
    let retrievals = gateway.map(|gateway| Arc::clone(&gateway.retrievals));
    let watch = Arc::new(Watch::new(node.clone(), retrievals, stopping, Instant::now()));
    let figures = gateway.map(|gateway| gateway.figures.clone());
    let admin = Admin::bind(address, watch.clone(), figures).await?;
    let bound = admin.address().map_err(|source| ServeError::Listen { address, source })?;
    let task = async move {
        tokio::select! {
            () = admin.run(stop) => {}
            () = watch.run() => {}
        }
        "admin listener"
    };
    tasks.spawn(task.instrument(tracing::info_span!("admin")));
    Ok(Some(bound))
}

/// Answers, and counts what was sent, until the stop and the last answer; `_ended` is told by being dropped.
async fn run(bound: Bound, stock: Arc<Stock>, stop: CancellationToken, _ended: DropGuard) -> &'static str {
    let answered = CancellationToken::new();
    let node = stock.node();
    let counted = stock.usage.write_down(node.store.clone(), node.pool.clone(), answered.clone());
    let answering = async {
        // Known at the stop; without it when the daemon ends by itself.
        let drain = || node.stop.borrow().unwrap_or_default().max(LEAST_DRAIN);
        bound.run(stop, drain).await;
        stock.retrievals.finish().await;
        answered.cancel();
    };
    tokio::join!(answering, counted);
    "gateway"
}

/// Returns where peers reach this node, with its peer id.
async fn addresses(node: &Node) -> Vec<String> {
    let listeners = match node.config.announce.is_empty() {
        true => node.net.listeners().await.unwrap_or_default(),
        false => node.config.announce.clone(),
    };
    let me = Protocol::P2p(node.net.local_peer_id());
    let named = |address: Multiaddr| match address.iter().last() {
        Some(Protocol::P2p(_)) => address,
        Some(_) | None => address.with(me.clone()),
    };
    listeners.into_iter().map(|address| named(address).to_string()).collect()
}
