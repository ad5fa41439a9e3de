use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use pop_dag::codec::{cbor, json};
use pop_dag::{Block, BlockSource, Buf, Cid, Codec, Memory, Value};

use crate::answer::directory::tests::{compare, read};
use crate::page;
use crate::site::Site;
use crate::testing::{get, site};

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// A block of a codec that is no kind of [`Codec`].
fn plain(code: u64, data: &'static [u8], memory: &mut Memory) -> Cid {
    let raw = Block::of(Codec::Raw, Buf::from_static(data));
    let cid = Cid::new_v1(code, *raw.cid().hash());
    memory.insert(raw);
    cid
}

fn block(codec: Codec, data: impl Into<Buf>, memory: &mut Memory) -> Cid {
    let block = Block::of(codec, data.into());
    let cid = *block.cid();
    memory.insert(block);
    cid
}

fn map(entries: Vec<(&str, Value)>) -> Value {
    let entries = entries.into_iter().map(|(key, value)| (key.into(), value)).collect();
    Value::Map(pop_dag::codec::Map::new(entries).unwrap())
}

/// A value of every kind.
fn sample(link: Cid) -> Value {
    map(vec![
        ("a", Value::List([Value::Null, Value::Bool(true), Value::Unsigned(7), Value::Negative(0)].into())),
        ("float", Value::Float(1.5)),
        ("<b>\"key\"", Value::Text("</pre><script>alert(1)</script>\n\u{202e}x".into())),
        ("bytes", Value::Bytes((0..100).collect())),
        ("link", Value::Link(Box::new(link))),
        ("empty", Value::List([].into())),
        ("deeper", map(vec![("yes", map(vec![]))])),
    ])
}

