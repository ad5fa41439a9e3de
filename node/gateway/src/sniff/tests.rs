use super::*;

#[test]
fn names_tell_types() {
    let table = [
        ("a.html", Some("text/html")),
        ("a.TXT", Some("text/plain; charset=utf-8")),
        ("a.css", Some("text/css; charset=utf-8")),
        ("a.js", Some("text/javascript; charset=utf-8")),
        ("a.mjs", Some("text/javascript; charset=utf-8")),
        ("a.md", Some("text/markdown; charset=utf-8")),
        ("a.json", Some("application/json")),
        ("a.svg", Some("image/svg+xml")),
        ("a.wasm", Some("application/wasm")),
        ("a.car", Some("application/vnd.ipld.car")),
        ("a.ts", Some("video/mp2t")),
        ("a.m3u8", Some("application/vnd.apple.mpegurl")),
        ("a.mp4", Some("video/mp4")),
        ("a.tar.gz", Some("application/gzip")),
        ("a.unknown", None),
        ("html", None),
        (".html", None),
        ("a.", None),
        ("a.html ", None),
    ];
    for (name, told) in table {
        assert_eq!(by_name(name), told, "{name}");
    }
}

#[test]
fn content_tells_types() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    let table: &[(&[u8], &str)] = &[
        (b"", TEXT),
        (b"hello", TEXT),
        ("schön".as_bytes(), TEXT),
        (b"<!DOCTYPE html><p>", "text/html"),
        (b"  <!-- x --> <html>", "text/html"),
        (b"<script>x", "text/html"),
        (b"<svg xmlns='x'>", SVG),
        (b"<?xml version='1.0'?>\n<!-- drawn -->\n<!DOCTYPE svg PUBLIC 'x'>\n<svg>", SVG),
        (b"<?xml version='1.0'?><svgx>", "text/xml"),
        (b"<?xml version='1.0'?><feed>", "text/xml"),
        (b"{\"a\": 1}", "application/json"),
        (b" [1, 2]\n", "application/json"),
        (b"[see](the link)", TEXT),
        (b"{\"a\": ", TEXT),
        (b"#!/bin/sh\necho", TEXT),
        (b"BMW and others", TEXT),
        (b"MZ is for Mark", TEXT),
        (b"%PDF-1.4\n", "application/pdf"),
        (png, "image/png"),
        (b"\0asm\x01\0\0\0", "application/wasm"),
        (b"GIF89a\x01\0\x01\0", "image/gif"),
        (b"\x00\x01\x02\x03", UNKNOWN),
        (b"text \x00 binary", UNKNOWN),
        (b"\xff\xfeh\0", "text/plain; charset=utf-16le"),
        (b"\xfe\xff\0h", "text/plain; charset=utf-16be"),
        (b"\xef\xbb\xbf<html>", TEXT),
    ];
    for (head, told) in table {
        assert_eq!(by_content(head, true), *told, "{:?}", String::from_utf8_lossy(head));
    }
}

#[test]
fn a_cut_head_is_judged_by_what_there_is() {
    let json = format!("{{\"a\": \"{}\"}}", "x".repeat(600));
    assert_eq!(by_content(json.as_bytes(), true), "application/json");
    assert_eq!(by_content(&json.as_bytes()[..512], false), "application/json");
    let text = "ä".repeat(300);
    assert_eq!(by_content(&text.as_bytes()[..511], false), TEXT);
    assert_eq!(by_content(&text.as_bytes()[..511], true), UNKNOWN, "a file that ends in half a character");
}

#[test]
fn what_can_run_script_is_active() {
    for active in [
        "text/html",
        "text/html; charset=utf-8",
        "application/xhtml+xml",
        SVG,
        "text/xml",
        "application/rss+xml",
    ] {
        assert!(is_active(active), "{active}");
    }
    for idle in [TEXT, "image/png", "text/javascript; charset=utf-8", "application/json", UNKNOWN] {
        assert!(!is_active(idle), "{idle}");
    }
}
