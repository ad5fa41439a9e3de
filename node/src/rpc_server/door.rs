//! Accepting connections, and what each must show before it is served.

use std::io;
use std::sync::Arc;

use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::{Body, Incoming};
use jsonrpsee::Methods;
use jsonrpsee::core::BoxError;
use jsonrpsee::core::middleware::RpcServiceBuilder;
use jsonrpsee::server::{
    BatchRequestConfig, HttpBody, ServerConfig, ServerHandle, StopHandle, TowerServiceBuilder,
    serve_with_graceful_shutdown, stop_channel,
};
use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, service_fn};
use tracing::{debug, warn};

use super::GRACE;
use super::browser::Rules;
use super::notify::Notifications;

/// Largest request: names and paths, never content.
const MAX_REQUEST: u32 = 1 << 20;
/// Largest answer: a `list` of half a million refs.
pub(super) const MAX_ANSWER: u32 = 128 << 20;
/// Open connections; a shell loop of clients stays far below it.
const MAX_CONNECTIONS: usize = 128;
/// Open connections of pages; they have places of their own, so that no page keeps the owner's shell out.
const MAX_PAGES: usize = 32;
/// How long a page may take to show that it is let in. After that its connection is a WebSocket, or closed.
const HANDSHAKE: std::time::Duration = std::time::Duration::from_secs(10);
/// Long operations that one connection may watch.
const MAX_SUBSCRIPTIONS: u32 = 32;
/// Calls in one batch.
const MAX_BATCH: u32 = 256;
/// Messages to one client that wait for it to read.
const WAITING_MESSAGES: u32 = 256;
/// The pause after an accept that failed, so that a lack of file descriptors does not become a busy loop.
const BREATH: std::time::Duration = std::time::Duration::from_millis(100);

/// The secret that opens the TCP door.
#[derive(Clone)]
pub(super) struct Token(Arc<str>);

impl Token {
    pub(super) fn new(secret: String) -> Self {
        Self(secret.into())
    }

    /// Returns whether a header shows it.
    pub(super) fn fits(&self, header: Option<&HeaderValue>) -> bool {
        let shown =
            header.and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Bearer "));
        shown.is_some_and(|shown| self.is(shown.trim()))
    }

