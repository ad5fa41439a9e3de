//! What a file is: by its name, else by how it starts.

use pop_units::Bytes;

/// How much of a file is looked at: as browsers do (WHATWG, MIME Sniffing).
pub(crate) const HEAD: Bytes = Bytes::new(512);
/// What nothing is known of.
pub(crate) const UNKNOWN: &str = "application/octet-stream";

const TEXT: &str = "text/plain; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Extensions whose usual type is not the listed one, or that are not listed.
const OVERRIDES: &[(&str, &str)] = &[
    ("avif", "image/avif"),
    ("car", "application/vnd.ipld.car"),
    ("cbor", "application/cbor"),
    ("jxl", "image/jxl"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4s", "video/iso.segment"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mpd", "application/dash+xml"),
    ("ts", "video/mp2t"),
    ("webmanifest", "application/manifest+json"),
];

/// Types whose text is UTF-8 unless they say otherwise themselves, which these cannot.
const TEXTS: &[(&str, &str)] = &[
    ("text/plain", TEXT),
    ("text/css", "text/css; charset=utf-8"),
    ("text/javascript", "text/javascript; charset=utf-8"),
    ("application/javascript", "text/javascript; charset=utf-8"),
    ("text/markdown", "text/markdown; charset=utf-8"),
];

/// Signatures so short that text may begin with them.
const SHORT: &[&str] = &[
    "image/bmp",
    "application/vnd.microsoft.portable-executable",
    "application/postscript",
    "application/x-bzip2",
    "application/x-shockwave-flash",
    "audio/mpeg",
    "image/gif",
];

/// Tells the type by a name's extension; `None` when that says nothing.
pub(crate) fn by_name(name: &str) -> Option<&'static str> {
    let (stem, extension) = name.rsplit_once('.')?;
    if stem.is_empty() || extension.is_empty() || extension.len() > 32 {
        return None;
    }
    let extension = extension.to_ascii_lowercase();
    if let Some((_, known)) = OVERRIDES.iter().find(|(known, _)| *known == extension) {
        return Some(known);
    }
    let listed = mime_guess::from_ext(&extension).first_raw()?;
    Some(TEXTS.iter().find(|(bare, _)| *bare == listed).map_or(listed, |(_, full)| full))
}

/// Tells the type by the first bytes, of which `is_all` says whether there are no more.
pub(crate) fn by_content(head: &[u8], is_all: bool) -> &'static str {
    let (head, is_all) = match head.get(..HEAD.as_usize()) {
        Some(first) => (first, is_all && head.len() == first.len()),
        None => (head, is_all),
    };
    if let Some(told) = by_mark(head) {
        return told;
    }
    let text = as_text(head, is_all);
    if text.is_some_and(is_svg) {
        return SVG;
    }
    match (infer::get(head).map(|known| known.mime_type()), text) {
        (Some("text/x-shellscript"), Some(_)) => TEXT,
        (Some(told), text) if text.is_none() || !SHORT.contains(&told) => told,
        (_, Some(text)) if is_json(text, is_all) => "application/json",
        (_, Some(_)) => TEXT,
        (_, None) => UNKNOWN,
    }
}

/// Returns whether a type can run script, or be styled so that it looks like somebody else's page.
pub(crate) fn is_active(content_type: &str) -> bool {
    let bare = content_type.split(';').next().unwrap_or_default().trim();
    matches!(bare, "text/html" | "text/xml" | "application/xml" | "application/xslt+xml")
        || bare.ends_with("+xml")
}

/// Tells text by the mark that names its encoding.
fn by_mark(head: &[u8]) -> Option<&'static str> {
    match head {
        [0xef, 0xbb, 0xbf, ..] => Some(TEXT),
        [0xfe, 0xff, ..] => Some("text/plain; charset=utf-16be"),
        [0xff, 0xfe, ..] => Some("text/plain; charset=utf-16le"),
        _ => None,
    }
}

/// Returns the bytes as text when they are UTF-8 and have no control character that no text has. The last
/// character may be cut.
fn as_text(head: &[u8], is_all: bool) -> Option<&str> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && !is_all => {
            std::str::from_utf8(head.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    let is_binary = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}');
    (!text.contains(is_binary)).then_some(text)
}

/// Returns whether text begins with an SVG element, behind declarations and comments.
fn is_svg(text: &str) -> bool {
    let mut rest = text.trim_start();
    loop {
        let end = match rest {
            rest if rest.starts_with("<?") => "?>",
            rest if rest.starts_with("<!--") => "-->",
            rest if starts_with(rest, "<!doctype svg") => ">",
            rest => {
                let after = rest.strip_prefix("<svg").and_then(|rest| rest.chars().next());
                return after.is_some_and(|c| c.is_ascii_whitespace() || matches!(c, '>' | '/'));
            }
        };
        match rest.split_once(end) {
            Some((_, after)) => rest = after.trim_start(),
            None => return false,
        }
    }
}

fn starts_with(text: &str, lower: &str) -> bool {
    text.get(..lower.len()).is_some_and(|start| start.eq_ignore_ascii_case(lower))
}

/// Returns whether text is an object or list of JSON, or the beginning of one.
fn is_json(text: &str, is_all: bool) -> bool {
    if !text.trim_start().starts_with(['{', '[']) {
        return false;
    }
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => true,
        Err(error) => error.is_eof() && !is_all,
    }
}

#[cfg(test)]
mod tests;
