//! The host that a client used, and what it means.

use std::net::{IpAddr, SocketAddr};

use http::request::Parts;
use http::{HeaderMap, HeaderName, Version, header};

use crate::asked::{Face, Origin, Target};
use crate::refusal::Refusal;
use crate::request::{cid, redirect};
use crate::settings::Settings;

/// The URL's authority, without anything that nobody should send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) is_https: bool,
    /// As it was written, without port and without a dot at the end. Empty when HTTP/1.0 sent none.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

/// What a host stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// A gateway: content is named by path.
    Paths,
    /// `{cid}.ipfs.{host}`.
    Content {
        /// The CID as it was written.
        label: String,
    },
    /// `{name}.ipns.{host}`.
    Name {
        /// The name as it was written.
        label: String,
    },
}

/// Reads the authority of a request.
///
/// # Errors
/// There is none on HTTP/1.1, there are several, or it is not one.
pub(crate) fn read(head: &Parts, is_tls: bool, trusted: bool) -> Result<Address, Refusal> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::bad_head("there is more than one Host"));
    }
    if host.is_none() && head.version == Version::HTTP_11 {
        return Err(Refusal::bad_head("there is no Host"));
    }
    // The authority of an absolute target counts before the header (RFC 9112, section 3.2.2).
    let sent = match (head.uri.authority(), host) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host.to_str().map_err(|_| bad())?,
        (None, None) => "",
    };
    let forwarded = |name: &'static str| match trusted {
        true => last(&head.headers, &HeaderName::from_static(name)),
        false => None,
    };
    let (host, port) = parse(forwarded("x-forwarded-host").unwrap_or(sent))?;
    let is_https = match forwarded("x-forwarded-proto") {
        Some(scheme) => scheme.eq_ignore_ascii_case("https"),
        None => is_tls,
    };
    Ok(Address { is_https, host, port })
}

fn bad() -> Refusal {
    Refusal::bad_head("the Host is none")
}

/// Splits an authority. Nothing but names, addresses and ports gets through, so that it is safe in a header.
fn parse(authority: &str) -> Result<(String, Option<u16>), Refusal> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = match port {
        None | Some("") => None,
        Some(port) => Some(port.parse().map_err(|_| bad())?),
    };
    let is_plain = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    match is_plain && host.len() <= 1024 {
        true => Ok((host.to_owned(), port)),
        false => Err(bad()),
    }
}

/// Returns the scheme that a request came by to whoever passed it on, if that is said.
pub(crate) fn forwarded_scheme(headers: &HeaderMap) -> Option<&str> {
    last(headers, &HeaderName::from_static("x-forwarded-proto"))
}

/// Returns the last member of a list, which the proxy next to us wrote.
fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim).filter(|text| !text.is_empty())
}

/// Returns whether what a neighbour says about a client is believed.
pub(crate) fn is_proxy(settings: &Settings, peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    settings.proxies.iter().any(|net| net.contains(&peer))
}

/// Returns who asks: the neighbour, or the first address behind it that is no proxy of ours.
pub(crate) fn client(settings: &Settings, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let mut client = peer.to_canonical();
    for hop in hops(headers) {
        if !is_proxy(settings, client) {
            break;
        }
        match hop {
            Some(hop) => client = hop,
            // Whoever wrote that is no proxy that knows what it does.
            None => break,
        }
    }
    client
}

/// Returns who asked whom, the last one first; `None` where that is no address.
///
/// Members are read one by one, as bytes: what a client sent stands before what its proxy added, maybe in the same
/// header, and must not make that unreadable.
fn hops(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let values = headers.get_all(HeaderName::from_static("x-forwarded-for")).iter().rev();
    values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b',')).map(hop)
}

/// Reads an address, with the port that some proxies add.
fn hop(sent: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(sent).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// Returns whether the neighbour, a proxy, says who asked it.
pub(crate) fn names_client(headers: &HeaderMap) -> bool {
    hops(headers).next().flatten().is_some()
}

/// Returns what a host stands for. A host that nobody configured is a gateway by path.
pub(crate) fn door(hosts: &[String], address: &Address) -> Door {
    for (namespace, of) in [(".ipfs.", true), (".ipns.", false)] {
        let Some((label, _)) = split(hosts, &address.host, namespace) else { continue };
        let label = label.to_owned();
        return if of { Door::Content { label } } else { Door::Name { label } };
    }
    Door::Paths
}

/// Splits a subdomain of one of the gateway's hosts.
fn split<'a>(hosts: &[String], host: &'a str, namespace: &str) -> Option<(&'a str, &'a str)> {
    hosts.iter().find_map(|gateway| {
        let at = host.len().checked_sub(gateway.len())?;
        let (front, back) = (host.get(..at)?, host.get(at..)?);
        let at = front.len().checked_sub(namespace.len())?;
        let (label, middle) = (front.get(..at)?, front.get(at..)?);
        let is_ours = back.eq_ignore_ascii_case(gateway) && middle.eq_ignore_ascii_case(namespace);
        (is_ours && !label.is_empty()).then_some((label, back))
    })
}

impl Address {
    /// Returns where the client thinks the gateway is.
    pub(crate) fn origin(&self, hosts: &[String], face: Face) -> Origin {
        let host = match face {
            Face::Subdomain => {
                split(hosts, &self.host, ".ipfs.").map_or(self.host.as_str(), |(_, host)| host)
            }
            Face::Path | Face::Short => &self.host,
        };
        Origin { is_https: self.is_https, host: host.to_ascii_lowercase(), port: self.port }
    }
}

impl Origin {
    /// Returns the host as URLs write it, with its port.
    pub(crate) fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

/// Returns the redirect to the origin that content has of its own, when the client did not use it.
///
/// # Errors
/// The root does not fit a host name.
pub(crate) fn canonical(
    hosts: &[String],
    address: &Address,
    target: &Target,
    query: Option<&str>,
) -> Result<Option<Refusal>, Refusal> {
    let is_gateway = hosts.iter().any(|host| host.eq_ignore_ascii_case(&address.host));
    let is_elsewhere = match target.face {
        Face::Path | Face::Short => is_gateway,
        Face::Subdomain => cid::label(&target.root)? != target.root_text,
    };
    if !is_elsewhere {
        return Ok(None);
    }
    let scheme = if address.is_https { "https" } else { "http" };
    let origin = address.origin(hosts, target.face).authority();
    let names = target.segments.iter().map(String::as_str);
    let path = super::target::join(names, target.slash);
    let label = cid::label(&target.root)?;
    let location = format!("{scheme}://{label}.ipfs.{origin}{path}");
    Ok(Some(redirect::moved(&redirect::with_query(&location, query))))
}

#[cfg(test)]
mod tests;
