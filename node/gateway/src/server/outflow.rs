//! The body of an answer on its way out: counted, held to its declared length, and never ended early in silence.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};

use crate::figures::Cut;
use crate::server::line::Pulse;
use crate::server::record::Record;
use crate::server::stream::Flow;

/// Pieces of this size go to one of several streams, so that a window that opens a little is not answered with a
/// buffer full of what does not fit.
const PIECE: usize = 32 * 1024;

/// The body of an answer.
pub(super) struct Outflow {
    inner: Body,
    /// What is left of the declared length.
    left: Option<u64>,
    /// A piece that was too large for the stream.
    rest: Bytes,
    /// The stream, when it is one of several.
    flow: Option<Arc<Flow>>,
    pulse: Arc<Pulse>,
    record: Option<Record>,
    /// A failure that is told with the next poll: until then HTTP writes what it was handed.
    failure: Option<BoxError>,
    is_over: bool,
}

/// Why an answer could not be ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The content failed.
    #[error("the content broke off")]
    Failed(#[source] BoxError),
    /// There is more than was declared.
    #[error("the body is longer than its declared length")]
    Longer,
    /// There is less than was declared.
    #[error("the body is {missing} bytes shorter than its declared length")]
    Shorter {
        /// What is missing.
        missing: u64,
    },
}

impl Outflow {
    /// Takes over the body of an answer, and tells `record` how it ends.
    pub(super) fn wrap(
        response: Response<Body>,
        method: &Method,
        flow: Option<Arc<Flow>>,
        record: Record,
    ) -> Response<Self> {
        let status = response.status();
        let is_silent = *method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let (head, body) = response.into_parts();
        let (inner, left) = match is_silent {
            true => (Body::empty(), None),
            false => (body, length),
        };
        let rest = Bytes::new();
        let pulse = Arc::clone(record.pulse());
        let record = Some(record);
        Response::from_parts(
            head,
            Self { inner, left, rest, flow, pulse, record, failure: None, is_over: false },
        )
    }

    /// Counts a piece that goes out.
    fn send(&mut self, piece: Bytes) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let size = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if let Some(record) = &mut self.record {
            record.sent(size);
        }
        match &self.flow {
            Some(flow) => flow.handed(size),
            None => self.pulse.hand(size),
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// Takes what the content gave, as far as it was declared.
    fn take(
        &mut self,
        context: &mut Context<'_>,
        mut piece: Bytes,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(left) = &mut self.left {
            let size = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            let Some(less) = left.checked_sub(size) else { return self.fail(Broken::Longer) };
            *left = less;
            if less == 0 && self.has_more(context) {
                return self.fail(Broken::Longer);
            }
        }
        if self.flow.is_some() && piece.len() > PIECE {
            self.rest = piece.split_off(PIECE);
        }
        self.send(piece)
    }

    /// Returns whether there is more where nothing may be left. Nobody would ask later, as all that was declared
    /// is there by then.
    fn has_more(&mut self, context: &mut Context<'_>) -> bool {
        if self.inner.is_end_stream() {
            return false;
        }
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frame.data_ref().is_some_and(|more| !more.is_empty()),
            Poll::Ready(Some(Err(_)) | None) | Poll::Pending => false,
        }
    }

    fn fail(&mut self, why: Broken) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.is_over = true;
        if let Some(record) = self.record.take() {
            tracing::debug!(id = record.id(), why = %chain(&why), "an answer broke off");
            record.break_off(Cut::Body, &why.to_string());
        }
        Poll::Ready(Some(Err(why)))
    }

    fn finish(&mut self) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.is_over = true;
        if let Some(record) = self.record.take() {
            record.wait();
        }
        Poll::Ready(None)
    }
}

/// Writes an error and what lies behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

impl http_body::Body for Outflow {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(error) = self.failure.take() {
            return self.fail(Broken::Failed(error));
        }
        if !self.rest.is_empty() {
            let mut piece = std::mem::take(&mut self.rest);
            if piece.len() > PIECE {
                self.rest = piece.split_off(PIECE);
            }
            return self.send(piece);
        }
        match &self.flow {
            Some(flow) => flow.ask(),
            None if !self.pulse.has_room(context) => return Poll::Pending,
            None => {}
        }
        match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) => self.take(context, piece),
                Err(frame) => Poll::Ready(Some(Ok(frame))),
            },
            Some(Err(error)) => {
                // An error ends the connection at once, with the head if it was not written yet.
                self.failure = Some(error.into());
                context.waker().wake_by_ref();
                Poll::Pending
            }
            None => match self.left {
                Some(missing) if missing > 0 => self.fail(Broken::Shorter { missing }),
                _ => self.finish(),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
            || (self.failure.is_none()
                && self.rest.is_empty()
                && self.left.unwrap_or_default() == 0
                && self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            Some(left) => SizeHint::with_exact(left),
            None => self.inner.size_hint(),
        }
    }
}

impl Drop for Outflow {
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        let is_whole = self.failure.is_none()
            && self.rest.is_empty()
            && match self.left {
                Some(left) => left == 0,
                None => self.inner.is_end_stream(),
            };
        match is_whole {
            true => record.wait(),
            // The record tells, by being dropped.
            false => drop(record),
        }
    }
}
