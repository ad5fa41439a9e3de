//! The entries of a tree, one after the other, and the paths that they have in an archive.

use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::ops::Range;

use http::StatusCode;
use pop_dag::unixfs::{self, Attributes, EntryKind, MAX_TREE_DEPTH, Position, ResolveError};
use pop_dag::{BlockSource, Buf, Cid, SourceError, is_leaf};
use pop_units::Bytes;

use crate::body::gap;
use crate::refusal::Refusal;
use crate::view::{Gap, Paced};
use crate::walks::Share;

/// Most entries of an archive: directories that link each other over and over describe a tree without end.
const MOST: u64 = 1 << 20;
/// Most entries that are looked over before the head is sent.
const LOOKED_OVER: u64 = 4096;
/// Most bytes of directories on the way, of their blocks and their paths, that an archive holds.
const HELD: Bytes = Bytes::new(8 << 20);
/// Most symlinks of an archive; their places are remembered.
const LINKS: usize = 1 << 18;
/// What a directory takes beside its block and its path.
const LEVEL: Bytes = Bytes::new(512);
/// Longest path in an archive.
const LONGEST: usize = 64 << 10;

/// An entry of a tree.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) cid: Cid,
    /// From the top of the archive, without a slash at the end.
    pub(super) path: String,
    pub(super) what: What,
    pub(super) attributes: Attributes,
}

/// What an entry is.
#[derive(Debug)]
pub(super) enum What {
    Directory,
    /// A file of so many bytes.
    File(Bytes),
    /// Bytes that are no UnixFS node.
    Value(Buf),
    /// Where a symlink leads.
    Symlink(String),
}

/// A pass over a tree, depth first. It lets go of the blocks between two entries.
pub(super) struct Tour {
    root: Cid,
    begun: bool,
    /// The directories on the way.
    open: Vec<Level>,
    /// An entry that was listed and not given yet.
    due: Option<(Cid, String)>,
    entries: u64,
    most: u64,
    links: Links,
    /// Memory for all of it.
    share: Share,
}

struct Level {
    position: Position,
    /// Where it stands below the top: names with slashes between them.
    path: String,
}

impl Tour {
    pub(super) fn new(root: Cid, share: Share) -> Self {
        Self::with_most(root, MOST, share)
    }

    /// Ends with an error after so many entries.
    pub(super) fn with_most(root: Cid, most: u64, share: Share) -> Self {
        let (open, links) = (Vec::new(), Links::default());
        Self { root, begun: false, open, due: None, entries: 0, most, links, share }
    }

    /// Returns the same tour from its start.
    pub(super) fn again(self) -> Self {
        Self::with_most(self.root, self.most, self.share)
    }

    /// Looks the names of directories over, as far as they are here and within reason; returns false when it has
    /// to go on in another turn.
    pub(super) fn look_over(&mut self, blocks: &Paced<'_>) -> Result<bool, Gap> {
        while !blocks.is_spent() {
            match self.list(blocks, LOOKED_OVER) {
                // Leaves have no names below them.
                Ok(Some((cid, path))) if is_leaf(&cid) => {
                    self.links.check(&path).map_err(Gap::Failed)?;
                    self.pass();
                }
                Ok(Some(_)) => match self.take(blocks) {
                    Ok(_) => {}
                    Err(Gap::Missing(cid)) if cid != self.root => return Ok(true),
                    Err(gap) => return Err(gap),
                },
                Ok(None) => return Ok(true),
                Err(Gap::Missing(cid)) if cid != self.root => return Ok(true),
                Err(gap) => return Err(gap),
            }
        }
        Ok(false)
    }

    /// Returns the next entry; `None` at the end. After a missing block it goes on where it was.
    pub(super) fn next(&mut self, blocks: &dyn BlockSource) -> Result<Option<Entry>, Gap> {
        match self.list(blocks, u64::MAX)? {
            Some(_) => self.take(blocks).map(Some),
            None => Ok(None),
        }
    }

