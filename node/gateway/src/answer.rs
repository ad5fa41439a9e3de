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
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use crate::refusal::Refusal;
use crate::site::Site;

/// Seconds after which there may be room for one more archive.
const SOON: u64 = 10;

/// Returns the value of a header that was put together here.
fn text(value: &str) -> Result<HeaderValue, Refusal> {
    let wrong = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a header could not be written");
    HeaderValue::from_str(value).map_err(wrong)
}

/// Returns the body of a head: none, and of a length that only the content would tell.
fn untold() -> Body {
    Body::from_stream(stream::empty::<Result<Bytes, io::Error>>())
}

/// Returns the right to walk over a DAG for an archive, which takes memory for as long as the client likes.
fn walk(site: &Site) -> Result<OwnedSemaphorePermit, Refusal> {
    Arc::clone(&site.walks).try_acquire_owned().map_err(|_| {
        let message = "this node makes as many archives as it can";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message).retry_after(SOON)
    })
}
