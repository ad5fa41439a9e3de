//! Exporting to disk: files, directories and symlinks, never outside the destination.
//!
//! Names that could leave their directory are refused, and symlinks are made last, so that nothing is ever
//! written through one that came with the content.

use std::fs::{self, OpenOptions};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use cid::Cid;
use pop_units::Bytes;

use super::directory::is_name;
use super::listing::list;
use super::read::{EntryKind, describe, load, symlink_target};
use super::reader::write_file;
use super::{ExportError, MAX_TREE_DEPTH};
use crate::block::is_leaf;
use crate::source::BlockSource;

/// How a tree is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeOptions {
    /// Replace files and symlinks that are in the way. Directories are always filled, never replaced.
    pub overwrite: bool,
    /// Most entries that are written: a few small blocks can describe a tree without end.
    pub max_entries: u64,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self { overwrite: false, max_entries: 1 << 20 }
    }
}

/// Writes a file or a tree to `dest` and returns the bytes of file content.
///
/// Each file appears under its name only when it is complete.
///
/// # Errors
/// A block is missing or not well formed, a name or symlink would lead outside, something is in the way, or
/// the disk gives an error. What was completed before stays.
pub fn write_tree(
    root: &Cid,
    source: &dyn BlockSource,
    dest: &Path,
    options: &TreeOptions,
    progress: &mut dyn FnMut(Bytes),
) -> Result<Bytes, ExportError> {
    let mut writer =
        Writer { source, options, progress, entries: 0, written: Bytes::ZERO, links: Vec::new() };
    writer.write(root, dest, 0)?;
    writer.make_links()?;
    Ok(writer.written)
}

struct Writer<'a> {
    source: &'a dyn BlockSource,
    options: &'a TreeOptions,
    progress: &'a mut dyn FnMut(Bytes),
    entries: u64,
    written: Bytes,
    /// Symlinks that are made when everything else is written.
    links: Vec<(PathBuf, String)>,
}

impl Writer<'_> {
    fn write(&mut self, cid: &Cid, path: &Path, depth: u32) -> Result<(), ExportError> {
        if self.entries == self.options.max_entries {
            return Err(ExportError::TooMany { limit: self.options.max_entries });
        }
        self.entries += 1;
        if is_leaf(cid) {
            return self.file(cid, path);
        }
        let data = load(cid, self.source)?;
        let (kind, _) = describe(cid, &data).map_err(|source| ExportError::Codec { cid: *cid, source })?;
        match kind {
            EntryKind::File | EntryKind::Raw => self.file(cid, path),
            EntryKind::Directory => self.directory(cid, path, depth),
            EntryKind::Symlink => {
                let target = symlink_target(cid, self.source)?;
                if !stays_inside(&target, depth) {
                    return Err(ExportError::Link { path: path.to_owned(), target });
                }
                self.links.push((path.to_owned(), target));
                Ok(())
            }
            EntryKind::Value => Err(ExportError::Kind { cid: *cid, wanted: "file or directory" }),
        }
    }

    fn directory(&mut self, cid: &Cid, path: &Path, depth: u32) -> Result<(), ExportError> {
        if depth == MAX_TREE_DEPTH {
            return Err(ExportError::TooDeep { cid: *cid });
        }
        make_directory(path, depth)?;
        for entry in list(cid, self.source)? {
            if !is_name(&entry.name) {
                return Err(ExportError::Name { name: entry.name });
            }
            self.write(&entry.cid, &path.join(&entry.name), depth + 1)?;
        }
        Ok(())
    }

    fn file(&mut self, cid: &Cid, path: &Path) -> Result<(), ExportError> {
        self.refuse_existing(path)?;
        let partial = Partial::beside(path);
        let created = OpenOptions::new().write(true).create_new(true).open(&partial.0);
        let mut file = created.map_err(|error| io(path, error))?;
        let size = write_file(cid, self.source, &mut file, self.progress).map_err(|error| match error {
            ExportError::Write(error) => io(path, error),
            other => other,
        })?;
        fs::rename(&partial.0, path).map_err(|error| io(path, error))?;
        self.written = self.written.saturating_add(size);
        Ok(())
    }

    fn make_links(&mut self) -> Result<(), ExportError> {
        for (path, target) in std::mem::take(&mut self.links) {
            self.refuse_existing(&path)?;
            let partial = Partial::beside(&path);
            std::os::unix::fs::symlink(&target, &partial.0).map_err(|error| io(&path, error))?;
            fs::rename(&partial.0, &path).map_err(|error| io(&path, error))?;
        }
        Ok(())
    }

    fn refuse_existing(&self, path: &Path) -> Result<(), ExportError> {
        if !self.options.overwrite && fs::symlink_metadata(path).is_ok() {
            return Err(ExportError::Exists { path: path.to_owned() });
        }
        Ok(())
    }
}

/// Makes a directory, or accepts one that is there. Only the destination itself may be reached by a symlink:
/// its owner put it there.
fn make_directory(path: &Path, depth: u32) -> Result<(), ExportError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let found = if depth == 0 { fs::metadata(path) } else { fs::symlink_metadata(path) };
            match found {
                Ok(found) if found.is_dir() => Ok(()),
                Ok(_) | Err(_) => Err(ExportError::Exists { path: path.to_owned() }),
            }
        }
        made => made.map_err(|error| io(path, error)),
    }
}

/// Returns true when a symlink `depth` levels below the destination cannot lead out of it.
///
/// Steps up may only come first: after a name they could start from wherever another symlink leads.
fn stays_inside(target: &str, depth: u32) -> bool {
    let (mut ups, mut names) = (0, false);
    for component in Path::new(target).components() {
        match component {
            Component::ParentDir if names => return false,
            Component::ParentDir => ups += 1,
            Component::Normal(_) => names = true,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    // A link one level below the destination lies in the destination and can take no step up.
    !target.is_empty() && ups < depth
}

/// A file under a passing name, removed unless it was renamed.
struct Partial(PathBuf);

impl Partial {
    fn beside(path: &Path) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(path.with_file_name(format!(".pop-{}-{count}.partial", std::process::id())))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After the rename there is nothing left to remove, which is no error.
        drop(fs::remove_file(&self.0));
    }
}

fn io(path: &Path, source: std::io::Error) -> ExportError {
    ExportError::Io { path: path.to_owned(), source }
}
