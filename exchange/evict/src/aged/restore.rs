//! Aged, from the rows of an earlier run.
//!
//! What is resident decides; rows only say where it stood. Rows may be missing, left over, older than the rest or
//! nonsense: a restored policy agrees with what is resident in any case, and notes which rows to put right.

use std::collections::{HashMap, HashSet};

use pop_units::Bytes;

use crate::aged::weight::{MOST_MERIT, merit};
use crate::aged::{Aged, Seat};
use crate::saved::{Ghost, Record, Resident, Saved, Segment};
use crate::{Id, Worth};

/// No count comes near this in the life of a disk; a row beyond it is nonsense, and would leave no room to count on.
/// Half of what a ghost's order may be.
const SANE: u64 = 1 << 55;

/// A resident ref with its place, before orders are made unique.
struct Placed {
    id: Id,
    record: Record,
    last_used: u64,
}

impl Aged {
    /// Returns the policy that `saved` describes, as far as it agrees with what is `resident`, and lets it keep rows.
    ///
    /// Always succeeds. A ref without a record is placed by what the store itself knows of its use.
    pub fn restore(capacity: Bytes, saved: Saved, resident: impl IntoIterator<Item = Resident>) -> Self {
        let Saved { head, records, ghosts } = saved;
        let mut aged = Self::new(capacity);
        aged.journal.start();
        let sane = |number: u64| if number < SANE { number } else { 0 };
        aged.head = head.unwrap_or_default();
        // The orders of what is seated raise these again.
        aged.head.last = sane(aged.head.last);
        aged.head.last_probation = sane(aged.head.last_probation);
        let mut records: HashMap<Id, Record> = records.into_iter().collect();
        let mut probation = Vec::new();
        let mut main = Vec::new();
        for found in resident {
            let known = records.remove(&found.id);
            if known.is_none_or(|record| record.size != found.size) {
                aged.journal.moved(&found.id);
            }
            let record = known.unwrap_or_else(|| unknown(&found));
            let placed = Placed {
                id: found.id,
                record: Record { size: found.size, ..record },
                last_used: found.last_used,
            };
            match record.segment {
                Segment::Probation => probation.push(placed),
                Segment::Main => main.push(placed),
            }
        }
        // What is left over belongs to nothing.
        records.keys().for_each(|id| aged.journal.moved(id));
        aged.set_floor(head.is_some(), &main);
        aged.seat_probation(probation);
        aged.seat_main(main);
        aged.seat_ghosts(ghosts);
        aged
    }

    /// A lost floor is the lowest rank: a bound that is safe.
    fn set_floor(&mut self, is_known: bool, main: &[Placed]) {
        // Records of an earlier policy have no rank.
        let ranks = || main.iter().map(|placed| placed.record.rank).filter(|rank| (1..SANE).contains(rank));
        if !is_known || self.head.floor >= SANE {
            self.head.floor = ranks().min().unwrap_or(0);
        }
    }

    fn seat_probation(&mut self, mut placed: Vec<Placed>) {
        placed.sort_by(Placed::in_order);
        let orders = unique(placed.iter().map(|placed| placed.record.order));
        for (Placed { id, record, .. }, order) in placed.into_iter().zip(orders) {
            self.head.last_probation = self.head.last_probation.max(order);
            let right = Record { order, rank: 0, ..record };
            self.note(&id, &record, &right);
            if self.sit(&id, &right) {
                self.probation.insert(order, id);
            }
        }
    }

    fn seat_main(&mut self, mut placed: Vec<Placed>) {
        placed.sort_by(Placed::in_order);
        let orders = unique(placed.iter().map(|placed| placed.record.order));
        for (Placed { id, record, .. }, order) in placed.into_iter().zip(orders) {
            self.head.last = self.head.last.max(order);
            let rank = match record.rank {
                0 | SANE.. => {
                    let merit = merit(record.frequency, record.size.get(), record.worth);
                    self.head.floor.saturating_add(merit)
                }
                // Above this nothing was ever ranked; it would never go.
                rank => rank.min(self.head.floor.saturating_add(MOST_MERIT)),
            };
            let right = Record { order, rank, ..record };
            self.note(&id, &record, &right);
            if self.sit(&id, &right) {
                self.main_bytes = self.main_bytes.saturating_add(right.size.get());
                self.main.insert((rank, order), id);
            }
        }
    }

    fn seat_ghosts(&mut self, mut ghosts: Vec<Ghost>) {
        ghosts.sort_by_key(|ghost| (ghost.order, ghost.fingerprint));
        let present: HashSet<u64> = self.seats.keys().map(Id::fingerprint).collect();
        let orders = unique(ghosts.iter().map(|ghost| ghost.order));
        for (Ghost { fingerprint, frequency, order }, right) in ghosts.into_iter().zip(orders) {
            self.head.last = self.head.last.max(right);
            let is_present = present.contains(&fingerprint);
            if is_present || right != order {
                self.journal.haunted(fingerprint);
            }
            if !is_present {
                self.ghosts.push(fingerprint, frequency, right);
            }
        }
        self.trim_ghosts();
    }

    /// Notes a record that was put right.
    fn note(&mut self, id: &Id, found: &Record, right: &Record) {
        if found != right {
            self.journal.moved(id);
        }
    }

    /// Seats a ref unless it has a seat; returns whether it got one.
    fn sit(&mut self, id: &Id, record: &Record) -> bool {
        if self.seats.contains_key(id) {
            return false;
        }
        let (rank, order) = (record.rank, record.order);
        let seat = Seat {
            size: record.size.get(),
            rank,
            order,
            key: (rank, order),
            segment: record.segment,
            frequency: record.frequency,
            worth: record.worth,
        };
        self.used = self.used.saturating_add(seat.size);
        self.seats.insert(id.clone(), seat);
        true
    }
}

impl Placed {
    fn in_order(&self, other: &Self) -> std::cmp::Ordering {
        let key = |placed: &Self| (placed.record.order, placed.last_used);
        key(self).cmp(&key(other)).then_with(|| self.id.cmp(&other.id))
    }
}

/// Returns orders that rise, the `own` ones where they can be kept; `own` never falls.
fn unique(own: impl Iterator<Item = u64> + Clone) -> Vec<u64> {
    let is_sane = own.clone().all(|order| order < SANE);
    let mut last = 0;
    own.map(|order| {
        last = if is_sane { order.max(last + 1) } else { last + 1 };
        last
    })
    .collect()
}

/// Places a ref that no record knows: as popular as the store saw it, as old as its last use.
fn unknown(found: &Resident) -> Record {
    let frequency = u8::try_from(found.frequency).unwrap_or(u8::MAX);
    let segment = if frequency > 0 { Segment::Main } else { Segment::Probation };
    Record { segment, frequency, worth: Worth::NEUTRAL, size: found.size, rank: 0, order: 0 }
}
