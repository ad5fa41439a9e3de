//! Blocks of values: as they are, or as a page for people.

use axum::body::Body;
use http::{Response, StatusCode};

use crate::asked::{Asked, Format};
use crate::refusal::Refusal;
use crate::resolve::Found;
use crate::view::View;

/// Answers with a value's block, or its page.
pub(crate) async fn answer(
    asked: &Asked,
    found: &Found,
    view: View,
    format: &Format,
) -> Result<Response<Body>, Refusal> {
    let _ = (asked, found, view, format);
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "not built yet"))
}
