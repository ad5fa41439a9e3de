//! Folders compared byte by byte.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::sample;

/// Returns the files of a folder, relative to it.
pub(super) fn files(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let (mut found, mut open) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                found.insert(entry.path().strip_prefix(folder)?.to_owned());
            }
        }
    }
    Ok(found)
}

/// Checks that two folders hold the same files, except that `other` has those of `besides` too.
pub(super) fn same(folder: &Path, other: &Path, besides: &[&str]) -> Result<String> {
    let (ours, theirs) = (files(folder)?, files(other)?);
    let expected: BTreeSet<_> = ours.iter().cloned().chain(besides.iter().map(PathBuf::from)).collect();
    let missing: Vec<_> = expected.difference(&theirs).collect();
    let foreign: Vec<_> = theirs.difference(&expected).collect();
    ensure!(missing.is_empty() && foreign.is_empty(), "missing {missing:?}, not of the site {foreign:?}");
    let mut all: u64 = 0;
    for path in &ours {
        ensure!(sample::is_same(&folder.join(path), &other.join(path))?, "{} differs", path.display());
        all = all.saturating_add(std::fs::metadata(folder.join(path))?.len());
    }
    Ok(format!("{} files of {all} bytes are equal", ours.len()))
}

/// Checks that two files are the same.
pub(super) fn same_file(file: &Path, other: &Path) -> Result<String> {
    let size = std::fs::metadata(other).with_context(|| other.display().to_string())?.len();
    ensure!(sample::is_same(file, other)?, "{} differs, {size} bytes came", file.display());
    Ok(format!("{size} bytes are equal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_a_foreign_and_a_changed_file_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        for side in [&a, &b] {
            std::fs::create_dir_all(side.join("deep")).unwrap();
            std::fs::write(side.join("deep/file"), "text").unwrap();
        }
        assert_eq!(same(&a, &b, &[]).unwrap(), "1 files of 4 bytes are equal");
        assert!(same(&a, &b, &["deep/more"]).is_err());
        std::fs::write(b.join("deep/more"), "").unwrap();
        assert!(same(&a, &b, &[]).is_err());
        assert!(same(&a, &b, &["deep/more"]).is_ok());
        std::fs::write(b.join("deep/file"), "next").unwrap();
        assert!(same(&a, &b, &["deep/more"]).is_err());
    }
}
