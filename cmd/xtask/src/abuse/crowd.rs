//! Very many clients at once, clients that stop reading, and clients that cannot tell an end from a failure.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::door::Door;
use super::wire::{connect, is_later, status_of};
use super::{Bench, Case};
use crate::fleet::{CALL, until};

/// Requests at once.
const MANY: u32 = 10_000;
/// How long they may take together.
const LONG: Duration = Duration::from_secs(120);
/// Clients that stop reading.
const STALLED: u32 = 200;
/// How long a client may take nothing, and what looking at it now and then adds.
const STALL: Duration = Duration::from_secs(40);
/// How often connections are looked at, and a little more.
const LOOK: Duration = Duration::from_secs(4);
/// Clients of HTTP/1.0.
const OLD: u32 = 20;

/// Ten thousand requests of one address, of which most are too many.
pub(super) fn flood(bench: &Bench) -> Result<Vec<Case>> {
    let case =
        crowd(bench, "10,000 requests at once of one address", |_| Ipv4Addr::new(127, 0, 0, 40), MANY / 50)?;
    Ok(vec![case])
}

/// Ten thousand requests of twenty addresses, each within its bounds.
pub(super) fn parallel(bench: &Bench) -> Result<Vec<Case>> {
    let of_many = |number| Ipv4Addr::new(127, 0, 1, u8::try_from(number % 20).unwrap_or(0) + 1);
    Ok(vec![crowd(bench, "10,000 requests at once of 20 addresses", of_many, MANY)?])
}

/// Checks that this process may have as many connections.
fn check_descriptors() -> Result<()> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    let soft: u32 = soft.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0);
    ensure!(soft > MANY + 2000, "{soft} descriptors are too few: ulimit -n 20000");
    Ok(())
}

/// How one request of a crowd ended.
#[derive(Debug, Default)]
struct Ended {
    whole: u32,
    busy: u32,
    /// Closed or reset without an answer.
    away: u32,
    /// A status, a body or an end that must not be.
    wrong: Vec<String>,
}

struct Visitor {
    stream: TcpStream,
    seen: Vec<u8>,
}

/// Sends the requests of a crowd at once; at least so many must be answered with the content.
fn crowd(bench: &Bench, what: &str, from: impl Fn(u32) -> Ipv4Addr, least: u32) -> Result<Case> {
    check_descriptors()?;
    let ask = bench.door.get(&bench.door.small_path(), "Connection: close\r\n");
    let mut ended = Ended::default();
    let mut visitors = Vec::new();
    let begun = Instant::now();
    for number in 0..MANY {
        let stream = connect(bench.door.at, from(number))?;
        stream.set_nonblocking(true)?;
        visitors.push(Visitor { stream, seen: Vec::new() });
    }
    for visitor in &mut visitors {
        // Whoever was turned away already finds that out when reading.
        let _ = visitor.stream.write_all(&ask);
    }
    let mut buffer = vec![0; 64 << 10];
    while !visitors.is_empty() && begun.elapsed() < LONG {
        let before = visitors.len();
        visitors.retain_mut(|visitor| {
            let outcome = visitor.look(&mut buffer);
            outcome.is_none_or(|is_reset| {
                ended.count(&visitor.seen, is_reset, &bench.door);
                false
            })
        });
        if visitors.len() == before {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let Ended { whole, busy, away, wrong } = &ended;
    let seen = format!(
        "{whole} whole, {busy} × 429, {away} closed, {} open, {} wrong {:?}, in {:.1} s",
        visitors.len(),
        wrong.len(),
        wrong.first(),
        begun.elapsed().as_secs_f64()
    );
    let is_ok = wrong.is_empty() && visitors.is_empty() && *whole >= least;
    let expected = format!("200 whole for {least} at least, else 429 or closed");
    Ok(Case::new(what, expected, seen, is_ok))
}

impl Visitor {
    /// Reads what there is; at the end returns whether it was a reset.
    fn look(&mut self, buffer: &mut [u8]) -> Option<bool> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Some(false),
                Ok(read) => self.seen.extend(buffer.get(..read).unwrap_or_default()),
                Err(error) if is_later(&error) => return None,
                Err(_) => return Some(true),
            }
        }
    }
}

impl Ended {
    fn count(&mut self, seen: &[u8], is_reset: bool, door: &Door) {
        let body = seen.windows(4).position(|four| four == b"\r\n\r\n").and_then(|at| seen.get(at + 4..));
        match status_of(seen) {
            Some(200) if body == Some(&door.small) => self.whole += 1,
            Some(429) if String::from_utf8_lossy(seen).to_lowercase().contains("retry-after: ") => {
                self.busy += 1
            }
            None if seen.is_empty() => self.away += 1,
            status => self.wrong.push(format!("{status:?}, {} bytes, reset {is_reset}", seen.len())),
        }
    }
}

