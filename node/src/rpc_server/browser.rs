//! The door for pages in browsers: WebSocket and nothing else, for pages of the origins that the owner names.
//!
//! A browser sends requests for any page that it shows, from inside the owner's network. So this door believes none
//! of them by where it comes from: the page must be of a named origin, must know the token, and must have asked for
//! this node by its own address, because a name of an attacker may lead here too (DNS rebinding). Pages cannot set
//! headers: the token comes as a WebSocket subprotocol, `pop.bearer.TOKEN`, beside `pop`, which is the one agreed on.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use jsonrpsee::server::HttpBody;

use super::door::Token;

/// What client and server agree to speak.
const PROTOCOL: &str = "pop";
/// How the token begins among the subprotocols.
const BEARER: &str = "pop.bearer.";

/// Where pages reach the control API, and which.
#[derive(Clone, Debug)]
pub struct Browsers {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Origins of pages, as browsers write them.
    pub origins: Vec<String>,
    /// Names of this node besides its addresses.
    pub names: Vec<String>,
    /// The token of the control API.
    pub token: String,
}

/// What a connection to this door must show.
#[derive(Clone)]
pub(super) struct Rules {
    origins: Vec<HeaderValue>,
    names: Vec<String>,
    token: Token,
    /// Where the connection arrived.
    at: SocketAddr,
}

impl Rules {
    pub(super) fn new(browsers: &Browsers, at: SocketAddr) -> Self {
        let origins = browsers.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
        Self {
            origins: origins.collect(),
            names: browsers.names.iter().map(|name| name.to_ascii_lowercase()).collect(),
            token: Token::new(browsers.token.clone()),
            at,
        }
    }

    /// Returns the rules for a connection that arrived there.
    pub(super) fn at(&self, at: SocketAddr) -> Self {
        Self { at, ..self.clone() }
    }

    /// Lets a request in, or answers it. What let it in is taken out of its head.
    pub(super) fn admit<B>(&self, request: &mut Request<B>) -> Result<Admitted, Box<Response<HttpBody>>> {
        let refuse = |status, why| Err(Box::new(refusal(status, why)));
        if !self.is_named(request) {
            return refuse(StatusCode::MISDIRECTED_REQUEST, "this node goes by another name");
        }
        if !is_upgrade(request) {
            return refuse(StatusCode::UPGRADE_REQUIRED, "only WebSocket is spoken here");
        }
        let headers = request.headers_mut();
        if !only(headers, &header::ORIGIN).is_some_and(|origin| self.origins.contains(origin)) {
            return refuse(StatusCode::FORBIDDEN, "this origin is not in --rpc-origins");
        }
        let (mut has_protocol, mut is_known) = (false, self.token.fits(headers.get(header::AUTHORIZATION)));
        for offered in offered(headers) {
            has_protocol |= offered == PROTOCOL;
            is_known |= offered.strip_prefix(BEARER).is_some_and(|secret| self.token.is(secret));
        }
        if !is_known {
            return refuse(StatusCode::UNAUTHORIZED, "the control API wants the token of rpc.token");
        }
        headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
        headers.remove(header::AUTHORIZATION);
        Ok(Admitted { has_protocol })
    }

    /// Returns whether the request was meant for this node. A name that leads to an address is no proof of it.
    fn is_named<B>(&self, request: &Request<B>) -> bool {
        let authority = match request.uri().authority() {
            Some(authority) => Some(authority.as_str()),
            None => only(request.headers(), &header::HOST).and_then(|host| host.to_str().ok()),
        };
        let Some(authority) = authority.and_then(|text| text.parse::<http::uri::Authority>().ok()) else {
            return false;
        };
        if authority.as_str().contains('@') {
            return false;
        }
        let host = authority.host().to_ascii_lowercase();
        if self.names.contains(&host) {
            // Behind a proxy that speaks TLS, the port is the proxy's.
            return true;
        }
        let here = self.at.ip().to_canonical();
        let is_here = match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => address.to_canonical() == here,
            Err(_) => host == "localhost" && here.is_loopback(),
        };
        is_here && authority.port_u16().unwrap_or(80) == self.at.port()
    }
}

/// What was agreed on with a client that was let in.
pub(super) struct Admitted {
    has_protocol: bool,
}

impl Admitted {
    /// Tells the client.
    pub(super) fn answer(&self, response: &mut Response<HttpBody>) {
        if self.has_protocol && response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let agreed = HeaderValue::from_static(PROTOCOL);
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, agreed);
        }
    }
}

fn is_upgrade<B>(request: &Request<B>) -> bool {
    let upgrade = only(request.headers(), &header::UPGRADE);
    request.method() == Method::GET
        && upgrade.is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Returns the value of a header that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn offered(headers: &HeaderMap) -> Vec<&str> {
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim).collect()
}

fn refusal(status: StatusCode, why: &'static str) -> Response<HttpBody> {
    let mut response = Response::new(HttpBody::from(format!("{why}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    response
}
