//! What a tree consists of, in the order that it is written: the part of an export that touches no disk.
//!
//! It decides what may be written at all: names, depths, how many entries, where symlinks lead. Memory holds
//! one listing for each directory on the way, with a bound on their blocks.

use std::path::{Component, Path, PathBuf};

use bytes::Bytes as Buf;
use cid::Cid;
use pop_units::Bytes;

use super::directory::is_name;
use super::listing::Listing;
use super::read::{EntryKind, describe, load, target_of};
use super::{ExportError, MAX_TREE_DEPTH};
use crate::block::is_leaf;
use crate::source::BlockSource;

/// Most bytes of directory blocks that are open at once: every level of the deepest tree may have the blocks
/// that profiles make (256 KiB), twice over.
const MAX_OPEN: Bytes = Bytes::new(64 << 20);

/// Most symlinks that [`Tree::left_out`] names.
const MAX_NAMED: usize = 100;

/// How a tree is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeOptions {
    /// Replace files and symlinks that are in the way. Directories are always filled, never replaced.
    pub overwrite: bool,
    /// Most entries that are written: a few small blocks can describe a tree without end.
    pub max_entries: u64,
    /// What becomes of symlinks that could lead out of the tree.
    pub outside: Outside,
}

/// What becomes of symlinks that could lead out of a tree.
///
/// They are a risk only to whoever follows them afterwards: export itself goes through no symlink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Outside {
    /// The export is refused.
    #[default]
    Refuse,
    /// All else is written, and [`Tree::left_out`] names them.
    LeaveOut,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self { overwrite: false, max_entries: 1 << 20, outside: Outside::Refuse }
    }
}

/// What a tree consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// How many files.
    pub files: u64,
    /// How many directories, the root included.
    pub directories: u64,
    /// How many symlinks, without those that are left out.
    pub symlinks: u64,
    /// Bytes of file content.
    pub bytes: Bytes,
    /// How many symlinks are left out because they could lead outside.
    pub left_out: u64,
    /// The first hundred of those: where each would stand, and where it leads.
    pub left_out_first: Vec<(PathBuf, String)>,
}

impl Tree {
    const fn entries(&self) -> u64 {
        self.files + self.directories + self.symlinks + self.left_out
    }
}

/// Looks a tree over without writing it: what it consists of, and whether [`write_tree`](super::write_tree)
/// would refuse it.
///
/// No leaf is read. The size of a file that is a leaf is the one that its directory claims.
///
/// # Errors
/// A block is missing or not well formed, or a name or symlink would lead outside. Paths are relative to the
/// root.
pub fn check_tree(root: &Cid, source: &dyn BlockSource, options: &TreeOptions) -> Result<Tree, ExportError> {
    Tour::new(Path::new(""), source, options).run(root, &mut Nowhere { source })
}

/// Where the parts of a tree go. Paths start with the destination, directories come before what they hold.
pub(super) trait Place {
    /// Takes a directory; everything up to `leave` belongs into it.
    fn enter(&mut self, path: &Path) -> Result<(), ExportError>;
    /// Everything below the directory was handed over.
    fn leave(&mut self, path: &Path) -> Result<(), ExportError>;
    /// Takes a file and returns its size.
    fn file(&mut self, path: &Path, content: Body) -> Result<Bytes, ExportError>;
    /// Takes a symlink.
    fn symlink(&mut self, path: &Path, target: &str) -> Result<(), ExportError>;
}

/// What a file is made of.
pub(super) enum Body {
    /// A leaf that was not read yet, and the size that its directory claims.
    Leaf(Cid, Option<Bytes>),
    /// A UnixFS file, its first block and its size.
    File(Cid, Buf, Bytes),
    /// Bytes that are no UnixFS node.
    Value(Buf),
}

/// One pass over a tree.
pub(super) struct Tour<'a> {
    source: &'a dyn BlockSource,
    options: &'a TreeOptions,
    tree: Tree,
    path: PathBuf,
    /// The directories on the way, and the bytes of blocks that they hold.
    open: Vec<Listing<&'a dyn BlockSource>>,
}

impl<'a> Tour<'a> {
    pub(super) fn new(dest: &Path, source: &'a dyn BlockSource, options: &'a TreeOptions) -> Self {
        Self { source, options, tree: Tree::default(), path: dest.to_owned(), open: Vec::new() }
    }

