//! The caller's half of the contract: typed calls and subscriptions over a unix socket or loopback TCP.
//!
//! It speaks WebSocket, so that one connection carries calls and subscriptions; calls have no deadline of their own,
//! because how long a `get` may take is its caller's business.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use jsonrpsee::client_transport::ws::{
    AsyncRead, AsyncWrite, HeaderMap, HeaderValue, Url, WsTransportClientBuilder,
};
use jsonrpsee::core::client::{ClientT, Error as CallError, Subscription, SubscriptionClientT};
use jsonrpsee::core::traits::ToRpcParams;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::net::{TcpStream, UnixStream};

use crate::{Error, ErrorCode, Event, Progress};

/// Calls end when they are done, not when a clock says so; the library wants a number, and a year is no deadline.
const NO_DEADLINE: Duration = Duration::from_secs(365 * 24 * 3600);
/// A daemon on the same machine that does not shake hands in this time is stuck.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Events that wait for a caller that is busy printing.
const WAITING_EVENTS: usize = 16 * 1024;
/// Longest answer that is read: a `list` of half a million refs.
const MAX_ANSWER: u32 = 128 << 20;

/// Where a daemon answers, as the file `<repo>/api` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket: `unix:/path`.
    Unix(PathBuf),
    /// A TCP socket that wants a token: `tcp:127.0.0.1:1234`.
    Tcp(SocketAddr),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// Text that names no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address of a control socket; it looks like unix:/path or tcp:127.0.0.1:1234")]
pub struct ParseEndpointError(String);

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let unix = text.strip_prefix("unix:").filter(|path| path.starts_with('/'));
        let tcp = text.strip_prefix("tcp:").and_then(|address| address.parse().ok());
        match (unix, tcp) {
            (Some(path), _) => Ok(Self::Unix(path.into())),
            (_, Some(address)) => Ok(Self::Tcp(address)),
            _ => Err(ParseEndpointError(text.to_owned())),
        }
    }
}

/// A connection to one daemon; any number of calls may run at the same time.
#[derive(Debug)]
pub struct Client {
    inner: jsonrpsee::core::client::Client,
}

