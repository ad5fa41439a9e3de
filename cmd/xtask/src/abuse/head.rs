//! Heads that come slowly, are large, or ask for too many things at once.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::wire::{connect, is_later};
use super::{Bench, Case};

/// Connections of the slow attackers.
const MANY: u32 = 500;
/// How long a head may take, and what looking at it now and then adds.
const HEAD: Duration = Duration::from_secs(15);
const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 20);

/// Heads that never end: a byte a second, and large ones that stop in the middle.
pub(super) fn slow(bench: &Bench) -> Result<Vec<Case>> {
    let line = format!("GET {} HTTP/1.1\r\nHost: {}\r\nX-Slow: ", bench.door.small_path(), bench.door.at);
    let drip = line.into_bytes();
    let streams = open(bench, MANY, &[])?;
    let dripped = until_cut(streams, |stream, second| {
        let byte = drip.get(second).copied().unwrap_or(b'x');
        stream.write_all(&[byte])
    })?;
    let mut large = format!("GET / HTTP/1.1\r\nHost: {}\r\nX-Large: ", bench.door.at).into_bytes();
    large.resize(60 << 10, b'x');
    let streams = open(bench, 200, &large)?;
    let held = until_cut(streams, |_, _| Ok(()))?;
    Ok(vec![
        told(format!("{MANY} heads of a byte a second"), dripped),
        told("200 heads of 60 KiB that stop before their end", held),
    ])
}

fn open(bench: &Bench, count: u32, bytes: &[u8]) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = connect(bench.door.at, FROM)?;
        stream.write_all(bytes)?;
        stream.set_nonblocking(true)?;
        streams.push(stream);
    }
    Ok(streams)
}

/// Goes on with each connection once a second until all are cut; returns how many were not, and the time it took.
fn until_cut(
    mut streams: Vec<TcpStream>,
    mut act: impl FnMut(&mut TcpStream, usize) -> std::io::Result<()>,
) -> Result<(usize, Duration)> {
    let begun = Instant::now();
    let mut second = 0;
    while !streams.is_empty() && begun.elapsed() < HEAD + Duration::from_secs(5) {
        streams.retain_mut(|stream| act(stream, second).is_ok() && is_open(stream));
        second += 1;
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok((streams.len(), begun.elapsed()))
}

fn is_open(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(read) => read > 0,
        Err(error) => is_later(&error),
    }
}

fn told(what: impl Into<String>, (left, took): (usize, Duration)) -> Case {
    let seen = format!("{left} open after {:.0} s", took.as_secs_f64());
    Case::new(what, format!("all cut within {} s", HEAD.as_secs()), seen, left == 0 && took <= HEAD)
}

/// Heads that are too large, or are none.
pub(super) fn headers(bench: &Bench) -> Result<Vec<Case>> {
    let small = bench.door.small_path();
    let get = |more: &str| bench.door.get(&small, more);
    let field = |size: usize| format!("X-Large: {}\r\n", "x".repeat(size));
    let several = |count: usize, size: usize| -> String {
        (0..count).map(|at| format!("X-{at}: {}\r\n", "y".repeat(size))).collect()
    };
    let many = |count: usize| "Accept: text/html\r\n".repeat(count);
    Ok(vec![
        bench.case("a header of 60 KiB", get(&field(60 << 10)), &[200])?,
        bench.case("a header of 65 KiB", get(&field(65 << 10)), &[431])?,
        bench.case("a header of 200 KiB", get(&field(200 << 10)), &[431])?,
        bench.case("a header of 16 MiB", get(&field(16 << 20)), &[431, 0])?,
        bench.case("9 headers of 8 KiB", get(&several(9, 8 << 10)), &[431])?,
        bench.case("90 headers", get(&several(90, 1)), &[200])?,
        bench.case("1,000 headers", get(&several(1000, 1)), &[431])?,
        bench.case("1,000 headers of one name", get(&many(1000)), &[431])?,
        bench.case("100,000 headers", get(&several(100_000, 1)), &[431, 0])?,
        bench.case("a header without colon", get("nonsense\r\n"), &[400])?,
        bench.case("a header without name", get(": x\r\n"), &[400])?,
        bench.case("a folded header", get("X-A: b\r\n c\r\n"), &[400])?,
        bench.case("NUL in a header", get("X-A: b\0c\r\n"), &[400])?,
        bench.case("CR alone in a header", get("X-A: b\rX-B: c\r\n"), &[400])?,
        bench.case("a name that is no ASCII", get("X-\u{e9}: c\r\n"), &[400])?,
        bench.case("a value that is no ASCII", get("X-A: \u{e9}\r\n"), &[200])?,
        bench.case("an Accept of 60 KiB", get(&format!("Accept: {}\r\n", "*/*,".repeat(15_000))), &[200])?,
        bench.case(
            "an If-None-Match of 60 KiB",
            get(&format!("If-None-Match: {}\r\n", "\"x\",".repeat(15_000))),
            &[200],
        )?,
        bench.case("60 KiB that are no HTTP", vec![0x16; 60 << 10], &[400, 0])?,
    ])
}

