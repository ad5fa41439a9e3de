//! What a file is, as far as it matters for cutting it: by its extension, else by its first bytes.

use std::path::Path;

/// How much of a file is looked at; every signature that is known lies in it.
pub(super) const HEAD: usize = 4096;

/// What kind of content a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Audio and video: read from the start, seldom changed.
    Media,
    /// Images and archives: packed already, so that little is shared inside.
    Packed,
    /// Text, source code, fonts: versions of it share most of their content.
    Text,
    /// Anything else.
    Other,
}

/// Types below `application/` whose class is plain. Of the others the content tells.
const PACKED: &str = "zip gzip x-gzip x-tar x-gtar x-ustar x-cpio x-unix-archive x-bzip x-bzip2 vnd.bzip3 x-xz \
    x-lzip x-lz4 zstd x-compress x-compressed x-7z-compressed x-rar-compressed vnd.rar vnd.ms-cab-compressed \
    java-archive vnd.android.package-archive vnd.debian.binary-package x-rpm x-chrome-extension \
    x-google-chrome-extension epub+zip";
const MEDIA: &str = "ogg mp4 mxf vnd.rn-realmedia";
const TEXT: &str = "json json5 xml javascript postscript rtf x-sh x-csh x-sql x-perl x-httpd-php x-tcl x-tex \
    x-latex x-subrip font-woff font-sfnt x-font-ttf vnd.ms-fontobject";

/// Tells the class by the name's extension; `None` when that says nothing.
pub(super) fn by_name(name: &str) -> Option<Class> {
    let extension = Path::new(name).extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        // Listed as an MPEG stream, as a plugin and as plain XML; far more often TypeScript, a package of
        // software and packed XML.
        "ts" | "mts" | "rpm" | "svgz" => None,
        // Lists of what to play, in plain text.
        "m3u" | "m3u8" | "pls" => Some(Class::Text),
        _ => by_mime(mime_guess::from_ext(&extension).first_raw()?),
    }
}

fn by_mime(mime: &str) -> Option<Class> {
    let (top, sub) = mime.split_once('/')?;
    let is_in = |list: &str| list.split_ascii_whitespace().any(|known| known == sub);
    match top {
        _ if sub.ends_with("+json") || sub.ends_with("+xml") => Some(Class::Text),
        "audio" | "video" => Some(Class::Media),
        "image" => Some(Class::Packed),
        "text" | "font" => Some(Class::Text),
        "application" if is_in(PACKED) => Some(Class::Packed),
        "application" if is_in(MEDIA) => Some(Class::Media),
        "application" if is_in(TEXT) => Some(Class::Text),
        _ => None,
    }
}

/// Tells the class by how the content starts: by up to [`HEAD`] bytes of it.
pub(super) fn by_content(head: &[u8]) -> Class {
    match infer::get(head) {
        Some(known) => by_mime(known.mime_type()).unwrap_or(Class::Other),
        None if is_text(head) => Class::Text,
        None => Class::Other,
    }
}

/// Returns true for UTF-8 without control characters that no text has.
fn is_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last character may be cut in two.
        Err(error) if error.error_len().is_none() && head.len() == HEAD => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let strange = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}' | '\u{8}');
    !valid.is_empty() && !valid.contains(strange)
}

#[cfg(test)]
mod tests;
