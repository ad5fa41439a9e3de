//! `get`: what is here already, and the files that retrieved content is written to.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use pop_dag::unixfs::{self, EntryKind, Outside, Resolved, TreeOptions};
use pop_dag::walk::Walk;
use pop_dag::{BlockSource, Cid, Scope, What, is_leaf};
use pop_rpc::{CidPath, Error, ErrorCode, Reporter};
use pop_store::Store;
use pop_units::Bytes;

use super::unix_seconds;
use crate::fault::{Fault, file};

/// Big enough that a system call moves a whole leaf.
const BUFFER: usize = 1 << 20;

/// Returns true when everything that `target` means is here. Blocks; reads no leaf.
///
/// # Errors
/// The path does not exist in a DAG whose blocks are here, or the store does not answer.
pub(crate) fn is_here(store: &Store, target: &CidPath) -> Result<bool, Error> {
    let scope = Scope { path: target.path.clone(), what: What::All };
    let mut walk = Walk::new(target.cid, &scope).map_err(Fault::fault)?;
    while let Some(cid) = walk.want().copied() {
        if is_leaf(&cid) {
            if !store.has(&cid).map_err(Fault::fault)? {
                return Ok(false);
            }
            walk.on_leaf_skipped().map_err(Fault::fault)?;
            continue;
        }
        match store.get_checked(&cid).map_err(Fault::fault)? {
            Some(data) => walk.on_block(&data).map_err(Fault::fault)?,
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Counts a use of the root. Blocks.
pub(crate) fn touch(store: &Store, root: &Cid) -> Result<(), Error> {
    store.touch(root, unix_seconds()).map(drop).map_err(Fault::fault)
}

/// Returns what the path leads to and its bytes, a tree's content included. Blocks.
pub(crate) fn describe(store: &Store, target: &CidPath) -> Result<(Cid, Bytes), Error> {
    let resolved = unixfs::resolve(&target.cid, &target.path, store).map_err(Fault::fault)?;
    let size = match resolved.kind {
        EntryKind::Directory => content_size(store, &resolved.cid)?,
        EntryKind::File | EntryKind::Raw | EntryKind::Symlink | EntryKind::Value => resolved.size,
    };
    Ok((resolved.cid, size))
}

/// Sums the files below a directory.
fn content_size(store: &Store, dir: &Cid) -> Result<Bytes, Error> {
    let mut sum = Bytes::ZERO;
    let mut waiting = vec![*dir];
    while let Some(dir) = waiting.pop() {
        for entry in unixfs::list(&dir, store).map_err(Fault::fault)? {
            let Resolved { cid, kind, size } =
                unixfs::resolve(&entry.cid, &[], store).map_err(Fault::fault)?;
            match kind {
                EntryKind::Directory => waiting.push(cid),
                EntryKind::File | EntryKind::Raw | EntryKind::Symlink | EntryKind::Value => {
                    sum = sum.saturating_add(size);
                }
            }
        }
    }
    Ok(sum)
}

/// Writes what the path leads to as a file or a tree; returns how many symlinks are left out because they could lead
/// outside. Blocks.
pub(crate) fn write(
    store: &dyn BlockSource,
    target: &CidPath,
    output: &Path,
    progress: &Reporter,
) -> Result<u64, Error> {
    let resolved = unixfs::resolve(&target.cid, &target.path, store).map_err(Fault::fault)?;
    let mut done = Bytes::ZERO;
    let mut on_piece = |size| {
        done = done.saturating_add(size);
        progress.report("write", done.get(), None);
    };
    match resolved.kind {
        EntryKind::Directory | EntryKind::Symlink => {
            let options =
                TreeOptions { overwrite: true, outside: Outside::LeaveOut, ..TreeOptions::default() };
            let tree = unixfs::write_tree(&resolved.cid, store, output, &options, &mut on_piece);
            let tree = tree.map_err(Fault::fault)?;
            for (link, target) in tree.left_out_first {
                let note = format!("left out: {} leads outside, to {target:?}", link.display());
                progress.note("write", note);
            }
            return Ok(tree.left_out);
        }
        EntryKind::File | EntryKind::Raw => {
            let draft = Draft::create(output)?;
            let mut out = BufWriter::with_capacity(BUFFER, draft.file()?);
            unixfs::write_file(&resolved.cid, store, &mut out, &mut on_piece).map_err(Fault::fault)?;
            out.flush().map_err(|io| file(output, "written", &io))?;
            drop(out);
            draft.keep()?;
        }
        EntryKind::Value => {
            let draft = Draft::create(output)?;
            let data = store.block(&resolved.cid).map_err(Fault::fault)?;
            let written = draft.file()?.write_all(&data.unwrap_or_default());
            written.map_err(|io| file(output, "written", &io))?;
            draft.keep()?;
        }
    }
    Ok(0)
}

/// A file under a temporary name beside its own; it takes its name only when it is whole.
pub(crate) struct Draft {
    temporary: PathBuf,
    output: PathBuf,
    file: File,
    kept: bool,
}

impl Draft {
    /// Creates the temporary file.
    ///
    /// # Errors
    /// The place is a directory, a device or a pipe, which a rename would destroy, or cannot be written.
    pub(crate) fn create(output: &Path) -> Result<Self, Error> {
        // What a link points to is meant, not the link.
        let followed = fs::canonicalize(output).unwrap_or_else(|_| output.to_owned());
        let output = followed.as_path();
        if fs::metadata(output).is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
            let message = format!("{} is no regular file", output.display());
            return Err(
                Error::new(ErrorCode::BadInput, message).with_hint("name a file, or - for standard output")
            );
        }
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        let temporary = output.with_file_name(format!(".{name}.{}", super::random_name()));
        let opened = match output.is_dir() {
            true => Err(std::io::Error::from(std::io::ErrorKind::IsADirectory)),
            false => File::create_new(&temporary),
        };
        let opened = opened.map_err(|io| file(output, "written", &io))?;
        Ok(Self { temporary, output: output.to_owned(), file: opened, kept: false })
    }

    /// Returns the file to write to.
    pub(crate) fn file(&self) -> Result<File, Error> {
        self.file.try_clone().map_err(|io| file(&self.output, "written", &io))
    }

    /// Gives the file its name and returns its size.
    pub(crate) fn keep(mut self) -> Result<Bytes, Error> {
        let fail = |io: std::io::Error| file(&self.output, "written", &io);
        let size = self.file.metadata().map_err(fail)?.len();
        fs::rename(&self.temporary, &self.output).map_err(fail)?;
        self.kept = true;
        Ok(Bytes::new(size))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_file(&self.temporary)
        {
            tracing::debug!(path = %self.temporary.display(), %error, "temporary file stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symlinks_that_lead_outside_are_left_out_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, copy) = (dir.path().join("tree"), dir.path().join("copy"));
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("a"), b"content").unwrap();
        std::os::unix::fs::symlink("a", tree.join("inside")).unwrap();
        std::os::unix::fs::symlink("../../etc/passwd", tree.join("outside")).unwrap();
        let mut blocks = pop_dag::Memory::new();
        let rules = unixfs::Rules::default();
        let added = unixfs::add_path(&tree, &rules, &mut blocks, &mut |_| ()).unwrap();
        let progress = Reporter::heard();
        assert_eq!(write(&blocks, &added.cid.into(), &copy, &progress).unwrap(), 1);
        assert_eq!(fs::read(copy.join("inside")).unwrap(), b"content");
        assert!(fs::symlink_metadata(copy.join("outside")).is_err());
        let notes: String =
            std::iter::from_fn(|| progress.try_next()).filter_map(|report| report.note).collect();
        assert!(notes.contains("outside") && notes.contains("../../etc/passwd"), "{notes}");
    }

    #[test]
    fn output_replaces_files_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, socket) =
            (dir.path().join("file"), dir.path().join("link"), dir.path().join("socket"));
        fs::write(&file, b"old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let draft = Draft::create(&link).unwrap();
        draft.file().unwrap().write_all(b"new").unwrap();
        draft.keep().unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        for place in [dir.path(), &socket] {
            assert!(Draft::create(place).is_err());
        }
        drop(Draft::create(&dir.path().join("never")).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
