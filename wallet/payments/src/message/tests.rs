use proptest::prelude::*;

use super::*;

fn vectors() -> Value {
    let text = include_str!("../../../../testdata/paych/messages.json");
    serde_json::from_str(text).unwrap()
}

#[test]
fn published_message_is_signed_bit_identically() {
    let vectors = vectors();
    let vector = &vectors["signed"];
    let published = SignedMessage::from_json(&vector["tx"]).unwrap();
    let key = BASE64.decode(vector["pk"].as_str().unwrap()).unwrap();
    let key = SecretKey::from_bytes(&key).unwrap();
    assert_eq!(key.address(), published.message.from);
    assert_eq!(published.message.clone().sign(&key), published);
    published.verify(&key.address()).unwrap();
}

#[test]
fn published_cid_is_reproduced() {
    let vectors = vectors();
    let signed = SignedMessage::from_json(&vectors["cid"]["signed_message"]).unwrap();
    assert_eq!(signed.cid().to_string(), vectors["cid"]["cid"].as_str().unwrap());
}

#[test]
fn foreign_bytes_are_refused() {
    let key = SecretKey::from_bytes(&[3; 32]).unwrap();
    let to = Address::new_id(7).unwrap();
    let signed = Message::new(key.address(), to, AttoFil::new(5), 2, vec![1, 2]).sign(&key);
    let bytes = signed.to_bytes();
    assert_eq!(SignedMessage::from_bytes(&bytes).unwrap(), signed);
    for end in 0..bytes.len() {
        assert!(SignedMessage::from_bytes(&bytes[..end]).is_err());
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(SignedMessage::from_bytes(&longer).is_err());
    // A CBOR array head written in two bytes says the same and is refused.
    let mut loose = vec![0x98, 0x02];
    loose.extend_from_slice(&bytes[1..]);
    assert!(SignedMessage::from_bytes(&loose).is_err());
    assert!(matches!(SignedMessage::from_bytes(&vec![0; 70_000]), Err(MessageError::TooLong(70_000))));
}

#[test]
fn negative_value_is_refused_by_name() {
    let key = SecretKey::from_bytes(&[3; 32]).unwrap();
    let mut tuple = Message::new(key.address(), key.address(), AttoFil::ZERO, 0, Vec::new()).tuple();
    tuple.4 = SignedAtto::new(-9);
    let error = Message::from_bytes(&encode(&tuple)).unwrap_err();
    assert!(matches!(error, MessageError::Negative(NegativeAmount(-9))), "{error}");
}

proptest! {
    #[test]
    fn messages_round_trip(
        nonce in any::<u64>(),
        value in 0..u128::MAX >> 1,
        gas in any::<u64>(),
        method in any::<u64>(),
        params in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let key = SecretKey::from_bytes(&[9; 32]).unwrap();
        let mut message = Message::new(key.address(), Address::new_id(nonce >> 1).unwrap(), AttoFil::new(value), method, params);
        message.nonce = Nonce::new(nonce);
        message.gas_limit = gas;
        prop_assert_eq!(&Message::from_bytes(&message.to_bytes()).unwrap(), &message);
        prop_assert_eq!(Message::from_json(&message.to_json()).unwrap(), message);
    }

    #[test]
    fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = SignedMessage::from_bytes(&bytes);
        let _ = Message::from_bytes(&bytes);
    }
}
