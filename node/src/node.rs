//! What every call of the control API may touch: the parts of a running node, shared by cheap clones.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pop_store::Store;
use tokio::sync::{Mutex, Notify, watch};

use crate::config::Config;
use crate::money::Money;
use crate::net::NetHandle;
use crate::pool::Pool;
use crate::trade::Trade;
use crate::web::Urls;

/// The parts of a running node.
#[derive(Clone)]
pub(crate) struct Node(Arc<Parts>);

/// See [`Node`].
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) pool: Pool,
    pub(crate) money: Money,
    /// Where the embedded chain is served to other nodes.
    pub(crate) chain_url: Option<String>,
    /// Where the gateway answers, once it does.
    pub(crate) gateway: OnceLock<Urls>,
    pub(crate) net: NetHandle,
    pub(crate) trade: Trade,
    /// Puts and commits of the one open transaction take turns. The turn goes with the work and not with the
    /// call: a call that is dropped leaves its work running to its end.
    pub(crate) tx: Arc<Mutex<()>>,
    /// Waiting for the chain has its own few threads, so that a slow chain never holds up the store.
    pub(crate) waits: Pool,
    /// Wakes the collector before its time.
    pub(crate) collect_now: Notify,
    /// Asks the daemon to stop, with the time that paid deals get.
    pub(crate) stop: watch::Sender<Option<Duration>>,
}

impl Node {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for Node {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
