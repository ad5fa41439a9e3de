//! One request from its head to its answer.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response, StatusCode};

use crate::refusal::Refusal;
use crate::site::Site;

/// Answers a request. Never fails: what goes wrong is an answer too.
pub(crate) async fn handle(site: Arc<Site>, request: Request<Body>, from: IpAddr) -> Response<Body> {
    let _ = (site, request, from);
    Refusal::new(StatusCode::NOT_IMPLEMENTED, "not built yet").into_response()
}
