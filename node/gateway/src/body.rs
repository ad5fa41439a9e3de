//! The content of a file on its way to a client.
//!
//! Bytes come from verified blocks only, and exactly as many as were promised: what goes wrong on the way is an
//! error of the body, never its end. What a client has not taken yet is held in memory as far as the [`Budget`] of
//! all bodies goes. Without room in it a body holds nothing between two frames and copies small ones; a client that
//! stops taking loses its room to those who need it.

mod budget;
mod feed;
pub(crate) mod span;

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::StatusCode;
use http_body::{Frame, SizeHint};
use pop_dag::unixfs::{ExportError, FileReader};
use pop_dag::{BlockSource, Buf, Cid};
use pop_units::Bytes;

pub(crate) use self::budget::{Budget, Room};
use self::feed::Feed;
use crate::refusal::Refusal;
use crate::resolve;
use crate::view::{Gap, View};

/// What is read first: enough for the ranges that players ask for, and soon there.
pub(crate) const FIRST: u64 = 64 << 10;
/// What is read at a time for a client that takes it.
pub(crate) const MOST: u64 = 1 << 20;
/// A client that takes longer for a batch is slow: nothing is read ahead for it, and it may lose what was.
pub(crate) const SLOW: Duration = Duration::from_millis(100);

type Reading = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

/// The bytes of a range of a file.
pub(crate) struct FileBody {
    view: View,
    cid: Cid,
    /// What was not given out yet.
    left: Range<u64>,
    feed: Arc<Feed>,
    state: State,
    /// How much is read next, if there is room.
    batch: u64,
    /// When the last batch was begun.
    begun: Instant,
    /// Whether it goes on after its first batch: what it reads is to stay here meanwhile.
    is_long: bool,
    /// How long a client may take for a batch before it counts as slow.
    patience: Duration,
}

/// What happens to the bytes behind those in the feed.
enum State {
    Idle,
    Running(Reading),
    Failed(Refusal),
}

impl FileBody {
    /// Begins to read; the first bytes are at hand when it returns.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// They are not to be had.
    pub(crate) async fn open(view: View, cid: Cid, range: Range<u64>) -> Result<Self, Refusal> {
        let feed = Arc::new(Feed::new());
        view.site().budget.watch(&feed);
        let (state, begun) = (State::Idle, Instant::now());
        let is_long = range.end.saturating_sub(range.start) > FIRST;
        let body = Self { view, cid, left: range, feed, state, batch: FIRST, begun, is_long, patience: SLOW };
        if !body.left.is_empty() {
            body.read(body.left.start).await?;
        }
        Ok(body)
    }

    /// Reads what lies from `at` on into the feed: a batch, or less where there is no room.
    fn read(&self, at: u64) -> Reading {
        let site = Arc::clone(self.view.site());
        let want = upto(at, self.batch).min(self.left.end).saturating_sub(at);
        let (view, cid, feed) = (self.view.clone(), self.cid, Arc::clone(&self.feed));
        let work = move |blocks: &dyn BlockSource| {
            let (room, len) = site.budget.share(want);
            let holds = room.is_some();
            let pieces = span::read(blocks, &site, &cid, at..at.saturating_add(len), holds)?;
            feed.put(at, pieces, room);
            Ok(())
        };
        match self.is_long {
            true => Box::pin(async move { view.read_long(work).await }),
            false => Box::pin(async move { view.read(work).await }),
        }
    }

