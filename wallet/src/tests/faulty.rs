//! A chain whose link fails on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cid::Cid;
use parking_lot::Mutex;
use pop_keys::{Address, ChainId};
use pop_payments::{
    Chain, ChainError, ChannelState, ExitCode, Head, Message, MsgCid, Receipt, Resolved, SignedMessage,
};
use pop_units::{AttoFil, Nonce};

/// What happens to the next pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The message does not arrive.
    Lost,
    /// It arrives, the answer does not.
    AnswerLost,
    /// The node refuses it.
    Refused,
}

pub(super) struct Faulty {
    inner: Arc<dyn Chain>,
    fault: Mutex<Fault>,
    pub(super) pushes: AtomicU32,
}

impl Faulty {
    pub(super) fn new(inner: Arc<dyn Chain>) -> Self {
        Self { inner, fault: Mutex::new(Fault::None), pushes: AtomicU32::new(0) }
    }

    pub(super) fn set(&self, fault: Fault) {
        *self.fault.lock() = fault;
    }
}

#[async_trait]
impl Chain for Faulty {
    fn id(&self) -> &ChainId {
        self.inner.id()
    }

    async fn head(&self) -> Result<Head, ChainError> {
        self.inner.head().await
    }

    async fn balance(&self, address: &Address) -> Result<AttoFil, ChainError> {
        self.inner.balance(address).await
    }

    async fn next_nonce(&self, address: &Address) -> Result<Nonce, ChainError> {
        self.inner.next_nonce(address).await
    }

    async fn resolve(&self, address: &Address) -> Result<Resolved, ChainError> {
        self.inner.resolve(address).await
    }

    async fn paych_code(&self) -> Result<Cid, ChainError> {
        self.inner.paych_code().await
    }

    async fn channel(&self, channel: &Address) -> Result<Option<ChannelState>, ChainError> {
        self.inner.channel(channel).await
    }

    async fn estimate(&self, message: Message, max_fee: AttoFil) -> Result<Message, ChainError> {
        self.inner.estimate(message, max_fee).await
    }

    async fn dry_run(&self, message: &Message) -> Result<ExitCode, ChainError> {
        self.inner.dry_run(message).await
    }

    async fn push(&self, message: &SignedMessage) -> Result<MsgCid, ChainError> {
        self.pushes.fetch_add(1, Ordering::Relaxed);
        let fault = *self.fault.lock();
        match fault {
            Fault::None => self.inner.push(message).await,
            Fault::Lost => Err(ChainError::Unreachable("test".to_owned())),
            Fault::AnswerLost => {
                self.inner.push(message).await?;
                Err(ChainError::Unreachable("test".to_owned()))
            }
            Fault::Refused => Err(ChainError::Rejected { reason: "test".to_owned() }),
        }
    }

    async fn lookup(&self, message: &MsgCid) -> Result<Option<Receipt>, ChainError> {
        self.inner.lookup(message).await
    }

    /// Time flies in tests; how often is asked stays bounded.
    async fn pause(&self, _: Duration) {
        tokio::task::yield_now().await;
    }
}
