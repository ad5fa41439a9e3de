//! A directory: its index page, or a listing.
//!
//! No entry is read for a listing, however many there are: it shows names, CIDs and the sizes that the links
//! state. Of a sharded directory the shards are read, in the order of a walk, as fast as the client takes them.

mod batch;
mod json;

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes as Buf;
use futures::{StreamExt, stream};
use http::{HeaderValue, Response, StatusCode, header};
use maud::Render;
use pop_dag::SourceError;
use pop_dag::unixfs::{self, EntryKind, ExportError, MAX_LIST, ResolveError};

use self::batch::{Batch, Reader};
use super::file::{self, Named};
use crate::asked::{Asked, Format};
use crate::page;
use crate::page::link::{self, Place};
use crate::page::listing::{self, Part};
use crate::refusal::{Keep, Refusal};
use crate::resolve::{Found, Kind};
use crate::view::{Gap, View};

/// Entries on a page of the HTML form: more are no use to people.
const PAGE: u64 = 1000;

/// The file that stands for its directory.
pub(crate) const INDEX: &str = "index.html";

/// The version of the JSON form, in its entity tag; it grows when the same directory gives other bytes.
const JSON: &str = "1";

/// Answers with the index page, a listing, or the redirect to the slash; in JSON always with a listing.
pub(crate) async fn answer(asked: &Asked, found: &Found, view: View) -> Result<Response<Body>, Refusal> {
    if asked.format == Format::Json {
        return json::answer(asked, found, view).await;
    }
    if let Some(redirect) = to_slash(asked) {
        return Ok(redirect);
    }
    if let Some(index) = index(found, &view).await? {
        let named = Named { name: Some(INDEX.to_owned()), tag: Some(found.cid) };
        return file::answer(asked, &index, view, named).await;
    }
    listed(asked, found, view).await
}

/// Returns the redirect to the URL that ends in a slash, from which relative links lead below the directory.
pub(super) fn to_slash(asked: &Asked) -> Option<Response<Body>> {
    if asked.target.slash || asked.query.go_get {
        return None;
    }
    let path = link::location(&asked.target.sent);
    let query = asked.query.raw.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
    let location = HeaderValue::from_str(&format!("{path}/{query}")).ok()?;
    let mut response = Response::new(Body::from("this directory is found with a slash at the end\n"));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Some(response)
}

/// Finds the index page of a directory. The path's roots stay those of the directory.
async fn index(found: &Found, view: &View) -> Result<Option<Found>, Refusal> {
    let dir = found.cid;
    let resolved = view.read(move |blocks| {
        let Some(entry) = unixfs::lookup(&dir, INDEX, blocks).map_err(gap)? else { return Ok(None) };
        unixfs::resolve(&entry.cid, &[], blocks).map(Some).map_err(unresolved)
    });
    let Some(resolved) = resolved.await? else { return Ok(None) };
    match resolved.kind {
        EntryKind::File | EntryKind::Raw => Ok(Some(Found {
            roots: found.roots.clone(),
            cid: resolved.cid,
            kind: Kind::File(resolved.size),
            rest: Vec::new(),
        })),
        EntryKind::Directory | EntryKind::Symlink | EntryKind::Value => {
            let message = format!("{INDEX} of the directory {dir} is no file");
            let hint = "the directory can be listed with ?format=json";
            Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, message).hint(hint))
        }
    }
}

/// Answers with a page of the HTML form.
async fn listed(asked: &Asked, found: &Found, view: View) -> Result<Response<Body>, Refusal> {
    let tag = format!("\"DirIndex-{}_CID-{}\"", *page::VERSION, found.cid);
    if let Some(same) = unchanged(asked, found, &tag) {
        return Ok(same);
    }
    let page = asked.query.page.unwrap_or(1);
    if page == 0 || page > MAX_LIST / PAGE {
        return Err(no_page(page));
    }
    let body = match asked.is_head() && page == 1 {
        true => untold(),
        false => html(asked, found, view, page).await?,
    };
    let mut response = Response::new(body);
    describe(&mut response, &tag, page::HTML);
    if !asked.is_isolated() {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, page::POLICY);
    }
    Ok(response)
}

