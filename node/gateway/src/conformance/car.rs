use super::*;

const CAR: &str = "application/vnd.ipld.car";

/// The ways to ask for a CAR: in the URL, in `Accept`, and in both.
async fn each_way(fixture: &Fixture, path: &str, expected: &[Cid]) {
    let joint = if path.contains('?') { '&' } else { '?' };
    let by_query = format!("{path}{joint}format=car");
    for (path, headers) in [
        (by_query.as_str(), &[][..]),
        (path, &[("Accept", CAR)][..]),
        (path, &[("Accept", "application/vnd.ipld.car; version=1; order=dfs; dups=n")][..]),
        (by_query.as_str(), &[("Accept", "text/html,*/*;q=0.8")][..]),
    ] {
        let answer = fixture.get(path, headers).await.is(200).blocks(expected);
        let answer = answer.has(&[
            ("content-type", "application/vnd.ipld.car; version=1; order=dfs; dups=n"),
            ("x-content-type-options", "nosniff"),
            ("accept-ranges", "none"),
            ("content-length", ""),
        ]);
        assert!(answer.header("etag").starts_with("W/\""), "{}", answer.header("etag"));
        assert!(answer.header("content-disposition").starts_with("attachment; filename=\""), "{path}");
        let head = fixture.ask("HEAD", path, headers).await.is(200).body(b"");
        for name in ["content-type", "etag", "content-disposition", "accept-ranges", "cache-control"] {
            assert_eq!(head.header(name), answer.header(name), "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn the_way_comes_first_then_what_the_scope_means() {
    let fixture = Fixture::open(TWO);
    let (root, dir) = (fixture.root, fixture.at("subdir"));
    let (ascii, hello) = (cid(ASCII), cid(HELLO));
    let table = [
        ("/ipfs/{}", vec![root, dir, ascii, hello]),
        ("/ipfs/{}?dag-scope=all", vec![root, dir, ascii, hello]),
        ("/ipfs/{}?dag-scope=entity", vec![root]),
        ("/ipfs/{}?dag-scope=block", vec![root]),
        ("/ipfs/{}/subdir", vec![root, dir, ascii, hello]),
        ("/ipfs/{}/subdir/", vec![root, dir, ascii, hello]),
        ("/ipfs/{}/subdir?dag-scope=entity", vec![root, dir]),
        ("/ipfs/{}/subdir?dag-scope=block", vec![root, dir]),
        ("/ipfs/{}/subdir/ascii.txt", vec![root, dir, ascii]),
        ("/ipfs/{}/subdir/ascii.txt?dag-scope=entity", vec![root, dir, ascii]),
        ("/ipfs/{}/subdir/ascii.txt?dag-scope=block", vec![root, dir, ascii]),
        ("/{}/subdir/hello.txt", vec![root, dir, hello]),
    ];
    for (path, expected) in table {
        each_way(&fixture, path, &expected).await;
    }
}

#[tokio::test]
async fn a_file_of_several_blocks_is_an_entity() {
    let fixture = Fixture::open(MIXED);
    let (root, dir) = (fixture.root, fixture.at("subdir"));
    let file = all(&[&[root, dir], &multi()]);
    let table = [
        ("/ipfs/{}/subdir", all(&[&[root, dir, cid(ASCII), cid(HELLO)], &multi()])),
        ("/ipfs/{}/subdir?dag-scope=entity", vec![root, dir]),
        ("/ipfs/{}/subdir/ascii.txt?dag-scope=entity", vec![root, dir, cid(ASCII)]),
        ("/ipfs/{}/subdir/multiblock.txt", file.clone()),
        ("/ipfs/{}/subdir/multiblock.txt?dag-scope=all", file.clone()),
        ("/ipfs/{}/subdir/multiblock.txt?dag-scope=entity", file.clone()),
        ("/ipfs/{}/subdir/multiblock.txt?dag-scope=block", vec![root, dir, cid(MULTI)]),
        ("/ipfs/{}/subdir/multiblock.txt?dag-scope=entity&entity-bytes=0:*", file.clone()),
        ("/ipfs/{}/subdir/multiblock.txt?dag-scope=entity&entity-bytes=0:0", {
            all(&[&[root, dir, cid(MULTI)], &parts(0..1)])
        }),
    ];
    for (path, expected) in table {
        each_way(&fixture, path, &expected).await;
    }
}

/// IPIP-0402: both ends belong to the range, negative ones count from the end, and the scope is implied.
#[tokio::test]
async fn bytes_of_a_file_are_the_fewest_blocks_that_hold_them() {
    let fixture = Fixture::open(MIXED);
    let table = [
        ("0:*", 0..5),
        ("0:0", 0..1),
        ("0:255", 0..1),
        ("0:256", 0..2),
        ("255:256", 0..2),
        ("512:*", 2..5),
        ("512:1023", 2..4),
        ("512:-256", 2..4),
        ("499:-1000", 0..0),
        ("20:-1000", 0..1),
        ("-5:*", 3..5),
        ("-2:*", 4..5),
        ("-5:-3", 3..4),
        ("-9999:*", 0..5),
        ("-9999:-3", 0..4),
        ("1000:5000", 3..5),
        ("1025:1025", 4..5),
    ];
    for (bytes, expected) in table {
        if expected.is_empty() {
            continue;
        }
        let expected = all(&[&[cid(MULTI)], &parts(expected)]);
        for scope in ["dag-scope=entity&", "", "dag-scope=all&", "dag-scope=block&"] {
            each_way(&fixture, &format!("/ipfs/{MULTI}?{scope}entity-bytes={bytes}"), &expected).await;
        }
    }
    for outside in ["1026:*", "1026:1027", "5000:6000", "499:-1000", "0:-1027", "-1:0"] {
        fixture.get(&format!("/ipfs/{MULTI}?format=car&entity-bytes={outside}"), &[]).await.is(400);
    }
    // What is one block is that block, however many bytes of it are wanted.
    each_way(&fixture, &format!("/ipfs/{HELLO}?entity-bytes=3:5"), &[cid(HELLO)]).await;
}

#[tokio::test]
async fn bytes_of_what_is_no_file_are_the_entity() {
    let (sharded, document) = (Fixture::open(SHARDED), Fixture::open(DOCUMENT));
    let shards = all(&[&[sharded.root], &shards(&sharded)]);
    for bytes in ["0:*", "5000:6000", "-1:*"] {
        each_way(&sharded, &format!("/ipfs/{{}}?dag-scope=entity&entity-bytes={bytes}"), &shards).await;
        let path = format!("/ipfs/{{}}/document?entity-bytes={bytes}");
        each_way(&document, &path, &[document.root, document.at("document")]).await;
    }
}

#[tokio::test]
async fn bytes_are_served_although_others_are_missing() {
    let fixture = Fixture::open(HOLE);
    let first = cid("QmPKt7ptM2ZYSGPUc8PmPT2VBkLDK3iqpG9TBJY7PCE9rF");
    let last = cid("QmWXY482zQdwecnfBsj78poUUuPXvyw2JAFAEMw4tzTavV");
    each_way(&fixture, "/ipfs/{}?dag-scope=entity&entity-bytes=0:1000", &[fixture.root, first]).await;
    each_way(&fixture, "/ipfs/{}?dag-scope=entity&entity-bytes=2200:*", &[fixture.root, last]).await;
    each_way(&fixture, "/ipfs/{}?dag-scope=block", &[fixture.root]).await;
    // What is missing is found when the head is gone: the body breaks off, and what came is right.
    for (query, expected) in [("", vec![fixture.root, first]), ("&entity-bytes=1024:*", vec![fixture.root])] {
        let answer = fixture.get(&format!("/ipfs/{{}}?format=car{query}"), &[]).await;
        assert_eq!((answer.status.as_u16(), answer.whole), (200, false), "{query}");
        answer.blocks(&expected);
    }
}

#[tokio::test]
async fn missing_roots_and_paths_are_404() {
    let fixture = Fixture::open(TWO);
    for path in [
        "/ipfs/{}/subdir/i-do-not-exist?format=car",
        "/ipfs/{}/subdir/ascii.txt/deeper?format=car",
        &format!("/ipfs/{ABSENT}?format=car"),
        &format!("/ipfs/{ABSENT}/a/b?format=car&dag-scope=block"),
    ] {
        let answer = fixture.get(path, &[]).await.is(404);
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8", "{path}");
        assert_eq!(answer.header("etag"), "", "{path}");
        fixture.ask("HEAD", path, &[]).await.is(404).body(b"");
    }
}

/// Shards below a shard, each before those below it.
fn shards_below(fixture: &Fixture, shard: &Cid) -> Vec<Cid> {
    let links = fixture.links(shard).into_iter().filter(|(name, _)| name.len() == 2);
    links.flat_map(|(_, below)| all(&[&[below], &shards_below(fixture, &below)])).collect()
}

fn shards(fixture: &Fixture) -> Vec<Cid> {
    shards_below(fixture, &fixture.root)
}

/// The shards that lead to an entry, the root first.
fn way_to(fixture: &Fixture, name: &str) -> Vec<Cid> {
    let is_above = |shard: &Cid| {
        let within = all(&[&[*shard], &shards_below(fixture, shard)]);
        within.iter().any(|cid| fixture.links(cid).iter().any(|(entry, _)| entry.get(2..) == Some(name)))
    };
    all(&[&[fixture.root], &shards(fixture)]).into_iter().filter(is_above).collect()
}

#[tokio::test]
async fn only_the_shards_on_the_way_are_part_of_a_path() {
    let fixture = Fixture::open(SHARDED);
    let root = fixture.root;
    for name in ["685.txt", "1.txt", "999.txt"] {
        let way = way_to(&fixture, name);
        assert!((2..=3).contains(&way.len()), "{name}: {}", way.len());
        let path = format!("/ipfs/{{}}/{name}");
        each_way(&fixture, &path, &all(&[&way, &multi()])).await;
        each_way(&fixture, &format!("{path}?dag-scope=block"), &all(&[&way, &[cid(MULTI)]])).await;
        let bytes = all(&[&way, &[cid(MULTI)], &parts(2..3)]);
        each_way(&fixture, &format!("{path}?entity-bytes=512:512"), &bytes).await;
    }
    each_way(&fixture, "/ipfs/{}?dag-scope=entity", &all(&[&[root], &shards(&fixture)])).await;
    // Every entry leads to the one file.
    let (first, others) = shards(&fixture).split_first().map(|(a, b)| (*a, b.to_vec())).unwrap();
    each_way(&fixture, "/ipfs/{}", &all(&[&[root, first], &multi(), &others])).await;
    fixture.get("/ipfs/{}/nothing.txt?format=car", &[]).await.is(404);
}

#[tokio::test]
async fn paths_lead_through_documents() {
    let fixture = Fixture::open(DOCUMENT);
    let (root, document) = (fixture.root, fixture.at("document"));
    let whole = all(&[&[root, document, cid(HELLO)], &multi()]);
    let table = [
        (format!("/ipfs/{document}/files/single"), vec![document, cid(HELLO)]),
        ("/ipfs/{}/document/files/single".into(), vec![root, document, cid(HELLO)]),
        ("/ipfs/{}/document/files/multiblock?entity-bytes=-2:*".into(), {
            all(&[&[root, document, cid(MULTI)], &parts(4..5)])
        }),
        ("/ipfs/{}/document?dag-scope=entity".into(), vec![root, document]),
        ("/ipfs/{}/document?dag-scope=block".into(), vec![root, document]),
        ("/ipfs/{}/document".into(), whole.clone()),
        ("/ipfs/{}".into(), whole),
        // A path that ends inside of a document ends at its block.
        (format!("/ipfs/{document}/files?dag-scope=block"), vec![document]),
    ];
    for (path, expected) in table {
        each_way(&fixture, &path, &expected).await;
    }
    fixture.get(&format!("/ipfs/{document}/nothing?format=car"), &[]).await.is(404);
}

/// IPIP-0412, and IPIP-0523: the query has the last word.
#[tokio::test]
async fn order_and_duplicates_are_as_asked_for_and_stated() {
    let fixture = Fixture::open(DOUBLE);
    let once = all(&[&[fixture.root, cid(ASCII), cid(HELLO)], &multi()]);
    let often = all(&[&[fixture.root, cid(ASCII), cid(ASCII), cid(HELLO)], &multi()]);
    let accept = |parameters: &str| format!("{CAR}{parameters}");
    let table = [
        ("", accept("; version=1; order=dfs; dups=y"), &often, "y"),
        ("", accept(";version=1;order=dfs;dups=y"), &often, "y"),
        ("", accept("; version=1; order=dfs; dups=n"), &once, "n"),
        ("", accept("; dups=y"), &often, "y"),
        ("", accept("; order=unk"), &once, "n"),
        ("", accept("; version=1"), &once, "n"),
        ("?format=car", accept("; version=1; order=dfs; dups=y"), &often, "y"),
        ("?format=car&car-dups=n", accept("; order=dfs; dups=y"), &once, "n"),
        ("?format=car&car-dups=y", accept("; order=dfs; dups=n"), &often, "y"),
        ("?format=car&car-dups=y", "*/*".into(), &often, "y"),
        ("?format=car&car-order=unk&car-version=1", "*/*".into(), &once, "n"),
        ("?format=car&car-order=dfs&car-dups=y", "text/html".into(), &often, "y"),
    ];
    for (query, accept, expected, dups) in table {
        let answer = fixture.get(&format!("/ipfs/{{}}{query}"), &[("Accept", &accept)]).await.is(200);
        let stated = format!("application/vnd.ipld.car; version=1; order=dfs; dups={dups}");
        answer.blocks(expected).has(&[("content-type", &stated)]);
    }
}

#[tokio::test]
async fn parameters_that_mean_nothing_are_refused() {
    let fixture = Fixture::open(MIXED);
    let table = [
        ("dag-scope=file", CAR),
        ("dag-scope=", CAR),
        ("dag-scope=ALL", CAR),
        ("entity-bytes=", CAR),
        ("entity-bytes=1", CAR),
        ("entity-bytes=a:b", CAR),
        ("entity-bytes=*:1", CAR),
        ("entity-bytes=5:4", CAR),
        ("entity-bytes=-1:-2", CAR),
        ("entity-bytes=0:18446744073709551616", CAR),
        ("car-version=2", CAR),
        ("car-version=one", CAR),
        ("car-order=bfs", CAR),
        ("car-dups=yes", CAR),
        ("", "application/vnd.ipld.car; version=2"),
        ("", "application/vnd.ipld.car; order=bfs"),
        ("", "application/vnd.ipld.car; dups=maybe"),
    ];
    for (query, accept) in table {
        for method in ["GET", "HEAD"] {
            let path = format!("/ipfs/{MULTI}?format=car&{query}");
            fixture.ask(method, &path, &[("Accept", accept)]).await.is(400);
        }
    }
}

#[tokio::test]
async fn what_a_cid_carries_is_no_block() {
    let fixture = Fixture::open(TWO);
    let inline = "bafkqaf3imvwgy3zaneqgc3janfxgy2lomvscay3jmqfa";
    for accept in ["application/vnd.ipld.car; dups=y", "application/vnd.ipld.car; dups=n"] {
        let answer = fixture.get(&format!("/ipfs/{inline}"), &[("Accept", accept)]).await.is(200);
        assert_eq!(answer.archive(), (vec![cid(inline)], Vec::new()));
    }
    // The path that clients probe with.
    for fixture in [Fixture::open(TWO), Fixture::trustless(TWO)] {
        let answer = fixture.get("/ipfs/bafkqaaa?format=car", &[]).await.is(200);
        assert_eq!(answer.archive(), (vec![cid("bafkqaaa")], Vec::new()));
        fixture.ask("HEAD", "/ipfs/bafkqaaa?format=car", &[]).await.is(200).body(b"");
    }
}

#[tokio::test]
async fn entity_tags_differ_where_the_bytes_do() {
    let fixture = Fixture::open(MIXED);
    let mut tags = std::collections::HashMap::new();
    for query in [
        "",
        "&dag-scope=entity",
        "&dag-scope=block",
        "&car-dups=y",
        "&entity-bytes=0:*",
        "&entity-bytes=0:5",
        "&entity-bytes=0:-5",
        "&entity-bytes=-5:*",
        "&entity-bytes=5:*",
    ] {
        for path in ["{}", "{}/subdir", "{}/subdir/multiblock.txt"] {
            let answer = fixture.get(&format!("/ipfs/{path}?format=car{query}"), &[]).await.is(200);
            let tag = answer.header("etag").to_owned();
            let start = format!("W/\"{}.car.", fixture.root);
            assert!(tag.starts_with(&start) && tag.ends_with('"'), "{tag}");
            let other = tags.insert(tag.clone(), (path, query));
            assert_eq!(other, None, "{path}{query}");
            let known = fixture.get(&answer.path, &[("If-None-Match", &tag)]).await.is(304).body(b"");
            assert_eq!(known.header("etag"), tag);
            known.has(&[("content-type", ""), ("content-length", "")]);
        }
    }
    // What means the same has the same tag.
    let same = ["?format=car", "?format=car&dag-scope=all", "?format=car&car-order=dfs&car-dups=n"];
    let mut found = Vec::new();
    for query in same {
        found.push(fixture.get(&format!("/ipfs/{{}}{query}"), &[]).await.is(200).header("etag").to_owned());
    }
    assert!(found.iter().all(|tag| *tag == found[0]), "{found:?}");
}

#[tokio::test]
async fn an_archive_says_where_it_is_from() {
    let fixture = Fixture::open(MIXED);
    let (root, dir) = (fixture.root, fixture.at("subdir"));
    let answer = fixture.get("/ipfs/{}/subdir/multiblock.txt?format=car", &[]).await.is(200);
    assert_eq!(answer.archive().0, [cid(MULTI)]);
    answer.has(&[
        ("cache-control", "public, max-age=29030400, immutable"),
        ("x-ipfs-path", &format!("/ipfs/{root}/subdir/multiblock.txt")),
        ("x-ipfs-roots", &format!("{root},{dir},{MULTI}")),
        ("content-disposition", &{
            format!("attachment; filename=\"{MULTI}.car\"; filename*=UTF-8''{MULTI}.car")
        }),
        ("access-control-allow-origin", "*"),
    ]);
    let named = fixture.get("/ipfs/{}?format=car&filename=name.car&dag-scope=block", &[]).await.is(200);
    named.has(&[("content-disposition", "attachment; filename=\"name.car\"; filename*=UTF-8''name.car")]);
    // Ranges of HTTP mean nothing in an archive.
    let ranged = fixture.get("/ipfs/{}?format=car&dag-scope=block", &[("Range", "bytes=0-3")]).await.is(200);
    ranged.blocks(&[root]).has(&[("content-range", "")]);
    // A representation that Accept chose says where it is to be had without.
    let chosen = fixture.get("/ipfs/{}/subdir", &[("Accept", CAR)]).await.is(200);
    let location = chosen.header("content-location").to_owned();
    assert!(
        location.starts_with(&format!("/ipfs/{root}/subdir?")) && location.contains("format=car"),
        "{location}"
    );
    assert!(chosen.header("vary").contains("Accept"), "{}", chosen.header("vary"));
    fixture.get(&location, &[]).await.is(200).blocks(&chosen.archive().1);
}

#[tokio::test]
async fn only_what_is_here_is_asked_for() {
    let fixture = Fixture::open(TWO);
    let only = [("Cache-Control", "only-if-cached")];
    for method in ["GET", "HEAD"] {
        fixture.ask(method, "/ipfs/{}?format=car", &only).await.is(200);
        fixture.ask(method, &format!("/ipfs/{ABSENT}?format=car"), &only).await.is(412).body(b"");
    }
}

#[tokio::test]
async fn symlinks_and_names_of_all_kinds_are_walked() {
    let fixture = Fixture::open(SYMLINK);
    each_way(&fixture, "/ipfs/{}/bar", &[fixture.root, fixture.at("bar")]).await;
    each_way(&fixture, "/ipfs/{}/bar?dag-scope=entity", &[fixture.root, fixture.at("bar")]).await;
    fixture.get("/ipfs/{}/bar/deeper?format=car", &[]).await.is(404);

    let fixture = Fixture::open(LISTING);
    let way = [fixture.root, fixture.at("ą"), fixture.at("ą/ę"), fixture.at("ą/ę/file-źł.txt")];
    each_way(&fixture, "/ipfs/{}/%C4%85/%C4%99/file-%C5%BA%C5%82.txt", &way).await;
    // What looks like a namespace is an entry.
    each_way(&fixture, "/ipfs/{}/ipfs", &[fixture.root, fixture.at("ipfs"), fixture.at("ipfs/file.txt")])
        .await;

    let fixture = Fixture::open(PERCENT);
    let name = "Portugal%2C+España=Peninsula Ibérica.txt";
    let path = "/ipfs/{}/Portugal%252C+Espa%C3%B1a=Peninsula%20Ib%C3%A9rica.txt";
    each_way(&fixture, path, &[fixture.root, fixture.at(name)]).await;
}

#[tokio::test]
async fn a_gateway_that_interprets_nothing_serves_archives_of_paths() {
    let fixture = Fixture::trustless(TWO);
    let way = [fixture.root, fixture.at("subdir"), cid(ASCII)];
    each_way(&fixture, "/ipfs/{}/subdir/ascii.txt", &way).await;
    // A request that says nothing of a form has none here; one that wants HTML neither.
    fixture.get("/ipfs/{}/subdir/ascii.txt", &[]).await.is(400);
    fixture.get("/ipfs/{}/subdir/ascii.txt", &[("Accept", "text/html")]).await.is(406);
    for format in ["tar", "dag-json", "dag-cbor", "json", "cbor"] {
        fixture.get(&format!("/ipfs/{{}}?format={format}"), &[]).await.is(406);
    }
}
