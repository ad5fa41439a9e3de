use pop_keys::SecretKey;
use proptest::prelude::*;

use super::*;
use crate::paych::{ExtraCall, Merge};

fn fil(amount: u128) -> AttoFil {
    AttoFil::new(amount)
}

fn payer() -> SecretKey {
    SecretKey::from_bytes(&[1; 32]).unwrap()
}

fn payee() -> Address {
    SecretKey::from_bytes(&[2; 32]).unwrap().address()
}

fn channel() -> Address {
    Address::of_actor_seed(b"channel")
}

fn view() -> View {
    View {
        channel: channel(),
        id: Address::new_id(1001).unwrap(),
        from: payer().address(),
        to: payee(),
        balance: fil(100),
        settling_at: ChainEpoch::new(0),
        confidence: 5,
        exists: true,
        lanes: BTreeMap::new(),
    }
}

fn expect() -> Expect {
    Expect::new(fil(10), Bytes::MIB)
}

fn voucher(nonce: u64, amount: u128) -> Voucher {
    Voucher::new(channel(), Lane::new(0), Nonce::new(nonce), fil(amount))
}

fn best(voucher: Voucher) -> BTreeMap<Lane, Best> {
    let voucher = voucher.sign(&payer());
    let best = Best { bytes: voucher.encode(), nonce: voucher.nonce, amount: voucher.amount };
    [(voucher.lane, best)].into()
}

fn answer(
    voucher: Voucher,
    view: &View,
    best: &BTreeMap<Lane, Best>,
    expect: &Expect,
) -> Result<AttoFil, Refusal> {
    let bytes = voucher.sign(&payer()).encode();
    match judge(&bytes, view, best, None, expect)? {
        Verdict::Fresh(fresh) => Ok(fresh.delta),
        Verdict::Known { .. } => Ok(AttoFil::ZERO),
    }
}

#[test]
fn good_voucher_counts_for_what_it_adds() {
    assert_eq!(answer(voucher(1, 10), &view(), &BTreeMap::new(), &expect()).unwrap(), fil(10));
    let held = best(voucher(1, 10));
    assert_eq!(answer(voucher(2, 35), &view(), &held, &expect()).unwrap(), fil(25));
    let by_number = Voucher { channel: view().id, ..voucher(2, 35) };
    assert_eq!(answer(by_number, &view(), &held, &expect()).unwrap(), fil(25));
}

#[test]
fn same_voucher_again_is_acknowledged_and_adds_nothing() {
    let bytes = voucher(3, 40).sign(&payer()).encode();
    let held = best(voucher(3, 40));
    let verdict = judge(&bytes, &view(), &held, None, &expect()).unwrap();
    assert_eq!(verdict, Verdict::Known { lane: Lane::new(0), total: fil(40) });
}

#[test]
fn rule_1_malformed() {
    for bytes in [&[][..], &[0x8b], &[0xff; 40], &[0; 600]] {
        let refusal = judge(bytes, &view(), &BTreeMap::new(), None, &expect()).unwrap_err();
        assert_eq!(refusal.code(), "malformed");
    }
    let unsigned = voucher(1, 10).encode();
    let refusal = judge(&unsigned, &view(), &BTreeMap::new(), None, &expect()).unwrap_err();
    assert!(matches!(refusal, Refusal::Malformed(VoucherError::Unsigned)));
}

