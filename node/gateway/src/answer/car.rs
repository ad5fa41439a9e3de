//! A CAR of a path and what it leads to: the trustless gateway.

use axum::body::Body;
use http::{Response, StatusCode};

use crate::asked::{Asked, CarForm};
use crate::refusal::Refusal;
use crate::resolve::Found;
use crate::view::View;

/// Streams a CAR.
pub(crate) async fn answer(
    asked: &Asked,
    found: &Found,
    view: View,
    form: &CarForm,
) -> Result<Response<Body>, Refusal> {
    let _ = (asked, found, view, form);
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "not built yet"))
}
