//! Paths, methods and headers that try to get where nothing leads.

use anyhow::Result;

use super::{Bench, Case};

/// A handshake that is complete, so that only the server can be why it fails.
const SOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://127.0.0.1\r\n";

/// What the API answers to, were it reachable.
const CALL: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pop_ping\",\"params\":{}}";

/// Everything that is not a path of content in order.
pub(super) fn tricks(bench: &Bench) -> Result<Vec<Case>> {
    let mut cases = below_root(bench)?;
    cases.extend(targets(bench)?);
    cases.extend(methods(bench)?);
    cases.extend(hosts(bench)?);
    Ok(cases)
}

/// Segments below a root that is here.
fn below_root(bench: &Bench) -> Result<Vec<Case>> {
    let rows: [(&str, &[u16]); 27] = [
        ("..", &[400]),
        ("../", &[400]),
        ("../../../etc/passwd", &[400]),
        ("./small.bin", &[400]),
        ("x/../small.bin", &[400]),
        ("%2e%2e/small.bin", &[400]),
        ("%2E%2E%2Fsmall.bin", &[404]),
        (".%2e/small.bin", &[400]),
        ("%2e", &[400]),
        ("..%2f..%2f..%2fetc%2fpasswd", &[404]),
        ("%252e%252e/small.bin", &[404]),
        ("..;/small.bin", &[404]),
        ("..%00/small.bin", &[400]),
        ("small.bin%00", &[400]),
        ("small.bin%00.html", &[400]),
        ("%zz", &[400]),
        ("small.bin%", &[400]),
        ("small.bin%4", &[400]),
        ("%u002e%u002e", &[400]),
        ("%c0%af", &[400]),
        ("%c0%ae%c0%ae/small.bin", &[400]),
        ("%e0%80%ae", &[400]),
        ("%ff", &[400]),
        ("%ed%a0%80", &[400]),
        ("/small.bin", &[200]),
        ("//small.bin", &[200]),
        ("small%2ebin", &[200]),
    ];
    let root = &bench.door.root;
    rows.iter()
        .map(|(rest, expected)| {
            bench.case(
                format!("/ipfs/ROOT/{rest}"),
                bench.door.get(&format!("/ipfs/{root}/{rest}"), ""),
                expected,
            )
        })
        .collect()
}

/// Targets that are no content at all.
fn targets(bench: &Bench) -> Result<Vec<Case>> {
    let at = bench.door.at;
    let small = bench.door.small_path();
    let rows: Vec<(String, &[u16])> = vec![
        ("/../../../etc/passwd".to_owned(), &[400]),
        ("//etc/passwd".to_owned(), &[404]),
        ("/%2e%2e/%2e%2e/etc/passwd".to_owned(), &[400]),
        ("/etc%2fpasswd".to_owned(), &[404]),
        ("/rpc".to_owned(), &[404]),
        ("/rpc/v0".to_owned(), &[404]),
        ("/rpc/v1".to_owned(), &[404]),
        ("/api/v0/id".to_owned(), &[404]),
        ("/api/v0/cat?arg=x".to_owned(), &[404]),
        ("/metrics".to_owned(), &[404]),
        ("/livez".to_owned(), &[404]),
        ("/readyz".to_owned(), &[404]),
        ("/debug/pprof/".to_owned(), &[404]),
        ("/ipfs/".to_owned(), &[400]),
        ("/ipfs/..".to_owned(), &[400]),
        ("/ipfs//".to_owned(), &[400]),
        ("/ipns/localhost".to_owned(), &[400, 404]),
        (format!("//{}", small.trim_start_matches('/')), &[200]),
        (format!("http://{at}{small}"), &[200]),
        (format!("http://127.0.0.1{small}"), &[200]),
        ("http://169.254.169.254/latest/meta-data".to_owned(), &[404]),
        (format!("http://{at}/rpc"), &[404]),
        ("http://".to_owned(), &[400]),
        ("http:///etc/passwd".to_owned(), &[400]),
        ("file:///etc/passwd".to_owned(), &[400, 404]),
        ("/?uri=http://evil.example/".to_owned(), &[400]),
        ("/?uri=ipfs://../../rpc".to_owned(), &[400, 301]),
        ("*".to_owned(), &[400, 404, 405]),
        ("rpc".to_owned(), &[400, 404]),
        ("/a b".to_owned(), &[400]),
        ("/\0".to_owned(), &[400]),
        ("/<script>".to_owned(), &[400, 404]),
        ("/ipfs/\\..\\..".to_owned(), &[400]),
    ];
    let mut cases = Vec::new();
    for (target, expected) in rows {
        let what = target.replace(&bench.door.root, "ROOT").replace(&at.to_string(), "HERE");
        cases.push(bench.case(what.escape_debug().to_string(), bench.door.get(&target, ""), expected)?);
    }
    let host = at.to_string();
    let raw = [b"GET /ipfs/\xff\xfe HTTP/1.1\r\nHost: ".as_slice(), host.as_bytes(), b"\r\n\r\n"];
    cases.push(bench.case("a path that is no UTF-8", raw.concat(), &[400])?);
    Ok(cases)
}

