//! Listeners, connections and their bounds.
//!
//! A connection goes: `accept` (is there room?) → [`line`] (what moves on the wire, and how it ends) → TLS, if
//! it is spoken → [`connection`] (HTTP, admission of each request) → an [`Answer`] → [`outflow`] (the body,
//! counted) → [`record`] (log and figures). No request waits for another, for the log or for a lock that is held
//! longer than a look into a map.

mod accept;
mod connection;
mod guest;
mod id;
mod inflow;
mod line;
mod log;
mod outflow;
mod record;
mod stream;
#[cfg(test)]
mod tests;
mod watch;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{HeaderMap, Request, Response};
use pop_dag::Cid;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::content::Content;
use crate::figures::Figures;
use crate::handle;
use crate::refusal::Refusal;
use crate::request::lists::ListError;
use crate::request::{self, headers, host};
use crate::server::accept::Plain;
use crate::server::guest::Guests;
use crate::server::id::Ids;
use crate::server::log::Log;
use crate::server::record::Told;
use crate::settings::{Limits, Settings};
use crate::site::Site;
use crate::tls::{Acceptor, Keeper, TlsError};

pub(crate) use crate::server::accept::listen;
pub(crate) use crate::server::guest::key as guest_of;

/// How long connections may take to notice that they are cut.
const CUT: Duration = Duration::from_secs(2);

/// How a request came; stands in its extensions when it came over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transport {
    /// Whether it came over TLS.
    pub(crate) is_tls: bool,
}

/// The root that a response is about. An answer with content puts it into the response's extensions, so that the
/// bytes that went out are counted for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served(pub(crate) Cid);

/// Why the gateway cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A list of what is served cannot be used.
    #[error(transparent)]
    List(#[from] ListError),
    /// The access log cannot be written.
    #[error("the access log cannot be written")]
    Log(#[source] std::io::Error),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A gateway that listens and does not answer yet.
pub struct Bound {
    site: Arc<Site>,
    plain: TcpListener,
    private: Option<Private>,
    log: Option<(Log, JoinHandle<()>)>,
}

/// The listener for TLS, and what it takes.
struct Private {
    listener: TcpListener,
    acceptor: Acceptor,
    keeper: Keeper,
}

impl Bound {
    /// Takes the addresses of the settings and opens the access log.
    ///
    /// # Errors
    /// An address cannot be listened on, or a file of the settings cannot be used.
    pub async fn bind(settings: Settings, content: Arc<dyn Content>) -> Result<Self, ServeError> {
        let mut site = Site::new(settings, content);
        site.lists.load(Instant::now())?;
        let plain = accept::listen(site.settings.listen)?;
        let private = match &site.settings.tls {
            Some(tls) => {
                let (acceptor, keeper) = Acceptor::new(&tls.source)?;
                site.to_tls = tls.redirect.map(|port| request::to_tls::ToTls::new(acceptor.clone(), port));
                Some(Private { listener: accept::listen(tls.listen)?, acceptor, keeper })
            }
            None => None,
        };
        let site = Arc::new(site);
        let log = site.settings.access_log.as_ref();
        let log = log.map(|log| Log::open(log, site.figures.clone())).transpose().map_err(ServeError::Log)?;
        Ok(Self { site, plain, private, log })
    }

    /// Returns the address of plain HTTP.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.plain.local_addr()
    }

    /// Returns the address of TLS, when it is spoken.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn private_address(&self) -> std::io::Result<Option<SocketAddr>> {
        self.private.as_ref().map(|private| private.listener.local_addr()).transpose()
    }

    /// Returns what the gateway counts.
    pub fn figures(&self) -> Figures {
        self.site.figures.clone()
    }

    /// Answers until `stop`, then lets answers under way end, for as long as `drain` says then, and resets the
    /// connections of those that have not.
    ///
    /// Dropping it stops the listeners and leaves connections to their end; after `stop` it cuts them, so that
    /// whoever waits no longer for answers under way does not let them look whole.
    pub async fn run(self, stop: CancellationToken, drain: impl FnOnce() -> Duration + Send) {
        let (log, writer) = self.log.unzip();
        let content = Arc::clone(&self.site.content);
        let told = Told {
            figures: self.site.figures.clone(),
            log,
            served: Box::new(move |root, size, to| content.served(root, size, to)),
        };
        let limits = self.site.settings.limits.clone();
        let hall = Hall::new(self.site, limits, told);
        let plain = accept::serve(Arc::clone(&hall), self.plain, Plain);
        let private = async {
            let Some(Private { listener, acceptor, keeper }) = self.private else { return };
            tokio::join!(accept::serve(Arc::clone(&hall), listener, acceptor), keeper.run(stop.clone()));
        };
        // Until the stop; then nothing listens any more.
        let _ = stop.run_until_cancelled(futures::future::join(plain, private)).await;
        hall.close(drain()).await;
        drop(hall);
        if let Some(writer) = writer {
            let _ = tokio::time::timeout(CUT, writer).await;
        }
    }
}

