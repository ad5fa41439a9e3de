//! What must hold when dag-cbor is read, whatever its bytes.

use ipld_core::ipld::Ipld;
use pop_dag::codec::cbor::{self, Fault, Selected};
use pop_dag::codec::{EncodeError, Value, json};

/// Reads a block as a walk does and as a value, and holds both against a general decoder.
///
/// # Panics
/// Two ways read something else, or another encoding of the same value is taken.
pub(crate) fn check(bytes: &[u8]) {
    let lenient = cbor::links(bytes);
    let strict = cbor::decode(bytes);
    let theirs: Result<Ipld, _> = serde_ipld_dagcbor::from_slice(bytes);
    match strict {
        Ok(value) => {
            assert_eq!(cbor::encode(&value).as_deref(), Ok(bytes), "two encodings of one value are taken");
            let links = lenient.expect("what is strict is walked");
            let mut found = Vec::new();
            collect(&value, &mut found);
            assert_eq!(links, found, "a walk finds other links");
            let theirs = theirs.expect("a general decoder reads what is strict");
            let canonical = serde_ipld_dagcbor::to_vec(&theirs).expect("a value is written");
            assert_eq!(canonical, bytes, "a general decoder reads something else");
            check_paths(bytes, &value);
            check_json(&value);
        }
        Err(fault) => {
            // What a walk does not look at may be broken: texts, and zeros with a sign.
            let is_zero = |at: usize| bytes[at..].starts_with(&[0xfb, 0x80, 0, 0, 0, 0, 0, 0, 0]);
            let unseen =
                matches!(fault, Fault::Text(_)) || matches!(fault, Fault::NotCanonical(at) if is_zero(at));
            assert!(lenient.is_err() || unseen, "a walk reads {fault}");
            // The general decoder puts up with more; what it writes in the same way must be read.
            let is_deep = matches!(fault, Fault::Depth(_));
            let again = theirs.ok().and_then(|value| serde_ipld_dagcbor::to_vec(&value).ok());
            assert!(is_deep || again.is_none_or(|again| again != bytes), "refused: {fault}");
        }
    }
}

/// Collects the links of a value in the order of its bytes.
pub(crate) fn collect(value: &Value, links: &mut Vec<pop_dag::Cid>) {
    match value {
        Value::Link(cid) => links.push(**cid),
        Value::List(items) => items.iter().for_each(|item| collect(item, links)),
        Value::Map(map) => map.iter().for_each(|(_, item)| collect(item, links)),
        _ => {}
    }
}

/// Follows the first steps of a value in its bytes.
fn check_paths(bytes: &[u8], value: &Value) {
    let same = |path: &[&str]| {
        let path: Vec<String> = path.iter().map(|&segment| segment.to_owned()).collect();
        let found = cbor::select(bytes, &path);
        assert_eq!(found, Ok(value.select(&path)), "bytes and value lead elsewhere");
        value.select(&path)
    };
    same(&[]);
    same(&["a", "0"]);
    match value {
        Value::List(items) => {
            assert_eq!(same(&[&items.len().to_string()]), Selected::NotFound(0));
            for index in 0..items.len().min(8) {
                same(&[&index.to_string(), "0"]);
            }
        }
        Value::Map(map) => {
            for (key, _) in map.iter().take(8) {
                same(&[key, "0"]);
            }
        }
        _ => {}
    }
}

/// A value is the same in dag-json, where it has a form there.
fn check_json(value: &Value) {
    match json::encode(value) {
        Ok(text) => assert_eq!(json::decode(&text).as_ref(), Ok(value)),
        Err(error) => assert!(matches!(error, EncodeError::Reserved), "{error}"),
    }
}
