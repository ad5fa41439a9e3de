use std::time::Duration;

use pop_dag::What;

use super::guards::fetching;
use super::*;
use crate::content::Miss;
use crate::testing::arriving::Arriving;
use crate::testing::dag;

/// Returns what was looked for, by the last name of its path.
fn looked_for(content: &Arriving) -> Vec<(String, What)> {
    let name = |path: &[String]| path.last().cloned().unwrap_or_default();
    content.wanted().iter().map(|wanted| (name(&wanted.path), wanted.what)).collect()
}

#[tokio::test]
async fn no_more_is_looked_for_than_the_form_shows() {
    let root = dag::raw(b"nowhere", &mut Memory::new());
    let cases = [
        ("", "*/*", What::Entity),
        ("?format=json", "*/*", What::Entity),
        ("?format=raw", "*/*", What::Block),
        ("", "application/vnd.ipld.raw", What::Block),
        ("?format=dag-cbor", "*/*", What::Block),
        ("?format=tar", "*/*", What::All),
        ("?format=car", "*/*", What::All),
        ("?format=car&dag-scope=entity", "*/*", What::Entity),
        ("?format=car&dag-scope=block", "*/*", What::Block),
        ("?format=car&entity-bytes=0:9", "*/*", What::Entity),
    ];
    for (query, accept, what) in cases {
        let content = Arc::new(Arriving::refusing(Miss::NotFound { tried: "nobody".into() }));
        let site = fetching(&content, Serves::Everything);
        for method in ["GET", "HEAD"] {
            let path = format!("/ipfs/{root}/a{query}");
            let (status, _, _) = get(&site, method, &path, &[("Accept", accept)]).await;
            assert_eq!(status, 404, "{query} {accept}");
        }
        let looked = looked_for(&content);
        assert_eq!(looked, [("a".to_owned(), what), ("a".to_owned(), what)], "{query} {accept}");
    }
}

#[tokio::test]
async fn a_form_that_shows_more_is_looked_for_by_itself() {
    let mut blocks = Memory::new();
    let bytes = dag::content(200_000);
    let file = dag::file(&bytes, 100_000, &mut blocks);
    let root = dag::dir(&[("a.txt", file)], &mut blocks);
    let content = Arc::new(Arriving::new(Memory::new()));
    content.arrive_all(&root, &blocks);
    let site = fetching(&content, Serves::Everything);
    let both = [("Accept", "application/vnd.ipld.dag-cbor, */*")];
    let (code, _, body) = get(&site, "GET", &format!("/ipfs/{root}/a.txt"), &both).await;
    assert!((code.as_u16(), body) == (200, bytes));
    let a = || "a.txt".to_owned();
    assert_eq!(looked_for(&content), [(a(), What::Block), (a(), What::Entity)]);
}

#[tokio::test]
async fn what_an_author_has_for_absent_paths_is_looked_for_as_well() {
    let mut blocks = Memory::new();
    let rules = dag::raw(b"/* /404.html 404", &mut blocks);
    let page = dag::raw(b"<p>my 404", &mut blocks);
    let root = dag::dir(&[("404.html", page), ("_redirects", rules)], &mut blocks);
    let mut here = Memory::new();
    let top = pop_dag::BlockSource::block(&blocks, &root).unwrap().unwrap();
    here.insert(Block::verified(root, top).unwrap());
    let host = format!("{root}.ipfs.localhost");

    let content = Arc::new(Arriving::new(here.clone()));
    content.arrive_all(&root, &blocks);
    let site = fetching(&content, Serves::Everything);
    let (status, headers, body) = get(&site, "GET", "/absent", &[("Host", &host)]).await;
    assert_eq!((status.as_u16(), body.as_slice()), (404, b"<p>my 404".as_slice()));
    assert_eq!(text(&headers, "cache-status"), "pop; fwd=uri-miss; stored");
    let looked: Vec<String> = looked_for(&content).into_iter().map(|(name, _)| name).collect();
    assert_eq!(looked, ["_redirects", "404.html"]);

    // What may be said in place of a refusal and is not here may come: nobody is to remember the refusal.
    let (status, headers, _) = get(&site_with(settings(), here), "GET", "/absent", &[("Host", &host)]).await;
    assert_eq!((status.as_u16(), text(&headers, "cache-control").as_str()), (404, "no-store"));
}

#[tokio::test(start_paused = true)]
async fn content_that_comes_slowly_after_the_head_is_not_cut() {
    let mut blocks = Memory::new();
    let bytes = dag::content(200_000);
    let root = dag::file(&bytes, 100_000, &mut blocks);
    let mut cids = Vec::new();
    pop_dag::walk::run(root, &pop_dag::Scope::all(), &blocks, &mut |cid: &Cid, _: &pop_dag::Buf| {
        cids.push(*cid);
        Ok(())
    })
    .unwrap();
    let content = Arc::new(Arriving::new(Memory::new()));
    let (last, first) = cids.split_last().unwrap();
    first.iter().for_each(|cid| content.arrive(cid, &blocks));
    let site = fetching(&content, Serves::Everything);
    let response = ask(&site, "GET", &format!("/ipfs/{root}"), &[]).await;
    assert_eq!(response.status().as_u16(), 200);
    let slow = async {
        // Far longer in all than a head may take, and each step in time.
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_secs(4)).await;
            content.step();
        }
        content.arrive(last, &blocks);
    };
    let (body, ()) = tokio::join!(axum::body::to_bytes(response.into_body(), usize::MAX), slow);
    assert!(body.unwrap() == bytes);
}