impl Client {
    /// Connects to the daemon of a repo: the socket that `<repo>/api` names.
    ///
    /// # Errors
    /// [`ErrorCode::NoDaemon`] when there is none or it does not answer. Cancel safe.
    pub async fn open(repo: &Path) -> Result<Self, Error> {
        let absent = |why: String| {
            Error::new(ErrorCode::NoDaemon, format!("no daemon answers for {}: {why}", repo.display()))
        };
        let text = tokio::fs::read_to_string(repo.join("api")).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => absent("it is not running".to_owned()),
            _ => absent(error.to_string()),
        })?;
        match text.parse().map_err(|error: ParseEndpointError| absent(error.to_string()))? {
            Endpoint::Unix(path) => Self::unix(&path).await,
            Endpoint::Tcp(address) => {
                let token = tokio::fs::read_to_string(repo.join("rpc.token")).await;
                Self::tcp(address, token.map_err(|error| absent(error.to_string()))?.trim()).await
            }
        }
    }

    /// Connects to a unix socket.
    ///
    /// # Errors
    /// [`ErrorCode::NoDaemon`] when nobody answers there. Cancel safe.
    pub async fn unix(path: &Path) -> Result<Self, Error> {
        let stream = UnixStream::connect(path).await.map_err(|error| absent(&path.display(), &error))?;
        Self::over(stream, "ws://localhost/", HeaderMap::new()).await
    }

    /// Connects to a TCP socket with a bearer token.
    ///
    /// # Errors
    /// [`ErrorCode::NoDaemon`] when nobody answers there or the token is refused. Cancel safe.
    pub async fn tcp(address: SocketAddr, token: &str) -> Result<Self, Error> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|error| Error::of(ErrorCode::Usage, &error))?;
        bearer.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", bearer);
        let stream = TcpStream::connect(address).await.map_err(|error| absent(&address, &error))?;
        Self::over(stream, &format!("ws://{address}/"), headers).await
    }

    async fn over<T>(stream: T, url: &str, headers: HeaderMap) -> Result<Self, Error>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let url = Url::parse(url).map_err(|error| Error::of(ErrorCode::Usage, &error))?;
        let transport = WsTransportClientBuilder { headers, ..WsTransportClientBuilder::default() }
            .connection_timeout(HANDSHAKE)
            .max_response_size(MAX_ANSWER);
        let shaken = tokio::time::timeout(HANDSHAKE, transport.build_with_stream(url, stream)).await;
        let (sender, receiver) = match shaken {
            Ok(shaken) => shaken.map_err(|error| Error::of(ErrorCode::NoDaemon, &error))?,
            Err(_) => return Err(Error::new(ErrorCode::NoDaemon, "the daemon does not shake hands")),
        };
        let inner = jsonrpsee::core::client::ClientBuilder::default()
            .request_timeout(NO_DEADLINE)
            .max_buffer_capacity_per_subscription(WAITING_EVENTS)
            .build_with_tokio(sender, receiver);
        Ok(Self { inner })
    }

    /// Calls any method by its name.
    ///
    /// # Errors
    /// What the daemon answers, or that it is gone. Cancel safe; the daemon may finish the call.
    pub async fn call<R: DeserializeOwned>(&self, method: &str, params: &impl Serialize) -> Result<R, Error> {
        self.inner.request(method, Json::of(params)?).await.map_err(failed)
    }

    /// Starts a long operation; dropping what is returned cancels it.
    ///
    /// # Errors
    /// The daemon refuses the parameters, or is gone.
    pub async fn watch<R>(&self, method: &str, params: &impl Serialize) -> Result<Watch<R>, Error>
    where
        R: DeserializeOwned,
    {
        #[derive(Serialize)]
        struct Wanted<'a, P> {
            method: &'a str,
            params: &'a P,
        }
        let wanted = Json::of(&Wanted { method, params })?;
        let events = self.inner.subscribe(crate::WATCH, wanted, crate::UNWATCH).await.map_err(failed)?;
        Ok(Watch { events, result: PhantomData })
    }

    /// Waits until the daemon has closed the connection. Cancel safe.
    pub async fn closed(&self) {
        self.inner.on_disconnect().await;
    }
}

/// A running operation.
#[derive(Debug)]
pub struct Watch<R> {
    events: Subscription<Event<R>>,
    result: PhantomData<R>,
}

impl<R: DeserializeOwned> Watch<R> {
    /// Waits for the next event. Cancel safe.
    ///
    /// # Errors
    /// The connection broke before the operation was done.
    pub async fn next(&mut self) -> Result<Event<R>, Error> {
        match self.events.next().await {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(Error::of(ErrorCode::Internal, &error)),
            None => Err(gone()),
        }
    }

    /// Waits for the result and hands every report to `progress` on the way. A drop cancels the operation.
    ///
    /// # Errors
    /// What the daemon answers, or that it is gone.
    pub async fn finish(mut self, mut progress: impl FnMut(Progress)) -> Result<R, Error> {
        loop {
            match self.next().await? {
                Event::Progress(report) => progress(report),
                Event::Done(result) => return Ok(result),
                Event::Failed(error) => return Err(error),
            }
        }
    }
}

fn absent(place: &dyn fmt::Display, error: &io::Error) -> Error {
    Error::new(ErrorCode::NoDaemon, format!("no daemon answers at {place}: {error}"))
}

fn gone() -> Error {
    Error::new(ErrorCode::Interrupted, "the daemon went away before it was done")
}

fn failed(error: CallError) -> Error {
    match error {
        CallError::Call(object) => object.into(),
        CallError::RestartNeeded(_) | CallError::Transport(_) => gone(),
        other => Error::of(ErrorCode::Internal, &other),
    }
}

/// Parameters that are already JSON.
struct Json(Box<RawValue>);

impl Json {
    fn of(params: &impl Serialize) -> Result<Self, Error> {
        serde_json::value::to_raw_value(params).map(Self).map_err(|error| Error::of(ErrorCode::Usage, &error))
    }
}

impl ToRpcParams for Json {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        Ok(Some(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_print_as_they_parse() {
        for text in ["unix:/tmp/a b/rpc.sock", "tcp:127.0.0.1:4000"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for text in ["", "unix:relative", "tcp:localhost", "http://x"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
