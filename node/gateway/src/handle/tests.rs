mod fetches;
mod guards;

use std::io::Cursor;
use std::net::Ipv4Addr;

use pop_dag::unixfs::{self, Entry, Profile, Rules};
use pop_dag::{Block, Cid, Codec, Memory};
use pop_units::{AttoFil, Bytes, PricePerByte};

use super::*;
use crate::content::Offer;
use crate::settings::{Lists, Serves, Settings, Uploads};
use crate::testing::{Fake, ask, get, request, settings, site, site_with};

/// An empty block that every gateway has.
const PROBE: &str = "bafkqaaa";

/// A small site: a directory with files, one below, and one that is JSON.
struct Small {
    blocks: Memory,
    root: String,
    below: String,
    text: String,
    json: String,
}

fn file(blocks: &mut Memory, content: &[u8]) -> unixfs::Added {
    let rules = Rules::from(Profile::default());
    unixfs::add_file(&mut Cursor::new(content), &rules, blocks, &mut |_| {}).unwrap()
}

fn directory(blocks: &mut Memory, entries: &[(&str, Cid)]) -> Cid {
    let entry = |(name, cid): &(&str, Cid)| Entry { name: (*name).into(), cid: *cid, tsize: Bytes::new(1) };
    let entries = entries.iter().map(entry).collect();
    let (root, _) = unixfs::directory(entries, &Profile::default(), blocks).unwrap();
    let cid = *root.cid();
    blocks.insert(root);
    cid
}

