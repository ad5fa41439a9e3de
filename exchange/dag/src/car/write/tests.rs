use std::fs::{self, File};
use std::io::{Cursor, Read};

use proptest::prelude::*;

use super::*;
use crate::car::{CarReader, ExportError, Gaps, Part, Version, export};
use crate::source::{BlockSource, SinkError};
use crate::unixfs::tests::{read_car, testdata};
use crate::walk::{RunError, Scope, What, run};
use crate::{Buf, Codec, Memory};

fn fixture(name: &str) -> Vec<u8> {
    fs::read(testdata("car").join(name)).unwrap()
}

fn copy<W: Write>(bytes: &[u8], writer: impl FnOnce(&[Cid]) -> io::Result<CarWriter<W>>) -> W {
    let mut car = CarReader::new(bytes).unwrap();
    let mut writer = writer(car.roots()).unwrap();
    while let Some(block) = car.next_block().unwrap() {
        writer.write(&block).unwrap();
    }
    writer.finish().unwrap()
}

fn to_v1(bytes: &[u8]) -> Vec<u8> {
    copy(bytes, |roots| CarWriter::new(Vec::new(), roots))
}

fn to_v2(bytes: &[u8]) -> Vec<u8> {
    copy(bytes, |roots| CarWriter::indexed(Cursor::new(Vec::new()), roots)).into_inner()
}

/// Reads an index as `go-car` lays it out: hash code, digest and offset of each entry, in order.
fn entries(mut index: &[u8]) -> Vec<(u64, Vec<u8>, u64)> {
    fn take<const N: usize>(index: &mut &[u8]) -> [u8; N] {
        let (taken, rest) = index.split_first_chunk().unwrap();
        *index = rest;
        *taken
    }
    let mut found = Vec::new();
    assert_eq!(take(&mut index), [0x81, 0x08]);
    for _ in 0..u32::from_le_bytes(take(&mut index)) {
        let code = u64::from_le_bytes(take(&mut index));
        for _ in 0..u32::from_le_bytes(take(&mut index)) {
            let width = usize::try_from(u32::from_le_bytes(take(&mut index))).unwrap();
            let len = usize::try_from(u64::from_le_bytes(take(&mut index))).unwrap();
            assert_eq!(len % width, 0);
            let (group, rest) = index.split_at(len);
            index = rest;
            for entry in group.chunks(width) {
                let (digest, offset) = entry.split_at(width - 8);
                found.push((code, digest.to_vec(), u64::from_le_bytes(offset.try_into().unwrap())));
            }
        }
    }
    assert!(index.is_empty());
    found
}

#[test]
fn written_archives_are_the_bytes_that_were_read() {
    for name in ["sample-v1.car", "simple-unixfs.car", "simple-unixfs-missing-blocks.car"] {
        let bytes = fixture(name);
        assert!(to_v1(&bytes) == bytes, "{name}");
        assert!(to_v1(&to_v2(&bytes)) == bytes, "{name}");
    }
    assert!(CarWriter::new(Vec::new(), &[]).is_err());
    assert!(CarWriter::indexed(Cursor::new(Vec::new()), &[]).is_err());
}

#[test]
fn an_indexed_archive_is_the_one_that_go_car_wrote_to_the_byte() {
    for name in ["sample-wrapped-v2.car", "sample-unixfs-v2.car"] {
        let bytes = fixture(name);
        assert!(to_v2(&bytes) == bytes, "{name}");
        assert!(to_v2(&to_v1(&bytes)) == bytes, "{name}");
    }
    assert!(to_v2(&fixture("sample-v1.car")) == fixture("sample-wrapped-v2.car"));
    assert!(to_v2(&fixture("sample-v2-indexless.car")) == fixture("sample-wrapped-v2.car"));
}

