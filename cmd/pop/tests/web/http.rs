//! A client that tells a whole answer from a broken one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::fleet::Pop;

/// Longest wait for the next byte.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer, as far as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Whether the connection showed that nothing is missing.
    pub(crate) is_whole: bool,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body of an answer that must have been whole, and this.
    #[track_caller]
    pub(crate) fn ok(self) -> Vec<u8> {
        assert_eq!(self.status, 200, "{}\n{}", self.head, self.text());
        assert!(self.is_whole, "cut off after {} bytes\n{}", self.body.len(), self.head);
        self.body
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// An answer whose head and first bytes were not waited for.
pub(crate) struct Pending(TcpStream);

/// Sends a request to the gateway of a node.
pub(crate) fn send(pop: &Pop, target: &str, headers: &str) -> Pending {
    let ping = pop.json(&["ping"]).done();
    let url = ping["gateway"].as_str().expect("the node has a gateway");
    send_to(url.strip_prefix("http://").unwrap(), target, headers)
}

/// Sends a request to an address.
pub(crate) fn send_to(host: &str, target: &str, headers: &str) -> Pending {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    Pending(stream)
}

/// Asks the gateway of a node, and reads its answer to the end.
pub(crate) fn get(pop: &Pop, target: &str) -> Reply {
    send(pop, target, "").reply()
}

impl Pending {
    /// Waits for the first bytes.
    pub(crate) fn begins(&mut self) -> Vec<u8> {
        let mut first = vec![0; 1024];
        let count = self.0.read(&mut first).unwrap();
        first.truncate(count);
        first
    }

    pub(crate) fn reply(mut self) -> Reply {
        let mut bytes = Vec::new();
        let ended = self.0.read_to_end(&mut bytes);
        let at = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let at = at.unwrap_or_else(|| panic!("no head: {ended:?} {}", String::from_utf8_lossy(&bytes)));
        let body = bytes.split_off(at + 4);
        let head = String::from_utf8(bytes).unwrap().to_ascii_lowercase();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let (body, is_whole) = match length {
            Some(length) => {
                let is_whole = body.len() == length.trim().parse::<usize>().unwrap();
                (body, is_whole)
            }
            None if head.contains("transfer-encoding: chunked") => unchunk(&body),
            None => (body, ended.is_ok()),
        };
        Reply { status, head, body, is_whole }
    }
}

/// Joins chunks; whole once the empty one has come.
fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(at) = rest.windows(2).position(|two| two == b"\r\n") else { return (body, false) };
        let size = std::str::from_utf8(&rest[..at]).unwrap();
        let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
        rest = &rest[at + 2..];
        if size == 0 {
            return (body, true);
        }
        if rest.len() < size + 2 {
            body.extend_from_slice(rest);
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}