/// URLs that are too long.
pub(super) fn urls(bench: &Bench) -> Result<Vec<Case>> {
    let get = |path: &str| bench.door.get(path, "");
    let (small, root) = (bench.door.small_path(), &bench.door.root);
    let long = |size: usize| format!("/ipfs/{root}/{}", "a".repeat(size));
    let query = |size: usize| format!("{small}?x={}", "a".repeat(size));
    Ok(vec![
        bench.case("a path of 8,000 bytes", get(&long(7900)), &[404])?,
        bench.case("a path of 9 KiB", get(&long(9 << 10)), &[414])?,
        bench.case("a path of 64 KiB", get(&long(64 << 10)), &[414])?,
        bench.case("a path of 1 MiB", get(&long(1 << 20)), &[414, 431, 0])?,
        bench.case("a query of 8,000 bytes", get(&query(8000 - small.len())), &[200])?,
        bench.case("a query of 64 KiB", get(&query(64 << 10)), &[414])?,
        bench.case("64 KiB of escapes", get(&format!("/ipfs/{root}/{}", "%41".repeat(22_000))), &[414])?,
        bench.case("4,000 slashes", get(&format!("/ipfs/{root}{}small.bin", "/".repeat(4000))), &[200])?,
        bench.case("2,000 segments", get(&format!("/ipfs/{root}{}", "/a".repeat(2000))), &[400])?,
        bench.case("200 segments", get(&format!("/ipfs/{root}{}", "/a".repeat(200))), &[404])?,
        bench.case("a CID of 4 KiB", get(&format!("/ipfs/b{}", "a".repeat(4096))), &[400])?,
        bench.case("1,000 parameters", get(&format!("{small}?{}", "format&".repeat(1000))), &[200, 400])?,
    ])
}

/// Ranges that are many, huge, or none; of the large file.
pub(super) fn ranges(bench: &Bench) -> Result<Vec<Case>> {
    let large = bench.door.large_path();
    let get =
        |range: String| bench.door.get(&large, &format!("Range: bytes={range}\r\nConnection: close\r\n"));
    let size = bench.door.size.get();
    let single = |from: &str| get(from.to_owned());
    let separate: Vec<String> = (0..6000_u32).map(|at| format!("{}-{}", at * 2, at * 2)).collect();
    let mut cases = vec![
        bench.case("10,000 ranges of a byte", get(vec!["0-0"; 10_000].join(",")), &[200])?,
        bench.case("6,000 ranges that are apart", get(separate.join(",")), &[200])?,
        bench.case("10,000 ranges of everything", get(vec!["0-"; 10_000].join(",")), &[200])?,
        bench.case("16 that overlap", get(vec!["0-"; 16].join(",")), &[200])?,
        bench.case("3 that are apart", single("0-1,10-11,20-21"), &[206])?,
        bench.case("a first byte above 64 bits", single("99999999999999999999999999-"), &[416])?,
        bench.case("a last byte above 64 bits", single("5-99999999999999999999999999"), &[206])?,
        bench.case("a suffix above 64 bits", single("-99999999999999999999999999"), &[206])?,
        bench.case("the largest number", single("18446744073709551615-18446744073709551615"), &[416])?,
        bench.case("the first byte behind the end", single(&format!("{size}-")), &[416])?,
        bench.case("the last byte", single(&format!("{}-", size - 1)), &[206])?,
        bench.case("an empty suffix", single("-0"), &[416])?,
        bench.case("from behind to", single("5-1"), &[200])?,
        bench.case("10,000 commas", single(&",".repeat(10_000)), &[200])?,
        bench.case("negative", single("--5"), &[200])?,
    ];
    let bomb = get(vec!["0-"; 10_000].join(","));
    let begun = Instant::now();
    let count = if bench.is_quick { 100 } else { 400 };
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = connect(bench.door.at, FROM)?;
        stream.write_all(&bomb)?;
        streams.push(stream);
    }
    let mut right = 0;
    for stream in &mut streams {
        stream.set_read_timeout(Some(super::PATIENCE))?;
        let mut head = [0; 12];
        let is_right = stream.read_exact(&mut head).is_ok() && head.starts_with(b"HTTP/1.1 200");
        right += usize::from(is_right);
    }
    let seen = format!("{right} heads in {:.1} s", begun.elapsed().as_secs_f64());
    cases.push(Case::new(
        format!("{count} such bombs at once"),
        "200 for each",
        seen,
        right == streams.len(),
    ));
    Ok(cases)
}
