//! A socket that keeps reading while its writer is stuck, so that two busy peers never wait for each other.
//!
//! yamux answers a ping with a pong and reads nothing until the pong is written. When both ends are in the
//! middle of writing, both sockets are full and both hold a pong, neither reads again: the connection hangs for
//! good (libp2p/rust-libp2p#5410 tells of such hangs). Here, a write that finds the socket full while the reader
//! above is not waiting for input takes a bounded amount of input aside. That frees the far end to finish its
//! frame and its pong, after which it reads again. It never changes a byte or their order.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};

/// How much input may be set aside: more than the largest frame this node's muxer sends, with its pong.
const LIMIT: usize = 2 * super::muxer::SPLIT;

/// One read of the socket below. Small: mostly there is nothing, and then the cost is clearing this much.
const CHUNK: usize = 8 * 1024;

/// Wraps a socket with the relief described above.
pub(super) struct ReadAhead<C> {
    inner: C,
    aside: VecDeque<u8>,
    /// What the socket said after the bytes set aside: its end or an error.
    last: Option<io::Result<()>>,
    /// The reader above has seen `Pending`, so it is woken by input by itself.
    reader_waits: bool,
}

impl<C> ReadAhead<C> {
    pub(super) fn new(inner: C) -> Self {
        Self { inner, aside: VecDeque::new(), last: None, reader_waits: false }
    }
}

impl<C: AsyncRead + Unpin> ReadAhead<C> {
    /// Takes input aside until the bound, the end or `Pending`, which leaves the waker registered.
    fn relieve(&mut self, context: &mut Context<'_>) {
        if self.reader_waits {
            return;
        }
        let mut chunk = [0; CHUNK];
        while self.aside.len() < LIMIT && self.last.is_none() {
            match Pin::new(&mut self.inner).poll_read(context, &mut chunk) {
                Poll::Ready(Ok(0)) => self.last = Some(Ok(())),
                Poll::Ready(Ok(count)) => self.aside.extend(&chunk[..count]),
                Poll::Ready(Err(error)) => self.last = Some(Err(error)),
                Poll::Pending => return,
            }
        }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for ReadAhead<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if !self.aside.is_empty() {
            self.reader_waits = false;
            let count = io::Read::read(&mut self.aside, buffer)?;
            if self.aside.is_empty() {
                self.aside = VecDeque::new();
            }
            return Poll::Ready(Ok(count));
        }
        if let Some(last) = self.last.take() {
            // The end stays the end; an error is told once and the owner closes.
            if last.is_ok() {
                self.last = Some(Ok(()));
            }
            return Poll::Ready(last.map(|()| 0));
        }
        let outcome = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.reader_waits = outcome.is_pending();
        outcome
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ReadAhead<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, buffer);
        if outcome.is_pending() {
            self.relieve(context);
        }
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(context);
        if outcome.is_pending() {
            self.relieve(context);
        }
        outcome
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}
