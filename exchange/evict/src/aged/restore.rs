//! Aged, from the rows of an earlier run.
//!
//! What is resident decides; rows only say where it stood. Rows may be missing, left over, older than the rest or
//! nonsense: a restored policy agrees with what is resident in any case, and notes which rows to put right.

use std::collections::HashMap;

use pop_units::Bytes;

use crate::aged::weight::merit;
use crate::aged::{Aged, Seat};
use crate::saved::{Ghost, Record, Resident, Saved, Segment};
use crate::{Id, Worth};

/// No count comes near this in the life of a disk; a row beyond it is nonsense, and would leave no room to count on.
const SANE: u64 = 1 << 62;

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
        aged.head = head.unwrap_or_default();
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
        placed
            .sort_by(|a, b| (a.record.order, a.last_used, &a.id).cmp(&(b.record.order, b.last_used, &b.id)));
        let orders = self.orders(&placed);
        for (Placed { id, record, .. }, order) in placed.into_iter().zip(orders) {
            self.head.last_probation = self.head.last_probation.max(order);
            if self.sit(&id, &Record { order, rank: 0, ..record }) {
                self.probation.insert(order, id);
            }
        }
    }

    fn seat_main(&mut self, mut placed: Vec<Placed>) {
        placed
            .sort_by(|a, b| (a.record.order, a.last_used, &a.id).cmp(&(b.record.order, b.last_used, &b.id)));
        let orders = self.orders(&placed);
        for (Placed { id, record, .. }, order) in placed.into_iter().zip(orders) {
            self.head.last = self.head.last.max(order);
            let merit = merit(record.frequency, record.size.get(), record.worth);
            let rank = if (1..SANE).contains(&record.rank) {
                record.rank
            } else {
                self.journal.moved(&id);
                self.head.floor.saturating_add(merit)
            };
            if self.sit(&id, &Record { order, rank, ..record }) {
                self.main_bytes = self.main_bytes.saturating_add(record.size.get());
                self.main.insert((rank, order), id);
            }
        }
    }

    fn seat_ghosts(&mut self, mut ghosts: Vec<Ghost>) {
        ghosts.sort_by_key(|ghost| (ghost.order, ghost.fingerprint));
        let present: std::collections::HashSet<u64> = self.seats.keys().map(Id::fingerprint).collect();
        let mut last = 0;
        for Ghost { fingerprint, frequency, order } in ghosts {
            let right = order.clamp(last, SANE).max(last.saturating_add(u64::from(last == order)));
            if present.contains(&fingerprint) || right != order {
                self.journal.haunted(fingerprint);
            }
            if !present.contains(&fingerprint) {
                self.ghosts.push(fingerprint, frequency, right);
                last = right;
            }
        }
        self.head.last = self.head.last.max(last);
        self.trim_ghosts();
    }

    /// Returns orders that rise with the records', the records' own where they can be, and notes where they can't.
    fn orders(&mut self, placed: &[Placed]) -> Vec<u64> {
        let is_sane = placed.last().is_none_or(|last| last.record.order < SANE);
        let mut last = 0;
        let mut orders = Vec::with_capacity(placed.len());
        for Placed { id, record, .. } in placed {
            let own = if is_sane { record.order } else { 0 };
            last = own.max(last + 1);
            if last != record.order {
                self.journal.moved(id);
            }
            orders.push(last);
        }
        orders
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

/// Places a ref that no record knows: as popular as the store saw it, as old as its last use.
fn unknown(found: &Resident) -> Record {
    let frequency = u8::try_from(found.frequency).unwrap_or(u8::MAX);
    let segment = if frequency > 0 { Segment::Main } else { Segment::Probation };
    Record { segment, frequency, worth: Worth::NEUTRAL, size: found.size, rank: 0, order: 0 }
}
