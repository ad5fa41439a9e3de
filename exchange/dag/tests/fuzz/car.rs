//! What must hold when an archive is read, whatever its bytes.

use std::io::{self, Cursor, Read};

use multihash_codetable::{Code, MultihashDigest};
use pop_dag::car::{CarError, CarReader, CarWriter, Version};
use pop_dag::{Block, Buf, Cid, Codec};

/// What reading an archive gave, up to the end or to the first error.
#[derive(Debug, PartialEq)]
struct Reading {
    version: Version,
    roots: Vec<Cid>,
    blocks: Vec<Block>,
    error: Option<String>,
}

/// Reads an archive in several ways, and writes it anew in both versions.
///
/// # Panics
/// A block does not hash to its CID, the ways differ, or the archive does not come back as it was written.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(whole) = read(CarReader::new(bytes)) else {
        assert!(read(CarReader::new(Dribble(bytes))).is_err(), "bytes that come one by one are read");
        return;
    };
    assert!(!whole.roots.is_empty(), "an archive without roots is read");
    whole.blocks.iter().for_each(check_block);
    assert_eq!(read(CarReader::new(Dribble(bytes))).expect("bytes come one by one"), whole);
    check_padding(bytes, &whole);
    check_cut(bytes, &whole);
    check_writing(bytes, &whole);
}

/// Makes the digests of a fuzzed archive right again, so that mutations reach what lies behind them.
pub(crate) fn mend(bytes: &mut [u8], seed: u32) {
    let mut choice = seed;
    let mut at = start(bytes).unwrap_or(0);
    while let Some((cid, end)) = section(bytes, at) {
        choice = choice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if choice >> 29 != 0 {
            mend_section(&mut bytes[cid..end]);
        }
        at = end;
    }
}

fn read<R: Read>(reader: Result<CarReader<R>, CarError>) -> Result<Reading, CarError> {
    let mut reader = reader?;
    let (version, roots) = (reader.version(), reader.roots().to_vec());
    let mut blocks = Vec::new();
    let error = loop {
        match reader.next_block() {
            Ok(Some(block)) => blocks.push(block),
            Ok(None) => break None,
            Err(error) => break Some(format!("{error:?}")),
        }
    };
    assert!(matches!(reader.next_block(), Ok(None)), "something follows the end");
    Ok(Reading { version, roots, blocks, error })
}

fn check_block(block: &Block) {
    let (hash, data) = (block.cid().hash(), block.data());
    match hash.code() {
        0 => assert_eq!(hash.digest(), data.as_ref()),
        code => assert_eq!(Code::try_from(code).expect("a known hash").digest(data), *hash),
    }
    assert!(data.len() <= 2 << 20, "a block of {} bytes is taken", data.len());
}

/// Leniency about padding changes nothing about what comes before it.
fn check_padding(bytes: &[u8], whole: &Reading) {
    let padded = read(CarReader::new(bytes).map(CarReader::allow_null_padding)).expect("the same header");
    assert_eq!(padded.blocks, whole.blocks);
    assert!(whole.error.is_some() || padded.error.is_none(), "padding that is allowed is an error");
}

/// What is cut off may cost blocks, and never changes one.
fn check_cut(bytes: &[u8], whole: &Reading) {
    let less = &bytes[..bytes.len().saturating_sub(1)];
    if let Ok(cut) = read(CarReader::new(less)) {
        assert!(whole.blocks.starts_with(&cut.blocks), "a cut archive has other blocks");
    }
}

fn check_writing(bytes: &[u8], whole: &Reading) {
    let one = write(CarWriter::new(Vec::new(), &whole.roots), &whole.blocks);
    let two = write(CarWriter::indexed(Cursor::new(Vec::new()), &whole.roots), &whole.blocks).into_inner();
    for (version, written) in [(Version::V1, &one), (Version::V2, &two)] {
        let again = read(CarReader::new(written.as_slice())).expect("what was written is read");
        assert_eq!((again.version, &again.error), (version, &None));
        assert_eq!((&again.roots, &again.blocks), (&whole.roots, &whole.blocks));
    }
    // Every part of version 1 has one encoding only.
    if whole.version == Version::V1 && whole.error.is_none() {
        assert_eq!(one, bytes);
    }
}

fn write<W: io::Write>(writer: io::Result<CarWriter<W>>, blocks: &[Block]) -> W {
    let mut writer = writer.expect("memory takes a header");
    blocks.iter().for_each(|block| writer.write(block).expect("memory takes a block"));
    writer.finish().expect("memory takes the end")
}

/// Gives one byte at a time.
struct Dribble<'a>(&'a [u8]);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(1);
        self.0.read(&mut buffer[..len])
    }
}

/// Returns where the first section starts, as far as that can be told from broken bytes.
pub(crate) fn start(bytes: &[u8]) -> Option<usize> {
    let mut header = 0;
    if bytes.starts_with(b"\x0a\xa1\x67version\x02") {
        let offset = bytes.get(27..35)?.try_into().ok()?;
        header = usize::try_from(u64::from_le_bytes(offset)).ok()?;
    }
    section(bytes, header).map(|(_, end)| end)
}

/// Returns where the content of the section at `at` starts and ends.
pub(crate) fn section(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let (mut len, mut start) = (0usize, at);
    for shift in [0, 7, 14] {
        let byte = *bytes.get(start)?;
        start += 1;
        len |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let end = start + len;
            return (len > 0 && end <= bytes.len()).then_some((start, end));
        }
    }
    None
}

fn mend_section(section: &mut [u8]) {
    let digest = match section {
        [0x12, 0x20, ..] => 2,
        [1, _, 0x12, 0x20, ..] => 4,
        [1, _, _, 0x12, 0x20, ..] => 5,
        _ => return,
    };
    if let Some((head, data)) = section.split_at_mut_checked(digest + 32) {
        let block = Block::of(Codec::Raw, Buf::copy_from_slice(data));
        head[digest..].copy_from_slice(block.cid().hash().digest());
    }
}
