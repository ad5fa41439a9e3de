use std::io::Cursor;

use http::HeaderMap;
use pop_dag::unixfs::{self, Entry, Profile, Rules};
use pop_dag::{Cid, Memory};
use proptest::prelude::*;

use super::*;
use crate::testing::{get, site};

/// Returns a directory with files of these names and contents.
fn directory(blocks: &mut Memory, files: &[(&str, &str)]) -> Cid {
    let mut entries = Vec::new();
    for (name, content) in files {
        let rules = Rules::from(Profile::default());
        let added = unixfs::add_file(&mut Cursor::new(content), &rules, blocks, &mut |_| {}).unwrap();
        entries.push(Entry { name: (*name).into(), cid: added.cid, tsize: added.tsize });
    }
    let (root, _) = unixfs::directory(entries, &Profile::default(), blocks).unwrap();
    let cid = *root.cid();
    blocks.insert(root);
    cid
}

/// Asks for a path of content that has a file of rules, on its own origin.
async fn asked(rules: &str, method: &str, path: &str) -> (u16, HeaderMap, String) {
    let mut blocks = Memory::new();
    let files = [
        ("_redirects", rules),
        ("404.html", "<p>my 404"),
        ("index.html", "<p>my index"),
        ("a b.txt", "text"),
    ];
    let root = directory(&mut blocks, &files);
    let host = format!("{root}.ipfs.localhost");
    let (status, headers, body) = get(&site(blocks), method, path, &[("Host", &host)]).await;
    (status.as_u16(), headers, String::from_utf8(body).unwrap())
}

const RULES: &str = "# rules\r\n/one /one.html\r\n\r\n/two /two.html 302 # why\n/posts/:year/:title /articles/:year/:title?y=:year\n\
    /splat/* /to/:splat 307\n/away/* https://other.example:8443/:splat?own=1&q=2#f 308\n/rewrite /a%20b.txt 200\n\
    /app/* /index.html 200\n/home /  200\n/gone/* /404.html 410\n/* /404.html 404\n";

#[tokio::test]
async fn absent_paths_lead_where_the_author_says() {
    let cases = [
        ("/one", 301, "/one.html"),
        ("/one/", 301, "/one.html"),
        ("/one?a=b", 301, "/one.html?a=b"),
        ("/two", 302, "/two.html"),
        ("/posts/2022/hello%20%2Fworld", 301, "/articles/2022/hello%20%2Fworld?y=2022"),
        ("/posts/2022/x?y=1&z", 301, "/articles/2022/x?y=1&z"),
        ("/splat/a/b%20c", 307, "/to/a/b%20c"),
        ("/splat/", 307, "/to/"),
        ("/away/x?q=3", 308, "https://other.example:8443/x?own=1&q=3#f"),
        ("/away/%0D%0AX:%20y", 308, "https://other.example:8443/%0D%0AX:%20y?own=1&q=2#f"),
    ];
    for (path, status, location) in cases {
        let (found, headers, _) = asked(RULES, "GET", path).await;
        assert_eq!((found, headers["location"].to_str().unwrap()), (status, location), "{path}");
        assert!(headers.contains_key("cache-control"));
    }
}

#[tokio::test]
async fn absent_paths_show_what_the_author_says() {
    let cases = [
        ("/rewrite", 200, "text", "text/plain; charset=utf-8"),
        ("/app/deep/link", 200, "<p>my index", "text/html"),
        ("/home", 200, "<p>my index", "text/html"),
        ("/gone/x", 410, "<p>my 404", "text/html"),
        ("/x/y", 404, "<p>my 404", "text/html"),
        ("/splat", 404, "<p>my 404", "text/html"),
    ];
    for (path, status, body, kind) in cases {
        let (found, headers, text) = asked(RULES, "GET", path).await;
        assert_eq!((found, text.as_str()), (status, body), "{path}");
        assert!(headers["content-type"].to_str().unwrap().starts_with(kind), "{path}");
        assert_eq!(headers["cache-control"], "public, max-age=29030400, immutable");
        assert!(headers.contains_key("etag") && headers.contains_key("x-ipfs-roots"));
        let (again, head, none) = asked(RULES, "HEAD", path).await;
        assert_eq!((again, none.as_str(), &head["content-length"]), (status, "", &headers["content-length"]));
    }
    // What is there is never hidden.
    assert_eq!(asked("/* /404.html 404", "GET", "/a%20b.txt").await.2, "text");
}

#[tokio::test]
async fn a_broken_file_is_told_of_and_only_where_it_counts() {
    let large = format!("#{}", "x".repeat(64 << 10));
    let cases = [
        ("/a /b 301!", "forced redirects (or \"shadowing\") are not supported"),
        ("/a /b 418", "\"418\" is not supported"),
        ("/a", "line 1"),
        ("\n/a /b 301 x", "line 2"),
        ("/:a/:a /b", "stands twice"),
        ("/*/a /b", "goes on behind"),
        ("a /b", "does not begin with a slash"),
        ("/a b", "is no path"),
        ("/a https://x.example 200", "is no path"),
        (&large, "redirects file size cannot exceed 65536 bytes"),
    ];
    for (rules, why) in cases {
        let (status, headers, body) = asked(rules, "GET", "/absent").await;
        assert_eq!(status, 500, "{why}");
        assert_eq!(headers["cache-control"], "no-store");
        assert!(body.contains("could not parse _redirects:") && body.contains(why), "{body}");
        assert_eq!(asked(rules, "GET", "/a%20b.txt").await.0, 200);
    }
}

#[tokio::test]
async fn rules_hold_only_on_an_origin_of_their_own() {
    let mut blocks = Memory::new();
    let root = directory(&mut blocks, &[("_redirects", "/* /x 301"), ("x", "x")]);
    let site = site(blocks);
    let (status, _, _) = get(&site, "GET", &format!("/ipfs/{root}/absent"), &[]).await;
    assert_eq!(status, 404);
    let host = format!("{root}.ipfs.localhost");
    assert_eq!(get(&site, "GET", "/absent?format=raw", &[("Host", &host)]).await.0, 404);
    assert_eq!(get(&site, "GET", "/absent", &[("Host", &host)]).await.0, 301);
}

#[tokio::test]
async fn a_rule_that_leads_nowhere_leaves_the_refusal() {
    for rules in ["/* /nowhere.html 200", "/* /nowhere.html 404", "/* /a/../b 200", ""] {
        let (status, _, _) = asked(rules, "GET", "/absent").await;
        assert_eq!(status, if rules.contains("..") { 500 } else { 404 }, "{rules}");
    }
}

proptest! {
    #[test]
    fn no_file_breaks_the_reader(text in "(\\PC{0,20}|[/:*a-c ]{0,20}|\n){0,8}", path in "[a-c/]{0,12}") {
        let segments = target::split(&path).unwrap().segments;
        for rule in Rule::parse_all(&text).unwrap_or_default() {
            if let Some(taken) = rule.take(&segments, false) {
                let _ = rule.lead(&taken);
            }
        }
    }
}

#[tokio::test]
async fn a_rule_that_leads_to_more_than_a_url_is_broken() {
    let rules = format!("/* /{}\n", ":splat".repeat(10_000));
    let path = format!("/{}", "a".repeat(8000));
    let (status, headers, body) = asked(&rules, "GET", &path).await;
    assert_eq!((status, headers.contains_key("location")), (500, false));
    assert!(body.contains("more than 8192 bytes"), "{body}");
    let (status, headers, _) = asked("/* /:splat/:splat\n", "GET", "/abc").await;
    assert_eq!((status, headers["location"].to_str().unwrap()), (301, "/abc/abc"));
}