#[test]
fn every_offset_of_an_index_leads_to_its_block() {
    use multihash_codetable::{Code, MultihashDigest};
    let data = |n: u8| vec![n; usize::from(n)];
    let cid = |code: Code, codec: Codec, n: u8| Cid::new_v1(codec.code(), code.digest(&data(n)));
    let inline = Cid::new_v1(Codec::Raw.code(), multihash::Multihash::wrap(0, &data(3)).unwrap());
    let mut writer = CarWriter::indexed(Cursor::new(Vec::new()), &[inline]).unwrap();
    writer.write_parts(&inline, &data(3)).unwrap();
    let mut written = 0;
    for n in 0..200 {
        for code in [Code::Sha2_512, Code::Sha2_256, Code::Blake2b256] {
            writer.write_parts(&cid(code, Codec::Raw, n), &data(n)).unwrap();
            written += 1;
        }
    }
    // The same bytes under another codec are another section with the same key.
    writer.write_parts(&cid(Code::Sha2_256, Codec::DagCbor, 0), &data(0)).unwrap();
    let short = multihash::Multihash::wrap(0x12, &[1; 20]).unwrap();
    writer.write_parts(&Cid::new_v1(Codec::Raw.code(), short), b"no reader takes it").unwrap();
    let size = writer.size().as_usize();
    let archive = writer.finish().unwrap().into_inner();

    let found = entries(&archive[51 + size..]);
    assert_eq!(found.len(), written + 2);
    assert!(found.is_sorted_by_key(|(code, digest, offset)| (*code, digest.len(), digest.clone(), *offset)));
    for (code, digest, offset) in found {
        let mut section = &archive[51 + usize::try_from(offset).unwrap()..];
        let mut len = [0];
        while section.read(&mut len).unwrap() == 1 && len[0] & 0x80 != 0 {}
        let cid = Cid::read_bytes(section).unwrap();
        assert_eq!((cid.hash().code(), cid.hash().digest()), (code, digest.as_slice()));
    }
}

#[test]
fn an_archive_starts_where_its_output_stands() {
    let mut output = Cursor::new(b"before".to_vec());
    output.set_position(6);
    let bytes = fixture("sample-unixfs-v2.car");
    let output = copy(&bytes, |roots| CarWriter::indexed(output, roots));
    assert_eq!(output.position(), Bytes::of(output.get_ref()).get());
    assert!(output.into_inner() == [b"before", &bytes[..]].concat());
}

#[test]
fn version_2_into_a_pipe_is_refused_with_the_way_out() {
    let (_reader, pipe) = io::pipe().unwrap();
    let root = read_car("car/simple-unixfs.car").0;
    let refused = CarWriter::indexed(File::from(std::os::fd::OwnedFd::from(pipe)), &[root]).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::NotSeekable);
    assert!(refused.to_string().contains("write version 1"));
}

#[test]
fn an_archive_without_its_end_is_none() {
    let root = read_car("car/simple-unixfs.car").0;
    let mut output = Cursor::new(Vec::new());
    let mut writer = CarWriter::indexed(&mut output, &[root]).unwrap();
    writer.write(&Block::of(Codec::Raw, Buf::from(vec![1; 100_000]))).unwrap();
    drop(writer);
    assert!(CarReader::new(output.get_ref().as_slice()).is_err());
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
    assert!(matches!(missing, Err(ExportError::Walk(RunError::Missing { cid })) if cid == root));
}

/// Exports a part as version 2; returns the blocks that are in it.
fn part(root: Cid, scope: &Scope, source: &dyn BlockSource, gaps: Gaps<'_>) -> Result<Vec<Cid>, ExportError> {
    let mut writer = CarWriter::indexed(Cursor::new(Vec::new()), &[root])?;
    let mut told = Vec::new();
    let totals = writer.write_dag(Part { root, scope, source }, gaps, &mut |cid, _| {
        told.push(*cid);
        Ok(())
    })?;
    let bytes = writer.finish()?.into_inner();
    let mut car = CarReader::new(&bytes[..]).unwrap();
    assert_eq!((car.version(), car.roots()), (Version::V2, &[root][..]));
    let mut found = Vec::new();
    while let Some(block) = car.next_block().unwrap() {
        found.push(*block.cid());
    }
    assert_eq!((totals.blocks, &told), (u64::try_from(found.len()).unwrap(), &found));
    Ok(found)
}

