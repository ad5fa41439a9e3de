//! The answers, one module for each form of content.

mod batch;
pub(crate) mod car;
pub(crate) mod codec;
pub(crate) mod directory;
pub(crate) mod file;
pub(crate) mod raw;
mod slice;
pub(crate) mod tar;

use std::io;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, StatusCode};

use crate::refusal::Refusal;

/// Returns the value of a header that was put together here.
fn text(value: &str) -> Result<HeaderValue, Refusal> {
    let wrong = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a header could not be written");
    HeaderValue::from_str(value).map_err(wrong)
}

/// Returns the body of a head: none, and of a length that only the content would tell.
fn untold() -> Body {
    Body::from_stream(stream::empty::<Result<Bytes, io::Error>>())
}
