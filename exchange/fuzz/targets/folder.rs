//! A folder of this process for the files of a run; `TMPDIR` says where, and a file system in memory is best.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static HERE: LazyLock<PathBuf> = LazyLock::new(|| {
    let here = std::env::temp_dir().join(format!("pop-fuzz-{}", std::process::id()));
    fs::create_dir_all(&here).expect("TMPDIR takes a folder");
    here
});

/// Returns the folder.
pub fn here() -> &'static Path {
    &HERE
}
