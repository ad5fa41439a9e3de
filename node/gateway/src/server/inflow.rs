//! The body of a request on its way in: notes when nobody wants the rest of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use crate::server::line::Pulse;

/// The body of a request.
struct Inflow {
    inner: Incoming,
    pulse: Arc<Pulse>,
}

/// Wraps a request's body; the usual one is empty and costs nothing.
pub(super) fn wrap(inner: Incoming, pulse: &Arc<Pulse>) -> Body {
    match inner.is_end_stream() {
        true => Body::empty(),
        false => Body::new(Inflow { inner, pulse: Arc::clone(pulse) }),
    }
}

impl http_body::Body for Inflow {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Inflow {
    fn drop(&mut self) {
        if !self.inner.is_end_stream() {
            self.pulse.leave_unread();
        }
    }
}