    /// Compares in a time that does not tell how much was right.
    pub(super) fn is(&self, shown: &str) -> bool {
        // An empty secret would be known to everybody.
        !self.0.is_empty() && shown.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

type Layered = TowerServiceBuilder<
    tower::layer::util::Stack<Notifications, tower::layer::util::Identity>,
    tower::layer::util::Identity,
>;

/// A door for pages: its listener, and what it asks of those who come.
pub(super) struct Pages {
    pub(super) listener: TcpListener,
    pub(super) rules: Rules,
}

/// The doors and the connections that came through them.
pub(super) struct Door {
    methods: Methods,
    builder: Layered,
    /// Counts connections of pages apart.
    page_builder: Layered,
    token: Option<Token>,
    stop: CancellationToken,
    stopping: StopHandle,
    handle: ServerHandle,
    connections: JoinSet<Result<(), BoxError>>,
    handshakes: JoinSet<Result<(), BoxError>>,
    sessions: TaskTracker,
}

impl Door {
    pub(super) fn new(methods: Methods, stop: CancellationToken, token: Option<Token>) -> Self {
        let (stopping, handle) = stop_channel();
        Self {
            methods,
            builder: builder(MAX_CONNECTIONS),
            page_builder: builder(MAX_PAGES),
            token,
            stop,
            stopping,
            handle,
            connections: JoinSet::new(),
            handshakes: JoinSet::new(),
            sessions: TaskTracker::new(),
        }
    }

    /// Accepts until the stop, then lets connections end.
    pub(super) async fn run(mut self, unix: UnixListener, tcp: Option<TcpListener>, pages: Option<Pages>) {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(ended) = self.connections.join_next() => on_ended(ended),
                Some(ended) = self.handshakes.join_next() => on_ended(ended),
                accepted = unix.accept() => self.on_unix(accepted.map(|(stream, _)| stream)).await,
                accepted = accept_tcp(tcp.as_ref()) => self.on_tcp(accepted).await,
                (accepted, rules) = accept_page(pages.as_ref()) => self.on_page(accepted, rules).await,
            }
        }
        // Without listeners nobody new can connect while the others finish.
        drop((unix, tcp, pages));
        let _ = self.handle.stop();
        self.sessions.close();
        let ended = async {
            self.handshakes.abort_all();
            while let Some(ended) = self.connections.join_next().await {
                on_ended(ended);
            }
            self.sessions.wait().await;
        };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            debug!("control connections cut");
        }
    }

    async fn on_unix(&mut self, accepted: io::Result<UnixStream>) {
        let me = rustix::process::geteuid().as_raw();
        match accepted {
            Ok(stream) => match stream.peer_cred() {
                Ok(peer) if peer.uid() == me => self.spawn(stream, None),
                Ok(peer) => warn!(uid = peer.uid(), "control connection of another user refused"),
                Err(error) => debug!(%error, "control connection without credentials refused"),
            },
            Err(error) => self.on_failed(&error).await,
        }
    }

    async fn on_tcp(&mut self, accepted: io::Result<TcpStream>) {
        match (accepted, self.token.clone()) {
            (Ok(stream), Some(token)) => self.spawn(stream, Some(token)),
            // There is no TCP door without a token.
            (Ok(_), None) => {}
            (Err(error), _) => self.on_failed(&error).await,
        }
    }

    async fn on_page(&mut self, accepted: io::Result<TcpStream>, rules: &Rules) {
        match accepted.and_then(|stream| Ok((stream.local_addr()?, stream))) {
            Ok((at, stream)) => self.spawn_page(stream, rules.at(at)),
            Err(error) => self.on_failed(&error).await,
        }
    }

    async fn on_failed(&self, error: &io::Error) {
        warn!(%error, "control connection not accepted");
        tokio::time::sleep(BREATH).await;
    }

    fn spawn<T: AsyncRead + AsyncWrite + Send + Unpin + 'static>(&mut self, stream: T, token: Option<Token>) {
        if self.connections.len() >= MAX_CONNECTIONS {
            warn!(max = MAX_CONNECTIONS, "control connection refused: too many");
            return;
        }
        let inner = self.builder.clone().build(self.methods.clone(), self.stopping.clone());
        let sessions = self.sessions.clone();
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            let mut inner = inner.clone();
            if request.headers().contains_key(header::UPGRADE) {
                // An upgraded connection leaves its task for one of the library's; the stop waits for that one too.
                sessions.spawn(inner.on_session_closed());
            }
            let admitted =
                token.as_ref().is_none_or(|token| token.fits(request.headers().get(header::AUTHORIZATION)));
            async move {
                if !admitted {
                    return Ok(unauthorised());
                }
                as_json(request.headers_mut());
                inner.call(request).await.map(without_null).map_err(io::Error::other)
            }
        });
        let stopping = self.stopping.clone();
        // Spawned as it is: inside an async block the compiler cannot prove the future's error general enough.
        self.connections.spawn(serve_with_graceful_shutdown(stream, service, stopping.shutdown()));
    }

    fn spawn_page(&mut self, stream: TcpStream, rules: Rules) {
        if self.handshakes.len() >= MAX_PAGES {
            warn!(max = MAX_PAGES, "connection of a page refused: too many at once");
            return;
        }
        let inner = self.page_builder.clone().build(self.methods.clone(), self.stopping.clone());
        let sessions = self.sessions.clone();
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            let mut inner = inner.clone();
            let admitted = rules.admit(&mut request);
            if admitted.is_ok() {
                sessions.spawn(inner.on_session_closed());
            }
            async move {
                let admitted = match admitted {
                    Ok(admitted) => admitted,
                    Err(refusal) => return Ok(*refusal),
                };
                let mut response = inner.call(request).await.map_err(io::Error::other)?;
                admitted.answer(&mut response);
                Ok::<_, io::Error>(response)
            }
        });
        let serve = serve_with_graceful_shutdown(stream, service, self.stopping.clone().shutdown());
        // Once it is a WebSocket, the connection leaves this task; until then it has little time.
        self.handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE, serve).await {
                Ok(ended) => ended,
                Err(late) => Err(late.into()),
            }
        });
    }
}

/// Makes what serves so many connections at once.
fn builder(connections: usize) -> Layered {
    let config = ServerConfig::builder()
        .max_request_body_size(MAX_REQUEST)
        .max_response_body_size(MAX_ANSWER)
        .max_connections(u32::try_from(connections).unwrap_or(u32::MAX))
        .max_subscriptions_per_connection(MAX_SUBSCRIPTIONS)
        .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
        .set_message_buffer_capacity(WAITING_MESSAGES)
        .build();
    jsonrpsee::server::ServerBuilder::with_config(config)
        .set_rpc_middleware(RpcServiceBuilder::new().layer(Notifications))
        .to_service_builder()
}

fn on_ended(ended: Result<Result<(), BoxError>, JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "control connection ended"),
        Err(error) => warn!(%error, "control connection broke"),
    }
}

async fn accept_tcp(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn accept_page(pages: Option<&Pages>) -> (io::Result<TcpStream>, &Rules) {
    match pages {
        Some(Pages { listener, rules }) => (listener.accept().await.map(|(stream, _)| stream), rules),
        None => std::future::pending().await,
    }
}

/// Takes what `curl -d` sends by itself for JSON: whoever got here has shown who he is, and no browser gets here.
fn as_json(headers: &mut http::HeaderMap) {
    const FORM: &[u8] = b"application/x-www-form-urlencoded";
    let plain = headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes() == FORM);
    if plain {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
}

/// Sends nothing where the library sends `null`: what was notified gets no answer. No answer has four bytes.
fn without_null(response: Response<HttpBody>) -> Response<HttpBody> {
    const NULL: Option<u64> = Some(4);
    if response.status() != StatusCode::OK || response.body().size_hint().exact() != NULL {
        return response;
    }
    let mut empty = Response::new(HttpBody::empty());
    *empty.status_mut() = StatusCode::NO_CONTENT;
    empty
}

fn unauthorised() -> Response<HttpBody> {
    let mut response = Response::new(HttpBody::from("the control API wants the token of rpc.token\n"));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
