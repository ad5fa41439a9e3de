use pop_dag::{Codec, Memory};

use super::*;
use crate::testing::dag::{self, FILE, SYMLINK};
use crate::testing::{ask, get, site};

const LARGE: usize = 300_000;

/// A file of many leaves, with the CIDs of its root and its leaves.
fn large(blocks: &mut Memory) -> (Vec<u8>, Cid, Vec<Cid>) {
    let content = dag::content(LARGE);
    let root = dag::file(&content, 10_000, blocks);
    let leaves = content.chunks(10_000).map(|chunk| dag::raw(chunk, &mut Memory::new()));
    (content.clone(), root, leaves.collect())
}

#[tokio::test]
async fn a_file_comes_whole_with_what_is_known_of_it() {
    let mut blocks = Memory::new();
    let (content, large, _) = large(&mut blocks);
    let small = dag::raw(b"hello", &mut blocks);
    let site = site(blocks);
    for (cid, content, told) in [
        (large, content.as_slice(), "application/octet-stream"),
        (small, b"hello", "text/plain; charset=utf-8"),
    ] {
        let (status, headers, body) = get(&site, "GET", &format!("/ipfs/{cid}"), &[]).await;
        assert_eq!(status, 200);
        assert!(body == content);
        assert_eq!(headers["content-length"], content.len().to_string());
        assert_eq!(headers["content-type"], told);
        assert_eq!(headers["etag"], format!("\"{cid}\""));
        assert_eq!(headers["accept-ranges"], "bytes");
        assert_eq!(headers["cache-control"], "public, max-age=29030400, immutable");
        assert!(!headers.contains_key("content-disposition"));
        let (head_status, head, body) =
            get(&site, "HEAD", &format!("/ipfs/{cid}"), &[("range", "bytes=0-1")]).await;
        assert_eq!((head_status, body.len()), (status, 0));
        for name in ["content-length", "content-type", "etag", "accept-ranges"] {
            assert_eq!(head[name], headers[name], "{name}");
        }
    }
}

#[tokio::test]
async fn ranges_are_parts_with_the_same_tag() {
    let mut blocks = Memory::new();
    let (content, cid, _) = large(&mut blocks);
    let site = site(blocks);
    let path = format!("/ipfs/{cid}?filename=x.bin");
    for (range, from, to) in
        [("0-0", 0, 1), ("9999-10000", 9999, 10_001), ("-5", LARGE - 5, LARGE), ("100-", 100, LARGE)]
    {
        let (status, headers, body) = get(&site, "GET", &path, &[("range", &format!("bytes={range}"))]).await;
        assert_eq!(status, 206, "{range}");
        assert!(body == content[from..to], "{range}");
        assert_eq!(headers["content-range"], format!("bytes {from}-{}/{LARGE}", to - 1));
        assert_eq!(headers["content-length"], (to - from).to_string());
        assert_eq!(headers["etag"], format!("\"{cid}\""));
        assert_eq!(headers["content-type"], "application/octet-stream");
    }
    let (status, headers, _) = get(&site, "GET", &path, &[("range", "bytes=300000-")]).await;
    assert_eq!(
        (status.as_u16(), &headers["content-range"]),
        (416, &HeaderValue::from_static("bytes */300000"))
    );
    assert_eq!(headers["cache-control"], "no-store");
    let other = [("range", "bytes=0-1"), ("if-range", "\"other\"")];
    assert_eq!(get(&site, "GET", &path, &other).await.0, 200);
    let same = [("range", "bytes=0-1"), ("if-range", &format!("\"{cid}\""))];
    assert_eq!(get(&site, "GET", &path, &same).await.0, 206);
}

#[tokio::test]
async fn who_has_it_gets_no_content() {
    let mut blocks = Memory::new();
    let (_, cid, leaves) = large(&mut blocks);
    leaves.iter().for_each(|leaf| assert!(blocks.remove(leaf)));
    let site = site(blocks);
    let (path, tag) = (format!("/ipfs/{cid}"), format!("\"{cid}\""));
    let (status, headers, body) = get(&site, "GET", &path, &[("if-none-match", &tag)]).await;
    assert_eq!((status.as_u16(), body.len()), (304, 0));
    assert_eq!(headers["etag"], tag);
    assert!(!headers.contains_key("content-type") && !headers.contains_key("content-length"));
    assert_eq!(get(&site, "GET", &path, &[("if-none-match", "*")]).await.0, 304);
    let (status, headers, _) = get(&site, "GET", &path, &[("if-match", "\"other\"")]).await;
    assert_eq!((status.as_u16(), &headers["cache-control"]), (412, &HeaderValue::from_static("no-store")));
}

#[tokio::test]
async fn only_leaves_that_are_asked_for_are_needed() {
    let mut blocks = Memory::new();
    let (content, cid, leaves) = large(&mut blocks);
    leaves.iter().filter(|leaf| **leaf != leaves[10]).for_each(|leaf| assert!(blocks.remove(leaf)));
    let site = site(blocks);
    let range = [("range", "bytes=100001-109998")];
    let (status, headers, body) = get(&site, "GET", &format!("/ipfs/{cid}"), &range).await;
    assert_eq!(status, 206);
    assert!(body == content[100_001..109_999]);
    assert_eq!(headers["content-type"], sniff::UNKNOWN, "content that is not here does not tell");
    let (status, headers, _) = get(&site, "HEAD", &format!("/ipfs/{cid}"), &[]).await;
    assert_eq!((status.as_u16(), &headers["content-length"]), (200, &HeaderValue::from(LARGE)));
    let (status, _, _) = get(&site, "GET", &format!("/ipfs/{cid}"), &[]).await;
    assert_eq!(status, 404, "what is missing at the start is told by the head");
}

