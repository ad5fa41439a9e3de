use bytes::Bytes as Buf;
use cid::Cid;
use libp2p_identity::{Keypair, PeerId};
use pop_dag::{Block, Codec, Scope, What};
use pop_keys::Address;
use pop_units::{AttoFil, Bytes, PricePerByte};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::offer::{Offer, SignatureError, SignedOffer};
use crate::query::Query;
use crate::transfer::{Down, Grant, Open, Refusal, Up};
use crate::{
    BlockHeader, DealId, Decoder, Frame, ProofKey, Reason, RequestId, Token, WireError, decode, dispatch,
    encode, limit, offer, query,
};

/// The name of a case, and what makes a good value bad.
type Spoiled<T> = (&'static str, fn(&mut T));

fn key() -> Keypair {
    Keypair::ed25519_from_bytes([7; 32]).unwrap()
}

fn root() -> Cid {
    *Block::of(Codec::Raw, Buf::from_static(b"pop")).cid()
}

fn scope() -> Scope {
    Scope { path: vec!["a".into(), "b.txt".into()], what: What::All }
}

fn payee() -> Address {
    "f1cjzbiy5xd4ehera4wmbz63pd5ku4oo7g52cldga".parse().unwrap()
}

fn an_offer() -> Offer {
    Offer {
        req_id: RequestId::new([1; 16]),
        root: root(),
        scope: scope(),
        size: Bytes::new(1 << 30),
        price: PricePerByte::per_gib(AttoFil::new(10_000_000_000_000_000)),
        interval: Bytes::MIB,
        interval_max: Bytes::new(16 << 20),
        payee: Some(payee()),
        chain: "local:0011aabb".into(),
        provider: key().public().to_peer_id(),
        expiry: 1_800_000_000,
    }
}

fn a_query() -> Query {
    Query {
        v: query::VERSION,
        req_id: RequestId::new([1; 16]),
        root: root(),
        scope: scope(),
        max_price: PricePerByte::per_gib(AttoFil::new(10_000_000_000_000_000)),
        ttl_s: 30,
        reply_addrs: vec!["/ip4/127.0.0.1/tcp/41504".parse().unwrap()],
        chain: "local:0011aabb".into(),
    }
}

fn a_request() -> dispatch::Request {
    dispatch::Request {
        req_id: RequestId::new([3; 16]),
        root: root(),
        size: Bytes::new(42),
        token: Token::new([4; 32]),
        key: ProofKey::new([5; 32]),
        region: "Global".into(),
    }
}

fn an_open(grant: Grant) -> Up {
    Up::Open(Box::new(Open {
        deal: DealId::new([2; 16]),
        grant,
        root: root(),
        scope: scope(),
        skip: 7,
        channel: Some(payee()),
        credit: limit::CREDIT_WINDOW,
    }))
}

fn frame_of<T: Serialize>(message: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode(message, &mut out).unwrap();
    out
}

/// Compares with the golden file; `POP_BLESS=1` writes it instead.
fn golden(name: &str, bytes: &[u8]) {
    let path = format!("{}/../../testdata/wire/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    if std::env::var_os("POP_BLESS").is_some() {
        std::fs::write(&path, format!("{text}\n")).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    assert_eq!(expected.trim(), text, "{name}: the bytes on the wire have changed");
}

fn golden_frame<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, message: &T) {
    let bytes = frame_of(message);
    let mut input = bytes.as_slice();
    let frame = Decoder::default().feed(&mut input).unwrap().expect("a whole frame");
    let Frame::Control(body) = frame else { panic!("{name}: not a control frame") };
    assert_eq!(decode::<T>(&body).as_ref(), Ok(message), "{name}");
    golden(name, &bytes);
}

#[test]
fn bytes_on_the_wire_are_the_golden_ones() {
    let signed = SignedOffer::sign(an_offer(), &key()).unwrap();
    golden("query.gossip", &a_query().to_gossip().unwrap());
    golden_frame("offer.ask", &offer::Talk::Ask(Box::new(a_query())));
    golden_frame("offer.offer", &offer::Talk::Offer(Box::new(signed.clone())));
    golden_frame("offer.not_here", &offer::Talk::NotHere { req_id: RequestId::new([1; 16]) });
    golden_frame("up.open_offer", &an_open(Grant::Offer(Box::new(signed))));
    golden_frame("up.open_token", &an_open(Grant::Token(Token::new([4; 32]))));
    golden_frame("up.voucher", &Up::Voucher { voucher: vec![0x8b; 36] });
    golden_frame("up.credit", &Up::Credit { bytes: Bytes::MIB });
    golden_frame("up.cancel", &Up::Cancel { why: Reason::new("enough") });
    golden_frame("down.accept", &Down::Accept { deal: DealId::new([2; 16]) });
    golden_frame("down.payment_due", &Down::PaymentDue { sent: Bytes::MIB, owed: AttoFil::new(9) });
    golden_frame("down.refused", &Down::Refused { code: Refusal::Busy, why: Reason::new("later") });
    golden_frame("down.end", &Down::End { blocks: 3, sent: Bytes::new(300) });
    golden_frame("down.receipt", &Down::Receipt { paid: AttoFil::new(9) });
    golden_frame("dispatch.request", &dispatch::Talk::Request(a_request()));
    golden_frame("dispatch.accepted", &dispatch::Talk::Accepted);
    golden_frame("dispatch.have", &dispatch::Talk::Have { proof: [6; 32] });
    golden_frame("dispatch.refused", &dispatch::Talk::Refused { why: Reason::new("full") });
    golden_frame("dispatch.done", &dispatch::Talk::Done { proof: [6; 32] });
    golden("block", &BlockHeader::of(&root(), 3, 9).encode());
}

#[test]
fn a_signed_offer_is_its_providers_promise() {
    let signed = SignedOffer::sign(an_offer(), &key()).unwrap();
    assert_eq!(signed.verify(), Ok(()));
    let provider = an_offer().provider;

    let mut cheaper = signed.clone();
    cheaper.offer.price = PricePerByte::FREE;
    assert_eq!(cheaper.verify(), Err(SignatureError::Forged(provider)));

    let mut stolen = signed.clone();
    stolen.offer.provider = Keypair::ed25519_from_bytes([8; 32]).unwrap().public().to_peer_id();
    assert_eq!(stolen.verify(), Err(SignatureError::Forged(stolen.offer.provider)));
    assert_eq!(SignedOffer::sign(stolen.offer, &key()), Err(SignatureError::NotOurs(stolen_id())));

    let mut keyless = signed;
    let hash = multihash_of_no_key();
    keyless.offer.provider = hash;
    assert_eq!(keyless.verify(), Err(SignatureError::NoKey(hash)));
}

fn stolen_id() -> PeerId {
    Keypair::ed25519_from_bytes([8; 32]).unwrap().public().to_peer_id()
}

/// A peer id of the form that hashes its key.
fn multihash_of_no_key() -> PeerId {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend([9; 32]);
    PeerId::from_bytes(&bytes).unwrap()
}

#[test]
fn an_offer_outside_the_rules_is_refused() {
    let cases: [Spoiled<Offer>; 5] = [
        ("tiny interval", |o| o.interval = Bytes::KIB),
        ("huge interval", |o| o.interval_max = Bytes::GIB),
        ("shrinking interval", |o| {
            o.interval = Bytes::new(4 << 20);
            o.interval_max = Bytes::MIB;
        }),
        ("price without payee", |o| o.payee = None),
        ("chain with a line break", |o| o.chain = "local:\n".into()),
    ];
    for (name, spoil) in cases {
        let mut bad = an_offer();
        spoil(&mut bad);
        assert!(bad.check().is_err(), "{name}");
    }
}

#[test]
fn a_query_over_the_limits_is_refused() {
    let cases: [Spoiled<Query>; 5] = [
        ("version", |q| q.v = 2),
        ("addresses", |q| q.reply_addrs = vec![q.reply_addrs[0].clone(); limit::REPLY_ADDRS + 1]),
        ("chain", |q| q.chain = "x".repeat(limit::CHAIN + 1)),
        ("path", |q| q.scope.path = vec!["x".into(); limit::PATH_SEGMENTS + 1]),
        ("segment", |q| q.scope.path = vec!["x".repeat(limit::PATH_SEGMENT + 1)]),
    ];
    for (name, spoil) in cases {
        let mut bad = a_query();
        spoil(&mut bad);
        assert!(bad.to_gossip().is_err(), "{name}");
        let bytes = serde_ipld_dagcbor::to_vec(&bad).unwrap();
        assert!(Query::from_gossip(&bytes).is_err(), "{name}");
    }
    assert!(Query::from_gossip(&vec![0; limit::QUERY.as_usize() + 1]).is_err());
}

#[test]
fn what_is_no_frame_is_refused() {
    let table: [(&str, &[u8], WireError); 5] = [
        ("type", &[9], WireError::UnknownFrame { kind: 9 }),
        (
            "long control frame",
            &[1, 0x81, 0x80, 0x04],
            WireError::TooLong { what: "control frame", len: 65_537, limit: 65_536 },
        ),
        ("endless varint", &[1, 0xff, 0xff, 0xff, 0xff], WireError::BadLength),
        ("padded varint", &[1, 0x81, 0x00], WireError::BadLength),
        (
            "flags",
            &{
                let mut bytes = BlockHeader::of(&root(), 3, 9).encode();
                bytes[1] = 1;
                bytes
            },
            WireError::BadHeader("flags are set"),
        ),
    ];
    for (name, bytes, expected) in table {
        let mut input = bytes;
        assert_eq!(Decoder::default().feed(&mut input), Err(expected), "{name}");
    }
    let mut long = BlockHeader::of(&root(), 3, 9).encode();
    long[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(Decoder::default().feed(&mut &long[..]), Err(WireError::TooLong { what: "block", .. })));
}

#[test]
fn an_unknown_field_or_bytes_after_the_message_are_refused() {
    let mut body = serde_ipld_dagcbor::to_vec(&Up::Credit { bytes: Bytes::MIB }).unwrap();
    body.push(0);
    assert!(decode::<Up>(&body).is_err());
    assert!(decode::<Up>(&[0xa1, 0x63, b'f', b'o', b'o', 0xa0]).is_err());
}

#[test]
fn a_topic_names_its_region() {
    assert_eq!(crate::region_of(&crate::query_topic("Europe")), Some("Europe"));
    assert_eq!(crate::region_of("/pop/query/1.0.0/"), None);
    assert_eq!(crate::region_of("/other"), None);
}

#[test]
fn reasons_cannot_move_the_cursor() {
    let reason = Reason::new(format!("\u{1b}[2J{}", "x".repeat(1000)));
    assert!(!reason.as_str().contains('\u{1b}'));
    assert_eq!(reason.as_str().chars().count(), limit::REASON);
}

proptest! {
    #[test]
    fn decoding_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mut input = bytes.as_slice();
        let mut decoder = Decoder::default();
        while let Ok(Some(frame)) = decoder.feed(&mut input) {
            if let Frame::Control(body) = frame {
                let _ = decode::<Up>(&body);
                let _ = decode::<Down>(&body);
                let _ = decode::<offer::Talk>(&body);
                let _ = decode::<dispatch::Talk>(&body);
            }
        }
        let _ = Query::from_gossip(&bytes);
    }

    #[test]
    fn a_damaged_message_never_panics(at in 0usize..400, to in any::<u8>()) {
        let signed = SignedOffer::sign(an_offer(), &key()).unwrap();
        let mut bytes = frame_of(&an_open(Grant::Offer(Box::new(signed))));
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(Some(Frame::Control(body))) = Decoder::default().feed(&mut bytes.as_slice())
            && let Ok(up) = decode::<Up>(&body)
        {
            let _ = up.check();
        }
    }

    #[test]
    fn frames_survive_any_split(
        blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..6),
        cut in 1usize..64,
    ) {
        let mut stream = Vec::new();
        for (seq, data) in (0u64..).zip(&blocks) {
            let block = Block::of(Codec::Raw, Buf::from(data.clone()));
            let len = u32::try_from(data.len()).unwrap();
            stream.extend(BlockHeader::of(block.cid(), len, seq).encode());
            stream.extend(data);
            encode(&Up::Credit { bytes: Bytes::new(seq) }, &mut stream).unwrap();
        }
        let (mut decoder, mut seen, mut credits) = (Decoder::default(), Vec::new(), 0u64);
        for mut piece in stream.chunks(cut) {
            while let Some(frame) = decoder.feed(&mut piece).unwrap() {
                match frame {
                    Frame::Block(header, data) => {
                        prop_assert_eq!(header.seq, credits);
                        seen.push(data.to_vec());
                    }
                    Frame::Control(body) => {
                        prop_assert_eq!(decode::<Up>(&body), Ok(Up::Credit { bytes: Bytes::new(credits) }));
                        credits += 1;
                    }
                }
            }
        }
        prop_assert!(decoder.is_at_boundary());
        prop_assert_eq!(seen, blocks);
    }

    #[test]
    fn headers_round_trip(prefix: u16, len in 0u32..2 << 20, seq: u64, digest: [u8; 32]) {
        let header = BlockHeader { prefix, len, seq, digest };
        prop_assert_eq!(BlockHeader::decode(&header.encode()), Ok(header));
    }
}
