//! Listeners, connections and their bounds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use pop_dag::Cid;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::content::Content;
use crate::settings::Settings;
use crate::site::Site;

/// How long accepting rests when the system has no descriptors left: it must never spin.
const BREATH: Duration = Duration::from_millis(100);

/// How a request came; stands in its extensions.
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
    List(#[from] crate::request::lists::ListError),
}

/// A gateway that listens and does not answer yet.
pub struct Bound {
    site: Arc<Site>,
    plain: TcpListener,
}

impl Bound {
    /// Takes the addresses of the settings.
    ///
    /// # Errors
    /// An address cannot be listened on, or a file of the settings cannot be used.
    pub async fn bind(settings: Settings, content: Arc<dyn Content>) -> Result<Self, ServeError> {
        let address = settings.listen;
        let plain = TcpListener::bind(address).await;
        let plain = plain.map_err(|source| ServeError::Listen { address, source })?;
        let site = Site::new(settings, content);
        site.lists.load(std::time::Instant::now())?;
        Ok(Self { site: Arc::new(site), plain })
    }

    /// Returns the address of plain HTTP.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.plain.local_addr()
    }

    /// Answers until `stop`, then lets answers under way end, within bounds.
    ///
    /// Dropping it leaves connections that were accepted to their end.
    pub async fn run(self, stop: CancellationToken) {
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.plain.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => {
                    connections.spawn(converse(Arc::clone(&self.site), stream, from, stop.clone()));
                }
                Err(_) => tokio::time::sleep(BREATH).await,
            }
        }
        connections.close();
        let _ = tokio::time::timeout(self.site.settings.limits.drain, connections.wait()).await;
    }
}

/// Answers the requests of one connection.
async fn converse(site: Arc<Site>, stream: TcpStream, from: SocketAddr, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let site = Arc::clone(&site);
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Transport { is_tls: false });
            Ok::<_, std::convert::Infallible>(crate::handle::handle(site, request, from.ip()).await)
        }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
