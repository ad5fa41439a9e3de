//! A node to which content comes block by block, as a test lets it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, RwLock};

use async_trait::async_trait;
use pop_dag::{BlockSource, Buf, Cid, Memory, SourceError};
use pop_units::Bytes;
use tokio::sync::watch;

use crate::content::{
    Arrival, Blocks, Content, Hold, Intake, Miss, Offer, Order, Retrieval, UploadError, Wanted,
};

/// A node that retrieves whatever is asked for, as it comes.
pub(crate) struct Arriving {
    /// What is here.
    here: Arc<RwLock<Memory>>,
    /// What has come.
    come: Arc<RwLock<Memory>>,
    arrival: watch::Sender<Arrival>,
    /// What retrievals were asked for.
    wanted: Mutex<Vec<Wanted>>,
    /// Held by each retrieval.
    stay: Arc<()>,
    /// What a retrieval is refused with.
    refuses: Option<Miss>,
    /// How the first retrievals end, which were begun for more.
    wider: Vec<Miss>,
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
            wanted: Mutex::default(),
            stay: Arc::new(()),
            refuses: None,
            wider: Vec::new(),
        }
    }

    /// Returns a node that retrieves nothing, and why.
    pub(crate) fn refusing(miss: Miss) -> Self {
        Self { refuses: Some(miss), ..Self::new(Memory::new()) }
    }

    /// Returns a node whose first retrievals are for more than is wanted, and fail.
    pub(crate) fn failing_wider(wider: Vec<Miss>) -> Self {
        Self { wider, ..Self::new(Memory::new()) }
    }

    /// Lets all that lies below a CID come.
    pub(crate) fn arrive_all(&self, root: &Cid, from: &Memory) {
        let mut come = |cid: &Cid, _: &Buf| {
            self.arrive(cid, from);
            Ok(())
        };
        pop_dag::walk::run(*root, &pop_dag::Scope::all(), from, &mut come).unwrap();
    }

    /// Makes a step forward that brings nothing.
    pub(crate) fn step(&self) {
        self.arrival.send_modify(|arrival| arrival.bytes = arrival.bytes.saturating_add(Bytes::new(1)));
    }

    /// Lets a block of `from` come.
    pub(crate) fn arrive(&self, cid: &Cid, from: &Memory) {
        let data = from.block(cid).unwrap().unwrap();
        self.come.write().unwrap().insert(pop_dag::Block::verified(*cid, data).unwrap());
        self.step();
    }

    /// Ends the retrieval.
    pub(crate) fn end(&self, how: Result<(), Miss>) {
        self.arrival.send_modify(|arrival| arrival.ended = Some(how));
    }

    /// Returns how often a retrieval was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.wanted().len()
    }

    /// Returns what retrievals were asked for.
    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        self.wanted.lock().unwrap().clone()
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

    fn hold(&self, _root: &Cid) -> Option<Hold> {
        None
    }

    async fn retrieve(&self, wanted: Wanted) -> Result<Retrieval, Miss> {
        let mut asked = self.wanted.lock().unwrap();
        let wider = self.wider.get(asked.len()).cloned();
        asked.push(wanted);
        if let Some(miss) = &self.refuses {
            return Err(miss.clone());
        }
        let is_wider = wider.is_some();
        let (come, arrival) = match wider {
            None => (Arc::clone(&self.come), self.arrival.subscribe()),
            Some(miss) => {
                let arrival = Arrival { bytes: Bytes::ZERO, ended: Some(Err(miss)) };
                (Arc::default(), watch::Sender::new(arrival).subscribe())
            }
        };
        Ok(Retrieval {
            blocks: Arc::new(Both(Arc::clone(&self.here), come)),
            arrival,
            is_wider,
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
