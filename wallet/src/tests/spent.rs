//! What was spent in a day, over restarts and clocks that go wrong.

use super::*;
use crate::rows::lane_key;

fn noon(hours: u64) -> Hour {
    Hour::of(NOON.end() + hours * 3600 - 1)
}

/// Promises `add` on the lane of a deal, so many hours after noon.
fn pay(world: &World, hold: &Lanehold, (hours, add): (u64, u128)) {
    world.payer.wallet().voucher(hold, fil(add), Bytes::MIB, noon(hours)).unwrap();
}

fn spent(world: &World, hours: u64) -> Vec<(Hour, u128)> {
    let hours = world.payer.wallet().spent_by_hour(noon(hours)).unwrap();
    hours.into_iter().map(|(hour, amount)| (hour, amount.get())).collect()
}

#[test]
fn an_hour_ends_where_the_next_begins() {
    for (seconds, end) in [(0, 3600), (3599, 3600), (3600, 7200)] {
        assert_eq!(Hour::of(seconds).end(), end);
    }
    assert_eq!(Hour::of(NOON.end()), noon(1));
}

#[tokio::test]
async fn what_was_spent_in_a_day_is_known_after_a_restart() {
    let mut world = World::new().await;
    let (one, two) = (world.hold(1, 100).await, world.hold(2, 100).await);
    assert_ne!(one.lane, two.lane);
    for (hold, paid) in [(&one, (0, 3)), (&one, (0, 4)), (&two, (0, 10)), (&two, (2, 20))] {
        pay(&world, hold, paid);
    }
    world.payer.restart();
    assert_eq!(spent(&world, 2), [(noon(0), 17), (noon(2), 20)]);
    // The last moment of an hour is less than a day ago while the 24th hour after it lasts.
    assert_eq!(spent(&world, 24), [(noon(0), 17), (noon(2), 20)]);
    assert_eq!(spent(&world, 25), [(noon(2), 20)]);
    assert_eq!(spent(&world, 27), []);
}

#[tokio::test]
async fn hours_that_no_day_reaches_are_forgotten() {
    let world = World::new().await;
    let hold = world.hold(1, 1000).await;
    for hour in 0..100 {
        pay(&world, &hold, (hour, 1));
    }
    let inner = &world.payer.wallet().0;
    assert_eq!(inner.state.scan(&inner.tables.spent, &lane_key(0, hold.lane)).unwrap().len(), 25);
    assert_eq!(spent(&world, 99).len(), 25);
}

#[tokio::test]
async fn what_a_wrong_clock_put_in_the_future_counts_as_now_and_for_a_day() {
    let world = World::new().await;
    let hold = world.hold(1, 100).await;
    pay(&world, &hold, (1_000_000, 7));
    assert_eq!(spent(&world, 0), [(noon(0), 7)]);
    pay(&world, &hold, (1, 1));
    assert_eq!(spent(&world, 1), [(noon(1), 8)]);
    assert_eq!(spent(&world, 26), []);
}

#[tokio::test]
async fn a_voucher_that_is_refused_was_not_spent() {
    let world = World::new().await;
    let hold = world.hold(1, 10).await;
    assert!(world.payer.wallet().voucher(&hold, fil(11), Bytes::MIB, NOON).is_err());
    assert_eq!(spent(&world, 0), []);
}
