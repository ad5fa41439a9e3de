//! Blocks of values: as they are, or as a page for people.
//!
//! Codecs are not converted (IPIP-0524): what a client verifies is the block, and a converted one is another. Nor
//! is a block looked into on the way out, so that one that breaks its codec is still given to whoever asks.

use axum::body::Body;
use bytes::Bytes as Buf;
use http::{HeaderValue, Response, StatusCode, header};
use pop_dag::codec::{self, json};
use pop_dag::{BlockSource, Cid, Codec, Value};
use pop_units::Bytes;

use super::directory::to_slash;
use super::file;
use super::slice::Slice;
use crate::asked::{Asked, Format};
use crate::conditional::{self, Condition};
use crate::disposition::Disposition;
use crate::page;
use crate::page::link::Place;
use crate::page::value::{self, Facts};
use crate::refusal::{Keep, Refusal};
use crate::request::accept;
use crate::resolve::Found;
use crate::view::{Gap, View};

/// Multicodec of plain CBOR.
const CBOR: u64 = 0x51;

/// Multicodec of plain JSON.
const JSON: u64 = 0x0200;

/// Blocks above it are not decoded for a page: a value takes up to 28 times its block in memory.
const SHOWN: Bytes = Bytes::new(256 << 10);

/// How a block is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    content_type: &'static str,
    /// What follows the CID in the entity tag.
    suffix: &'static str,
    /// What follows it in the name of a file.
    extension: &'static str,
    disposition: Disposition,
}

impl Form {
    const DAG_JSON: Self =
        Self::new("application/vnd.ipld.dag-json", "dag-json", "json", Disposition::Inline);
    const DAG_CBOR: Self =
        Self::new("application/vnd.ipld.dag-cbor", "dag-cbor", "cbor", Disposition::Attachment);
    const JSON: Self = Self::new("application/json", "json", "json", Disposition::Inline);
    const CBOR: Self = Self::new("application/cbor", "cbor", "cbor", Disposition::Attachment);

    const fn new(
        content_type: &'static str,
        suffix: &'static str,
        extension: &'static str,
        disposition: Disposition,
    ) -> Self {
        Self { content_type, suffix, extension, disposition }
    }

    /// Returns the form of a block of `codec`, if it is to be had in `format`. The plain names are given to what
    /// JSON and CBOR in general can read.
    fn of(code: u64, format: &Format) -> Option<Self> {
        const DAG_JSON: u64 = Codec::DagJson.code();
        const DAG_CBOR: u64 = Codec::DagCbor.code();
        match (code, format) {
            (DAG_JSON, Format::Natural | Format::DagJson) => Some(Self::DAG_JSON),
            (DAG_CBOR, Format::Natural | Format::DagCbor) => Some(Self::DAG_CBOR),
            (DAG_JSON, Format::Json) | (JSON, Format::Natural | Format::Json) => Some(Self::JSON),
            (DAG_CBOR, Format::Cbor) | (CBOR, Format::Natural | Format::Cbor) => Some(Self::CBOR),
            _ => None,
        }
    }
}

/// Answers with a value's block, or its page.
///
/// # Errors
/// The path ends inside the block, the block is of another codec than is asked for or not to be had, or the
/// request's conditions or range are not met.
pub(crate) async fn answer(
    asked: &Asked,
    found: &Found,
    view: View,
    format: &Format,
) -> Result<Response<Body>, Refusal> {
    if !found.rest.is_empty() {
        return Err(inside(found));
    }
    let form = Form::of(found.cid.codec(), format).ok_or_else(|| mismatch(&found.cid))?;
    if is_page_wanted(asked, found, format) {
        return preview(asked, found, view, form).await;
    }
    let tag = format!("\"{}.{}\"", found.cid, form.suffix);
    match conditional::check(&asked.headers, &tag) {
        Condition::Holds => {}
        Condition::NotModified => return Ok(file::not_modified(&tag)),
        Condition::Failed => return Err(file::failed(&tag)),
    }
    let cid = found.cid;
    let data = view.read_small(move |blocks| block(&cid, blocks)).await?;
    let mut response = sliced(asked, &tag, &data)?;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type));
    headers.insert(header::CONTENT_DISPOSITION, disposition(asked, &found.cid, form));
    headers.insert(header::ETAG, header_value(&tag));
    Ok(response)
}

/// Returns the block, or the part of it that is asked for.
fn sliced(asked: &Asked, tag: &str, data: &Buf) -> Result<Response<Body>, Refusal> {
    let size = Bytes::of(data).get();
    let slice = Slice::of(asked, tag, size)?;
    let place = |at| Bytes::new(at).as_usize();
    Ok(slice.answer(Body::from(data.slice(place(slice.range.start)..place(slice.range.end)))))
}

