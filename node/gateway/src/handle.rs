//! One request from its head to its answer.
//!
//! There is no route here but content and, where the owner wants them, uploads. The control API is another crate,
//! behind another listener: no path, method or header leads to it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;

use crate::answer::{car, codec, directory, file, raw, tar};
use crate::asked::{Asked, Face, Format, Origin};
use crate::content::Wanted;
use crate::page;
use crate::redirects::{self, Outcome};
use crate::refusal::{Keep, Refusal};
use crate::request::accept::{self, Choice};
use crate::request::{self, Wish, headers};
use crate::resolve::{self, Found, Kind};
use crate::server::Served;
use crate::site::Site;
use crate::upload;
use crate::view::View;

/// How long others may remember content: it never changes under its CID. The value that gateways agree on.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=29030400, immutable");

/// How long others may remember a redirect inside content: the shape of its URL is ours, and may change.
const WEEK: HeaderValue = HeaderValue::from_static("public, max-age=604800");

/// Asks for what is here and nothing else.
const ONLY_CACHED: &str = "only-if-cached";

/// Answers a request. Never fails: what goes wrong is an answer too.
pub(crate) async fn handle(site: Arc<Site>, request: Request<Body>, from: IpAddr) -> Response<Body> {
    let has_uploads = site.settings.uploads.is_some();
    let is_head = request.method() == Method::HEAD;
    let client = request.headers().clone();
    let mut response = match choose(&site, request, from).await {
        Ok(response) => response,
        Err(refusal) => refusal.answer(&client),
    };
    headers::add_common(response.headers_mut(), has_uploads);
    if is_head || response.status() == StatusCode::NOT_MODIFIED {
        return without_body(response);
    }
    response
}

/// Takes the body off and leaves what is said about it.
fn without_body(mut response: Response<Body>) -> Response<Body> {
    let size = response.body().size_hint().exact();
    let is_whole = response.status() != StatusCode::NOT_MODIFIED;
    if is_whole && let Some(size) = size {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(size));
    }
    response.map(|_| Body::empty())
}

/// Goes by the method.
async fn choose(site: &Arc<Site>, request: Request<Body>, from: IpAddr) -> Result<Response<Body>, Refusal> {
    let has_uploads = site.settings.uploads.is_some();
    request::refuse_long(request.uri())?;
    let request = to_tls(site, request, from)?;
    match *request.method() {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response.headers_mut().insert(header::ALLOW, headers::methods(has_uploads));
            return Ok(response);
        }
        Method::POST if has_uploads && request.uri().path() == "/" => {
            return upload::answer(site, request, from).await;
        }
        _ => return Err(no_method(has_uploads)),
    }
    if !request.body().is_end_stream() {
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "this request takes no body"));
    }
    let (head, _) = request.into_parts();
    match request::read(&site.settings, &head, from)? {
        Wish::Greeting(origin) => Ok(greeting(site, &origin)),
        Wish::Content(asked, choice) => content(site, &asked, &choice).await,
    }
}

/// Sends to TLS who is to go there.
fn to_tls(site: &Site, request: Request<Body>, from: IpAddr) -> Result<Request<Body>, Refusal> {
    let Some(to_tls) = &site.to_tls else { return Ok(request) };
    let (head, body) = request.into_parts();
    to_tls.lead(&site.settings, &head, from)?;
    Ok(Request::from_parts(head, body))
}

fn no_method(has_uploads: bool) -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this method is not served here")
        .with(header::ALLOW, headers::methods(has_uploads))
}

/// Says what this is.
fn greeting(site: &Site, origin: &Origin) -> Response<Body> {
    let mut response = page::response(StatusCode::OK, page::greeting::greeting(origin, &site.settings));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers::add_walls(headers);
    response
}

/// Answers with content, or as it is when it is not to be had in the form and the client takes that too.
async fn content(site: &Arc<Site>, asked: &Asked, choice: &Choice) -> Result<Response<Body>, Refusal> {
    let only_cached = headers::has_directive(&asked.headers, &header::CACHE_CONTROL, ONLY_CACHED);
    let view = view(site, asked, asked.may_fetch && !only_cached);
    match form(site, asked, choice, &view).await {
        Err(refusal) if refusal.status == StatusCode::NOT_ACCEPTABLE && choice.or_natural => {
            let natural = Asked { format: Format::Natural, ..asked.clone() };
            let view = match natural.what() == asked.what() {
                true => view,
                false => view.of(natural.target.segments.clone(), natural.what()),
            };
            form(site, &natural, &Choice::default(), &view).await
        }
        answered => answered,
    }
}

