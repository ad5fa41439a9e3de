//! A directory: its index page, or a listing.

use axum::body::Body;
use http::{Response, StatusCode};

use crate::asked::Asked;
use crate::refusal::Refusal;
use crate::resolve::Found;
use crate::view::View;

/// Answers with the index page, a listing, or the redirect to the slash.
pub(crate) async fn answer(asked: &Asked, found: &Found, view: View) -> Result<Response<Body>, Refusal> {
    let _ = (asked, found, view);
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "not built yet"))
}
