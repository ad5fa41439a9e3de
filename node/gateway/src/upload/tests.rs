mod fake;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes as Buf;
use futures::{StreamExt, stream};
use http_body_util::BodyExt;

use self::fake::{Fake, HERE, request, settings, site};
use super::*;
use crate::content::{Codec, Order};

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=X");

fn part(name: &str, content: &str) -> String {
    format!("--X\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{name}\"\r\n\r\n{content}\r\n")
}

fn form(parts: &[(&str, &str)]) -> String {
    let parts: String = parts.iter().map(|(name, content)| part(name, content)).collect();
    format!("{parts}--X--\r\n")
}

/// A body of unknown length.
fn chunked(pieces: Vec<&'static [u8]>) -> Body {
    let pieces = pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(Buf::from_static(piece)));
    Body::from_stream(stream::iter(pieces))
}

async fn send(site: &Arc<Site>, request: Request<Body>) -> Result<Response<Body>, Refusal> {
    answer(site, request, HERE).await
}

async fn status(site: &Arc<Site>, request: Request<Body>) -> StatusCode {
    match send(site, request).await {
        Ok(response) => response.status(),
        Err(refusal) => refusal.status,
    }
}

#[tokio::test]
async fn a_raw_body_becomes_one_file() {
    let fake = Fake::new();
    let site = site(&fake, settings());
    let body = chunked(vec![b"hello ", b"", b"world"]);
    let response = send(&site, request(&[("content-replication", "3")], body)).await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let kept = fake.kept();
    let root = kept[0].root.to_string();
    assert_eq!(response.headers()["location"], format!("/ipfs/{root}"));
    assert_eq!(response.headers()["ipfs-hash"], root);
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(json, serde_json::json!({ "root": root, "size": 11, "replication": 3, "entries": [] }));
    assert_eq!(kept[0].files, [(String::new(), b"hello world".to_vec())]);
    assert_eq!(kept[0].order, Order { directory: None, replication: 3 });
    let mut figures = String::new();
    site.figures.write(&mut figures).unwrap();
    for line in
        ["uploads_total{result=\"kept\"} 1", "uploads_total{result=\"refused\"} 0", "uploaded_bytes_total 11"]
    {
        assert!(figures.contains(&format!("pop_gateway_{line}\n")), "{line} in {figures}");
    }
}

#[tokio::test]
async fn an_empty_body_is_an_empty_file() {
    let fake = Fake::new();
    let site = site(&fake, settings());
    assert_eq!(status(&site, request(&[], Body::empty())).await, StatusCode::CREATED);
    assert_eq!(fake.kept()[0].files, [(String::new(), Vec::new())]);
}

