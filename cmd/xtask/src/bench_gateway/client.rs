//! A client that does as little as a client can, so that it measures servers: it reads into one buffer and
//! forgets.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::{ClientConnection, StreamOwned};

use super::site::{HOST, NAME, SMALL, Server, Site};

/// One read; fits into a processor's cache and makes system calls rare.
const STEP: usize = 256 << 10;
/// The longest head that a server sends here.
const HEAD: usize = 16 << 10;
/// A server that says nothing for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection with or without TLS.
pub(super) enum Connection {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// The beginning of an answer.
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) length: Option<u64>,
    /// What came behind the head in the same read.
    pub(super) rest: Vec<u8>,
}

pub(super) fn tcp(at: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(at)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

impl Connection {
    pub(super) fn plain(server: &Server) -> Result<Self> {
        Ok(Self::Plain(tcp(server.plain)?))
    }

    /// Connects and completes the handshake.
    pub(super) fn tls(server: &Server) -> Result<Self> {
        let session = ClientConnection::new(Arc::clone(&server.client), NAME.try_into()?)?;
        let mut stream = StreamOwned::new(session, tcp(server.tls)?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::Tls(Box::new(stream)))
    }

    /// Asks for a path. `more` are further lines of the head, each with its end.
    pub(super) fn ask(&mut self, path: &str, more: &str) -> Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{more}\r\n");
        self.write_all(request.as_bytes())?;
        Ok(self.flush()?)
    }

    /// Reads a head, and whatever of the body comes with it.
    pub(super) fn head(&mut self, mut seen: Vec<u8>) -> Result<Head> {
        let mut buffer = [0; HEAD];
        loop {
            if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = seen.split_off(end + 4);
                return parse(&seen, rest);
            }
            ensure!(seen.len() <= HEAD, "a head without end");
            let read = self.read(&mut buffer)?;
            ensure!(read > 0, "the server left in the middle of a head");
            seen.extend(buffer.get(..read).unwrap_or_default());
        }
    }

    /// Asks, and reads what is answered to its end; returns the length of the body.
    pub(super) fn fetch(&mut self, path: &str, more: &str, buffer: &mut [u8]) -> Result<u64> {
        self.ask(path, more)?;
        let head = self.head(Vec::new())?;
        ensure!(matches!(head.status, 200 | 206), "{path}: status {}", head.status);
        let length = head.length.with_context(|| format!("{path}: no length"))?;
        let mut left = length.checked_sub(count(head.rest.len())).context("more than announced")?;
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = self.read(buffer.get_mut(..most).unwrap_or_default())?;
            ensure!(read > 0, "{path}: the server left {left} bytes before the end");
            left -= count(read);
        }
        Ok(length)
    }
}

pub(super) fn buffer() -> Vec<u8> {
    vec![0; STEP]
}

pub(super) fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

fn parse(head: &[u8], rest: Vec<u8>) -> Result<Head> {
    let text = std::str::from_utf8(head).context("a head that is not text")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map(|(_, value)| value.trim().parse())
        .transpose()?;
    Ok(Head { status: status.parse()?, length, rest })
}

/// Compares one answer of each kind with the files, byte by byte.
pub(super) fn verify(server: &Server, site: &Site) -> Result<()> {
    let size = site.size.get();
    let (from, to) = (size / 3 + 1, size / 3 + (64 << 10));
    let range = format!("Range: bytes={from}-{to}\r\n");
    let ways: [fn(&Server) -> Result<Connection>; 2] = [Connection::plain, Connection::tls];
    for open in ways.into_iter().take(if site.with_tls { 2 } else { 1 }) {
        let mut connection = open(server)?;
        same(&mut connection, &site.large, "", &site.large_path(), (0, size))?;
        same(&mut connection, &site.large, &range, &site.large_path(), (from, to + 1 - from))?;
        for number in 0..site.files {
            let path = format!("{}{number:04}.bin", site.small);
            same(&mut connection, &path, "", &site.small_path(number), (0, SMALL.get()))?;
        }
    }
    Ok(())
}

fn same(
    connection: &mut Connection,
    path: &str,
    more: &str,
    file: &Path,
    (from, length): (u64, u64),
) -> Result<()> {
    use std::io::{Seek, SeekFrom};

    connection.ask(path, more)?;
    let head = connection.head(Vec::new())?;
    let expected = if more.is_empty() { 200 } else { 206 };
    ensure!(head.status == expected, "{path} {more}: status {} instead of {expected}", head.status);
    ensure!(head.length == Some(length), "{path} {more}: length {:?} instead of {length}", head.length);
    let mut file = std::fs::File::open(file)?;
    file.seek(SeekFrom::Start(from))?;
    let mut wanted = BufReader::with_capacity(STEP, file);
    let mut wanted_now = buffer();
    let mut left = length;
    let mut got = head.rest;
    let mut space = buffer();
    loop {
        let expected = wanted_now.get_mut(..got.len()).context("a long rest")?;
        wanted.read_exact(expected)?;
        ensure!(got == expected, "{path} {more}: bytes differ near {}", from + length - left);
        left = left.checked_sub(count(got.len())).context("more than announced")?;
        if left == 0 {
            return Ok(());
        }
        let most = space.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = match connection.read(space.get_mut(..most).unwrap_or_default()) {
            Ok(0) => bail!("{path} {more}: {left} bytes are missing"),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            Err(error) => return Err(error.into()),
        };
        got = space.get(..read).unwrap_or_default().to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_read_without_its_body() {
        let head = b"HTTP/1.1 206 Partial Content\r\nserver: x\r\nContent-LENGTH: 12\r\n\r\n";
        let head = parse(head, b"ab".to_vec()).unwrap();
        assert_eq!((head.status, head.length, head.rest), (206, Some(12), b"ab".to_vec()));
        assert!(parse(b"nonsense\r\n\r\n", Vec::new()).is_err());
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\n", Vec::new()).unwrap().length, None);
    }
}
