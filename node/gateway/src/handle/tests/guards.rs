use super::*;
use crate::content::{Content, Miss};
use crate::testing::arriving::Arriving;
use crate::testing::dag;

/// Where nothing is.
const GONE: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";

/// Returns a gateway that looks for content elsewhere, for programs of its own machine.
pub(super) fn fetching(content: &Arc<Arriving>, serves: Serves) -> Arc<Site> {
    let content: Arc<dyn Content> = content.clone();
    let nets = ["127.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap());
    Arc::new(Site::new(Settings { serves, fetch_for: nets.to_vec(), ..settings() }, content))
}

/// Returns a gateway with an empty deny list.
fn denying(blocks: Memory) -> (tempfile::TempDir, Arc<Site>) {
    let dir = tempfile::tempdir().unwrap();
    let deny = dir.path().join("deny");
    std::fs::write(&deny, "").unwrap();
    let site = site_with(Settings { lists: Lists { deny: Some(deny), allow: None }, ..settings() }, blocks);
    site.lists.load(Instant::now()).unwrap();
    (dir, site)
}

/// Puts one line on the deny list.
fn deny(dir: &tempfile::TempDir, site: &Site, line: &str) {
    std::fs::write(dir.path().join("deny"), line).unwrap();
    site.lists.load(Instant::now()).unwrap();
}

async fn status(site: &Arc<Site>, path: &str) -> u16 {
    get(site, "GET", path, &[]).await.0.as_u16()
}

#[tokio::test]
async fn nobody_leads_the_node_to_buy() {
    let content = Arc::new(Arriving::refusing(Miss::NotFound { tried: "nobody".into() }));
    // Nobody is sent on to a subdomain here.
    let site = fetching(&content, Serves::Trustless);
    let below = format!("{GONE}.ipfs.dweb.test");
    let cases: &[(&[(&str, &str)], bool)] = &[
        (&[], true),
        (&[("Host", "localhost:8080"), ("Accept", "application/vnd.ipld.raw")], true),
        (&[("Host", "[::1]:8080")], true),
        (&[("Host", "192.0.2.1")], true),
        (&[("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate")], true),
        (&[("Sec-Fetch-Site", "same-origin")], true),
        (&[("Origin", "http://127.0.0.1:8080")], true),
        (&[("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", "dweb.test")], true),
        // Pages of others.
        (&[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")], false),
        (&[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")], false),
        (&[("Sec-Fetch-Site", "same-site")], false),
        (&[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")], false),
        (&[("Origin", "https://evil.example")], false),
        (&[("Origin", "http://127.0.0.1:3000")], false),
        (&[("Origin", "null")], false),
        // Names that lead here.
        (&[("Host", "evil.example")], false),
        (&[("Host", "localhost.evil.example:8080")], false),
        (&[("Host", "notdweb.test")], false),
        (&[("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", "evil.example")], false),
        // Proxies that do not say for whom they ask.
        (&[("Via", "1.1 cache")], false),
        (&[("Forwarded", "for=203.0.113.9")], false),
        (&[("X-Real-IP", "203.0.113.9")], false),
        (&[("X-Forwarded-For", "unknown")], false),
        (&[("X-Forwarded-For", "203.0.113.9")], false),
    ];
    for (headers, may) in cases {
        let before = content.asked();
        let path = format!("/ipfs/{GONE}?format=raw");
        assert_eq!(get(&site, "GET", &path, headers).await.0, 404, "{headers:?}");
        assert_eq!(content.asked() - before, usize::from(*may), "{headers:?}");
    }
    let before = content.asked();
    assert_eq!(get(&site, "GET", "/?format=raw", &[("Host", &below)]).await.0, 404);
    assert_eq!(content.asked() - before, 1);
    // A proxy on this machine that nobody named.
    let site = {
        let content: Arc<dyn Content> = content.clone();
        let nets = vec!["127.0.0.0/8".parse().unwrap()];
        Arc::new(Site::new(Settings { fetch_for: nets, proxies: Vec::new(), ..settings() }, content))
    };
    let before = content.asked();
    get(&site, "GET", &format!("/ipfs/{GONE}"), &[("X-Forwarded-For", "127.0.0.1")]).await;
    assert_eq!(content.asked() - before, 0);
    get(&site, "GET", &format!("/ipfs/{GONE}"), &[]).await;
    assert_eq!(content.asked() - before, 1);
}

#[tokio::test]
async fn nothing_is_fetched_for_parameters_that_mean_nothing() {
    let content = Arc::new(Arriving::refusing(Miss::NotFound { tried: "nobody".into() }));
    let site = fetching(&content, Serves::Everything);
    for wrong in ["dag-scope=some", "entity-bytes=x", "car-version=2", "car-order=bfs", "car-dups=maybe"] {
        assert_eq!(status(&site, &format!("/ipfs/{GONE}?format=car&{wrong}")).await, 400, "{wrong}");
    }
    assert_eq!(content.asked(), 0);
}

#[tokio::test]
async fn the_price_is_told_before_anything_is_looked_for() {
    let mut fake = Fake::new(Memory::new());
    let root = crate::request::cid::parse(GONE).unwrap();
    fake.price = Some(Offer {
        root,
        size: Bytes::new(5),
        price: PricePerByte::per_gib(AttoFil::new(2)),
        cost: AttoFil::new(10),
        providers: Vec::new(),
        payee: None,
        chain: None,
        expires: None,
    });
    let site = Arc::new(Site::new(settings(), Arc::new(fake)));
    let stranger = IpAddr::from([203, 0, 113, 9]);
    let sent = request("GET", &format!("/ipfs/{GONE}"), &[]);
    assert_eq!(handle(site, sent, stranger).await.status(), 402);
}

#[tokio::test]
async fn a_second_form_is_of_the_same_retrieval() {
    let Small { blocks, root, .. } = small();
    let content = Arc::new(Arriving::new(Memory::new()));
    let root_cid = crate::request::cid::parse(&root).unwrap();
    let found = resolve::follow(&blocks, root_cid, &["a.txt".to_owned()]).unwrap();
    content.arrive(&root_cid, &blocks);
    content.arrive(&found.cid, &blocks);
    let site = fetching(&content, Serves::Everything);
    let both = [("Accept", "application/json, text/plain, */*")];
    let (code, headers, body) = get(&site, "GET", &format!("/ipfs/{root}/a.txt"), &both).await;
    assert_eq!((code.as_u16(), body.as_slice()), (200, b"hello".as_slice()));
    assert_eq!(text(&headers, "cache-status"), "pop; fwd=uri-miss; stored");
    assert_eq!(content.asked(), 1);
}

#[tokio::test]
async fn archives_hold_nothing_that_is_denied_by_its_path() {
    let Small { blocks, root, below, .. } = small();
    let (dir, site) = denying(blocks);
    let asked = async |path: &str| status(&site, &format!("/ipfs/{root}{path}")).await;
    for (line, top) in
        [(format!("/ipfs/{root}/sub/index.html"), 410), (format!("/ipfs/{below}/index.html 451"), 451)]
    {
        deny(&dir, &site, &line);
        for form in ["format=car", "format=tar"] {
            assert_eq!(asked(&format!("/sub?{form}")).await, top, "{line} {form}");
            assert_eq!(asked(&format!("/sub/b%20c.txt?{form}")).await, 200, "{line} {form}");
            assert_eq!(asked(&format!("/a.txt?{form}")).await, 200, "{line} {form}");
            // It is met on the way, before the head of so small an archive.
            assert_eq!(asked(&format!("?{form}")).await, top, "{line} {form}");
        }
        for part in ["entity", "block"] {
            assert_eq!(asked(&format!("/sub?format=car&dag-scope={part}")).await, 200, "{line} {part}");
        }
    }
}

#[tokio::test]
async fn rules_hold_behind_links_of_several_segments() {
    let mut blocks = Memory::new();
    let file = dag::raw(b"hello", &mut blocks);
    let below = dag::dir(&[("f", file), ("g", file)], &mut blocks);
    let json = format!("{{\"to\":[1,{{\"/\":\"{below}\"}}]}}");
    let value = dag::block(Codec::DagJson, json.as_bytes(), &mut blocks);
    let (dir, site) = denying(blocks);
    for line in [format!("/ipfs/{below}/f"), format!("/ipfs/{value}/to/1/f")] {
        deny(&dir, &site, &line);
        assert_eq!(status(&site, &format!("/ipfs/{value}/to/1/f")).await, 410, "{line}");
        assert_eq!(status(&site, &format!("/ipfs/{value}/to/1/g")).await, 200, "{line}");
    }
}

#[tokio::test]
async fn what_is_denied_is_not_remembered() {
    let mut blocks = Memory::new();
    let bytes = dag::content(200_000);
    let file = dag::file(&bytes, 100, &mut blocks);
    let page = dag::raw(b"<p>page", &mut blocks);
    let folder = dag::dir(&[("index.html", page), ("large", file)], &mut blocks);
    let data = pop_dag::BlockSource::block(&blocks, &file).unwrap().unwrap();
    let node = pop_dag::links(&file, &data).unwrap()[0];
    assert!(!pop_dag::is_leaf(&node), "the file has nodes below its root");
    let (dir, site) = denying(blocks);
    let large = format!("/ipfs/{folder}/large");
    let index = format!("/ipfs/{folder}/");
    let tag = format!("\"{folder}\"");
    for _ in 0..2 {
        deny(&dir, &site, "");
        // Twice, so that all is remembered that will be.
        for _ in 0..2 {
            assert_eq!(get(&site, "GET", &large, &[]).await.2.len(), bytes.len());
            assert_eq!(status(&site, &index).await, 200);
        }
        deny(&dir, &site, &node.to_string());
        assert_eq!(status(&site, &large).await, 410);
        deny(&dir, &site, &page.to_string());
        for headers in [vec![], vec![("If-None-Match", tag.as_str())]] {
            assert_eq!(get(&site, "GET", &index, &headers).await.0, 410);
            assert_eq!(get(&site, "HEAD", &index, &headers).await.0, 410);
        }
        deny(&dir, &site, &folder.to_string());
        assert_eq!((status(&site, &large).await, status(&site, &index).await), (410, 410));
    }
}

#[tokio::test]
async fn redirects_to_the_slash_depend_on_what_is_accepted() {
    let Small { mut blocks, root, .. } = small();
    let value = dag::block(Codec::DagJson, b"{\"a\":1}", &mut blocks);
    let site = site(blocks);
    for path in [format!("/ipfs/{root}/sub"), format!("/ipfs/{value}")] {
        let (status, headers, _) = get(&site, "GET", &path, &[("Accept", "text/html")]).await;
        assert_eq!((status.as_u16(), text(&headers, "vary").as_str()), (301, "Accept"), "{path}");
    }
}
