//! A client that says whatever bytes it is told, and hears what comes back without any opinion of HTTP.
//!
//! It writes and reads at the same time, because what matters here is what a server says in the middle.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// The most that is kept of an answer; what comes after it nobody looks at.
const KEPT: usize = 256 << 10;
/// Short beside anything that is measured here.
const REST: Duration = Duration::from_micros(300);
/// A server that has said this long nothing more has no second answer.
pub(super) const SILENCE: Duration = Duration::from_millis(700);

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The answer is whole, or all that is kept of it has come.
    Answered,
    /// The server closed before that.
    Closed,
    /// The server reset.
    Reset,
    /// Nothing more came in time.
    Silent,
}

/// What was heard.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: End,
    /// Bytes that the server took.
    pub(crate) said: u64,
}

impl Heard {
    /// Returns the status of the first answer; 0 when there is none.
    pub(crate) fn status(&self) -> u16 {
        status_of(&self.bytes).unwrap_or(0)
    }

    /// Returns how many answers came.
    pub(crate) fn answers(&self) -> usize {
        self.bytes.windows(9).filter(|nine| is_beginning(nine)).count()
    }

    /// Returns the head as text.
    pub(crate) fn head(&self) -> String {
        let end = head_end(&self.bytes).unwrap_or(self.bytes.len());
        String::from_utf8_lossy(self.bytes.get(..end).unwrap_or_default()).into_owned()
    }

    /// Returns what stands behind the first head.
    pub(crate) fn body(&self) -> &[u8] {
        head_end(&self.bytes).and_then(|end| self.bytes.get(end..)).unwrap_or_default()
    }

    /// Returns the value of a header of the first answer.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let head = self.head();
        let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    }

    fn is_whole(&self) -> bool {
        let Some(end) = head_end(&self.bytes) else { return false };
        let length = self.header("content-length").and_then(|text| text.parse::<usize>().ok());
        let bare = matches!(self.status(), 204 | 304);
        bare || length.is_some_and(|length| self.bytes.len() >= end.saturating_add(length))
    }
}

fn is_beginning(nine: &[u8]) -> bool {
    nine.starts_with(b"HTTP/1.1 ") || nine.starts_with(b"HTTP/1.0 ")
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Returns the status that an answer begins with.
pub(crate) fn status_of(bytes: &[u8]) -> Option<u16> {
    let line = bytes.get(..12).filter(|line| is_beginning(line.get(..9).unwrap_or_default()))?;
    std::str::from_utf8(line.get(9..)?).ok()?.parse().ok()
}

/// Connects from an address of loopback, so that bounds of one address meet one attacker.
pub(crate) fn connect(to: SocketAddr, from: Ipv4Addr) -> Result<TcpStream> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .context("too few descriptors? ulimit -n")?;
    rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
    rustix::net::connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The first answer is whole.
    Answer,
    /// Nothing more comes.
    Silence,
}

/// Says pieces one after the other and hears what is answered meanwhile.
pub(crate) fn talk(
    mut stream: TcpStream,
    mut pieces: impl Iterator<Item = Vec<u8>>,
    until: Until,
    patience: Duration,
) -> Result<Heard> {
    stream.set_nonblocking(true)?;
    let mut heard = Heard { bytes: Vec::new(), end: End::Silent, said: 0 };
    let mut piece = pieces.next().unwrap_or_default();
    let (mut at, mut buffer) = (0, vec![0; 64 << 10]);
    let mut last = Instant::now();
    let mut is_taken = true;
    loop {
        let mut is_idle = true;
        if is_taken && at < piece.len() {
            match stream.write(piece.get(at..).unwrap_or_default()) {
                Ok(written) => {
                    at += written;
                    heard.said += u64::try_from(written)?;
                    (is_idle, last) = (false, Instant::now());
                }
                Err(error) if is_later(&error) => {}
                // What it said before it stopped listening can still be read.
                Err(_) => is_taken = false,
            }
            if at == piece.len() {
                (piece, at) = (pieces.next().unwrap_or_default(), 0);
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) => heard.end = End::Closed,
            Ok(read) => {
                heard.bytes.extend(buffer.get(..read).unwrap_or_default());
                (is_idle, last) = (false, Instant::now());
            }
            Err(error) if is_later(&error) => {}
            Err(_) => heard.end = End::Reset,
        }
        let is_whole = until == Until::Answer && heard.is_whole() || heard.bytes.len() >= KEPT;
        if is_whole {
            heard.end = End::Answered;
        }
        let is_quiet = until == Until::Silence && last.elapsed() > SILENCE && !heard.bytes.is_empty();
        if heard.end != End::Silent || is_quiet || last.elapsed() > patience {
            return Ok(heard);
        }
        if is_idle {
            std::thread::sleep(REST);
        }
    }
}

/// Returns whether an operation only has to be tried again.
pub(crate) fn is_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(bytes: &[u8]) -> Heard {
        Heard { bytes: bytes.to_vec(), end: End::Closed, said: 0 }
    }

    #[test]
    fn answers_are_read_and_counted() {
        let two = heard(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 404 x\r\n\r\n");
        assert_eq!((two.status(), two.answers(), two.is_whole()), (200, 2, true));
        assert_eq!(two.header("content-length").as_deref(), Some("2"));
        let cut = heard(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab");
        assert_eq!((cut.status(), cut.body(), cut.is_whole()), (200, b"ab".as_slice(), false));
        assert_eq!(heard(b"").status(), 0);
        assert_eq!(heard(b"SSH-2.0-OpenSSH").status(), 0);
    }
}
