//! Room for what is about to be written: reserved before it is fetched, made by eviction and compaction.
//!
//! The capacity is what segment files may take. A slack of one segment and a sixty-fourth of the capacity is
//! kept free of new blocks, because survivors of a compaction lie there twice for a moment, and tombstones
//! must not wait for room. What compaction moves is bounded: it takes segments that are dead to more than a
//! quarter, so that it moves at most three times what it frees, and as long as there are none, more is evicted.
//! Only where nothing may be evicted are fuller segments compacted.
//!
//! Part and segment size are measured by `cargo xtask bench cache`: the small segments leave more of the
//! capacity to blocks and die more as a whole. Objects missed against the policy alone, live share, and what
//! was moved of what was written, in percent, for `adapt` and `web07` at 5 % of their footprint:
//!
//! | dead part | segments | missed | live | moved |
//! |---|---|---|---|---|
//! | 1/2 | 1/32 | 1.33, 1.95 | 73, 69 | 21, 21 |
//! | 1/3 | 1/32 | 0.75, 1.34 | 82, 79 | 36, 35 |
//! | 1/4 | 1/32 | 0.58, 1.12 | 86, 84 | 41, 44 |
//! | 1/6 | 1/32 | 0.47, 0.82 | 90, 87 | 54, 63 |
//! | 1/8 | 1/32 | 0.42, 0.67 | 90, 89 | 60, 80 |
//! | 1/3 | 1/64 | 0.62, 1.12 | 86, 84 | 17, 21 |
//! | 1/6 | 1/64 | 0.38, 0.62 | 91, 90 | 28, 38 |
//! | **1/4** | **1/128** | 0.45, 0.79 | 91, 89 | 11, 16 |
//! | 1/6 | 1/128 | 0.33, 0.44 | 93, 92 | 14, 21 |
//!
//! That is one fetch after the other. Four at a time, which mix in the segments, with segments of 1/32 and
//! uses by Zipf's law: 57, 75, 84 and 89 % live at 1/2, 1/3, 1/4 and 1/6, and 26, 54, 84 and 99 % moved: at
//! a sixth, mixed fetches could move as much as they write, so it is a quarter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cid::Cid;
use pop_units::Bytes;

use crate::compact::{EIGHTH, QUARTER};
use crate::error::{Error, Limit};
use crate::hold::Held;
use crate::log::{Log, Writer};
use crate::refs;
use crate::store::{Inner, Options, Store};

/// Segments are not made smaller than this for the sake of the hit ratio: each costs a file and a sync.
const FLOOR: u64 = 64 << 10;
/// Without an eviction to gain from, a call compacts this many segments at most; the next goes on from there.
const STEPS: u32 = 4;
/// Records take a little more than their blocks: 64 bytes and a long name for each. Content of blocks under
/// 16 KiB needs more, which is found when it is put.
const OVERHEAD: u64 = 256;
/// What a record has beside its block at most: header, the rest of a long multihash, padding.
const RECORD_MORE: u64 = 64 + 88 + 8;
/// A put whose room others take tries again this often.
pub(crate) const TRIES: u32 = 8;

/// Sizes that follow from the options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) segment: u64,
    pub(crate) capacity: u64,
    /// Blocks are not written beyond this.
    pub(crate) soft: u64,
    /// Eviction goes on until this part is free, in percent of what is not pinned.
    spare: u64,
}

impl Sizes {
    pub(crate) fn of(options: &Options) -> Self {
        let capacity = options.capacity.get();
        // A segment of a small store must be a small part of it, or one would pin room that many could use.
        let segment = options.segment_size.get().min(capacity / 32).min((capacity / 128).max(FLOOR)).max(1);
        let slack = segment.saturating_add(capacity / 64);
        let soft = capacity.saturating_sub(slack);
        let spare = 100 - u64::from(options.low_watermark.clamp(50, 100));
        Self { segment, capacity, soft, spare }
    }

