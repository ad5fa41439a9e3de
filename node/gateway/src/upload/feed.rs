//! The body of an upload on its way in, counted against every bound.

use std::pin::pin;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes as Buf;
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use pop_units::Bytes;
use tokio::time::{sleep, timeout};

use super::ticket::Ticket;
use crate::refusal::Refusal;

/// What is read and thrown away after a refusal, so that a client that is still sending gets to read it.
const LINGER: Bytes = Bytes::new(64 << 20);
/// How long that goes on.
const LINGER_TIME: Duration = Duration::from_secs(5);

/// Bounds on a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The largest body.
    pub(crate) body: Bytes,
    /// How long nothing may come.
    pub(crate) stall: Duration,
    /// When all has to be here.
    pub(crate) until: Instant,
}

/// A body and what of it was taken.
#[derive(Debug)]
pub(crate) struct Feed {
    body: Body,
    bounds: Bounds,
    /// Nobody has asked for the body yet, and the client waits until somebody does.
    is_asleep: bool,
    taken: Bytes,
}

impl Feed {
    pub(crate) fn new(body: Body, waits: bool, bounds: Bounds) -> Self {
        Self { body, bounds, is_asleep: waits, taken: Bytes::ZERO }
    }

    /// Returns the next piece, counted on `ticket`; `None` at the end. Cancel safe.
    pub(crate) async fn next(&mut self, ticket: &mut Ticket) -> Result<Option<Buf>, Refusal> {
        self.is_asleep = false;
        loop {
            let left = self.bounds.until.saturating_duration_since(Instant::now());
            let frame = timeout(self.bounds.stall.min(left), self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| slow())? else { return Ok(None) };
            let frame = frame.map_err(|error| {
                // Nobody reads this: the connection is gone. The log does.
                Refusal::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))
            })?;
            // Trailers say nothing here.
            let Ok(piece) = frame.into_data() else { continue };
            if piece.is_empty() {
                continue;
            }
            self.taken = self.taken.saturating_add(Bytes::of(&piece));
            if self.taken > self.bounds.body {
                return Err(too_large(self.bounds.body));
            }
            ticket.take(Bytes::of(&piece), Instant::now())?;
            return Ok(Some(piece));
        }
    }

    /// Reads on for a while after a refusal and throws away what comes.
    ///
    /// A connection that is closed with bytes unread is reset, and the reset can overtake the answer. A client that
    /// waits for `100 Continue` sends nothing, and reading would ask it to.
    pub(crate) fn linger(self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let mut body = self.body;
        let is_over = self.is_asleep || http_body::Body::is_end_stream(&body);
        (!is_over).then_some(async move {
            let drain = async {
                let mut left = LINGER;
                while let Some(Ok(frame)) = body.frame().await {
                    let size = frame.data_ref().map_or(Bytes::ZERO, |data| Bytes::of(data));
                    left = left.saturating_sub(size);
                    if left.is_zero() {
                        break;
                    }
                }
            };
            let (drain, end) = (pin!(drain), pin!(sleep(LINGER_TIME)));
            futures::future::select(drain, end).await;
        })
    }
}

/// Says that a body is over the bound of every upload.
pub(crate) fn too_large(limit: Bytes) -> Refusal {
    let refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("an upload is {limit} at most"));
    refusal.hint("put it with `pop put`, or send it in parts")
}

fn slow() -> Refusal {
    let refusal = Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    refusal.with(header::CONNECTION, HeaderValue::from_static("close"))
}