/// Methods, bodies and upgrades.
fn methods(bench: &Bench) -> Result<Vec<Case>> {
    let at = bench.door.at;
    let small = bench.door.small_path();
    let say = |method: &str, target: &str, more: &str, body: &str| {
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        format!("{method} {target} HTTP/1.1\r\nHost: {at}\r\n{more}{length}\r\n{body}").into_bytes()
    };
    let json = "Content-Type: application/json\r\n";
    let upgrade = format!("{SOCKET}Authorization: Bearer x\r\n");
    let h2c =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n";
    let around = "X-Original-URL: /rpc\r\nX-Rewrite-URL: /rpc\r\nX-HTTP-Method-Override: POST\r\n";
    Ok(vec![
        bench.case("CONNECT HERE", say("CONNECT", &at.to_string(), "", ""), &[405])?,
        bench.case("CONNECT elsewhere", say("CONNECT", "192.0.2.1:22", "", ""), &[405])?,
        bench.case("CONNECT /", say("CONNECT", "/", "", ""), &[400, 405])?,
        bench.case("OPTIONS *", say("OPTIONS", "*", "", ""), &[204])?,
        bench.case("TRACE", say("TRACE", "/", "", ""), &[405])?,
        bench.case("PUT", say("PUT", &small, "", "x"), &[405])?,
        bench.case("DELETE", say("DELETE", &small, "", ""), &[405])?,
        bench.case("an unknown method", say("BREW", "/", "", ""), &[405])?,
        bench.case("a call to /", say("POST", "/", json, CALL), &[401])?,
        bench.case("a call to /rpc", say("POST", "/rpc", json, CALL), &[405])?,
        bench.case("a call to /rpc/v0", say("POST", "/rpc/v0", json, CALL), &[405])?,
        bench.case("a call to /api/v0/id", say("POST", "/api/v0/id", json, CALL), &[405])?,
        bench.case("a call in GET /", say("GET", "/", json, CALL), &[413])?,
        bench.case("websocket at /", say("GET", "/", &upgrade, ""), &[200])?,
        bench.case("websocket at /rpc", say("GET", "/rpc", &upgrade, ""), &[404])?,
        bench.case("websocket at content", say("GET", &small, &upgrade, ""), &[200])?,
        bench.case("upgrade to h2c", say("GET", &small, h2c, ""), &[200])?,
        bench.case("headers that name another URL", say("GET", &small, around, ""), &[200])?,
        super::ask(&bench.open, "a call to / without tokens is a file", say_to(&bench.open, CALL), &[201])?,
    ])
}

fn say_to(door: &super::Door, body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}", door.at, body.len())
        .into_bytes()
}

/// Hosts, and versions.
fn hosts(bench: &Bench) -> Result<Vec<Case>> {
    let small = bench.door.small_path();
    let with = |version: &str, hosts: &str| format!("GET {small} {version}\r\n{hosts}\r\n").into_bytes();
    let cases: [(&str, &str, &str, &[u16]); 14] = [
        ("no Host", "HTTP/1.1", "", &[400]),
        ("two Hosts", "HTTP/1.1", "Host: a\r\nHost: b\r\n", &[400]),
        ("an empty Host", "HTTP/1.1", "Host:\r\n", &[200, 400]),
        ("a Host with a space", "HTTP/1.1", "Host: a b\r\n", &[400]),
        ("a Host with a slash", "HTTP/1.1", "Host: a/b\r\n", &[400]),
        ("a Host with a user", "HTTP/1.1", "Host: a@b\r\n", &[400]),
        ("a Host with a port of text", "HTTP/1.1", "Host: a:b\r\n", &[400]),
        ("a Host of 60 KiB", "HTTP/1.1", "LONG", &[200, 400, 431]),
        ("a Host that is nobody", "HTTP/1.1", "Host: evil.example\r\n", &[200]),
        ("no Host in HTTP/1.0", "HTTP/1.0", "", &[200]),
        ("HTTP/0.9", "", "", &[400, 0]),
        ("HTTP/1.2", "HTTP/1.2", "Host: a\r\n", &[400, 505, 0]),
        ("HTTP/3.0", "HTTP/3.0", "Host: a\r\n", &[400, 505, 0]),
        ("HTTP/2.0 as text", "HTTP/2.0", "Host: a\r\n", &[400, 505, 0]),
    ];
    let long = format!("Host: {}\r\n", "a".repeat(60 << 10));
    cases
        .iter()
        .map(|(what, version, hosts, expected)| {
            let hosts = if *hosts == "LONG" { long.as_str() } else { hosts };
            bench.case(*what, with(version, hosts), expected)
        })
        .collect()
}
