use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::SignedAtto;

fn published() -> Vec<Value> {
    let text = include_str!("../../../../testdata/paych/vouchers.json");
    let all: Value = serde_json::from_str(text).unwrap();
    all["vouchers"].as_array().unwrap().clone()
}

fn text_of(vector: &Value) -> &str {
    vector["base64"].as_str().or(vector["base64url"].as_str()).unwrap()
}

#[test]
fn published_vouchers_decode_and_encode_back_identically() {
    let vouchers = published();
    assert_eq!(vouchers.len(), 4);
    for vector in &vouchers {
        let text = text_of(vector);
        let voucher: Voucher = text.parse().unwrap();
        assert_eq!(STANDARD.encode(voucher.encode()), text.replace('-', "+").replace('_', "/"));
        assert_eq!(voucher.to_string().parse::<Voucher>().unwrap(), voucher);
        if let Some(lane) = vector["lane"].as_u64() {
            assert_eq!(voucher.lane, Lane::new(lane));
        }
        if let Some(nonce) = vector["nonce"].as_u64() {
            assert_eq!(voucher.nonce, Nonce::new(nonce));
        }
        if let Some(amount) = vector["amount"].as_str() {
            assert_eq!(voucher.amount.to_atto_string(), amount);
        }
        if let Some(channel) = vector["channel"].as_str() {
            assert_eq!(voucher.channel.to_testnet_string(), channel);
        }
        let signer = match (vector["signer"].as_str(), vector["private_key_base64"].as_str()) {
            (Some(signer), _) => signer.to_owned(),
            (None, Some(key)) => {
                let key = SecretKey::from_bytes(&STANDARD.decode(key).unwrap()).unwrap();
                key.address().to_testnet_string()
            }
            (None, None) => panic!("vector without a signer"),
        };
        assert_eq!(voucher.signer().unwrap().address().to_testnet_string(), signer);
    }
}

#[test]
fn first_published_voucher_is_signed_bit_identically() {
    let vouchers = published();
    let vector = &vouchers[0];
    let key = STANDARD.decode(vector["private_key_base64"].as_str().unwrap()).unwrap();
    let key = SecretKey::from_bytes(&key).unwrap();
    let channel = vector["channel"].as_str().unwrap().parse().unwrap();
    let voucher = Voucher::new(channel, Lane::new(1), Nonce::new(1), AttoFil::new(10_000));
    let expected = vector["signing_bytes_hex"].as_str().unwrap();
    let signing: String = voucher.signing_bytes().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(signing, expected);
    assert_eq!(STANDARD.encode(voucher.sign(&key).encode()), text_of(vector));
}

fn raw() -> RawVoucher {
    let key = SecretKey::from_bytes(&[5; 32]).unwrap();
    let channel = Address::of_actor_seed(b"channel");
    let voucher = Voucher::new(channel, Lane::new(0), Nonce::new(3), AttoFil::new(77)).sign(&key);
    RawVoucher::from(&voucher)
}

#[test]
fn signature_with_a_doubled_type_byte_is_refused() {
    let mut raw = raw();
    raw.signature.as_mut().unwrap().insert(0, 1);
    let error = Voucher::decode(&encode(&raw)).unwrap_err();
    assert!(matches!(error, VoucherError::Signature(SignatureError::Form { len: 67 })), "{error}");
}

#[test]
fn negative_amount_is_refused_by_name() {
    let raw = RawVoucher { amount: SignedAtto::new(-1), ..raw() };
    let error = Voucher::decode(&encode(&raw)).unwrap_err();
    assert!(matches!(error, VoucherError::Negative(NegativeAmount(-1))), "{error}");
}

#[test]
fn non_canonical_and_oversized_bytes_are_refused() {
    let bytes = encode(&raw());
    assert!(Voucher::decode(&bytes).is_ok());
    // The array head in two bytes: same meaning, other bytes.
    let mut loose = vec![0x98, 11];
    loose.extend_from_slice(&bytes[1..]);
    assert!(Voucher::decode(&loose).is_err());
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(Voucher::decode(&longer).is_err());
    let raw = RawVoucher { secret_hash: vec![0; 512], ..raw() };
    assert!(matches!(Voucher::decode(&encode(&raw)), Err(VoucherError::TooLong(_))));
    assert!(matches!("A".repeat(4000).parse::<Voucher>(), Err(VoucherError::TooLong(_))));
    assert!(matches!("not base64!".parse::<Voucher>(), Err(VoucherError::Text)));
}

#[test]
fn amount_zero_is_an_empty_byte_string() {
    let voucher = Voucher::new(Address::new_id(9).unwrap(), Lane::new(0), Nonce::new(0), AttoFil::ZERO);
    assert_eq!(voucher.encode(), [0x8b, 0x42, 0, 9, 0, 0, 0x40, 0xf6, 0, 0, 0x40, 0, 0x80, 0xf6]);
}

proptest! {
    #[test]
    fn vouchers_round_trip(
        lane in any::<u64>(),
        nonce in any::<u64>(),
        amount in 0..u128::MAX >> 1,
        times in any::<(i64, i64, i64)>(),
        merges in proptest::collection::vec(any::<(u64, u64)>(), 0..4),
        secret in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let key = SecretKey::from_bytes(&[5; 32]).unwrap();
        let plain = Voucher::new(Address::of_actor_seed(&secret), Lane::new(lane), Nonce::new(nonce), AttoFil::new(amount));
        let voucher = Voucher {
            time_lock_min: ChainEpoch::new(times.0),
            time_lock_max: ChainEpoch::new(times.1),
            min_settle_height: ChainEpoch::new(times.2),
            merges: merges.iter().map(|m| Merge { lane: Lane::new(m.0), nonce: Nonce::new(m.1) }).collect(),
            secret_hash: secret,
            ..plain
        }
        .sign(&key);
        prop_assert_eq!(&Voucher::decode(&voucher.encode()).unwrap(), &voucher);
        prop_assert_eq!(voucher.signer().unwrap().address(), key.address());
    }

    #[test]
    fn decoding_never_panics_and_is_canonical(
        flips in proptest::collection::vec((0usize..110, any::<u8>()), 0..4),
        noise in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut bytes = encode(&raw());
        let len = bytes.len();
        for (at, byte) in flips {
            bytes[at % len] = byte;
        }
        for candidate in [bytes, noise] {
            if let Ok(voucher) = Voucher::decode(&candidate) {
                prop_assert_eq!(voucher.encode(), candidate);
                let _ = voucher.signer();
            }
        }
    }
}