    /// Begins to read what lies from `at` on, more at a time for a client that takes it.
    fn read_on(&mut self, at: u64) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.begun);
        self.batch = if took > self.patience { FIRST } else { self.batch.saturating_mul(2).min(MOST) };
        self.begun = now;
        // A short range may take more than one batch too: of tiny leaves, or where there is no room.
        self.is_long = true;
        self.state = State::Running(self.read(at));
    }

    /// Reads ahead for a client that is quick, while there is room.
    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        // What was read ahead may have come without anybody having waited for it.
        let _ = self.poll_reading(cx);
        let (end, held) = self.feed.end();
        let is_due = matches!(self.state, State::Idle) && held < self.batch && end < self.left.end;
        if is_due && self.begun.elapsed() <= self.patience && self.view.site().budget.has_room(self.batch) {
            self.read_on(end);
            // The reading starts with its first poll.
            let _ = self.poll_reading(cx);
        }
    }

    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let State::Running(reading) = &mut self.state {
            self.state = match ready!(reading.as_mut().poll(cx)) {
                Ok(()) => State::Idle,
                Err(refusal) => State::Failed(refusal),
            };
        }
        Poll::Ready(())
    }
}

impl http_body::Body for FileBody {
    type Data = Buf;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Buf>, axum::BoxError>>> {
        let body = &mut *self;
        if body.left.is_empty() {
            return Poll::Ready(None);
        }
        loop {
            if let Some(piece) = body.feed.take(body.left.start) {
                body.left.start = body.left.start.saturating_add(Bytes::of(&piece).get());
                body.read_ahead(cx);
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if matches!(body.state, State::Idle) {
                body.read_on(body.left.start);
            }
            ready!(body.poll_reading(cx));
            if let State::Failed(refusal) = &body.state {
                return Poll::Ready(Some(Err(refusal.message.clone().into())));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.end.saturating_sub(self.left.start))
    }
}

/// Returns where the batch of so many bytes ends that begins at `at`: where another one of its size may begin, so that
/// leaves, whose sizes are such too, are not read in odd parts. What is read first is what is asked for.
fn upto(at: u64, batch: u64) -> u64 {
    let end = at.saturating_add(batch);
    let even = end.saturating_sub(end.checked_rem(batch).unwrap_or_default());
    if batch > FIRST && even > at { even } else { end }
}

/// Reads bytes of a file as they lie in their blocks.
///
/// # Errors
/// A block is missing or malformed, or the file ends before.
pub(crate) fn pieces(blocks: &dyn BlockSource, cid: &Cid, range: Range<u64>) -> Result<Vec<Buf>, Gap> {
    let mut reader = FileReader::open(cid, blocks).map_err(gap)?;
    reader.seek_to(Bytes::new(range.start));
    let mut pieces = Vec::new();
    while reader.position().get() < range.end {
        let left = Bytes::new(range.end.saturating_sub(reader.position().get()));
        let piece = reader.piece(left.as_usize()).map_err(gap)?;
        if piece.is_empty() {
            return Err(malformed(format!("{cid} is shorter than it says")));
        }
        pieces.push(piece);
    }
    Ok(pieces)
}

/// Reads the first bytes of a file, and says whether they are all.
///
/// # Errors
/// As [`pieces`].
pub(crate) fn head(blocks: &dyn BlockSource, cid: &Cid, most: Bytes) -> Result<(Vec<u8>, bool), Gap> {
    let mut reader = FileReader::open(cid, blocks).map_err(gap)?;
    let mut head = Vec::new();
    loop {
        let piece = reader.piece(most.as_usize().saturating_sub(head.len())).map_err(gap)?;
        if piece.is_empty() {
            return Ok((head, reader.position() >= reader.size()));
        }
        head.extend_from_slice(&piece);
    }
}

/// Tells what is missing from what is wrong.
pub(crate) fn gap(error: ExportError) -> Gap {
    match error {
        ExportError::Missing { cid } => Gap::Missing(cid),
        ExportError::Source(error) => error.into(),
        error => match std::error::Error::source(&error) {
            Some(source) => malformed(format!("{error}: {source}")),
            None => malformed(error.to_string()),
        },
    }
}

fn malformed(what: String) -> Gap {
    Gap::Failed(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, what).keep(resolve::MALFORMED))
}

#[cfg(test)]
mod tests;
