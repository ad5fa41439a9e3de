use std::fs::{self, File};

use proptest::prelude::*;

use super::header::Header;
use super::*;
use crate::unixfs::tests::testdata;
use crate::{Buf, Codec};

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
    let end = usize::try_from(number(&whole, 27) + number(&whole, 35)).unwrap();
    assert!(read(&whole[..end]).2.is_none());
    for len in 0..end {
        assert!(read(&whole[..len]).2.is_some(), "{len}");
    }
}

fn number(archive: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(archive[at..at + 8].try_into().unwrap())
}

fn with_number(archive: &[u8], at: usize, number: u64) -> Vec<u8> {
    let mut changed = archive.to_vec();
    changed[at..at + 8].copy_from_slice(&number.to_le_bytes());
    changed
}

#[test]
fn a_fixed_header_that_lies_is_refused_by_byte() {
    let whole = fixture("sample-unixfs-v2.car");
    let size = number(&whole, 35);
    let table = [
        (27, 50, "states 50 at byte 27: the data would start inside the header"),
        (27, 0, "states 0 at byte 27"),
        (27, u64::MAX, "the data would end beyond 64 bits"),
        (35, 0, "states 0 at byte 35: data hold at least a header"),
        (35, u64::MAX, "at byte 35: the data would end beyond 64 bits"),
        (35, 20, "no archive header at byte 51: longer than the data that hold it"),
        (35, size - 1, "reaches beyond the data, which end at byte 334"),
        (35, size + 1, "states 335 at byte 43: the index would start inside the data"),
        (43, 60, "states 60 at byte 43: the index would start inside the data"),
    ];
    for (at, value, message) in table {
        let error = read(&with_number(&whole, at, value)[..]).2.unwrap().to_string();
        assert!(error.contains(message), "{at} {value}: {error}");
    }
    let no_index = with_number(&whole, 43, 0);
    assert!(read(&with_number(&no_index, 35, 1 << 40)[..]).2.is_some());
    let shifted = read(&with_number(&no_index, 27, 52)[..]).2.unwrap().to_string();
    assert!(shifted.contains("no archive header at byte 52"), "{shifted}");
    // A size that ends at a section leaves the rest out, as padding.
    assert_eq!(read(&with_number(&no_index, 35, 59)[..]).1, 0);
    let twice = [&whole[..51], &whole[..]].concat();
    let twice = with_number(&with_number(&twice, 43, 0), 35, 485);
    assert!(read(&twice[..]).2.unwrap().to_string().contains("inside version 2 is not version 1"));
}

#[test]
fn characteristics_padding_and_a_broken_index_change_nothing() {
    let whole = fixture("sample-unixfs-v2.car");
    let (data, index) = whole[51..].split_at(284);
    for (before, after) in [(0, 0), (1, 0), (13, 1500), (70_000, 3)] {
        let mut header = whole[..51].to_vec();
        header[11] = 0x80;
        header = with_number(&header, 27, 51 + before);
        header = with_number(&header, 43, 51 + before + 284 + after);
        let padding = |len: u64| vec![0xaa; usize::try_from(len).unwrap()];
        let archive = [&header[..], &padding(before), data, &padding(after), &index[..20]].concat();
        let mut car = CarReader::new(&archive[..]).unwrap();
        assert_eq!(car.version(), Version::V2);
        for _ in 0..3 {
            assert!(car.next_block().unwrap().is_some());
        }
        assert!(car.next_block().unwrap().is_none());
        car.skip_rest().unwrap();
        assert_eq!(car.offset(), Bytes::of(&archive).get());
    }
}

#[test]
fn null_padding_is_the_end_only_where_allowed_and_only_if_null() {
    let padded = |bytes: &[u8]| {
        let mut car = CarReader::new(bytes).unwrap().allow_null_padding();
        let mut blocks = 0;
        while car.next_block()?.is_some() {
            blocks += 1;
        }
        assert!(car.next_block().unwrap().is_none());
        Ok::<_, CarError>(blocks)
    };
    assert_eq!(padded(&fixture("sample-v1-with-zero-len-section.car")).unwrap(), 1049);
    assert_eq!(padded(&fixture("sample-v1.car")).unwrap(), 1049);
    assert_eq!(padded(&archive(&[0])).unwrap(), 0);
    assert_eq!(padded(&archive(&vec![0; 200_000])).unwrap(), 0);
    let mut hidden = vec![0; 200_000];
    hidden[150_000] = 1;
    let start = Bytes::of(&archive(&[])).get();
    match padded(&archive(&hidden)).unwrap_err() {
        CarError::Padding { from, offset } => assert_eq!((from, offset), (start, start + 150_000)),
        other => panic!("{other:?}"),
    }
    // Inside version 2 the zeros end where the data do.
    let data = archive(&[0, 0, 0]);
    let mut v2 = header::v2(Bytes::of(&data).get()).unwrap().to_vec();
    v2.extend_from_slice(&data);
    assert_eq!(padded(&v2[..]).unwrap(), 0);
    assert!(matches!(padded(&v2[..v2.len() - 1]), Err(CarError::Truncated { .. })));
}

