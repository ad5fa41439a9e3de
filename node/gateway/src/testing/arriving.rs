//! A node to which content comes block by block, as a test lets it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use pop_dag::{BlockSource, Buf, Cid, Memory, SourceError};
use pop_units::Bytes;
use tokio::sync::watch;

use crate::content::{Arrival, Blocks, Content, Intake, Miss, Offer, Order, Retrieval, UploadError, Wanted};

/// A node that retrieves whatever is asked for, as it comes.
pub(crate) struct Arriving {
    /// What is here.
    here: Arc<RwLock<Memory>>,
    /// What has come.
    come: Arc<RwLock<Memory>>,
    arrival: watch::Sender<Arrival>,
    asked: AtomicUsize,
    /// Held by each retrieval.
    stay: Arc<()>,
    /// What a retrieval is refused with.
    refuses: Option<Miss>,
}

/// What is here and what has come.
struct Both(Arc<RwLock<Memory>>, Arc<RwLock<Memory>>);

impl BlockSource for Both {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        match self.0.read().unwrap().block(cid)? {
            Some(block) => Ok(Some(block)),
            None => self.1.read().unwrap().block(cid),
        }
    }
}

impl Arriving {
    /// Returns a node that has these blocks.
    pub(crate) fn new(here: Memory) -> Self {
        Self {
            here: Arc::new(RwLock::new(here)),
            come: Arc::default(),
            arrival: watch::Sender::new(Arrival::default()),
            asked: AtomicUsize::new(0),
            stay: Arc::new(()),
            refuses: None,
        }
    }

    /// Returns a node that retrieves nothing, and why.
    pub(crate) fn refusing(miss: Miss) -> Self {
        Self { refuses: Some(miss), ..Self::new(Memory::new()) }
    }

    /// Lets a block of `from` come.
    pub(crate) fn arrive(&self, cid: &Cid, from: &Memory) {
        let data = from.block(cid).unwrap().unwrap();
        self.come.write().unwrap().insert(pop_dag::Block::verified(*cid, data).unwrap());
        self.arrival.send_modify(|arrival| arrival.bytes = arrival.bytes.saturating_add(Bytes::new(1)));
    }

    /// Ends the retrieval.
    pub(crate) fn end(&self, how: Result<(), Miss>) {
        self.arrival.send_modify(|arrival| arrival.ended = Some(how));
    }

    /// Returns how often a retrieval was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Returns how many hold on to a retrieval.
    pub(crate) fn staying(&self) -> usize {
        Arc::strong_count(&self.stay) - 1
    }
}

#[async_trait]
impl Content for Arriving {
    fn blocks(&self) -> Blocks {
        Arc::new(Both(Arc::clone(&self.here), Arc::default()))
    }

    fn removals(&self) -> u64 {
        0
    }

    async fn retrieve(&self, _wanted: Wanted) -> Result<Retrieval, Miss> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(miss) = &self.refuses {
            return Err(miss.clone());
        }
        Ok(Retrieval {
            blocks: Arc::new(Both(Arc::clone(&self.here), Arc::clone(&self.come))),
            arrival: self.arrival.subscribe(),
            stay: Box::new(Arc::clone(&self.stay)),
        })
    }

    fn price(&self, _root: &Cid) -> Option<Offer> {
        None
    }

    fn served(&self, _root: &Cid, _size: Bytes, _to: IpAddr) {}

    async fn receive(&self, _order: Order) -> Result<Box<dyn Intake>, UploadError> {
        Err(UploadError::Stopped)
    }
}
