//! `rm` and `gc`: forget a root, and what retrievals that never ended have left.

use pop_dag::Cid;
use pop_rpc::Error;
use pop_store::{Compacted, Store};
use pop_units::Bytes;

use crate::fault::Fault;

/// How the stagings of retrievals are named; the root follows.
const FETCH: &str = "fetch:";

/// Forgets a root and whatever an unfinished retrieval of it holds, unless that still runs; returns what was freed. Blocks.
///
/// # Errors
/// Neither is here.
pub(crate) fn remove(store: &Store, root: &Cid, is_busy: &dyn Fn(&str) -> bool) -> Result<Bytes, Error> {
    let unfinished = unfinished(store, &format!("{FETCH}{root}"), is_busy);
    let is_known = store.ref_of(root).map_err(Fault::fault)?.is_some();
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
/// tells how much the retrievals hold. Blocks.
pub(crate) fn reclaim(store: &Store, dry_run: bool, is_busy: &dyn Fn(&str) -> bool) -> Result<Bytes, Error> {
    let unfinished = unfinished(store, FETCH, is_busy);
    if !dry_run {
        let before = store.used();
        drop_all(store, &unfinished)?;
        while store.compact(true).map_err(Fault::fault)? != Compacted::default() {}
        return Ok(before.saturating_sub(store.used()));
    }
    let mut held = Bytes::ZERO;
    for name in &unfinished {
        held = held.saturating_add(store.stage(name).map_err(Fault::fault)?.bytes());
    }
    Ok(held)
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
