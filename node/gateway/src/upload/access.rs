//! Who may upload: whoever shows a token of the list, or without a list whoever sits at this machine.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, StatusCode, header};

use super::owner::{Owner, Tokens};
use crate::refusal::Refusal;
use crate::request::caller;

/// Returns whose upload a request is.
pub(crate) async fn owner(
    tokens: Option<&Arc<Tokens>>,
    parts: &Parts,
    from: IpAddr,
) -> Result<Owner, Refusal> {
    match tokens {
        Some(tokens) => by_token(tokens, parts).await,
        None => local(parts, from).map(|()| Owner::local()),
    }
}

async fn by_token(tokens: &Arc<Tokens>, parts: &Parts) -> Result<Owner, Refusal> {
    let Some(shown) = bearer(parts) else {
        return Err(unauthorized("an upload needs a token", "Bearer realm=\"pop\""));
    };
    let (tokens, shown) = (Arc::clone(tokens), shown.to_owned());
    let found = tokio::task::spawn_blocking(move || tokens.owner_of(&shown)).await;
    match found {
        Ok(Some(owner)) => Ok(owner),
        Ok(None) => {
            Err(unauthorized("this token is not known here", "Bearer realm=\"pop\", error=\"invalid_token\""))
        }
        Err(_) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the tokens could not be read")),
    }
}

fn unauthorized(message: &str, challenge: &'static str) -> Refusal {
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, message);
    let refusal = refusal.hint("send `Authorization: Bearer TOKEN` with a token of the owner of this node");
    refusal.with(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// Returns the token of a request that shows exactly one.
fn bearer(parts: &Parts) -> Option<&[u8]> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let (value, more) = (values.next()?, values.next());
    let (scheme, shown) = value.to_str().ok()?.split_once(' ')?;
    let is_one = more.is_none() && scheme.eq_ignore_ascii_case("bearer");
    is_one.then(|| shown.trim().as_bytes())
}

/// Checks that a request comes from a program of this machine, and not from a web page or through a proxy.
///
/// Whoever is behind a proxy shows a token, also when it is believed.
fn local(parts: &Parts, from: IpAddr) -> Result<(), Refusal> {
    let refuse = |why: &str| {
        let refusal = Refusal::new(StatusCode::FORBIDDEN, why.to_owned());
        Err(refusal.hint(
            "without a list of tokens only programs of the node's own machine upload; give the node one",
        ))
    };
    if !from.to_canonical().is_loopback() {
        return refuse("uploads from elsewhere need a token");
    }
    if caller::is_forwarded(&parts.headers) {
        return refuse("uploads through a proxy need a token");
    }
    let Some(host) = host(parts).filter(|host| caller::is_this_machine(host.host())) else {
        return refuse("the Host of an upload without a token is localhost or a loopback address");
    };
    if caller::is_of_another_origin(&parts.headers, host.as_str()) {
        return refuse("a web page of another origin uploads only with a token");
    }
    if caller::is_led(&parts.headers) {
        return refuse("a web page of another site uploads only with a token");
    }
    Ok(())
}

