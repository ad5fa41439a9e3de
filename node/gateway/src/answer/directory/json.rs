//! The listing of a directory as JSON: all entries, one in a line.
//!
//! An array of `{"key", "value": {"/": CID}, "size"}`, as this node's HTTP interface has always given, with
//! `"type"` where the CID tells it. The order is that of the directory: by name, or of a sharded one by hash.

use axum::body::Body;
use futures::{StreamExt, stream};
use http::{HeaderValue, Response, header};
use pop_dag::unixfs::{Entry, EntryKind};
use serde::Serialize;

use super::batch::{Batch, Reader};
use super::{broken, described, unchanged};
use crate::answer::untold;
use crate::asked::Asked;
use crate::disposition::Disposition;
use crate::refusal::Refusal;
use crate::resolve::Found;
use crate::view::View;

/// The version of this form, in its entity tag; it grows when the same directory gives other bytes.
const VERSION: u32 = 1;

/// An entry as it is written.
#[derive(Serialize)]
struct Line<'a> {
    key: &'a str,
    value: Link,
    size: u64,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
}

#[derive(Serialize)]
struct Link {
    #[serde(rename = "/")]
    cid: String,
}

/// Answers with all entries.
pub(super) async fn answer(asked: &Asked, found: &Found, view: View) -> Result<Response<Body>, Refusal> {
    let tag = format!("\"DirJson-{VERSION}_CID-{}\"", found.cid);
    if let Some(same) = unchanged(asked, found, &tag)? {
        return Ok(same);
    }
    let body = match asked.is_head() {
        true => untold(),
        false => body(found, view).await?,
    };
    let mut response = described(body, &tag, HeaderValue::from_static("application/json"));
    let query = &asked.query;
    if query.download || query.filename.is_some() {
        let how = if query.download { Disposition::Attachment } else { Disposition::Inline };
        let name = query.filename.clone().unwrap_or_else(|| format!("{}.json", found.cid));
        response.headers_mut().insert(header::CONTENT_DISPOSITION, how.named(&name));
    }
    Ok(response)
}

async fn body(found: &Found, view: View) -> Result<Body, Refusal> {
    let (mut reader, _) = Reader::open(view, found.cid).await?;
    let batch = reader.batch(u64::MAX).await?;
    let mut text = String::from("[");
    add(&mut text, &batch, true);
    let text = reader.text(text)?;
    if batch.is_last {
        return Ok(Body::from(text));
    }
    let rest = stream::try_unfold(Some(reader), |reader| async {
        let Some(mut reader) = reader else { return Ok(None) };
        let batch = reader.batch(u64::MAX).await.map_err(broken)?;
        let mut text = String::new();
        add(&mut text, &batch, false);
        let text = reader.text(text).map_err(broken)?;
        Ok::<_, std::io::Error>(Some((text, (!batch.is_last).then_some(reader))))
    });
    Ok(Body::from_stream(stream::once(async { Ok(text) }).chain(rest)))
}

/// Adds entries to an array, and its end after the last ones.
fn add(text: &mut String, batch: &Batch, is_first: bool) {
    for (index, entry) in batch.entries.iter().enumerate() {
        text.push_str(if is_first && index == 0 { "\n" } else { ",\n" });
        text.push_str(&line(entry));
    }
    if batch.is_last {
        text.push_str("\n]\n");
    }
}

fn line(entry: &Entry) -> String {
    let kind = entry.kind().and_then(|kind| match kind {
        EntryKind::File | EntryKind::Raw => Some("file"),
        EntryKind::Directory => Some("directory"),
        EntryKind::Symlink => Some("symlink"),
        EntryKind::Value => None,
    });
    let value = Link { cid: entry.cid.to_string() };
    let line = Line { key: &entry.name, value, size: entry.tsize.get(), kind };
    serde_json::to_string(&line).expect("text and numbers have a form in JSON")
}
