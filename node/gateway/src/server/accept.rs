//! The listener: takes connections as long as there is room, and turns others away politely as far as that is cheap.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::server::connection::{From, converse};
use crate::server::guest::Seat;
use crate::server::line::{Line, Pulse};
use crate::server::{Answer, Hall, ServeError};
use crate::tls::Acceptor;

/// Connections that may wait to be accepted. The system has a bound of its own, 4096 on Linux unless changed.
const BACKLOG: u32 = 4096;

/// How long accepting rests when the system has no descriptors left: it must never spin.
const BREATH: Duration = Duration::from_millis(50);

/// Clients that are told at the same time why they are turned away; others are just closed.
const GOODBYES: usize = 64;

/// How long a client that is turned away has to read why.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a client is told that is turned away.
const BUSY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
    Retry-After: 1\r\n\
    Connection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Cache-Control: no-store\r\n\
    Access-Control-Allow-Origin: *\r\n\
    Content-Length: 31\r\n\
    \r\n\
    there are too many connections\n";

/// Makes the wire of HTTP out of a TCP connection.
pub(crate) trait Handshake: Clone + Send + Sync + 'static {
    /// Whether that hides what is said.
    const IS_TLS: bool;

    /// What HTTP is spoken over.
    type Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Completes what comes before HTTP. `None` is a connection that was about something else. Its caller sets
    /// the deadline; dropping it closes the connection.
    fn shake(&self, line: Line) -> impl Future<Output = io::Result<Option<Self::Wire>>> + Send;
}

/// HTTP over TCP alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain;

impl Handshake for Plain {
    const IS_TLS: bool = false;

    type Wire = Line;

    async fn shake(&self, line: Line) -> io::Result<Option<Line>> {
        Ok(Some(line))
    }
}

impl Handshake for Acceptor {
    const IS_TLS: bool = true;

    type Wire = TlsStream<Line>;

    async fn shake(&self, line: Line) -> io::Result<Option<TlsStream<Line>>> {
        self.accept(line).await
    }
}

/// Listens on an address.
///
/// # Errors
/// The system does not let us.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|source| ServeError::Listen { address, source })
}

/// Accepts connections for ever. Cancel safe: connections that were accepted live on.
pub(super) async fn serve<A: Answer, H: Handshake>(hall: Arc<Hall<A>>, listener: TcpListener, handshake: H) {
    let goodbyes = Arc::new(Semaphore::new(GOODBYES));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let is_proxy = hall.answers.is_proxy(peer.ip());
                match hall.guests.seat(peer.ip(), is_proxy) {
                    Ok(seat) => begin(
                        &hall,
                        stream,
                        From { peer: peer.ip(), is_tls: H::IS_TLS },
                        seat,
                        handshake.clone(),
                    ),
                    Err(_) if H::IS_TLS => drop(stream),
                    Err(_) => turn_away(&hall, stream, &goodbyes),
                }
            }
            // The client left before it was its turn.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::debug!(%error, "no connection could be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Begins a connection's task.
fn begin<A: Answer, H: Handshake>(
    hall: &Arc<Hall<A>>,
    stream: TcpStream,
    from: From,
    seat: Seat,
    handshake: H,
) {
    // Answers are written whole; waiting for more would only make the last piece of each late.
    let _ = stream.set_nodelay(true);
    let pulse = Arc::<Pulse>::default();
    let line = Line::new(stream, Arc::clone(&pulse));
    let hall_of = Arc::clone(hall);
    hall.tasks.spawn(async move {
        let shaken = timeout(hall_of.limits.head, handshake.shake(line)).await;
        if let Ok(Ok(Some(wire))) = shaken {
            converse(hall_of, wire, pulse, from).await;
        }
        drop(seat);
    });
}

/// Says why there is no room, if few enough others are being told.
fn turn_away<A: Answer>(hall: &Arc<Hall<A>>, mut stream: TcpStream, goodbyes: &Arc<Semaphore>) {
    let Ok(turn) = Arc::clone(goodbyes).try_acquire_owned() else { return };
    hall.tasks.spawn(async move {
        let _turn = turn;
        let say = async {
            stream.write_all(BUSY).await?;
            stream.shutdown().await?;
            // What the client sent must be read, or the system resets the connection before it has read ours.
            let mut space = [0; 2048];
            while stream.read(&mut space).await? > 0 {}
            Ok::<_, io::Error>(())
        };
        let _ = timeout(GOODBYE, say).await;
    });
}
