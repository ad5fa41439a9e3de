//! A file: whole, in part, or its head.

use axum::body::Body;
use http::{Response, StatusCode};

use crate::asked::Asked;
use crate::refusal::Refusal;
use crate::resolve::Found;
use crate::view::View;

/// Answers with a file.
pub(crate) async fn answer(
    asked: &Asked,
    found: &Found,
    view: View,
    named: Named,
) -> Result<Response<Body>, Refusal> {
    let _ = (asked, found, view, named);
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "not built yet"))
}

/// What the answer calls the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named {
    /// The name that tells the type, when the path's last segment does not.
    pub(crate) name: Option<String>,
    /// The CID of the entity tag, when it is not the file's: a directory that answers with its index page.
    pub(crate) tag: Option<pop_dag::Cid>,
}