/// Clients that ask for the large file and read nothing of it.
pub(super) fn stalled(bench: &Bench) -> Result<Vec<Case>> {
    let before = sockets(&bench.door)?;
    let ask = bench.door.get(&bench.door.large_path(), "");
    let mut readers = Vec::new();
    for _ in 0..STALLED {
        let mut stream = connect(bench.door.at, Ipv4Addr::new(127, 0, 0, 41))?;
        stream.write_all(&ask)?;
        readers.push(stream);
    }
    let all = before + usize::try_from(STALLED)?;
    // The good client comes and goes, so that one more or less says nothing.
    until("connections of the readers", super::PATIENCE, || {
        Ok((sockets(&bench.door)? >= all - 2).then_some(()))
    })?;
    let begun = Instant::now();
    let most = before + 2;
    let cut = until("cut of the readers", STALL, || Ok((sockets(&bench.door)? <= most).then_some(())));
    let took = begun.elapsed();
    // Whoever is the last one is cut with the next look.
    std::thread::sleep(LOOK);
    let left = sockets(&bench.door)?.saturating_sub(before);
    let mut cases = vec![Case::new(
        format!("{STALLED} clients that stop reading"),
        format!("cut within {} s", STALL.as_secs()),
        format!("{left} open after {:.0} s", took.as_secs_f64()),
        cut.is_ok(),
    )];
    let mut errors = 0;
    for mut reader in readers {
        reader.set_read_timeout(Some(super::PATIENCE))?;
        let read = std::io::copy(&mut reader, &mut std::io::sink());
        let is_short = read.as_ref().is_ok_and(|read| *read < bench.door.size.get());
        errors += u32::from(is_short || read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    }
    let seen = format!("{errors} of {STALLED}");
    cases.push(Case::new("what they can still read is short", "all", seen, errors == STALLED));
    Ok(cases)
}

/// Returns how many sockets a node has.
fn sockets(door: &Door) -> Result<usize> {
    let folder = format!("/proc/{}/fd", door.daemon.id());
    let links = std::fs::read_dir(&folder).context(folder)?.filter_map(|entry| {
        let link = std::fs::read_link(entry.ok()?.path()).ok()?;
        link.to_str()?.starts_with("socket:").then_some(())
    });
    Ok(links.count())
}

/// Clients of HTTP/1.0 that read a CAR, whose length nobody says, while the node stops without waiting for them.
pub(super) fn old(bench: &Bench) -> Result<Vec<Case>> {
    // The second node stops here; it has a large upload for this alone, which is no longer than its bound.
    let path = upload(&bench.open)?;
    let mut cases = Vec::new();
    let mut readers = Vec::new();
    for number in 0..OLD {
        let form = if number % 2 == 0 { "?format=car" } else { "" };
        let mut stream = connect(bench.open.at, Ipv4Addr::new(127, 0, 0, 42))?;
        rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 16 << 10)?;
        stream.write_all(format!("GET {path}{form} HTTP/1.0\r\n\r\n").as_bytes())?;
        let mut head = [0; 15];
        stream.read_exact(&mut head)?;
        ensure!(head.ends_with(b" 200 OK"), "{}", String::from_utf8_lossy(&head));
        readers.push((form, stream));
    }
    // What they would read while the node waits for them would be whole.
    let stopped = bench.open.daemon.call(&["off", "--drain", "1s"], CALL);
    let seen = stopped.as_ref().map_or_else(|error| format!("{error:#}"), |_| "stopped".to_owned());
    cases.push(Case::new("the stop", "in order", seen, stopped.is_ok()));
    let (mut reset, mut ends) = (0, Vec::new());
    for (form, mut reader) in readers {
        reader.set_read_timeout(Some(STALL))?;
        let read = std::io::copy(&mut reader, &mut std::io::sink());
        match read {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => reset += 1,
            other => ends.push(format!("{form} {other:?}")),
        }
    }
    let seen = format!("{reset} of {OLD} reset, others {ends:?}");
    cases.push(Case::new("HTTP/1.0 while the node stops", "reset for each", seen, reset == OLD));
    Ok(cases)
}

/// Puts a file of almost the bound in and returns its path.
fn upload(door: &Door) -> Result<String> {
    let mut stream = connect(door.at, Ipv4Addr::LOCALHOST)?;
    let size = usize::try_from(super::upload::CAP.get())?;
    let mut body = vec![0; size];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut body)?;
    stream.write_all(
        format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n",
            door.at
        )
        .as_bytes(),
    )?;
    stream.write_all(&body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let location = answer.lines().find_map(|line| line.strip_prefix("location: "));
    Ok(location.with_context(|| format!("no place in {answer}"))?.to_owned())
}
