//! Rows that are lost, left over, stale or nonsense: what is resident decides.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::model::Disk;
use super::{id, size};
use crate::saved::{Ghost, Head, Record, Resident, Saved, Segment};
use crate::{Aged, Id, Policy, Worth};

fn resident(number: u64, bytes: u64) -> Resident {
    Resident { id: id(number), size: size(bytes), frequency: number % 4, last_used: number }
}

/// Any number, the ends of the range likelier.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..20_u64, 1 => Just(u64::MAX), 1 => Just(1 << 62), 1 => any::<u64>()]
}

fn record() -> impl Strategy<Value = Record> {
    let segment = prop_oneof![Just(Segment::Probation), Just(Segment::Main)];
    (segment, any::<u8>(), any::<u8>(), number(), number(), number()).prop_map(
        |(segment, frequency, worth, bytes, rank, order)| {
            let worth = Worth::from_sixteenths(worth);
            Record { segment, frequency, worth, size: size(bytes), rank, order }
        },
    )
}

fn saved() -> impl Strategy<Value = Saved> {
    let head = (number(), number(), number()).prop_map(|(floor, last, last_probation)| Head {
        floor,
        last,
        last_probation,
    });
    let ghost = (number(), any::<u8>(), number()).prop_map(|(fingerprint, frequency, order)| Ghost {
        fingerprint,
        frequency,
        order,
    });
    let records = prop::collection::vec(((0..40_u64).prop_map(id), record()), 0..40);
    (prop::option::of(head), records, prop::collection::vec(ghost, 0..60))
        .prop_map(|(head, records, ghosts)| Saved { head, records, ghosts })
}

/// Evicts everything and returns it.
fn drain(aged: &mut Aged) -> Vec<Id> {
    std::iter::from_fn(|| aged.evict(&|_| true)).collect()
}

proptest! {
    #[test]
    fn any_rows_restore_to_what_is_resident(
        saved in saved(),
        present in prop::collection::btree_map(0..40_u64, 1..2000_u64, 0..30),
    ) {
        let found = present.iter().map(|(number, bytes)| resident(*number, *bytes));
        let mut aged = Aged::restore(size(1000), saved, found);
        prop_assert_eq!(aged.usage().used, size(present.values().sum()));
        prop_assert_eq!(aged.usage().refs, u64::try_from(present.len()).unwrap());
        prop_assert!(aged.usage().ghosts <= 2 * aged.usage().refs.max(16));
        // What was put right is written, and then needs nothing more.
        let mut disk = Disk::default();
        let changes = aged.take_changes();
        disk.write(changes);
        // A full run of use still orders everything.
        for (number, bytes) in &present {
            prop_assert!(aged.hit(&id(*number), Worth::NEUTRAL));
            aged.resize(&id(*number), size(*bytes));
        }
        (100..140).for_each(|number| aged.insert(&id(number), size(1), Worth::NEUTRAL));
        let gone = drain(&mut aged);
        prop_assert_eq!(gone.len(), present.len() + 40);
        prop_assert_eq!(gone.iter().collect::<BTreeSet<_>>().len(), gone.len());
        prop_assert!(aged.usage().used.is_zero() && aged.main_bytes == 0);
    }

    #[test]
    fn healed_rows_restore_to_themselves(saved in saved(), present in prop::collection::btree_set(0..40_u64, 0..30)) {
        let found = || present.iter().map(|number| resident(*number, 7));
        let mut disk = Disk { head: saved.head, ..Disk::default() };
        disk.records.extend(saved.records);
        disk.ghosts.extend(saved.ghosts.into_iter().map(|ghost| (ghost.fingerprint, ghost)));
        let mut first = Aged::restore(size(1000), disk.read(), found());
        let changes = first.take_changes();
        disk.write(changes);
        let mut second = Aged::restore(size(1000), disk.read(), found());
        prop_assert!(second.take_changes().is_empty());
        prop_assert_eq!(drain(&mut first), drain(&mut second));
    }
}

#[test]
fn a_lost_head_starts_at_the_lowest_rank() {
    let mut disk = Disk::default();
    let mut aged =
        Aged::restore(size(1000), Saved::default(), (0..12).map(|number| resident(number * 4, 80)));
    for turn in 0..600_u64 {
        if !aged.hit(&id(turn % 17), Worth::NEUTRAL) {
            while aged.usage().used > size(920) {
                aged.evict(&|_| true);
            }
            aged.insert(&id(turn % 17), size(80), Worth::NEUTRAL);
        }
    }
    let changes = aged.take_changes();
    disk.write(changes);
    let floor = disk.head.map(|head| head.floor);
    assert!(floor.is_some_and(|floor| floor > 0));
    let lowest =
        disk.records.values().filter(|record| record.segment == Segment::Main).map(|record| record.rank);
    let lowest = lowest.min().unwrap();
    let found: Vec<Resident> = disk
        .records
        .iter()
        .map(|(id, record)| Resident { id: id.clone(), size: record.size, frequency: 0, last_used: 0 })
        .collect();
    let restored = Aged::restore(size(1000), Saved { head: None, ..disk.read() }, found);
    assert_eq!(restored.head.floor, lowest);
    assert!(floor.is_some_and(|floor| floor <= lowest));
}

#[test]
fn uses_since_the_last_write_are_all_that_a_crash_takes() {
    let mut disk = Disk::default();
    let mut aged = Aged::restore(size(1000), Saved::default(), []);
    (0..10).for_each(|number| aged.insert(&id(number), size(100), Worth::NEUTRAL));
    (0..5).for_each(|number| assert!(aged.hit(&id(number), Worth::NEUTRAL)));
    assert!(aged.is_changed());
    let changes = aged.take_changes();
    disk.write(changes);
    aged.hit(&id(5), Worth::NEUTRAL);
    assert!(!aged.is_changed(), "a use alone asks for no write");
    let found = (0..10).map(|number| Resident { frequency: 0, ..resident(number, 100) });
    let mut restored = Aged::restore(size(1000), disk.read(), found);
    assert_eq!(restored.evict(&|_| true), Some(id(5)));
    assert_eq!(restored.evict(&|_| true), Some(id(6)));
}

#[test]
fn a_policy_without_rows_starts_from_what_the_store_saw() {
    let mut aged = Aged::restore(size(1000), Saved::default(), (0..8).map(|number| resident(number, 100)));
    // 0 and 4 were never used: probation. The rest go by use, then by age.
    assert_eq!(drain(&mut aged), [0, 4, 1, 5, 2, 6, 3, 7].map(id));
}
