//! Listing directories, and looking up one name.
//!
//! A listing holds the blocks on the way to the current entry, whatever the size of the directory: one for an
//! unsharded one, one for each level of shards. Looking up a name loads the shards on the name's way.

use std::collections::HashSet;

use bytes::Bytes as Buf;
use cid::Cid;
use pop_units::Bytes;

use super::node::Kind;
use super::read::{decode, load};
use super::shard::{Found, Shape};
use super::{Entry, EntryKind, ExportError, tx_root};
use crate::codec::{Codec, CodecError, cbor, pb};
use crate::source::BlockSource;

/// Most entries that [`list`] returns; [`Listing`] has no limit.
pub const MAX_LIST: u64 = 1 << 20;

/// What an entry takes beside its name.
const ENTRY: Bytes = Bytes::new(160);
/// What a link takes whose name stood before.
const LATER: u64 = 12;

/// The entries of a directory, one after the other.
///
/// An unsharded directory and the root of a transaction keep the order of their block, which writers sort by
/// name. A sharded directory comes depth first, which is the order of its names' hashes. The order depends on
/// the CID alone. Of entries with the same name only the first is given, as in a lookup. After an error the
/// listing ends.
#[derive(Debug)]
pub struct Listing<S> {
    source: S,
    position: Position,
}

/// A place in a [`Listing`], from which it goes on over a source that is handed in at each step.
///
/// For readers that let go of the source between steps, as those do that wait for a client. A step that meets a
/// missing block may be tried again when the block has come; after any other error the listing ends.
#[derive(Debug)]
pub struct Position {
    rest: Rest,
    outline: Outline,
}

/// What the first block of a directory tells of all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// How many entries there are, which only the walk tells of a sharded directory.
    pub entries: Option<u64>,
    /// Size of the DAG below the block.
    pub tsize: Bytes,
}

#[derive(Debug)]
enum Rest {
    /// Links of an unsharded directory.
    Links(Cursor),
    Shards(Shards),
    /// Entries of a transaction's root, and about how much memory they took.
    Entries(std::vec::IntoIter<Entry>, Bytes),
    Over,
}

impl<S: BlockSource> Listing<S> {
    /// Opens a directory; reads its first block.
    ///
    /// # Errors
    /// It is no directory, or its first block is missing or not well formed.
    pub fn open(dir: &Cid, source: S) -> Result<Self, ExportError> {
        Ok(Self { position: Position::first(dir, &source)?, source })
    }

    /// Opens a directory whose first block is at hand.
    pub(super) fn of(dir: &Cid, data: Buf, source: S) -> Result<Self, ExportError> {
        Ok(Self { source, position: Position::of(dir, data)? })
    }

    /// Returns about how much memory the listing holds.
    pub(super) fn held(&self) -> Bytes {
        self.position.held()
    }
}

impl<S: BlockSource> Iterator for Listing<S> {
    type Item = Result<Entry, ExportError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.position.next(&self.source).transpose();
        if !matches!(next, Some(Ok(_))) {
            self.position.rest = Rest::Over;
        }
        next
    }
}

impl<S: BlockSource> std::iter::FusedIterator for Listing<S> {}

impl Position {
    /// Opens a directory; reads its first block.
    ///
    /// # Errors
    /// It is no directory, or its first block is missing or not well formed.
    pub fn first(dir: &Cid, source: &dyn BlockSource) -> Result<Self, ExportError> {
        Self::of(dir, load(dir, source)?)
    }

    /// Returns about how much memory is held.
    pub fn held(&self) -> Bytes {
        match &self.rest {
            Rest::Links(cursor) => cursor.held(),
            Rest::Shards(shards) => {
                shards.levels.iter().map(Cursor::held).fold(Bytes::ZERO, Bytes::saturating_add)
            }
            Rest::Entries(_, held) => *held,
            Rest::Over => Bytes::ZERO,
        }
    }

