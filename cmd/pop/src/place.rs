//! Where the repo is, and what relative paths mean: always the caller's directory.

use std::path::{Path, PathBuf};

use pop_rpc::{Error, ErrorCode};

use crate::exit::fail;

/// Returns the repo: what was asked for, else `~/.pop`.
pub(crate) fn repo(chosen: Option<PathBuf>) -> Result<PathBuf, Error> {
    let repo = match chosen {
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

/// Makes a path absolute without asking the disk.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|error| {
        Error::new(ErrorCode::Usage, format!("{:?} is no path: {error}", path.display().to_string()))
    })
}