    /// Hands the whole tree to `place`.
    pub(super) fn run(mut self, root: &Cid, place: &mut dyn Place) -> Result<Tree, ExportError> {
        self.visit(root, None, place)?;
        while let Some(directory) = self.open.last_mut() {
            let Some(entry) = directory.next().transpose()? else {
                place.leave(&self.path)?;
                self.open.pop();
                self.path.pop();
                continue;
            };
            if !is_name(&entry.name) {
                return Err(ExportError::Name { name: entry.name });
            }
            self.path.push(&entry.name);
            let depth = self.open.len();
            self.visit(&entry.cid, Some(entry.tsize), place)?;
            if self.open.len() == depth {
                self.path.pop();
            }
        }
        Ok(self.tree)
    }

    fn visit(&mut self, cid: &Cid, claimed: Option<Bytes>, place: &mut dyn Place) -> Result<(), ExportError> {
        if self.tree.entries() >= self.options.max_entries {
            return Err(ExportError::TooMany { limit: self.options.max_entries });
        }
        if is_leaf(cid) {
            return self.file(Body::Leaf(*cid, claimed), place);
        }
        let data = load(cid, self.source)?;
        let fault = |source| ExportError::Codec { cid: *cid, source };
        let (kind, size) = describe(cid, &data).map_err(fault)?;
        match kind {
            EntryKind::Directory => self.directory(cid, data, place),
            EntryKind::File => self.file(Body::File(*cid, data, size), place),
            EntryKind::Raw | EntryKind::Value => self.file(Body::Value(data), place),
            EntryKind::Symlink => self.symlink(target_of(cid, &data)?, place),
        }
    }

    fn directory(&mut self, cid: &Cid, data: Buf, place: &mut dyn Place) -> Result<(), ExportError> {
        let too_deep = ExportError::TooDeep { cid: *cid };
        if u32::try_from(self.open.len()).is_ok_and(|depth| depth >= MAX_TREE_DEPTH) {
            return Err(too_deep);
        }
        self.open.push(Listing::of(cid, data, self.source)?);
        let held = self.open.iter().map(Listing::held);
        if held.fold(Bytes::ZERO, Bytes::saturating_add) > MAX_OPEN {
            return Err(too_deep);
        }
        place.enter(&self.path)?;
        self.tree.directories += 1;
        Ok(())
    }

    fn file(&mut self, content: Body, place: &mut dyn Place) -> Result<(), ExportError> {
        let size = place.file(&self.path, content)?;
        self.tree.bytes = self.tree.bytes.saturating_add(size);
        self.tree.files += 1;
        Ok(())
    }

    fn symlink(&mut self, target: String, place: &mut dyn Place) -> Result<(), ExportError> {
        if !leads_outside(&target, self.open.len()) {
            place.symlink(&self.path, &target)?;
            self.tree.symlinks += 1;
            return Ok(());
        }
        let path = self.path.clone();
        match self.options.outside {
            Outside::Refuse => Err(ExportError::Link { path, target }),
            Outside::LeaveOut => {
                self.tree.left_out += 1;
                if self.tree.left_out_first.len() < MAX_NAMED {
                    self.tree.left_out_first.push((path, target));
                }
                Ok(())
            }
        }
    }
}

/// Returns true when a symlink `depth` levels below the root of a tree could lead out of it.
///
/// Steps up may only come first: after a name they could start from wherever another symlink leads. One in
/// the root itself has depth 1 and can take no step up.
pub fn leads_outside(target: &str, depth: usize) -> bool {
    let (mut ups, mut names) = (0, false);
    for component in Path::new(target).components() {
        match component {
            Component::ParentDir if names => return true,
            Component::ParentDir => ups += 1,
            Component::Normal(_) => names = true,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    target.is_empty() || target.contains('\0') || ups >= depth
}

/// Takes everything and writes nothing.
struct Nowhere<'a> {
    source: &'a dyn BlockSource,
}

impl Place for Nowhere<'_> {
    fn enter(&mut self, _: &Path) -> Result<(), ExportError> {
        Ok(())
    }

    fn leave(&mut self, _: &Path) -> Result<(), ExportError> {
        Ok(())
    }

    fn file(&mut self, _: &Path, content: Body) -> Result<Bytes, ExportError> {
        match content {
            Body::Leaf(_, Some(claimed)) => Ok(claimed),
            Body::Leaf(cid, None) => Ok(Bytes::of(&load(&cid, self.source)?)),
            Body::File(_, _, size) => Ok(size),
            Body::Value(data) => Ok(Bytes::of(&data)),
        }
    }

    fn symlink(&mut self, _: &Path, _: &str) -> Result<(), ExportError> {
        Ok(())
    }
}
