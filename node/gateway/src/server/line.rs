//! The wire under a connection: counts what moves on it, and ends it so that nobody takes half an answer for a
//! whole one.
//!
//! It lies under TLS, because only there is seen whether the client takes what is sent: HTTP stops asking a body
//! for more when its buffer is full, and then nothing above would notice a client that stopped reading.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::figures::Cut;
use crate::server::record::Record;
use crate::server::watch::Seen;

/// Answers that may wait in the buffer of one connection. A client that sends requests without reading what they
/// bring gets no further.
const UNREAD: usize = 32;

/// What may wait to be written before a body is asked for more. Enough to follow on one another without a gap, and
/// little enough that a thousand clients that read nothing hold next to nothing.
const QUEUE: u64 = 16 * 1024;

/// What moves on one connection. Shared by its wire, its answers and its watch.
#[derive(Default)]
pub(super) struct Pulse {
    read: AtomicU64,
    written: AtomicU64,
    is_blocked: AtomicBool,
    /// Bytes of bodies that were handed on and not written, or a little less.
    queued: AtomicU64,
    drained: AtomicWaker,
    begun: AtomicU64,
    open: AtomicUsize,
    read_before: AtomicU64,
    is_multiplexed: AtomicBool,
    is_closing: AtomicBool,
    /// Whether the client may send more that nobody will read.
    is_unread: AtomicBool,
    /// Whether an answer failed after its head, so that the connection must end in a reset.
    is_broken: AtomicBool,
    why: OnceLock<Cut>,
    /// What is told of answers that were handed on and that the client's side has not taken to their ends.
    waiting: Mutex<VecDeque<Record>>,
    waits: AtomicUsize,
    /// Whether the wire is gone, so that nothing will be taken any more.
    is_gone: AtomicBool,
    room: AtomicWaker,
}

