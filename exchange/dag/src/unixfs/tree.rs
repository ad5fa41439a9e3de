//! Importing what a path names: a file, a symlink, or a directory with all below.
//!
//! Nothing is skipped: what cannot be added is an error that names its path. Symlinks are never followed.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pop_units::Bytes;

use super::node::{FsNode, Kind};
use super::profile::Profile;
use super::{Added, Entry, ImportError, MAX_TREE_DEPTH, add_file, directory};
use crate::codec::pb;
use crate::source::BlockSink;

/// Adds what `path` names. `progress` is called with the size of each chunk of content.
///
/// # Errors
/// Something cannot be read, changes meanwhile, or is no file, directory or symlink; or the sink gives an
/// error. Blocks that were handed over before stay with the sink.
pub fn add_path(
    path: &Path,
    profile: &Profile,
    sink: &mut dyn BlockSink,
    progress: &mut dyn FnMut(Bytes),
) -> Result<Added, ImportError> {
    Importer { profile, sink, progress }.add(path, 0)
}

struct Importer<'a> {
    profile: &'a Profile,
    sink: &'a mut dyn BlockSink,
    progress: &'a mut dyn FnMut(Bytes),
}

impl Importer<'_> {
    fn add(&mut self, path: &Path, depth: u32) -> Result<Added, ImportError> {
        let kind = fs::symlink_metadata(path).map_err(|error| io(path, error))?.file_type();
        if kind.is_file() {
            self.file(path)
        } else if kind.is_dir() {
            self.directory(path, depth)
        } else if kind.is_symlink() {
            self.symlink(path)
        } else {
            Err(ImportError::Special { path: path.to_owned(), what: special(kind) })
        }
    }

    fn directory(&mut self, path: &Path, depth: u32) -> Result<Added, ImportError> {
        if depth == MAX_TREE_DEPTH {
            return Err(ImportError::TooDeep { path: path.to_owned() });
        }
        let mut entries = Vec::new();
        let mut size = Bytes::ZERO;
        for name in names(path)? {
            let added = self.add(&path.join(&name), depth + 1)?;
            size = size.checked_add(added.size)?;
            entries.push(Entry { name, cid: added.cid, tsize: added.tsize });
        }
        let (block, tsize) = directory(entries, self.profile, self.sink)?;
        Ok(Added { cid: *block.cid(), size, tsize })
    }

    fn file(&mut self, path: &Path) -> Result<Added, ImportError> {
        // Neither a symlink nor a pipe that took the file's place since is opened.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let mut file = opened.map_err(|error| io(path, error))?;
        let before = stat(&file, path)?;
        let changed = || ImportError::Changed { path: path.to_owned() };
        if !before.is_file() {
            return Err(changed());
        }
        // One byte more than expected shows growth without following a file that never ends.
        let mut content = std::io::Read::take(&mut file, before.len().saturating_add(1));
        let added =
            add_file(&mut content, self.profile, self.sink, self.progress).map_err(|error| match error {
                ImportError::Read(error) => io(path, error),
                other => other,
            })?;
        let after = stat(&file, path)?;
        let touched = (before.mtime(), before.mtime_nsec()) != (after.mtime(), after.mtime_nsec());
        if added.size.get() != before.len() || after.len() != before.len() || touched {
            return Err(changed());
        }
        Ok(added)
    }

    fn symlink(&mut self, path: &Path) -> Result<Added, ImportError> {
        let target = fs::read_link(path).map_err(|error| io(path, error))?;
        let target = target.to_str().ok_or_else(|| ImportError::NotUtf8 { path: path.to_owned() })?;
        let data = FsNode { data: Some(target.as_bytes()), ..FsNode::new(Kind::Symlink) }.encode();
        let block = self.profile.block(pb::Node { links: Vec::new(), data: Some(&data) }.encode());
        let added = Added { cid: *block.cid(), size: Bytes::ZERO, tsize: block.size() };
        self.sink.accept(block)?;
        Ok(added)
    }
}

/// Returns the names in a directory, sorted.
fn names(path: &Path) -> Result<Vec<String>, ImportError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| io(path, error))? {
        let name = entry.map_err(|error| io(path, error))?.file_name();
        let name = name.into_string().map_err(|name| ImportError::NotUtf8 { path: path.join(name) })?;
        names.push(name);
    }
    names.sort();
    Ok(names)
}

fn special(kind: FileType) -> &'static str {
    if kind.is_fifo() {
        "pipe"
    } else if kind.is_socket() {
        "socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "device"
    } else {
        "special file"
    }
}

fn stat(file: &File, path: &Path) -> Result<Metadata, ImportError> {
    file.metadata().map_err(|error| io(path, error))
}

fn io(path: &Path, source: std::io::Error) -> ImportError {
    ImportError::Io { path: PathBuf::from(path), source }
}
