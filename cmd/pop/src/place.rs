//! Where the repo is, and what relative paths mean: always the caller's directory.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use pop_rpc::{Error, ErrorCode};

use crate::exit::{self, fail};

/// Returns the repo: what was asked for, else `~/.pop`. Nothing at all is nothing asked for.
pub(crate) fn repo(chosen: Option<PathBuf>) -> Result<PathBuf, Error> {
    let repo = match chosen.filter(|repo| !repo.as_os_str().is_empty()) {
        Some(repo) => repo,
        None => match std::env::home_dir() {
            Some(home) => home.join(".pop"),
            None => {
                let hint = "say where with --repo DIR or POP_REPO";
                return Err(fail(ErrorCode::Usage, "there is no home directory to keep a repo in", hint));
            }
        },
    };
    absolute(&repo)
}

/// Returns a path in `<repo>/tmp` that nobody has. The daemon empties the directory when it starts.
pub(crate) fn fresh(repo: &Path) -> Result<PathBuf, Error> {
    let dir = repo.join("tmp");
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
    made.map_err(|error| exit::file(&dir, &error))?;
    let random = getrandom::u64().map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
    Ok(dir.join(format!("pipe-{random:016x}")))
}

/// Makes a path absolute without asking the disk.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|error| {
        Error::new(ErrorCode::Usage, format!("{:?} is no path: {error}", path.display().to_string()))
    })
}
