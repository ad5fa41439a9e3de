//! `rm` and `gc`: forget a root, and what retrievals that never ended have left.

use std::collections::BTreeSet;

use pop_dag::Cid;
use pop_rpc::{Error, ErrorCode, Reporter, Verified};
use pop_store::{Compacted, Damage, Store};
use pop_units::Bytes;

use crate::fault::{Cancelled, Fault};
use crate::pool::Cancel;

/// How the stagings of retrievals are named; the root follows.
const FETCH: &str = "fetch:";
/// Damaged roots that are named.
const NAMED: usize = 20;

/// Forgets a root and whatever an unfinished retrieval of it holds, unless that still runs; returns what was freed. Blocks.
///
/// # Errors
/// Neither is here.
pub(crate) fn remove(store: &Store, root: &Cid, is_busy: &dyn Fn(&str) -> bool) -> Result<Bytes, Error> {
    let unfinished = unfinished(store, &format!("{FETCH}{root}"), is_busy);
    let is_known = store.brief(root).map_err(Fault::fault)?.is_some();
    if !is_known && unfinished.is_empty() {
        return Err(pop_store::Error::NoRef { root: *root }.fault());
    }
    let mut freed = drop_all(store, &unfinished)?;
    if is_known {
        freed = freed.saturating_add(store.remove(root).map_err(Fault::fault)?);
    }
    Ok(freed)
}

/// Drops what unfinished retrievals hold and gives the disk back what lies dead in segments; with `dry_run` only
/// tells how much that is about. Blocks.
pub(crate) fn reclaim(store: &Store, dry_run: bool, is_busy: &dyn Fn(&str) -> bool) -> Result<Bytes, Error> {
    let unfinished = unfinished(store, FETCH, is_busy);
    if !dry_run {
        let before = store.used();
        drop_all(store, &unfinished)?;
        while store.compact(true).map_err(Fault::fault)? != Compacted::default() {}
        return Ok(before.saturating_sub(store.used()));
    }
    let mut held = store.reclaimable();
    for name in &unfinished {
        held = held.saturating_add(store.stage(name).map_err(Fault::fault)?.bytes());
    }
    Ok(held)
}

/// Reads and checks every block. Blocks.
///
/// # Errors
/// Blocks in use were damaged; they are dropped by then, and the roots that had them are partial.
pub(crate) fn verify(store: &Store, cancel: &Cancel, progress: &Reporter) -> Result<Verified, Error> {
    let total = store.used().get();
    let mut on_read = |read: Bytes| {
        progress.report("verify", read.get(), Some(total.max(read.get())));
        !cancel.is_cancelled()
    };
    let found = store.verify(&mut on_read).map_err(Fault::fault)?;
    if !found.damaged.is_empty() {
        return Err(damaged(&found.damaged));
    }
    if !found.finished {
        return Err(Error::of(ErrorCode::Interrupted, &Cancelled));
    }
    Ok(Verified { blocks: found.sound, size: found.read, damaged_unused: found.dead_damaged })
}

/// Names the roots that lost blocks.
fn damaged(blocks: &[Damage]) -> Error {
    let roots: BTreeSet<Cid> = blocks.iter().flat_map(|block| block.refs.iter().copied()).collect();
    let named: Vec<_> = roots.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match roots.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let of =
        if named.is_empty() { "of no root".to_owned() } else { format!("of {}{more}", named.join(", ")) };
    let message = format!("damaged blocks: {} {of}; they are dropped", blocks.len());
    let hint = "these roots are partial now; `pop get`, `pop put` or `pop import` brings the blocks back";
    Error::new(ErrorCode::Storage, message).with_hint(hint)
}

/// Returns the stagings of retrievals that nobody works on.
fn unfinished(store: &Store, prefix: &str, is_busy: &dyn Fn(&str) -> bool) -> Vec<String> {
    let is_idle = |name: &String| name.starts_with(prefix) && !is_busy(name);
    store.stagings().into_iter().filter(is_idle).collect()
}

fn drop_all(store: &Store, names: &[String]) -> Result<Bytes, Error> {
    let mut freed = Bytes::ZERO;
    for name in names {
        let staging = store.stage(name).map_err(Fault::fault)?;
        freed = freed.saturating_add(staging.bytes());
        staging.discard().map_err(Fault::fault)?;
    }
    Ok(freed)
}
