//! The path of a URL, read once and strictly.
//!
//! A path is split before it is decoded, so that `%2F` stays inside a name. Dot segments are refused rather than
//! cleaned up: caches in front of this gateway would file the same content under other keys than we do. Nothing of a
//! path ever touches the file system.

use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::asked::{Face, Target};
use crate::refusal::{Keep, Refusal};
use crate::request::host::Door;
use crate::request::{cid, redirect};

/// How many segments a path may have; deeper ones are attacks.
const MAX_SEGMENTS: usize = 256;

/// What is escaped in a segment: everything that RFC 3986 does not call a pchar.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// A path, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path {
    /// Without empty ones.
    pub(crate) segments: Vec<String>,
    /// Whether it ended in a slash.
    pub(crate) slash: bool,
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Content(Target),
    /// The gateway itself.
    Root,
}

/// Splits and decodes the path of a URL.
///
/// # Errors
/// An escape is broken, a segment is no text, is `.` or `..`, or there are too many.
pub(crate) fn split(sent: &str) -> Result<Path, Refusal> {
    let mut segments = Vec::new();
    for piece in sent.split('/').filter(|piece| !piece.is_empty()) {
        if segments.len() == MAX_SEGMENTS {
            let message = format!("the path has more than {MAX_SEGMENTS} segments");
            return Err(Refusal::bad(message));
        }
        segments.push(decode(piece)?);
    }
    Ok(Path { segments, slash: sent.ends_with('/') })
}

/// Decodes one segment.
fn decode(piece: &str) -> Result<String, Refusal> {
    if !has_whole_escapes(piece) {
        return Err(Refusal::bad("the path has a % that is not followed by two hexadecimal digits"));
    }
    let text = percent_decode_str(piece).decode_utf8();
    let text = text.map_err(|_| Refusal::bad("the path is no UTF-8 when it is decoded"))?;
    match text.as_ref() {
        "." | ".." => Err(Refusal::bad("the path has a segment . or ..").hint(
            "clients resolve dot segments before they send a request; with curl, leave out --path-as-is",
        )),
        text if text.contains('\0') => Err(Refusal::bad("the path has a NUL character")),
        text => Ok(text.to_owned()),
    }
}

fn has_whole_escapes(piece: &str) -> bool {
    piece.split('%').skip(1).all(|rest| {
        let mut digits = rest.bytes();
        let is_hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        is_hex(digits.next()) && is_hex(digits.next())
    })
}

/// Escapes a name so that it is one segment of a URL.
pub(crate) fn escape(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// Joins names to a path that begins with one slash, ends in one if it should, and is safe in a header.
pub(crate) fn join<'a>(names: impl IntoIterator<Item = &'a str>, slash: bool) -> String {
    let mut path = String::new();
    for name in names {
        path.push('/');
        path.extend(utf8_percent_encode(name, SEGMENT));
    }
    if slash || path.is_empty() {
        path.push('/');
    }
    path
}

/// Reads what a path names behind a door.
///
/// # Errors
/// It names nothing that is served here, or names it in a way that is redirected.
pub(crate) fn read(door: &Door, path: Path, sent: &str, query: Option<&str>) -> Result<Place, Refusal> {
    let Path { mut segments, slash } = path;
    let (root_text, face) = match door {
        Door::Content { label } => (label.clone(), Face::Subdomain),
        Door::Name { label } => return Err(no_ipns(cid::is_ipns_label(label), label)),
        Door::Paths => match segments.first().map(String::as_str) {
            None => return Ok(Place::Root),
            Some("ipns") => return Err(ipns(&segments)),
            Some("ipfs") if is_superfluous(&segments) => {
                return Err(redirect::moved(&redirect::with_query(
                    &join_owned(segments.get(1..), slash),
                    query,
                )));
            }
            Some("ipfs") if segments.len() < 2 => {
                return Err(Refusal::bad("the path names no content").hint("ask for /ipfs/CID"));
            }
            Some("ipfs") => {
                segments.remove(0);
                (segments.remove(0), Face::Path)
            }
            Some(_) => (segments.remove(0), Face::Short),
        },
    };
    let root = match (cid::parse(&root_text), face) {
        (Ok(root), _) => root,
        // A host name has no case. Whoever lowered it cannot have meant another base.
        (Err(why), Face::Subdomain) => {
            cid::parse(&root_text.to_ascii_lowercase()).map_err(|_| invalid(&root_text, &segments, &why))?
        }
        (Err(_), Face::Short) if !is_like_cid(&root_text) => return Err(nothing_there()),
        (Err(why), Face::Path | Face::Short) => return Err(invalid(&root_text, &segments, &why)),
    };
    Ok(Place::Content(Target { root, root_text, segments, slash, sent: sent.to_owned(), face }))
}

fn join_owned(names: Option<&[String]>, slash: bool) -> String {
    join(names.unwrap_or_default().iter().map(String::as_str), slash)
}

/// Returns whether a namespace stands in front of another, with something valid behind.
fn is_superfluous(segments: &[String]) -> bool {
    let name = segments.get(2).map(String::as_str).unwrap_or_default();
    match segments.get(1).map(String::as_str) {
        Some("ipfs") => cid::parse(name).is_ok(),
        Some("ipns") => cid::is_ipns_name(name),
        _ => false,
    }
}

/// Tells a mistyped CID from a path of another service.
fn is_like_cid(text: &str) -> bool {
    text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn invalid(root: &str, segments: &[String], why: &str) -> Refusal {
    let names = ["ipfs", root].into_iter().chain(segments.iter().map(String::as_str));
    let path: String = names.flat_map(|name| ["/", name]).collect();
    Refusal::bad(format!("invalid path {path:?}: {root:?} is no CID: {why}"))
}

fn nothing_there() -> Refusal {
    let keep = Keep::For(std::time::Duration::from_secs(3600));
    Refusal::new(StatusCode::NOT_FOUND, "nothing is served at this path").hint("ask for /ipfs/CID").keep(keep)
}

fn ipns(segments: &[String]) -> Refusal {
    let name = segments.get(1).map(String::as_str).unwrap_or_default();
    no_ipns(cid::is_ipns_name(name), name)
}

fn no_ipns(is_well_formed: bool, name: &str) -> Refusal {
    if is_well_formed {
        return Refusal::new(StatusCode::NOT_FOUND, "this node does not resolve IPNS")
            .hint("resolve the name elsewhere and ask for /ipfs/CID");
    }
    Refusal::bad(format!("{name:?} is no name of IPNS"))
}

impl Target {
    /// Returns the path of the URL that names this, as it should be written: for redirects and links.
    pub(crate) fn url_path(&self) -> String {
        let root = self.root_text.as_str();
        let names = self.segments.iter().map(String::as_str);
        match self.face {
            Face::Path => join(["ipfs", root].into_iter().chain(names), self.slash),
            Face::Short => join([root].into_iter().chain(names), self.slash),
            Face::Subdomain => join(names, self.slash),
        }
    }

    /// Returns the path of the content whatever the URL was: `/ipfs/CID/…`, escaped.
    pub(crate) fn content_path(&self) -> String {
        let names = self.segments.iter().map(String::as_str);
        join(["ipfs", self.root_text.as_str()].into_iter().chain(names), self.slash)
    }
}

#[cfg(test)]
mod tests;
