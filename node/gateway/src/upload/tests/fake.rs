//! A node that remembers what it was given.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use http::Request;
use pop_dag::{Block, Buf, Cid, Memory};
use pop_units::Bytes;
use tokio::sync::Notify;

use crate::content::{
    Blocks, Content, Hold, Intake, Miss, Offer, Order, Retrieval, UploadError, Uploaded, Wanted,
};
use crate::settings::{Limits, Lists, Serves, Settings, Uploads};
use crate::site::Site;

pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An upload that was made permanent.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) order: Order,
    pub(crate) root: Cid,
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

#[derive(Default)]
pub(crate) struct Shared {
    kept: Mutex<Vec<Kept>>,
    open: AtomicUsize,
    fails: Option<(&'static str, UploadError)>,
    /// Told when an upload ends.
    pub(crate) ended: Notify,
}

/// A node.
#[derive(Clone, Default)]
pub(crate) struct Fake(pub(crate) Arc<Shared>);

impl Fake {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A node in which one step fails.
    pub(crate) fn failing(at: &'static str, error: UploadError) -> Self {
        Self(Arc::new(Shared { fails: Some((at, error)), ..Shared::default() }))
    }

    pub(crate) fn kept(&self) -> Vec<Kept> {
        self.0.kept.lock().unwrap().clone()
    }

    /// Uploads that are under way.
    pub(crate) fn open(&self) -> usize {
        self.0.open.load(Ordering::SeqCst)
    }

    fn check(&self, at: &str) -> Result<(), UploadError> {
        match &self.0.fails {
            Some((step, error)) if *step == at => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Content for Fake {
    fn blocks(&self) -> Blocks {
        Arc::new(Memory::new())
    }

    fn removals(&self) -> u64 {
        0
    }

    fn hold(&self, _root: &Cid) -> Option<Hold> {
        None
    }

    async fn retrieve(&self, _: Wanted) -> Result<Retrieval, Miss> {
        Err(Miss::Local)
    }

    fn price(&self, _: &Cid) -> Option<Offer> {
        None
    }

    fn served(&self, _: &Cid, _: Bytes, _: IpAddr) {}

    async fn receive(&self, order: Order) -> Result<Box<dyn Intake>, UploadError> {
        self.check("receive")?;
        self.0.open.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Taking { fake: self.clone(), order, files: Vec::new() }))
    }
}

struct Taking {
    fake: Fake,
    order: Order,
    files: Vec<(String, Vec<u8>)>,
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.fake.0.open.fetch_sub(1, Ordering::SeqCst);
        self.fake.0.ended.notify_one();
    }
}

#[async_trait]
impl Intake for Taking {
    async fn file(&mut self, name: &str) -> Result<(), UploadError> {
        self.fake.check("file")?;
        self.files.push((name.to_owned(), Vec::new()));
        Ok(())
    }

    async fn bytes(&mut self, piece: Buf) -> Result<(), UploadError> {
        self.fake.check("bytes")?;
        self.files.last_mut().unwrap().1.extend_from_slice(&piece);
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<Uploaded, UploadError> {
        self.fake.check("commit")?;
        let files = std::mem::take(&mut self.files);
        let content: Vec<u8> = files.iter().flat_map(|(_, content)| content.clone()).collect();
        let size = Bytes::of(&content);
        let root = *Block::of(pop_dag::Codec::Raw, Buf::from(content)).cid();
        self.fake.0.kept.lock().unwrap().push(Kept { order: self.order, root, files });
        Ok(Uploaded { root, size, replication: self.order.replication, entries: Vec::new() })
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        serves: Serves::Everything,
        hosts: Vec::new(),
        proxies: Vec::new(),
        fetch_for: Vec::new(),
        fetch_timeout: std::time::Duration::from_secs(1),
        lists: Lists::default(),
        limits: Limits::default(),
        uploads: Some(Uploads { tokens: None, body: Bytes::GIB, quota: None }),
        access_log: None,
        tls: None,
    }
}

pub(crate) fn site(fake: &Fake, settings: Settings) -> Arc<Site> {
    Arc::new(Site::new(settings, Arc::new(fake.clone())))
}

pub(crate) fn request(headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::post("/").header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}