/// Says how the block is called, and whether it is shown.
fn disposition(asked: &Asked, cid: &Cid, form: Form) -> HeaderValue {
    let how = if asked.query.download { Disposition::Attachment } else { form.disposition };
    match &asked.query.filename {
        Some(name) => how.named(name),
        None => how.named(&format!("{cid}.{}", form.extension)),
    }
}

/// Returns whether a browser asks to look at a value that a page can show.
fn is_page_wanted(asked: &Asked, found: &Found, format: &Format) -> bool {
    let has_page = matches!(Codec::from_code(found.cid.codec()), Some(Codec::DagJson | Codec::DagCbor));
    has_page && *format == Format::Natural && !asked.query.download && accept::takes_html(&asked.headers)
}

/// Answers with the page of a value.
async fn preview(asked: &Asked, found: &Found, view: View, form: Form) -> Result<Response<Body>, Refusal> {
    if let Some(redirect) = to_slash(asked) {
        return Ok(redirect);
    }
    let tag = format!("\"DagIndex-{}_CID-{}\"", *page::VERSION, found.cid);
    match conditional::check(&asked.headers, &tag) {
        Condition::Holds => {}
        Condition::NotModified => return Ok(page::kept(file::not_modified(&tag))),
        Condition::Failed => return Err(file::failed(&tag)),
    }
    let (cid, place) = (found.cid, Place::of(asked));
    let markup = view.read_small(move |blocks| {
        let data = block(&cid, blocks)?;
        let facts = Facts { cid: &cid, size: Bytes::of(&data), codec: form.suffix };
        Ok(match shown(&cid, &data) {
            Ok(value) => value::page(&place, facts, Ok(&value)),
            Err(why) => value::page(&place, facts, Err(&why)),
        })
    });
    let mut response = page::kept(page::response(StatusCode::OK, markup.await?));
    response.headers_mut().insert(header::ETAG, header_value(&tag));
    if asked.is_isolated() {
        response.headers_mut().remove(header::CONTENT_SECURITY_POLICY);
    }
    Ok(response)
}

/// Decodes a block for a page, or says why it is not.
fn shown(cid: &Cid, data: &Buf) -> Result<Value, String> {
    if Bytes::of(data) > SHOWN {
        return Err(format!("Blocks above {SHOWN} are not shown; fetch it to look into it."));
    }
    let value = match Codec::from_code(cid.codec()) {
        Some(Codec::DagJson) => json::decode_any(data).map_err(|fault| fault.to_string()),
        Some(codec) => codec::decode(codec, data).map_err(|fault| fault.to_string()),
        None => Err("its codec is not known here".to_owned()),
    };
    value.map_err(|fault| format!("This block breaks the rules of its codec: {fault}."))
}

fn block(cid: &Cid, blocks: &dyn BlockSource) -> Result<Buf, Gap> {
    match pop_dag::identity(cid) {
        Some(data) => Ok(Buf::copy_from_slice(data)),
        None => blocks.block(cid)?.ok_or(Gap::Missing(*cid)),
    }
}

/// Refuses a path that leads on inside a block. The words are those by which clients and the conformance suite
/// know the case.
fn inside(found: &Found) -> Refusal {
    let rest = found.rest.join("/");
    let message = format!(
        "reading IPLD Kinds other than Links (CBOR Tag 42) is not implemented: {rest:?} lies inside block {}",
        found.cid
    );
    let refusal = Refusal::new(StatusCode::NOT_IMPLEMENTED, message)
        .keep(Keep::For(std::time::Duration::from_secs(3600)));
    refusal.hint("fetch the block that the path leads to with ?format=raw, and look into it")
}

fn mismatch(cid: &Cid) -> Refusal {
    let codec = match cid.codec() {
        JSON => "json".to_owned(),
        CBOR => "cbor".to_owned(),
        code => match Codec::from_code(code) {
            Some(Codec::DagPb) => "dag-pb".to_owned(),
            Some(Codec::DagCbor) => "dag-cbor".to_owned(),
            Some(Codec::DagJson) => "dag-json".to_owned(),
            Some(Codec::Raw) => "raw".to_owned(),
            None => format!("codec 0x{code:x}"),
        },
    };
    accept::not_acceptable(format!("{cid} is a block of {codec}, and codecs are not converted"))
        .hint("fetch the block with ?format=raw and convert it")
}

fn header_value(tag: &str) -> HeaderValue {
    HeaderValue::try_from(tag).expect("CIDs, quotes and suffixes are a header's value")
}

#[cfg(test)]
mod tests;
