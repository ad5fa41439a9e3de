//! Who is behind a request: a program of the client itself, or somebody who leads it here.
//!
//! A browser is led by any page in the world: it says so in `Origin` and `Sec-Fetch-Site`, and a name that an attacker
//! points to this machine shows in `Host`. A proxy on this machine looks like its programs, but adds a header. What
//! costs the owner something is only for whom none of this holds.

use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::host::{self, Address};
use crate::settings::Settings;

/// Headers that proxies add.
const FORWARDED: &[&str] =
    &["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// Returns whether content that is not here may be looked for elsewhere, which may cost money.
pub(crate) fn may_fetch(settings: &Settings, head: &Parts, peer: IpAddr, address: &Address) -> bool {
    let headers = &head.headers;
    let client = host::client(settings, headers, peer);
    let authority = match address.port {
        Some(port) => format!("{}:{port}", address.host),
        None => address.host.clone(),
    };
    settings.fetch_for.iter().any(|net| net.contains(&client))
        && is_known(settings, headers, peer)
        && !is_led(headers)
        && !is_of_another_origin(headers, &authority)
        && (!client.is_loopback() || is_own_name(&settings.hosts, &address.host))
}

/// Returns whether the request is from this machine, as far as that can be told.
pub(crate) fn is_at_home(settings: &Settings, headers: &HeaderMap, peer: IpAddr) -> bool {
    host::client(settings, headers, peer).is_loopback() && is_known(settings, headers, peer)
}

/// Returns whether it is known who asks: behind a proxy that does not name its client there may be anybody.
fn is_known(settings: &Settings, headers: &HeaderMap, peer: IpAddr) -> bool {
    !is_forwarded(headers) || (host::is_proxy(settings, peer) && host::names_client(headers))
}

/// Returns whether a proxy has passed the request on.
pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDED.iter().any(|name| headers.contains_key(*name))
}

/// Returns whether a browser says that a page of another origin made it ask, be it for a picture or by a link.
pub(crate) fn is_led(headers: &HeaderMap) -> bool {
    let sites = headers.get_all(HeaderName::from_static("sec-fetch-site"));
    sites.iter().any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// Returns whether a script asks that is from elsewhere than this host and port.
///
/// Pages that a gateway serves from a path have the opaque origin `null`, so they are from elsewhere.
pub(crate) fn is_of_another_origin(headers: &HeaderMap, authority: &str) -> bool {
    headers.get_all(header::ORIGIN).iter().any(|origin| !is_origin_of(origin, authority))
}

/// Returns whether a host is this machine for itself. Names below `localhost` are origins of content, so they are not.
pub(crate) fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || address(host).is_some_and(|ip| ip.to_canonical().is_loopback())
}

fn is_origin_of(origin: &HeaderValue, authority: &str) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let rest = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
    rest.is_some_and(|rest| rest.eq_ignore_ascii_case(authority))
}

/// Returns whether nobody else can make a host name lead here: an address, or a name of this gateway.
fn is_own_name(hosts: &[String], host: &str) -> bool {
    let mut own = hosts.iter().map(String::as_str).chain(["localhost"]);
    address(host).is_some() || own.any(|own| is_or_below(host, own))
}

fn is_or_below(host: &str, own: &str) -> bool {
    let split = host.len().checked_sub(own.len()).and_then(|at| Some((host.get(..at)?, host.get(at..)?)));
    split.is_some_and(|(front, back)| {
        back.eq_ignore_ascii_case(own) && (front.is_empty() || front.ends_with('.'))
    })
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}
