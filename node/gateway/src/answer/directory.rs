//! A directory: its index page, or a listing.
//!
//! No entry is read for a listing, however many there are: it shows names, CIDs and the sizes that the links
//! state. Of a sharded directory the shards are read, in the order of a walk, as fast as the client takes them.

mod batch;
mod json;

use std::io;

use axum::body::Body;
use futures::{StreamExt, stream};
use http::{HeaderValue, Response, StatusCode, header};
use maud::Render;
use pop_dag::unixfs::{self, MAX_LIST};

use self::batch::{Batch, Reader};
use super::file::{self, Named};
use super::untold;
use crate::asked::{Asked, Format, Target};
use crate::body::gap;
use crate::conditional::{self, Condition};
use crate::page;
use crate::page::link::Place;
use crate::page::listing::{self, Part};
use crate::refusal::Refusal;
use crate::request::redirect;
use crate::resolve::{self, Found, Kind};
use crate::view::View;

/// Entries on a page of the HTML form: more are no use to people.
const PAGE: u64 = 1000;

/// The file that stands for its directory.
pub(crate) const INDEX: &str = "index.html";

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
    let target = Target { slash: true, ..asked.target.clone() };
    let location = redirect::with_query(&target.url_path(), asked.query.raw.as_deref());
    let mut response = Response::new(Body::from("it is found with a slash at the end\n"));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::try_from(location).ok()?);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Some(response)
}

/// Finds the index page of a directory. The path's roots stay those of the directory.
async fn index(found: &Found, view: &View) -> Result<Option<Found>, Refusal> {
    let dir = found.cid;
    let index = view.read_small(move |blocks| match unixfs::lookup(&dir, INDEX, blocks).map_err(gap)? {
        Some(entry) => resolve::follow(blocks, entry.cid, &[]).map(Some),
        None => Ok(None),
    });
    let Some(index) = index.await? else { return Ok(None) };
    view.site().lists.check_block(&index.cid, &[])?;
    match index.kind {
        Kind::File(_) => {
            Ok(Some(Found { roots: found.roots.clone(), starts: found.starts.clone(), ..index }))
        }
        Kind::Malformed => Err(index.refusal()),
        Kind::Directory | Kind::Symlink | Kind::Value | Kind::Other => {
            let message = format!("{INDEX} of the directory {dir} is no file");
            let hint = "the directory can be listed with ?format=json";
            Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, message).hint(hint))
        }
    }
}

/// Answers with a page of the HTML form.
async fn listed(asked: &Asked, found: &Found, view: View) -> Result<Response<Body>, Refusal> {
    let tag = format!("\"DirIndex-{}_CID-{}\"", *page::VERSION, found.cid);
    if let Some(same) = unchanged(asked, found, &tag)? {
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
    let mut response = described(body, &tag, page::HTML);
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
    rows(Rows { reader, place, part }, text, &batch)
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
fn rows(mut rows: Rows, mut text: String, batch: &Batch) -> Result<Body, Refusal> {
    rows.add(&mut text, batch);
    let text = rows.reader.text(text)?;
    if rows.is_over() {
        return Ok(Body::from(text));
    }
    let rest = stream::try_unfold(rows, |mut rows| async {
        if rows.is_over() {
            return Ok(None);
        }
        let batch = rows.reader.batch(PAGE.saturating_sub(rows.part.count)).await.map_err(broken)?;
        let mut text = String::new();
        rows.add(&mut text, &batch);
        let text = rows.reader.text(text).map_err(broken)?;
        Ok::<_, io::Error>(Some((text, rows)))
    });
    Ok(Body::from_stream(stream::once(async { Ok(text) }).chain(rest)))
}

/// Answers a client that has the listing already. The directory's own tag says so as well as the listing's.
fn unchanged(asked: &Asked, found: &Found, tag: &str) -> Result<Option<Response<Body>>, Refusal> {
    let own = conditional::check(&asked.headers, &format!("\"{}\"", found.cid));
    match (conditional::check(&asked.headers, tag), own) {
        (Condition::Failed, _) => Err(file::failed(tag)),
        (Condition::NotModified, _) | (_, Condition::NotModified) => {
            Ok(Some(page::kept(file::not_modified(tag))))
        }
        (Condition::Holds, _) => Ok(None),
    }
}

/// Returns an answer with the headers that every form of a listing has.
fn described(body: Body, tag: &str, kind: HeaderValue) -> Response<Body> {
    let mut response = page::kept(Response::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::ETAG, HeaderValue::try_from(tag).expect("digits and a CID are a header's value"));
    response
}

fn no_page(page: u64) -> Refusal {
    let hint = "pages count from 1; ?format=json gives all entries at once";
    Refusal::new(StatusCode::NOT_FOUND, format!("the listing has no page {page}")).hint(hint)
}

/// Makes the error that breaks a body off.
fn broken(refusal: Refusal) -> io::Error {
    io::Error::other(refusal.message.clone())
}

fn counted(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