#[tokio::test]
async fn a_form_becomes_a_directory() {
    let fake = Fake::new();
    let site = site(&fake, settings());
    let plain = "--X\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nno file\r\n";
    let body = format!("{plain}{}", form(&[("a.txt", "one"), ("site/index.html", ""), ("日 本", "two")]));
    let response = send(&site, request(&[FORM, ("codec-type", "dagcbor")], Body::from(body))).await.unwrap();
    let kept = fake.kept();
    assert_eq!(response.headers()["location"], format!("/ipfs/{}/", kept[0].root));
    let expected = [("note", "no file"), ("a.txt", "one"), ("site/index.html", ""), ("日 本", "two")];
    let expected: Vec<_> = expected.iter().map(|(n, c)| ((*n).to_owned(), c.as_bytes().to_vec())).collect();
    assert_eq!(kept[0].files, expected);
    assert_eq!(kept[0].order, Order { directory: Some(Codec::DagCbor), replication: 0 });
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let fake = Fake::new();
    let mut settings = settings();
    settings.uploads.as_mut().unwrap().body = Bytes::new(4000);
    let site = site(&fake, settings);
    let (bad, large) = (StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE);
    let whole = form(&[("a", "text")]);
    let big = "x".repeat(3990);
    let rows = [
        ("no form", vec![FORM], Body::from("hello"), bad),
        ("no body", vec![FORM], Body::empty(), bad),
        ("no files", vec![FORM], Body::from("--X--\r\n"), bad),
        ("cut short", vec![FORM], Body::from(whole[..whole.len() - 6].to_owned()), bad),
        ("cut in the head", vec![FORM], Body::from(whole[..30].to_owned()), bad),
        ("more behind", vec![FORM], Body::from(format!("{whole}more")), bad),
        ("one name twice", vec![FORM], Body::from(form(&[("a", "1"), ("b", "2"), ("a", "3")])), bad),
        ("a file as a directory", vec![FORM], Body::from(form(&[("a", "1"), ("a/b", "2")])), bad),
        ("name ..", vec![FORM], Body::from(form(&[("ok", ""), ("..", "")])), bad),
        ("name with ..", vec![FORM], Body::from(form(&[("a/../../b", "")])), bad),
        ("absolute name", vec![FORM], Body::from(form(&[("/etc/passwd", "")])), bad),
        ("name with NUL", vec![FORM], Body::from(form(&[("a\0", "")])), bad),
        ("long name", vec![FORM], Body::from(form(&[(&"n".repeat(256), "")])), bad),
        ("no boundary", vec![("content-type", "multipart/form-data")], Body::from(whole.clone()), bad),
        ("codec", vec![FORM, ("codec-type", "dag-json")], Body::from(whole.clone()), bad),
        ("copies", vec![("content-replication", "13")], Body::from("x"), bad),
        ("length", vec![("content-length", "x")], Body::from("x"), bad),
        ("large", vec![("content-length", "4001")], Body::from("x".repeat(4001)), large),
        ("large without a length", vec![], Body::from("x".repeat(4001)), large),
        ("large form", vec![FORM], Body::from(form(&[("a", &big)])), large),
        ("gzip", vec![("content-encoding", "gzip")], Body::from("x"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ];
    for (what, headers, body, expected) in rows {
        assert_eq!(status(&site, request(&headers, body)).await, expected, "{what}");
        assert_eq!(fake.open(), 0, "{what}");
    }
    assert!(fake.kept().is_empty());
    assert_eq!(status(&site, request(&[], Body::from("x".repeat(4000)))).await, StatusCode::CREATED);
}

#[tokio::test]
async fn what_the_node_says_is_told() {
    let why = || "so".to_owned();
    let rows = [
        (UploadError::Full { why: why() }, StatusCode::INSUFFICIENT_STORAGE),
        (UploadError::Name { name: why() }, StatusCode::BAD_REQUEST),
        (UploadError::Twice { name: why() }, StatusCode::BAD_REQUEST),
        (UploadError::Form { why: why() }, StatusCode::BAD_REQUEST),
        (UploadError::Stopped, StatusCode::SERVICE_UNAVAILABLE),
        (UploadError::Failed { why: why() }, StatusCode::INTERNAL_SERVER_ERROR),
    ];
    for (error, expected) in rows {
        for at in ["receive", "file", "bytes", "commit"] {
            let fake = Fake::failing(at, error.clone());
            let mut settings = settings();
            settings.uploads.as_mut().unwrap().quota = Some(Bytes::new(10));
            let site = site(&fake, settings);
            // Again, as what is not kept gives its quota back.
            for _ in 0..3 {
                let refusal = send(&site, request(&[], Body::from("12345678"))).await.unwrap_err();
                assert_eq!(refusal.status, expected, "{at}: {error}");
                assert!(fake.kept().is_empty() && fake.open() == 0);
                assert_eq!(refusal.headers.contains_key("retry-after"), error == UploadError::Stopped);
            }
        }
    }
}

#[tokio::test]
async fn without_settings_nobody_uploads() {
    let fake = Fake::new();
    let mut settings = settings();
    settings.uploads = None;
    let refusal = send(&site(&fake, settings), request(&[], Body::from("x"))).await.unwrap_err();
    assert_eq!(refusal.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refusal.headers["allow"], "GET, HEAD, OPTIONS");
}

/// A body that fails the test when somebody reads it.
fn untouched() -> Body {
    Body::from_stream(
        stream::once(async { panic!("the body was read") }).map(|()| Ok::<_, std::io::Error>(Buf::new())),
    )
}

#[tokio::test]
async fn the_head_is_judged_before_the_body_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    std::fs::write(&path, "ann:aaaaaaaaaaaaaaaaaaaa\n").unwrap();
    let fake = Fake::new();
    let mut settings = settings();
    let uploads = settings.uploads.as_mut().unwrap();
    (uploads.tokens, uploads.quota, uploads.body) = (Some(path), Some(Bytes::new(100)), Bytes::new(1000));
    let site = site(&fake, settings);
    let expect = ("expect", "100-continue");
    let ann = ("authorization", "Bearer aaaaaaaaaaaaaaaaaaaa");
    let rows: &[(&[(&str, &str)], StatusCode)] = &[
        (&[], StatusCode::UNAUTHORIZED),
        (&[("authorization", "Bearer b")], StatusCode::UNAUTHORIZED),
        (&[ann, ("codec-type", "x")], StatusCode::BAD_REQUEST),
        (&[ann, ("content-length", "1001")], StatusCode::PAYLOAD_TOO_LARGE),
        (&[ann, ("content-length", "101")], StatusCode::PAYLOAD_TOO_LARGE),
    ];
    for (headers, expected) in rows {
        let headers = [headers, &[expect][..]].concat();
        assert_eq!(status(&site, request(&headers, untouched())).await, *expected, "{headers:?}");
    }
    // Used up, and then told when it is worth another try.
    let full = Body::from("x".repeat(90));
    assert_eq!(status(&site, request(&[ann, ("content-length", "90")], full)).await, StatusCode::CREATED);
    let headers = [ann, expect, ("content-length", "11")];
    let refusal = send(&site, request(&headers, untouched())).await.unwrap_err();
    assert_eq!(refusal.status, StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = refusal.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((86_000..=87_001).contains(&wait), "{wait}");
    gone(&site).await;
}

/// Waits until nothing is read any more that was refused.
async fn gone(site: &Arc<Site>) {
    let lingering = &site.uploads.as_ref().unwrap().lingering;
    lingering.close();
    lingering.wait().await;
}

#[tokio::test]
async fn a_body_without_length_is_cut_off_at_the_quota() {
    let fake = Fake::new();
    let mut settings = settings();
    settings.uploads.as_mut().unwrap().quota = Some(Bytes::new(10));
    let site = site(&fake, settings);
    let never = request(&[], chunked(vec![b"12345678", b"123"]));
    assert_eq!(status(&site, never).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(status(&site, request(&[], chunked(vec![b"1234", b"56"]))).await, StatusCode::CREATED);
    let later = send(&site, request(&[], chunked(vec![b"1234", b"5"]))).await.unwrap_err();
    assert_eq!(later.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(later.headers.contains_key("retry-after"));
    assert_eq!(status(&site, request(&[], chunked(vec![b"1234"]))).await, StatusCode::CREATED);
    assert_eq!((fake.kept().len(), fake.open()), (2, 0));
}

#[tokio::test]
async fn a_body_that_stalls_or_breaks_leaves_nothing() {
    let fake = Fake::new();
    let mut settings = settings();
    settings.limits.stall = Duration::from_millis(20);
    let site = site(&fake, settings);
    let stalls = stream::iter([Ok::<_, std::io::Error>(Buf::from_static(b"some"))]).chain(stream::pending());
    let refusal = send(&site, request(&[], Body::from_stream(stalls))).await.unwrap_err();
    assert_eq!(refusal.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(refusal.headers["connection"], "close");
    let broken = [Ok(Buf::from_static(b"some")), Err(std::io::Error::other("gone"))];
    let broken = request(&[], Body::from_stream(stream::iter(broken)));
    assert_eq!(status(&site, broken).await, StatusCode::BAD_REQUEST);
    assert!(fake.kept().is_empty() && fake.open() == 0);
}

#[tokio::test]
async fn a_body_that_drips_has_to_end_some_time() {
    let fake = Fake::new();
    let mut settings = settings();
    settings.limits.whole = Duration::from_millis(50);
    let site = site(&fake, settings);
    let drips = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Some((Ok::<_, std::io::Error>(Buf::from_static(b".")), ()))
    });
    assert_eq!(status(&site, request(&[], Body::from_stream(drips))).await, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(fake.open(), 0);
}

#[tokio::test]
async fn places_are_bounded_and_an_answer_that_is_dropped_gives_its_place_back() {
    let fake = Fake::new();
    let site = site(&fake, settings());
    let pending = || request(&[], Body::from_stream(stream::pending::<std::io::Result<Buf>>()));
    let mut running: Vec<_> = (0..4).map(|_| Box::pin(send(&site, pending()))).collect();
    for upload in &mut running {
        assert!(futures::poll!(upload.as_mut()).is_pending());
    }
    assert_eq!(fake.open(), 4);
    let refusal = send(&site, request(&[], Body::from("x"))).await.unwrap_err();
    assert_eq!(refusal.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refusal.headers["retry-after"], "5");
    drop(running.pop());
    assert_eq!(fake.open(), 3);
    assert_eq!(status(&site, request(&[], Body::from("x"))).await, StatusCode::CREATED);
}
