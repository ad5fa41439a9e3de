//! Writing files, directories and symlinks to a disk, never outside the destination.
//!
//! Every name is reached from the open directory that it belongs into and no symlink is followed, so that
//! neither the content nor somebody who moves things meanwhile can lead a write elsewhere. What is new is built
//! beside its place under a passing name and takes its own when it is whole.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use cid::Cid;
use pop_units::Bytes;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::ExportError;
use super::export::{Body, Place, Tour, Tree, TreeOptions};
use super::read::load;
use super::reader::FileReader;
use crate::source::BlockSource;

/// Writes a file or a tree to `dest` and returns what was written.
///
/// A destination that does not exist appears when everything is written, or not at all. Into a directory that
/// exists, files and new directories are placed one by one, each when it is complete; on an error those that
/// were placed stay, and nothing that was there is harmed. A block that is no UnixFS node is written as a file
/// of its bytes.
///
/// # Errors
/// A block is missing or not well formed, a name or symlink would lead outside, something is in the way, or
/// the disk gives an error.
pub fn write_tree(
    root: &Cid,
    source: &dyn BlockSource,
    dest: &Path,
    options: &TreeOptions,
    progress: &mut dyn FnMut(Bytes),
) -> Result<Tree, ExportError> {
    let mut disk = Disk { source, overwrite: options.overwrite, progress, directories: Vec::new() };
    Tour::new(dest, source, options).run(root, &mut disk)
}

struct Disk<'a> {
    source: &'a dyn BlockSource,
    overwrite: bool,
    progress: &'a mut dyn FnMut(Bytes),
    /// The open directories, the destination first.
    directories: Vec<Directory>,
}

struct Directory {
    fd: Rc<OwnedFd>,
    /// Made here and not in its place yet: nothing can be in the way, and all goes when the export fails.
    new: bool,
    /// The passing name of the topmost new directory.
    partial: Option<Partial>,
}

