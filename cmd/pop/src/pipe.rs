//! Content from stdin on its way to the daemon, through a named pipe and without a copy on the disk.
//!
//! It goes in frames, four bytes of length and as many of content, the last one empty: so the daemon tells the end of
//! the content from a command that died.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use pop_rpc::Error;
use rustix::fs::{CWD, Mode, mkfifoat};

use crate::{exit, place};

/// What a pipe holds, so that a frame is one system call on each side.
const FRAME: usize = 64 << 10;

/// A named pipe that is gone when this is.
pub(crate) struct Pipe {
    path: PathBuf,
    /// Open both ways: whoever opens the other end waits for nobody, and nothing is lost before it does.
    file: File,
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // The daemon empties the directory when it starts; what stays now goes then.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Pipe {
    /// Makes the pipe in `<repo>/tmp`.
    pub(crate) fn new(repo: &Path) -> Result<Self, Error> {
        let path = place::fresh(repo)?;
        let fail = |error: io::Error| exit::file(&path, &error);
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).map_err(|error| fail(error.into()))?;
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(fail)?;
        Ok(Self { path, file })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts all of stdin in. Returns only when that fails: what becomes of the content is the daemon's to tell.
    pub(crate) async fn fill_from_stdin(&self) -> Error {
        let fill = match self.file.try_clone() {
            Ok(file) => tokio::task::spawn_blocking(move || copy(&mut io::stdin().lock(), &file)).await,
            Err(error) => Ok(Err(error)),
        };
        match fill.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => std::future::pending().await,
            Err(error) => exit::file(Path::new("stdin"), &error),
        }
    }
}

fn copy(input: &mut impl Read, mut pipe: impl Write) -> io::Result<()> {
    // Length and content in one write: a frame that is split is no harm, a write for four bytes is.
    let mut frame = vec![0; 4 + FRAME];
    loop {
        let count = match input.read(&mut frame[4..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let length = u32::try_from(count).map_err(io::Error::other)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        pipe.write_all(&frame[..4 + count])?;
        if count == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_goes_in_frames_and_the_last_is_empty() {
        let mut wire = Vec::new();
        copy(&mut &vec![7; FRAME + 1][..], &mut wire).unwrap();
        assert_eq!(wire.len(), 4 + FRAME + 4 + 1 + 4);
        assert_eq!(wire[..4], u32::try_from(FRAME).unwrap().to_be_bytes());
        assert_eq!(wire[wire.len() - 4..], [0; 4]);
    }
}
