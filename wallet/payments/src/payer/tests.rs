use pop_keys::Address;
use proptest::prelude::*;

use super::*;

const A: DealId = [1; 16];
const B: DealId = [2; 16];

fn fil(amount: u128) -> AttoFil {
    AttoFil::new(amount)
}

#[test]
fn amounts_add_up_and_nonces_rise() {
    let mut lanes = Lanes::new(fil(100), []);
    let lane = lanes.hold(A, fil(60)).unwrap();
    assert_eq!(
        lanes.reserve(&A, lane, fil(10)),
        Ok(Reserved { lane, nonce: Nonce::new(1), amount: fil(10) })
    );
    assert_eq!(
        lanes.reserve(&A, lane, fil(15)),
        Ok(Reserved { lane, nonce: Nonce::new(2), amount: fil(25) })
    );
    assert_eq!(lanes.promised(), Ok(fil(25)));
    assert_eq!(lanes.free(), Ok(fil(40)));
}

#[test]
fn channel_is_never_promised_beyond_its_funds() {
    let mut lanes = Lanes::new(fil(100), []);
    let lane = lanes.hold(A, fil(10)).unwrap();
    assert_eq!(lanes.reserve(&A, lane, fil(101)), Err(PayError::Shortfall { short: fil(1) }));
    assert!(lanes.reserve(&A, lane, fil(100)).is_ok());
    assert_eq!(lanes.reserve(&A, lane, fil(1)), Err(PayError::Shortfall { short: fil(1) }));
    assert_eq!(lanes.hold(B, fil(7)), Err(PayError::Shortfall { short: fil(7) }));
    lanes.on_funds(fil(107));
    assert_eq!(lanes.hold(B, fil(7)), Ok(Lane::new(1)));
}

#[test]
fn a_deal_cannot_spend_what_another_holds() {
    let mut lanes = Lanes::new(fil(100), []);
    let (a, b) = (lanes.hold(A, fil(50)).unwrap(), lanes.hold(B, fil(40)).unwrap());
    assert_ne!(a, b);
    assert_eq!(lanes.reserve(&A, a, fil(61)), Err(PayError::Shortfall { short: fil(1) }));
    assert!(lanes.reserve(&B, b, fil(40)).is_ok());
    assert!(lanes.reserve(&A, a, fil(60)).is_ok());
}

#[test]
fn released_lane_serves_the_next_deal_and_goes_on_counting() {
    let mut lanes = Lanes::new(fil(100), []);
    let lane = lanes.hold(A, fil(50)).unwrap();
    lanes.reserve(&A, lane, fil(5)).unwrap();
    lanes.release(&A);
    assert_eq!(lanes.free(), Ok(fil(95)));
    assert_eq!(lanes.reserve(&A, lane, fil(1)), Err(PayError::NotHeld { lane }));
    assert_eq!(lanes.hold(B, fil(10)), Ok(lane));
    assert_eq!(lanes.hold(B, fil(10)), Ok(lane));
    assert_eq!(lanes.reserve(&B, lane, fil(1)).unwrap().amount, fil(6));
}

#[test]
fn lanes_are_bounded() {
    let mut lanes = Lanes::new(fil(100), []);
    for i in 0..16 {
        lanes.hold([i; 16], fil(1)).unwrap();
    }
    assert_eq!(lanes.hold([99; 16], fil(1)), Err(PayError::LanesBusy));
}

#[test]
fn unsent_voucher_gives_its_amount_back_but_not_its_nonce() {
    let mut lanes = Lanes::new(fil(100), []);
    let lane = lanes.hold(A, fil(50)).unwrap();
    let reserved = lanes.reserve(&A, lane, fil(5)).unwrap();
    lanes.on_unsent(&reserved, fil(5));
    assert_eq!(lanes.reserve(&A, lane, fil(5)), Ok(Reserved { lane, nonce: Nonce::new(2), amount: fil(5) }));
}

#[test]
fn own_voucher_shown_by_the_payee_only_raises() {
    let mut lanes = Lanes::new(fil(100), [(Lane::new(0), Promise { nonce: Nonce::new(4), amount: fil(9) })]);
    let channel = Address::of_actor_seed(b"x");
    let shown = |nonce, amount| Voucher::new(channel, Lane::new(0), Nonce::new(nonce), fil(amount));
    assert_eq!(lanes.on_own_voucher(&shown(3, 5)), None);
    assert_eq!(lanes.on_own_voucher(&shown(7, 20)), Some(Promise { nonce: Nonce::new(7), amount: fil(20) }));
}

proptest! {
    #[test]
    fn promises_stay_within_funds_whatever_happens(
        steps in proptest::collection::vec((0u8..4, 0u8..20, 0u128..40), 0..200),
    ) {
        let mut lanes = Lanes::new(fil(300), []);
        let mut last = BTreeMap::<Lane, Reserved>::new();
        for (what, who, amount) in steps {
            let deal = [who; 16];
            match what {
                0 => drop(lanes.hold(deal, fil(amount))),
                1 => lanes.release(&deal),
                _ => {
                    let lane = Lane::new(u64::from(who % 16));
                    if let Ok(reserved) = lanes.reserve(&deal, lane, fil(amount))
                        && let Some(before) = last.insert(lane, reserved)
                    {
                        prop_assert!(reserved.nonce > before.nonce && reserved.amount >= before.amount);
                    }
                }
            }
            prop_assert!(lanes.promised().unwrap() <= fil(300));
        }
    }
}
