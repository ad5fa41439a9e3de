//! Content that comes through a pipe in frames, so that its end is told from a writer that died.
//!
//! A frame is four bytes of length, big-endian, and as many of content. The last one is empty.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// A system call should move what a pipe holds.
const BUFFER: usize = 64 << 10;

/// Reads the content of the frames.
#[derive(Debug)]
pub(super) struct Framed<R> {
    input: R,
    /// Bytes of the current frame that are still to come.
    left: u64,
    ended: bool,
}

impl Framed<BufReader<File>> {
    /// Opens the pipe; a writer has it open, or its content is cut off.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // An open that waits for a writer would wait for ever for one that is gone.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
        let pipe = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        fcntl_setfl(&pipe, fcntl_getfl(&pipe)? - OFlags::NONBLOCK)?;
        Ok(Self::new(BufReader::with_capacity(BUFFER, pipe)))
    }
}

impl<R: Read> Framed<R> {
    fn new(input: R) -> Self {
        Self { input, left: 0, ended: false }
    }
}

impl<R: Read> Read for Framed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.ended || out.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            let mut length = [0; 4];
            self.input.read_exact(&mut length).map_err(cut_off)?;
            self.left = u32::from_be_bytes(length).into();
            self.ended = self.left == 0;
            if self.ended {
                return Ok(0);
            }
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let count = self.input.read(&mut out[..room])?;
        if count == 0 {
            return Err(cut_off(ErrorKind::UnexpectedEof.into()));
        }
        self.left = self.left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

fn cut_off(error: io::Error) -> io::Error {
    match error.kind() {
        // Not as an end of file, which readers take for the end of the content.
        ErrorKind::UnexpectedEof => io::Error::other("the writer of the pipe is gone"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(frames: &[&[u8]]) -> io::Result<Vec<u8>> {
        let mut wire = Vec::new();
        for frame in frames {
            wire.extend(u32::try_from(frame.len()).unwrap().to_be_bytes());
            wire.extend(*frame);
        }
        let mut out = Vec::new();
        Framed::new(wire.as_slice()).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn content_is_what_the_frames_carry() {
        assert_eq!(all(&[b"one ", b"two", b""]).unwrap(), b"one two");
        assert_eq!(all(&[b"", b"after the end"]).unwrap(), b"");
    }

    #[test]
    fn content_without_its_last_frame_is_cut_off() {
        assert!(all(&[]).is_err());
        assert!(all(&[b"one"]).is_err());
        let mut short: &[u8] = &[0, 0, 0, 9, 1, 2];
        assert!(Framed::new(&mut short).read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn pipe_without_a_writer_is_cut_off_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        assert!(Framed::open(&path).unwrap().read_to_end(&mut Vec::new()).is_err());
    }
}