    fn of(dir: &Cid, data: Buf) -> Result<Self, ExportError> {
        let of_node = |node: &pb::Node<'_>| {
            let tsizes = node.links.iter().map(|link| Bytes::new(link.tsize.unwrap_or_default()));
            tsizes.fold(Bytes::ZERO, Bytes::saturating_add)
        };
        let (rest, entries, tsize) = match opened(dir, &data)? {
            Opened::Basic(node) => {
                let later = later_of_a_name(node.links.iter().map(|link| link.name.unwrap_or_default()));
                let (count, tsize) = (node.links.len() - later.len(), of_node(&node));
                (Rest::Links(Cursor { cid: *dir, data, at: 0, index: 0, later }), Some(count), tsize)
            }
            Opened::Sharded(node, shape) => {
                let tsize = of_node(&node);
                let root = Cursor { cid: *dir, data, at: 0, index: 0, later: HashSet::new() };
                (Rest::Shards(Shards { shape, way: Vec::new(), levels: vec![root], due: None }), None, tsize)
            }
            Opened::Entries(entries) => {
                let later = later_of_a_name(entries.iter().map(|entry| entry.name.as_str()));
                let tsize = entries.iter().map(|entry| entry.tsize).fold(Bytes::ZERO, Bytes::saturating_add);
                let kept = entries.into_iter().enumerate().filter(|(index, _)| !later.contains(index));
                let kept: Vec<_> = kept.map(|(_, entry)| entry).collect();
                let count = kept.len();
                let each = |entry: &Entry| Bytes::of(entry.name.as_bytes()).saturating_add(ENTRY);
                let held = kept.iter().map(each).fold(Bytes::ZERO, Bytes::saturating_add);
                (Rest::Entries(kept.into_iter(), held), Some(count), tsize)
            }
        };
        let entries = entries.map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        Ok(Self { rest, outline: Outline { entries, tsize } })
    }

    /// Returns what the first block tells of the whole directory.
    pub const fn outline(&self) -> Outline {
        self.outline
    }

    /// Returns the next entry.
    ///
    /// # Errors
    /// A block is missing or not well formed.
    pub fn next(&mut self, source: &dyn BlockSource) -> Result<Option<Entry>, ExportError> {
        let next = match &mut self.rest {
            Rest::Links(cursor) => {
                let link = cursor.next();
                link.map(|link| link.map(|link| entry(&link, link.name.unwrap_or_default())))
            }
            Rest::Shards(shards) => shards.next(source),
            Rest::Entries(entries, _) => Ok(entries.next()),
            Rest::Over => Ok(None),
        };
        if !matches!(next, Ok(Some(_)) | Err(ExportError::Missing { .. })) {
            self.rest = Rest::Over;
        }
        next
    }
}

/// The links of a block that was checked as a whole.
#[derive(Debug)]
struct Cursor {
    cid: Cid,
    data: Buf,
    /// Where the next link starts, at the earliest.
    at: usize,
    /// How many links were passed.
    index: usize,
    /// Links whose name stood before.
    later: HashSet<usize>,
}

impl Cursor {
    fn held(&self) -> Bytes {
        let later = u64::try_from(self.later.capacity()).unwrap_or(u64::MAX);
        Bytes::of(&self.data).saturating_add(Bytes::new(later).saturating_mul(LATER))
    }

    fn next(&mut self) -> Result<Option<pb::Link<'_>>, ExportError> {
        let fault = |source| ExportError::Codec { cid: self.cid, source: CodecError::Pb(source) };
        while let Some((link, rest)) = pb::Link::take(&self.data[self.at..]).map_err(fault)? {
            self.at = self.data.len() - rest.len();
            self.index += 1;
            if !self.later.contains(&(self.index - 1)) {
                return Ok(Some(link));
            }
        }
        Ok(None)
    }
}

/// The shards on the way to the current entry.
#[derive(Debug)]
struct Shards {
    shape: Shape,
    /// The places that lead from the root to the last of `levels`.
    way: Vec<u64>,
    levels: Vec<Cursor>,
    /// The place and CID of a shard that comes next and was not read yet.
    due: Option<(u64, Cid)>,
}

impl Shards {
    /// Returns the next entry. Every entry must lie where its name hashes to and every shard but the root must
    /// lead to one, so that neither a shard that is linked twice nor an endless chain makes a listing longer
    /// than its blocks.
    fn next(&mut self, source: &dyn BlockSource) -> Result<Option<Entry>, ExportError> {
        loop {
            if let Some((index, below)) = self.due {
                self.levels.push(self.open(&below, source)?);
                self.way.push(index);
                self.due = None;
            }
            let Some(shard) = self.levels.last_mut() else { return Ok(None) };
            let cid = shard.cid;
            let fault = |source| ExportError::Codec { cid, source: CodecError::UnixFs(source) };
            let Some(link) = shard.next()? else {
                self.levels.pop();
                self.way.pop();
                continue;
            };
            let slot = self.shape.slot(&link).map_err(fault)?;
            if !slot.name.is_empty() {
                let placed = self.shape.is_at(&self.way, slot.index, slot.name);
                let entry = entry(&link, slot.name);
                return if placed { Ok(Some(entry)) } else { Err(ExportError::Shard { cid }) };
            }
            let below = (slot.index, link.cid);
            if !self.shape.has_level(self.levels.len()) {
                return Err(ExportError::Shard { cid: below.1 });
            }
            self.due = Some(below);
        }
    }