/// Returns the host that the client named; of a target in absolute form that one counts (RFC 9112, 3.2.2).
fn host(parts: &Parts) -> Option<Authority> {
    if let Some(authority) = parts.uri.authority() {
        return Some(authority.clone());
    }
    let mut values = parts.headers.get_all(header::HOST).iter();
    let (value, more) = (values.next()?, values.next());
    let host: Authority = value.to_str().ok()?.parse().ok()?;
    more.is_none().then_some(host)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use axum::body::Body;
    use http::Request;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    type Headers<'a> = &'a [(&'a str, &'a str)];

    fn status(from: IpAddr, headers: Headers<'_>) -> Result<(), StatusCode> {
        let mut request = Request::post("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, _) = request.body(Body::empty()).unwrap().into_parts();
        local(&parts, from).map_err(|refusal| refusal.status)
    }

    #[test]
    fn programs_of_this_machine_need_no_token() {
        let refused = Err(StatusCode::FORBIDDEN);
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        let rows: &[(IpAddr, Headers<'_>, Result<(), StatusCode>)] = &[
            (HERE, &[("host", "localhost:8080")], Ok(())),
            (HERE, &[("host", "LOCALHOST")], Ok(())),
            (HERE, &[("host", "127.0.0.1:8080")], Ok(())),
            (HERE, &[("host", "127.9.9.9")], Ok(())),
            (IpAddr::V6(Ipv6Addr::LOCALHOST), &[("host", "[::1]:8080")], Ok(())),
            (mapped, &[("host", "localhost")], Ok(())),
            (HERE, &[("host", "localhost:1"), ("origin", "http://localhost:1")], Ok(())),
            (HERE, &[("host", "localhost:1"), ("sec-fetch-site", "same-origin")], Ok(())),
            (HERE, &[("host", "localhost:1"), ("sec-fetch-site", "none")], Ok(())),
            // From elsewhere.
            ("192.0.2.1".parse().unwrap(), &[("host", "localhost")], refused),
            ("::2".parse().unwrap(), &[("host", "localhost")], refused),
            // Names that lead here.
            (HERE, &[], refused),
            (HERE, &[("host", "evil.example")], refused),
            (HERE, &[("host", "localhost.evil.example")], refused),
            (HERE, &[("host", "bafy.ipfs.localhost")], refused),
            (HERE, &[("host", "127.0.0.1.evil.example")], refused),
            (HERE, &[("host", "10.0.0.1")], refused),
            (HERE, &[("host", "localhost"), ("host", "localhost")], refused),
            // Web pages.
            (HERE, &[("host", "localhost:1"), ("origin", "https://evil.example")], refused),
            (HERE, &[("host", "localhost:1"), ("origin", "null")], refused),
            (HERE, &[("host", "localhost:1"), ("origin", "http://localhost:2")], refused),
            (HERE, &[("host", "localhost:1"), ("origin", "http://x.ipfs.localhost:1")], refused),
            (HERE, &[("host", "localhost:1"), ("origin", "http://localhost:1"), ("origin", "null")], refused),
            (HERE, &[("host", "localhost:1"), ("sec-fetch-site", "cross-site")], refused),
            (HERE, &[("host", "localhost:1"), ("sec-fetch-site", "same-site")], refused),
            // Proxies.
            (HERE, &[("host", "localhost"), ("x-forwarded-for", "192.0.2.1")], refused),
            (HERE, &[("host", "localhost"), ("x-forwarded-for", "127.0.0.1")], refused),
            (HERE, &[("host", "localhost"), ("forwarded", "for=192.0.2.1")], refused),
            (HERE, &[("host", "localhost"), ("via", "1.1 cache")], refused),
        ];
        for (from, headers, expected) in rows {
            assert_eq!(status(*from, headers), *expected, "{from} {headers:?}");
        }
    }

    #[test]
    fn the_host_of_an_absolute_target_counts() {
        let request = Request::post("http://evil.example/").header("host", "localhost");
        let (parts, _) = request.body(Body::empty()).unwrap().into_parts();
        assert_eq!(local(&parts, HERE).unwrap_err().status, StatusCode::FORBIDDEN);
    }

    #[tokio::test]
    async fn with_a_list_a_token_counts_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        std::fs::write(&path, "ann:aaaaaaaaaaaaaaaaaaaa\nbbbbbbbbbbbbbbbbbbbbbbb\n").unwrap();
        let tokens = Arc::new(Tokens::new(&path));
        let rows: &[(&[&str], Result<&str, &str>)] = &[
            (&["Bearer aaaaaaaaaaaaaaaaaaaa"], Ok("ann")),
            (&["bEARER  bbbbbbbbbbbbbbbbbbbbbbb "], Ok("token 2")),
            (&[], Err("Bearer realm=\"pop\"")),
            (&["Basic aaaaaaaaaaaaaaaaaaaa"], Err("Bearer realm=\"pop\"")),
            (&["Bearer"], Err("Bearer realm=\"pop\"")),
            (&["Bearer aaaaaaaaaaaaaaaaaaaa", "Bearer x"], Err("Bearer realm=\"pop\"")),
            (&["Bearer "], Err("Bearer realm=\"pop\", error=\"invalid_token\"")),
            (&["Bearer ann:aaaaaaaaaaaaaaaaaaaa"], Err("Bearer realm=\"pop\", error=\"invalid_token\"")),
            (&["Bearer aaaaaaaaaaaaaaaaaaaA"], Err("Bearer realm=\"pop\", error=\"invalid_token\"")),
        ];
        for (shown, expected) in rows {
            let mut request = Request::post("/").header("host", "localhost");
            for value in *shown {
                request = request.header("authorization", *value);
            }
            let (parts, _) = request.body(Body::empty()).unwrap().into_parts();
            let found = owner(Some(&tokens), &parts, HERE).await;
            match (found, expected) {
                (Ok(owner), Ok(name)) => assert_eq!(owner.name(), *name),
                (Err(refusal), Err(challenge)) => {
                    assert_eq!(refusal.status, StatusCode::UNAUTHORIZED);
                    assert_eq!(refusal.headers["www-authenticate"], *challenge);
                }
                (found, expected) => panic!("{shown:?}: {found:?} instead of {expected:?}"),
            }
        }
    }
}