    /// Returns what comes next, from the directories alone.
    fn list(&mut self, blocks: &dyn BlockSource, limit: u64) -> Result<Option<(Cid, String)>, Gap> {
        if self.entries >= limit {
            return Ok(None);
        }
        if !self.begun {
            self.begun = true;
            self.due = Some((self.root, String::new()));
        }
        while self.due.is_none() {
            // Of a sharded directory there may be more shards on the way than before.
            self.count()?;
            let Some(level) = self.open.last_mut() else { return Ok(None) };
            match level.position.next(blocks).map_err(gap)? {
                Some(entry) => {
                    self.due = Some((entry.cid, below(&level.path, &entry.name).map_err(Gap::Failed)?))
                }
                None => {
                    self.open.pop();
                }
            }
        }
        Ok(self.due.clone())
    }

    /// Reads the first block of the due entry, and enters it if it is a directory.
    fn take(&mut self, blocks: &dyn BlockSource) -> Result<Entry, Gap> {
        let Some((cid, path)) = self.due.clone() else { return Err(Gap::Failed(over())) };
        if self.entries >= self.most {
            return Err(Gap::Failed(too_large(&format!("it has more than {} entries", self.most))));
        }
        self.links.check(&path).map_err(Gap::Failed)?;
        let once = Once::new(blocks);
        let what = match unixfs::resolve(&cid, &[], &once).map_err(unread)? {
            found if found.kind == EntryKind::Directory => {
                self.enter(&cid, &path, &once)?;
                What::Directory
            }
            found if found.kind == EntryKind::Symlink => {
                let target = unixfs::symlink_target(&cid, &once).map_err(gap)?;
                let target = checked(target).map_err(Gap::Failed)?;
                self.links.add(&path).map_err(Gap::Failed)?;
                What::Symlink(target)
            }
            found if found.kind == EntryKind::Value => What::Value(once.load(&cid)?),
            found => What::File(found.size),
        };
        let attributes = unixfs::attributes(&cid, &once.load(&cid)?);
        self.pass();
        let slash = if path.is_empty() { "" } else { "/" };
        let path = format!("{}{slash}{path}", self.root);
        Ok(Entry { cid, path, what, attributes })
    }

    /// Is done with the due entry.
    fn pass(&mut self) {
        self.due = None;
        self.entries = self.entries.saturating_add(1);
    }

    fn enter(&mut self, cid: &Cid, path: &str, blocks: &dyn BlockSource) -> Result<(), Gap> {
        if u32::try_from(self.open.len()).is_ok_and(|depth| depth >= MAX_TREE_DEPTH) {
            return Err(Gap::Failed(too_large(&format!("directories lie deeper than {MAX_TREE_DEPTH}"))));
        }
        let position = Position::first(cid, blocks).map_err(gap)?;
        self.open.push(Level { position, path: path.to_owned() });
        self.count()
    }

    /// Counts what is remembered, and refuses to remember too much.
    fn count(&mut self) -> Result<(), Gap> {
        let levels = self.open.iter().map(|level| {
            let path = Bytes::of(level.path.as_bytes());
            level.position.held().saturating_add(path).saturating_add(LEVEL)
        });
        let levels = levels.fold(Bytes::ZERO, Bytes::saturating_add);
        if levels > HELD {
            return Err(Gap::Failed(too_large("its directories are too large together")));
        }
        self.share.hold(levels.saturating_add(self.links.held())).map_err(Gap::Failed)
    }
}

/// Where the symlinks of an archive stand: what stands there or below would be written to where they lead, by those
/// who unpack without looking. Of each only a hash is kept; the key is not known, so no two can be made to meet.
#[derive(Default)]
struct Links {
    known: HashSet<u64>,
    hasher: RandomState,
}

impl Links {
    /// Returns about how much memory is held.
    fn held(&self) -> Bytes {
        // Eight bytes and a mark for each place of the table, of which one in eight stays free.
        let places = self.known.capacity().saturating_mul(8 * 9) / 7;
        Bytes::new(u64::try_from(places).unwrap_or(u64::MAX))
    }

