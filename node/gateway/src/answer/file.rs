//! A file: whole, in part, or its head.

use std::ops::Range;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use pop_dag::{BlockSource, Buf, Cid, unixfs};
use pop_units::Bytes;

use super::slice::Slice;
use crate::asked::Asked;
use crate::body::{self, FileBody};
use crate::conditional::{self, Condition};
use crate::disposition::Disposition;
use crate::refusal::Refusal;
use crate::resolve::{Found, Kind};
use crate::sniff;
use crate::view::View;

/// Files up to this size are answered at once, from memory when they were read lately.
const SMALL: Bytes = Bytes::new(64 << 10);
/// What a page of a stranger may do on an origin that it shares with others: run, but as an origin of its own.
const SANDBOX: HeaderValue =
    HeaderValue::from_static("sandbox allow-scripts allow-forms allow-popups allow-downloads");

/// What the answer calls the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named {
    /// The name that tells the type, when the path's last segment does not.
    pub(crate) name: Option<String>,
    /// The CID of the entity tag, when it is not the file's: a directory that answers with its index page.
    pub(crate) tag: Option<Cid>,
}

/// Answers with a file, or with the target of a symlink.
///
/// # Errors
/// It is neither, its bytes are not to be had, or the request's conditions or range are not met.
pub(crate) async fn answer(
    asked: &Asked,
    found: &Found,
    view: View,
    named: Named,
) -> Result<Response<Body>, Refusal> {
    let tag = format!("\"{}\"", named.tag.as_ref().unwrap_or(&found.cid));
    let size = match found.kind {
        Kind::File(size) => Some(size.get()),
        Kind::Symlink => None,
        Kind::Malformed => return Err(found.refusal()),
        Kind::Directory | Kind::Value | Kind::Other => {
            let what = format!("{} is no file", found.cid);
            return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, what)
                .hint("Its block is to be had with format=raw."));
        }
    };
    match conditional::check(&asked.headers, &tag) {
        Condition::Holds => {}
        Condition::NotModified => return Ok(not_modified(&tag)),
        Condition::Failed => return Err(failed(&tag)),
    }
    let Some(size) = size else { return symlink(asked, found, &view, &tag).await };
    let slice = Slice::of(asked, &tag, size)?;
    let content_type =
        type_of(asked, found, &view, &named, slice.range.start == 0 && !asked.is_head()).await?;
    let content =
        if asked.is_head() { Body::empty() } else { body(found.cid, view, &slice.range, size).await? };
    let mut response = slice.answer(content);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if sniff::is_active(content_type) && !asked.is_isolated() {
        headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    }
    put_common(asked, found, &tag, &mut response);
    Ok(response)
}

/// Returns the type of a file: by the name that the client gives it, its name in the path, or its content.
///
/// Content that is elsewhere is asked for only with `may_wait`.
///
/// # Errors
/// The content would tell and is not to be had.
pub(crate) async fn type_of(
    asked: &Asked,
    found: &Found,
    view: &View,
    named: &Named,
    may_wait: bool,
) -> Result<&'static str, Refusal> {
    let last = asked.target.segments.last();
    let names = [asked.query.filename.as_ref(), named.name.as_ref(), last];
    if let Some(told) = names.into_iter().flatten().find_map(|name| sniff::by_name(name)) {
        return Ok(told);
    }
    let memory = &view.site().memory;
    if let Some(told) = memory.content_type(&found.cid) {
        return Ok(told);
    }
    let cid = found.cid;
    let sniffed = move |blocks: &dyn BlockSource| {
        body::head(blocks, &cid, sniff::HEAD).map(|(head, is_all)| sniff::by_content(&head, is_all))
    };
    let told = match may_wait {
        true => Some(view.read_small(sniffed).await?),
        false => view.read_here(sniffed).await?,
    };
    if let Some(told) = told {
        memory.keep_content_type(&cid, told);
    }
    Ok(told.unwrap_or(sniff::UNKNOWN))
}

/// Returns the bytes; the first of them are verified before the head is sent.
async fn body(cid: Cid, view: View, range: &Range<u64>, size: u64) -> Result<Body, Refusal> {
    if range.is_empty() {
        return Ok(Body::empty());
    }
    if size > SMALL.get() {
        return Ok(Body::new(FileBody::open(view, cid, range.clone()).await?));
    }
    let range = range.clone();
    let mut pieces = view.read_small(move |blocks| body::pieces(blocks, &cid, range.clone())).await?;
    match pieces.len() {
        1 => Ok(Body::from(pieces.remove(0))),
        _ => Ok(Body::from(Buf::from(pieces.concat()))),
    }
}

/// Answers with where a symlink leads. It is not followed.
async fn symlink(asked: &Asked, found: &Found, view: &View, tag: &str) -> Result<Response<Body>, Refusal> {
    let cid = found.cid;
    let target =
        view.read_small(move |blocks| unixfs::symlink_target(&cid, blocks).map_err(body::gap)).await?;
    let length = HeaderValue::from(target.len());
    let mut response = Response::new(if asked.is_head() { Body::empty() } else { Body::from(target) });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("inode/symlink"));
    headers.insert(header::CONTENT_LENGTH, length);
    put_common(asked, found, tag, &mut response);
    Ok(response)
}

/// Adds the headers that a file and a symlink have.
fn put_common(asked: &Asked, found: &Found, tag: &str, response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag_value(tag));
    let query = &asked.query;
    let disposition = if query.download { Disposition::Attachment } else { Disposition::Inline };
    if query.download || query.filename.is_some() {
        let name = query.filename.as_ref().or(asked.target.segments.last());
        let name = name.cloned().unwrap_or_else(|| found.cid.to_string());
        headers.insert(header::CONTENT_DISPOSITION, disposition.named(&name));
    }
}

/// Says that the client has it already.
pub(crate) fn not_modified(tag: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().insert(header::ETAG, tag_value(tag));
    response
}

/// Says that it is not what the client has.
pub(crate) fn failed(tag: &str) -> Refusal {
    let what = "the content is not what If-Match names";
    Refusal::new(StatusCode::PRECONDITION_FAILED, what).with(header::ETAG, tag_value(tag))
}

fn tag_value(tag: &str) -> HeaderValue {
    HeaderValue::try_from(tag).expect("CIDs, quotes and suffixes are a header's value")
}

#[cfg(test)]
mod tests;