#[test]
fn scopes_and_paths_choose_what_is_exported() {
    let (root, memory) = read_car("unixfs/subdir-with-mixed-block-files.car");
    let below = |path: &[&str], what| {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        part(root, &Scope { path, what }, &memory, Gaps::Refused).unwrap()
    };
    let all = below(&[], What::All);
    assert_eq!(all.len(), memory.len());
    assert_eq!(below(&[], What::Block), [root]);
    assert_eq!(below(&[], What::Entity), [root]);
    let dir = below(&["subdir"], What::Entity);
    assert_eq!((dir.len(), dir[0]), (2, root));
    let file = below(&["subdir", "multiblock.txt"], What::Entity);
    assert_eq!(file, below(&["subdir", "multiblock.txt"], What::All));
    assert_eq!((&file[..2], below(&["subdir", "multiblock.txt"], What::Block).len()), (&dir[..], 3));
    assert!(file.len() > 3);
}

#[test]
fn gaps_are_refused_by_name_or_told_each() {
    let (root, mut memory) = read_car("unixfs/subdir-with-mixed-block-files.car");
    let all = part(root, &Scope::all(), &memory, Gaps::Refused).unwrap();
    let lost = [all[all.len() - 1], all[all.len() - 2]];
    for cid in &lost {
        assert!(memory.remove(cid));
    }
    let refused = part(root, &Scope::all(), &memory, Gaps::Refused);
    assert!(matches!(refused, Err(ExportError::Walk(RunError::Missing { cid })) if cid == lost[1]));
    let mut absent = Vec::new();
    let mut on_absent = |cid: &Cid| absent.push(*cid);
    let found = part(root, &Scope::all(), &memory, Gaps::Told(&mut on_absent)).unwrap();
    assert_eq!(found, all[..all.len() - 2]);
    assert_eq!(absent, [lost[1], lost[0]]);
    // Without the root, or a step of the path, there is nothing to export.
    memory.remove(&root);
    let refused = part(root, &Scope::all(), &memory, Gaps::Told(&mut |_| ()));
    assert!(matches!(refused, Err(ExportError::Walk(RunError::Missing { cid })) if cid == root));
}

#[test]
fn a_full_output_is_no_fault_of_the_walk_and_progress_can_stop_it() {
    let (root, memory) = read_car("unixfs/subdir-with-mixed-block-files.car");
    let scope = &Scope::all();
    let mut space = [0; 600];
    let full = export(root, scope, &memory, &mut &mut space[..]);
    assert!(matches!(full, Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::WriteZero));
    let mut writer = CarWriter::new(Vec::new(), &[root]).unwrap();
    let stopped = writer.write_dag(Part { root, scope, source: &memory }, Gaps::Refused, &mut |_, _| {
        Err(SinkError::new("stop"))
    });
    assert!(matches!(stopped, Err(ExportError::Walk(RunError::Visit(_)))));
}

proptest! {
    #[test]
    fn any_blocks_survive_both_versions(
        blocks in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), any::<bool>()), 0..20),
    ) {
        let blocks: Vec<Block> = blocks.into_iter().map(|(data, raw)| {
            Block::of(if raw { Codec::Raw } else { Codec::DagCbor }, Buf::from(data))
        }).collect();
        let root = *Block::of(Codec::Raw, Buf::new()).cid();
        let mut writer = CarWriter::new(Vec::new(), &[root]).unwrap();
        for block in &blocks {
            writer.write(block).unwrap();
        }
        let v1 = writer.finish().unwrap();
        let v2 = to_v2(&v1);
        prop_assert!(to_v1(&v2) == v1);
        prop_assert_eq!(entries(&v2[51 + v1.len()..]).len(), blocks.len());
        let mut car = CarReader::new(&v2[..]).unwrap();
        for block in &blocks {
            let found = car.next_block().unwrap();
            prop_assert_eq!(found.as_ref(), Some(block));
        }
        prop_assert!(car.next_block().unwrap().is_none());
    }
}
