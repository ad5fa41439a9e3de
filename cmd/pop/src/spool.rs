//! Content that goes to stdout: it rests in a file of `<repo>/tmp` between the daemon and the pipe.
//!
//! The control socket carries requests of a MiB at most and never content, and what fails half way must not have been
//! put out.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pop_rpc::Error;

use crate::{exit, place};

/// A file that is gone when this is.
pub(crate) struct Spool {
    path: PathBuf,
}

impl Drop for Spool {
    fn drop(&mut self) {
        // The daemon empties the directory when it starts; what stays now goes then.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Spool {
    /// Chooses a name that nobody has; the file is not made.
    pub(crate) fn new(repo: &Path) -> Result<Self, Error> {
        Ok(Self { path: place::fresh(repo)? })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts all of it out on stdout.
    pub(crate) async fn drain(&self) -> Result<(), Error> {
        let path = self.path.clone();
        let drain = move || {
            let mut out = io::stdout().lock();
            io::copy(&mut File::open(&path)?, &mut out)?;
            out.flush()
        };
        self.run(drain).await
    }

    async fn run(&self, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<(), Error> {
        let done =
            tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(|error| exit::file(&self.path, &error))
    }
}