impl Pulse {
    /// Returns what the watch looks at.
    pub(super) fn seen(&self) -> Seen {
        let flag = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        Seen {
            read: self.read.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
            is_blocked: flag(&self.is_blocked),
            begun: self.begun.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Relaxed),
            read_before: self.read_before.load(Ordering::Relaxed),
            is_multiplexed: flag(&self.is_multiplexed),
            is_closing: flag(&self.is_closing),
        }
    }

    /// Begins a request.
    pub(super) fn begin(&self, is_multiplexed: bool) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        self.read_before.store(self.read.load(Ordering::Relaxed), Ordering::Relaxed);
        if is_multiplexed {
            self.is_multiplexed.store(true, Ordering::Relaxed);
        }
    }

    /// Ends a request; its record calls it.
    pub(super) fn end(&self) {
        let _ = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| open.checked_sub(1));
    }

    /// Remembers why the connection is cut. The first reason stays.
    pub(super) fn cut(&self, why: Cut) {
        let _ = self.why.set(why);
    }

    /// Returns why the connection was cut, if it was.
    pub(super) fn why(&self) -> Option<Cut> {
        self.why.get().copied()
    }

    /// Makes the connection end in a reset, as an answer on it is not whole. Over HTTP/2 only its stream is.
    pub(super) fn break_off(&self) {
        if !self.is_multiplexed.load(Ordering::Relaxed) {
            self.is_broken.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that a request's body was not read to its end.
    pub(super) fn leave_unread(&self) {
        self.is_unread.store(true, Ordering::Relaxed);
    }

    /// Keeps the record of an answer until its last byte is taken, or the connection ends without that.
    pub(super) fn wait(&self, record: Record) {
        if self.is_multiplexed.load(Ordering::Relaxed) {
            return record.end();
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_gone.load(Ordering::Relaxed) {
            drop(waiting);
            return drop(record);
        }
        waiting.push_back(record);
        self.waits.store(waiting.len(), Ordering::Relaxed);
    }

    /// Waits while too many answers are unread. Cancel safe.
    pub(super) async fn room(&self) {
        std::future::poll_fn(|context| {
            if self.waits.load(Ordering::Relaxed) < UNREAD {
                return Poll::Ready(());
            }
            self.room.register(context.waker());
            match self.waits.load(Ordering::Relaxed) < UNREAD {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// Returns whether a body may hand on more; if not, the task is woken when it may.
    pub(super) fn has_room(&self, context: &Context<'_>) -> bool {
        if self.queued.load(Ordering::Relaxed) < QUEUE {
            return true;
        }
        self.drained.register(context.waker());
        self.queued.load(Ordering::Relaxed) < QUEUE
    }

    /// Counts bytes of a body that are handed on.
    pub(super) fn hand(&self, size: u64) {
        self.queued.fetch_add(size, Ordering::Relaxed);
    }

    fn drain(&self, size: u64) {
        let less = |queued: u64| Some(queued.saturating_sub(size));
        let before = self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        let before = before.unwrap_or_default();
        if before >= QUEUE && before.saturating_sub(size) < QUEUE {
            self.drained.wake();
        }
    }

    /// Notes that everything that was handed on has been taken.
    fn flushed(&self) {
        self.drain(u64::MAX);
        if self.waits.load(Ordering::Relaxed) == 0 {
            return;
        }
        while let Some(record) = self.next_waiting() {
            record.end();
        }
        self.room.wake();
    }

    fn next_waiting(&self) -> Option<Record> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let record = waiting.pop_front();
        self.waits.store(waiting.len(), Ordering::Relaxed);
        record
    }
}

/// A TCP connection that keeps a [`Pulse`]. Dropped in the middle of an answer, it is reset; so it is when the process
/// is killed.
pub(crate) struct Line {
    stream: TcpStream,
    pulse: Arc<Pulse>,
    is_shut: bool,
}

impl Line {
    pub(super) fn new(stream: TcpStream, pulse: Arc<Pulse>) -> Self {
        let line = Self { stream, pulse, is_shut: false };
        line.end_by(Some(Duration::ZERO));
        line
    }

    /// Says how the system ends the connection when nobody else does: in order, or without lingering, which resets it
    /// and drops what waits in the system's buffer.
    fn end_by(&self, linger: Option<Duration>) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(linger);
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.pulse.is_blocked.store(written.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(size)) = &written {
            let size = u64::try_from(*size).unwrap_or(u64::MAX);
            self.pulse.written.fetch_add(size, Ordering::Relaxed);
            self.pulse.drain(size);
        }
        written
    }

    /// Returns whether the client may still be sending: then closing at once would make the system reset the
    /// connection, and the client lose the answer before it could read it.
    fn is_owed_a_reading(&self) -> bool {
        let seen = self.pulse.seen();
        self.pulse.is_unread.load(Ordering::Relaxed) || (seen.open == 0 && seen.read > seen.read_before)
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let size = u64::try_from(buffer.filled().len().saturating_sub(before)).unwrap_or(u64::MAX);
        self.pulse.read.fetch_add(size, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.pulse.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pulse.is_broken.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        if !self.is_shut {
            self.end_by(None);
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.is_shut = true;
            self.pulse.flushed();
        }
        let mut space = [0; 2048];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => self.pulse.leave_unread(),
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(Ok(())),
                Poll::Pending if self.is_owed_a_reading() => {
                    self.pulse.is_closing.store(true, Ordering::Relaxed);
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let is_answering = self.pulse.open.load(Ordering::Relaxed) > 0;
        let is_reset = is_answering || self.pulse.is_broken.load(Ordering::Relaxed);
        self.end_by(is_reset.then_some(Duration::ZERO));
        self.pulse.is_gone.store(true, Ordering::Relaxed);
        while let Some(record) = self.pulse.next_waiting() {
            // Its last bytes were not taken: the record tells, by being dropped.
            drop(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What the system does when nobody closes the connection, as after a kill.
    fn end(line: &Line) -> Option<Duration> {
        socket2::SockRef::from(&line.stream).linger().unwrap()
    }

    #[tokio::test]
    async fn only_what_is_shut_down_ends_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for is_shut in [true, false] {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let mut line = Line::new(listener.accept().await.unwrap().0, Arc::default());
            line.write_all(b"half").await.unwrap();
            assert_eq!(end(&line), Some(Duration::ZERO));
            line.pulse.begin(false);
            if is_shut {
                line.pulse.end();
                line.shutdown().await.unwrap();
                assert_eq!(end(&line), None);
            }
            drop(line);
            let read = client.read_to_end(&mut Vec::new()).await;
            assert_eq!(read.is_ok(), is_shut, "{read:?}");
        }
    }
}
