use std::fs;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::pb::{Fault, Link, Node};
use super::*;
use crate::unixfs::tests::testdata;
use crate::{Block, Buf};

/// Returns every fixture of a codec: the CID in its name and the bytes.
fn fixtures(extension: &str) -> Vec<(Cid, Vec<u8>)> {
    let mut found = Vec::new();
    for folder in fs::read_dir(testdata("codec-fixtures")).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        for file in fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|found| found == extension) {
                let cid = Cid::try_from(file.file_stem().unwrap().to_str().unwrap()).unwrap();
                found.push((cid, fs::read(&file).unwrap()));
            }
        }
    }
    found
}

fn negative(name: &str) -> Vec<(String, Vec<u8>)> {
    let text = fs::read_to_string(testdata("codec-fixtures/negative").join(name)).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let case = |case: &serde_json::Value| {
        (case["name"].to_string(), hex::decode(case["hex"].as_str().unwrap()).unwrap())
    };
    cases.iter().map(case).collect()
}

#[test]
fn dag_pb_fixtures_are_read_and_written_alike() {
    let fixtures = fixtures("dag-pb");
    assert_eq!(fixtures.len(), 13);
    for (cid, bytes) in fixtures {
        assert!(Block::verified(cid, Buf::from(bytes.clone())).is_ok());
        let node = Node::decode(&bytes).unwrap();
        assert_eq!(node.encode(), bytes, "{cid}");
        assert_eq!(links(&cid, &bytes).unwrap().len(), node.links.len());
    }
}

#[test]
fn dag_cbor_fixtures_are_read_with_the_links_that_a_full_decoder_finds() {
    use serde_ipld_dagcbor::codec::DagCborCodec;
    let fixtures = fixtures("dag-cbor");
    assert!(fixtures.len() > 80, "{}", fixtures.len());
    for (cid, bytes) in fixtures {
        assert!(Block::verified(cid, Buf::from(bytes.clone())).is_ok());
        let expected: Vec<Cid> = <DagCborCodec as ipld_core::codec::Links>::links(&bytes).unwrap().collect();
        assert_eq!(links(&cid, &bytes).unwrap(), expected, "{cid}");
    }
}

#[test]
fn dag_json_fixtures_have_the_links_of_their_dag_cbor_siblings() {
    let mut some = 0;
    for folder in VALUES.iter() {
        let by_cbor = folder.iter().find(|(cid, _)| cid.codec() == Codec::DagCbor.code()).unwrap();
        let by_json = folder.iter().find(|(cid, _)| cid.codec() == Codec::DagJson.code()).unwrap();
        let mut found = [by_cbor, by_json].map(|(cid, bytes)| links(cid, bytes).unwrap());
        // The codecs sort keys differently, so links of maps come in another order.
        found.iter_mut().for_each(|links| links.sort_unstable());
        assert_eq!(found[0], found[1], "{}", by_json.0);
        some += found[0].len();
    }
    assert!(some > 100, "{some}");
}

/// Folders of one value each: the CID in a file's name and its bytes.
type Folders = Vec<Vec<(Cid, Vec<u8>)>>;

static VALUES: LazyLock<Folders> = LazyLock::new(values);

/// Returns every folder: one value in all codecs that it is there for.
fn values() -> Folders {
    let mut folders = Vec::new();
    for folder in fs::read_dir(testdata("codec-fixtures")).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.is_dir() || folder.ends_with("negative") {
            continue;
        }
        let files = fs::read_dir(folder).unwrap().map(|file| {
            let file = file.unwrap().path();
            let cid = Cid::try_from(file.file_stem().unwrap().to_str().unwrap()).unwrap();
            (cid, fs::read(&file).unwrap())
        });
        folders.push(files.collect());
    }
    folders
}

#[test]
fn every_fixture_converts_into_each_of_its_siblings() {
    assert_eq!(VALUES.len(), 94);
    let mut conversions = 0;
    for folder in VALUES.iter() {
        for (from, bytes) in folder {
            let codec = Codec::from_code(from.codec()).unwrap();
            let value = decode(codec, bytes).unwrap();
            for (to, expected) in folder {
                let codec = Codec::from_code(to.codec()).unwrap();
                let written = Block::of(codec, Buf::from(encode(codec, &value).unwrap()));
                assert_eq!((written.cid(), written.data().as_ref()), (to, &expected[..]), "{from}");
                conversions += 1;
            }
        }
    }
    assert_eq!(conversions, 81 * 4 + 13 * 9);
}

