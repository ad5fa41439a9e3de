//! A file or tree as a tar archive.
//!
//! The archive of a CID is always the same: entries stand in the order of the directories, and modes and times are
//! those that the content states, or fixed ones. Names are resolved inside of the archive, and what would leave
//! it is refused before the head as far as directories were looked over, and ends the body later on.

mod header;
mod tour;
mod write;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header as name};

use self::tour::Tour;
use self::write::Writer;
use super::batch;
use super::file::{failed, not_modified};
use crate::asked::Asked;
use crate::conditional::{self, Condition};
use crate::disposition::Disposition;
use crate::refusal::Refusal;
use crate::resolve::{Found, Kind};
use crate::view::{Paced, View};

/// Streams the archive.
pub(crate) async fn answer(asked: &Asked, found: &Found, view: View) -> Result<Response<Body>, Refusal> {
    check(found)?;
    let tag = format!("W/\"{}.x-tar\"", found.cid);
    match conditional::check(&asked.headers, &tag) {
        Condition::Holds => {}
        Condition::NotModified => return Ok(not_modified(&tag)),
        Condition::Failed => return Err(failed(&tag)),
    }
    let root = found.cid;
    let share = view.site().walks.archive(asked.from)?;
    let tour = look_over(&view, Tour::new(root, share)).await?;
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(name::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    headers.insert(name::ETAG, super::text(&tag)?);
    headers.insert(name::ACCEPT_RANGES, HeaderValue::from_static("none"));
    headers.insert(name::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let file = asked.query.filename.clone().unwrap_or_else(|| format!("{root}.tar"));
    headers.insert(name::CONTENT_DISPOSITION, Disposition::Attachment.named(&file));
    if asked.is_head() {
        *response.body_mut() = super::untold();
    } else {
        let (writer, first) = batch::first(&view, Writer::new(tour.again())).await?;
        *response.body_mut() = batch::body(view, writer, first);
    }
    Ok(response)
}

/// Looks the names of directories over, in as many turns as it takes.
async fn look_over(view: &View, mut tour: Tour) -> Result<Tour, Refusal> {
    loop {
        let mut held = Some(tour);
        let turn = view.read(move |blocks| {
            let is_over = match held.as_mut() {
                Some(tour) => tour.look_over(&Paced::new(blocks))?,
                None => true,
            };
            Ok((held.take(), is_over))
        });
        match turn.await? {
            (Some(back), true) => return Ok(back),
            (Some(back), false) => tour = back,
            (None, _) => return Err(tour::over()),
        }
    }
}

/// Refuses what is no file, directory or symlink.
fn check(found: &Found) -> Result<(), Refusal> {
    match found.kind {
        Kind::Malformed => Err(found.refusal()),
        Kind::File(_) | Kind::Directory | Kind::Symlink if found.rest.is_empty() => Ok(()),
        Kind::File(_) | Kind::Directory | Kind::Symlink | Kind::Value | Kind::Other => {
            let message = format!("{} is no UnixFS file or directory, so it has no tar archive", found.cid);
            let refusal = Refusal::new(StatusCode::NOT_ACCEPTABLE, message);
            Err(refusal.hint("Ask for format=car, or for its block with format=raw."))
        }
    }
}

#[cfg(test)]
mod tests;
