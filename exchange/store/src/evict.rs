//! Evicting: cached refs go, the policy's choice first, until there is room.
//!
//! A step removes its victims' rows in one durable batch, and only then their blocks and files. What is
//! shared with other refs frees nothing until the last of them goes, so whoever needs room asks again.

use cid::Cid;
use pop_evict::Id;

use crate::cache;
use crate::error::Error;
use crate::refs::{self, Brief};
use crate::store::Inner;

/// A step removes this many refs at most: what one batch holds, and what a crash may find half done.
const VICTIMS: usize = 256;

impl Inner {
    /// Evicts refs of `short` bytes together, as far as there are any that may go; returns whether one went.
    /// The caller holds `eviction`.
    pub(crate) fn evict_some(&self, short: u64) -> Result<bool, Error> {
        let fallen = {
            let _ops = self.ops.lock();
            self.check_open()?;
            // A hold is taken under this lock: what is chosen here is not held before it is gone.
            let _rows = self.rows.lock();
            let mut victims = Vec::new();
            let chosen = self.choose(short, &mut victims);
            if chosen.is_ok() && victims.is_empty() {
                return Ok(false);
            }
            match chosen.and_then(|()| self.fell(victims.clone())) {
                Ok(fallen) => fallen,
                Err(error) => {
                    self.take_back(&victims)?;
                    return Err(error);
                }
            }
        };
        // No tombstones: a rebuild that meets the blocks again finds no ref that holds them.
        self.drop_blocks(fallen, false)?;
        Ok(true)
    }

    fn choose(&self, short: u64, victims: &mut Vec<Brief>) -> Result<(), Error> {
        let spared = self.spared();
        let may_go = |id: &Id| !spared.contains(id.as_bytes());
        let mut size = 0u64;
        while size < short.max(1) && victims.len() < VICTIMS {
            let Some(id) = self.cache.lock().policy.evict(&may_go) else { break };
            // Rows decide; what the policy has beyond them is forgotten by this.
            let Ok(root) = Cid::try_from(id.as_bytes()) else { continue };
            let Some(brief) = refs::load_bare(&self.state, &root)? else { continue };
            if !brief.pinned {
                size = size.saturating_add(brief.size.get());
                victims.push(brief);
            }
        }
        Ok(())
    }

    /// Gives victims whose rows are still there back to the policy.
    fn take_back(&self, victims: &[Brief]) -> Result<(), Error> {
        for brief in victims {
            if refs::load_bare(&self.state, &brief.root)?.is_some() {
                let mut cache = self.cache.lock();
                if !cache.policy.contains(&cache::id(brief)) {
                    let worth = cache.worth(brief);
                    cache.policy.insert(&cache::id(brief), brief.size, worth);
                }
            }
        }
        Ok(())
    }
}
