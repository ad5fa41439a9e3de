//! The content of a file on its way to a client.
//!
//! Bytes come from verified blocks only, and exactly as many as were promised: what goes wrong on the way is an
//! error of the body, never its end.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Frame, SizeHint};
use pop_dag::unixfs::{ExportError, FileReader};
use pop_dag::{BlockSource, Buf, Cid};
use pop_units::Bytes;

use crate::refusal::Refusal;
use crate::view::{Gap, View};

/// How much is read at a time.
const BATCH: u64 = 1 << 20;

type Reading = Pin<Box<dyn Future<Output = Result<Vec<Buf>, Refusal>> + Send>>;

/// The bytes of a range of a file.
pub(crate) struct FileBody {
    view: View,
    cid: Cid,
    /// What was not read yet.
    ahead: Range<u64>,
    /// What was not given out yet.
    left: u64,
    ready: VecDeque<Buf>,
    reading: Option<Reading>,
}

impl FileBody {
    /// Begins to read; the first bytes are at hand when it returns.
    ///
    /// # Errors
    /// They are not to be had.
    pub(crate) async fn open(view: View, cid: Cid, range: Range<u64>) -> Result<Self, Refusal> {
        let left = range.end.saturating_sub(range.start);
        let mut body = Self { view, cid, ahead: range, left, ready: VecDeque::new(), reading: None };
        if let Some(reading) = body.read_on() {
            body.ready.extend(reading.await?);
        }
        Ok(body)
    }

    /// Begins to read what follows, if something does.
    fn read_on(&mut self) -> Option<Reading> {
        let end = self.ahead.end.min(self.ahead.start.saturating_add(BATCH));
        let batch = std::mem::replace(&mut self.ahead.start, end)..end;
        if batch.is_empty() {
            return None;
        }
        let (view, cid) = (self.view.clone(), self.cid);
        Some(Box::pin(async move { view.read(move |blocks| pieces(blocks, &cid, batch.clone())).await }))
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
        if body.left == 0 {
            return Poll::Ready(None);
        }
        if body.reading.is_none() {
            body.reading = body.read_on();
        }
        if body.ready.is_empty()
            && let Some(reading) = &mut body.reading
        {
            let done = ready!(reading.as_mut().poll(cx));
            body.reading = None;
            match done {
                Ok(pieces) => body.ready.extend(pieces),
                Err(refusal) => return Poll::Ready(Some(Err(refusal.message.clone().into()))),
            }
        }
        let Some(piece) = body.ready.pop_front() else {
            return Poll::Ready(Some(Err("the file is shorter than it says".into())));
        };
        body.left = body.left.saturating_sub(Bytes::of(&piece).get());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
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
            return Err(Gap::Failed(Refusal::new(
                http::StatusCode::UNPROCESSABLE_ENTITY,
                format!("{cid} is shorter than it says"),
            )));
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
        error => {
            let mut said = error.to_string();
            if let Some(source) = std::error::Error::source(&error) {
                said = format!("{said}: {source}");
            }
            Gap::Failed(Refusal::new(http::StatusCode::UNPROCESSABLE_ENTITY, said))
        }
    }
}
