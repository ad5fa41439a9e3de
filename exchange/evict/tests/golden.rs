//! Recorded requests against the exact hit counts that the rules give.

use std::io::Read;

use pop_evict::{Aged, Id, Policy};
use pop_units::Bytes;

fn unpack(name: &str) -> Vec<u8> {
    let path = format!("{}/../../testdata/eviction/{name}.trace.xz", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::File::open(path).expect("the trace is in testdata");
    let mut bytes = Vec::new();
    lzma_rust2::XzReader::new(std::io::BufReader::new(file), false)
        .read_to_end(&mut bytes)
        .expect("the trace is whole");
    bytes
}

/// Web requests, every object of size 1.
fn web07() -> Vec<(Id, u64)> {
    unpack("web07").chunks_exact(4).map(|key| (Id::new(key), 1)).collect()
}

/// Time, key and size on a line; an object is a key and a size.
fn adapt() -> Vec<(Id, u64)> {
    let text = String::from_utf8(unpack("adapt_size")).expect("lines of text");
    let request = |line: &str| {
        let words: Vec<u64> = line.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        (Id::new(&[words[1].to_be_bytes(), words[2].to_be_bytes()].concat()), words[2])
    };
    text.lines().map(request).collect()
}

/// Returns hits and bytes hit.
fn replay(trace: &[(Id, u64)], capacity: u64) -> (u64, u64) {
    let mut policy = Aged::new(Bytes::new(capacity));
    trace
        .iter()
        .filter(|(id, size)| policy.request(id, Bytes::new(*size)))
        .fold((0, 0), |(hits, bytes), (_, size)| (hits + 1, bytes + size))
}

#[test]
fn web_requests_of_unit_size_hit_exactly_as_often() {
    let trace = web07();
    assert_eq!(trace.len(), 76_118);
    assert_eq!(replay(&trace, 204).0, 34_153);
    assert_eq!(replay(&trace, 2048).0, 44_638);
}

#[test]
fn sized_requests_hit_exactly_as_often_in_objects_and_bytes() {
    let trace = adapt();
    assert_eq!(trace.iter().map(|(_, size)| size).sum::<u64>(), 485_457_552);
    assert_eq!(replay(&trace, 3_042_135), (17_434, 131_583_169));
    assert_eq!(replay(&trace, 30_421_357), (23_142, 163_436_182));
}
