//! `commit`: the open transaction becomes a ref, in one durable step.

use pop_dag::Cid;
use pop_rpc::{Error, ErrorCode};
use pop_store::{Ref, RefKey, Store};
use pop_units::Bytes;

use super::open_tx::{OpenTx, STAGING};
use super::unix_seconds;
use crate::fault::Fault;

/// Makes the open transaction permanent; returns its root and the bytes that count for it. Blocks.
pub(crate) fn commit(store: &Store, pin: bool) -> Result<(Cid, Bytes), Error> {
    let state = store.state();
    let Some(tx) = OpenTx::load(&state)? else {
        let error = Error::new(ErrorCode::Usage, "no transaction is open");
        return Err(error.with_hint("add something with `pop put` first"));
    };
    let mut staging = store.stage(STAGING).map_err(Fault::fault)?;
    let block = tx.root(&mut staging).map_err(Fault::fault)?;
    let root = *block.cid();
    staging.put(&block).map_err(Fault::fault)?;
    let key = |(name, entry): (&str, &pop_exchange::tx::Entry)| RefKey::new(name, entry.cid, entry.size);
    let keys = tx.entries().map(key).collect();
    let found = Ref { keys, complete: true, pinned: pin, last_used: unix_seconds(), ..Ref::new(root) };
    staging.commit(found).map_err(Fault::fault)?;
    tx.forget(&state)?;
    Ok((root, counted(store, &root)?))
}

/// Ends a commit that a crash cut off between its ref and the rows of its transaction. Blocks.
///
/// The staging is forgotten in the same step that records the ref: rows without a staging are left over.
pub(crate) fn finish_interrupted(store: &Store) -> Result<(), Error> {
    let state = store.state();
    match OpenTx::load(&state)? {
        Some(tx) if !store.stagings().iter().any(|name| name == STAGING) => tx.forget(&state),
        _ => Ok(()),
    }
}

/// Returns the bytes that count for a root that is here. Blocks.
pub(crate) fn counted(store: &Store, root: &Cid) -> Result<Bytes, Error> {
    let found = store.brief(root).map_err(Fault::fault)?;
    found.map(|found| found.size).ok_or_else(|| pop_store::Error::NoRef { root: *root }.fault())
}
