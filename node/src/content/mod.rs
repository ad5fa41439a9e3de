//! What the node does with content for its owner: add, commit, import, export, retrieve.
//!
//! Blocking work runs in the store pool; each operation leaves nothing half done when its caller goes away.

pub(crate) mod archive;
pub(crate) mod commit;
pub(crate) mod get;
pub(crate) mod open_tx;
pub(crate) mod put;

use pop_dag::{Block, BlockSink, SinkError};
use pop_store::Staging;

use crate::fault::Cancelled;
use crate::pool::Cancel;

/// Puts blocks into a staging until its caller goes away.
struct StagingSink {
    staging: Staging,
    cancel: Cancel,
}

impl BlockSink for StagingSink {
    fn accept(&mut self, block: Block) -> Result<(), SinkError> {
        if self.cancel.is_cancelled() {
            return Err(SinkError::new(Cancelled));
        }
        self.staging.put(&block).map_err(SinkError::new)
    }
}

/// Returns the seconds since 1970, zero for a clock that stands before it.
pub(crate) fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns a name that no other operation has.
fn random_name() -> String {
    rand::random::<[u8; 8]>().iter().map(|b| format!("{b:02x}")).collect()
}