fn small() -> Small {
    let mut blocks = Memory::new();
    let text = file(&mut blocks, b"hello").cid;
    let json = file(&mut blocks, br#"{"a":1}"#).cid;
    let page = file(&mut blocks, b"<!doctype html><script>1</script>").cid;
    let below = directory(&mut blocks, &[("b c.txt", text), ("index.html", page)]);
    let root =
        directory(&mut blocks, &[("a.txt", text), ("data.json", json), ("page.html", page), ("sub", below)]);
    Small {
        blocks,
        root: root.to_string(),
        below: below.to_string(),
        text: text.to_string(),
        json: json.to_string(),
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn methods_that_are_not_served_are_refused() {
    let site = site(Memory::new());
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "FOO"] {
        for path in ["/", "/rpc", "/ipfs/bafkqaaa"] {
            let (status, headers, _) = get(&site, method, path, &[]).await;
            assert_eq!(status, 405, "{method} {path}");
            assert_eq!(headers["allow"], "GET, HEAD, OPTIONS");
            assert_eq!(headers["access-control-allow-origin"], "*");
            assert_eq!(headers["cache-control"], "no-store");
        }
    }
    let (status, headers, _) = get(&site, "CONNECT", "example.net:443", &[]).await;
    assert_eq!((status.as_u16(), text(&headers, "allow").as_str()), (405, "GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn a_host_is_no_target() {
    let site = site(Memory::new());
    for target in ["rpc", "example.net:443", "127.0.0.1"] {
        assert_eq!(get(&site, "GET", target, &[]).await.0, 400, "{target}");
    }
    assert_eq!(get(&site, "GET", "http://127.0.0.1", &[]).await.0, 200);
}

#[tokio::test]
async fn uploads_are_a_post_to_the_root_and_nothing_else() {
    let uploads = Some(Uploads { tokens: None, body: Bytes::MIB, quota: None });
    let site = site_with(Settings { uploads, ..settings() }, Memory::new());
    for path in ["/ipfs/bafkqaaa", "/rpc", "//", "/?a"] {
        let (status, headers, _) = get(&site, "POST", path, &[]).await;
        let is_root = path == "/?a";
        assert_eq!(status == 405, !is_root, "{path}: {status}");
        assert_eq!(headers["access-control-allow-methods"], "GET, HEAD, OPTIONS, POST");
    }
    let (status, headers, _) = get(&site, "OPTIONS", "/", &[]).await;
    assert_eq!((status.as_u16(), text(&headers, "allow").as_str()), (204, "GET, HEAD, OPTIONS, POST"));
}

#[tokio::test]
async fn the_control_api_is_nowhere() {
    let site = site(Memory::new());
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"pop_status","params":[]}"#;
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Authorization", "Bearer x"),
        ("Content-Type", "application/json"),
    ];
    let paths = [
        "/",
        "/rpc",
        "/rpc/v0",
        "/rpc/v1",
        "/rpc/",
        "//rpc",
        "/%72pc",
        "/ipfs/rpc",
        "/p2p/",
        "/upgrade",
        "/metrics",
    ];
    for host in ["127.0.0.1:8080", "localhost", "rpc.localhost", "evil.example"] {
        for path in paths {
            for method in ["GET", "POST", "PUT", "OPTIONS"] {
                let mut sent = request(method, path, &[&upgrade[..], &[("Host", host)]].concat());
                if method == "POST" {
                    *sent.body_mut() = Body::from(call);
                }
                let response = handle(Arc::clone(&site), sent, IpAddr::from(Ipv4Addr::LOCALHOST)).await;
                let status = response.status();
                assert!(!response.headers().contains_key("upgrade"), "{method} {path}");
                let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
                let body = String::from_utf8_lossy(&body);
                assert!(!body.contains("jsonrpc"), "{method} {host}{path}: {body}");
                let is_expected = match (method, path) {
                    ("OPTIONS", _) => status == 204,
                    ("GET", "/") => status == 200,
                    ("GET", _) => status == 404 || status == 400,
                    _ => status == 405,
                };
                assert!(is_expected, "{method} {host}{path}: {status}");
            }
        }
    }
}

#[tokio::test]
async fn every_answer_is_for_scripts_of_any_origin() {
    let Small { blocks, root, .. } = small();
    let site = site(blocks);
    let cases = [
        ("GET", format!("/ipfs/{root}/a.txt"), 200),
        ("HEAD", format!("/ipfs/{root}/a.txt"), 200),
        ("GET", format!("/ipfs/{root}"), 301),
        ("GET", format!("/ipfs/{root}/no"), 404),
        ("GET", "/ipfs/x".into(), 400),
        ("OPTIONS", format!("/ipfs/{root}"), 204),
        ("OPTIONS", "*".into(), 204),
        ("DELETE", "/".into(), 405),
        ("GET", "/".into(), 200),
        ("GET", format!("/ipfs/{PROBE}?{}", "a".repeat(9000)), 414),
    ];
    for (method, path, expected) in cases {
        let (status, headers, _) = get(&site, method, &path, &[("Origin", "https://app.example")]).await;
        assert_eq!(status, expected, "{method} {path}");
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert_eq!(headers["access-control-allow-methods"], "GET, HEAD, OPTIONS");
        assert_eq!(headers["access-control-max-age"], "86400");
        assert_eq!(headers["cross-origin-resource-policy"], "cross-origin");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(!headers.contains_key("access-control-allow-credentials"));
        for name in ["Content-Range", "X-Ipfs-Path", "X-Ipfs-Roots", "X-Chunked-Output", "X-Stream-Output"] {
            assert!(text(&headers, "access-control-expose-headers").contains(name), "{name}");
        }
        for name in ["Range", "If-None-Match", "Accept", "Authorization", "Codec-Type", "X-Requested-With"] {
            assert!(text(&headers, "access-control-allow-headers").contains(name), "{name}");
        }
        assert!(method == "OPTIONS" || headers.contains_key("cache-control"), "{method} {path}");
    }
}

#[tokio::test]
async fn content_says_what_it_is_and_for_how_long() {
    let Small { blocks, root, below, text: file, .. } = small();
    let site = site(blocks);
    let path = format!("/ipfs/{root}/sub/b%20c.txt");
    let (status, headers, body) = get(&site, "GET", &path, &[]).await;
    assert_eq!((status.as_u16(), body.as_slice()), (200, b"hello".as_slice()));
    let expected = [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", "5"),
        ("etag", &format!("\"{file}\"")),
        ("cache-control", "public, max-age=29030400, immutable"),
        ("x-ipfs-path", &path),
        ("x-ipfs-roots", &format!("{root},{below},{file}")),
        ("accept-ranges", "bytes"),
        ("vary", "Accept"),
        ("cache-status", "pop; hit"),
        ("referrer-policy", "no-referrer"),
        ("content-location", ""),
        ("content-disposition", ""),
        ("content-security-policy", ""),
        ("last-modified", ""),
    ];
    for (name, value) in expected {
        assert_eq!(text(&headers, name), value, "{name}");
    }
    assert!(text(&headers, "server-timing").starts_with("resolve;dur="));

    let (status, head, body) = get(&site, "HEAD", &path, &[]).await;
    assert_eq!((status.as_u16(), body.len()), (200, 0));
    for (name, value) in &headers {
        if name != "server-timing" {
            assert_eq!(head.get(name), Some(value), "{name}");
        }
    }
    assert_eq!(head.len(), headers.len());

    let (status, same, body) = get(&site, "GET", &path, &[("If-None-Match", &format!("W/\"{file}\""))]).await;
    assert_eq!((status.as_u16(), body.len()), (304, 0));
    for name in ["etag", "cache-control", "vary", "x-ipfs-path", "x-ipfs-roots"] {
        assert_eq!(same.get(name), headers.get(name), "{name}");
    }
    assert!(!same.contains_key("content-type") && !same.contains_key("content-length"));

    let (status, part, body) = get(&site, "GET", &path, &[("Range", "bytes=1-2")]).await;
    assert_eq!((status.as_u16(), body.as_slice()), (206, b"el".as_slice()));
    assert_eq!(part["etag"], headers["etag"]);
    assert_eq!(part["cache-control"], headers["cache-control"]);
}

#[tokio::test]
async fn roots_are_told_as_they_were_asked_for() {
    let mut blocks = Memory::new();
    let file = file(&mut blocks, b"hello").cid;
    let v1 = directory(&mut blocks, &[("a", file)]);
    let v0 = Cid::new_v0(*v1.hash()).unwrap();
    let site = site(blocks);
    let (status, headers, _) = get(&site, "GET", &format!("/{v0}/a"), &[]).await;
    assert_eq!(status, 200);
    assert_eq!(text(&headers, "x-ipfs-path"), format!("/ipfs/{v0}/a"));
    assert_eq!(text(&headers, "x-ipfs-roots"), format!("{v0},{file}"));
}

#[tokio::test]
async fn pages_of_strangers_are_walled_in_where_they_share_an_origin() {
    let Small { blocks, root, .. } = small();
    let site = site(blocks);
    let (_, headers, _) = get(&site, "GET", &format!("/ipfs/{root}/page.html"), &[]).await;
    assert!(text(&headers, "content-security-policy").starts_with("sandbox allow-scripts"));
    assert!(!text(&headers, "content-security-policy").contains("allow-same-origin"));
    let host = format!("{root}.ipfs.localhost");
    let (status, headers, _) = get(&site, "GET", "/page.html", &[("Host", &host)]).await;
    assert_eq!(status, 200);
    for name in ["content-security-policy", "referrer-policy", "permissions-policy"] {
        assert_eq!(text(&headers, name), "", "{name}");
    }
    assert_eq!(text(&headers, "x-ipfs-path"), format!("/ipfs/{root}/page.html"));
}

#[tokio::test]
async fn a_subdomain_is_the_root_of_its_content() {
    let Small { blocks, root, .. } = small();
    let site = site(blocks);
    let host = format!("{root}.ipfs.localhost:8080");
    let host = [("Host", host.as_str())];
    assert_eq!(get(&site, "GET", "/a.txt", &host).await.0, 200);
    assert_eq!(get(&site, "GET", &format!("/ipfs/{root}"), &host).await.0, 404);
    assert_eq!(get(&site, "GET", "/sub", &host).await.1["location"], "/sub/");
    let (status, headers, _) =
        get(&site, "GET", &format!("/ipfs/{root}/a.txt"), &[("Host", "localhost:8080")]).await;
    assert_eq!(status, 301);
    assert_eq!(text(&headers, "location"), format!("http://{root}.ipfs.localhost:8080/a.txt"));
    assert_eq!(get(&site, "GET", "/", &[("Host", "en-wikipedia--on--ipfs-org.ipns.localhost")]).await.0, 404);
}

#[tokio::test]
async fn missing_content_is_a_404_and_a_412_for_caches() {
    let Small { blocks, root, .. } = small();
    let site = site(blocks);
    let gone = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
    let only = [("Cache-Control", "max-age=0, only-if-cached")];
    let (status, headers, _) = get(&site, "GET", &format!("/ipfs/{gone}"), &[]).await;
    assert_eq!((status.as_u16(), text(&headers, "cache-control").as_str()), (404, "no-store"));
    for method in ["GET", "HEAD"] {
        let (status, headers, body) = get(&site, method, &format!("/ipfs/{gone}"), &only).await;
        assert_eq!((status.as_u16(), body.len()), (412, 0));
        assert_eq!(text(&headers, "cache-control"), "no-store");
        for name in ["content-type", "etag", "x-ipfs-path", "x-ipfs-roots"] {
            assert!(!headers.contains_key(name), "{name}");
        }
        assert_eq!(get(&site, method, &format!("/ipfs/{root}/a.txt"), &only).await.0, 200);
    }
    // That a name is absent is known for good.
    let (status, headers, body) = get(&site, "GET", &format!("/ipfs/{root}/nope/x"), &only).await;
    assert_eq!((status.as_u16(), text(&headers, "cache-control").as_str()), (404, "public, max-age=86400"));
    assert!(String::from_utf8(body).unwrap().contains("nope"));
}

#[tokio::test]
async fn json_is_a_listing_a_file_that_is_json_or_nothing() {
    let Small { blocks, root, json, .. } = small();
    let site = site(blocks);
    let accept = |kind: &'static str| [("Accept", kind)];
    for (path, headers) in [
        (format!("/ipfs/{root}/?format=json"), vec![]),
        (format!("/ipfs/{root}"), accept("application/json").to_vec()),
    ] {
        let (status, headers, body) = get(&site, "GET", &path, &headers).await;
        assert_eq!(
            (status.as_u16(), text(&headers, "content-type").as_str()),
            (200, "application/json"),
            "{path}"
        );
        assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
    }
    let (_, headers, _) = get(&site, "GET", &format!("/ipfs/{root}/sub"), &accept("application/json")).await;
    assert_eq!(text(&headers, "content-location"), format!("/ipfs/{root}/sub?format=json"));
    assert_eq!(text(&headers, "vary"), "Accept");
    for path in [format!("/ipfs/{root}/data.json?format=json"), format!("/ipfs/{json}?format=json")] {
        let (status, headers, _) = get(&site, "GET", &path, &[]).await;
        assert_eq!((status.as_u16(), text(&headers, "content-type").as_str()), (200, "application/json"));
        assert_eq!((text(&headers, "vary").as_str(), text(&headers, "content-location").as_str()), ("", ""));
    }
    let path = format!("/ipfs/{root}/a.txt");
    let (status, headers, _) = get(&site, "GET", &path, &accept("application/json")).await;
    assert_eq!((status.as_u16(), text(&headers, "vary").as_str()), (406, "Accept"));
    // Libraries ask so for whatever there is.
    let (status, headers, _) = get(&site, "GET", &path, &accept("application/json, text/plain, */*")).await;
    assert_eq!(
        (status.as_u16(), text(&headers, "content-type").as_str()),
        (200, "text/plain; charset=utf-8")
    );
    assert_eq!(text(&headers, "content-location"), "");
    for format in ["dag-json", "dag-cbor", "cbor"] {
        let (status, _, body) = get(&site, "GET", &format!("{path}?format={format}"), &[]).await;
        assert_eq!(status, 406, "{format}");
        assert!(String::from_utf8(body).unwrap().contains("format=raw"));
    }
}

#[tokio::test]
async fn refusals_speak_the_language_of_the_client() {
    let site = site(Memory::new());
    let cases = [
        ("*/*", "text/plain; charset=utf-8", "invalid path"),
        ("text/html", "text/html; charset=utf-8", "<!DOCTYPE html>"),
        ("application/json", "application/json", "\"status\":400"),
    ];
    for (accept, kind, part) in cases {
        let (status, headers, body) = get(&site, "GET", "/ipfs/%3Cb%3Ex", &[("Accept", accept)]).await;
        let body = String::from_utf8(body).unwrap();
        assert_eq!((status.as_u16(), text(&headers, "content-type").as_str()), (400, kind));
        assert!(body.contains(part), "{body}");
        assert!(accept != "text/html" || !body.contains("<b>"), "{body}");
        assert_eq!(text(&headers, "cache-control"), "public, max-age=3600");
        assert_eq!(text(&headers, "vary"), "Accept");
    }
}

#[tokio::test]
async fn a_refusal_for_a_header_is_not_kept_for_those_who_do_not_send_it() {
    let site = site(Memory::new());
    let cases = [("Service-Worker", "script"), ("Host", "a/b"), ("Host", "a:b"), ("X-Forwarded-Host", "a b")];
    for header in cases {
        let (status, headers, _) = get(&site, "GET", "/ipfs/bafkqaaa", &[header]).await;
        assert_eq!(
            (status.as_u16(), text(&headers, "cache-control").as_str()),
            (400, "no-store"),
            "{header:?}"
        );
    }
    let mut sent = request("GET", "/ipfs/bafkqaaa", &[]);
    sent.headers_mut().append("host", "b".parse().unwrap());
    let response = handle(Arc::clone(&site), sent, IpAddr::from(Ipv4Addr::LOCALHOST)).await;
    assert_eq!(text(response.headers(), "cache-control"), "no-store");
    // What `Accept` adds to a form of the query is part of what a cache must tell apart.
    let path = "/ipfs/bafkqaaa?format=car";
    for (accept, vary) in
        [("application/vnd.ipld.car; dups=y", "Accept"), ("application/vnd.ipld.car", ""), ("*/*", "")]
    {
        let (_, headers, _) = get(&site, "GET", path, &[("Accept", accept)]).await;
        assert_eq!(text(&headers, "vary"), vary, "{accept}");
    }
}

#[tokio::test]
async fn requests_that_are_wrong_at_the_head_are_refused() {
    let site = site(Memory::new());
    let worker = [("Service-Worker", "script")];
    assert_eq!(get(&site, "GET", "/ipfs/bafkqaaa", &worker).await.0, 400);
    assert_eq!(get(&site, "GET", "/bafkqaaa", &worker).await.0, 400);
    assert_ne!(get(&site, "GET", "/ipfs/bafkqaaa/", &worker).await.0, 400);
    assert_eq!(
        get(&site, "GET", "/?uri=ipfs%3A%2F%2Fbafkqaaa%2Fa", &[]).await.1["location"],
        "/ipfs/bafkqaaa/a"
    );
    assert_eq!(get(&site, "GET", "/ipfs/?uri=http%3A%2F%2Fevil", &[]).await.0, 400);
    let mut sent = request("GET", "/ipfs/bafkqaaa", &[("Content-Length", "3")]);
    *sent.body_mut() = Body::from("abc");
    let from = IpAddr::from(Ipv4Addr::LOCALHOST);
    assert_eq!(handle(Arc::clone(&site), sent, from).await.status(), 413);
    let mut sent = request("GET", "/ipfs/bafkqaaa", &[]);
    sent.headers_mut().remove("host");
    assert_eq!(handle(Arc::clone(&site), sent, from).await.status(), 400);
}

#[tokio::test]
async fn a_trustless_gateway_says_what_it_serves() {
    let Small { blocks, root, .. } = small();
    let site = site_with(Settings { serves: Serves::Trustless, ..settings() }, blocks);
    let path = format!("/ipfs/{root}/a.txt");
    assert_eq!(get(&site, "GET", &path, &[]).await.0, 400);
    let (status, headers, body) = get(&site, "GET", &path, &[("Accept", "text/plain")]).await;
    assert_eq!((status.as_u16(), text(&headers, "vary").as_str()), (406, "Accept"));
    assert!(String::from_utf8(body).unwrap().contains("--gateway-serve full"));
    // Verifiable answers need no origin of their own.
    let sent = get(&site, "GET", &format!("/ipfs/{root}?format=raw"), &[("Host", "localhost")]).await;
    assert_ne!(sent.0, 301);
}

#[tokio::test]
async fn content_with_a_price_is_for_strangers_an_offer() {
    let Small { blocks, root, .. } = small();
    let cid = crate::request::cid::parse(&root).unwrap();
    let mut fake = Fake::new(blocks);
    fake.price = Some(Offer {
        root: cid,
        size: Bytes::new(5),
        price: PricePerByte::per_gib(AttoFil::new(2)),
        cost: AttoFil::new(10),
        providers: vec!["/ip4/203.0.113.1/tcp/41504".into()],
        payee: None,
        chain: None,
        expires: None,
    });
    let site = Arc::new(Site::new(settings(), Arc::new(fake)));
    let path = format!("/ipfs/{root}/a.txt");
    assert_eq!(get(&site, "GET", &path, &[]).await.0, 200);
    for headers in [vec![], vec![("Accept", "text/html")]] {
        let stranger = IpAddr::from([203, 0, 113, 9]);
        let response = handle(Arc::clone(&site), request("GET", &path, &headers), stranger).await;
        assert_eq!(response.status(), 402);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let offer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(offer["root"], root);
        assert_eq!((&offer["price_atto_per_gib"], &offer["cost_atto"]), (&"2".into(), &"10".into()));
    }
    // A stranger behind a proxy is one, too.
    let said =
        ["203.0.113.9", "203.0.113.9:50123", "[2001:db8::1]:443", "unknown", "\u{e9}", "\u{e9}, 203.0.113.9"];
    for said in said {
        let mut sent = request("GET", &path, &[]);
        sent.headers_mut().insert("x-forwarded-for", said.as_bytes().try_into().unwrap());
        let response = handle(Arc::clone(&site), sent, IpAddr::from(Ipv4Addr::LOCALHOST)).await;
        assert_eq!(response.status(), 402, "{said}");
    }
    for name in ["Via", "X-Real-IP", "Forwarded"] {
        assert_eq!(get(&site, "GET", &path, &[(name, "1.1 cache")]).await.0, 402, "{name}");
    }
    assert_eq!(get(&site, "GET", &path, &[("X-Forwarded-For", "127.0.0.1")]).await.0, 200);
}

#[tokio::test]
async fn what_is_on_the_deny_list_is_not_served_however_it_is_reached() {
    let Small { blocks, root, below, text: file, .. } = small();
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("deny");
    let site =
        site_with(Settings { lists: Lists { deny: Some(list.clone()), allow: None }, ..settings() }, blocks);
    let deny = |line: String| {
        std::fs::write(&list, line).unwrap();
        site.lists.load(Instant::now()).unwrap();
    };
    let status = async |path: &str| get(&site, "GET", &format!("/ipfs/{root}{path}"), &[]).await.0.as_u16();
    deny(String::new());
    assert_eq!(status("/sub/").await, 200);

    deny(below.clone());
    let (code, headers, _) = get(&site, "GET", &format!("/ipfs/{below}/"), &[]).await;
    assert_eq!((code.as_u16(), text(&headers, "cache-control").as_str()), (410, "max-age=300"));
    assert_eq!((status("/sub/b%20c.txt").await, status("/sub/").await, status("/").await), (410, 410, 200));

    deny(format!("{file} 451 https://court.example/1"));
    let (code, headers, _) = get(&site, "GET", &format!("/ipfs/{root}/a.txt"), &[]).await;
    assert_eq!(code, 451);
    assert_eq!(text(&headers, "link"), "<https://court.example/1>; rel=\"blocked-by\"");

    deny(format!("/ipfs/{below}/index.html"));
    assert_eq!(
        (status("/sub/").await, status("/sub/index.html").await, status("/sub/b%20c.txt").await),
        (410, 410, 200)
    );

    // The block alone: no path names it.
    let (_, _, page) = {
        deny(String::new());
        get(&site, "GET", &format!("/ipfs/{root}/sub/index.html"), &[]).await
    };
    let page = Block::of(Codec::Raw, page.into()).cid().to_string();
    deny(page);
    assert_eq!((status("/sub/").await, status("/page.html").await), (410, 410));
}

#[tokio::test]
async fn long_answers_of_wrong_paths_break_nothing() {
    let site = site(Memory::new());
    for path in [
        "/ipfs/../../etc/passwd",
        "/ipfs/bafkqaaa/..%2f..%2fetc/passwd",
        "/%2e%2e/x",
        "/ipfs/bafkqaaa/%00",
        "/ipfs/bafkqaaa/%",
    ] {
        let (status, _, body) = get(&site, "GET", path, &[]).await;
        assert!(status == 400 || status == 404, "{path}: {status}");
        assert!(body.len() < 1000);
    }
    let response = ask(&site, "GET", &format!("/ipfs/{PROBE}{}", "/a".repeat(300)), &[]).await;
    assert_eq!(response.status(), 400);
}
