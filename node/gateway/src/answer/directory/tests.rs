use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use pop_dag::car::CarReader;
use pop_dag::codec::pb;
use pop_dag::unixfs::{self, Entry, Profile, tx_root};
use pop_dag::{Block, BlockSource, Buf, Cid, Codec, Memory};
use pop_units::Bytes;

use crate::page;
use crate::site::Site;
use crate::testing::{ask, get, site};

/// What is kept in `testdata/gateway/pages`; `POP_BLESS=1` writes it anew. With `POP_PAGES=DIRECTORY` the pages are
/// also written there, whole, to be looked at in a browser.
pub(crate) fn compare(name: &str, text: &str) {
    if let Some(dir) = std::env::var_os("POP_PAGES") {
        std::fs::write(std::path::Path::new(&dir).join(name), text).unwrap();
    }
    let path = format!("{}/../../testdata/gateway/pages/{name}", env!("CARGO_MANIFEST_DIR"));
    // The style is looked at in a browser, and a line for each element can be looked at in a review.
    let (before, style) = text.split_once("<style>").unwrap_or((text, ""));
    let after = style.split_once("</style>").map(|(_, after)| format!("<style></style>{after}"));
    let text = format!("{before}{}", after.unwrap_or_default()).replace("><", ">\n<");
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    if std::env::var_os("POP_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == golden, "{name} changed; look at it, then bless it with POP_BLESS=1\n{text}");
}

/// Reads an archive of `testdata/gateway`.
pub(crate) fn read(name: &str) -> (Cid, Memory) {
    let path = format!("{}/../../testdata/gateway/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut car = CarReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let (root, mut memory) = (car.roots()[0], Memory::new());
    while let Some(block) = car.next_block().unwrap() {
        memory.insert(block);
    }
    (root, memory)
}

/// The answer as text.
async fn text(site: &Arc<Site>, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
    let (status, headers, body) = get(site, "GET", path, headers).await;
    (status, headers, String::from_utf8(body).unwrap())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn leaf() -> Cid {
    *Block::of(Codec::Raw, Buf::from_static(b"content")).cid()
}

fn entry(name: impl Into<String>) -> Entry {
    Entry { name: name.into(), cid: leaf(), tsize: Bytes::new(1_234_567) }
}

/// A directory of any names, in one block.
fn basic(entries: &[Entry], memory: &mut Memory) -> Cid {
    let links = entries.iter().map(|entry| pb::Link {
        cid: entry.cid,
        name: Some(&entry.name),
        tsize: Some(entry.tsize.get()),
    });
    let links = links.collect();
    let block = Block::of(Codec::DagPb, Buf::from(pb::Node { links, data: Some(&[8, 1]) }.encode()));
    let cid = *block.cid();
    memory.insert(block);
    cid
}

/// A sharded directory.
fn sharded(entries: Vec<Entry>, memory: &mut Memory) -> Cid {
    let profile = Profile { shard_above: Bytes::ZERO, ..Profile::default() };
    let (root, _) = unixfs::directory(entries, &profile, memory).unwrap();
    *root.cid()
}

fn numbered(count: u32) -> Vec<Entry> {
    (0..count).map(|n| entry(format!("entry-{n:06}.txt"))).collect()
}

/// The keys of a listing in JSON.
fn keys(json: &str) -> Vec<String> {
    let entries: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
    entries.iter().map(|entry| entry["key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_directory_is_found_with_a_slash() {
    let (root, memory) = read("dir_listing/fixtures.car");
    let site = site(memory);
    let rows = [
        ("/ipfs/{}", "/ipfs/{}/"),
        ("/{}", "/{}/"),
        ("/ipfs/{}/%c4%85", "/ipfs/{}/%C4%85/"),
        ("/ipfs/{}/%C4%85/%C4%99?download=a%20b&x", "/ipfs/{}/%C4%85/%C4%99/?download=a%20b&x"),
        ("/{}/%C4%85", "/{}/%C4%85/"),
        ("///ipfs/{}", "/ipfs/{}/"),
        ("//{}", "/{}/"),
    ];
    for (path, location) in rows {
        for method in ["GET", "HEAD"] {
            let path = path.replace("{}", &root.to_string());
            let (status, headers, _) = get(&site, method, &path, &[]).await;
            assert_eq!(status, StatusCode::MOVED_PERMANENTLY, "{method} {path}");
            assert_eq!(header(&headers, "location"), location.replace("{}", &root.to_string()));
        }
    }
    for query in ["?go-get=1", "?format=json"] {
        let (status, ..) = text(&site, &format!("/ipfs/{root}/%C4%85{query}"), &[]).await;
        assert_eq!(status, StatusCode::OK, "{query}");
    }
    let host = [("host", &*format!("{}.ipfs.localhost:8080", root.into_v1().unwrap()))];
    let (status, headers, _) = text(&site, "/%c4%85/%c4%99", &host).await;
    assert_eq!((status, header(&headers, "location")), (StatusCode::MOVED_PERMANENTLY, "/%C4%85/%C4%99/"));
}

/// What ipfs/gateway-conformance 0.13 asks of a listing.
#[tokio::test]
async fn a_listing_has_the_shape_that_the_conformance_suite_knows() {
    let (root, memory) = read("dir_listing/fixtures.car");
    let file = unixfs::resolve(&root, &["ą", "ę", "file-źł.txt"].map(str::to_owned), &memory).unwrap().cid;
    let site = site(memory);
    let (_, _, page) = text(&site, &format!("/ipfs/{root}/"), &[]).await;
    assert!(page.contains("Index of") && !page.contains(">..</a>"), "{page}");

    let (_, headers, page) = text(&site, &format!("/ipfs/{root}/%C4%85/%C4%99/"), &[]).await;
    assert!(header(&headers, "etag").starts_with("\"DirIndex-"));
    for part in [
        "Index of",
        &format!(
            "/ipfs/<a href=\"/ipfs/{root}\">{root}</a>/<a href=\"/ipfs/{root}/%C4%85\">ą</a>/<a href=\"/ipfs/{root}/%C4%85/%C4%99\">ę</a>"
        ),
        &format!("<a href=\"/ipfs/{root}/%C4%85/%C4%99/..\">..</a>"),
        &format!("<a href=\"/ipfs/{root}/%C4%85/%C4%99/file-%C5%BA%C5%82.txt\">file-źł.txt</a>"),
        &format!(
            "<a class=\"ipfs-hash\" translate=\"no\" href=\"/ipfs/{file}?filename=file-%25C5%25BA%25C5%2582.txt\">"
        ),
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }

    let root = root.into_v1().unwrap();
    let host = [("host", &*format!("{root}.ipfs.localhost:8080"))];
    let (_, _, page) = text(&site, "/", &host).await;
    assert!(page.contains("Index of") && !page.contains(">..</a>"), "{page}");
    let (_, headers, page) = text(&site, "/%C4%85/%C4%99/", &host).await;
    assert!(!headers.contains_key("content-security-policy"));
    let gateway = "//localhost:8080/ipfs";
    for part in [
        &format!(
            "/ipfs/<a href=\"{gateway}/{root}\">{root}</a>/<a href=\"{gateway}/{root}/%C4%85\">ą</a>/<a href=\"{gateway}/{root}/%C4%85/%C4%99\">ę</a>"
        ),
        "<a href=\"/%C4%85/%C4%99/..\">..</a>",
        "<a href=\"/%C4%85/%C4%99/file-%C5%BA%C5%82.txt\">file-źł.txt</a>",
        &format!(
            "<a class=\"ipfs-hash\" translate=\"no\" href=\"{gateway}/{file}?filename=file-%25C5%25BA%25C5%2582.txt\">"
        ),
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[tokio::test]
async fn what_a_listing_links_to_is_there() {
    for car in ["dir_listing/fixtures.car", "path_gateway_unixfs/dir-with-percent-encoded-filename.car"] {
        let (root, memory) = read(car);
        let site = site(memory);
        let mut pages = vec![format!("/ipfs/{root}/")];
        let mut seen = 0;
        while let Some(path) = pages.pop() {
            let (_, _, page) = text(&site, &path, &[]).await;
            for href in page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                if !href.starts_with("/ipfs/") || href.ends_with("..") {
                    continue;
                }
                let href = href.replace("&amp;", "&");
                let (status, headers, _) = get(&site, "GET", &href, &[]).await;
                seen += 1;
                match status {
                    StatusCode::OK => {}
                    // Upwards and sideways leads to what was seen.
                    StatusCode::MOVED_PERMANENTLY if href.len() <= path.len() || href.contains('?') => {}
                    StatusCode::MOVED_PERMANENTLY => pages.push(header(&headers, "location").to_owned()),
                    _ => panic!("{href} of {path}: {status}"),
                }
            }
        }
        assert!(seen > 2, "{car}");
    }
}

#[tokio::test]
async fn a_file_that_is_linked_by_cid_keeps_its_name() {
    let (root, memory) = read("dir_listing/fixtures.car");
    let site = site(memory);
    let (_, _, page) = text(&site, &format!("/ipfs/{root}/%C4%85/%C4%99/"), &[]).await;
    let href = page.split("translate=\"no\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let (_, headers, _) = text(&site, href, &[]).await;
    let disposition = "inline; filename=\"file-__.txt\"; filename*=UTF-8''file-%C5%BA%C5%82.txt";
    assert_eq!(header(&headers, "content-disposition"), disposition);
}

#[tokio::test]
async fn pages_are_the_golden_ones() {
    let (root, memory) = read("dir_listing/fixtures.car");
    let listing = site(memory);
    compare("directory.html", &text(&listing, &format!("/ipfs/{root}/%C4%85/"), &[]).await.2);
    let root = root.into_v1().unwrap();
    let host = [("host", &*format!("{root}.ipfs.localhost:8080"))];
    compare("subdomain.html", &text(&listing, "/%C4%85/%C4%99/", &host).await.2);
    let (root, memory) = read("path_gateway_unixfs/dir-with-percent-encoded-filename.car");
    compare("percent.html", &text(&site(memory), &format!("/ipfs/{root}/"), &[]).await.2);
    let (root, memory) = read("path_gateway_unixfs/symlink.car");
    compare("symlink.html", &text(&site(memory), &format!("/ipfs/{root}/"), &[]).await.2);
    let (root, memory) = read("trustless_gateway_car/single-layer-hamt-with-multi-block-files.car");
    let site = site(memory);
    compare("sharded.html", &text(&site, &format!("/ipfs/{root}/"), &[]).await.2);
    let json = [("accept", "application/json")];
    compare("sharded.json", &text(&site, &format!("/{root}"), &json).await.2);
}

/// Names that are written to do harm, or just to be odd.
const ODD: [&str; 17] = [
    "",
    ".",
    "..",
    " spaces  inside ",
    "\"quoted\" 'both'",
    "%2e%2e",
    "&amp;",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>.png",
    "a/b",
    "javascript:alert(1)",
    "line\nbreak\r\n\ttab",
    "nul\0nul",
    "photo\u{202e}gpj.exe",
    "שלום עולם.txt",
    "zero\u{200b}width\u{feff}",
    "日本語 👩‍🚀.md",
];

#[tokio::test]
async fn names_of_strangers_do_no_harm() {
    let mut memory = Memory::new();
    let long = "x".repeat(250) + ".html";
    let names = ODD.into_iter().chain([long.as_str()]);
    let root = basic(&names.map(entry).collect::<Vec<_>>(), &mut memory);
    let site = site(memory);
    let (status, headers, page) = text(&site, &format!("/ipfs/{root}/"), &[]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        header(&headers, "content-security-policy"),
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    );
    for bad in ["<script", "<img", "href=\"javascript", "\u{202e}", "\u{200b}", "\0", "\r"] {
        assert!(!page.contains(bad), "{bad:?}");
    }
    let leaf = leaf();
    for link in [
        format!("href=\"/ipfs/{leaf}?filename=..\">..</a></bdi>"),
        format!("href=\"/ipfs/{leaf}?filename=nul%00nul\">nul<span"),
        format!("href=\"/ipfs/{root}/a%2Fb\">a/b</a>"),
        format!("href=\"/ipfs/{root}/%252e%252e\">%2e%2e</a>"),
        format!("href=\"/ipfs/{root}/javascript:alert(1)\">javascript:alert(1)</a>"),
    ] {
        assert!(page.contains(&link), "{link}\n{page}");
    }
    compare("odd.html", &page);
    let (_, _, json) = text(&site, &format!("/ipfs/{root}?format=json"), &[]).await;
    assert_eq!(keys(&json), ODD.iter().copied().chain([long.as_str()]).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_transaction_lists_like_a_directory() {
    let mut memory = Memory::new();
    let (root, _) = tx_root::build(vec![entry("b.txt"), entry("a.png")]).unwrap();
    let cid = *root.cid();
    let bytes = root.data().clone();
    memory.insert(root);
    let site = site(memory);
    let (_, headers, page) = text(&site, &format!("/ipfs/{cid}/"), &[]).await;
    assert!(page.contains(">a.png</a>") && page.contains("2 entries"), "{page}");
    assert!(header(&headers, "etag").ends_with(&format!("_CID-{cid}\"")));
    // What clients of the node's earlier HTTP interface read.
    let (_, headers, json) = text(&site, &format!("/{cid}"), &[("accept", "application/json")]).await;
    assert_eq!(header(&headers, "content-type"), "application/json");
    let line = |name| {
        format!(
            "{{\"key\":\"{name}\",\"value\":{{\"/\":\"{}\"}},\"size\":1234567,\"type\":\"file\"}}",
            leaf()
        )
    };
    assert_eq!(json, format!("[\n{},\n{}\n]\n", line("a.png"), line("b.txt")));
    let (status, _, body) = get(&site, "GET", &format!("/ipfs/{cid}/?format=dag-cbor"), &[]).await;
    assert_eq!((status, body), (StatusCode::OK, bytes.to_vec()));
}

/// The entries' blocks are not there, and nothing asks for them.
#[tokio::test]
async fn pages_divide_a_directory_without_reading_its_entries() {
    let mut memory = Memory::new();
    let dirs = [basic(&numbered(2500), &mut memory), sharded(numbered(2500), &mut memory)];
    let site = site(memory);
    for dir in dirs {
        let all = keys(&text(&site, &format!("/ipfs/{dir}?format=json"), &[]).await.2);
        let mut names = Vec::new();
        for (page, count, way) in [(1, 1000, (false, true)), (2, 1000, (true, true)), (3, 500, (true, false))]
        {
            let (status, _, page) = text(&site, &format!("/ipfs/{dir}/?page={page}"), &[]).await;
            assert_eq!(status, StatusCode::OK);
            assert_eq!((page.contains("rel=\"prev\""), page.contains("rel=\"next\"")), way);
            assert!(page.ends_with("</main></body></html>\n"));
            let rows = page.split("<bdi><a href=\"").skip(1).map(|row| {
                let text = row.split_once("\">").unwrap().1;
                text.split_once("</a>").unwrap().0.to_owned()
            });
            let rows: Vec<_> = rows.collect();
            assert_eq!(rows.len(), count);
            names.extend(rows);
        }
        assert_eq!(names, all);
        assert_eq!(names.len(), 2500);
        for page in ["0", "4", "1048", "1049", "18446744073709551615"] {
            for method in ["GET", "HEAD"] {
                let path = format!("/ipfs/{dir}/?page={page}");
                assert_eq!(get(&site, method, &path, &[]).await.0, StatusCode::NOT_FOUND, "{path}");
            }
        }
    }
    let (_, _, page) = text(&site, &format!("/ipfs/{}/", dirs[0]), &[]).await;
    assert!(page.contains("2,500 entries") && page.contains("1–1,000"), "{page}");
}

#[tokio::test]
async fn a_hundred_thousand_entries_come_in_small_pieces() {
    let mut memory = Memory::new();
    let dir = sharded(numbered(100_000), &mut memory);
    let mut body = ask(&site(memory), "GET", &format!("/ipfs/{dir}?format=json"), &[]).await.into_body();
    let (mut json, mut largest) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let piece = frame.unwrap().into_data().unwrap();
        largest = largest.max(piece.len());
        json.extend_from_slice(&piece);
    }
    assert!(largest < 64 << 10, "{largest}");
    let mut keys = keys(std::str::from_utf8(&json).unwrap());
    keys.sort();
    assert!(keys.into_iter().eq(numbered(100_000).into_iter().map(|entry| entry.name)));
}

#[tokio::test]
async fn a_listing_that_cannot_go_on_breaks_off() {
    let mut memory = Memory::new();
    let dir = sharded(numbered(20_000), &mut memory);
    let data = memory.block(&dir).unwrap().unwrap();
    let shard = |at: usize| pb::Node::decode(&data).unwrap().links[at].cid;
    let (early, late) = (shard(0), shard(200));
    memory.remove(&late);
    let here = site(memory.clone());
    for path in [format!("/ipfs/{dir}?format=json"), format!("/ipfs/{dir}/?page=16")] {
        let answer = ask(&here, "GET", &path, &[]).await;
        let (status, mut body) = (answer.status(), answer.into_body());
        assert_eq!(status, StatusCode::OK, "{path}");
        let mut text = Vec::new();
        let end = loop {
            match body.frame().await {
                Some(Ok(frame)) => text.extend_from_slice(&frame.into_data().unwrap()),
                end => break end,
            }
        };
        assert!(matches!(end, Some(Err(_))), "{path}");
        let text = String::from_utf8(text).unwrap();
        assert!(text.len() > 1000 && !text.contains("</html>") && !text.ends_with("]\n"));
    }
    // What is missing at the beginning is told before anything is.
    memory.remove(&early);
    let (status, ..) = text(&site(memory), &format!("/ipfs/{dir}/"), &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_has_a_listing_is_spared_it() {
    let (root, memory) = read("dir_listing/fixtures.car");
    let site = site(memory);
    let week = "public, max-age=604800, stale-while-revalidate=2678400";
    for (path, tag) in [
        (format!("/ipfs/{root}/"), format!("\"DirIndex-{}_CID-{root}\"", *page::VERSION)),
        (format!("/ipfs/{root}/?format=json"), format!("\"DirJson-1_CID-{root}\"")),
    ] {
        let (_, whole, body) = text(&site, &path, &[]).await;
        assert_eq!((header(&whole, "etag"), header(&whole, "cache-control")), (&*tag, week));
        assert!(!body.is_empty());
        for known in [&*tag, &format!("\"x\", W/{tag}"), "*", &format!("W/\"{root}\"")] {
            let (status, headers, body) = text(&site, &path, &[("if-none-match", known)]).await;
            assert_eq!((status, &*body), (StatusCode::NOT_MODIFIED, ""), "{known}");
            assert_eq!((header(&headers, "etag"), header(&headers, "cache-control")), (&*tag, week));
        }
        assert_eq!(text(&site, &path, &[("if-none-match", "\"x\"")]).await.0, StatusCode::OK);
        assert_eq!(text(&site, &path, &[("if-match", "\"x\"")]).await.0, StatusCode::PRECONDITION_FAILED);
        let (status, head, body) = get(&site, "HEAD", &path, &[]).await;
        assert_eq!((status, body.len()), (StatusCode::OK, 0));
        for name in ["etag", "cache-control", "content-type", "x-ipfs-path", "x-ipfs-roots", "vary"] {
            assert_eq!(head.get(name), whole.get(name), "{name}");
        }
        assert!(!head.contains_key("content-length"));
    }
}

#[tokio::test]
async fn an_index_stands_for_its_directory() {
    let mut memory = Memory::new();
    let html = Block::of(Codec::Raw, Buf::from_static(b"<h1>home</h1>"));
    let index = Entry { name: "index.html".into(), cid: *html.cid(), tsize: html.size() };
    memory.insert(html);
    let dir = basic(std::slice::from_ref(&index), &mut memory);
    let folder = Entry { cid: dir, ..index.clone() };
    let odd = basic(&[folder], &mut memory);
    let large = {
        let entries = numbered(3000).into_iter().chain([index]).collect();
        sharded(entries, &mut memory)
    };
    let site = site(memory);
    for dir in [dir, large] {
        let (status, headers, body) = text(&site, &format!("/ipfs/{dir}/"), &[]).await;
        assert_eq!((status, &*body), (StatusCode::OK, "<h1>home</h1>"));
        assert_eq!(header(&headers, "etag"), format!("\"{dir}\""));
        assert_eq!(header(&headers, "x-ipfs-roots"), dir.to_string());
        assert_eq!(header(&headers, "cache-control"), "public, max-age=29030400, immutable");
        assert!(header(&headers, "content-type").starts_with("text/html"));
        let (status, _, json) = text(&site, &format!("/ipfs/{dir}/?format=json"), &[]).await;
        assert!(status == StatusCode::OK && keys(&json).contains(&"index.html".to_owned()));
    }
    assert_eq!(text(&site, &format!("/ipfs/{odd}/"), &[]).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

/// A directory as people have them.
#[tokio::test]
async fn an_everyday_directory_is_the_golden_one() {
    let mut memory = Memory::new();
    let dag = |text: &str| *Block::of(Codec::DagPb, Buf::copy_from_slice(text.as_bytes())).cid();
    let folder = |name: &str, tsize| Entry { name: name.into(), cid: dag(name), tsize: Bytes::new(tsize) };
    let file = |name: &str, tsize| {
        let cid = *Block::of(Codec::Raw, Buf::copy_from_slice(name.as_bytes())).cid();
        Entry { name: name.into(), cid, tsize: Bytes::new(tsize) }
    };
    let inner = basic(
        &[
            file(".gitignore", 42),
            file("LICENSE", 11_357),
            file("README.md", 4_812),
            file("annual report (final) 2026.pdf", 2_318_477),
            folder("assets", 48_211_004),
            folder("backup.tar.zst", 5_368_709_120),
            file("data.json", 91_240),
            folder("docs", 812_003),
            folder("holiday.mp4", 734_003_200),
            folder("lecture.flac", 31_457_280),
            file("logo.svg", 1_204),
            file("main.rs", 9_337),
            file("photo.jpg", 412_332),
            folder(
                "Ein sehr langer Dateiname, wie ihn Leute schreiben, die alles in den Namen packen was es gibt.webm",
                88_123_456,
            ),
            file("żółć.txt", 0),
        ],
        &mut memory,
    );
    let middle = basic(&[Entry { name: "2026".into(), cid: inner, tsize: Bytes::new(1) }], &mut memory);
    let root = basic(&[Entry { name: "archive".into(), cid: middle, tsize: Bytes::new(1) }], &mut memory);
    let site = site(memory);
    compare("everyday.html", &text(&site, &format!("/ipfs/{root}/archive/2026/"), &[]).await.2);
    let browser = [("accept", "text/html")];
    let path = format!("/ipfs/{root}/archive/2027");
    compare("refusal.html", &text(&site, &path, &browser).await.2);
    compare("greeting.html", &text(&site, "/", &browser).await.2);
}

#[tokio::test]
async fn an_empty_directory_says_so() {
    let mut memory = Memory::new();
    let dir = basic(&[], &mut memory);
    let site = site(memory);
    let (_, _, page) = text(&site, &format!("/ipfs/{dir}/"), &[]).await;
    assert!(page.contains("This directory is empty."), "{page}");
    assert_eq!(text(&site, &format!("/ipfs/{dir}?format=json"), &[]).await.2, "[\n]\n");
}

#[tokio::test]
async fn what_listings_remember_and_say_is_counted_and_bounded() {
    let mut memory = Memory::new();
    let dir = sharded(numbered(3000), &mut memory);
    let site = site(memory);
    let all = site.walks.left();
    for path in [format!("/ipfs/{dir}/"), format!("/ipfs/{dir}?format=json")] {
        let begun = ask(&site, "GET", &path, &[]).await;
        let taken = all.saturating_sub(site.walks.left());
        assert!(taken > Bytes::new(20_000) && taken < Bytes::MIB, "{path}: {taken}");
        drop(begun);
        assert_eq!(site.walks.left(), all);
        let little = site.walks.leave(Bytes::new(8192));
        let refused = ask(&site, "GET", &path, &[]).await;
        assert_eq!(refused.status().as_u16(), 503, "{path}");
        assert!(refused.headers().contains_key("retry-after"));
        drop(little);
        let (_, body) = ask(&site, "GET", &path, &[]).await.into_parts();
        let little = site.walks.leave(Bytes::new(8192));
        assert!(axum::body::to_bytes(body, usize::MAX).await.is_err(), "{path} came whole");
        drop(little);
        assert_eq!(site.walks.left(), all);
    }
}
