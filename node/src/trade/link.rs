//! Frames over a substream, with a bound on every wait.

use std::time::Duration;

use bytes::Bytes as Buf;
use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use pop_exchange::deal::{Fault, SILENCE};
use pop_wire::{BlockHeader, Decoder, Frame, WireError, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// How much is written at a time: what the muxer sends as one frame.
const CHUNK: usize = 256 << 10;
/// How long the answer to a first message may take.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// A substream to a peer.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for S {}

/// Splits a substream.
pub(super) fn link<S: Duplex>(stream: S) -> (Reader<ReadHalf<S>>, Writer<WriteHalf<S>>) {
    let (read, write) = stream.split();
    let reader = Reader { stream: read, decoder: Decoder::default() };
    (reader, Writer { stream: write, buffer: Vec::new() })
}

/// The half that frames come from.
#[derive(Debug)]
pub(super) struct Reader<R> {
    stream: R,
    decoder: Decoder,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Returns the next frame; `None` when the peer closed between two frames. Cancel safe.
    pub(super) async fn frame(&mut self) -> Result<Option<Frame>, Fault> {
        loop {
            let read = self.stream.read(self.decoder.room()).await;
            let count = read.map_err(|_| Fault::Closed)?;
            if count == 0 {
                return if self.decoder.is_at_boundary() { Ok(None) } else { Err(Fault::Closed) };
            }
            if let Some(frame) = self.decoder.filled(count)? {
                return Ok(Some(frame));
            }
        }
    }

    /// Returns the next frame, which must be a message, within `limit`.
    pub(super) async fn message<T: DeserializeOwned>(&mut self, limit: Duration) -> Result<T, Fault> {
        let frame = timeout(limit, self.frame()).await;
        match frame.map_err(|_| Fault::Silence { seconds: limit.as_secs() })?? {
            None => Err(Fault::Closed),
            Some(frame) => Ok(message(&frame)?),
        }
    }

    /// Waits until the peer has closed, which says that it has read everything; at most `limit`.
    pub(super) async fn closed(&mut self, limit: Duration) {
        let rest = async { while let Ok(Some(_)) = self.frame().await {} };
        // Whoever does not close in time has what it needs or never will.
        let _ = timeout(limit, rest).await;
    }
}

/// Reads a control frame.
pub(super) fn message<T: DeserializeOwned>(frame: &Frame) -> Result<T, WireError> {
    match frame {
        Frame::Control(body) => decode(body),
        Frame::Block(..) => Err(WireError::Impossible("a block where a message is due")),
    }
}

/// The half that frames go to.
#[derive(Debug)]
pub(super) struct Writer<W> {
    stream: W,
    buffer: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Sends a message now.
    pub(super) async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), Fault> {
        self.put(message)?;
        self.flush().await
    }

    /// Queues a message behind what is queued.
    pub(super) fn put<T: Serialize>(&mut self, message: &T) -> Result<(), Fault> {
        Ok(encode(message, &mut self.buffer)?)
    }

    /// Queues a block, and sends whole chunks of what is queued.
    pub(super) async fn block(&mut self, header: &BlockHeader, data: &Buf) -> Result<(), Fault> {
        self.write(&header.encode()).await?;
        self.write(data).await
    }

    /// Sends what is queued.
    pub(super) async fn flush(&mut self) -> Result<(), Fault> {
        let sent = async {
            self.stream.write_all(&self.buffer).await?;
            self.stream.flush().await
        };
        within(sent).await?;
        self.buffer.clear();
        Ok(())
    }

    /// Sends what is queued and closes this half.
    pub(super) async fn close(&mut self) -> Result<(), Fault> {
        self.flush().await?;
        within(self.stream.close()).await
    }

    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            if self.buffer.is_empty() && bytes.len() >= CHUNK {
                let (chunk, rest) = bytes.split_at(CHUNK);
                within(self.stream.write_all(chunk)).await?;
                bytes = rest;
                continue;
            }
            let taken = bytes.len().min(CHUNK.saturating_sub(self.buffer.len()));
            let (head, rest) = bytes.split_at(taken);
            self.buffer.extend_from_slice(head);
            bytes = rest;
            if self.buffer.len() >= CHUNK {
                within(self.stream.write_all(&self.buffer)).await?;
                self.buffer.clear();
            }
        }
        Ok(())
    }
}

/// Bounds a write: a peer that takes no chunk for so long is gone.
async fn within(work: impl Future<Output = std::io::Result<()>>) -> Result<(), Fault> {
    match timeout(SILENCE, work).await {
        Ok(done) => done.map_err(|_| Fault::Closed),
        Err(_) => Err(Fault::Silence { seconds: SILENCE.as_secs() }),
    }
}
