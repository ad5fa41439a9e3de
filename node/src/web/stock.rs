//! What the gateway serves: the node's content.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pop_dag::Cid;
use pop_gateway::{Blocks, Content, Intake, Miss, Offer, Order, Retrieval, UploadError, Wanted};
use pop_store::Store;
use pop_units::Bytes;

use super::intake::Intakes;
use super::usage::Usage;
use crate::node::Node;
use crate::pool::Pool;

/// See the module.
pub(super) struct Stock {
    node: Node,
    pub(super) usage: Usage,
    pub(super) intakes: Intakes,
}

impl Stock {
    pub(super) fn new(node: Node) -> Self {
        let intakes = Intakes::new(&node);
        Self { node, usage: Usage::default(), intakes }
    }

    /// Returns where uses are counted, and who does such work.
    pub(super) fn parts(&self) -> (Store, Pool) {
        (self.node.store.clone(), self.node.pool.clone())
    }
}

#[async_trait]
impl Content for Stock {
    fn blocks(&self) -> Blocks {
        Arc::new(self.node.store.clone())
    }

    fn removals(&self) -> u64 {
        self.node.store.removals()
    }

    async fn retrieve(&self, _wanted: Wanted) -> Result<Retrieval, Miss> {
        Err(Miss::Local)
    }

    fn price(&self, _root: &Cid) -> Option<Offer> {
        None
    }

    fn served(&self, root: &Cid, size: Bytes, to: IpAddr) {
        self.usage.note(root, size, to);
    }

    async fn receive(&self, order: Order) -> Result<Box<dyn Intake>, UploadError> {
        self.intakes.begin(order).await
    }
}