#[test]
fn the_other_decoder_reads_the_same_values() {
    use ipld_core::ipld::Ipld;
    fn same(value: &Value, other: &Ipld) -> bool {
        match (value, other) {
            (Value::Null, Ipld::Null) => true,
            (Value::Bool(a), Ipld::Bool(b)) => a == b,
            (Value::Unsigned(_) | Value::Negative(_), Ipld::Integer(b)) => value.as_integer() == Some(*b),
            (Value::Float(a), Ipld::Float(b)) => a == b,
            (Value::Text(a), Ipld::String(b)) => a.as_ref() == b,
            (Value::Bytes(a), Ipld::Bytes(b)) => a.as_ref() == b,
            (Value::List(a), Ipld::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
            (Value::Map(a), Ipld::Map(b)) => {
                a.len() == b.len() && b.iter().all(|(key, b)| a.get(key).is_some_and(|a| same(a, b)))
            }
            (Value::Link(a), Ipld::Link(b)) => a.as_ref() == b,
            _ => false,
        }
    }
    for (cid, bytes) in fixtures("dag-cbor") {
        let other: Ipld = serde_ipld_dagcbor::from_slice(&bytes).unwrap();
        assert!(same(&cbor::decode(&bytes).unwrap(), &other), "{cid}");
    }
}

#[test]
fn negative_fixtures_are_refused() {
    for (name, bytes) in negative("dag-pb.json") {
        assert!(Node::decode(&bytes).is_err(), "{name}");
        assert!(decode(Codec::DagPb, &bytes).is_err(), "{name}");
    }
    for (name, bytes) in negative("dag-cbor.json") {
        assert!(cbor::links(&bytes).is_err(), "{name}");
        assert!(cbor::decode(&bytes).is_err(), "{name}");
    }
    for (name, bytes) in negative("dag-json.json") {
        assert_eq!(json::decode_any(&bytes), Err(json::Fault::Repeated(0)), "{name}");
        assert_eq!(json::links(&bytes), Err(json::Fault::Repeated(0)), "{name}");
    }
    let text = fs::read(testdata("codec-fixtures/negative/dag-pb-encode.json")).unwrap();
    let Value::List(cases) = json::decode_any(&text).unwrap() else { panic!("no list") };
    assert_eq!(cases.len(), 11);
    for case in cases {
        let Value::Map(case) = case else { panic!("no map") };
        assert!(pb::encode(case.get("dag-json").unwrap()).is_err(), "{case:?}");
    }
}

#[test]
fn dag_pb_has_one_shape() {
    let table = [
        ("{}", "has Links"),
        (r#"{"Data":{"/":{"bytes":""}}}"#, "has Links"),
        (r#"{"Links":[],"Other":1}"#, "Data as bytes and Links as a list"),
        (r#"{"Data":"text","Links":[]}"#, "Data as bytes"),
        (r#"{"Links":{}}"#, "Links as a list"),
        (r#"{"Links":[1]}"#, "a link is a map"),
        (r#"{"Links":[{}]}"#, "a link has Hash"),
        (r#"{"Links":[{"Name":"a"}]}"#, "a link has Hash"),
        (r#"{"Links":[{"Hash":{"/":"bafkqaaa"},"Tsize":-1}]}"#, "Tsize as a size"),
        (r#"{"Links":[{"Hash":{"/":"bafkqaaa"},"Name":1}]}"#, "Name as text"),
    ];
    for (text, message) in table {
        let error = pb::encode(&json::decode(text.as_bytes()).unwrap()).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
    assert!(encode(Codec::Raw, &Value::Null).is_err());
}

#[test]
fn dag_pb_rules_are_kept() {
    let table = [
        ("0a00 0a00", Fault::Order { field: 1 }),
        ("1a00", Fault::Unknown { field: 3 }),
        ("0800", Fault::WireType { field: 1 }),
        ("0b", Fault::WireType { field: 1 }),
        ("0a8000", Fault::Varint),
        ("0a02ff", Fault::Truncated),
        ("0a", Fault::Truncated),
        ("1204 1801 1200", Fault::Order { field: 2 }),
        ("1206 0a04 01550000 ff", Fault::Truncated),
        ("1207 0a05 01550000ff", Fault::Hash),
        ("1209 0a04 01550000 1201ff", Fault::Name),
        ("1208 0a04 01550000 2000", Fault::Unknown { field: 4 }),
    ];
    for (text, fault) in table {
        let bytes = hex::decode(text.replace(' ', "")).unwrap();
        assert_eq!(Node::decode(&bytes), Err(fault), "{text}");
    }
}

#[test]
fn dag_cbor_rules_are_kept() {
    let table = [
        ("", "cut short"),
        ("1801", "not canonical"),
        ("190001", "not canonical"),
        ("1b00000000ffffffff", "not canonical"),
        ("f7", "not canonical"),
        ("f90000", "not canonical"),
        ("fb7ff8000000000000", "not canonical"),
        ("9fff", "not canonical"),
        ("c100", "not canonical"),
        ("d82a00", "without a valid CID"),
        ("d82a4100", "without a valid CID"),
        ("d82a450101550000", "without a valid CID"),
        ("a2616201616102", "map key"),
        ("a10102", "map key"),
        ("a161ff01", "not UTF-8"),
        ("0000", "after the value"),
        ("9bffffffffffffffff", "cut short"),
    ];
    for (text, message) in table {
        let bytes = hex::decode(text).unwrap();
        let fault = cbor::links(&bytes).unwrap_err();
        assert!(fault.to_string().contains(message), "{text}: {fault}");
        assert_eq!(cbor::decode(&bytes), Err(fault));
    }
    // A text value that is no text hides no link: real chain data has such blocks.
    assert_eq!(cbor::links(&hex::decode("61ff").unwrap()), Ok(Vec::new()));
    // It is no value either.
    assert_eq!(cbor::decode(&hex::decode("8161ff").unwrap()), Err(cbor::Fault::Text(2)));
    // Nor is negative zero, which the specification has written as zero.
    let negative = hex::decode("fb8000000000000000").unwrap();
    assert_eq!(cbor::links(&negative), Ok(Vec::new()));
    assert_eq!(cbor::decode(&negative), Err(cbor::Fault::NotCanonical(0)));
    assert_eq!(cbor::encode(&Value::Float(-0.0)), Ok(hex::decode("fb0000000000000000").unwrap()));
    let deep = [vec![0x81; 1000], vec![0]].concat();
    assert!(matches!(cbor::links(&deep), Err(cbor::Fault::Depth(_))));
}

#[test]
fn unknown_codecs_have_no_links_to_tell() {
    let other = Cid::new_v1(0x78, *Block::of(Codec::Raw, Buf::new()).cid().hash());
    assert_eq!(links(&other, b"{}"), Err(CodecError::Unsupported(0x78)));
    let raw = *Block::of(Codec::Raw, Buf::new()).cid();
    assert_eq!(links(&raw, b""), Ok(Vec::new()));
}

#[test]
fn a_value_is_small_and_nesting_ends_before_the_stack() {
    assert_eq!(size_of::<Value>(), 24);
    assert_eq!(size_of::<ipld_core::ipld::Ipld>(), 96);
    let nested = |depth: u32| (0..depth).fold(Value::Null, |inner, _| Value::List([inner].into()));
    for codec in [Codec::DagCbor, Codec::DagJson] {
        let bytes = encode(codec, &nested(MAX_NESTING)).unwrap();
        assert_eq!(decode(codec, &bytes), Ok(nested(MAX_NESTING)));
        assert_eq!(encode(codec, &nested(MAX_NESTING + 1)), Err(EncodeError::Depth));
        assert_eq!(encode(codec, &Value::Float(f64::NAN)), Err(EncodeError::NotFinite));
    }
    for open in ["[", "{\"a\":", "{\"/\":", "{\"/\":{\"bytes\":"] {
        let deep = open.repeat(100_000);
        assert!(matches!(json::links(deep.as_bytes()), Err(json::Fault::Depth(_))), "{open}");
    }
    // A count that is a lie asks for no memory.
    let lies = [0x9b, 0, 0, 0, 1, 0, 0, 0, 0].repeat(100);
    assert!(cbor::decode(&lies).is_err());
}

#[test]
fn integers_are_those_of_dag_cbor() {
    let table = [0, 1, -1, i128::from(u64::MAX), -1 - i128::from(u64::MAX), i128::from(i64::MIN)];
    for number in table {
        assert_eq!(Value::integer(number).unwrap().as_integer(), Some(number));
    }
    for number in [i128::from(u64::MAX) + 1, -2 - i128::from(u64::MAX), i128::MAX, i128::MIN] {
        assert_eq!(Value::integer(number), None);
    }
    let map =
        Map::new(vec![("b".into(), Value::Null), ("aa".into(), Value::Null), ("b".into(), Value::Null)]);
    assert_eq!(map, Err(RepeatedKey { key: "b".into() }));
}

/// Any value, with the keys that dag-json reserves among others.
fn any_value() -> impl Strategy<Value = Value> {
    let link = any::<[u8; 4]>().prop_map(|seed| {
        let block = Block::of(Codec::Raw, Buf::copy_from_slice(&seed));
        Value::Link(Box::new(if seed[0] < 128 {
            *block.cid()
        } else {
            *Block::of_v0(block.data().clone()).cid()
        }))
    });
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::Unsigned),
        any::<u64>().prop_map(Value::Negative),
        (0u64..30).prop_map(Value::Negative),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::Float),
        (-30i32..30).prop_map(|exponent| Value::Float(10f64.powi(exponent))),
        any::<String>().prop_map(|text| Value::Text(text.into())),
        "[\\x00-\\x22\\\\]{0,4}".prop_map(|text| Value::Text(text.into())),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| Value::Bytes(bytes.into())),
        link,
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let key = prop_oneof!["/", "bytes", "[a-c!]{0,2}", any::<String>()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| Value::List(items.into())),
            prop::collection::hash_map(key, inner, 0..6).prop_map(|map| {
                let entries = map.into_iter().map(|(key, value)| (key.into(), value)).collect();
                Value::Map(Map::new(entries).unwrap())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn dag_pb_nodes_survive_encoding(
        names in prop::collection::vec((prop::option::of(".{0,8}"), prop::option::of(any::<u64>()), any::<u8>()), 0..6),
        data in prop::option::of(prop::collection::vec(any::<u8>(), 0..30)),
    ) {
        let cid = |seed: u8| *Block::of(Codec::Raw, Buf::from(vec![seed])).cid();
        let links = names.iter().map(|(name, tsize, seed)| Link { cid: cid(*seed), name: name.as_deref(), tsize: *tsize });
        let node = Node { links: links.collect(), data: data.as_deref() };
        let bytes = node.encode();
        prop_assert_eq!(Node::decode(&bytes).unwrap(), node);
    }

    #[test]
    fn values_survive_encoding(value in any_value()) {
        let bytes = cbor::encode(&value).unwrap();
        let again = cbor::decode(&bytes);
        prop_assert_eq!(again.as_ref(), Ok(&value));
        prop_assert_eq!(cbor::encode(&again.unwrap()).unwrap(), bytes);
        match json::encode(&value) {
            Ok(bytes) => {
                let again = json::decode(&bytes);
                prop_assert_eq!(again.as_ref(), Ok(&value));
                prop_assert_eq!(json::encode(&again.unwrap()).unwrap(), &bytes[..]);
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
                let mut found = json::links(&bytes).unwrap();
                let mut expected = cbor::links(&cbor::encode(&value).unwrap()).unwrap();
                found.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(found, expected);
            }
            Err(error) => prop_assert_eq!(error, EncodeError::Reserved),
        }
    }

    #[test]
    fn what_is_decoded_is_encoded_to_the_same_bytes(
        pick in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\":,/0e.-\\ "[..])],
    ) {
        let folder = pick.get(&VALUES);
        for (cid, bytes) in folder {
            let codec = Codec::from_code(cid.codec()).unwrap();
            let mut bytes = bytes.clone();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(value) = decode(codec, &bytes) && codec != Codec::DagPb {
                prop_assert_eq!(encode(codec, &value).unwrap(), &bytes[..]);
            }
            let _ = json::decode_any(&bytes);
            let _ = links(cid, &bytes);
        }
    }

    #[test]
    fn links_are_found_wherever_values_are_read(bytes in "[\\[\\]{}\",:/ab\\\\0-9eE.+ \\-]{0,40}") {
        let value = json::decode_any(bytes.as_bytes());
        prop_assert_eq!(json::links(bytes.as_bytes()).err(), value.as_ref().err().copied());
        if let Ok(value) = value && !matches!(json::encode(&value), Err(EncodeError::Reserved)) {
            let canonical = json::encode(&value).unwrap();
            prop_assert_eq!(json::decode(&canonical), Ok(value));
        }
    }

    #[test]
    fn decoding_random_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Node::decode(&bytes);
        let _ = cbor::links(&bytes);
        let _ = json::decode_any(&bytes);
        if let Ok(value) = cbor::decode(&bytes) {
            prop_assert_eq!(cbor::encode(&value).unwrap(), &bytes[..]);
        }
        let _ = cbor::select(&bytes, &["a".to_owned(), "0".to_owned()]);
    }

    #[test]
    fn damaged_fixtures_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), pick in any::<prop::sample::Index>()) {
        let fixtures = fixtures("dag-pb");
        let (_, mut bytes) = pick.get(&fixtures).clone();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(node) = Node::decode(&bytes) {
            let again = node.encode();
            prop_assert_eq!(Node::decode(&again).unwrap(), node);
        }
    }
}
