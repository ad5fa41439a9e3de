//! Checking a whole ledger by executing it again from its genesis.
//!
//! The chain of block hashes shows that nobody changed the past of a copy; executing it again shows as well
//! that every balance follows from signed messages. Memory grows with the ledger: this is for its operator.

use std::sync::Arc;

use cid::Cid;
use pop_payments::SignedMessage;

use super::view::{Block, View};
use super::{Clock, Devnet, Error, Genesis, PushError};
use crate::store::{ChainStore, MemStore, StoreError};

/// What is wrong with a ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// There is no ledger.
    #[error("store holds no ledger")]
    Empty,
    /// A block or its message is missing or does not decode.
    #[error("block {0} is missing or damaged")]
    Block(u64),
    /// A block is not what its message does to the ledger before it.
    #[error("block {0} does not follow from the blocks before it")]
    Differs(u64),
    /// A message breaks a rule that it must have kept to be executed.
    #[error("message of block {number} is not valid")]
    Message {
        /// The block.
        number: u64,
        /// The rule.
        source: PushError,
    },
    /// Rows stand in the store that no message wrote, or were changed behind the ledger's back.
    #[error("ledger row {0} does not follow from the blocks")]
    Row(String),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] Error),
}

impl From<StoreError> for AuditError {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error.into())
    }
}

/// Executes the ledger in `store` again and returns how many messages it holds. Blocks, and may take long.
///
/// # Errors
/// The first thing found that does not follow from the genesis and the signed messages.
pub fn audit(store: &dyn ChainStore) -> Result<u64, AuditError> {
    let genesis = Genesis::stored(store)?.ok_or(AuditError::Empty)?;
    let end = View::stored_head(store)?.ok_or(AuditError::Empty)?;
    let again: Arc<dyn ChainStore> = Arc::new(MemStore::new());
    let devnet = Devnet::open(Arc::clone(&again), genesis, Clock::Manual)?;
    for number in 1..=end.number {
        let (block, message) = recorded(store, number)?;
        devnet.head.lock().epoch = block.epoch;
        devnet.push(&message).map_err(|source| AuditError::Message { number, source })?;
        if View::block_row(store, number)? != View::block_row(&*again, number)? {
            return Err(AuditError::Differs(number));
        }
    }
    // What the clock did since the last message stands in no block.
    let mut reached = devnet.head.lock().clone();
    (reached.epoch, reached.anchor) = (end.epoch.max(reached.epoch), end.anchor);
    if reached != end {
        return Err(Error::damaged(b"h").into());
    }
    let (mut found, mut expected) = (store.scan(&[])?, again.scan(&[])?);
    for rows in [&mut found, &mut expected] {
        rows.retain(|(key, _)| !View::is_head(key));
    }
    let odd = found.iter().find(|row| expected.binary_search(row).is_err());
    let odd = odd.or_else(|| expected.iter().find(|row| found.binary_search(row).is_err()));
    match odd {
        Some((key, _)) => Err(AuditError::Row(super::hex(key))),
        None => Ok(end.number),
    }
}

fn recorded(store: &dyn ChainStore, number: u64) -> Result<(Block, SignedMessage), AuditError> {
    let damaged = || AuditError::Block(number);
    let row = View::block_row(store, number)?.ok_or_else(damaged)?;
    let block: Block = fvm_ipld_encoding::from_slice(&row).map_err(|_| damaged())?;
    let cid: Cid = block.message.ok_or_else(damaged)?;
    let bytes = View::message_row(store, &cid)?.ok_or_else(damaged)?;
    let message = SignedMessage::from_bytes(&bytes).map_err(|_| damaged())?;
    if *message.cid().cid() != cid {
        return Err(damaged());
    }
    Ok((block, message))
}