    /// Returns what eviction frees beyond what is needed, so that it runs seldom and in large steps.
    pub(crate) fn margin(&self, unpinned: u64) -> u64 {
        unpinned / 100 * self.spare
    }
}

/// The part of a reservation that was not written yet.
#[derive(Default)]
pub(crate) struct Claim {
    left: AtomicU64,
    /// Its room is gone: what is put back goes on to the log.
    is_over: AtomicBool,
}

impl Claim {
    /// Takes what a record needs out of the reservation; returns how much of it was there.
    fn take(&self, span: u64) -> u64 {
        let rest = |left: u64| Some(left - left.min(span));
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, rest).map_or(0, |left| left.min(span))
    }

    fn put(&self, log: &Log, size: u64) {
        self.left.fetch_add(size, Ordering::SeqCst);
        // Either this sees the end or the end sees what was added.
        if self.is_over.load(Ordering::SeqCst) {
            log.unreserve(self.take(u64::MAX));
        }
    }

    /// Gives up what was not written. Takes no lock: guards are dropped by tasks, which must not wait for a disk.
    fn end(&self, log: &Log) {
        self.is_over.store(true, Ordering::SeqCst);
        log.unreserve(self.take(u64::MAX));
    }

    /// Returns what was not written yet.
    pub(crate) fn left(&self) -> u64 {
        self.left.load(Ordering::SeqCst)
    }

    /// Writes a record into the room that is kept; what fails takes nothing of it.
    pub(crate) fn spend<T>(
        &self,
        log: &Log,
        writer: &mut Writer,
        span: u64,
        append: impl FnOnce(&mut Writer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let taken = self.take(span);
        log.unreserve(taken);
        let outcome = append(writer);
        if outcome.is_err() && log.reserve(writer, taken) {
            self.put(log, taken);
        }
        outcome
    }
}

/// Room that is kept for a ref on its way in, until it is dropped. The ref is not evicted meanwhile.
pub struct Room {
    inner: Arc<Inner>,
    pub(crate) claim: Arc<Claim>,
    /// The whole size, where only a step of it is kept.
    pledged: u64,
    _held: Held,
}

impl Room {
    /// Returns what is still kept.
    pub fn left(&self) -> Bytes {
        Bytes::new(self.claim.left())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.claim.end(&self.inner.log);
        self.inner.pledged.fetch_sub(self.pledged, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("left", &self.left()).finish_non_exhaustive()
    }
}

impl Store {
    /// Keeps room for `size` more bytes of a root, evicting now what must go for it. Rooms of several fetches
    /// add up. Tell the staging that fills it: [`crate::Staging::within`].
    ///
    /// # Errors
    /// [`Error::TooLarge`] when it would not even fit with everything gone that may ever go by itself,
    /// [`Error::Full`] when it does not fit now; or the disk refuses.
    pub fn reserve(&self, root: &Cid, size: Bytes) -> Result<Room, Error> {
        self.reserve_step(root, size, size)
    }

    /// Returns what a ref may be large at most: what all that is pinned leaves of the capacity.
    pub fn most_room(&self) -> Bytes {
        self.inner.most_room()
    }

    /// Is [`Self::reserve`] for a size that a stranger states: whether all of it could fit is found out now,
    /// but only `step` of it is kept and evicted for. What is put beyond evicts when it comes, so that a lie
    /// costs no more of the cache than `step`.
    ///
    /// # Errors
    /// As [`Self::reserve`]; [`Error::Full`] also when it does not fit beside what others were promised.
    pub fn reserve_step(&self, root: &Cid, size: Bytes, step: Bytes) -> Result<Room, Error> {
        let inner = &self.inner;
        inner.check_open()?;
        let most = inner.most_room();
        if size > most {
            return Err(Error::TooLarge { size, capacity: most });
        }
        let pledged = if size > step { size.get() } else { 0 };
        inner.pledge(pledged, most.saturating_sub(size))?;
        let claim = Arc::new(Claim::default());
        let room = Room { inner: inner.clone(), claim, pledged, _held: Held::new(inner, root) };
        inner.claim(&room.claim, size.min(step), most)?;
        Ok(room)
    }
}

impl Inner {
    /// Adds to what is promised, if that leaves all promises within `free`.
    fn pledge(&self, size: u64, free: Bytes) -> Result<(), Error> {
        let add = |before: u64| (before <= free.get()).then(|| before.saturating_add(size));
        let pledged = self.pledged.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        pledged.map(drop).map_err(|before| Error::Full {
            need: Bytes::new(before.saturating_add(size)),
            free,
            limit: Limit::Capacity,
        })
    }

