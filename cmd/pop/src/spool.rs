//! Content that goes through a pipe: it rests in a file of `<repo>/tmp` between the pipe and the daemon.
//!
//! The control socket carries requests of a MiB at most and never content; a pipe cannot be handed over by its path;
//! and a CAR that is cut off must be refused as a whole, which the daemon can only do with the whole at hand.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pop_rpc::{Error, ErrorCode};

use crate::exit;

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
        let dir = repo.join("tmp");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(|error| exit::file(&dir, &error))?;
        let random = getrandom::u64().map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
        Ok(Self { path: dir.join(format!("pipe-{random:016x}")) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes in all of stdin.
    pub(crate) async fn fill(&self) -> Result<(), Error> {
        let path = self.path.clone();
        let fill = move || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            io::copy(&mut io::stdin().lock(), &mut file)?;
            file.flush()
        };
        self.run(fill).await
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
