//! The life of the daemon: take the repository, put the parts together, answer until told to stop, stop in order.
//!
//! The order of the end is written once, in [`Running::stop`]: no new calls, no new deals, vouchers on disk,
//! network closed, store synced. A second signal ends the process at once; recovery copes with that.

mod error;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libp2p::Multiaddr;
use pop_rpc::ErrorCode;
use pop_store::{Options, Store};
use pop_units::Bytes;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use self::error::DaemonError;
use crate::config::Config;
use crate::money::{self, Money, MoneyError};
use crate::net::{self, NetConfig, NetEvent, NetHandle};
use crate::node::{Node, Parts};
use crate::pool::Pool;
use crate::repo::{Repo, RepoError, RepoLock};
use crate::rpc_server::{self, Browsers, Listen, Serving};
use crate::trade::{self, Trade};
use crate::web::{self, Gateway};

/// How long running paid deals may take to finish when nobody says otherwise.
pub(crate) const DRAIN: Duration = Duration::from_secs(30);
/// Calls that may wait for the chain at once.
const WAITS: usize = 4;
/// How long the stop waits for calls that wait for the chain; the outbox sends again what they leave.
const LAST_WAIT: Duration = Duration::from_secs(10);
/// How often the collector looks at the chain: half an epoch, so that no epoch passes unseen.
const COLLECT: Duration = Duration::from_secs(15);

/// Refuses settings of services that are still to come.
fn check_built(config: &Config) -> Result<(), DaemonError> {
    let asked = [
        (config.up_limit.is_some(), "up-limit"),
        (config.down_limit.is_some(), "down-limit"),
        (!config.replicate_interval.as_duration().is_zero(), "replicate-interval"),
    ];
    match asked.into_iter().find(|(is_set, _)| *is_set) {
        Some((_, name)) => Err(DaemonError::NotBuilt(name)),
        None => Ok(()),
    }
}

/// Checks that nobody listens on the TCP ports that are to be listened on.
fn check_ports(listen: &[Multiaddr]) -> Result<(), DaemonError> {
    use libp2p::multiaddr::Protocol;
    for address in listen {
        let mut parts = address.iter();
        let ip = match parts.next() {
            Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
            Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
            _ => continue,
        };
        let Some(Protocol::Tcp(port)) = parts.next() else { continue };
        if let Err(source) = std::net::TcpListener::bind((ip, port)) {
            return Err(DaemonError::PortTaken { address: address.clone(), source });
        }
    }
    Ok(())
}

/// What a daemon that is ready tells whoever started it.
#[derive(Clone, Debug)]
pub struct Ready {
    /// This node's peer id.
    pub peer_id: libp2p::PeerId,
    /// Where it listens.
    pub listeners: Vec<Multiaddr>,
    /// The control socket.
    pub socket: PathBuf,
    /// The chain its money lives on.
    pub chain_id: String,
    /// The URL of its gateway.
    pub gateway: Option<String>,
    /// The same over TLS.
    pub gateway_https: Option<String>,
    /// Where it is watched.
    pub admin: Option<std::net::SocketAddr>,
    /// Where pages in browsers reach its control API.
    pub pages: Option<std::net::SocketAddr>,
}

/// Runs the daemon until a signal or `pop off` ends it.
///
/// # Errors
/// It cannot start, or one of its tasks ended by itself.
pub async fn run(
    repo: PathBuf,
    config: Config,
    ready: Option<oneshot::Sender<Ready>>,
) -> Result<(), DaemonError> {
    let (stop, mut stopping) = watch::channel(None);
    let signalled = AbortOnDrop(tokio::spawn(Signals::new()?.watch(stop.clone())));
    // A start that is told to stop stops like a crash would, which recovery copes with.
    let mut running = tokio::select! {
        started = Running::start(&repo, config, stop.clone()) => started?,
        _ = stopping.wait_for(Option::is_some) => return Ok(()),
    };
    if let Some(ready) = ready {
        // Whoever asked may have lost interest; the daemon runs all the same.
        let _ = ready.send(running.ready.clone());
    }
    let failure = tokio::select! {
        biased;
        _ = stopping.wait_for(Option::is_some) => None,
        Some(ended) = running.tasks.join_next() => Some(DaemonError::TaskEnded(ended.unwrap_or("crashed"))),
    };
    let drain = (*stopping.borrow()).unwrap_or(Duration::ZERO);
    let stopped = running.stop(drain).await;
    drop(signalled);
    failure.map_or(stopped, Err)
}

/// A task that ends with its owner.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The signals that end a daemon.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, DaemonError> {
        let interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Signals)?;
        let terminate = signal(SignalKind::terminate()).map_err(DaemonError::Signals)?;
        Ok(Self { interrupt, terminate })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    async fn watch(mut self, stop: watch::Sender<Option<Duration>>) {
        self.next().await;
        tracing::info!("stopping; a second signal stops at once");
        stop.send_replace(Some(DRAIN));
        self.next().await;
        std::process::exit(i32::from(ErrorCode::Interrupted.exit()));
    }
}

