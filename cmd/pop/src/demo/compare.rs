//! Whether two files or trees are the same, byte for byte.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Bytes that are compared at a time.
const WINDOW: usize = 1 << 20;

/// Compares names, contents and the targets of symbolic links.
pub(super) fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let (kind, other_kind) =
        (fs::symlink_metadata(one)?.file_type(), fs::symlink_metadata(other)?.file_type());
    if kind != other_kind {
        return Ok(false);
    }
    if kind.is_symlink() {
        return Ok(fs::read_link(one)? == fs::read_link(other)?);
    }
    if !kind.is_dir() {
        return same_bytes(one, other);
    }
    let names = names(one)?;
    if names != self::names(other)? {
        return Ok(false);
    }
    for name in names {
        if !same(&one.join(&name), &other.join(&name))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn names(dir: &Path) -> io::Result<BTreeSet<OsString>> {
    fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    if fs::metadata(one)?.len() != fs::metadata(other)?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(File::open(one)?), BufReader::new(File::open(other)?));
    let (mut left, mut right) = (vec![0; WINDOW], vec![0; WINDOW]);
    loop {
        let count = fill(&mut one, &mut left)?;
        if count != fill(&mut other, &mut right)? || left[..count] != right[..count] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_or_name_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        for (tree, text) in [(&a, "x"), (&b, "x")] {
            fs::create_dir_all(tree.join("in")).unwrap();
            fs::write(tree.join("in/file"), text.repeat(3 << 20)).unwrap();
        }
        assert!(same(&a, &b).unwrap());
        let mut bytes = fs::read(b.join("in/file")).unwrap();
        bytes[2 << 20] = b'y';
        fs::write(b.join("in/file"), bytes).unwrap();
        assert!(!same(&a, &b).unwrap());
        fs::copy(a.join("in/file"), b.join("in/file")).unwrap();
        fs::write(b.join("more"), "").unwrap();
        assert!(!same(&a, &b).unwrap());
    }
}
