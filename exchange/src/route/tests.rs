use std::time::{Duration, Instant};

use libp2p_identity::Keypair;
use pop_dag::{Block, Buf, Codec, Scope};
use pop_units::{Bytes, PricePerByte};
use pop_wire::offer::{Offer, SignedOffer};
use pop_wire::query::{Query, VERSION};
use pop_wire::{RequestId, limit};

use super::{ASKED, Asked, HEARD, Heard, RATE, RATE_WINDOW, TooManyOpen};
use crate::offer::Unfit;

const LONG: Duration = Duration::from_secs(60);

fn query(id: u8) -> Query {
    Query {
        v: VERSION,
        req_id: RequestId::new([id; 16]),
        root: *Block::of(Codec::Raw, Buf::from_static(b"pop")).cid(),
        scope: Scope::all(),
        max_price: PricePerByte::FREE,
        ttl_s: 30,
        reply_addrs: Vec::new(),
        chain: "local:00000001".into(),
    }
}

fn answer(id: u8) -> SignedOffer {
    let key = Keypair::ed25519_from_bytes([1; 32]).unwrap();
    let offer = Offer {
        req_id: RequestId::new([id; 16]),
        root: query(id).root,
        scope: Scope::all(),
        size: Bytes::new(3),
        price: PricePerByte::FREE,
        interval: limit::INTERVAL_MIN,
        interval_max: limit::INTERVAL_MAX,
        payee: None,
        chain: query(id).chain,
        provider: key.public().to_peer_id(),
        expiry: 100,
    };
    SignedOffer::sign(offer, &key).unwrap()
}

#[test]
fn an_offer_finds_its_question_by_id() {
    let now = Instant::now();
    let mut asked = Asked::default();
    let sender = answer(1).offer.provider;
    for id in [1, 2] {
        asked.ask(query(id), now + LONG, now).unwrap();
    }
    assert_eq!(asked.on_offer(&answer(2), &sender, now, 0), Ok(RequestId::new([2; 16])));
    assert_eq!(asked.on_offer(&answer(3), &sender, now, 0), Err(Unfit::NotAsked));
    assert_eq!(asked.on_offer(&answer(2), &sender, now + LONG, 0), Err(Unfit::NotAsked), "late");
    asked.close(&RequestId::new([2; 16]));
    assert_eq!(asked.on_offer(&answer(2), &sender, now, 0), Err(Unfit::NotAsked));
    assert_eq!(asked.len(), 1);
}

#[test]
fn open_questions_are_bounded_and_expire() {
    let now = Instant::now();
    let mut asked = Asked::default();
    for n in 0..ASKED {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_le_bytes());
        asked.ask(Query { req_id: RequestId::new(id), ..query(0) }, now + LONG, now).unwrap();
    }
    assert_eq!(asked.ask(query(9), now + LONG, now), Err(TooManyOpen));
    assert_eq!(asked.ask(query(9), now + LONG * 2, now + LONG), Ok(()));
    assert_eq!(asked.len(), 1);
}

#[test]
fn the_same_question_under_three_ids_is_three_questions() {
    let now = Instant::now();
    let mut heard = Heard::default();
    let author = answer(1).offer.provider;
    for id in 1..=3 {
        assert!(heard.is_news(author, RequestId::new([id; 16]), now));
        assert!(!heard.is_news(author, RequestId::new([id; 16]), now), "once each");
    }
    let other = Keypair::ed25519_from_bytes([2; 32]).unwrap().public().to_peer_id();
    assert!(heard.is_news(other, RequestId::new([1; 16]), now), "ids are the author's own");
}

#[test]
fn an_author_that_asks_too_often_is_not_answered() {
    let now = Instant::now();
    let mut heard = Heard::default();
    let author = answer(1).offer.provider;
    let id = |n: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_le_bytes());
        RequestId::new(id)
    };
    assert!((0..RATE).all(|n| heard.is_news(author, id(n), now)));
    assert!(!heard.is_news(author, id(RATE), now));
    assert!(heard.is_news(author, id(RATE), now + RATE_WINDOW));
}

#[test]
fn memory_of_questions_is_bounded() {
    let mut heard = Heard::default();
    let mut now = Instant::now();
    let author = answer(1).offer.provider;
    for n in 0..(2 * HEARD) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_le_bytes());
        now += RATE_WINDOW / RATE;
        heard.is_news(author, RequestId::new(id), now);
    }
    assert!(heard.known.len() <= HEARD && heard.order.len() <= HEARD);
}
