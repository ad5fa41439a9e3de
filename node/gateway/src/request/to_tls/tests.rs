//! Through the whole of an answer, with a certificate in files.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, Request};
use pop_dag::Memory;

use super::*;
use crate::settings::{Certificates, Uploads};
use crate::site::Site;
use crate::testing::{request, settings, site};
use crate::tls::tests::{NAME, made};

const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A gateway that leads to TLS under `gateway.example` and the subdomains of its content.
fn leading(port: u16) -> Arc<Site> {
    let made = made(|params| {
        let wild = "*.ipfs.gateway.example".try_into().unwrap();
        params.subject_alt_names.push(rcgen::SanType::DnsName(wild));
        params.subject_alt_names.push(rcgen::SanType::IpAddress("192.0.2.1".parse().unwrap()));
    });
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain"), folder.path().join("key"));
    std::fs::write(&chain, &made.chain).unwrap();
    std::fs::write(&key, &made.key).unwrap();
    let (acceptor, _keeper) = Acceptor::new(&Certificates::Files { chain, key }).unwrap();
    let uploads = Some(Uploads { tokens: None, body: pop_units::Bytes::MIB, quota: None });
    let mut site = Site::new(Settings { uploads, ..settings() }, site(Memory::new()).content.clone());
    site.to_tls = Some(ToTls::new(acceptor, NonZeroU16::new(port).unwrap()));
    Arc::new(site)
}

async fn send(site: &Arc<Site>, request: Request<Body>, peer: IpAddr) -> (u16, HeaderMap, String) {
    let response = crate::handle::handle(Arc::clone(site), request, peer).await;
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (head.status.as_u16(), head.headers, String::from_utf8(body.to_vec()).unwrap())
}

/// Where a GET is sent.
async fn moved(site: &Arc<Site>, target: &str, headers: &[(&str, &str)], peer: IpAddr) -> Option<String> {
    let (status, headers, _) = send(site, request("GET", target, headers), peer).await;
    (status == 301).then(|| headers["location"].to_str().unwrap().to_owned())
}

#[tokio::test]
async fn names_of_the_certificate_lead_to_https_with_path_and_query_as_they_were() {
    let site = leading(443);
    let cases = [
        (NAME, "/", "https://gateway.example/"),
        ("Gateway.EXAMPLE.:8080", "/ipfs/bafkqaaa", "https://gateway.example/ipfs/bafkqaaa"),
        (NAME, "/a%2Fb/../c//d%20?x=%00&y=a+b&y", "https://gateway.example/a%2Fb/../c//d%20?x=%00&y=a+b&y"),
        (NAME, "//evil.example/x", "https://gateway.example//evil.example/x"),
        (NAME, "/?uri=ipfs://bafkqaaa", "https://gateway.example/?uri=ipfs://bafkqaaa"),
        (NAME, "http://gateway.example/x?y", "https://gateway.example/x?y"),
        ("bafkqaaa.ipfs.gateway.example", "/", "https://bafkqaaa.ipfs.gateway.example/"),
    ];
    for (host, target, location) in cases {
        let found = moved(&site, target, &[("Host", host)], STRANGER).await;
        assert_eq!(found.as_deref(), Some(location), "{host} {target}");
    }
    let elsewhere = leading(8443);
    let found = moved(&elsewhere, "/x", &[("Host", "gateway.example:8080")], STRANGER).await;
    assert_eq!(found.as_deref(), Some("https://gateway.example:8443/x"));

    let (status, headers, body) = send(&site, request("HEAD", "/x", &[("Host", NAME)]), STRANGER).await;
    assert_eq!((status, body.as_str()), (301, ""));
    assert_eq!(headers["location"], "https://gateway.example/x");
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn no_other_host_leads_anywhere() {
    let site = leading(443);
    for host in [
        "evil.example",
        "gateway.example.evil.example",
        "evilgateway.example",
        "www.gateway.example",
        "ipfs.gateway.example",
        "a.b.ipfs.gateway.example",
        "localhost:8080",
        "127.0.0.1",
        "[::1]:8080",
        "192.0.2.1",
        "gateway.example@evil.example",
        "gateway.example:x",
    ] {
        assert_eq!(moved(&site, "/", &[("Host", host)], STRANGER).await, None, "{host}");
    }
    // What a stranger says of a proxy does not count, and what the target says counts more than the header.
    let forged = [("Host", "127.0.0.1"), ("X-Forwarded-Host", NAME)];
    assert_eq!(moved(&site, "/", &forged, STRANGER).await, None);
    assert_eq!(moved(&site, "http://evil.example/", &[("Host", NAME)], STRANGER).await, None);
    let mut private = request("GET", "/", &[("Host", NAME)]);
    private.extensions_mut().insert(Transport { is_tls: true });
    assert_eq!(send(&site, private, STRANGER).await.0, 200);
}

#[tokio::test]
async fn a_proxy_that_speaks_tls_is_not_sent_round_in_circles() {
    let site = leading(443);
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: [(IpAddr, Headers<'_>, bool); 8] = [
        (PROXY, &[("X-Forwarded-Proto", "https")], false),
        (PROXY, &[("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "HTTPS")], false),
        (PROXY, &[("X-Forwarded-For", "203.0.113.9")], false),
        (PROXY, &[("Via", "1.1 cache")], false),
        (PROXY, &[("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "http")], true),
        (PROXY, &[], true),
        (STRANGER, &[("X-Forwarded-Proto", "https")], false),
        (STRANGER, &[("Via", "1.1 cache")], true),
    ];
    for (peer, headers, is_moved) in cases {
        let headers: Vec<_> = headers.iter().copied().chain([("Host", NAME)]).collect();
        assert_eq!(moved(&site, "/", &headers, peer).await.is_some(), is_moved, "{peer} {headers:?}");
    }
    let behind = [("Host", "127.0.0.1:8080"), ("X-Forwarded-Host", NAME), ("X-Forwarded-Proto", "http")];
    let found = moved(&site, "/x", &behind, PROXY).await;
    assert_eq!(found.as_deref(), Some("https://gateway.example/x"));
}

#[tokio::test]
async fn uploads_without_tls_are_refused_and_not_sent_on() {
    let site = leading(443);
    let (status, headers, body) = send(&site, request("POST", "/", &[("Host", NAME)]), STRANGER).await;
    assert_eq!(status, 403, "{body}");
    assert!(!headers.contains_key("location") && body.contains("HTTPS"), "{body}");
    let (status, headers, _) = send(&site, request("OPTIONS", "/", &[("Host", NAME)]), STRANGER).await;
    assert_eq!(
        (status, &headers["access-control-allow-methods"]),
        (204, &"GET, HEAD, OPTIONS, POST".parse().unwrap())
    );
    assert_eq!(send(&site, request("PUT", "/", &[("Host", NAME)]), STRANGER).await.0, 405);
}
