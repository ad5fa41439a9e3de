use std::time::{Duration, Instant};

use libp2p_identity::Keypair;
use pop_dag::{Block, Buf, Codec, Scope};
use pop_units::{AttoFil, Bytes, PricePerByte};
use pop_wire::offer::{Offer, SignatureError, SignedOffer};
use pop_wire::query::{Query, VERSION};
use pop_wire::{RequestId, limit};

use super::{Auction, Bid, Strategy, Unfit, check, choose};

const NOW_S: u64 = 1_800_000_000;

fn key(n: u8) -> Keypair {
    Keypair::ed25519_from_bytes([n; 32]).unwrap()
}

fn price(atto: u128) -> PricePerByte {
    PricePerByte::per_gib(AttoFil::new(atto))
}

fn query() -> Query {
    Query {
        v: VERSION,
        req_id: RequestId::new([1; 16]),
        root: *Block::of(Codec::Raw, Buf::from_static(b"pop")).cid(),
        scope: Scope::all(),
        max_price: price(100),
        ttl_s: 30,
        reply_addrs: Vec::new(),
        chain: "local:00000001".into(),
    }
}

fn offer(n: u8, atto: u128) -> Offer {
    Offer {
        req_id: query().req_id,
        root: query().root,
        scope: Scope::all(),
        size: Bytes::new(3),
        price: price(atto),
        interval: limit::INTERVAL_MIN,
        interval_max: limit::INTERVAL_MAX,
        payee: Some("f1cjzbiy5xd4ehera4wmbz63pd5ku4oo7g52cldga".parse().unwrap()),
        chain: query().chain,
        provider: key(n).public().to_peer_id(),
        expiry: NOW_S + 60,
    }
}

fn signed(n: u8, atto: u128) -> SignedOffer {
    SignedOffer::sign(offer(n, atto), &key(n)).unwrap()
}

#[test]
fn an_offer_must_fit_the_question() {
    let sender = key(1).public().to_peer_id();
    let resign = |change: fn(&mut Offer)| {
        let mut changed = offer(1, 100);
        change(&mut changed);
        SignedOffer::sign(changed, &key(1)).unwrap()
    };
    let no_chain = Unfit::NoCommonChain { ours: query().chain, theirs: "local:00000002".into() };
    let too_dear = Unfit::TooDear { price: price(101), max: price(100) };
    let other = *Block::of(Codec::Raw, Buf::from_static(b"other")).cid();
    let mut other_root = offer(1, 1);
    other_root.root = other;
    let table = [
        ("fit", resign(|_| ()), Ok(())),
        ("other id", resign(|o| o.req_id = RequestId::new([2; 16])), Err(Unfit::NotAsked)),
        ("other root", SignedOffer::sign(other_root, &key(1)).unwrap(), Err(Unfit::OtherContent)),
        ("other path", resign(|o| o.scope.path = vec!["x".into()]), Err(Unfit::OtherContent)),
        ("expired", resign(|o| o.expiry = NOW_S), Err(Unfit::Expired)),
        ("too dear", resign(|o| o.price = price(101)), Err(too_dear)),
        ("other chain", resign(|o| o.chain = "local:00000002".into()), Err(no_chain)),
        (
            "free on another chain",
            resign(|o| (o.price, o.chain) = (PricePerByte::FREE, "local:00000002".into())),
            Ok(()),
        ),
    ];
    for (name, signed, expected) in table {
        assert_eq!(check(&signed, &sender, &query(), NOW_S), expected, "{name}");
    }
}

#[test]
fn an_offer_of_somebody_else_is_refused() {
    let (mine, other) = (key(1).public().to_peer_id(), key(2).public().to_peer_id());
    let wrong = Unfit::WrongSender { signer: mine };
    assert_eq!(check(&signed(1, 5), &other, &query(), NOW_S), Err(wrong));
    let mut forged = signed(1, 5);
    forged.offer.size = Bytes::new(4);
    let expected = Err(Unfit::Signature(SignatureError::Forged(mine)));
    assert_eq!(check(&forged, &mine, &query(), NOW_S), expected);
}

#[test]
fn strategies_choose_as_they_say() {
    let offers = [offer(1, 9), offer(2, 3), offer(3, 5)];
    let offers: Vec<&Offer> = offers.iter().collect();
    let table = [
        (Strategy::First, false, Some(0)),
        (Strategy::Cheapest, false, None),
        (Strategy::Cheapest, true, Some(1)),
        (Strategy::FirstBelow(price(5)), false, Some(1)),
        (Strategy::FirstBelow(price(2)), true, None),
    ];
    for (strategy, is_over, expected) in table {
        assert_eq!(choose(strategy, &offers, is_over), expected, "{strategy:?}");
        assert_eq!(choose(strategy, &[], is_over), None, "{strategy:?} of nothing");
    }
}

#[test]
fn the_next_offer_is_tried_when_one_fails() {
    let now = Instant::now();
    let until = now + Duration::from_secs(10);
    let mut auction = Auction::new(Strategy::Cheapest, until);
    assert_eq!(auction.next(now), Bid::Wait(until));
    for (n, atto) in [(1, 9), (2, 3), (3, 5)] {
        assert!(auction.on_offer(signed(n, atto), now));
    }
    assert!(!auction.on_offer(signed(2, 1), now), "one offer for each provider");
    assert_eq!(auction.next(now), Bid::Wait(now + Auction::WINDOW));
    let later = now + Auction::WINDOW;
    for n in [2, 3, 1] {
        let Bid::Take(taken) = auction.next(later) else { panic!("no offer for {n}") };
        assert_eq!(taken.offer.provider, key(n).public().to_peer_id());
    }
    assert_eq!(auction.next(later), Bid::Wait(until), "a late offer may still come");
    assert_eq!(auction.next(until), Bid::Nobody);
    assert_eq!(auction.offers(), 3);
}

#[test]
fn nobody_is_waited_for_once_all_have_answered() {
    let now = Instant::now();
    let mut auction = Auction::new(Strategy::First, now + Duration::from_secs(10));
    auction.on_complete();
    assert_eq!(auction.next(now), Bid::Nobody);
}