async fn get_from(site: &Arc<Site>, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
    let (status, headers, body) = get(site, "GET", path, headers).await;
    (status, headers, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn a_block_is_given_as_it_is_or_not_at_all() {
    let mut memory = Memory::new();
    let value = map(vec![("hello", Value::Text("world".into()))]);
    let dag_json = block(Codec::DagJson, json::encode(&value).unwrap(), &mut memory);
    let dag_cbor = block(Codec::DagCbor, cbor::encode(&value).unwrap(), &mut memory);
    let plain_json = plain(0x0200, b"{\"hello\": \"plain\"}", &mut memory);
    let plain_cbor = plain(0x51, b"\xa1ahac", &mut memory);
    let dir = block(Codec::DagPb, vec![0x0a, 2, 8, 1], &mut memory);
    let site = site(memory.clone());
    let none = ("", "", "");
    let rows = [
        (dag_json, "", ("application/vnd.ipld.dag-json", "dag-json", "inline")),
        (dag_json, "dag-json", ("application/vnd.ipld.dag-json", "dag-json", "inline")),
        (dag_json, "json", ("application/json", "json", "inline")),
        (dag_json, "dag-cbor", none),
        (dag_json, "cbor", none),
        (dag_cbor, "", ("application/vnd.ipld.dag-cbor", "dag-cbor", "attachment")),
        (dag_cbor, "dag-cbor", ("application/vnd.ipld.dag-cbor", "dag-cbor", "attachment")),
        (dag_cbor, "cbor", ("application/cbor", "cbor", "attachment")),
        (dag_cbor, "dag-json", none),
        (dag_cbor, "json", none),
        (plain_json, "", ("application/json", "json", "inline")),
        (plain_json, "json", ("application/json", "json", "inline")),
        (plain_json, "dag-json", none),
        (plain_cbor, "", ("application/cbor", "cbor", "attachment")),
        (plain_cbor, "cbor", ("application/cbor", "cbor", "attachment")),
        (plain_cbor, "dag-cbor", none),
        (dir, "dag-json", none),
        (dir, "dag-cbor", none),
        (dir, "cbor", none),
    ];
    for (cid, format, (kind, suffix, disposition)) in rows {
        let query = if format.is_empty() { String::new() } else { format!("?format={format}") };
        let (status, headers, body) = get(&site, "GET", &format!("/ipfs/{cid}{query}"), &[]).await;
        if kind.is_empty() {
            assert_eq!(status, StatusCode::NOT_ACCEPTABLE, "{cid} as {format}");
            assert!(String::from_utf8(body).unwrap().contains("format=raw"));
            continue;
        }
        let extension = if suffix.ends_with("json") { "json" } else { "cbor" };
        assert_eq!(status, StatusCode::OK, "{cid} as {format}");
        assert_eq!(header(&headers, "content-type"), kind);
        assert_eq!(header(&headers, "etag"), format!("\"{cid}.{suffix}\""));
        assert_eq!(header(&headers, "cache-control"), "public, max-age=29030400, immutable");
        let name = format!("{disposition}; filename=\"{cid}.{extension}\"");
        assert!(header(&headers, "content-disposition").starts_with(&name));
        assert_eq!(header(&headers, "content-length"), body.len().to_string());
        assert_eq!(Some(body), memory.block(&cid).unwrap().map(|data| data.to_vec()));
    }
}

#[tokio::test]
async fn ranges_conditions_and_names_are_those_of_files() {
    let mut memory = Memory::new();
    let cid = block(Codec::DagJson, &b"{\"hello\":\"world\"}"[..], &mut memory);
    let site = site(memory);
    let path = format!("/ipfs/{cid}");
    let (status, headers, body) = get_from(&site, &path, &[("range", "bytes=2-6")]).await;
    assert_eq!((status, &*body), (StatusCode::PARTIAL_CONTENT, "hello"));
    assert_eq!(header(&headers, "content-range"), "bytes 2-6/17");
    assert_eq!(get_from(&site, &path, &[("range", "bytes=17-")]).await.0, StatusCode::RANGE_NOT_SATISFIABLE);
    let tag = format!("\"{cid}.dag-json\"");
    assert_eq!(get_from(&site, &path, &[("if-none-match", &tag)]).await.0, StatusCode::NOT_MODIFIED);
    let (status, headers, body) = get(&site, "HEAD", &path, &[("range", "bytes=2-6")]).await;
    assert_eq!((status, body.len(), header(&headers, "content-length")), (StatusCode::OK, 0, "17"));
    let (_, headers, _) = get_from(&site, &format!("{path}?filename=a.json&download=true"), &[]).await;
    assert!(header(&headers, "content-disposition").starts_with("attachment; filename=\"a.json\""));
}

#[tokio::test]
async fn a_path_that_ends_inside_a_block_is_not_implemented() {
    let (root, memory) = read("trustless_gateway_car/dir-with-dag-cbor-with-links.car");
    let document =
        pop_dag::unixfs::list(&root, &memory).unwrap().into_iter().find(|entry| entry.name == "document");
    let value = memory.block(&document.as_ref().unwrap().cid).unwrap().unwrap();
    let value = pop_dag::codec::decode(Codec::DagCbor, &value).unwrap();
    let Value::Map(map) = &value else { panic!("{value:?}") };
    let inside =
        map.iter().find(|(_, value)| !matches!(value, Value::Link(_))).map(|(key, _)| key.to_owned());
    let site = site(memory);
    let path = format!("/ipfs/{root}/document/{}", inside.unwrap());
    for query in ["", "?format=dag-cbor", "?format=dag-json"] {
        let (status, _, body) = get_from(&site, &format!("{path}{query}"), &[]).await;
        assert_eq!(status, StatusCode::NOT_IMPLEMENTED);
        assert!(
            body.contains("reading IPLD Kinds other than Links (CBOR Tag 42) is not implemented"),
            "{body}"
        );
    }
    let (status, ..) = get_from(&site, &format!("/ipfs/{root}/document/i-do-not-exist"), &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn browsers_look_at_values_on_a_page() {
    let mut memory = Memory::new();
    let link = block(Codec::Raw, &b"linked"[..], &mut memory);
    let value = sample(link);
    let cids =
        [(Codec::DagCbor, cbor::encode(&value).unwrap()), (Codec::DagJson, json::encode(&value).unwrap())];
    let cids = cids.map(|(codec, data)| block(codec, data, &mut memory));
    let site = site(memory);
    for cid in cids {
        let (status, headers, _) = get_from(&site, &format!("/ipfs/{cid}"), &[BROWSER]).await;
        let location = format!("/ipfs/{cid}/");
        assert_eq!((status, header(&headers, "location")), (StatusCode::MOVED_PERMANENTLY, &*location));
        let (status, headers, page) = get_from(&site, &location, &[BROWSER, ("range", "bytes=0-3")]).await;
        let tag = format!("\"DagIndex-{}_CID-{cid}\"", *page::VERSION);
        assert_eq!((status, header(&headers, "etag")), (StatusCode::OK, &*tag));
        assert!(header(&headers, "content-type").starts_with("text/html"));
        assert!(!headers.contains_key("content-disposition"));
        assert_eq!(header(&headers, "vary"), "Accept");
        assert!(page.contains("</html>") && page.contains(&format!("<a href=\"/ipfs/{link}\">{link}</a>")));
        assert!(!page.contains("<script") && !page.contains('\u{202e}'), "{page}");
        let known = [BROWSER, ("if-none-match", &*tag)];
        assert_eq!(get_from(&site, &location, &known).await.0, StatusCode::NOT_MODIFIED);
        let (_, headers, _) = get_from(&site, &format!("{location}?download=true"), &[BROWSER]).await;
        assert!(header(&headers, "content-disposition").starts_with("attachment"));
    }
    compare("value.html", &get_from(&site, &format!("/ipfs/{}/", cids[0]), &[BROWSER]).await.2);
    let host = format!("{}.ipfs.localhost:8080", cids[0]);
    let (_, _, page) = get_from(&site, "/", &[BROWSER, ("host", &host)]).await;
    assert!(page.contains(&format!("<a href=\"//localhost:8080/ipfs/{link}\">")), "{page}");
}

#[tokio::test]
async fn a_page_is_small_whatever_the_block() {
    let mut memory = Memory::new();
    let deep = (0..100).fold(Value::Null, |value, _| Value::List([value].into()));
    let wide = Value::List((0..200_000).map(|_| Value::Null).collect());
    let text = Value::Text("\u{1}".repeat(200_000).into());
    let values =
        [deep, wide, text].map(|value| block(Codec::DagCbor, cbor::encode(&value).unwrap(), &mut memory));
    let huge =
        block(Codec::DagCbor, cbor::encode(&Value::Bytes(vec![0; 300_000].into())).unwrap(), &mut memory);
    let broken = block(Codec::DagCbor, &b"\xff"[..], &mut memory);
    let site = site(memory);
    for cid in values {
        let (status, _, page) = get_from(&site, &format!("/ipfs/{cid}/"), &[BROWSER]).await;
        assert!(status == StatusCode::OK && page.len() < 1 << 20, "{}", page.len());
        assert!(page.contains("not all of the block"), "{page}");
    }
    let (_, _, page) = get_from(&site, &format!("/ipfs/{huge}/"), &[BROWSER]).await;
    assert!(page.contains("not shown"), "{page}");
    let (status, _, page) = get_from(&site, &format!("/ipfs/{broken}/"), &[BROWSER]).await;
    assert!(status != StatusCode::OK || page.contains("breaks the rules"), "{page}");
}