/// Returns a page as a body that is read as the client takes it.
async fn html(asked: &Asked, found: &Found, view: View, page: u64) -> Result<Body, Refusal> {
    let (mut reader, outline) = Reader::open(view, found.cid).await?;
    let before = reader.pass((page - 1).saturating_mul(PAGE)).await?;
    let batch = reader.batch(PAGE).await?;
    if page > 1 && batch.entries.is_empty() {
        return Err(no_page(page));
    }
    if asked.is_head() {
        return Ok(untold());
    }
    let place = Place::of(asked);
    let text = listing::above(&place, &found.cid, outline, page).into_string();
    let part = Part { page, before, count: 0, is_last: false };
    Ok(rows(Rows { reader, place, part }, text, &batch))
}

/// The rows of a page that are still to come.
struct Rows {
    reader: Reader,
    place: Place,
    part: Part,
}

impl Rows {
    /// Adds entries to a page, and when they were the last ones what stands below them.
    fn add(&mut self, text: &mut String, batch: &Batch) {
        for entry in &batch.entries {
            listing::row(&self.place, entry).render_to(text);
        }
        self.part.count += counted(batch.entries.len());
        self.part.is_last = batch.is_last;
        if self.is_over() {
            listing::below(self.part).render_to(text);
        }
    }

    const fn is_over(&self) -> bool {
        self.part.is_last || self.part.count >= PAGE
    }
}

/// Returns the body of a page that begins with `text` and goes on with `batch`.
fn rows(mut rows: Rows, mut text: String, batch: &Batch) -> Body {
    rows.add(&mut text, batch);
    if rows.is_over() {
        return Body::from(text);
    }
    let rest = stream::try_unfold(rows, |mut rows| async {
        if rows.is_over() {
            return Ok(None);
        }
        let batch = rows.reader.batch(PAGE.saturating_sub(rows.part.count)).await.map_err(broken)?;
        let mut text = String::new();
        rows.add(&mut text, &batch);
        Ok::<_, io::Error>(Some((Buf::from(text), rows)))
    });
    Body::from_stream(stream::once(async { Ok(Buf::from(text)) }).chain(rest))
}

/// Returns whether the client has the listing already. The directory's own tag is as good as the listing's.
fn unchanged(asked: &Asked, found: &Found, tag: &str) -> Option<Response<Body>> {
    let known = asked.header(&header::IF_NONE_MATCH)?;
    let own = format!("\"{}\"", found.cid);
    let is_known = known.split(',').map(str::trim).any(|known| {
        let known = known.strip_prefix("W/").unwrap_or(known);
        known == "*" || known == tag || known == own
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    describe(&mut response, tag, page::HTML);
    response.headers_mut().remove(header::CONTENT_TYPE);
    is_known.then_some(response)
}

/// Sets the headers that every form of a listing has.
fn describe(response: &mut Response<Body>, tag: &str, kind: HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, page::KEEP);
    // A tag is made of hexadecimal digits and a CID.
    headers.extend(HeaderValue::from_str(tag).map(|tag| (header::ETAG, tag)));
}

fn no_page(page: u64) -> Refusal {
    let hint = "pages count from 1; ?format=json gives all entries at once";
    Refusal::new(StatusCode::NOT_FOUND, format!("the listing has no page {page}")).hint(hint)
}

/// Tells why a directory cannot be read on.
fn gap(error: ExportError) -> Gap {
    match error {
        ExportError::Missing { cid } => Gap::Missing(cid),
        ExportError::Source(error) => error.into(),
        error => malformed(&error),
    }
}

/// Tells why an entry cannot be looked into.
fn unresolved(error: ResolveError) -> Gap {
    match error {
        ResolveError::Missing { cid } => Gap::Missing(cid),
        ResolveError::Source(error) => error.into(),
        error => malformed(&error),
    }
}

fn malformed(error: &dyn std::error::Error) -> Gap {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    let refusal = Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{error}{cause}"));
    Gap::Failed(refusal.keep(Keep::For(Duration::from_secs(3600))))
}

/// Returns the body of a head: none, and of a length that only the listing would tell.
fn untold() -> Body {
    Body::from_stream(stream::empty::<Result<Buf, io::Error>>())
}

/// Makes the error that breaks a body off.
fn broken(refusal: Refusal) -> io::Error {
    io::Error::other(refusal.message.clone())
}

fn counted(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
