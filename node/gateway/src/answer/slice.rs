//! What an answer of known length sends of its content, and how its head says so.

use std::ops::Range;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};

use crate::asked::Asked;
use crate::conditional;
use crate::range::{self, Part};
use crate::refusal::Refusal;

/// The bytes to send, of so many.
pub(super) struct Slice {
    pub(super) range: Range<u64>,
    size: u64,
    is_part: bool,
}

impl Slice {
    /// Reads what is asked for of content of `size` bytes whose entity tag is `tag`. The head of an answer is that of
    /// the whole.
    ///
    /// # Errors
    /// The range lies outside.
    pub(super) fn of(asked: &Asked, tag: &str, size: u64) -> Result<Self, Refusal> {
        if asked.is_head() || !conditional::allows_range(&asked.headers, tag) {
            return Ok(Self { range: 0..size, size, is_part: false });
        }
        match range::part(&asked.headers, size) {
            Part::Whole => Ok(Self { range: 0..size, size, is_part: false }),
            Part::Of(range) => Ok(Self { range, size, is_part: true }),
            Part::Outside => Err(range::outside(size)),
        }
    }

    /// Returns the answer with its status, length and range.
    pub(super) fn answer(&self, content: Body) -> Response<Body> {
        let mut response = Response::new(content);
        let length = self.range.end.saturating_sub(self.range.start);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if self.is_part {
            headers.insert(header::CONTENT_RANGE, range::content_range(&self.range, self.size));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        response
    }
}
