//! Bodies of unknown length, made in batches off the runtime's threads.
//!
//! For a client that is quick, batches are read while those before are on their way, so that neither disk nor client
//! waits for the other. What a client has not taken yet is held as far as the budget of all bodies goes; for one that
//! is slow, and where there is no room, batches are small and nothing is read ahead. What goes wrong after the head
//! ends the body with an error, never early, and after all that came before. Dropping the body ends the work.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::StatusCode;
use http_body::Frame;
use pop_dag::BlockSource;

use crate::body::{FIRST, MOST, Room, SLOW};
use crate::refusal::Refusal;
use crate::site::Site;
use crate::view::{Gap, Paced, View};

/// Most additions to a batch, so that small ones do not make the client wait.
const ADDITIONS: usize = 512;
/// Pieces below this are copied together: one more frame costs more than the copy.
const SMALL: usize = 4 << 10;
/// The largest frame: most blocks are one. What a client does not take stays in the connection's buffer by whole frames,
/// and in the budget.
const FRAME: usize = 1 << 20;

/// Batches that are made ahead. Making one takes nearly as long as sending it; with one alone the client often waits.
const AHEAD: usize = 2;

/// Makes the pieces of a body, in order.
pub(crate) trait Pieces: Send + Unpin + 'static {
    /// Adds to the batch until it is full or the turn is over, or the pieces are over and it says so.
    ///
    /// # Errors
    /// A block is missing: the call is repeated when it may have come. What was added before counts, so the work
    /// goes on where it stopped.
    fn fill(&mut self, batch: &mut Batch, here: &Here<'_>) -> Result<(), Gap>;
}

/// What pieces are made of.
pub(crate) struct Here<'a> {
    /// Blocks, read in turns: who has pieces to make ends the batch when they are spent.
    pub(crate) blocks: &'a Paced<'a>,
    pub(crate) site: &'a Site,
}

/// A part of a body.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pieces: VecDeque<Bytes>,
    /// Small pieces that wait for their neighbours.
    small: BytesMut,
    size: usize,
    count: usize,
    limit: usize,
    holds: bool,
    last: bool,
}

impl Batch {
    fn new(limit: u64, holds: bool) -> Self {
        Self { limit: pop_units::Bytes::new(limit).as_usize(), holds, ..Self::default() }
    }

    /// Returns true when no more should be added.
    pub(crate) const fn is_full(&self) -> bool {
        self.size >= self.limit || self.count >= ADDITIONS
    }

    /// Returns whether something was added, and at least half of what should be.
    pub(crate) const fn is_half_full(&self) -> bool {
        self.size > 0 && self.size >= self.limit / 2
    }

    /// Says that what comes next is for the next batch.
    pub(crate) const fn close_early(&mut self) {
        self.limit = self.size;
    }

    /// Returns how many bytes may be added until it is full.
    pub(crate) const fn room(&self) -> usize {
        self.limit.saturating_sub(self.size)
    }

