//! `POST /`: content in.
//!
//! A raw body is one file, a form several in one transaction. Who may, how much and how is all checked from the head,
//! before a byte of the body is asked for. The body then goes straight to the node, with nothing but the piece at hand
//! held here, and one durable step makes it permanent. An upload that ends in any other way leaves nothing and costs
//! its owner nothing of the quota.

mod access;
mod disposition;
mod feed;
mod form;
mod ledger;
mod multipart;
mod name;
mod owner;
mod quota;
mod ticket;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use pop_units::Bytes;

pub(crate) use self::ticket::Gate;

use self::feed::{Bounds, Feed};
use self::form::{Form, bad};
use self::multipart::{Event, Parser};
use self::name::Names;
use self::ticket::Ticket;
use crate::content::{Intake, UploadError, Uploaded};
use crate::refusal::Refusal;
use crate::site::Site;

/// Says the root of an upload, as gateways that take uploads do.
const IPFS_HASH: HeaderName = HeaderName::from_static("ipfs-hash");
/// When to come back to a node that stops, or has no room.
const LATER: u64 = 60;

/// Takes an upload: a raw body is one file, a multipart form several in one transaction. `from` is whoever connected.
pub(crate) async fn answer(
    site: &Arc<Site>,
    request: Request<Body>,
    from: IpAddr,
) -> Result<Response<Body>, Refusal> {
    let Some(gate) = &site.uploads else {
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this gateway takes no uploads");
        return Err(refusal.with(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS")));
    };
    let (parts, body) = request.into_parts();
    let limits = &site.settings.limits;
    let until = Instant::now() + limits.whole;
    let bounds = Bounds { body: gate.body, stall: limits.stall, until };
    let mut feed = Feed::new(body, parts.headers.contains_key(header::EXPECT), bounds);
    let received = receive(site, gate, &parts, &mut feed, from).await;
    if received.is_err()
        && let Some(linger) = feed.linger()
    {
        gate.lingering.spawn(linger);
    }
    let kept = received.as_ref().ok().map(|(uploaded, _)| uploaded.size.get());
    site.figures.uploaded(kept);
    received.and_then(|(uploaded, is_directory)| created(&uploaded, is_directory))
}

/// Checks the head, takes the body and makes it permanent. Dropped before that, it leaves nothing.
async fn receive(
    site: &Arc<Site>,
    gate: &Arc<Gate>,
    parts: &Parts,
    feed: &mut Feed,
    from: IpAddr,
) -> Result<(Uploaded, bool), Refusal> {
    let owner = access::owner(gate.tokens.as_ref(), parts, from).await?;
    let (form, order) = form::read(&parts.headers)?;
    let size = length(parts)?;
    if size > gate.body {
        return Err(feed::too_large(gate.body));
    }
    let mut ticket = gate.admit(owner, size, Instant::now())?;
    let mut intake = site.content.receive(order).await.map_err(refuse)?;
    match form {
        Form::Raw => raw(&mut *intake, feed, &mut ticket).await?,
        Form::Multipart(parser) => several(&mut *intake, parser, feed, &mut ticket).await?,
    }
    ticket.set_kept(true);
    let committed = intake.commit().await;
    ticket.set_kept(committed.is_ok());
    let uploaded = committed.map_err(refuse)?;
    tracing::info!(owner = ticket.owner(), root = %uploaded.root, size = %uploaded.size, "uploaded");
    Ok((uploaded, order.directory.is_some()))
}

/// Returns how long the body says it is, zero when it does not.
fn length(parts: &Parts) -> Result<Bytes, Refusal> {
    let Some(value) = parts.headers.get(header::CONTENT_LENGTH) else { return Ok(Bytes::ZERO) };
    let length = value.to_str().ok().and_then(|text| text.parse().ok()).map(Bytes::new);
    length.ok_or_else(|| bad("Content-Length is no number"))
}

async fn raw(intake: &mut dyn Intake, feed: &mut Feed, ticket: &mut Ticket) -> Result<(), Refusal> {
    intake.file("").await.map_err(refuse)?;
    while let Some(piece) = feed.next(ticket).await? {
        intake.bytes(piece).await.map_err(refuse)?;
    }
    Ok(())
}

async fn several(
    intake: &mut dyn Intake,
    mut parser: Parser,
    feed: &mut Feed,
    ticket: &mut Ticket,
) -> Result<(), Refusal> {
    let broken = |broken: multipart::Broken| bad(format!("the form cannot be read: {broken}"));
    let mut names = Names::default();
    while let Some(piece) = feed.next(ticket).await? {
        parser.feed(piece);
        while let Some(event) = parser.next().map_err(broken)? {
            match event {
                Event::Part(field) => {
                    let name = field.key().unwrap_or_default();
                    names.add(name)?;
                    intake.file(name).await.map_err(refuse)?;
                }
                Event::Data(data) => intake.bytes(data).await.map_err(refuse)?,
            }
        }
    }
    parser.finish().map_err(broken)?;
    if names.is_empty() {
        return Err(bad("the form has no files"));
    }
    Ok(())
}

fn refuse(error: UploadError) -> Refusal {
    let status = match &error {
        UploadError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
        UploadError::Name { .. } | UploadError::Twice { .. } | UploadError::Form { .. } => {
            StatusCode::BAD_REQUEST
        }
        UploadError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        UploadError::Failed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let refusal = Refusal::new(status, error.to_string());
    match error {
        UploadError::Full { .. } => {
            refusal.hint("nothing of the upload was kept; the owner of this node makes room")
        }
        UploadError::Stopped => refusal.hint("nothing of the upload was kept").retry_after(LATER),
        UploadError::Form { .. } => refusal.hint("send it with `Codec-Type: dag-pb`"),
        UploadError::Failed { .. } => refusal.hint("nothing of the upload was kept"),
        UploadError::Name { .. } | UploadError::Twice { .. } => refusal,
    }
}

/// Says where the upload is.
fn created(uploaded: &Uploaded, is_directory: bool) -> Result<Response<Body>, Refusal> {
    let body = serde_json::json!({
        "root": uploaded.root.to_string(),
        "size": uploaded.size,
        "replication": uploaded.replication,
        "entries": uploaded.entries,
    });
    let slash = if is_directory { "/" } else { "" };
    let response = Response::builder()
        .status(StatusCode::CREATED)
        .header(header::LOCATION, format!("/ipfs/{}{slash}", uploaded.root))
        .header(IPFS_HASH, uploaded.root.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CACHE_CONTROL, "no-store")
        .body(Body::from(format!("{body}\n")));
    response.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

#[cfg(test)]
mod tests;
