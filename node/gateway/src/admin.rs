//! The listener for those who run the node: is it alive, is it ready, and what has it counted.
//!
//! Has an address of its own, never the gateway's: what it says is nobody else's business. It takes GET and HEAD,
//! changes nothing, and goes on answering while the gateway lets its last answers end.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::figures::Figures;
use crate::server::{ServeError, listen};

/// Connections at once; more wait.
const CONNECTIONS: usize = 32;

/// How long a connection may take between requests and for the head of one.
const HEAD: Duration = Duration::from_secs(10);

/// How long a connection may last in all, so that 32 idle ones do not keep a probe out.
const WHOLE: Duration = Duration::from_secs(120);

/// How long accepting rests when the system has no descriptors left.
const BREATH: Duration = Duration::from_millis(100);

/// What the node says about itself. Asked often; must not wait.
pub trait Probe: Send + Sync + 'static {
    /// Returns what keeps the node from serving; nothing when it is ready.
    fn troubles(&self) -> Vec<String>;

    /// Returns what the node counts.
    fn samples(&self) -> Vec<Sample>;
}

/// A figure of the node.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// In lower case with underscores, unit last: `pop_store_bytes`. A counter's ends in `_total`.
    pub name: &'static str,
    /// One sentence without a full stop.
    pub help: &'static str,
    /// Whether it only grows.
    pub is_counter: bool,
    /// What tells samples of one name apart; samples of one name follow one another.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: f64,
}

/// The listener, before it answers.
pub struct Admin {
    listener: TcpListener,
    probe: Arc<dyn Probe>,
    gateway: Option<Figures>,
}

impl Admin {
    /// Takes the address. `gateway` is there when the gateway is on.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn bind(
        address: SocketAddr,
        probe: Arc<dyn Probe>,
        gateway: Option<Figures>,
    ) -> Result<Self, ServeError> {
        Ok(Self { listener: listen(address)?, probe, gateway })
    }

    /// Returns the address.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop`. Connections are then closed at once.
    ///
    /// Dropping it leaves connections to their deadlines.
    pub async fn run(self, stop: CancellationToken) {
        let Self { listener, probe, gateway } = self;
        let desk = Arc::new(Desk { probe, gateway });
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let tasks = TaskTracker::new();
        let accept = async {
            loop {
                let Ok(seat) = Arc::clone(&room).acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let serve = converse(Arc::clone(&desk), stream);
                        let stop = stop.clone();
                        tasks.spawn(async move {
                            let _seat = seat;
                            let _ = stop.run_until_cancelled(tokio::time::timeout(WHOLE, serve)).await;
                        });
                    }
                    Err(_) => tokio::time::sleep(BREATH).await,
                }
            }
        };
        let _ = stop.run_until_cancelled(accept).await;
        tasks.close();
        tasks.wait().await;
    }
}

/// What the listener's connections share.
struct Desk {
    probe: Arc<dyn Probe>,
    gateway: Option<Figures>,
}

async fn converse(desk: Arc<Desk>, stream: TcpStream) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let response = desk.answer(request.method(), request.uri().path());
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(16 * 1024);
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

impl Desk {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/livez" => text(StatusCode::OK, "alive\n".into()),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            _ => text(StatusCode::NOT_FOUND, "/livez, /readyz and /metrics are here\n".into()),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let mut troubles = self.probe.troubles();
        if self.gateway.as_ref().is_some_and(Figures::is_draining) {
            troubles.push("the gateway is stopping".into());
        }
        match troubles.is_empty() {
            true => text(StatusCode::OK, "ready\n".into()),
            false => text(StatusCode::SERVICE_UNAVAILABLE, troubles.join("\n") + "\n"),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut body = String::new();
        let written = match &self.gateway {
            Some(figures) => figures.write(&mut body),
            None => Ok(()),
        };
        if written.and_then(|()| write(&self.probe.samples(), &mut body)).is_err() {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "the figures cannot be written\n".into());
        }
        body.push_str("# EOF\n");
        let mut response = text(StatusCode::OK, body);
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Writes samples in the text form of OpenMetrics.
fn write(samples: &[Sample], to: &mut String) -> std::fmt::Result {
    let mut before = "";
    for sample in samples {
        if sample.name != before {
            before = sample.name;
            let family = if sample.is_counter { before.trim_end_matches("_total") } else { before };
            let kind = if sample.is_counter { "counter" } else { "gauge" };
            writeln!(to, "# HELP {family} {}.", sample.help)?;
            writeln!(to, "# TYPE {family} {kind}")?;
        }
        to.push_str(sample.name);
        for (at, (label, value)) in sample.labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(to, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' })?;
        }
        let end = if sample.labels.is_empty() { "" } else { "}" };
        writeln!(to, "{end} {}", sample.value)?;
    }
    Ok(())
}