#[tokio::test]
async fn types_are_told_by_names_then_content_and_remembered() {
    let mut blocks = Memory::new();
    let mut page = b"<html><p>".to_vec();
    page.resize(LARGE, b' ');
    let page = dag::file(&page, 10_000, &mut blocks);
    let dir = dag::dir(&[("a.css", page), ("a", page), ("b.unknown", page)], &mut blocks);
    let site = site(blocks);
    let late = [("range", "bytes=200000-200001")];
    for (path, headers, told) in [
        ("a.css", &late[..], "text/css; charset=utf-8"),
        ("a.css?filename=x.png", &late, "image/png"),
        ("a?filename=x.unknown", &late, "text/html"),
        ("a", &[], "text/html"),
        ("b.unknown", &late, "text/html"),
    ] {
        let (_, headers, _) = get(&site, "GET", &format!("/ipfs/{dir}/{path}"), headers).await;
        assert_eq!(headers["content-type"], told, "{path}");
        let walled = headers.get("content-security-policy").is_some_and(|policy| *policy == SANDBOX);
        assert_eq!(walled, told == "text/html", "{path}");
    }
    let host = format!("{page}.ipfs.localhost:8080");
    let (_, headers, _) = get(&site, "GET", "/", &[("host", &host)]).await;
    assert_eq!(headers["content-type"], "text/html");
    assert!(!headers.contains_key("content-security-policy"), "an origin of its own needs no sandbox");
}

#[tokio::test]
async fn downloads_have_names() {
    let mut blocks = Memory::new();
    let file = dag::raw(b"hello", &mut blocks);
    let dir = dag::dir(&[("a b.txt", file)], &mut blocks);
    let site = site(blocks);
    let by_path = "attachment; filename=\"a%20b.txt\"; filename*=UTF-8''a%20b.txt".to_owned();
    for (path, value) in [
        (format!("{dir}/a%20b.txt?download=true"), by_path),
        (
            format!("{file}?download=true"),
            format!("attachment; filename=\"{file}\"; filename*=UTF-8''{file}"),
        ),
        (format!("{file}?filename=x"), "inline; filename=\"x\"; filename*=UTF-8''x".to_owned()),
    ] {
        let (_, headers, _) = get(&site, "GET", &format!("/ipfs/{path}"), &[]).await;
        assert_eq!(headers["content-disposition"], value, "{path}");
    }
}

#[tokio::test]
async fn symlinks_are_answered_with_where_they_lead() {
    let mut blocks = Memory::new();
    let file = dag::raw(b"hello", &mut blocks);
    let link = dag::node(SYMLINK, b"../a", &[], None, &mut blocks);
    let dir = dag::dir(&[("a", file), ("link", link)], &mut blocks);
    let site = site(blocks);
    let (status, headers, body) =
        get(&site, "GET", &format!("/ipfs/{dir}/link"), &[("range", "bytes=0-0")]).await;
    assert_eq!((status.as_u16(), body.as_slice()), (200, &b"../a"[..]));
    assert_eq!(headers["content-type"], "inode/symlink");
    assert_eq!(headers["content-length"], "4");
    assert_eq!(get(&site, "GET", &format!("/ipfs/{dir}/link/x"), &[]).await.0, 404);
}

#[tokio::test]
async fn identity_cids_need_no_blocks() {
    let site = site(Memory::new());
    let (status, headers, body) = get(&site, "GET", "/ipfs/bafkqaaa", &[("range", "bytes=0-1")]).await;
    assert_eq!((status.as_u16(), body.len()), (200, 0));
    assert_eq!(headers["content-length"], "0");
    let (status, _, body) = get(&site, "GET", "/ipfs/bafkqabtimvwgy3yk", &[]).await;
    assert_eq!((status.as_u16(), body.as_slice()), (200, &b"hello\n"[..]));
}

#[tokio::test]
async fn nodes_that_lie_are_refused_before_the_head() {
    let mut blocks = Memory::new();
    let leaf = dag::raw(&dag::content(100_000), &mut blocks);
    let lies = [
        dag::node(FILE, b"", &[(leaf, 100_001)], None, &mut blocks),
        dag::node(FILE, b"", &[(leaf, 99_999)], None, &mut blocks),
        dag::node(FILE, b"", &[(leaf, 100_000)], Some(100_001), &mut blocks),
    ];
    // Once with the leaf unread, and once with it known to be sound.
    let site = site(blocks);
    for _ in 0..2 {
        for cid in lies {
            let (status, headers, _) = get(&site, "GET", &format!("/ipfs/{cid}?filename=x.bin"), &[]).await;
            assert_eq!(status, 422);
            assert_eq!(headers["cache-control"], "max-age=3600");
        }
        assert_eq!(get(&site, "GET", &format!("/ipfs/{leaf}"), &[]).await.0, 200);
    }
}

#[tokio::test]
async fn what_breaks_behind_the_head_is_an_error_of_the_body() {
    let mut blocks = Memory::new();
    let (content, cid, leaves) = large(&mut blocks);
    assert!(blocks.remove(&leaves[20]));
    let first = dag::file(&content, 10_000, &mut Memory::new());
    let liar = dag::node(FILE, b"", &[(first, 300_000), (leaves[1], 9_999)], None, &mut blocks);
    let site = site(blocks);
    for cid in [cid, liar] {
        let path = format!("/ipfs/{cid}?filename=x.bin");
        let response = ask(&site, "GET", &path, &[]).await;
        assert_eq!(response.status(), 200);
        assert!(axum::body::to_bytes(response.into_body(), usize::MAX).await.is_err());
    }
    let broken = dag::block(Codec::DagPb, b"\xff", &mut Memory::new());
    assert_eq!(get(&site, "GET", &format!("/ipfs/{broken}"), &[]).await.0, 404);
}
