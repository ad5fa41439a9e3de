//! Ending a store in good order, so that the next open need not look at anything.

use std::sync::atomic::Ordering;

use crate::bytes_at::stamp;
use crate::clean::Clean;
use crate::error::Error;
use crate::staging::{self, Staged};
use crate::state::Batch;
use crate::store::Inner;

impl Inner {
    pub(crate) fn close(&self) -> Result<(), Error> {
        let _eviction = self.eviction.lock();
        let _ops = self.ops.lock();
        self.check_open()?;
        {
            // Whoever holds the lock has finished its put, and whoever comes later sees the flag.
            let _writer = self.log.lock();
            self.closed.store(true, Ordering::Release);
        }
        // A compaction under way ends at its next record.
        drop(self.compaction.lock());
        self.keep_rooted_stagings()?;
        self.log.sync()?;
        {
            let _rows = self.rows.lock();
            self.apply_with_cache(Batch::new(), &[])?;
        }
        self.state.sync()?;
        let stamp = stamp();
        self.index.close(stamp)?;
        if self.index.is_doubtful() {
            return Ok(());
        }
        let next = {
            let writer = self.log.lock();
            (writer.next_id, writer.next_seq)
        };
        let mut clean = Clean::new(self.state.generation(), stamp, next);
        clean.blocks = self.index.count();
        clean.active = self.log.active();
        let table = self.log.table();
        clean.segments = table.values().map(|segment| (segment.id, segment.len(), segment.live())).collect();
        clean.write(&self.blocks_dir).map_err(Error::io("writing the CLEAN marker"))
    }

    /// Drops what a restart would drop, so that the index needs no sweep then.
    fn keep_rooted_stagings(&self) -> Result<(), Error> {
        let open = std::mem::take(&mut *self.stagings.lock());
        for name in staging::names(&self.state)? {
            let staged = Staged::revived(&self.state, &name, self)?;
            self.stagings.lock().insert(name, staged.into());
        }
        for staged in open.into_values() {
            self.release(staged.end().into_keys())?;
        }
        Ok(())
    }
}
