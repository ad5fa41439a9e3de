//! Memory with a thousand clients that ask for the large file and hardly read.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Bench;
use super::client::{Connection, buffer, tcp};
use super::site::HOST;
use crate::table::{Bound, Row, mib};

/// How long the readers read before it is over: long enough that what a server reads ahead is read.
const READING: Duration = Duration::from_secs(20);
/// How often each reads, and how much.
const EVERY: Duration = Duration::from_secs(1);
const PIECE: usize = 1024;
/// What a node needs to come to rest after a download.
const REST: Duration = Duration::from_secs(3);

pub(super) fn memory(bench: &mut Bench) -> Result<Vec<Row>> {
    let (mut above, mut idles) = (Vec::new(), Vec::new());
    for _ in 0..bench.repeat {
        // A process that was under load before has memory that it did not give back.
        bench.pop.restart()?;
        // Idle is a node that works, not one that was never used.
        Connection::plain(&bench.pop.server)?.fetch(&bench.site.large, "", &mut buffer())?;
        std::thread::sleep(REST);
        let idle = mib(bench.pop.daemon.memory_now()?);
        idles.push(idle);
        above.push(peak(bench)? - idle);
    }
    let name =
        format!("memory above idle, {} readers of 1 KiB/s of a file of {}", bench.readers, bench.site.size);
    let note = format!("idle {:.0} MiB", crate::table::median(&idles));
    Ok(vec![Row::new(name, Bound::AtMost(128.0), "MiB", above).noting(&note)])
}

/// Returns the most memory that was seen while all of them read.
fn peak(bench: &Bench) -> Result<f64> {
    let request = format!("GET {} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", bench.site.large);
    let mut readers = Vec::new();
    for _ in 0..bench.readers {
        let mut stream = tcp(bench.pop.server.plain).context("too few descriptors? ulimit -n")?;
        stream.write_all(request.as_bytes())?;
        stream.set_nonblocking(true)?;
        readers.push(Reader { stream, begun: false });
    }
    let end = Instant::now() + READING;
    let mut peak: f64 = 0.0;
    while Instant::now() < end {
        let round = Instant::now();
        for reader in &mut readers {
            reader.read()?;
        }
        peak = peak.max(mib(bench.pop.daemon.memory_now()?));
        std::thread::sleep(EVERY.saturating_sub(round.elapsed()));
    }
    let served = u32::try_from(readers.iter().filter(|reader| reader.begun).count())?;
    ensure!(served == bench.readers, "{served} of {} readers were answered", bench.readers);
    Ok(peak)
}

struct Reader {
    stream: TcpStream,
    /// Whether the answer has begun.
    begun: bool,
}

impl Reader {
    fn read(&mut self) -> Result<()> {
        let mut piece = [0; PIECE];
        match self.stream.read(&mut piece) {
            Ok(0) => bail!("a reader was left alone"),
            Ok(_) => {
                let good = self.begun || piece.starts_with(b"HTTP/1.1 200 ");
                ensure!(good, "{}", String::from_utf8_lossy(&piece));
                self.begun = true;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error).context("a reader was cut off"),
        }
    }
}
