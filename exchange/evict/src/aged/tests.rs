//! Aged against a model that is nothing but the rules, and against rows that lie.

mod model;
mod rows;

use super::*;

fn id(number: u64) -> Id {
    Id::new(&number.to_be_bytes())
}

fn size(bytes: u64) -> Bytes {
    Bytes::new(bytes)
}

/// Returns a policy of capacity 1000 with refs 0 to 9, each of size 100.
fn full() -> Aged {
    let mut aged = Aged::new(size(1000));
    (0..10).for_each(|number| aged.insert(&id(number), size(100), Worth::NEUTRAL));
    aged
}

#[test]
fn a_ref_never_used_again_goes_in_order_of_arrival() {
    let mut aged = full();
    assert_eq!(aged.evict(&|_| true), Some(id(0)));
    assert_eq!(aged.evict(&|_| true), Some(id(1)));
    assert_eq!(aged.usage().used, size(800));
}

#[test]
fn a_ref_used_later_moves_to_main_and_one_used_at_once_does_not() {
    let mut aged = Aged::new(size(1000));
    (0..16).for_each(|number| aged.insert(&id(number), size(10), Worth::NEUTRAL));
    // The youngest two of sixteen prove nothing.
    aged.hit(&id(15), Worth::NEUTRAL);
    aged.hit(&id(14), Worth::NEUTRAL);
    aged.hit(&id(0), Worth::NEUTRAL);
    aged.hit(&id(13), Worth::NEUTRAL);
    let gone: Vec<Id> = (0..14).filter_map(|_| aged.evict(&|_| true)).collect();
    assert!(!gone.contains(&id(0)) && !gone.contains(&id(13)));
    assert!(gone.contains(&id(14)) && gone.contains(&id(15)));
    assert!(aged.contains(&id(0)) && !aged.on_probation(&id(0)));
}

#[test]
fn what_comes_back_is_remembered() {
    let mut aged = full();
    aged.evict(&|_| true);
    assert_eq!(aged.admit(&id(0), size(100)), Admission::Store);
    aged.insert(&id(0), size(100), Worth::NEUTRAL);
    assert!(!aged.on_probation(&id(0)));
}

#[test]
fn more_than_half_of_the_capacity_is_kept_only_when_asked_for_twice() {
    let mut aged = Aged::new(size(1000));
    assert_eq!(aged.admit(&id(1), size(1001)), Admission::Bypass);
    assert_eq!(aged.admit(&id(1), size(501)), Admission::Ghost);
    assert_eq!(aged.admit(&id(1), size(501)), Admission::Store);
    // A fetch that came to nothing costs no memory of it.
    assert_eq!(aged.admit(&id(1), size(501)), Admission::Store);
    assert_eq!(aged.admit(&id(2), size(500)), Admission::Store);
}

#[test]
fn held_refs_stay_and_keep_their_place() {
    let mut aged = full();
    let held = |found: &Id| *found != id(0) && *found != id(1);
    assert_eq!(aged.evict(&held), Some(id(2)));
    assert_eq!(aged.evict(&|_| false), None);
    assert_eq!(aged.usage().refs, 9);
    assert_eq!(aged.evict(&|_| true), Some(id(0)));
}

#[test]
fn a_removed_ref_leaves_no_ghost() {
    let mut aged = full();
    assert!(aged.remove(&id(3)));
    assert!(!aged.remove(&id(3)));
    assert_eq!((aged.usage().used, aged.usage().ghosts), (size(900), 0));
    aged.insert(&id(3), size(100), Worth::NEUTRAL);
    assert!(aged.on_probation(&id(3)));
}

#[test]
fn ghosts_are_bounded_by_the_refs_that_are_left() {
    let mut aged = Aged::new(size(100));
    (0..300).for_each(|number| {
        aged.request(&id(number), size(1));
    });
    // Each was remembered while its successor was not here yet.
    assert_eq!(aged.usage().ghosts, 198);
    (200..300).for_each(|number| assert!(aged.remove(&id(number))));
    assert_eq!(aged.usage().ghosts, 32);
}

#[test]
fn what_pays_outlives_what_is_free() {
    let mut aged = full();
    (0..10).for_each(|number| {
        aged.hit(&id(number), if number < 5 { Worth::FREE } else { Worth::NEUTRAL });
    });
    // Nine moved to main and fill it, so 0 goes; then 9, whose use came too early; then the other free ones.
    let gone: Vec<Id> = (0..6).filter_map(|_| aged.evict(&|_| true)).collect();
    assert_eq!(gone, [0, 9, 1, 2, 3, 4].map(id));
}

#[test]
fn a_size_that_changes_is_counted() {
    let mut aged = full();
    aged.resize(&id(0), size(300));
    aged.insert(&id(1), size(50), Worth::NEUTRAL);
    assert_eq!(aged.usage().used, size(1150));
    aged.remove(&id(0));
    assert_eq!(aged.usage().used, size(850));
}

#[test]
fn nothing_is_noted_unless_rows_are_kept() {
    let mut aged = full();
    aged.evict(&|_| true);
    assert!(!aged.is_changed() && aged.take_changes().is_empty());
}
