use std::collections::HashSet;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use proptest::prelude::*;

use super::*;

/// Noise that is the same in every run.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    ChaCha20::new(&[7; 32].into(), &[0; 12].into()).apply_keystream(&mut bytes);
    bytes
}

/// Gives its content in pieces of the sizes named, over and over.
struct Trickling<'a> {
    content: &'a [u8],
    sizes: Vec<usize>,
    at: usize,
}

impl Read for Trickling<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let size = self.sizes[self.at % self.sizes.len()];
        self.at += 1;
        if size == 0 {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let len = size.min(into.len()).min(self.content.len());
        into[..len].copy_from_slice(&self.content[..len]);
        self.content = &self.content[len..];
        Ok(len)
    }
}

fn pieces(reader: &mut dyn Read, cut: Cut, expected: Option<u64>) -> Vec<Buf> {
    let mut chunks = Chunks::new(reader, cut, expected);
    let mut pieces = Vec::new();
    while let Some(piece) = chunks.next().unwrap() {
        assert!(!piece.is_empty());
        pieces.push(piece);
    }
    assert_eq!(chunks.next().unwrap(), None);
    pieces
}

fn defined(content: &[u8]) -> Vec<Buf> {
    pieces(&mut &content[..], Cut::Content, None)
}

#[test]
fn content_defined_pieces_keep_to_their_bounds_and_average() {
    let content = noise(16 << 20);
    let pieces = defined(&content);
    let (last, others) = pieces.split_last().unwrap();
    assert!(last.len() <= buzhash::MAX);
    assert!(others.iter().all(|piece| (buzhash::MIN..=buzhash::MAX).contains(&piece.len())));
    let average = content.len() / pieces.len();
    assert!((15 << 10..17 << 10).contains(&average), "{average}");
}

#[test]
fn cuts_are_where_they_always_were() {
    // Pins the table, the window and the mask: whoever changes them changes everybody's CIDs.
    let lengths: Vec<usize> = defined(&noise(200_000)).iter().map(Buf::len).collect();
    let known = [22825, 9262, 8270, 9779, 33457, 11298, 19067, 21867, 13933, 10539, 11760, 27664, 279];
    assert_eq!(lengths, known);
}

#[test]
fn a_run_of_one_byte_is_cut_as_seldom_as_possible() {
    for byte in 0..=u8::MAX {
        let lengths: Vec<usize> = defined(&vec![byte; 200_000]).iter().map(Buf::len).collect();
        assert_eq!(lengths, [buzhash::MAX, buzhash::MAX, buzhash::MAX, 200_000 - 3 * buzhash::MAX]);
    }
}

#[test]
fn an_insertion_changes_few_pieces() {
    let content = noise(4 << 20);
    let known: HashSet<Buf> = defined(&content).into_iter().collect();
    for (at, insert) in [(0, &b"x"[..]), (2 << 20, b"a line in the middle\n"), (3_000_000, b"")] {
        let changed = [&content[..at], insert, &content[at + 5..]].concat();
        let pieces = defined(&changed);
        let new = pieces.iter().filter(|piece| !known.contains(*piece)).count();
        // 256 pieces, of which at most four are new: 98 % are shared.
        assert!(new <= 4 && pieces.len() > 200, "{new} of {}", pieces.len());
    }
    let fixed = |content: &[u8]| pieces(&mut &content[..], Cut::Every(Bytes::new(16 << 10)), None);
    let known: HashSet<Buf> = fixed(&content).into_iter().collect();
    let shifted = fixed(&[b"x", &content[..]].concat());
    assert!(shifted.iter().all(|piece| !known.contains(piece)));
}

#[test]
fn memory_is_taken_for_what_is_there() {
    let content = noise(4096);
    for expected in [None, Some(4096), Some(0), Some(u64::MAX)] {
        let mut reader = content.as_slice();
        let mut chunks = Chunks::new(&mut reader, Cut::Every(Bytes::MIB), expected);
        let room = chunks.room(Bytes::MIB.as_usize());
        assert!(room <= Bytes::MIB.as_usize() && (expected.is_some() || room == FIRST));
        let piece: Vec<u8> = chunks.next().unwrap().unwrap().into();
        assert_eq!(piece, content);
        assert!(piece.capacity() < 2 * content.len());
    }
}

#[test]
fn an_error_of_the_reader_is_handed_on() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
    }
    for cut in [Cut::Every(Bytes::MIB), Cut::Content] {
        let content = noise(100);
        let mut reader = content.as_slice().chain(Broken);
        let refused = Chunks::new(&mut reader, cut, None).next();
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    }
}

proptest! {
    #[test]
    fn pieces_are_the_content_however_it_is_read(
        len in 0usize..700_000,
        seed in any::<usize>(),
        size in prop::option::of(1u64..100_000),
        mut sizes in prop::collection::vec(prop_oneof![Just(0usize), 1usize..100, 1usize..200_000], 1..6),
        expected in prop::option::of(any::<u64>()),
    ) {
        // Somebody has to make progress.
        sizes.push(60_000);
        // Text-like: few different bytes, with runs.
        let content: Vec<u8> = noise(len).iter().zip(0usize..).map(|(byte, at)| match (at / 5_000 + seed % 7) % 3 {
            0 => *byte,
            1 => b'a' + byte % 16,
            _ => b' ',
        }).collect();
        // Pieces of a few bytes would make this test long.
        let cut = size.map_or(Cut::Content, |size| Cut::Every(Bytes::new(size.max(100))));
        let mut reader = Trickling { content: &content, sizes, at: 0 };
        let got = pieces(&mut reader, cut, expected);
        prop_assert_eq!(got.concat(), content.as_slice());
        prop_assert_eq!(got, pieces(&mut &content[..], cut, None));
    }
}