/// A daemon that answers.
struct Running {
    repo: Repo,
    _lock: RepoLock,
    node: Node,
    serving: Serving,
    gateway: Option<Gateway>,
    /// Each task returns its name; the first that ends by itself ends the daemon.
    tasks: JoinSet<&'static str>,
    calls: CancellationToken,
    workers: CancellationToken,
    network: CancellationToken,
    ready: Ready,
}

impl Running {
    async fn start(
        path: &Path,
        config: Config,
        stop: watch::Sender<Option<Duration>>,
    ) -> Result<Self, DaemonError> {
        check_built(&config)?;
        config.check()?;
        if config.regions.is_empty() {
            return Err(DaemonError::NoRegion);
        }
        check_ports(&config.listen)?;
        let repo = Repo::open(path)?;
        let lock = repo.lock()?;
        repo.clear_tmp();
        let identity = repo.identity()?;
        let store = open_store(&repo, &config).await?;
        let mut money = Money::open(&repo, &config, &store.state()).await?;
        let [calls, workers, network] = std::array::from_fn(|_| CancellationToken::new());
        let mut tasks = JoinSet::new();
        let chain_url = serve_chain(&mut money, &workers, &mut tasks)?;
        let (net, events) = start_net(identity.clone(), &config, &network, &mut tasks)?;
        let pool = Pool::new();
        let trade = start_trade(
            trade::Parts {
                net: net.clone(),
                store: store.clone(),
                wallet: money.wallet.clone(),
                pool: pool.clone(),
                keypair: identity,
            },
            &config,
            events,
            &workers,
            &mut tasks,
        )?;
        let listeners = net.listeners().await.map_err(|_| DaemonError::TaskEnded("net"))?;
        let chain_id = money.chain.id().to_string();
        let peer_id = net.local_peer_id();
        let node = Node::new(Parts {
            config,
            store,
            pool,
            money,
            chain_url,
            gateway: std::sync::OnceLock::new(),
            net,
            trade,
            tx: std::sync::Arc::default(),
            waits: Pool::of(WAITS),
            collect_now: tokio::sync::Notify::new(),
            stop,
        });
        tasks.spawn(collect(node.clone(), workers.clone()).instrument(tracing::info_span!("collector")));
        let Doors { serving, gateway, admin } =
            open_doors(&node, &repo, (&calls, &workers), &mut tasks).await?;
        repo.announce_api(&serving.endpoint().to_string())?;
        let ready = Ready {
            peer_id,
            listeners,
            socket: repo.socket(),
            chain_id,
            gateway: node.gateway.get().map(|urls| urls.http.clone()),
            gateway_https: node.gateway.get().and_then(|urls| urls.https.clone()),
            admin,
            pages: serving.pages(),
        };
        tracing::info!(
            peer = %ready.peer_id, chain = %ready.chain_id, repo = %repo.path().display(),
            gateway = ready.gateway, https = ready.gateway_https, admin = ready.admin.map(tracing::field::display),
            pages = ready.pages.map(tracing::field::display), "ready",
        );
        Ok(Self { repo, _lock: lock, node, serving, gateway, tasks, calls, workers, network, ready })
    }

