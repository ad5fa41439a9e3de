//! A client that compares what comes with the file that should, and notes how it ended.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::abuse::wire::{End, status_of};

/// A node that neither sends nor gives up for so long hangs.
const PATIENCE: Duration = Duration::from_secs(120);
const STEP: usize = 256 << 10;

/// What a client got.
#[derive(Debug)]
pub(super) struct Got {
    /// 0 when there was no answer.
    pub(super) status: u16,
    /// What was announced.
    pub(super) length: Option<u64>,
    /// What came.
    pub(super) body: u64,
    /// Whether all that came is what stands in the file.
    pub(super) is_equal: bool,
    /// `Answered` when the announced length came.
    pub(super) end: End,
}

impl Got {
    /// Returns whether a client takes it for success.
    pub(super) fn is_success(&self) -> bool {
        let is_ended = match self.length {
            Some(_) => self.end == End::Answered,
            None => self.end == End::Closed,
        };
        self.status == 200 && is_ended
    }

    /// Returns whether it is the whole file.
    pub(super) fn is_file(&self, file: &Path) -> Result<bool> {
        Ok(self.is_success() && self.is_equal && self.body == file.metadata()?.len())
    }
}

/// Asks for a path in a version of HTTP, and compares what comes with a file if there is one.
pub(super) fn get(at: SocketAddr, path: &str, version: &str, file: Option<&Path>) -> Result<Got> {
    let mut got = Got { status: 0, length: None, body: 0, is_equal: true, end: End::Closed };
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let ask = format!("GET {path} HTTP/{version}\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    let mut file = file.map(File::open).transpose()?;
    let (mut head, mut buffer, mut wanted) = (Vec::new(), vec![0; STEP], vec![0; STEP]);
    let mut is_in_body = false;
    if stream.write_all(ask.as_bytes()).is_err() {
        got.end = End::Reset;
        return Ok(got);
    }
    loop {
        let read = match stream.read(&mut buffer) {
            Ok(0) => return Ok(got),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {
                got.end = End::Silent;
                return Ok(got);
            }
            Err(_) => {
                got.end = End::Reset;
                return Ok(got);
            }
        };
        let mut piece = buffer.get(..read).unwrap_or_default().to_vec();
        if !is_in_body {
            head.extend(piece);
            let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            piece = head.split_off(at + 4);
            got.status = status_of(&head).unwrap_or(0);
            got.length = length(&head);
            is_in_body = true;
        }
        got.body += u64::try_from(piece.len())?;
        if let Some(file) = &mut file {
            let expected = wanted.get_mut(..piece.len()).context("a piece that is too long")?;
            got.is_equal &= file.read_exact(expected).is_ok() && expected == piece;
        }
        if got.length.is_some_and(|length| got.body >= length) {
            got.end = End::Answered;
            return Ok(got);
        }
    }
}

fn length(head: &[u8]) -> Option<u64> {
    let head = String::from_utf8_lossy(head).to_lowercase();
    head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
}
