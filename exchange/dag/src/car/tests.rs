use std::fs::{self, File};

use proptest::prelude::*;

use super::*;
use crate::unixfs::tests::{read_car, testdata};
use crate::walk::{Scope, run};
use crate::{Codec, Memory};

/// Reads to the end: roots, blocks before the end or the error, and the error.
fn read(input: impl Read) -> (usize, usize, Option<CarError>) {
    let mut car = match CarReader::new(input) {
        Ok(car) => car,
        Err(error) => return (0, 0, Some(error)),
    };
    let mut blocks = 0;
    loop {
        match car.next_block() {
            Ok(Some(_)) => blocks += 1,
            Ok(None) => return (car.roots().len(), blocks, None),
            Err(error) => return (car.roots().len(), blocks, Some(error)),
        }
    }
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(testdata("car").join(name)).unwrap()
}

fn header(roots: Option<Vec<Cid>>, version: u64) -> Vec<u8> {
    let bytes = serde_ipld_dagcbor::to_vec(&Header { roots, version }).unwrap();
    [vec![u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn block() -> Block {
    Block::of(Codec::Raw, Buf::from_static(b"some data"))
}

/// An archive of one root and whatever sections.
fn archive(sections: &[u8]) -> Vec<u8> {
    [header(Some(vec![*block().cid()]), 1), sections.to_vec()].concat()
}

#[test]
fn every_fixture_is_read_or_refused_as_stated() {
    let table = [
        ("badheaderlength.car", 0, 0, "no archive header at byte 0: impossible length"),
        ("badsectionlength.car", 0, 0, "archive has no roots"),
        ("sample-unixfs-v2.car", 1, 3, ""),
        ("sample-v1-with-zero-len-section.car", 1, 1049, "section at byte 479907 has impossible length 0"),
        ("sample-v1.car", 1, 1049, ""),
        ("sample-v2-indexless.car", 1, 1049, ""),
        ("sample-wrapped-v2.car", 1, 1049, ""),
        ("simple-unixfs-missing-blocks.car", 1, 17, ""),
        ("simple-unixfs.car", 1, 22, ""),
        ("wikipedia-cryptographic-hash-function.car", 1, 5, ""),
    ];
    for (name, roots, blocks, message) in table {
        let (found_roots, found_blocks, error) = read(File::open(testdata("car").join(name)).unwrap());
        assert_eq!((found_roots, found_blocks), (roots, blocks), "{name}");
        assert_eq!(error.map(|error| error.to_string()).unwrap_or_default(), message, "{name}");
    }
    let cars = fs::read_dir(testdata("car")).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(cars.filter(|path| path.extension().is_some_and(|e| e == "car")).count(), table.len());
}

#[test]
fn broken_headers_and_sections_are_refused_by_byte() {
    let table: [(&str, Vec<u8>, &str); 14] = [
        ("empty", vec![], "cut short at byte 0"),
        (
            "text",
            b"this is no archive at all, only some text that goes on and on".repeat(4),
            "no archive header",
        ),
        ("no roots", header(None, 1), "no roots"),
        ("empty roots", header(Some(vec![]), 1), "no roots"),
        ("version", header(Some(vec![*block().cid()]), 3), "version 3"),
        ("header cut", archive(&[])[..20].to_vec(), "cut short at byte 20"),
        ("header length", vec![0xff, 0xff, 0xff, 0xff, 0x0f], "impossible length"),
        ("length cut", archive(&[0x80]), "cut short"),
        ("length not minimal", archive(&[0x80, 0x00]), "malformed"),
        ("length endless", archive(&[0xff; 11]), "malformed"),
        ("section of 4 GiB", archive(&[0xff, 0xff, 0xff, 0xff, 0x0f]), "impossible length 4294967295"),
        ("section cut", archive(&[40, 1, 0x55]), "cut short"),
        ("section without CID", archive(&[3, 9, 9, 9]), "does not start with a CID"),
        ("zero section", archive(&[0]), "impossible length 0"),
    ];
    for (name, bytes, message) in table {
        let (_, blocks, error) = read(&bytes[..]);
        let error = error.unwrap().to_string();
        assert!(error.contains(message) && blocks == 0, "{name}: {error}");
    }
}

#[test]
fn a_flipped_byte_is_named_by_offset_and_cid() {
    let mut writer = CarWriter::new(Vec::new(), &[*block().cid()]).unwrap();
    let first = Block::of(Codec::Raw, Buf::from_static(b"first"));
    writer.write(&first).unwrap();
    writer.write(&block()).unwrap();
    let mut bytes = writer.finish().unwrap();
    let start = u64::try_from(bytes.len() - 1 - 36 - 9).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let (_, blocks, error) = read(&bytes[..]);
    assert_eq!(blocks, 1);
    match error.unwrap() {
        CarError::Block { offset, source } => {
            assert_eq!(offset, start);
            assert_eq!(source, BlockError::Mismatch { cid: *block().cid() });
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cut_archive_is_refused_at_every_length_inside_a_section() {
    let whole = fixture("simple-unixfs.car");
    let mut car = CarReader::new(&whole[..]).unwrap();
    let mut boundaries = vec![car.offset()];
    while car.next_block().unwrap().is_some() {
        boundaries.push(car.offset());
    }
    for len in 0..whole.len() {
        let at_boundary = boundaries.contains(&u64::try_from(len).unwrap());
        assert_eq!(read(&whole[..len]).2.is_none(), at_boundary, "{len}");
    }
}

#[test]
fn version_2_must_hold_all_its_data() {
    let whole = fixture("sample-unixfs-v2.car");
    let number = |at: usize| u64::from_le_bytes(whole[at..at + 8].try_into().unwrap());
    let end = usize::try_from(number(27) + number(35)).unwrap();
    assert!(read(&whole[..end]).2.is_none());
    for len in 0..end {
        assert!(read(&whole[..len]).2.is_some(), "{len}");
    }
    let mut overlapping = whole.clone();
    overlapping[27..35].copy_from_slice(&50u64.to_le_bytes());
    assert!(matches!(read(&overlapping[..]).2, Some(CarError::Header { .. })));
    let mut endless = whole;
    endless[35..43].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(read(&endless[..]).2, Some(CarError::Header { .. })));
}

#[test]
fn written_archives_are_the_bytes_that_were_read() {
    for name in ["sample-v1.car", "simple-unixfs.car"] {
        let bytes = fixture(name);
        let mut car = CarReader::new(&bytes[..]).unwrap();
        let mut writer = CarWriter::new(Vec::new(), car.roots()).unwrap();
        while let Some(block) = car.next_block().unwrap() {
            writer.write(&block).unwrap();
        }
        assert!(writer.finish().unwrap() == bytes, "{name}");
    }
    assert!(CarWriter::new(Vec::new(), &[]).is_err());
}

#[test]
fn an_export_is_in_walk_order_and_reads_back() {
    let (root, memory) = read_car("unixfs/subdir-with-mixed-block-files.car");
    let mut bytes = Vec::new();
    let totals = export(root, &Scope::all(), &memory, &mut bytes).unwrap();
    let mut car = CarReader::new(&bytes[..]).unwrap();
    assert_eq!(car.roots(), [root]);
    let mut copy = Memory::new();
    let mut order = Vec::new();
    while let Some(block) = car.next_block().unwrap() {
        order.push(*block.cid());
        copy.insert(block);
    }
    let mut walked = Vec::new();
    let again = run(root, &Scope::all(), &copy, &mut |cid, _| {
        walked.push(*cid);
        Ok(())
    });
    assert_eq!((again.unwrap(), walked), (totals, order));
    let (_, missing) = (copy.remove(&root), export(root, &Scope::all(), &copy, &mut Vec::new()));
    assert!(matches!(missing, Err(ExportError::Walk(_))));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes[..]);
        let _ = read(&archive(&bytes)[..]);
    }

    #[test]
    fn damage_is_never_read_as_other_blocks(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut bytes = fixture("simple-unixfs.car");
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        // Either the damage shows, or it lies in the header's roots.
        let (_, _, error) = read(&bytes[..]);
        prop_assert!(error.is_some() || at < 100);
    }
}