impl Disk<'_> {
    /// Returns the directory that `path` belongs into.
    fn parent(&self, path: &Path) -> Result<(Rc<OwnedFd>, bool), ExportError> {
        if let Some(parent) = self.directories.last() {
            return Ok((parent.fd.clone(), parent.new));
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let fd = rustix::fs::open(parent.unwrap_or(Path::new(".")), DIRECTORY, Mode::empty());
        fd.map(|fd| (Rc::new(fd), false)).map_err(|errno| io(path, errno.into()))
    }

    /// Opens a directory that is there. Only the destination itself may be reached by a symlink: its owner put
    /// it there.
    fn existing(&self, path: &Path) -> Result<Option<OwnedFd>, ExportError> {
        let opened = match self.directories.last() {
            None => rustix::fs::open(path, DIRECTORY, Mode::empty()),
            Some(parent) => {
                rustix::fs::openat(&parent.fd, name_of(path), DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
            }
        };
        match opened {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            // The same is said when the way to the destination leads through a file.
            Err(Errno::NOTDIR | Errno::LOOP)
                if !self.directories.is_empty() || fs::symlink_metadata(path).is_ok() =>
            {
                Err(ExportError::Exists { path: path.to_owned() })
            }
            Err(errno) => Err(io(path, errno.into())),
        }
    }

    /// Makes something new: at once in a new directory, elsewhere under a passing name until it is whole.
    fn place(
        &mut self,
        path: &Path,
        make: &mut dyn FnMut(&mut Self, &OwnedFd, &OsStr) -> Result<Bytes, ExportError>,
    ) -> Result<Bytes, ExportError> {
        let (parent, new) = self.parent(path)?;
        if new {
            return make(self, &parent, name_of(path));
        }
        self.refuse_existing(&parent, path)?;
        let partial = Partial::beside(path, false);
        let size = make(self, &parent, &partial.name())?;
        partial.take_name(&parent, path, self.overwrite)?;
        Ok(size)
    }

    fn refuse_existing(&self, parent: &OwnedFd, path: &Path) -> Result<(), ExportError> {
        let exists = || ExportError::Exists { path: path.to_owned() };
        match rustix::fs::statat(parent, name_of(path), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(io(path, errno.into())),
            // Directories, devices and pipes are no content that could be replaced by content.
            Ok(found) => match FileType::from_raw_mode(found.st_mode) {
                FileType::RegularFile | FileType::Symlink if self.overwrite => Ok(()),
                _ => Err(exists()),
            },
        }
    }

    fn copy(&mut self, content: &Body, path: &Path, mut file: File) -> Result<Bytes, ExportError> {
        let source = self.source;
        let whole = match content {
            Body::Leaf(cid, _) => load(cid, source)?,
            Body::Value(data) => data.clone(),
            Body::File(cid, first, _) => {
                let mut reader = FileReader::of(cid, first.clone(), source)?;
                return reader.copy_to(u64::MAX, &mut file, self.progress).map_err(|error| match error {
                    ExportError::Write(error) => io(path, error),
                    other => other,
                });
            }
        };
        file.write_all(&whole).map_err(|error| io(path, error))?;
        let size = Bytes::of(&whole);
        if !size.is_zero() {
            (self.progress)(size);
        }
        Ok(size)
    }
}

impl Place for Disk<'_> {
    fn enter(&mut self, path: &Path) -> Result<(), ExportError> {
        if self.directories.last().is_none_or(|parent| !parent.new)
            && let Some(fd) = self.existing(path)?
        {
            self.directories.push(Directory { fd: Rc::new(fd), new: false, partial: None });
            return Ok(());
        }
        let (parent, new) = self.parent(path)?;
        let partial = (!new).then(|| Partial::beside(path, true));
        let passing = partial.as_ref().map(Partial::name);
        let name = passing.as_deref().unwrap_or(name_of(path));
        let mode = Mode::RWXU | Mode::RWXG | Mode::RWXO;
        rustix::fs::mkdirat(&parent, name, mode).map_err(|errno| made(path, errno))?;
        let fd = rustix::fs::openat(&parent, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
        let fd = fd.map_err(|errno| io(path, errno.into()))?;
        self.directories.push(Directory { fd: Rc::new(fd), new: true, partial });
        Ok(())
    }

    fn leave(&mut self, path: &Path) -> Result<(), ExportError> {
        if let Some(Directory { partial: Some(partial), .. }) = self.directories.pop() {
            let (parent, _) = self.parent(path)?;
            partial.take_name(&parent, path, false)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, content: Body) -> Result<Bytes, ExportError> {
        self.place(path, &mut |disk, parent, name| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
            let fd = rustix::fs::openat(parent, name, flags, mode).map_err(|errno| made(path, errno))?;
            disk.copy(&content, path, File::from(fd))
        })
    }

    fn symlink(&mut self, path: &Path, target: &str) -> Result<(), ExportError> {
        let done = self.place(path, &mut |_, parent, name| {
            rustix::fs::symlinkat(target, parent, name).map_err(|errno| made(path, errno))?;
            Ok(Bytes::ZERO)
        });
        done.map(drop)
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Returns the last part of a path; a path without one (`.`, `/`) is a directory that is there.
fn name_of(path: &Path) -> &OsStr {
    path.file_name().unwrap_or(OsStr::new("."))
}

/// Something under a passing name, removed unless it took its own.
struct Partial {
    path: PathBuf,
    directory: bool,
    placed: bool,
}

impl Partial {
    fn beside(path: &Path, directory: bool) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!(".pop-{}-{count}.partial", std::process::id());
            let path = path.with_file_name(name);
            // An earlier process of the same number may have left one when it was killed.
            if fs::symlink_metadata(&path).is_err() {
                return Self { path, directory, placed: false };
            }
        }
    }

    fn name(&self) -> OsString {
        name_of(&self.path).to_owned()
    }

    /// Moves to the place of `path`. A directory goes only where nothing is.
    fn take_name(mut self, parent: &OwnedFd, path: &Path, replace: bool) -> Result<(), ExportError> {
        let (from, to) = (self.name(), name_of(path));
        let moved = if replace {
            rustix::fs::renameat(parent, &from, parent, to)
        } else {
            match rustix::fs::renameat_with(parent, &from, parent, to, RenameFlags::NOREPLACE) {
                // Not every file system knows the flag; somebody looked just before whether anything is there.
                Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::renameat(parent, &from, parent, to),
                moved => moved,
            }
        };
        moved.map_err(|errno| made(path, errno))?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.placed {
            return;
        }
        // The first error is what the caller hears of; what cannot be removed stays under its passing name.
        drop(if self.directory { fs::remove_dir_all(&self.path) } else { fs::remove_file(&self.path) });
    }
}

/// Returns the error of making something under its name.
fn made(path: &Path, errno: Errno) -> ExportError {
    match errno {
        Errno::EXIST | Errno::ISDIR | Errno::NOTDIR | Errno::NOTEMPTY => {
            ExportError::Exists { path: path.to_owned() }
        }
        other => io(path, other.into()),
    }
}

fn io(path: &Path, source: std::io::Error) -> ExportError {
    ExportError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
