//! The headers that answers have whatever they are.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What scripts of other origins may read.
const EXPOSED: &str = "Accept-Ranges, Cache-Status, Content-Disposition, Content-Length, Content-Location, \
    Content-Range, Etag, Ipfs-Hash, Link, Location, Retry-After, Server-Timing, X-Chunked-Output, X-Ipfs-Path, \
    X-Ipfs-Roots, X-Request-Id, X-Stream-Output";

/// What scripts of other origins may send: every header that is read here.
const ALLOWED: &str = "Accept, Authorization, Cache-Control, Codec-Type, Content-Disposition, Content-Replication, \
    Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Range, If-Unmodified-Since, Range, Service-Worker, \
    Traceparent, User-Agent, X-Requested-With, X-Request-Id";

/// Content that can run script gets an origin of nobody, where it would share one with all other content.
const SANDBOX: &str = "sandbox allow-scripts allow-forms allow-popups allow-downloads";

/// What no page on a shared origin needs.
const PERMISSIONS: &str = "camera=(), geolocation=(), microphone=(), payment=(), usb=()";

/// Returns the methods that there are.
pub(crate) fn methods(has_uploads: bool) -> HeaderValue {
    HeaderValue::from_static(if has_uploads { "GET, HEAD, OPTIONS, POST" } else { "GET, HEAD, OPTIONS" })
}

/// Adds what every answer has: permission for scripts of any origin, as all content is public and no credential is
/// ever looked at on the way out, and an end to guesses about types.
pub(crate) fn add_common(headers: &mut HeaderMap, has_uploads: bool) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods(has_uploads));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(policy, HeaderValue::from_static("cross-origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Adds what keeps content of one author from content of another where all have one origin.
pub(crate) fn add_walls(headers: &mut HeaderMap) {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if is_active(kind) && !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("permissions-policy"), HeaderValue::from_static(PERMISSIONS));
}

/// Returns whether a browser runs script in content of a type.
fn is_active(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_xml = kind.ends_with("+xml") || kind.ends_with("/xml") || kind.ends_with("/xsl");
    is_xml || kind == "text/html" || kind == "multipart/related" || kind == "application/x-mimearchive"
}

/// Adds a name to `Vary`.
pub(crate) fn add_vary(headers: &mut HeaderMap, name: &str) {
    let sent = headers.get(header::VARY).and_then(|sent| sent.to_str().ok()).unwrap_or_default();
    if sent.split(',').any(|other| other.trim().eq_ignore_ascii_case(name)) {
        return;
    }
    let all = if sent.is_empty() { name.to_owned() } else { format!("{sent}, {name}") };
    if let Ok(all) = HeaderValue::from_str(&all) {
        headers.insert(header::VARY, all);
    }
}

/// Returns whether a list of directives holds one.
pub(crate) fn has_directive(headers: &HeaderMap, name: &HeaderName, directive: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut members = values.flat_map(|value| value.split(','));
    members.any(|member| member.split('=').next().unwrap_or_default().trim().eq_ignore_ascii_case(directive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vary_names_a_header_once() {
        let mut headers = HeaderMap::new();
        for name in ["Accept", "accept", "Accept-Encoding", "ACCEPT"] {
            add_vary(&mut headers, name);
        }
        assert_eq!(headers["vary"], "Accept, Accept-Encoding");
    }

    #[test]
    fn directives_are_found_in_lists() {
        let cases = [
            ("only-if-cached", true),
            ("max-age=0, Only-If-Cached", true),
            ("max-age=0 ,only-if-cached , x", true),
            ("only-if-cached=1", true),
            ("not-only-if-cached", false),
            ("", false),
        ];
        for (sent, expected) in cases {
            let headers = [(header::CACHE_CONTROL, HeaderValue::from_static(sent))].into_iter().collect();
            assert_eq!(has_directive(&headers, &header::CACHE_CONTROL, "only-if-cached"), expected, "{sent}");
        }
    }

    #[test]
    fn content_that_runs_script_has_no_origin() {
        let cases = [
            ("text/html", true),
            ("Text/HTML; charset=utf-8", true),
            ("application/xhtml+xml", true),
            ("image/svg+xml", true),
            ("text/xml", true),
            ("application/xml", true),
            ("application/rss+xml", true),
            ("text/xsl", true),
            ("text/plain; charset=utf-8", false),
            ("application/javascript", false),
            ("application/pdf", false),
            ("image/png", false),
        ];
        for (kind, expected) in cases {
            let mut headers: HeaderMap =
                [(header::CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
            add_walls(&mut headers);
            assert_eq!(headers.contains_key("content-security-policy"), expected, "{kind}");
            assert_eq!(headers["referrer-policy"], "no-referrer");
        }
    }
}
