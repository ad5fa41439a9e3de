//! A gateway over blocks in memory, for tests: no socket, no node.

pub(crate) mod arriving;
pub(crate) mod dag;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use http::{HeaderMap, Request, Response, StatusCode};
use pop_dag::{Block, BlockSink, BlockSource, Buf, Cid, Memory, SinkError, SourceError};
use pop_units::Bytes;

use crate::content::{Blocks, Content, Hold, Intake, Miss, Offer, Order, Retrieval, UploadError, Wanted};
use crate::server::Transport;
use crate::settings::{Limits, Lists, Serves, Settings};
use crate::site::Site;

/// A node that has blocks in memory, fetches nothing and takes no uploads.
#[derive(Default)]
pub(crate) struct Fake {
    blocks: Arc<RwLock<Memory>>,
    /// What everything costs.
    pub(crate) price: Option<Offer>,
    /// Shared by all holds.
    pub(crate) holds: Arc<()>,
}

/// Blocks that can change under a site.
struct Shared(Arc<RwLock<Memory>>);

impl BlockSource for Shared {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        self.0.read().unwrap().block(cid)
    }
}

impl Fake {
    pub(crate) fn new(blocks: Memory) -> Self {
        Self { blocks: Arc::new(RwLock::new(blocks)), price: None, holds: Arc::default() }
    }
}

impl BlockSink for Fake {
    fn accept(&mut self, block: Block) -> Result<(), SinkError> {
        self.blocks.write().unwrap().insert(block);
        Ok(())
    }
}

#[async_trait]
impl Content for Fake {
    fn blocks(&self) -> Blocks {
        Arc::new(Shared(Arc::clone(&self.blocks)))
    }

    fn removals(&self) -> u64 {
        0
    }

    fn hold(&self, _root: &Cid) -> Option<Hold> {
        Some(Box::new(Arc::clone(&self.holds)))
    }

    async fn retrieve(&self, _wanted: Wanted) -> Result<Retrieval, Miss> {
        Err(Miss::Local)
    }

    fn price(&self, _root: &Cid) -> Option<Offer> {
        self.price.clone()
    }

    fn served(&self, _root: &Cid, _size: Bytes, _to: IpAddr) {}

    async fn receive(&self, _order: Order) -> Result<Box<dyn Intake>, UploadError> {
        Err(UploadError::Stopped)
    }
}

/// Settings of a gateway that serves everything it has, with subdomains below `localhost` and `dweb.test`.
pub(crate) fn settings() -> Settings {
    Settings {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        serves: Serves::Everything,
        hosts: vec!["localhost".into(), "dweb.test".into()],
        proxies: vec!["127.0.0.1/32".parse().unwrap()],
        fetch_for: Vec::new(),
        fetch_timeout: Duration::from_secs(5),
        lists: Lists::default(),
        limits: Limits::default(),
        uploads: None,
        access_log: None,
        tls: None,
    }
}

/// Returns a gateway over blocks.
pub(crate) fn site(blocks: Memory) -> Arc<Site> {
    site_with(settings(), blocks)
}

/// Returns a gateway with settings of one's own.
pub(crate) fn site_with(settings: Settings, blocks: Memory) -> Arc<Site> {
    Arc::new(Site::new(settings, Arc::new(Fake::new(blocks))))
}

/// Returns a request; its host is `127.0.0.1:8080` unless a header says otherwise.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("Host", "127.0.0.1:8080");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.extension(Transport { is_tls: false }).body(Body::empty()).unwrap()
}

/// Asks from loopback; the body is not read.
pub(crate) async fn ask(
    site: &Arc<Site>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Response<Body> {
    let from = IpAddr::from(Ipv4Addr::LOCALHOST);
    crate::handle::handle(Arc::clone(site), request(method, path, headers), from).await
}

/// Asks from loopback and reads the body, which has to come whole.
pub(crate) async fn get(
    site: &Arc<Site>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, HeaderMap, Vec<u8>) {
    let (head, body) = ask(site, method, path, headers).await.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("the body comes whole");
    (head.status, head.headers, body.to_vec())
}