    /// Takes room into a claim, evicting what must go for it.
    fn claim(&self, claim: &Claim, size: Bytes, most: Bytes) -> Result<(), Error> {
        let need = size.get().saturating_add(size.get() / OVERHEAD).min(most.get());
        let take = || {
            let mut writer = self.log.lock();
            let is_taken = self.log.reserve(&mut writer, need);
            if is_taken {
                claim.put(&self.log, need);
            }
            is_taken
        };
        if take() || self.make_room(need, &take)? {
            return Ok(());
        }
        Err(Error::Full { need: Bytes::new(need), free: Bytes::new(self.log.room()), limit: Limit::Capacity })
    }

    /// Returns what a ref may be large at most. Refs that share blocks make this an estimate from above.
    pub(crate) fn most_room(&self) -> Bytes {
        let movable = self.cache.lock().totals.cached;
        let staged = self.stagings.lock().values().map(|staged| staged.bytes()).fold(0, u64::saturating_add);
        let stays = self.log.live().saturating_sub(movable.get()).saturating_sub(staged);
        // Either counts some things too much: headers of what may go, blocks that pinned refs share.
        let stays = Bytes::new(stays).min(self.cache.lock().totals.pinned);
        Bytes::new(self.log.sizes().soft).saturating_sub(stays)
    }

    /// Returns whether so much could be free if all went that may go now. Estimated from above: what is
    /// evicted for nothing would be a loss.
    fn could_free(&self, need: u64) -> Result<bool, Error> {
        let mut movable = self.cache.lock().totals.cached.get();
        for id in self.spared() {
            let root = Cid::try_from(id.as_slice()).ok();
            let brief = root.map(|root| refs::load_bare(&self.state, &root)).transpose()?.flatten();
            let held = brief.filter(|brief| !brief.pinned).map_or(0, |brief| brief.size.get());
            movable = movable.saturating_sub(held);
        }
        // What goes takes its headers along.
        let headers = self.index.count().saturating_mul(RECORD_MORE);
        let stays = self.log.live().saturating_sub(movable).saturating_sub(headers);
        let taken = stays.saturating_add(self.log.reserved().get());
        Ok(self.log.sizes().soft.saturating_sub(taken) >= need)
    }

    /// Makes room on the disk until `is_enough`, which may take what it finds. Returns whether it was.
    pub(crate) fn make_room(&self, need: u64, is_enough: &dyn Fn() -> bool) -> Result<bool, Error> {
        // Whoever waits here may find that another made room for it too.
        let _eviction = self.eviction.lock();
        if !is_enough() && !self.could_free(need)? {
            return Ok(false);
        }
        let goal = need.saturating_add(self.log.sizes().margin(self.most_room().get()));
        let (mut full_steps, mut evicted) = (0, false);
        loop {
            self.check_open()?;
            if (!evicted || self.log.room() >= goal) && is_enough() {
                return Ok(true);
            }
            if self.compact_within(QUARTER)? {
                continue;
            }
            let short = goal.saturating_sub(self.log.room());
            if self.evict_some(short)? {
                evicted = true;
                continue;
            }
            if is_enough() {
                return Ok(true);
            }
            let would_do = self.log.room().saturating_add(self.log.gain(EIGHTH)) >= need;
            if full_steps == STEPS || !would_do || !self.compact_within(EIGHTH)? {
                return Ok(false);
            }
            full_steps += 1;
        }
    }
}
