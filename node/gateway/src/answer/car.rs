//! A CAR of a path and what it leads to: the trustless gateway.
//!
//! The blocks stand in the one order of every walk here: those of the path, then those that the scope means,
//! parents first and links as they are stored. So the answer says `order=dfs` whatever was asked for. A leaf goes
//! from the store to the socket without being copied.

mod ask;
mod write;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use pop_dag::What;

use self::ask::Ask;
use self::write::Writer;
use super::batch;
use super::file::{failed, not_modified};
use crate::asked::{Asked, CarForm};
use crate::conditional::{self, Condition};
use crate::disposition::Disposition;
use crate::refusal::Refusal;
use crate::resolve::{Found, Kind};
use crate::view::View;

/// Changes with anything that changes the bytes of an archive, so that caches do not mix two.
const WRITER: u32 = 1;

/// Reads the parameters, and returns whether everything below the path is meant.
///
/// # Errors
/// They mean nothing.
pub(crate) fn holds_all(asked: &Asked, form: &CarForm) -> Result<bool, Refusal> {
    Ok(Ask::read(&asked.query, form)?.what == What::All)
}

/// Streams a CAR.
pub(crate) async fn answer(
    asked: &Asked,
    found: &Found,
    view: View,
    form: &CarForm,
) -> Result<Response<Body>, Refusal> {
    let ask = Ask::read(&asked.query, form)?;
    check(&ask, found)?;
    let tag = tag(asked, &ask);
    match conditional::check(&asked.headers, &tag) {
        Condition::Holds => {}
        Condition::NotModified => return Ok(not_modified(&tag)),
        Condition::Failed => return Err(failed(&tag)),
    }
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    let dups = if ask.repeats { "y" } else { "n" };
    let kind = format!("application/vnd.ipld.car; version=1; order=dfs; dups={dups}");
    headers.insert(header::CONTENT_TYPE, super::text(&kind)?);
    headers.insert(header::ETAG, super::text(&tag)?);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let file = asked.query.filename.clone().unwrap_or_else(|| format!("{}.car", found.cid));
    headers.insert(header::CONTENT_DISPOSITION, Disposition::Attachment.named(&file));
    if asked.is_head() {
        *response.body_mut() = super::untold();
    } else {
        let writer = Writer::new(asked, found, &ask, view.site().walks.archive(asked.from)?)?;
        let (writer, first) = batch::first(&view, writer).await?;
        *response.body_mut() = batch::body(view, writer, first);
    }
    Ok(response)
}

/// Refuses what is known to make no sense before a block is walked over.
fn check(ask: &Ask, found: &Found) -> Result<(), Refusal> {
    if found.kind == Kind::Other && ask.what == What::All {
        let message = format!("the links of {} are not known here: its codec is not read", found.cid);
        let hint = "Ask for its block: dag-scope=block, or format=raw.";
        return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, message).hint(hint));
    }
    // All of an empty file is no byte, and no mistake.
    if let (Some(bytes), Kind::File(size)) = (ask.bytes, found.kind)
        && bytes.within(size.get()).is_none()
        && !size.is_zero()
    {
        let size = size.get();
        return Err(Refusal::bad(format!(
            "entity-bytes={bytes} lies outside of the file, which has {size} bytes"
        )));
    }
    Ok(())
}

/// Returns an entity tag over everything that the bytes depend on. Weak: two writers may frame the same blocks
/// in different ways.
fn tag(asked: &Asked, ask: &Ask) -> String {
    let mut text = format!("writer={WRITER}\norder=dfs\n{ask}root={}\n", asked.target.root);
    for segment in &asked.target.segments {
        // The length keeps apart what a name could imitate.
        text.push_str(&format!("segment={}:{segment}\n", segment.len()));
    }
    let digest = pop_dag::Block::of(pop_dag::Codec::Raw, text.into());
    let digest = digest.cid().hash().digest();
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("W/\"{}.car.{hex}\"", asked.target.root_text)
}

#[cfg(test)]
mod tests;