#[test]
fn a_block_that_is_too_large_is_named() {
    let huge = Block::of(Codec::Raw, Buf::from(vec![7; MAX_BLOCK.as_usize() + 200]));
    for len in [MAX_BLOCK.as_usize() + 1, MAX_BLOCK.as_usize() + 200] {
        let data = &huge.data()[..len];
        let mut writer = CarWriter::new(Vec::new(), &[*huge.cid()]).unwrap();
        writer.write_parts(huge.cid(), data).unwrap();
        let bytes = writer.finish().unwrap();
        match read(&bytes[..]).2.unwrap() {
            CarError::Block { source: BlockError::TooLarge { cid, size }, .. } => {
                assert_eq!((cid, size), (*huge.cid(), Bytes::of(data)));
            }
            other => panic!("{other:?}"),
        }
    }
    let largest = Block::of(Codec::Raw, Buf::from(vec![7; MAX_BLOCK.as_usize()]));
    let mut writer = CarWriter::new(Vec::new(), &[*largest.cid()]).unwrap();
    writer.write(&largest).unwrap();
    assert_eq!(read(&writer.finish().unwrap()[..]).1, 1);
}

#[test]
fn doubles_identity_and_strangers_are_blocks_like_others() {
    let tiny = Cid::new_v1(Codec::Raw.code(), multihash::Multihash::wrap(0, b"tiny").unwrap());
    let stranger = Block::of(Codec::Raw, Buf::from_static(b"no root links here"));
    let mut writer = CarWriter::new(Vec::new(), &[*block().cid()]).unwrap();
    for found in [&stranger, &block(), &stranger] {
        writer.write(found).unwrap();
    }
    writer.write_parts(&tiny, b"tiny").unwrap();
    let bytes = writer.finish().unwrap();
    assert!(matches!(read(&bytes[..]), (1, 4, None)));
    let mut forged = bytes;
    *forged.last_mut().unwrap() ^= 1;
    assert!(matches!(read(&forged[..]), (1, 3, Some(CarError::Block { .. }))));
}

#[test]
fn headers_are_strict_and_bounded() {
    let cid = block().cid().to_bytes();
    let link = [&[0xd8, 42, 0x58, 37, 0][..], &cid].concat();
    let framed = |map: &[&[u8]]| {
        let map = map.concat();
        [vec![u8::try_from(map.len()).unwrap()], map].concat()
    };
    let table = [
        (
            "extra key",
            framed(&[b"\xa3\x61x\x01\x65roots\x81", &link, b"\x67version\x01"]),
            "not the dag-cbor map",
        ),
        ("order", framed(&[b"\xa2\x67version\x01\x65roots\x81", &link]), "not strict"),
        ("number", framed(&[b"\xa2\x65roots\x81", &link, b"\x67version\x18\x01"]), "not strict"),
        ("tail", framed(&[b"\xa2\x65roots\x81", &link, b"\x67version\x01\x00"]), "not strict"),
        ("null roots", framed(&[b"\xa2\x65roots\xf6\x67version\x01"]), "no roots"),
        ("no version", framed(&[b"\xa1\x65roots\x81", &link]), "not the dag-cbor map"),
        ("version 2 with roots", framed(&[b"\xa2\x65roots\x81", &link, b"\x67version\x02"]), "the 11 bytes"),
    ];
    for (name, bytes, message) in table {
        let error = read(&bytes[..]).2.unwrap().to_string();
        assert!(error.contains(message), "{name}: {error}");
    }
    let many = vec![*block().cid(); 25_000];
    let bytes = CarWriter::new(Vec::new(), &many).unwrap().finish().unwrap();
    assert_eq!(read(&bytes[..]).0, 25_000);
    let bytes = CarWriter::new(Vec::new(), &[many.as_slice(), &many].concat()).unwrap().finish().unwrap();
    assert!(read(&bytes[..]).2.unwrap().to_string().contains("impossible length"));
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

    #[test]
    fn version_2_with_random_damage_never_panics(
        at in 0usize..400,
        bytes in prop::collection::vec(any::<u8>(), 1..20),
        padded in any::<bool>(),
    ) {
        let mut archive = fixture("sample-unixfs-v2.car");
        let end = (at + bytes.len()).min(archive.len());
        archive[at..end].copy_from_slice(&bytes[..end - at]);
        if let Ok(car) = CarReader::new(&archive[..]) {
            let mut car = if padded { car.allow_null_padding() } else { car };
            while let Ok(Some(_)) = car.next_block() {}
            prop_assert!(car.next_block().unwrap().is_none());
        }
    }
}
