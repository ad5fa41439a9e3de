//! What the gateway specifications state, shown on the archives that others publish for it.
//!
//! The cases are written from the texts of the path and the trustless gateway (2026-03-05) and of IPIP-0402,
//! -0412, -0523 and -0524, and over the archives of `testdata/gateway`.
//!
//! Left out, as no archive here has them or this gateway does not: IPNS and DNSLink (`format=ipns-record`,
//! `/ipns/…`, `Last-Modified` of names), `_redirects` files, names with slashes inside a tar (the archives that
//! show them are not among ours; built ones are in the tests of tar), dag-json, json and cbor documents, several
//! ranges in one answer (one is served, which the specification allows), and what only a real socket shows.
//! Subdomains are shown where requests are read.

mod car;
mod path;
mod raw;
mod tar;

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use pop_dag::car::CarReader;
use pop_dag::codec::pb;
use pop_dag::{Block, Cid, Codec, Memory};

use crate::settings::{Serves, Settings};
use crate::site::Site;
use crate::testing;

const TWO: &str = "trustless_gateway_car/subdir-with-two-single-block-files.car";
const MIXED: &str = "trustless_gateway_car/subdir-with-mixed-block-files.car";
const DOUBLE: &str = "trustless_gateway_car/dir-with-duplicate-files.car";
const DOCUMENT: &str = "trustless_gateway_car/dir-with-dag-cbor-with-links.car";
const SHARDED: &str = "trustless_gateway_car/single-layer-hamt-with-multi-block-files.car";
const HOLE: &str = "trustless_gateway_car/file-3k-and-3-blocks-missing-block.car";
const RAW: &str = "gateway-raw-block.car";
const FILES: &str = "path_gateway_unixfs/dir-with-files.car";
const PERCENT: &str = "path_gateway_unixfs/dir-with-percent-encoded-filename.car";
const SYMLINK: &str = "path_gateway_unixfs/symlink.car";
const LISTING: &str = "dir_listing/fixtures.car";

/// `hello application/vnd.ipld.car\n`.
const ASCII: &str = "bafkreifkam6ns4aoolg3wedr4uzrs3kvq66p4pecirz6y2vlrngla62mxm";
/// `hello world\n`.
const HELLO: &str = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4";
/// A file of 1,026 bytes.
const MULTI: &str = "bafybeigcisqd7m5nf3qmuvjdbakl5bdnh4ocrmacaqkpuh77qjvggmt2sa";
/// Its parts: four of 256 bytes and one of 2.
const PARTS: [&str; 5] = [
    "bafkreie5noke3mb7hqxukzcy73nl23k6lxszxi5w3dtmuwz62wnvkpsscm",
    "bafkreih4ephajybraj6wnxsbwjwa77fukurtpl7oj7t7pfq545duhot7cq",
    "bafkreigu7buvm3cfunb35766dn7tmqyh2um62zcio63en2btvxuybgcpue",
    "bafkreicll3huefkc3qnrzeony7zcfo7cr3nbx64hnxrqzsixpceg332fhe",
    "bafkreifst3pqztuvj57lycamoi7z34b4emf7gawxs74nwrc2c7jncmpaqm",
];
/// What nobody has.
const ABSENT: &str = "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am";

/// An archive and a gateway over its blocks.
struct Fixture {
    root: Cid,
    blocks: Vec<Block>,
    site: Arc<Site>,
}

impl Fixture {
    fn open(name: &str) -> Self {
        Self::with(name, testing::settings())
    }

    /// Opens an archive behind a gateway that runs nothing and interprets nothing.
    fn trustless(name: &str) -> Self {
        Self::with(name, Settings { serves: Serves::Trustless, ..testing::settings() })
    }