/// One broken rule each: the voucher, the view, what is held, what is expected, the variant.
#[test]
fn each_rule_refuses_by_its_own_name() {
    let none = BTreeMap::new();
    let good = || voucher(5, 50);
    let lane = |lane| Voucher { lane: Lane::new(lane), ..good() };
    let epoch = ChainEpoch::new;
    let extra = ExtraCall { actor: payee(), method: 1, params: Vec::new() };
    let merge = Merge { lane: Lane::new(3), nonce: Nonce::new(1) };
    let other = Address::of_actor_seed(b"other");
    let on_chain = LaneState { redeemed: fil(60), nonce: Nonce::new(4) };
    let table = [
        (Voucher { channel: other, ..good() }, view(), none.clone(), expect(), "OtherChannel"),
        (good(), View { exists: false, ..view() }, none.clone(), expect(), "Closed"),
        (good(), View { settling_at: epoch(9), ..view() }, none.clone(), expect(), "Settling"),
        (good(), view(), none.clone(), Expect { confidence: 6, ..expect() }, "Unconfirmed"),
        (good(), View { from: payee(), ..view() }, none.clone(), expect(), "BadSignature"),
        (Voucher { extra: Some(extra), ..good() }, view(), none.clone(), expect(), "Locked"),
        (Voucher { secret_hash: vec![1; 32], ..good() }, view(), none.clone(), expect(), "Locked"),
        (Voucher { merges: vec![merge], ..good() }, view(), none.clone(), expect(), "Locked"),
        (Voucher { time_lock_min: epoch(1), ..good() }, view(), none.clone(), expect(), "Locked"),
        (Voucher { time_lock_max: epoch(1), ..good() }, view(), none.clone(), expect(), "Locked"),
        (lane(1 << 63), view(), none.clone(), expect(), "Lane"),
        (good(), view(), best(voucher(5, 20)), expect(), "StaleNonce"),
        (good(), view(), best(voucher(4, 50)), expect(), "StaleAmount"),
        (
            good(),
            View { lanes: [(Lane::new(0), on_chain)].into(), ..view() },
            none.clone(),
            expect(),
            "StaleAmount",
        ),
        (voucher(1, 0), view(), none.clone(), Expect { min_delta: fil(0), ..expect() }, "StaleAmount"),
        (good(), view(), best(voucher(4, 41)), expect(), "Underpaid"),
        (voucher(5, 101), view(), none.clone(), expect(), "Shortfall"),
        (lane(1), view(), best(voucher(4, 51)), expect(), "Shortfall"),
        (
            good(),
            View { lanes: [(Lane::new(7), on_chain)].into(), ..view() },
            none.clone(),
            expect(),
            "Shortfall",
        ),
        (good(), view(), none.clone(), Expect { min_settle: epoch(9), ..expect() }, "SettleHorizon"),
    ];
    for (i, (voucher, view, held, expect, want)) in table.into_iter().enumerate() {
        let refusal = answer(voucher, &view, &held, &expect).unwrap_err();
        let got = format!("{refusal:?}");
        assert!(got.starts_with(want), "case {i}: {got} instead of {want}");
    }
}

#[test]
fn shortfall_tells_what_to_add() {
    let refusal = answer(voucher(5, 130), &view(), &BTreeMap::new(), &expect()).unwrap_err();
    assert!(matches!(refusal, Refusal::Shortfall { short } if short == fil(30)));
}

#[test]
fn payer_cannot_open_lanes_without_end() {
    let mut held = BTreeMap::new();
    for i in 0..16 {
        held.extend(best(Voucher { lane: Lane::new(i), ..voucher(1, 1) }));
    }
    let refusal =
        answer(Voucher { lane: Lane::new(16), ..voucher(1, 20) }, &view(), &held, &expect()).unwrap_err();
    assert!(matches!(refusal, Refusal::Lane { .. }));
}

#[test]
fn known_key_checks_the_same() {
    let key = voucher(1, 10).sign(&payer()).signer().unwrap();
    let good = voucher(1, 10).sign(&payer()).encode();
    assert!(judge(&good, &view(), &BTreeMap::new(), Some(&key), &expect()).is_ok());
    let forged = voucher(1, 10).sign(&SecretKey::from_bytes(&[9; 32]).unwrap()).encode();
    let refusal = judge(&forged, &view(), &BTreeMap::new(), Some(&key), &expect()).unwrap_err();
    assert_eq!(refusal.code(), "bad-signature");
    let mut twisted = good;
    *twisted.last_mut().unwrap() ^= 1;
    let refusal = judge(&twisted, &view(), &BTreeMap::new(), Some(&key), &expect()).unwrap_err();
    assert_eq!(refusal.code(), "bad-signature");
}

proptest! {
    #[test]
    fn accepted_money_never_exceeds_the_channel(
        vouchers in proptest::collection::vec((0u64..4, 0u64..12, 0u128..60), 0..30),
    ) {
        let mut held = BTreeMap::<Lane, Best>::new();
        let expect = Expect { min_delta: fil(0), ..expect() };
        for (lane, nonce, amount) in vouchers {
            let voucher = Voucher { lane: Lane::new(lane), ..voucher(nonce, amount) }.sign(&payer());
            let bytes = voucher.encode();
            if let Ok(Verdict::Fresh(fresh)) = judge(&bytes, &view(), &held, None, &expect) {
                let before = held.get(&voucher.lane).map(|best| best.amount).unwrap_or_default();
                prop_assert_eq!(before.checked_add(fresh.delta).unwrap(), voucher.amount);
                held.insert(voucher.lane, Best { bytes, nonce: voucher.nonce, amount: voucher.amount });
            }
            let total = AttoFil::checked_sum(held.values().map(|best| best.amount)).unwrap();
            prop_assert!(total <= fil(100));
        }
    }
}
