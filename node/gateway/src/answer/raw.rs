//! One block, as it is, whatever its codec.

use axum::body::Body;
use http::{HeaderValue, Response, header};
use pop_dag::{Buf, Codec, identity};

use crate::asked::Asked;
use crate::conditional::{self, Condition};
use crate::disposition::Disposition;
use crate::refusal::Refusal;
use crate::resolve::{Found, Kind};
use crate::view::{Gap, View};

use super::file::{failed, not_modified};
use super::slice::Slice;

/// Answers with the terminal block. A block that lies in its CID, such as the empty one that clients probe with,
/// needs no storage.
///
/// # Errors
/// The block is not to be had, or the request's conditions or range are not met.
pub(crate) async fn answer(asked: &Asked, found: &Found, view: View) -> Result<Response<Body>, Refusal> {
    let tag = format!("\"{}.raw\"", found.cid);
    match conditional::check(&asked.headers, &tag) {
        Condition::Holds => {}
        Condition::NotModified => return Ok(not_modified(&tag)),
        Condition::Failed => return Err(failed(&tag)),
    }
    let (size, block) = content(asked, found, &view).await?;
    let slice = Slice::of(asked, &tag, size)?;
    let content = block.map_or_else(Body::empty, |block| Body::from(cut(&block, &slice.range)));
    let mut response = slice.answer(content);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.ipld.raw"));
    headers.insert(header::ETAG, super::text(&tag)?);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let name = asked.query.filename.clone().unwrap_or_else(|| format!("{}.bin", found.cid));
    headers.insert(header::CONTENT_DISPOSITION, Disposition::Attachment.named(&name));
    Ok(response)
}

/// Returns the size of the block, and the block where it is wanted.
async fn content(asked: &Asked, found: &Found, view: &View) -> Result<(u64, Option<Buf>), Refusal> {
    let cid = found.cid;
    let size_of = |data: &[u8]| pop_units::Bytes::of(data).get();
    if let Some(data) = identity(&cid) {
        return Ok((size_of(data), Some(Buf::copy_from_slice(data))));
    }
    // The size of a plain block is that of its file.
    if let (true, true, Kind::File(size)) = (asked.is_head(), cid.codec() == Codec::Raw.code(), found.kind) {
        return Ok((size.get(), None));
    }
    let block = view.read_small(move |blocks| blocks.block(&cid)?.ok_or(Gap::Missing(cid))).await?;
    Ok((size_of(&block), (!asked.is_head()).then_some(block)))
}

fn cut(block: &Buf, range: &std::ops::Range<u64>) -> Buf {
    let at = |place: u64| pop_units::Bytes::new(place).as_usize().min(block.len());
    block.slice(at(range.start)..at(range.end))
}
