//! What the gateway serves: the node's content.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pop_dag::Cid;
use pop_gateway::{Blocks, Content, Hold, Intake, Miss, Offer, Order, Retrieval, UploadError, Wanted};
use pop_units::Bytes;

use super::holds::Holds;
use super::intake::Intakes;
use super::retrieval::Retrievals;
use super::terms::Terms;
use super::usage::Usage;
use crate::config::SellChoice;
use crate::node::Node;

/// See the module.
pub(super) struct Stock {
    node: Node,
    /// Where peers reach this node.
    addresses: Vec<String>,
    holds: Holds,
    pub(super) usage: Usage,
    pub(super) intakes: Intakes,
    pub(super) retrievals: Arc<Retrievals>,
}

impl Stock {
    pub(super) fn new(node: Node, addresses: Vec<String>) -> Self {
        let (trade, store, pool) = (node.trade.clone(), node.store.clone(), node.pool.clone());
        let holds = Holds::new(store.clone());
        let retrievals = Arc::new(Retrievals::new(trade, store, pool, Terms::of(&node.config)));
        let intakes = Intakes::new(&node);
        Self { node, addresses, holds, usage: Usage::default(), intakes, retrievals }
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// Returns the size of what is sold under a root: of all of it, or of its block if not all of it is here.
    /// Blocks.
    fn size(&self, root: &Cid) -> Option<Bytes> {
        self.node.trade.measure(root).or_else(|| self.node.store.size(root).ok().flatten())
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

    fn hold(&self, root: &Cid) -> Option<Hold> {
        self.holds.hold(root)
    }

    async fn retrieve(&self, wanted: Wanted) -> Result<Retrieval, Miss> {
        self.retrievals.begin(wanted)
    }

    fn sells(&self) -> bool {
        self.node.config.gateway_sell == SellChoice::Node && !self.node.config.price.is_free()
    }

    fn price(&self, root: &Cid) -> Option<Offer> {
        if !self.sells() {
            return None;
        }
        let price = self.node.config.price;
        let size = self.size(root)?;
        Some(Offer {
            root: *root,
            size,
            price,
            cost: price.cost_of(size).ok()?,
            providers: self.addresses.clone(),
            payee: self.node.money.wallet.default_address().ok().map(|payee| payee.to_string()),
            chain: Some(self.node.money.chain.id().to_string()),
            expires: None,
        })
    }

    fn served(&self, root: &Cid, size: Bytes, to: IpAddr) {
        self.usage.note(root, size, to);
    }

    async fn receive(&self, order: Order) -> Result<Box<dyn Intake>, UploadError> {
        self.intakes.begin(order).await
    }
}
