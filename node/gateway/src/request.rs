//! What a request asks for: read from its head alone, without touching a block.
//!
//! Everything here is a function of strings and headers. What a client sends is never trusted: not its path, which
//! is decoded once and strictly, not its host, which decides only among names that the owner chose, and not what
//! it says of a proxy, unless it comes from one.

pub(crate) mod accept;
pub(crate) mod caller;
pub(crate) mod cid;
pub(crate) mod headers;
pub(crate) mod host;
pub(crate) mod lists;
pub(crate) mod query;
pub(crate) mod redirect;
pub(crate) mod target;
pub(crate) mod to_tls;

use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderMap, StatusCode};

use crate::asked::{Asked, Face, Origin};
use crate::refusal::Refusal;
use crate::server::Transport;
use crate::settings::{Serves, Settings};

use self::accept::Choice;
use self::host::Door;
use self::target::Place;

/// The longest path and query: what browsers and proxies agree on as the most that everybody takes.
const MAX_TARGET: usize = 8 << 10;

/// What a request turned out to be.
#[derive(Debug)]
pub(crate) enum Wish {
    /// Content, in a form.
    Content(Box<Asked>, Choice),
    /// The gateway itself: `GET /`.
    Greeting(Origin),
}

/// Reads the head of a GET or HEAD.
///
/// # Errors
/// It names nothing, names something that is not served in this form, or names it in a way that is redirected.
pub(crate) fn read(settings: &Settings, head: &Parts, peer: IpAddr) -> Result<Wish, Refusal> {
    // A host without a path, as only CONNECT has it (RFC 9112, section 3.2.3).
    if head.uri.authority().is_some() && head.uri.scheme().is_none() {
        return Err(Refusal::bad("the target of the request is a host").hint("ask for a path, as /ipfs/CID"));
    }
    let is_tls = head.extensions.get::<Transport>().is_some_and(|transport| transport.is_tls);
    let address = host::read(head, is_tls, host::is_proxy(settings, peer))?;
    let raw = head.uri.query();
    let query = query::read(raw);
    if let Some(uri) = &query.uri {
        return Err(redirect::scheme(uri)?);
    }
    let door = host::door(&settings.hosts, &address);
    let path = target::split(head.uri.path())?;
    refuse_worker(&head.headers, &door, &path)?;
    let target = match target::read(&door, path, head.uri.path(), raw)? {
        Place::Content(target) => target,
        Place::Root => return Ok(Wish::Greeting(address.origin(&settings.hosts, Face::Path))),
    };
    if settings.serves == Serves::Everything
        && let Some(moved) = host::canonical(&settings.hosts, &address, &target, raw)?
    {
        return Err(moved);
    }
    let choice = accept::negotiate(&query, &head.headers)?;
    accept::refuse_form(settings.serves, &choice, &target, &head.headers, &query)?;
    let asked = Asked {
        method: head.method.clone(),
        headers: head.headers.clone(),
        origin: address.origin(&settings.hosts, target.face),
        target,
        query,
        format: choice.format.clone(),
        from: host::client(settings, &head.headers, peer),
        is_at_home: caller::is_at_home(settings, &head.headers, peer),
        may_fetch: caller::may_fetch(settings, head, peer, &address),
    };
    Ok(Wish::Content(Box::new(asked), choice))
}

/// Refuses a target that is too long.
///
/// # Errors
/// It is.
pub(crate) fn refuse_long(uri: &http::Uri) -> Result<(), Refusal> {
    let length = uri.path().len().saturating_add(uri.query().map_or(0, str::len));
    match length > MAX_TARGET {
        true => {
            Err(Refusal::new(StatusCode::URI_TOO_LONG, format!("the URL has more than {MAX_TARGET} bytes")))
        }
        false => Ok(()),
    }
}

/// Refuses a service worker for a whole root of a shared origin: it would see the requests for what others put there.
fn refuse_worker(headers: &HeaderMap, door: &Door, path: &target::Path) -> Result<(), Refusal> {
    let is_worker = headers.get("service-worker").is_some_and(|value| value == "script");
    let roots = match path.segments.first().map(String::as_str) {
        Some("ipfs" | "ipns") => 2,
        _ => 1,
    };
    if is_worker && *door == Door::Paths && !path.slash && path.segments.len() == roots {
        return Err(Refusal::bad_head(
            "a service worker cannot be registered for content on a shared origin",
        )
        .hint("use the subdomain of the content"));
    }
    Ok(())
}