/// What requests are answered by.
pub(crate) trait Answer: Send + Sync + 'static {
    /// Answers a request of a neighbour.
    fn answer(
        self: Arc<Self>,
        request: Request<Body>,
        peer: IpAddr,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// Answers a request that was refused before it was looked at.
    fn refuse(&self, refusal: Refusal) -> Response<Body>;

    /// Returns who asks: the neighbour, or whom it speaks for if it is believed.
    fn client(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr;

    /// Returns whether a neighbour speaks for others.
    fn is_proxy(&self, peer: IpAddr) -> bool;
}

impl Answer for Site {
    fn answer(
        self: Arc<Self>,
        request: Request<Body>,
        peer: IpAddr,
    ) -> impl Future<Output = Response<Body>> + Send {
        handle::handle(self, request, peer)
    }

    fn refuse(&self, refusal: Refusal) -> Response<Body> {
        let mut response = refusal.into_response();
        headers::add_common(response.headers_mut(), self.settings.uploads.is_some());
        response
    }

    fn client(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        host::client(&self.settings, headers, peer)
    }

    fn is_proxy(&self, peer: IpAddr) -> bool {
        host::is_proxy(&self.settings, peer)
    }
}

/// What all connections share.
struct Hall<A> {
    answers: Arc<A>,
    limits: Arc<Limits>,
    guests: Arc<Guests>,
    ids: Ids,
    told: Arc<Told>,
    tasks: TaskTracker,
    /// No new connections; those that are there end after the answers under way.
    stop: CancellationToken,
    /// What still runs is cut.
    end: CancellationToken,
    /// How far the stop is. Asked for each time a connection moves, where a token would cost a lock.
    stage: AtomicU8,
}

impl<A: Answer> Hall<A> {
    fn new(answers: Arc<A>, limits: Limits, told: Told) -> Arc<Self> {
        let guests = Guests::new(&limits, told.figures.clone(), Instant::now());
        Arc::new(Self {
            answers,
            limits: Arc::new(limits),
            guests,
            ids: Ids::new(),
            told: Arc::new(told),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            end: CancellationToken::new(),
            stage: AtomicU8::new(0),
        })
    }

    /// Lets answers under way end for as long as `drain`, then cuts the others. Dropped before that, it cuts them at
    /// once.
    async fn close(&self, drain: Duration) {
        let _cut = CutOnDrop(self);
        self.told.figures.drain();
        self.stage.store(1, Ordering::Release);
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(drain, self.tasks.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(
            connections = self.tasks.len(),
            "answers under way are cut, as the time to stop is over"
        );
        self.cut();
        let _ = tokio::time::timeout(CUT, self.tasks.wait()).await;
    }
}

impl<A> Hall<A> {
    fn is_stopping(&self) -> bool {
        self.stage.load(Ordering::Acquire) >= 1
    }

    fn is_over(&self) -> bool {
        self.stage.load(Ordering::Acquire) >= 2
    }

    fn cut(&self) {
        self.stage.store(2, Ordering::Release);
        self.end.cancel();
    }
}

/// Cuts what still runs when the stop is given up: the system would end those connections in order, and a client
/// of HTTP/1.0 takes an answer without a length for whole then.
struct CutOnDrop<'a, A>(&'a Hall<A>);

impl<A> Drop for CutOnDrop<'_, A> {
    fn drop(&mut self) {
        self.0.cut();
    }
}
