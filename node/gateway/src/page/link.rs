//! Where the links of a page lead: percent-encoded, and rooted where the client's face of the gateway is.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use pop_dag::Cid;
use pop_dag::unixfs::MAX_NAME;

use crate::asked::{Asked, Face, Origin};

/// What is encoded in a segment of a path: all but the `pchar` of RFC 3986.
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
            Face::Path | Face::Short => (String::new(), format!("/ipfs/{}", segment(&target.root_text))),
            Face::Subdomain => (format!("//{}", authority(&asked.origin)), String::new()),
        };
        for name in &target.segments {
            here.push('/');
            here.push_str(&segment(name));
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
        let mut href = format!("{}/ipfs/{}", self.gateway, segment(&self.root));
        let mut crumbs = vec![(href.clone(), self.root.as_str())];
        for name in &self.segments {
            href.push('/');
            href.push_str(&segment(name));
            crumbs.push((href.clone(), name));
        }
        crumbs
    }

    /// Returns the link to an entry of this directory. Names that cannot stand in a path, because browsers or
    /// this gateway take them for something else, are linked by CID.
    pub(crate) fn entry(&self, name: &str, cid: &Cid) -> String {
        match is_segment(name) {
            true => format!("{}/{}", self.here, segment(name)),
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

/// Encodes one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// Encodes a path as it was sent, for a `Location` on this host: escapes stay and get upper-case digits, what
/// may not stand in a path is escaped, and no more than one slash begins it, since two would begin a host.
pub(crate) fn location(sent: &str) -> String {
    let mut path = String::from("/");
    let mut rest = sent.trim_start_matches('/');
    while let Some(at) = rest.find(['%', '/']) {
        path.push_str(&segment(&rest[..at]));
        let escape = rest.get(at..at + 3).filter(|text| is_escape(text));
        let taken = match (rest.as_bytes()[at], escape) {
            (b'/', _) => "/",
            (_, Some(escape)) => escape,
            (_, None) => "%",
        };
        match taken {
            "%" => path.push_str("%25"),
            _ => path.push_str(&taken.to_ascii_uppercase()),
        }
        rest = &rest[at + taken.len()..];
    }
    path.push_str(&segment(rest));
    path
}

fn is_escape(text: &str) -> bool {
    text.strip_prefix('%').is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// Returns whether a name leads to its entry when it stands in the path of a URL.
fn is_segment(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME && !name.contains('\0')
}

/// Encodes the value of `filename`. What is not ASCII is escaped twice, as kubo does and the conformance suite
/// wants to see; whoever reads `filename` undoes the second one.
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
    fn a_location_stays_on_its_host() {
        for (sent, location) in [
            ("/ipfs/c/a", "/ipfs/c/a"),
            ("//evil.example/a", "/evil.example/a"),
            ("///a//b", "/a//b"),
            ("/\\evil.example", "/%5Cevil.example"),
            ("/ą/%c4%99", "/%C4%85/%C4%99"),
            ("/a b?\"<>", "/a%20b%3F%22%3C%3E"),
            ("/100%", "/100%25"),
            ("/%zz%4", "/%25zz%254"),
            ("/%e", "/%25e"),
            ("/%ą", "/%25%C4%85"),
            ("", "/"),
        ] {
            assert_eq!(super::location(sent), location, "{sent}");
        }
    }

    #[test]
    fn a_file_name_is_escaped_once_and_twice_where_it_is_not_ascii() {
        assert_eq!(file_name("file-źł.txt"), "file-%25C5%25BA%25C5%2582.txt");
        assert_eq!(file_name("a b&c=%\"\n.txt"), "a%20b%26c%3D%25%22%0A.txt");
    }
}
