//! The door over real sockets, with answers made for the tests behind it.

mod bounds;
mod ends;
mod load;
mod multiplexed;
mod private;
mod speech;

use std::sync::Mutex;

use futures::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::settings::{AccessLog, LogForm};

/// Longer than anything here takes, shorter than a bound that was not meant.
const SOON: Duration = Duration::from_secs(20);

type Given = BoxFuture<'static, Response<Body>>;

/// Answers by a closure.
struct Fake(Box<dyn Fn(Request<Body>) -> Given + Send + Sync>);

impl Answer for Fake {
    fn answer(
        self: Arc<Self>,
        request: Request<Body>,
        _peer: IpAddr,
    ) -> impl Future<Output = Response<Body>> + Send {
        (self.0)(request)
    }

    fn refuse(&self, refusal: Refusal) -> Response<Body> {
        refusal.into_response()
    }

    fn client(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        let said = headers.get("x-test-client").and_then(|said| said.to_str().ok());
        said.map_or(peer, |said| said.parse().unwrap())
    }

    fn is_proxy(&self, _peer: IpAddr) -> bool {
        false
    }
}

/// A door that is open.
struct Open {
    address: SocketAddr,
    hall: Arc<Hall<Fake>>,
    figures: Figures,
    served: Arc<Mutex<Vec<(Cid, u64)>>>,
    log: tempfile::TempDir,
    writer: JoinHandle<()>,
    listening: JoinHandle<()>,
    /// What answers under way get at the end.
    drain: Duration,
}

/// Bounds that nothing meets by chance.
fn limits() -> Limits {
    Limits { connections: 4096, connections_per_address: 2048, ..Limits::default() }
}

async fn open<F, R>(limits: Limits, form: LogForm, answer: F) -> Open
where
    F: Fn(Request<Body>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let figures = Figures::new();
    let log = tempfile::tempdir().unwrap();
    let settings = AccessLog { to: Some(log.path().join("log")), format: form };
    let (lines, writer) = Log::open(&settings, figures.clone()).unwrap();
    let served = Arc::<Mutex<Vec<(Cid, u64)>>>::default();
    let seen = Arc::clone(&served);
    let told = Told {
        figures: figures.clone(),
        log: Some(lines),
        served: Box::new(move |root, size, _| seen.lock().unwrap().push((*root, size.get()))),
    };
    let fake = Fake(Box::new(move |request| Box::pin(answer(request))));
    let hall = Hall::new(Arc::new(fake), limits, told);
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let listening = tokio::spawn(accept::serve(Arc::clone(&hall), listener, Plain));
    Open { address, hall, figures, served, log, writer, listening, drain: SOON }
}

impl Open {
    async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), ahead: Vec::new() }
    }

    /// Sends a request on a connection of its own and returns all that comes.
    async fn ask(&self, request: &str) -> String {
        let mut client = self.connect().await;
        client.send(request).await;
        client.rest().await.unwrap()
    }

    /// Closes the door and returns its log.
    async fn close(self) -> String {
        self.listening.abort();
        let _ = self.listening.await;
        within(self.hall.close(self.drain)).await;
        drop(self.hall);
        within(self.writer).await.unwrap();
        std::fs::read_to_string(self.log.path().join("log")).unwrap()
    }

    fn figure(&self, name: &str) -> f64 {
        let mut text = String::new();
        self.figures.write(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Waits until a figure is what it should become.
    async fn until(&self, name: &str, value: f64) {
        let change = async {
            while (self.figure(name) - value).abs() > 0.1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = tokio::time::timeout(SOON, change).await;
        assert!(seen.is_ok(), "{name} is {} and not {value}", self.figure(name));
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.expect("it takes too long")
}

/// A client that does what it is told.
struct Client {
    stream: TcpStream,
    ahead: Vec<u8>,
}

impl Client {
    async fn send(&mut self, text: &str) {
        within(self.stream.write_all(text.as_bytes())).await.unwrap();
    }

    /// Reads to the end, which may be a reset.
    async fn rest(&mut self) -> std::io::Result<String> {
        let mut bytes = std::mem::take(&mut self.ahead);
        within(self.stream.read_to_end(&mut bytes)).await?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    /// Reads one answer that declares its length, and returns head and body.
    async fn answer(&mut self) -> (String, String) {
        let end = |bytes: &[u8]| bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        let head = loop {
            match end(&self.ahead) {
                Some(at) => break self.ahead.drain(..at).collect(),
                None => {
                    assert_ne!(within(self.stream.read_buf(&mut self.ahead)).await.unwrap(), 0, "no head")
                }
            }
        };
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.unwrap_or_default();
        while self.ahead.len() < length {
            assert_ne!(within(self.stream.read_buf(&mut self.ahead)).await.unwrap(), 0, "no body");
        }
        let body = self.ahead.drain(..length).collect();
        (head, String::from_utf8(body).unwrap())
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn last(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

/// An answer of so many bytes that says how many they are.
fn sized(size: usize) -> Response<Body> {
    let mut response = Response::new(Body::from("x".repeat(size)));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    response
}

/// A body of pieces, each a size or a failure, that declares a length if one is given.
fn pieces(length: Option<usize>, pieces: Vec<Result<usize, &'static str>>) -> Response<Body> {
    let pieces = pieces.into_iter().map(|piece| piece.map(|size| "y".repeat(size)));
    let mut response = Response::new(Body::from_stream(futures::stream::iter(pieces)));
    if let Some(length) = length {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

/// A body that never ends, in pieces of 64 KiB.
fn endless() -> Response<Body> {
    let piece = bytes::Bytes::from(vec![b'z'; 64 * 1024]);
    Response::new(Body::from_stream(futures::stream::repeat_with(move || {
        Ok::<_, std::convert::Infallible>(piece.clone())
    })))
}

fn is_reset(end: &std::io::Result<String>) -> bool {
    matches!(end, Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset)
}

fn root() -> Cid {
    Cid::try_from("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy").unwrap()
}