    /// Returns whether pieces may lie in larger memory, of which they are the greater part.
    pub(crate) const fn holds(&self) -> bool {
        self.holds
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

    /// Adds the start of a block, as much as there is room for, and returns how much that was.
    pub(crate) fn push_start(&mut self, data: &Bytes) -> usize {
        let len = data.len().min(self.room());
        let piece = data.slice(..len);
        let is_most = len >= data.len() / 2;
        self.push(if self.holds && is_most { piece } else { Bytes::copy_from_slice(&piece) });
        len
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

    /// Ties the pieces to their room.
    fn hold(&mut self, room: Option<Room>) {
        self.close();
        let Some(mut room) = room else { return };
        for piece in &mut self.pieces {
            *piece = room.hold(std::mem::take(piece));
        }
    }
}

/// Makes the first batch, which is small and soon there.
///
/// # Errors
/// A block is not to be had, or what the pieces say.
pub(crate) async fn first<P: Pieces>(view: &View, pieces: P) -> Result<(P, Batch), Refusal> {
    next(view, pieces, FIRST).await
}

/// Makes a batch, in as many turns as it takes to have something to send.
async fn next<P: Pieces>(view: &View, mut pieces: P, want: u64) -> Result<(P, Batch), Refusal> {
    loop {
        let (back, batch) = turn(view, pieces, want).await?;
        if batch.size > 0 || batch.last {
            return Ok((back, batch));
        }
        pieces = back;
    }
}

async fn turn<P: Pieces>(view: &View, pieces: P, want: u64) -> Result<(P, Batch), Refusal> {
    let site = Arc::clone(view.site());
    let mut held = Some(pieces);
    let work = move |blocks: &dyn BlockSource| {
        let Some(pieces) = held.as_mut() else { return Err(Gap::Failed(broken())) };
        let (room, limit) = site.budget.share_for_good(want);
        let mut batch = Batch::new(limit, room.is_some());
        match pieces.fill(&mut batch, &Here { blocks: &Paced::new(blocks), site: &site }) {
            // What is here goes to the client before what is missing is waited for.
            Err(Gap::Missing(_)) if batch.size > 0 => {}
            filled => filled?,
        }
        batch.hold(room);
        held.take().map(|pieces| (pieces, batch)).ok_or_else(|| Gap::Failed(broken()))
    };
    view.read_long(work).await
}

fn broken() -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a body was made twice")
}

/// Returns a body that begins with a batch and goes on with what follows it.
pub(crate) fn body<P: Pieces>(view: View, pieces: P, first: Batch) -> Body {
    Body::new(Batches {
        view,
        idle: Some(pieces),
        making: None,
        ahead: VecDeque::new(),
        ready: first.pieces,
        last: first.last,
        want: FIRST,
        begun: Instant::now(),
        failure: None,
    })
}

struct Batches<P> {
    view: View,
    /// What makes the next batch, while it is not at it.
    idle: Option<P>,
    /// The batch that is being made.
    making: Option<BoxFuture<'static, Result<(P, Batch), Refusal>>>,
    /// Batches that were made and wait for their turn, [`AHEAD`] at most.
    ahead: VecDeque<Batch>,
    ready: VecDeque<Bytes>,
    /// Nothing follows what was made.
    last: bool,
    /// How much is made next, if there is room.
    want: u64,
    /// When the last batch was begun.
    begun: Instant,
    /// What ends the body once all that was made before has gone out.
    failure: Option<Refusal>,
}

impl<P: Pieces> Batches<P> {
    /// Takes the batch whose turn it is, and begins the next: at once when there is nothing left to send, ahead
    /// when the client is quick and there is room.
    fn turn(&mut self) {
        if self.ready.is_empty()
            && let Some(batch) = self.ahead.pop_front()
        {
            self.ready = batch.pieces;
        }
        let is_due = self.ready.is_empty()
            || self.begun.elapsed() <= SLOW && self.view.site().budget.has_spare(self.want);
        if self.last || self.ahead.len() >= AHEAD || self.failure.is_some() || !is_due {
            return;
        }
        let Some(pieces) = self.idle.take() else { return };
        let took = self.begun.elapsed();
        self.want = if took > SLOW { FIRST } else { self.want.saturating_mul(2).min(MOST) };
        self.begun = Instant::now();
        let (view, want) = (self.view.clone(), self.want);
        self.making = Some(async move { next(&view, pieces, want).await }.boxed());
    }

    /// Goes on with the batch that is being made; returns true when it was made.
    fn make(&mut self, context: &mut Context<'_>) -> bool {
        let Some(making) = &mut self.making else { return false };
        let Poll::Ready(made) = making.poll_unpin(context) else { return false };
        self.making = None;
        match made {
            Ok((pieces, batch)) => {
                self.last = batch.last;
                self.idle = Some(pieces);
                self.ahead.push_back(batch);
            }
            Err(refusal) => self.failure = Some(refusal),
        }
        true
    }
}

impl<P: Pieces> http_body::Body for Batches<P> {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        loop {
            this.turn();
            let made = this.make(context);
            if let Some(mut piece) = this.ready.pop_front() {
                let frame = piece.split_to(piece.len().min(FRAME));
                if !piece.is_empty() {
                    this.ready.push_front(piece);
                }
                return Poll::Ready(Some(Ok(Frame::data(frame))));
            }
            if !made {
                return match &this.failure {
                    Some(refusal) => Poll::Ready(Some(Err(refusal.message.clone().into()))),
                    None if this.making.is_some() => Poll::Pending,
                    None => Poll::Ready(None),
                };
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.last && self.ready.is_empty() && self.ahead.is_empty()
    }
}
