use std::fs;

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
fn negative_fixtures_are_refused() {
    for (name, bytes) in negative("dag-pb.json") {
        assert!(Node::decode(&bytes).is_err(), "{name}");
    }
    for (name, bytes) in negative("dag-cbor.json") {
        assert!(cbor::links(&bytes).is_err(), "{name}");
    }
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
        let fault = cbor::links(&hex::decode(text).unwrap()).unwrap_err();
        assert!(fault.to_string().contains(message), "{text}: {fault}");
    }
    // A text value that is no text hides no link: real chain data has such blocks.
    assert_eq!(cbor::links(&hex::decode("61ff").unwrap()), Ok(Vec::new()));
    let deep = [vec![0x81; 1000], vec![0]].concat();
    assert!(matches!(cbor::links(&deep), Err(cbor::Fault::Depth(_))));
}

#[test]
fn codecs_without_links_say_so() {
    let json = *Block::of(Codec::DagJson, Buf::from_static(b"{}")).cid();
    assert_eq!(links(&json, b"{}"), Err(CodecError::Unsupported(0x0129)));
    let raw = *Block::of(Codec::Raw, Buf::new()).cid();
    assert_eq!(links(&raw, b""), Ok(Vec::new()));
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
    fn decoding_random_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Node::decode(&bytes);
        let _ = cbor::links(&bytes);
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