    fn with(name: &str, settings: Settings) -> Self {
        let path = format!("{}/../../testdata/gateway/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut car = CarReader::new(std::fs::File::open(path).unwrap()).unwrap();
        let (root, mut blocks, mut memory) = (car.roots()[0], Vec::new(), Memory::new());
        while let Some(block) = car.next_block().unwrap() {
            blocks.push(block.clone());
            memory.insert(block);
        }
        Self { root, blocks, site: testing::site_with(settings, memory) }
    }

    /// Returns the links of a dag-pb block, by name.
    fn links(&self, cid: &Cid) -> Vec<(String, Cid)> {
        let block = self.blocks.iter().find(|block| block.cid() == cid).unwrap();
        let node = pb::Node::decode(block.data()).unwrap();
        node.links.iter().map(|link| (link.name.unwrap_or_default().to_owned(), link.cid)).collect()
    }

    /// Returns what names lead to, below the root, by directories in one block.
    fn at(&self, path: &str) -> Cid {
        path.split('/').filter(|name| !name.is_empty()).fold(self.root, |cid, name| {
            self.links(&cid).into_iter().find(|(found, _)| found == name).unwrap().1
        })
    }

    fn data(&self, cid: &Cid) -> &[u8] {
        self.blocks.iter().find(|block| block.cid() == cid).unwrap().data()
    }

    /// Asks for a path in which `{}` is the root.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let path = path.replace("{}", &self.root.to_string());
        let (head, mut body) = testing::ask(&self.site, method, &path, headers).await.into_parts();
        let (mut bytes, mut whole) = (Vec::new(), true);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        Answer { path, status: head.status, headers: head.headers, body: bytes, whole }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers).await
    }
}

/// What came back.
struct Answer {
    path: String,
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    /// Whether the body ended without an error.
    whole: bool,
}

impl Answer {
    /// Checks the status, and that the body came whole.
    fn is(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]).into_owned();
        assert_eq!(self.status.as_u16(), status, "{}: {text}", self.path);
        assert!(self.whole, "{}: the body broke off", self.path);
        self
    }

    /// Checks headers; an empty value is for one that must not be there.
    fn has(self, headers: &[(&str, &str)]) -> Self {
        for (name, value) in headers {
            assert_eq!(self.header(name), *value, "{}: {name}", self.path);
        }
        self
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn body(self, body: &[u8]) -> Self {
        assert_eq!(
            String::from_utf8_lossy(&self.body),
            String::from_utf8_lossy(body),
            "{}: the body",
            self.path
        );
        self
    }

    /// Reads the body as an archive, with each block hashed; one that broke off as far as it came.
    fn archive(&self) -> (Vec<Cid>, Vec<Cid>) {
        let mut car = CarReader::new(&self.body[..]).unwrap();
        let (roots, mut cids) = (car.roots().to_vec(), Vec::new());
        while let Some(block) = car.next_block().unwrap() {
            cids.push(*block.cid());
        }
        (roots, cids)
    }

    /// Checks that the body is an archive of exactly these blocks, in this order.
    fn blocks(self, expected: &[Cid]) -> Self {
        let (_, found) = self.archive();
        let text = |cids: &[Cid]| cids.iter().map(Cid::to_string).collect::<Vec<_>>();
        assert_eq!(text(&found), text(expected), "{}", self.path);
        self
    }
}

fn cid(text: &str) -> Cid {
    text.parse().unwrap()
}

fn parts(range: std::ops::Range<usize>) -> Vec<Cid> {
    PARTS[range].iter().map(|part| cid(part)).collect()
}

/// The file of several blocks, with all its parts.
fn multi() -> Vec<Cid> {
    [vec![cid(MULTI)], parts(0..5)].concat()
}

fn all(lists: &[&[Cid]]) -> Vec<Cid> {
    lists.concat()
}

#[test]
fn the_archives_are_what_the_cases_say() {
    for (fixture, path, expected) in [
        (TWO, "subdir/ascii.txt", ASCII),
        (TWO, "subdir/hello.txt", HELLO),
        (MIXED, "subdir/multiblock.txt", MULTI),
        (DOUBLE, "ascii.txt", ASCII),
        (DOUBLE, "ascii-copy.txt", ASCII),
    ] {
        assert_eq!(Fixture::open(fixture).at(path), cid(expected), "{fixture} {path}");
    }
    assert_eq!(cid(ASCII).codec(), Codec::Raw.code());
}
