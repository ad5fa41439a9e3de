//! Yamux with frames of 256 KiB, a bounded window and polite limits.
//!
//! Exists because libp2p's own yamux adapter fixes frames at 16 KiB and windows at 1 GiB per connection. Speaks
//! `/yamux/1.0.0` to everybody. It never lets a limit kill the connection: at the limit, opening waits.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready as ready_or_return};

use futures::task::AtomicWaker;
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use yamux::{Connection, ConnectionError, Mode};

use super::read_ahead::ReadAhead;

/// Payload of one frame: a third faster than 16 KiB when measured, and no gain above.
pub(super) const SPLIT: usize = 256 * 1024;

/// Receive windows of one connection in all: twice 500 MiB/s over 100 ms, with room.
const WINDOW: usize = 128 * 1024 * 1024;

/// Streams of one connection; yamux wants 256 KiB of window for each. Beyond it yamux ends the connection.
const MAX_STREAMS: usize = WINDOW / (256 * 1024);

/// Streams this side has open at most. Two such sides stay well under [`MAX_STREAMS`], closing ones included.
pub(super) const MAX_OUTBOUND: usize = 192;

/// Inbound streams that wait for their negotiation to begin; a peer with our limits cannot fill it.
const MAX_WAITING: usize = 256;

/// The muxer's upgrade.
#[derive(Debug, Clone)]
pub(super) struct Config(yamux::Config);

impl Default for Config {
    fn default() -> Self {
        let mut config = yamux::Config::default();
        // The order matters: yamux checks the window against the number of streams on each call.
        config.set_max_num_streams(MAX_STREAMS);
        config.set_max_connection_receive_window(Some(WINDOW));
        config.set_split_send_size(SPLIT);
        Self(config)
    }
}

impl Config {
    fn muxer<C: AsyncRead + AsyncWrite + Unpin>(self, socket: C, mode: Mode) -> Muxer<C> {
        Muxer {
            connection: Connection::new(ReadAhead::new(socket), self.0, mode),
            waiting: VecDeque::new(),
            acceptor: None,
            opened: Arc::new(Opened::default()),
        }
    }
}

impl UpgradeInfo for Config {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.muxer(socket, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.muxer(socket, Mode::Client)))
    }
}

/// One connection, cut into streams.
pub(super) struct Muxer<C> {
    connection: Connection<ReadAhead<C>>,
    waiting: VecDeque<Stream>,
    acceptor: Option<Waker>,
    opened: Arc<Opened>,
}

/// The streams this side opened and still holds.
#[derive(Default)]
struct Opened {
    count: AtomicUsize,
    opener: AtomicWaker,
}

/// A place in [`Opened`], given back on drop.
struct Place(Arc<Opened>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.opener.wake();
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn poll_inner(&mut self, context: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let next = ready_or_return!(self.connection.poll_next_inbound(context));
        let inner = next.ok_or(ConnectionError::Closed)??;
        Poll::Ready(Ok(Stream { inner, _place: None }))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        if let Some(stream) = self.waiting.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        if let Poll::Ready(outcome) = self.poll_inner(context) {
            return Poll::Ready(outcome);
        }
        self.acceptor = Some(context.waker().clone());
        Poll::Pending
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        if self.opened.count.load(Ordering::Acquire) >= MAX_OUTBOUND {
            self.opened.opener.register(context.waker());
            // A stream may have been dropped between the look and the registration.
            if self.opened.count.load(Ordering::Acquire) >= MAX_OUTBOUND {
                return Poll::Pending;
            }
        }
        let inner = ready_or_return!(self.connection.poll_new_outbound(context))?;
        self.opened.count.fetch_add(1, Ordering::AcqRel);
        Poll::Ready(Ok(Stream { inner, _place: Some(Place(Arc::clone(&self.opened))) }))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connection.poll_close(context)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        let stream = ready_or_return!(self.poll_inner(context))?;
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(stream);
            if let Some(acceptor) = self.acceptor.take() {
                acceptor.wake();
            }
        } else {
            tracing::debug!("inbound stream reset: too many wait");
        }
        // One stream a turn, so that a peer who opens without end does not hold the task.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A stream of the muxer.
pub(super) struct Stream {
    inner: yamux::Stream,
    _place: Option<Place>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}
