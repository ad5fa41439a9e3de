//! Importing what a path names: a file, a symlink, or a directory with all below.
//!
//! Nothing is skipped: what cannot be added is an error that names its path. Symlinks are never followed.

use std::fs::{self, File, Metadata, OpenOptions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pop_units::Bytes;
use rustix::fs::{FileType, OFlags};

use super::file::{Content, add_content};
use super::node::{FsNode, Kind};
use super::rules::Rules;
use super::{Added, Entry, ImportError, MAX_TREE_DEPTH, directory};
use crate::codec::pb;
use crate::source::BlockSink;

/// Adds what `path` names. `progress` is called with the size of each chunk of content.
///
/// # Errors
/// Something cannot be read, changes meanwhile, or is no file, directory or symlink; or the sink gives an
/// error. Blocks that were handed over before stay with the sink.
pub fn add_path(
    path: &Path,
    rules: &Rules,
    sink: &mut dyn BlockSink,
    progress: &mut dyn FnMut(Bytes),
) -> Result<Added, ImportError> {
    rules.check()?;
    Importer { rules, sink, progress }.add(path, FileType::Unknown, 0)
}

struct Importer<'a> {
    rules: &'a Rules,
    sink: &'a mut dyn BlockSink,
    progress: &'a mut dyn FnMut(Bytes),
}

impl Importer<'_> {
    /// Adds what is at `path`, thought to be of some kind: what it really is shows when it is opened.
    fn add(&mut self, path: &Path, kind: FileType, depth: u32) -> Result<Added, ImportError> {
        let kind = match kind {
            FileType::Unknown => {
                let found = fs::symlink_metadata(path).map_err(|error| io(path, error))?;
                FileType::from_raw_mode(found.mode())
            }
            known => known,
        };
        let special = |what| Err(ImportError::Special { path: path.to_owned(), what });
        match kind {
            FileType::RegularFile => self.file(path),
            FileType::Directory => self.directory(path, depth),
            FileType::Symlink => self.symlink(path),
            FileType::Fifo => special("pipe"),
            FileType::Socket => special("socket"),
            FileType::CharacterDevice | FileType::BlockDevice => special("device"),
            FileType::Unknown => special("special file"),
        }
    }

    fn directory(&mut self, path: &Path, depth: u32) -> Result<Added, ImportError> {
        if depth == MAX_TREE_DEPTH {
            return Err(ImportError::TooDeep { path: path.to_owned() });
        }
        let (before, names) = names(path)?;
        let mut entries = Vec::with_capacity(names.len());
        let mut size = Bytes::ZERO;
        for (name, kind) in names {
            let added = self.add(&path.join(&name), kind, depth + 1)?;
            size = size.checked_add(added.size)?;
            entries.push(Entry { name, cid: added.cid, tsize: added.tsize });
        }
        let after = fs::symlink_metadata(path).map_err(|error| io(path, error))?;
        // What was added or taken away meanwhile is not in the list.
        if !is_same(&before, &after) {
            return Err(ImportError::Changed { path: path.to_owned() });
        }
        let (block, tsize) = directory(entries, &self.rules.profile, self.sink)?;
        Ok(Added { cid: *block.cid(), size, tsize })
    }

    fn file(&mut self, path: &Path) -> Result<Added, ImportError> {
        // Neither a symlink nor a pipe that took the file's place since is opened.
        let mut file = open(path, OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
        let before = stat(&file, path)?;
        let changed = || ImportError::Changed { path: path.to_owned() };
        if !before.is_file() {
            return Err(changed());
        }
        // One byte more than expected shows growth without following a file that never ends.
        let mut reader = std::io::Read::take(&mut file, before.len().saturating_add(1));
        let name = path.file_name().and_then(|name| name.to_str());
        let content = Content { reader: &mut reader, name, size: Some(Bytes::new(before.len())) };
        let added =
            add_content(content, self.rules, self.sink, self.progress).map_err(|error| match error {
                ImportError::Read(error) => io(path, error),
                other => other,
            })?;
        let after = stat(&file, path)?;
        if added.size.get() != before.len() || !is_same(&before, &after) {
            return Err(changed());
        }
        Ok(added)
    }

    fn symlink(&mut self, path: &Path) -> Result<Added, ImportError> {
        let target = fs::read_link(path).map_err(|error| io(path, error))?;
        let target = target.to_str().ok_or_else(|| ImportError::NotUtf8 { path: path.to_owned() })?;
        let data = FsNode { data: Some(target.as_bytes()), ..FsNode::new(Kind::Symlink) }.encode();
        let block = self.rules.profile.block(pb::Node { links: Vec::new(), data: Some(&data) }.encode());
        let added = Added { cid: *block.cid(), size: Bytes::ZERO, tsize: block.size() };
        self.sink.accept(block)?;
        Ok(added)
    }
}

/// Returns what a directory is before it is read, and the names in it, sorted, with what each is.
fn names(path: &Path) -> Result<(Metadata, Vec<(String, FileType)>), ImportError> {
    // A symlink that took the directory's place since is not followed.
    let dir = open(path, OFlags::NOFOLLOW | OFlags::DIRECTORY)?;
    let before = stat(&dir, path)?;
    let mut names = Vec::new();
    let entries = rustix::fs::Dir::read_from(&dir).map_err(|error| io(path, error.into()))?;
    for entry in entries {
        let entry = entry.map_err(|error| io(path, error.into()))?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let name = String::from_utf8(name.to_vec()).map_err(|name| {
            let name = std::ffi::OsString::from_vec(name.into_bytes());
            ImportError::NotUtf8 { path: path.join(name) }
        })?;
        names.push((name, entry.file_type()));
    }
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok((before, names))
}

fn open(path: &Path, flags: OFlags) -> Result<File, ImportError> {
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| io(path, error))
}

/// Returns true when nothing was written to a file or directory between two looks at it.
fn is_same(before: &Metadata, after: &Metadata) -> bool {
    let look = |meta: &Metadata| (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
    look(before) == look(after)
}

fn stat(file: &File, path: &Path) -> Result<Metadata, ImportError> {
    file.metadata().map_err(|error| io(path, error))
}

fn io(path: &Path, source: std::io::Error) -> ImportError {
    ImportError::Io { path: PathBuf::from(path), source }
}
