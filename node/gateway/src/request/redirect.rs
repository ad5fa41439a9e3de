//! Where content that is asked for in a roundabout way is found.

use std::num::NonZeroU16;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::refusal::{Keep, Refusal};
use crate::request::target;

/// What is escaped in a query that is handed on: what no header and no URL may carry.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// How long a redirect may be remembered: it depends on settings, which change.
const KEEP: Duration = Duration::from_secs(3600);

/// What is escaped in a URL that others wrote: what no header may carry. It may have a fragment.
const URL: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\');

/// Sends the client where the author of content says.
pub(crate) fn elsewhere(status: StatusCode, location: &str) -> Refusal {
    // Two slashes would begin a host.
    let path = location.trim_start_matches('/');
    let location = if path.len() == location.len() { location.to_owned() } else { format!("/{path}") };
    let mut refusal = moved(&utf8_percent_encode(&location, URL).to_string());
    if refusal.status.is_redirection() {
        refusal.status = status;
    }
    refusal
}

/// Sends the client elsewhere for good.
pub(crate) fn moved(location: &str) -> Refusal {
    let Ok(value) = HeaderValue::from_str(location) else {
        return Refusal::bad("the path cannot be written as a URL");
    };
    Refusal::new(StatusCode::MOVED_PERMANENTLY, "moved").with(header::LOCATION, value).keep(Keep::For(KEEP))
}

/// Sends the client to TLS, under a host that has a certificate there. Not to be remembered: a cache that files both
/// schemes under one key would send whoever is there already round in circles.
pub(crate) fn to_tls(host: &str, port: NonZeroU16, target: Option<&PathAndQuery>) -> Refusal {
    let target = target.map(PathAndQuery::as_str).filter(|target| target.starts_with('/')).unwrap_or("/");
    let origin = match port.get() {
        443 => format!("https://{host}"),
        port => format!("https://{host}:{port}"),
    };
    moved(&format!("{origin}{}", utf8_percent_encode(target, URL))).keep(Keep::No)
}

/// Returns a path with the query that was sent.
pub(crate) fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{}", utf8_percent_encode(query, QUERY)),
        None => path.to_owned(),
    }
}

/// Returns the redirect for `?uri=`, which browsers send that have this gateway as a handler of `ipfs://`.
///
/// # Errors
/// The URI is none of content.
pub(crate) fn scheme(uri: &str) -> Result<Refusal, Refusal> {
    let bad = || Refusal::bad("the parameter uri is no ipfs:// or ipns:// address");
    let (scheme, rest) = uri.split_once("://").ok_or_else(bad)?;
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "ipfs" | "ipns") {
        return Err(bad());
    }
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let path = target::split(path)?;
    if path.segments.is_empty() {
        return Err(bad());
    }
    let names = std::iter::once(scheme.as_str()).chain(path.segments.iter().map(String::as_str));
    Ok(moved(&with_query(&target::join(names, path.slash), query)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_content_are_redirected_to_their_path() {
        let cases = [
            ("ipfs://bafkqaaa/wiki/Diego_Maradona.html", "/ipfs/bafkqaaa/wiki/Diego_Maradona.html"),
            ("ipfs://bafkqaaa", "/ipfs/bafkqaaa"),
            ("IPFS://bafkqaaa/", "/ipfs/bafkqaaa/"),
            ("ipns://en.wikipedia-on-ipfs.org/a b?c=d e#f", "/ipns/en.wikipedia-on-ipfs.org/a%20b?c=d%20e"),
            ("ipfs://a//evil.net", "/ipfs/a/evil.net"),
            ("ipfs:////evil.net", "/ipfs/evil.net"),
            ("ipfs://a/%2f\u{e9}", "/ipfs/a/%2F%C3%A9"),
            ("ipfs://a?b=\r\nX: y", "/ipfs/a?b=%0D%0AX:%20y"),
        ];
        for (uri, location) in cases {
            let refusal = scheme(uri).unwrap();
            assert_eq!(refusal.status, 301);
            assert_eq!(refusal.headers["location"], location, "{uri}");
        }
    }

    #[test]
    fn other_addresses_are_refused() {
        for uri in [
            "https://evil.net",
            "ipfs:",
            "ipfs://",
            "ipfs:///",
            "javascript:alert(1)",
            "ipfs://a/../b",
            "x",
            "//evil.net",
        ] {
            assert_eq!(scheme(uri).unwrap_err().status, 400, "{uri}");
        }
    }
}
