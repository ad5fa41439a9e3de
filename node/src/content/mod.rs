//! What the node does with content for its owner: add, commit, import, export, retrieve.
//!
//! Blocking work runs in the store pool; each operation leaves nothing half done when its caller goes away.

pub(crate) mod archive;
pub(crate) mod commit;
mod framed;
pub(crate) mod get;
pub(crate) mod listing;
pub(crate) mod open_tx;
pub(crate) mod pipe;
pub(crate) mod put;
pub(crate) mod remove;
pub(crate) mod upload;

use pop_dag::{BlockSource, Buf, Cid, SourceError};
use pop_store::{Staging, Store};

use crate::fault::Cancelled;
use crate::pool::Cancel;

/// Returns the seconds since 1970, zero for a clock that stands before it.
pub(crate) fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns a name that no other operation has.
fn random_name() -> String {
    rand::random::<[u8; 8]>().iter().map(|b| format!("{b:02x}")).collect()
}

/// The store, until the caller goes away.
pub(crate) struct Watched<'a> {
    pub(crate) store: &'a Store,
    pub(crate) cancel: &'a Cancel,
}

impl BlockSource for Watched<'_> {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        match self.cancel.is_cancelled() {
            true => Err(SourceError::new(Cancelled)),
            false => self.store.block(cid),
        }
    }
}

/// Drops what an operation that failed has staged; its own error is the one to tell.
fn give_up(staging: Staging) {
    let name = staging.name().to_owned();
    if let Err(error) = staging.discard() {
        tracing::warn!(%error, name, "what a failed operation staged stays until the next start");
    }
}

/// Drops what operations that a crash cut off have left. Blocks.
///
/// The open transaction stays, and so does what a retrieval has paid for. A copy for a peer does not: nobody
/// here asked for it, and the peer asks again.
pub(crate) fn drop_interrupted(store: &Store) {
    let left_over = |name: &String| {
        [archive::IMPORT, put::PUT, upload::UPLOAD, "keep:"].iter().any(|kind| name.starts_with(kind))
    };
    for name in store.stagings().into_iter().filter(left_over) {
        match store.stage(&name) {
            Ok(staging) => give_up(staging),
            Err(error) => tracing::warn!(%error, name, "left over staging stays"),
        }
    }
}
