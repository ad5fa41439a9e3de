use super::*;

const IMMUTABLE: &str = "public, max-age=29030400, immutable";

#[tokio::test]
async fn files_come_with_what_caches_need() {
    let fixture = Fixture::open(FILES);
    let root = fixture.root;
    let table = [
        ("ascii.txt", ASCII, b"hello application/vnd.ipld.car\n".to_vec()),
        ("ascii-copy.txt", ASCII, b"hello application/vnd.ipld.car\n".to_vec()),
        ("hello.txt", HELLO, b"hello world\n".to_vec()),
        ("multiblock.txt", MULTI, parts(0..5).iter().flat_map(|part| fixture.data(part).to_vec()).collect()),
    ];
    for (name, cid, content) in table {
        let expected = [
            ("cache-control", IMMUTABLE),
            ("etag", &format!("\"{cid}\"")),
            ("x-ipfs-path", &format!("/ipfs/{root}/{name}")),
            ("x-ipfs-roots", &format!("{root},{cid}")),
            ("content-length", &content.len().to_string()),
            ("content-type", "text/plain; charset=utf-8"),
            ("accept-ranges", "bytes"),
            ("content-disposition", ""),
            ("access-control-allow-origin", "*"),
        ];
        fixture.get(&format!("/ipfs/{{}}/{name}"), &[]).await.is(200).has(&expected).body(&content);
        fixture.ask("HEAD", &format!("/ipfs/{{}}/{name}"), &[]).await.is(200).has(&expected).body(b"");
        let tag = format!("\"{cid}\"");
        let list = format!("\"one\", \"two\", {tag}");
        for sent in [tag.as_str(), &format!("W/{tag}"), &list, "*"] {
            let path = format!("/ipfs/{{}}/{name}");
            fixture.get(&path, &[("If-None-Match", sent)]).await.is(304).body(b"").has(&[("etag", &tag)]);
        }
        fixture.get(&format!("/ipfs/{{}}/{name}"), &[("If-None-Match", "\"one\"")]).await.is(200);
    }
}

#[tokio::test]
async fn ranges_follow_http() {
    let fixture = Fixture::open(FILES);
    let content = fixture.data(&cid(ASCII)).to_vec();
    let table = [
        ("bytes=6-16", 6..17, "bytes 6-16/31"),
        ("bytes=-3", 28..31, "bytes 28-30/31"),
        ("bytes=6-16,0-4", 6..17, "bytes 6-16/31"),
        ("bytes=0-0", 0..1, "bytes 0-0/31"),
        ("bytes=30-99", 30..31, "bytes 30-30/31"),
    ];
    for (range, expected, content_range) in table {
        let answer = fixture.get("/ipfs/{}/ascii.txt", &[("Range", range)]).await.is(206);
        let answer = answer.has(&[("content-range", content_range), ("etag", &format!("\"{ASCII}\""))]);
        assert!(answer.header("content-type").starts_with("text/plain"));
        answer.body(&content[expected]);
    }
    fixture
        .get("/ipfs/{}/ascii.txt", &[("Range", "bytes=31-")])
        .await
        .is(416)
        .has(&[("content-range", "bytes */31")]);
}