    /// Stops in order; `drain` is what running paid deals get.
    async fn stop(mut self, drain: Duration) -> Result<(), DaemonError> {
        tracing::info!(?drain, "stopping");
        self.repo.withdraw_api();
        self.calls.cancel();
        self.serving.finished().await;
        if let Some(gateway) = &self.gateway {
            gateway.finished(drain).await;
        }
        self.node.trade.drain(drain).await;
        self.workers.cancel();
        self.network.cancel();
        let ended = async {
            while self.tasks.join_next().await.is_some() {}
            self.node.waits.close().await;
        };
        if tokio::time::timeout(LAST_WAIT, ended).await.is_err() {
            tracing::warn!("stopping while the chain has not answered");
            self.tasks.abort_all();
        }
        self.node.pool.close().await;
        let store = self.node.store.clone();
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        closed.unwrap_or(Ok(())).map_err(DaemonError::Close)?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// What others reach this node by, besides its peers.
struct Doors {
    serving: Serving,
    gateway: Option<Gateway>,
    admin: Option<std::net::SocketAddr>,
}

/// Opens the doors that the settings ask for; the control API comes last, as whoever reaches it finds the others open.
async fn open_doors(
    node: &Node,
    repo: &Repo,
    (calls, workers): (&CancellationToken, &CancellationToken),
    tasks: &mut JoinSet<&'static str>,
) -> Result<Doors, DaemonError> {
    let config = &node.config;
    let gateway = Gateway::start(node, repo.path(), calls.clone(), tasks).await?;
    if let Some(gateway) = &gateway {
        // Set once: a node has one gateway.
        let _ = node.gateway.set(gateway.urls().clone());
    }
    let admin = web::watch(node, gateway.as_ref(), calls.clone(), workers.clone(), tasks).await?;
    let tcp = config.rpc_listen.map(|address| Ok::<_, RepoError>((address, repo.token("rpc.token")?)));
    let browsers = config.rpc_browser_listen.map(|listen| {
        let (origins, names) = (config.rpc_origins.clone(), config.domains.clone());
        Ok::<_, RepoError>(Browsers { listen, origins, names, token: repo.token("rpc.token")? })
    });
    let listen = Listen { socket: repo.socket(), tcp: tcp.transpose()?, browsers: browsers.transpose()? };
    let serving = rpc_server::serve(listen, pop_rpc::module(node.clone()), calls.clone()).await?;
    Ok(Doors { serving, gateway, admin })
}

/// Returns the size of segments: small stores have smaller ones, so that room comes back in useful portions.
fn segment_size(capacity: Bytes) -> Bytes {
    let portion = Bytes::new(capacity.get() / 16);
    portion.clamp(Bytes::MIB.saturating_mul(4), Options::default().segment_size)
}

async fn open_store(repo: &Repo, config: &Config) -> Result<Store, DaemonError> {
    let path = repo.path().to_owned();
    let options = Options {
        segment_size: segment_size(config.capacity),
        capacity: config.capacity,
        low_watermark: config.low_watermark.get(),
        policy: config.eviction,
    };
    let opened = tokio::task::spawn_blocking(move || {
        let store = Store::open(&path, options)?;
        crate::content::commit::finish_interrupted(&store).map_err(DaemonError::Tx)?;
        crate::content::drop_interrupted(&store);
        Ok::<_, DaemonError>(store)
    });
    let store = opened.await.map_err(|_| DaemonError::TaskEnded("store"))??;
    let report = store.report();
    for root in &report.broken {
        tracing::warn!(%root, "blocks of this root are damaged or gone; `pop get` brings them back");
    }
    tracing::info!(?report, used = %store.used(), "store open");
    Ok(store)
}

/// Serves the embedded chain to the operator's other nodes, where the settings ask for it.
fn serve_chain(
    money: &mut Money,
    stop: &CancellationToken,
    tasks: &mut JoinSet<&'static str>,
) -> Result<Option<String>, DaemonError> {
    let Some(served) = money.served.take() else { return Ok(None) };
    let address = served.address()?;
    let stop = stop.clone();
    let task = async move {
        if let Err(error) = pop_chain::serve(served.listener, served.router, stop).await {
            tracing::error!(%error, "the chain's server ended");
        }
        "chain server"
    };
    tasks.spawn(task.instrument(tracing::info_span!("chain")));
    Ok(Some(money::url_of(address)))
}

fn start_net(
    keypair: libp2p::identity::Keypair,
    config: &Config,
    stop: &CancellationToken,
    tasks: &mut JoinSet<&'static str>,
) -> Result<(NetHandle, tokio::sync::mpsc::Receiver<NetEvent>), DaemonError> {
    let settings = NetConfig {
        listen: config.listen.clone(),
        announce: config.announce.clone(),
        bootstrap: config.bootstrap.clone(),
        topics: trade::topics(&config.regions),
        protocols: trade::protocols(),
        ..NetConfig::new(keypair)
    };
    let (net, events, driver) = net::start(settings, stop.clone())?;
    let task = async move {
        driver.await;
        "net"
    };
    tasks.spawn(task.instrument(tracing::info_span!("net")));
    Ok((net, events))
}

fn start_trade(
    parts: trade::Parts,
    config: &Config,
    events: tokio::sync::mpsc::Receiver<NetEvent>,
    stop: &CancellationToken,
    tasks: &mut JoinSet<&'static str>,
) -> Result<Trade, MoneyError> {
    let (trade, driver) = Trade::new(parts, config, events, stop.clone())
        .map_err(|error| MoneyError::Wallet(Box::new(error)))?;
    let task = async move {
        driver.await;
        "trade"
    };
    tasks.spawn(task.instrument(tracing::info_span!("trade")));
    Ok(trade)
}

/// Looks at the chain from time to time: submits what a settling channel owes, collects what is due.
async fn collect(node: Node, stop: CancellationToken) -> &'static str {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return "collector",
            () = node.collect_now.notified() => {}
            () = tokio::time::sleep(COLLECT) => {}
        }
        let (wallet, runtime) = (node.money.wallet.clone(), tokio::runtime::Handle::current());
        match node.waits.run(move || runtime.block_on(wallet.tick())).await {
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => tracing::warn!(%error, "collector will try again"),
        }
    }
}