    fn check(&self, path: &str) -> Result<(), Refusal> {
        let is_through = !self.known.is_empty() && self.places(path).any(|place| self.known.contains(&place));
        if is_through { Err(through(path)) } else { Ok(()) }
    }

    fn add(&mut self, path: &str) -> Result<(), Refusal> {
        if self.known.len() >= LINKS {
            return Err(too_large(&format!("it has more than {LINKS} symlinks")));
        }
        let place = self.places(path).last();
        self.known.extend(place);
        Ok(())
    }

    /// Returns the hashes of the places on a path, the last one that of its end.
    fn places(&self, path: &str) -> impl Iterator<Item = u64> {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.scan(self.hasher.build_hasher(), |hasher, part| {
            part.hash(hasher);
            Some(hasher.finish())
        })
    }
}

/// Returns where a name leads from a directory. Names may hold slashes and steps up: they count as a path, as
/// long as it ends below the top.
fn below(directory: &str, name: &str) -> Result<String, Refusal> {
    let mut path = directory.to_owned();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." if path.is_empty() => return Err(outside(name)),
            ".." => path.truncate(path.rfind('/').unwrap_or(0)),
            part => {
                if !path.is_empty() {
                    path.push('/');
                }
                path.push_str(part);
            }
        }
    }
    match () {
        () if path.is_empty() || name.contains('\0') => Err(outside(name)),
        () if path.len() > LONGEST => Err(too_large("a path in it is too long")),
        () => Ok(path),
    }
}

/// A target is text that whoever unpacks the archive judges; a NUL would cut it.
fn checked(target: String) -> Result<String, Refusal> {
    if target.contains('\0') || target.is_empty() || target.len() > LONGEST {
        return Err(malformed(format!("a symlink cannot lead to {target:?}")));
    }
    Ok(target)
}

fn outside(name: &str) -> Refusal {
    let message = format!("relative UnixFS paths outside the root are not allowed: {name:?}");
    Refusal::bad(message).hint("Ask for format=car and unpack it with care.")
}

fn through(path: &str) -> Refusal {
    let message = format!("{:?} stands where a symlink leads away", path);
    Refusal::bad(message).hint("Ask for format=car and unpack it with care.")
}

fn too_large(why: &str) -> Refusal {
    Refusal::bad(format!("there is no tar archive of it: {why}")).hint("Ask for format=car.")
}

fn malformed(message: String) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, message)
}

pub(super) fn over() -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the archive went on after its end")
}

fn unread(error: ResolveError) -> Gap {
    match error {
        ResolveError::Missing { cid } => Gap::Missing(cid),
        ResolveError::Source(source) => source.into(),
        other => Gap::Failed(malformed(other.to_string())),
    }
}

/// Keeps the block that was read last: several questions about an entry read it once.
struct Once<'a> {
    blocks: &'a dyn BlockSource,
    last: RefCell<Option<(Cid, Buf)>>,
}

impl<'a> Once<'a> {
    const fn new(blocks: &'a dyn BlockSource) -> Self {
        Self { blocks, last: RefCell::new(None) }
    }

    /// Returns a block that has to be here.
    fn load(&self, cid: &Cid) -> Result<Buf, Gap> {
        if let Some(data) = pop_dag::identity(cid) {
            return Ok(Buf::copy_from_slice(data));
        }
        self.block(cid)?.ok_or(Gap::Missing(*cid))
    }
}

impl BlockSource for Once<'_> {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        if let Some((_, data)) = self.last.borrow().as_ref().filter(|(last, _)| last == cid) {
            return Ok(Some(data.clone()));
        }
        let data = self.blocks.block(cid)?;
        *self.last.borrow_mut() = data.clone().map(|data| (*cid, data));
        Ok(data)
    }

    fn part(&self, cid: &Cid, range: Range<u64>) -> Result<Option<Buf>, SourceError> {
        self.blocks.part(cid, range)
    }
}
