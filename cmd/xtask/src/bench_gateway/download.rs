//! One large file, to the end: plain, over TLS, and as a CAR.

use std::io::Read;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::Bench;
use super::client::{Connection, buffer, count};
use super::site::Server;
use crate::table::{self, Bound, Row, mib};

/// So that the end of the connection is the end of the answer.
const LAST: &str = "Connection: close\r\n";

fn timed(work: impl FnOnce() -> Result<u64>) -> Result<f64> {
    let begun = Instant::now();
    let bytes = work()?;
    Ok(mib(bytes) / begun.elapsed().as_secs_f64())
}

pub(super) fn plain(bench: &mut Bench) -> Result<Vec<Row>> {
    let path = &bench.site.large;
    let mut space = buffer();
    let speed = |server: &Server, space: &mut [u8]| {
        let mut connection = Connection::plain(server)?;
        timed(|| connection.fetch(path, "", space))
    };
    let mut pairs = Vec::new();
    for _ in 0..bench.repeat {
        pairs.push((speed(&bench.nginx.server, &mut space)?, speed(&bench.pop.server, &mut space)?));
    }
    let name = format!("one file of {}, plain HTTP, warm ÷ nginx", bench.site.size);
    Ok(vec![Row::ratio(name, Bound::AtLeast(0.8), &pairs, "MiB/s")])
}

pub(super) fn tls(bench: &mut Bench) -> Result<Vec<Row>> {
    let site = &bench.site;
    let (nginx, pop) = (&bench.nginx.server, &bench.pop.server);
    let counted = |server: &Server| ciphertext(Connection::tls(server)?, &site.large, site.size.get());
    let decrypted = |server: &Server| {
        let mut connection = Connection::tls(server)?;
        let mut space = buffer();
        timed(|| connection.fetch(&site.large, "", &mut space))
    };
    let strict = table::in_turn(bench.repeat, || counted(nginx), || counted(pop))?;
    let usual = table::in_turn(bench.repeat, || decrypted(nginx), || decrypted(pop))?;
    let name = format!("one file of {}, TLS 1.3, warm ÷ nginx", site.size);
    Ok(vec![
        Row::ratio(name, Bound::AtLeast(0.7), &strict, "MiB/s")
            .noting("AES-128-GCM for both; the client counts ciphertext and leaves it"),
        Row::ratio("the same with a client that decrypts", Bound::None, &usual, "MiB/s"),
    ])
}

/// Asks over TLS and reads what comes as it is on the wire: decrypting takes a processor that the server needs.
fn ciphertext(mut connection: Connection, path: &str, least: u64) -> Result<f64> {
    timed(|| {
        connection.ask(path, LAST)?;
        let Connection::Tls(stream) = &mut connection else { return Ok(0) };
        let mut space = buffer();
        let mut all = 0;
        loop {
            match stream.sock.read(&mut space)? {
                0 => break,
                read => all += count(read),
            }
        }
        ensure!(all > least, "{path}: {all} bytes over TLS, {least} expected");
        Ok(least)
    })
}

pub(super) fn car(bench: &mut Bench) -> Result<Vec<Row>> {
    let (site, pop) = (&bench.site, &bench.pop.server);
    let as_car = format!("/ipfs/{}?format=car", site.cid);
    let file = || {
        let mut connection = Connection::plain(pop)?;
        timed(|| connection.fetch(&site.large, "", &mut buffer()))
    };
    let archive = || timed(|| whole(Connection::plain(pop)?, &as_car, site.size.get()));
    let pairs = table::in_turn(bench.repeat, file, archive)?;
    let name = format!("CAR of a DAG of {} ÷ the plain file from here", site.size);
    Ok(vec![Row::ratio(name, Bound::AtLeast(0.9), &pairs, "MiB/s")])
}

/// Reads an answer of unknown length and sees that it came to its end.
fn whole(mut connection: Connection, path: &str, least: u64) -> Result<u64> {
    /// The empty chunk behind the last one.
    const END: &[u8] = b"\r\n0\r\n\r\n";
    connection.ask(path, LAST)?;
    let head = connection.head(Vec::new())?;
    ensure!(head.status == 200, "{path}: status {}", head.status);
    let mut space = buffer();
    let (mut all, mut last) = (count(head.rest.len()), head.rest);
    loop {
        let read = connection.read(&mut space)?;
        if read == 0 {
            break;
        }
        all += count(read);
        let now = space.get(..read).unwrap_or_default();
        last.extend(now.get(read.saturating_sub(END.len())..).unwrap_or_default());
        last.drain(..last.len().saturating_sub(END.len()));
    }
    ensure!(all > least, "{path}: {all} bytes, more than {least} expected");
    ensure!(head.length == Some(all) || last == END, "{path}: the answer was cut");
    Ok(all)
}