    fn open(&self, cid: &Cid, source: &dyn BlockSource) -> Result<Cursor, ExportError> {
        let data = load(cid, source)?;
        match opened(cid, &data)? {
            Opened::Sharded(node, shape) if shape == self.shape && !node.links.is_empty() => {
                Ok(Cursor { cid: *cid, data, at: 0, index: 0, later: HashSet::new() })
            }
            Opened::Sharded(..) | Opened::Basic(_) | Opened::Entries(_) => {
                Err(ExportError::Shard { cid: *cid })
            }
        }
    }
}

/// The forms of a directory's first block.
enum Opened<'a> {
    Basic(pb::Node<'a>),
    Sharded(pb::Node<'a>, Shape),
    Entries(Vec<Entry>),
}

fn opened<'a>(dir: &Cid, data: &'a [u8]) -> Result<Opened<'a>, ExportError> {
    let wrong = ExportError::Kind { cid: *dir, wanted: "directory" };
    let fault = |source| ExportError::Codec { cid: *dir, source };
    match Codec::from_code(dir.codec()) {
        Some(Codec::DagCbor) => {
            cbor::links(data).map_err(CodecError::Cbor).map_err(fault)?;
            tx_root::entries(data).map(Opened::Entries).ok_or(wrong)
        }
        Some(Codec::DagPb) => {
            let (node, fs) = decode(dir, data)?;
            match fs.kind {
                Kind::Directory => Ok(Opened::Basic(node)),
                Kind::HamtShard => {
                    let shape = Shape::of(&node, &fs).map_err(CodecError::UnixFs).map_err(fault)?;
                    Ok(Opened::Sharded(node, shape))
                }
                Kind::File | Kind::Raw | Kind::Symlink | Kind::Metadata => Err(wrong),
            }
        }
        Some(Codec::Raw | Codec::DagJson) | None => Err(wrong),
    }
}

/// Returns the indexes of names that stood before. Sorted names, which all writers make, need no memory.
fn later_of_a_name<'a>(names: impl Iterator<Item = &'a str> + Clone) -> HashSet<usize> {
    if names.clone().is_sorted_by(|a, b| a < b) {
        return HashSet::new();
    }
    let mut seen = HashSet::new();
    names.enumerate().filter(|(_, name)| !seen.insert(*name)).map(|(index, _)| index).collect()
}

fn entry(link: &pb::Link<'_>, name: &str) -> Entry {
    Entry { name: name.to_owned(), cid: link.cid, tsize: Bytes::new(link.tsize.unwrap_or_default()) }
}

impl Entry {
    /// Returns what the entry is where its CID tells; otherwise its first block does, by
    /// [`resolve`](super::resolve) with an empty path.
    pub fn kind(&self) -> Option<EntryKind> {
        (self.cid.codec() == Codec::Raw.code()).then_some(EntryKind::Raw)
    }
}

/// Returns the entries of a directory; those of a sharded one sorted by name.
///
/// # Errors
/// It is no directory, a block is missing or not well formed, or there are more than [`MAX_LIST`] entries.
pub fn list(dir: &Cid, source: &dyn BlockSource) -> Result<Vec<Entry>, ExportError> {
    let mut entries = Vec::new();
    let listing = Listing::open(dir, source)?;
    let sharded = matches!(listing.position.rest, Rest::Shards(_));
    for (entry, count) in listing.zip(0..) {
        if count == MAX_LIST {
            return Err(ExportError::TooMany { limit: MAX_LIST });
        }
        entries.push(entry?);
    }
    if sharded {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(entries)
}

/// Returns the entry of one name, or `None` when the directory has no such entry.
///
/// # Errors
/// It is no directory, or a block on the way is missing or not well formed.
pub fn lookup(dir: &Cid, name: &str, source: &dyn BlockSource) -> Result<Option<Entry>, ExportError> {
    let mut cid = *dir;
    let mut level = 0;
    loop {
        let data = load(&cid, source)?;
        match opened(&cid, &data)? {
            Opened::Sharded(node, shape) => match shape.find(&node, name, level) {
                Some(Found::Shard(below)) => cid = below,
                Some(Found::Entry(link)) => return Ok(Some(entry(link, name))),
                None => return Ok(None),
            },
            Opened::Basic(_) | Opened::Entries(_) if level > 0 => return Err(ExportError::Shard { cid }),
            Opened::Basic(node) => {
                let found = node.links.iter().find(|link| link.name.unwrap_or_default() == name);
                return Ok(found.map(|link| entry(link, name)));
            }
            Opened::Entries(entries) => return Ok(entries.into_iter().find(|entry| entry.name == name)),
        }
        level += 1;
    }
}

#[cfg(test)]
mod tests;