#[tokio::test]
async fn a_range_needs_no_block_but_its_own() {
    let fixture = Fixture::open(HOLE);
    let leaf = |text: &str| {
        let data = fixture.data(&cid(text));
        let node = pb::Node::decode(data).unwrap().data.unwrap().to_vec();
        // Type, then 1,024 bytes, then their number.
        node[5..5 + 1024].to_vec()
    };
    let first = leaf("QmPKt7ptM2ZYSGPUc8PmPT2VBkLDK3iqpG9TBJY7PCE9rF");
    let last = leaf("QmWXY482zQdwecnfBsj78poUUuPXvyw2JAFAEMw4tzTavV");
    for (range, content, content_range) in [
        ("bytes=997-1000", &first[997..1001], "bytes 997-1000/3072"),
        ("bytes=2200-2201", &last[152..154], "bytes 2200-2201/3072"),
        ("bytes=-1024", &last[..], "bytes 2048-3071/3072"),
    ] {
        let answer = fixture.get("/ipfs/{}", &[("Range", range)]).await.is(206);
        assert_ne!(answer.header("content-type"), "");
        assert_eq!(answer.body, content, "{range}");
        answer.has(&[("content-range", content_range)]);
    }
    // The first needed block is missing: there is no head to regret.
    let answer = fixture.get("/ipfs/{}", &[("Range", "bytes=1024-1030")]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let answer = fixture.get("/ipfs/{}", &[]).await;
    assert!(!answer.whole || answer.status == StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn directories_are_redirected_to_and_listed() {
    let fixture = Fixture::open(LISTING);
    let root = fixture.root;
    let table = [
        ("/ipfs/{}", format!("/ipfs/{root}/")),
        ("/ipfs/{}/%C4%85/%c4%99", format!("/ipfs/{root}/%C4%85/%C4%99/")),
        ("/ipfs/{}/%C4%85/%C4%99?a=b&c", format!("/ipfs/{root}/%C4%85/%C4%99/?a=b&c")),
    ];
    for (path, location) in table {
        for method in ["GET", "HEAD"] {
            fixture.ask(method, path, &[]).await.is(301).has(&[("location", &location)]);
        }
    }
    let html = [("Accept", "text/html")];
    let answer = fixture.get("/ipfs/{}/%C4%85/%C4%99/", &html).await.is(200);
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert!(text.contains("file-źł.txt") && text.contains("%C5%BA%C5%82.txt"), "{text}");
    let dir = fixture.at("ą/ę");
    assert!(answer.header("etag").starts_with("\"DirIndex-"), "{}", answer.header("etag"));
    assert!(answer.header("etag").ends_with(&format!("_CID-{dir}\"")), "{}", answer.header("etag"));
    answer.has(&[
        ("x-ipfs-path", &format!("/ipfs/{root}/%C4%85/%C4%99/")),
        ("x-ipfs-roots", &format!("{root},{},{dir}", fixture.at("ą"))),
        ("cache-control", "public, max-age=604800, stale-while-revalidate=2678400"),
    ]);
    // The tag of the directory itself is known too.
    let known = [("If-None-Match", &*format!("W/\"{dir}\"")), html[0]];
    fixture.get("/ipfs/{}/%C4%85/%C4%99/", &known).await.is(304);
    fixture.get("/ipfs/{}/i-do-not-exist", &[]).await.is(404);
    fixture
        .get("/ipfs/{}/%C4%85/%C4%99/file-%C5%BA%C5%82.txt", &[])
        .await
        .is(200)
        .body(b"I am a txt file on path with utf8\n");
}

#[tokio::test]
async fn symlinks_are_shown_and_not_followed() {
    let fixture = Fixture::open(SYMLINK);
    fixture.get("/ipfs/{}/bar", &[]).await.is(200).body(b"foo").has(&[("content-type", "inode/symlink")]);
    fixture.get("/ipfs/{}/foo", &[]).await.is(200).body(b"content\n");
    fixture.get("/ipfs/{}/bar/foo", &[]).await.is(404);
    let listed = fixture.get("/ipfs/{}/", &[("Accept", "text/html")]).await.is(200);
    let text = String::from_utf8_lossy(&listed.body).into_owned();
    assert!(text.contains(">foo<") && text.contains(">bar<"), "{text}");
}

#[tokio::test]
async fn names_are_decoded_once() {
    let fixture = Fixture::open(PERCENT);
    let path = "/ipfs/{}/Portugal%252C+Espa%C3%B1a=Peninsula%20Ib%C3%A9rica.txt";
    fixture.get(path, &[]).await.is(200).body(b"hello from a percent encoded filename\n");
    fixture.get("/ipfs/{}/Portugal%2C+Espa%C3%B1a=Peninsula%20Ib%C3%A9rica.txt", &[]).await.is(404);
}

#[tokio::test]
async fn names_in_the_query_are_written_twice() {
    let fixture = Fixture::open(FILES);
    let name = "test%D1%82%D0%B5%D1%81%D1%82.txt";
    for (query, expected) in [
        (format!("?filename={name}"), format!("inline; filename=\"test____.txt\"; filename*=UTF-8''{name}")),
        (format!("?filename={name}&download=true"), {
            format!("attachment; filename=\"test____.txt\"; filename*=UTF-8''{name}")
        }),
        ("?download=true".into(), "attachment; filename=\"hello.txt\"; filename*=UTF-8''hello.txt".into()),
    ] {
        let answer = fixture.get(&format!("/ipfs/{{}}/hello.txt{query}"), &[]).await.is(200);
        answer.has(&[("content-disposition", &expected)]);
    }
}

#[tokio::test]
async fn only_what_is_here_is_asked_for() {
    let fixture = Fixture::open(FILES);
    let only = [("Cache-Control", "only-if-cached")];
    for method in ["GET", "HEAD"] {
        fixture.ask(method, "/ipfs/{}/ascii.txt", &only).await.is(200);
        let answer = fixture.ask(method, &format!("/ipfs/{ABSENT}"), &only).await.is(412).body(b"");
        answer.has(&[("etag", ""), ("x-ipfs-roots", "")]);
        fixture.ask(method, &format!("/ipfs/{ABSENT}"), &[]).await.is(404);
    }
}

#[tokio::test]
async fn a_worker_is_only_for_what_is_below_a_root() {
    let fixture = Fixture::open(FILES);
    let worker = [("Service-Worker", "script")];
    fixture.get("/ipfs/{}", &worker).await.is(400);
    fixture.get("/ipfs/{}/hello.txt", &worker).await.is(200);
}

/// IPIP-0524: documents come in their own form, and nothing is converted.
#[tokio::test]
async fn documents_are_not_converted() {
    let fixture = Fixture::open(DOCUMENT);
    let document = fixture.at("document");
    let data = fixture.data(&document).to_vec();
    let etag = format!("\"{document}.dag-cbor\"");
    let answer = fixture.get("/ipfs/{}/document?format=dag-cbor", &[]).await.is(200).body(&data);
    answer.has(&[
        ("content-type", "application/vnd.ipld.dag-cbor"),
        ("etag", &etag),
        ("cache-control", IMMUTABLE),
        ("x-content-type-options", "nosniff"),
    ]);
    fixture
        .get("/ipfs/{}/document?format=cbor", &[])
        .await
        .is(200)
        .body(&data)
        .has(&[("content-type", "application/cbor")]);
    for format in ["dag-json", "json"] {
        fixture.get(&format!("/ipfs/{{}}/document?format={format}"), &[]).await.is(406);
    }
    for format in ["dag-json", "dag-cbor"] {
        fixture.get(&format!("/ipfs/{{}}?format={format}"), &[]).await.is(406);
    }
    fixture.get("/ipfs/{}/document/files/single", &[]).await.is(200).body(b"hello world\n");
    fixture.get("/ipfs/{}/document/nothing", &[]).await.is(404);
    fixture.get("/ipfs/{}/document/files", &[]).await.is(501);
}