/// Answers with content in one form.
async fn form(
    site: &Arc<Site>,
    asked: &Asked,
    choice: &Choice,
    view: &View,
) -> Result<Response<Body>, Refusal> {
    let begun = Instant::now();
    refresh_lists(site, begun).await;
    site.lists.check(&asked.target.root, &asked.target.segments)?;
    if holds_all(asked)? {
        site.lists.check_below(&asked.target.root, &asked.target.segments)?;
    }
    let only_cached = headers::has_directive(&asked.headers, &header::CACHE_CONTROL, ONLY_CACHED);
    let led = match lead(site, asked, view).await {
        Err(refusal) if redirects::apply_to(asked, &refusal) => instead(site, asked, view, refusal).await,
        led => led,
    };
    let Led { found, resolved, mut response, status, is_fetched } = match led {
        Ok(led) => led,
        Err(refusal) if only_cached && is_miss(&refusal) => return Ok(not_cached()),
        Err(refusal) => return Err(refusal),
    };
    describe(&mut response, asked, &found, choice);
    let timing = format!("resolve;dur={:.1}", resolved.saturating_duration_since(begun).as_secs_f64() * 1e3);
    insert(response.headers_mut(), "server-timing", &timing);
    let origin = if is_fetched || view.has_fetched() { "pop; fwd=uri-miss; stored" } else { "pop; hit" };
    insert(response.headers_mut(), "cache-status", origin);
    if let Some(status) = status {
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, redirects::PAGE);
    }
    Ok(response)
}

/// Where a path led.
struct Led {
    found: Found,
    resolved: Instant,
    response: Response<Body>,
    /// When it stands for a refusal.
    status: Option<StatusCode>,
    /// Whether something of it was not here.
    is_fetched: bool,
}

/// Follows the path and answers with what is there.
async fn lead(site: &Arc<Site>, asked: &Asked, view: &View) -> Result<Led, Refusal> {
    // Nothing is bought for a client that has to buy it itself.
    charge(site, asked).await?;
    let found = resolve::find(view, &asked.target).await?;
    let resolved = Instant::now();
    check_found(site, asked, &found)?;
    let response = answer(asked, &found, view.clone()).await?;
    view.answered();
    Ok(Led { found, resolved, response, status: None, is_fetched: view.has_fetched() })
}

/// Answers for an absent path with what its author has instead.
async fn instead(site: &Arc<Site>, asked: &Asked, view: &View, refusal: Refusal) -> Result<Led, Refusal> {
    let (shown, status) = match redirects::find(asked, view).await? {
        None => return Err(refusal),
        Some(Outcome::Moved(refusal)) => return Err(refusal),
        Some(Outcome::Shown(shown, status)) => (shown, status),
    };
    site.lists.check(&shown.target.root, &shown.target.segments)?;
    let view = view.of(shown.target.segments.clone(), shown.what());
    match lead(site, &shown, &view).await {
        Ok(led) => Ok(Led { status: (status != StatusCode::OK).then_some(status), ..led }),
        // The rule leads to what is absent itself.
        Err(absent) if redirects::is_absent(&absent) => Err(refusal),
        Err(refusal) => Err(refusal),
    }
}

/// Reads the lists again when it is time to.
async fn refresh_lists(site: &Arc<Site>, now: Instant) {
    if !site.lists.is_due(now) {
        return;
    }
    let site = Arc::clone(site);
    // Whatever happens to it, the lists that are known still hold.
    let _ = tokio::task::spawn_blocking(move || site.lists.refresh(now)).await;
}

fn view(site: &Arc<Site>, asked: &Asked, may_fetch: bool) -> View {
    let wanted = Wanted {
        root: asked.target.root,
        path: asked.target.segments.clone(),
        what: asked.what(),
        from: asked.from,
    };
    View::new(Arc::clone(site), wanted, may_fetch)
}

/// Reads the parameters of an archive, and returns whether the answer holds everything below the path.
fn holds_all(asked: &Asked) -> Result<bool, Refusal> {
    match &asked.format {
        Format::Car(form) => car::holds_all(asked, form),
        Format::Tar => Ok(true),
        _ => Ok(false),
    }
}

/// Refuses what the path led to or through, when it is on the list of what is never served.
fn check_found(site: &Site, asked: &Asked, found: &Found) -> Result<(), Refusal> {
    if site.lists.is_empty() {
        return Ok(());
    }
    let mut segments = asked.target.segments.clone();
    if found.kind == Kind::Directory && asked.format == Format::Natural {
        // Its index page may be what is shown of it.
        segments.push(directory::INDEX.to_owned());
    }
    let holds_all = holds_all(asked)?;
    for (root, start) in found.roots.iter().zip(&found.starts) {
        let below = segments.get(*start..).unwrap_or_default();
        match holds_all {
            true => site.lists.check_below(root, below)?,
            false => site.lists.check_block(root, below)?,
        }
    }
    site.lists.check_block(&found.cid, &[])
}

