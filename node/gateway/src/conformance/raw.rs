use super::*;

const BLOCK: &str = "application/vnd.ipld.raw";

#[tokio::test]
async fn the_block_at_the_end_of_a_path_comes_as_it_is() {
    let fixture = Fixture::open(RAW);
    for path in ["", "dir", "dir/ascii.txt"] {
        let cid = fixture.at(path);
        let data = fixture.data(&cid).to_vec();
        for (query, headers) in [
            ("?format=raw", &[][..]),
            ("", &[("Accept", BLOCK)][..]),
            ("?format=raw", &[("Accept", "application/vnd.ipld.car, text/html")][..]),
        ] {
            let expected = [
                ("content-type", BLOCK),
                ("content-length", &data.len().to_string()),
                (
                    "content-disposition",
                    &format!("attachment; filename=\"{cid}.bin\"; filename*=UTF-8''{cid}.bin"),
                ),
                ("x-content-type-options", "nosniff"),
                ("etag", &format!("\"{cid}.raw\"")),
                ("cache-control", "public, max-age=29030400, immutable"),
                ("accept-ranges", "bytes"),
            ];
            let path = format!("/ipfs/{{}}/{path}{query}");
            let answer = fixture.get(&path, headers).await.is(200).has(&expected).body(&data);
            assert!(answer.header("x-ipfs-roots").starts_with(&fixture.root.to_string()));
            assert!(answer.header("x-ipfs-roots").ends_with(&cid.to_string()));
            fixture.ask("HEAD", &path, headers).await.is(200).has(&expected).body(b"");
        }
    }
    let answer = fixture.get("/ipfs/{}/dir/ascii.txt?format=raw", &[]).await.is(200);
    answer.has(&[("x-ipfs-path", &format!("/ipfs/{}/dir/ascii.txt", fixture.root))]);
}

#[tokio::test]
async fn a_name_can_be_chosen() {
    let fixture = Fixture::open(RAW);
    for (name, expected) in [
        ("foobar.bin", "attachment; filename=\"foobar.bin\"; filename*=UTF-8''foobar.bin"),
        ("test%D1%82%D0%B5%D1%81%D1%82.bin", {
            "attachment; filename=\"test____.bin\"; filename*=UTF-8''test%D1%82%D0%B5%D1%81%D1%82.bin"
        }),
    ] {
        let path = format!("/ipfs/{{}}/dir/ascii.txt?filename={name}");
        let answer = fixture.get(&path, &[("Accept", BLOCK)]).await;
        answer.is(200).has(&[("content-disposition", expected)]);
    }
}

#[tokio::test]
async fn parts_of_a_block_are_served() {
    let fixture = Fixture::open(RAW);
    let data = fixture.data(&fixture.at("dir")).to_vec();
    let table = [
        ("bytes=6-16", 206, 6..17, "bytes 6-16/57"),
        ("bytes=-3", 206, 54..57, "bytes 54-56/57"),
        ("bytes=50-", 206, 50..57, "bytes 50-56/57"),
        ("bytes=50-500", 206, 50..57, "bytes 50-56/57"),
        // Of several ranges, the first.
        ("bytes=6-16,0-4", 206, 6..17, "bytes 6-16/57"),
        ("lines=1-2", 200, 0..57, ""),
        ("bytes=x", 200, 0..57, ""),
    ];
    for (range, status, expected, content_range) in table {
        let answer = fixture.get("/ipfs/{}/dir", &[("Accept", BLOCK), ("Range", range)]).await.is(status);
        let length = expected.len().to_string();
        let headers =
            [("content-type", BLOCK), ("content-range", content_range), ("content-length", &length)];
        answer.has(&headers).body(&data[expected]);
    }
    let outside = fixture.get("/ipfs/{}/dir?format=raw", &[("Range", "bytes=57-")]).await.is(416);
    outside.has(&[("content-range", "bytes */57")]);
    let tag = format!("\"{}.raw\"", fixture.at("dir"));
    for (if_range, status) in [(tag.as_str(), 206), ("\"other\"", 200)] {
        let headers = [("Range", "bytes=0-3"), ("If-Range", if_range)];
        fixture.get("/ipfs/{}/dir?format=raw", &headers).await.is(status);
    }
}

#[tokio::test]
async fn a_block_that_is_known_is_not_sent_again() {
    let fixture = Fixture::open(RAW);
    let tag = format!("\"{}.raw\"", fixture.at("dir"));
    let weak = format!("W/{tag}");
    let list = format!("\"a\", {tag}");
    for sent in [tag.as_str(), weak.as_str(), list.as_str(), "*"] {
        let answer = fixture.get("/ipfs/{}/dir?format=raw", &[("If-None-Match", sent)]).await.is(304);
        answer.has(&[("etag", &tag), ("content-type", ""), ("content-length", "")]).body(b"");
    }
    // The tag of another form is another.
    let file = format!("\"{}\"", fixture.at("dir"));
    fixture.get("/ipfs/{}/dir?format=raw", &[("If-None-Match", &file)]).await.is(200);
    fixture.get("/ipfs/{}/dir?format=raw", &[("If-Match", "\"other\"")]).await.is(412);
}

#[tokio::test]
async fn blocks_of_every_kind_are_blocks() {
    for (name, path) in [
        (SYMLINK, ""),
        (SYMLINK, "bar"),
        (SHARDED, ""),
        (DOCUMENT, "document"),
        (MIXED, "subdir/multiblock.txt"),
        (LISTING, "ą"),
    ] {
        let fixture = Fixture::open(name);
        let cid = fixture.at(path);
        let data = fixture.data(&cid).to_vec();
        fixture.get(&format!("/ipfs/{cid}?format=raw"), &[]).await.is(200).body(&data);
    }
}

#[tokio::test]
async fn missing_blocks_are_404() {
    let fixture = Fixture::open(HOLE);
    let missing = "QmSNLTo6Wv9dfroVaw7MFYjLqf9ho7PKrgsjdzYDtv8h1W";
    for absent in [missing, ABSENT] {
        for method in ["GET", "HEAD"] {
            fixture.ask(method, &format!("/ipfs/{absent}?format=raw"), &[]).await.is(404);
            let only = [("Cache-Control", "only-if-cached")];
            fixture.ask(method, &format!("/ipfs/{absent}?format=raw"), &only).await.is(412).body(b"");
        }
    }
}

/// The probe of the trustless gateway's appendix: no block, no storage, no body.
#[tokio::test]
async fn the_probe_is_answered() {
    for fixture in [Fixture::open(RAW), Fixture::trustless(RAW)] {
        for method in ["GET", "HEAD"] {
            let answer = fixture.ask(method, "/ipfs/bafkqaaa?format=raw", &[]).await.is(200).body(b"");
            answer.has(&[("content-type", BLOCK), ("content-length", "0")]);
            fixture.ask(method, "/ipfs/bafkqaaa", &[("Accept", BLOCK)]).await.is(200).body(b"");
        }
    }
}

#[tokio::test]
async fn a_gateway_that_interprets_nothing_follows_no_path_to_a_block() {
    let fixture = Fixture::trustless(RAW);
    let dir = fixture.at("dir");
    let data = fixture.data(&dir).to_vec();
    fixture.get(&format!("/ipfs/{dir}?format=raw"), &[]).await.is(200).body(&data);
    fixture.get(&format!("/ipfs/{dir}"), &[("Accept", BLOCK)]).await.is(200).body(&data);
    let answer = fixture.get("/ipfs/{}/dir?format=raw", &[]).await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
}
