//! Counting uses: what is asked for again stays longer.
//!
//! Only a serve that was completed counts, and on probation only one for each peer: asking is free, and a
//! peer that asks twice must not be able to keep its own content here.

use cid::Cid;
use pop_units::{AttoFil, Bytes};

use crate::error::Error;
use crate::refs::{self, Brief};
use crate::state::Batch;
use crate::store::{Inner, Store};

/// A serve of a ref that was completed.
#[derive(Clone, Copy, Debug)]
pub struct Serve<'a> {
    /// Who was served: the bytes of its peer id.
    pub peer: &'a [u8],
    /// What was sent.
    pub bytes: Bytes,
    /// What was received for it. Never what was asked for, or peers price their own content into the cache.
    pub revenue: AttoFil,
    /// When, in seconds since 1970.
    pub now: u64,
}

/// No peer's id is empty: this is the node itself.
const SELF: &[u8] = b"";

impl Store {
    /// Counts a use of a root by this node's owner at `now` seconds since 1970. A crash may lose the count of
    /// the last second. Returns false when no ref has this root.
    ///
    /// # Errors
    /// The state does not answer.
    pub fn touch(&self, root: &Cid, now: u64) -> Result<bool, Error> {
        let used = self
            .inner
            .use_ref(root, &Serve { peer: SELF, bytes: Bytes::ZERO, revenue: AttoFil::ZERO, now })?;
        Ok(used.is_some())
    }

    /// Counts a serve of a root that was completed: what was sent and received is added to the ref, and it
    /// stays longer. Of one peer only the first serve counts as a use while the ref is on probation; the sums
    /// grow either way. Returns whether it counted as a use; false also where no ref has this root. A crash
    /// may lose the count of the last second.
    ///
    /// # Errors
    /// The state does not answer.
    pub fn served(&self, root: &Cid, serve: Serve<'_>) -> Result<bool, Error> {
        Ok(self.inner.use_ref(root, &serve)? == Some(true))
    }

    /// Notes bytes that were sent below a root without that being a use. A crash may lose those of the last second.
    /// Returns false when no ref has this root.
    ///
    /// # Errors
    /// The state does not answer.
    pub fn sent(&self, root: &Cid, bytes: Bytes) -> Result<bool, Error> {
        let inner = &self.inner;
        let _rows = inner.rows.lock();
        let Some(was) = refs::load_bare(&inner.state, root)? else { return Ok(false) };
        let found = Brief { bytes_served: was.bytes_served.saturating_add(bytes), ..was.clone() };
        inner.cache.lock().note_earned(&was, &found);
        let mut batch = Batch::new();
        refs::put_bare(&mut batch, &found)?;
        inner.apply_soon_with_cache(batch)?;
        Ok(true)
    }

    /// Says whether content that nobody here asked for is worth a place, before it is fetched: a copy for
    /// another node, say. Large content must be asked for twice. What this node's owner asks for is kept
    /// without this question.
    pub fn admits(&self, root: &Cid, size: Bytes) -> bool {
        let _rows = self.inner.rows.lock();
        self.inner.cache.lock().admits(&refs::id(root), size)
    }
}

impl Inner {
    /// Returns whether the use counts for the policy; `None` without a ref.
    fn use_ref(&self, root: &Cid, serve: &Serve<'_>) -> Result<Option<bool>, Error> {
        let _rows = self.rows.lock();
        let Some(was) = refs::load_bare(&self.state, root)? else { return Ok(None) };
        let mut found = Brief {
            last_used: was.last_used.max(serve.now),
            bytes_served: was.bytes_served.saturating_add(serve.bytes),
            revenue: AttoFil::new(was.revenue.get().saturating_add(serve.revenue.get())),
            ..was.clone()
        };
        let counts = {
            let mut cache = self.cache.lock();
            cache.note_earned(&was, &found);
            cache.count_use(&found, serve.peer)
        };
        if counts || serve.peer.is_empty() {
            found.frequency = found.frequency.saturating_add(1);
        }
        let mut batch = Batch::new();
        refs::put_bare(&mut batch, &found)?;
        self.apply_soon_with_cache(batch)?;
        Ok(Some(counts))
    }
}