/// Refuses content that is sold to whoever asks from elsewhere; the owner's own programs read it.
async fn charge(site: &Arc<Site>, asked: &Asked) -> Result<(), Refusal> {
    if asked.is_at_home || !site.content.sells() {
        return Ok(());
    }
    let broken =
        || Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the price of the content could not be read");
    let root = asked.target.root;
    let content = Arc::clone(&site.content);
    let price = site.readers.run(move || content.price(&root));
    let Some(offer) = price.await.map_err(|_| broken())? else { return Ok(()) };
    let mut refusal = Refusal::new(StatusCode::PAYMENT_REQUIRED, "this content is sold");
    refusal.json = Some(serde_json::to_value(&offer).map_err(|_| broken())?);
    Err(refusal)
}

/// Goes by what is asked for and what there is.
async fn answer(asked: &Asked, found: &Found, view: View) -> Result<Response<Body>, Refusal> {
    match (&asked.format, found.kind) {
        (Format::Raw | Format::Tar, _) if !found.rest.is_empty() => {
            Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "the path ends inside a block"))
        }
        (Format::Raw, _) => raw::answer(asked, found, view).await,
        (Format::Car(form), _) => car::answer(asked, found, view, form).await,
        (Format::Tar, _) => tar::answer(asked, found, view).await,
        (_, Kind::Malformed) => Err(found.refusal()),
        (format, Kind::Value) => codec::answer(asked, found, view, format).await,
        (Format::Natural, Kind::File(_) | Kind::Symlink) => {
            file::answer(asked, found, view, file::Named::default()).await
        }
        (Format::Natural | Format::Json, Kind::Directory) => directory::answer(asked, found, view).await,
        (Format::Json, Kind::File(_)) => json_file(asked, found, view).await,
        (Format::Natural, Kind::Other) => Err(mismatch("the block is of a codec that is not shown here")),
        (format @ (Format::DagJson | Format::DagCbor | Format::Cbor), Kind::Directory) => {
            codec::answer(asked, found, view, format).await
        }
        (Format::Json, Kind::Symlink | Kind::Other)
        | (Format::DagJson | Format::DagCbor | Format::Cbor, Kind::File(_) | Kind::Symlink | Kind::Other) => {
            Err(mismatch("the content is not of this codec, and codecs are not converted"))
        }
    }
}

fn mismatch(why: &str) -> Refusal {
    accept::not_acceptable(why).hint("fetch the block with ?format=raw and convert it")
}

/// Answers with a file as JSON, when it is JSON.
async fn json_file(asked: &Asked, found: &Found, view: View) -> Result<Response<Body>, Refusal> {
    let mut response = file::answer(asked, found, view, file::Named::default()).await?;
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    // No type stands on 304, which says nothing of the kind.
    if kind.is_some_and(|kind| kind.split(';').next() != Some("application/json")) {
        return Err(mismatch("the file is not JSON"));
    }
    if kind.is_some() {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(response)
}

/// Returns whether a refusal says that content is not here, rather than what it is like.
fn is_miss(refusal: &Refusal) -> bool {
    match refusal.status {
        StatusCode::NOT_FOUND => refusal.keep == Keep::No,
        status => matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT),
    }
}

/// Says that content is not here to a client that wants it only then.
fn not_cached() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PRECONDITION_FAILED;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Adds what answers with content have in common.
fn describe(response: &mut Response<Body>, asked: &Asked, found: &Found, choice: &Choice) {
    let status = response.status();
    let is_moved = status.is_redirection() && status != StatusCode::NOT_MODIFIED;
    let is_content = status.is_success() || status == StatusCode::NOT_MODIFIED;
    let keep = match (is_moved, is_content) {
        (true, _) => WEEK,
        (_, true) => FOREVER,
        (false, false) => HeaderValue::from_static("no-store"),
    };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(keep);
    if asked.query.format.is_none() || accept::is_car_of_accept(&asked.query, &asked.format) {
        headers::add_vary(headers, "Accept");
    }
    if is_moved {
        return;
    }
    insert(headers, "x-ipfs-path", &asked.target.content_path());
    if !is_content {
        return;
    }
    let roots = roots(asked, found);
    insert(headers, "x-ipfs-roots", &roots);
    if choice.by_accept
        && let Some(location) =
            accept::content_location(&asked.target.url_path(), &asked.query, &asked.format)
    {
        insert(headers, "content-location", &location);
    }
    if asked.target.face != Face::Subdomain {
        headers::add_walls(headers);
    }
    if status.is_success() {
        response.extensions_mut().get_or_insert_with(|| Served(asked.target.root));
    }
}

/// Lists the roots of the path's segments; the first as it was written.
fn roots(asked: &Asked, found: &Found) -> String {
    let rest = found.roots.iter().skip(1).map(ToString::to_string);
    let all: Vec<String> = std::iter::once(asked.target.root_text.clone()).chain(rest).collect();
    all.join(",")
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests;
