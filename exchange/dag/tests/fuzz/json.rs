//! What must hold when dag-json is read, whatever its bytes.

use pop_dag::codec::{cbor, json};

use super::cbor::collect;

/// Reads a block as a walk does, in any form and in its canonical one.
///
/// # Panics
/// Two ways read something else, another encoding of the same value is taken for the canonical one, or what is
/// no JSON is read.
pub(crate) fn check(bytes: &[u8]) {
    let links = json::links(bytes);
    let strict = json::decode(bytes);
    let Ok(value) = json::decode_any(bytes) else {
        assert!(links.is_err() && strict.is_err(), "what no value is made of is read");
        return;
    };
    let theirs: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
    let is_json = match theirs {
        Ok(theirs) => theirs.is_object() == bytes.trim_ascii().starts_with(b"{"),
        // It stops one level before ours.
        Err(error) => error.to_string().starts_with("recursion limit"),
    };
    assert!(is_json, "a general reader reads something else");

    let mut links = links.expect("a value is walked");
    let mut found = Vec::new();
    collect(&value, &mut found);
    // A value holds its maps in another order than the text.
    links.sort();
    found.sort();
    assert_eq!(links, found, "a walk finds other links");

    let text = json::encode(&value).expect("what was read is written");
    assert_eq!(strict.is_ok(), text == bytes, "two encodings of one value are taken");
    assert_eq!(json::decode(&text).as_ref(), Ok(&value));
    let binary = cbor::encode(&value).expect("what was read is written");
    assert_eq!(cbor::decode(&binary), Ok(value));
}
