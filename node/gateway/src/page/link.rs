//! Where the links of a page lead: percent-encoded, and rooted where the client's face of the gateway is.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use pop_dag::Cid;
use pop_dag::unixfs::MAX_NAME;

use crate::asked::{Asked, Face, Origin};
use crate::request::target::escape;

/// What is encoded in the value of a query: all that is reserved.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The place of a page, from which its links are made.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// In front of `/ipfs/…`: nothing, or on a subdomain the gateway that it belongs to.
    gateway: String,
    /// The root as it was written.
    root: String,
    segments: Vec<String>,
    /// The path of the page without its last slash, encoded.
    here: String,
}

impl Place {
    pub(crate) fn of(asked: &Asked) -> Self {
        let target = &asked.target;
        let (gateway, mut here) = match target.face {
            Face::Path | Face::Short => (String::new(), format!("/ipfs/{}", escape(&target.root_text))),
            Face::Subdomain => (format!("//{}", authority(&asked.origin)), String::new()),
        };
        for name in &target.segments {
            here.push('/');
            here.push_str(&escape(name));
        }
        Self { gateway, root: target.root_text.clone(), segments: target.segments.clone(), here }
    }

    /// Returns the content path as text.
    pub(crate) fn path(&self) -> String {
        let mut path = format!("/ipfs/{}", self.root);
        for name in &self.segments {
            path.push('/');
            path.push_str(name);
        }
        path
    }

    /// Returns the parent directory, when there is one below the root.
    pub(crate) fn parent(&self) -> Option<String> {
        (!self.segments.is_empty()).then(|| format!("{}/..", self.here))
    }

    /// Returns the root and the directories down to this one, with what each is called.
    pub(crate) fn crumbs(&self) -> Vec<(String, &str)> {
        let mut href = format!("{}/ipfs/{}", self.gateway, escape(&self.root));
        let mut crumbs = vec![(href.clone(), self.root.as_str())];
        for name in &self.segments {
            href.push('/');
            href.push_str(&escape(name));
            crumbs.push((href.clone(), name));
        }
        crumbs
    }

    /// Returns the link to an entry of this directory. Names that cannot stand in a path, because browsers or
    /// this gateway take them for something else, are linked by CID.
    pub(crate) fn entry(&self, name: &str, cid: &Cid) -> String {
        match is_segment(name) {
            true => format!("{}/{}", self.here, escape(name)),
            false => self.named(cid, name),
        }
    }

    /// Returns the link to content by its CID.
    pub(crate) fn cid(&self, cid: &Cid) -> String {
        format!("{}/ipfs/{cid}", self.gateway)
    }

    /// Returns the link to content by its CID that also says what it is called.
    pub(crate) fn named(&self, cid: &Cid, name: &str) -> String {
        match name.len() > MAX_NAME {
            true => self.cid(cid),
            false => format!("{}/ipfs/{cid}?filename={}", self.gateway, file_name(name)),
        }
    }
}

/// Returns whether a name leads to its entry when it stands in the path of a URL.
fn is_segment(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME && !name.contains('\0')
}

/// Encodes the value of `filename`. What is not ASCII is escaped twice, as kubo does and the conformance suite
/// wants to see; [`told_name`] undoes the second one.
fn file_name(name: &str) -> String {
    let mut text = String::new();
    for char in name.chars() {
        let escaped = utf8_percent_encode(char.encode_utf8(&mut [0; 4]), VALUE).to_string();
        match char.is_ascii() {
            true => text.push_str(&escaped),
            false => text.push_str(&escaped.replace('%', "%25")),
        }
    }
    text
}

/// Returns the name that a decoded `filename` means: listings of other gateways and ours escape twice what is not
/// ASCII. Other escapes are left, as they may be what the file is called.
pub(crate) fn told_name(value: &str) -> String {
    let mut name = String::new();
    let mut rest = value;
    while let Some(at) = rest.find('%') {
        let run = rest.as_bytes()[at..].chunks(3).map_while(escaped_byte).collect::<Vec<_>>();
        let len = 3 * run.len();
        name.push_str(&rest[..at]);
        match std::str::from_utf8(&run) {
            Ok(text) if len > 0 => name.push_str(text),
            _ => name.push_str(&rest[at..at + len.max(1)]),
        }
        rest = &rest[at + len.max(1)..];
    }
    name + rest
}

/// Returns the byte of an escape of what is not ASCII.
fn escaped_byte(escape: &[u8]) -> Option<u8> {
    let [b'%', high, low] = escape else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = digit(*high)? * 16 + digit(*low)?;
    (!byte.is_ascii()).then_some(byte)
}

fn authority(origin: &Origin) -> String {
    match origin.port {
        Some(port) => format!("{}:{port}", origin.host),
        None => origin.host.clone(),
    }
}

/// Returns the origin as the client wrote it.
pub(crate) fn origin(origin: &Origin) -> String {
    let scheme = if origin.is_https { "https" } else { "http" };
    format!("{scheme}://{}", authority(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_escaped_once_and_twice_where_it_is_not_ascii() {
        assert_eq!(file_name("file-źł.txt"), "file-%25C5%25BA%25C5%2582.txt");
        assert_eq!(file_name("a b&c=%\"\n.txt"), "a%20b%26c%3D%25%22%0A.txt");
        for name in ["file-źł.txt", "a b&c=%\"\n.txt", "100%", "%41", "%%ą%", "日本語", "%C5 ", ""] {
            let query = format!("filename={}", file_name(name));
            let (_, value) = form_urlencoded::parse(query.as_bytes()).next().unwrap();
            assert_eq!(told_name(&value), name);
        }
        assert_eq!(told_name("%C5%BA %c5%82 %C5 %C5%41 %ZZ%"), "ź ł %C5 %C5%41 %ZZ%");
    }
}
