//! `POST /`: content in.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response, StatusCode};

use crate::refusal::Refusal;
use crate::site::Site;

/// Takes an upload: a raw body is one file, a multipart form several in one transaction.
pub(crate) async fn answer(
    site: &Arc<Site>,
    request: Request<Body>,
    from: IpAddr,
) -> Result<Response<Body>, Refusal> {
    let _ = (site, request, from);
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "not built yet"))
}
