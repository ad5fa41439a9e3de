//! How long a client waits for the first byte of a small file that is warm.

use std::io::Read;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Bench;
use super::client::{Connection, buffer, count};
use super::site::Server;
use crate::table::{self, Bound, Row};

/// Requests of one round; the hundredth part of them is still a number to sort.
const REQUESTS: u32 = 2000;

pub(super) fn rows(bench: &mut Bench) -> Result<Vec<Row>> {
    let path = format!("{}0000.bin", bench.site.small);
    let (nginx, pop) = (&bench.nginx.server, &bench.pop.server);
    let mut rows = Vec::new();
    let rounds: [(&str, Round); 2] =
        [("a connection that is kept", kept), ("a new connection each time", new)];
    for (name, once) in rounds {
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        let sorted = |server: &Server, middles: &mut Vec<f64>| {
            let mut times = once(server, &path)?;
            times.sort();
            middles.push(micros(at(&times, 50)?));
            Ok(micros(at(&times, 99)?))
        };
        // Both are warm, and the processor has left its sleep.
        sorted(nginx, &mut Vec::new())?;
        sorted(pop, &mut Vec::new())?;
        let pairs = table::in_turn(bench.repeat, || sorted(nginx, &mut theirs), || sorted(pop, &mut ours))?;
        let note = format!("half: {:.0} against {:.0} µs", table::median(&ours), table::median(&theirs));
        let name = format!("time to the first byte, 4 KiB, {name}, p99 ÷ nginx");
        rows.push(Row::ratio(name, Bound::AtMost(2.0), &pairs, "µs").noting(&note));
    }
    Ok(rows)
}

type Round = fn(&Server, &str) -> Result<Vec<Duration>>;

fn kept(server: &Server, path: &str) -> Result<Vec<Duration>> {
    let mut connection = Connection::plain(server)?;
    (0..REQUESTS).map(|_| wait(&mut connection, path, Instant::now())).collect()
}

fn new(server: &Server, path: &str) -> Result<Vec<Duration>> {
    (0..REQUESTS)
        .map(|_| {
            let begun = Instant::now();
            wait(&mut Connection::plain(server)?, path, begun)
        })
        .collect()
}

/// Asks and returns how long after `begun` the first byte came; reads the rest too.
fn wait(connection: &mut Connection, path: &str, begun: Instant) -> Result<Duration> {
    let mut space = [0; 8192];
    connection.ask(path, "")?;
    let read = connection.read(&mut space)?;
    let took = begun.elapsed();
    let head = connection.head(space.get(..read).unwrap_or_default().to_vec())?;
    ensure!(head.status == 200, "{path}: status {}", head.status);
    let mut left = head.length.context("no length")?.saturating_sub(count(head.rest.len()));
    let mut space = buffer();
    while left > 0 {
        let read = connection.read(&mut space)?;
        ensure!(read > 0, "{path}: cut");
        left = left.saturating_sub(count(read));
    }
    Ok(took)
}

/// Returns the value that so many percent stay below.
fn at(sorted: &[Duration], percent: usize) -> Result<Duration> {
    sorted.get(sorted.len() * percent / 100).copied().context("no values")
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
