//! Bodies that are made in batches, off the runtime's threads and one ahead of the client.
//!
//! A batch is read while the one before is on its way, so that neither disk nor client waits for the other. What
//! goes wrong after the head ends the body with an error, never early. Dropping the body ends the work.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::StatusCode;
use http_body::Frame;
use pop_dag::BlockSource;

use crate::refusal::Refusal;
use crate::view::{Gap, View};

/// Where a batch ends: large enough that the change of threads does not show beside the copying of a socket.
const FULL: usize = 1 << 20;
/// Most additions to a batch, so that small ones do not make the client wait.
const MOST: usize = 64;
/// Pieces below this are copied together: one more frame costs more than the copy.
const SMALL: usize = 4 << 10;

/// Makes the pieces of a body, in order.
pub(crate) trait Pieces: Send + Unpin + 'static {
    /// Adds to the batch until it is full, or the pieces are over and it says so.
    ///
    /// # Errors
    /// A block is missing: the call is repeated when it may have come. What was added before counts, so the work
    /// goes on where it stopped.
    fn fill(&mut self, batch: &mut Batch, blocks: &dyn BlockSource) -> Result<(), Gap>;
}

/// A part of a body.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pieces: VecDeque<Bytes>,
    /// Small pieces that wait for their neighbours.
    small: BytesMut,
    size: usize,
    count: usize,
    last: bool,
}

impl Batch {
    /// Returns true when no more should be added.
    pub(crate) const fn is_full(&self) -> bool {
        self.size >= FULL || self.count >= MOST
    }

    /// Returns how many bytes may be added until it is full.
    pub(crate) const fn room(&self) -> usize {
        FULL.saturating_sub(self.size)
    }

    /// Adds a piece.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.size = self.size.saturating_add(piece.len());
        if piece.len() < SMALL {
            self.small.extend_from_slice(&piece);
        } else {
            self.close();
            self.pieces.push_back(piece);
        }
    }

    /// Counts something added as a whole.
    pub(crate) const fn count(&mut self) {
        self.count = self.count.saturating_add(1);
    }

    /// Says that nothing follows.
    pub(crate) const fn end(&mut self) {
        self.last = true;
    }

    fn close(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
    }
}

/// Makes the next batch.
///
/// # Errors
/// A block is not to be had, or what the pieces say.
pub(crate) async fn next<P: Pieces>(view: &View, pieces: P) -> Result<(P, Batch), Refusal> {
    let mut held = Some(pieces);
    let work = move |blocks: &dyn BlockSource| {
        let Some(pieces) = held.as_mut() else { return Err(Gap::Failed(broken())) };
        let mut batch = Batch::default();
        match pieces.fill(&mut batch, blocks) {
            // What is here goes to the client before what is missing is waited for.
            Err(Gap::Missing(_)) if batch.size > 0 => {}
            filled => filled?,
        }
        batch.close();
        held.take().map(|pieces| (pieces, batch)).ok_or_else(|| Gap::Failed(broken()))
    };
    view.read(work).await
}

fn broken() -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a body was made twice")
}

/// Returns a body of unknown length that begins with a batch and goes on with what follows it.
pub(crate) fn body<P: Pieces>(view: View, pieces: P, first: Batch) -> Body {
    let ahead = Some((pieces, first));
    Body::new(Batches { view, making: None, ahead, ready: VecDeque::new(), last: false, failure: None })
}

struct Batches<P> {
    view: View,
    /// The batch that is being made.
    making: Option<BoxFuture<'static, Result<(P, Batch), Refusal>>>,
    /// The batch that was made and waits for its turn.
    ahead: Option<(P, Batch)>,
    ready: VecDeque<Bytes>,
    last: bool,
    /// What ends the body once all that was made before has gone out.
    failure: Option<Refusal>,
}

impl<P: Pieces> Batches<P> {
    /// Takes the batch whose turn it is, and begins the next.
    fn turn(&mut self) {
        let Some((pieces, batch)) = self.ahead.take() else { return };
        self.ready = batch.pieces;
        self.last = batch.last;
        if !self.last {
            let view = self.view.clone();
            self.making = Some(async move { next(&view, pieces).await }.boxed());
        }
    }

    /// Goes on with the batch that is being made.
    fn make(&mut self, context: &mut Context<'_>) {
        let Some(making) = &mut self.making else { return };
        if let Poll::Ready(made) = making.poll_unpin(context) {
            self.making = None;
            match made {
                Ok(made) => self.ahead = Some(made),
                Err(refusal) => self.failure = Some(refusal),
            }
        }
    }
}

impl<P: Pieces> http_body::Body for Batches<P> {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        this.make(context);
        while this.ready.is_empty() && this.ahead.is_some() {
            this.turn();
            this.make(context);
        }
        match (this.ready.pop_front(), &this.failure) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            (None, Some(refusal)) => Poll::Ready(Some(Err(std::io::Error::other(refusal.message.clone())))),
            (None, None) if this.last => Poll::Ready(None),
            (None, None) => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.last && self.ready.is_empty()
    }
}
