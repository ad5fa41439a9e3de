//! Files: chunks become leaves, leaves are joined by nodes.

use std::io::Read;

use bytes::Bytes as Buf;
use pop_units::Bytes;

use super::chunker::{Chunks, Cut};
use super::node::{FsNode, Kind};
use super::profile::Profile;
use super::rules::{Chunker, Layout, Rules};
use super::sniff::{self, Class};
use super::{Added, ImportError, trickle};
use crate::block::Block;
use crate::codec::{Codec, pb};
use crate::source::BlockSink;

/// Content to add, with what is known of it.
pub struct Content<'a> {
    /// Where it comes from. It is read to its end.
    pub reader: &'a mut dyn Read,
    /// The name of the file; [`Chunker::Auto`] goes by its extension.
    pub name: Option<&'a str>,
    /// How much it is thought to be: saves memory and changes nothing else.
    pub size: Option<Bytes>,
}

/// Reads content to its end, hands every block to `sink` and returns the file's root.
///
/// `progress` is called with the size of each chunk once its block was taken.
///
/// # Errors
/// The reader or the sink gives an error, or the rules are impossible.
pub fn add_file(
    reader: &mut dyn Read,
    rules: &Rules,
    sink: &mut dyn BlockSink,
    progress: &mut dyn FnMut(Bytes),
) -> Result<Added, ImportError> {
    add_content(Content { reader, name: None, size: None }, rules, sink, progress)
}

/// As [`add_file`], for content of which something is known.
///
/// # Errors
/// As [`add_file`].
pub fn add_content(
    content: Content<'_>,
    rules: &Rules,
    sink: &mut dyn BlockSink,
    progress: &mut dyn FnMut(Bytes),
) -> Result<Added, ImportError> {
    rules.check()?;
    let Content { reader, name, size } = content;
    let size = size.map(Bytes::get);
    let mut head = Vec::new();
    let class = match rules.chunker {
        Chunker::Auto => Some(match name.and_then(sniff::by_name) {
            Some(class) => class,
            None => {
                let most = u64::try_from(sniff::HEAD).unwrap_or(u64::MAX);
                // At once, as reading into no room at all starts with a few bytes.
                head.reserve_exact(sniff::HEAD);
                (&mut *reader).take(most).read_to_end(&mut head).map_err(ImportError::Read)?;
                sniff::by_content(&head)
            }
        }),
        Chunker::Profile | Chunker::Size(_) | Chunker::Buzhash => None,
    };
    let (cut, layout) = plan(rules, class);
    // What was looked at is content like the rest: it is read again before what follows.
    let mut chained = head.as_slice().chain(&mut *reader);
    let chunks = match head.is_empty() {
        true => Chunks::new(reader, cut, size),
        false => Chunks::new(&mut chained, cut, size),
    };
    let mut writer = Writer { profile: &rules.profile, chunks, next: None, layout, sink, progress };
    match layout {
        Layout::Trickle => trickle::write(&mut writer),
        Layout::Balanced | Layout::Profile => balanced(&mut writer),
    }
}

/// Decides how a file is cut and joined.
fn plan(rules: &Rules, class: Option<Class>) -> (Cut, Layout) {
    let (cut, layout) = match (rules.chunker, class) {
        (Chunker::Size(size), _) => (Cut::Every(size), Layout::Balanced),
        (Chunker::Buzhash, _) | (_, Some(Class::Text)) => (Cut::Content, Layout::Balanced),
        (_, Some(Class::Media)) => (Cut::Every(Bytes::MIB), Layout::Trickle),
        (_, Some(Class::Packed)) => (Cut::Every(Bytes::MIB), Layout::Balanced),
        (Chunker::Profile | Chunker::Auto, Some(Class::Other) | None) => {
            (Cut::Every(rules.profile.chunk), Layout::Balanced)
        }
    };
    match rules.layout {
        Layout::Profile => (cut, layout),
        Layout::Balanced | Layout::Trickle => (cut, rules.layout),
    }
}

/// Makes the blocks of one file.
pub(super) struct Writer<'a> {
    profile: &'a Profile,
    chunks: Chunks<'a>,
    /// A piece that was read to see whether there is one.
    next: Option<Buf>,
    layout: Layout,
    sink: &'a mut dyn BlockSink,
    progress: &'a mut dyn FnMut(Bytes),
}

impl Writer<'_> {
    /// Returns how many leaves or children a node may have.
    pub(super) const fn max_links(&self) -> usize {
        self.profile.max_links
    }

    /// Returns true when all content is written.
    pub(super) fn is_done(&mut self) -> Result<bool, ImportError> {
        if self.next.is_none() {
            self.next = self.chunks.next().map_err(ImportError::Read)?;
        }
        Ok(self.next.is_none())
    }

    /// Writes the next leaf; `None` at the end.
    pub(super) fn leaf(&mut self) -> Result<Option<Added>, ImportError> {
        if self.is_done()? {
            return Ok(None);
        }
        let piece = self.next.take().unwrap_or_default();
        self.leaf_of(piece).map(Some)
    }

    fn leaf_of(&mut self, piece: Buf) -> Result<Added, ImportError> {
        let size = Bytes::of(&piece);
        let block = if self.profile.raw_leaves {
            Block::of(Codec::Raw, piece)
        } else {
            let kind = match self.layout {
                // As everybody's trickled files have it.
                Layout::Trickle => Kind::Raw,
                Layout::Balanced | Layout::Profile => Kind::File,
            };
            let data = (!piece.is_empty()).then_some(piece.as_ref());
            let fs = FsNode { data, filesize: Some(size.get()), ..FsNode::new(kind) };
            let data = fs.encode();
            self.profile.block(pb::Node { links: Vec::new(), data: Some(&data) }.encode())
        };
        let added = Added { cid: *block.cid(), size, tsize: block.size() };
        self.sink.accept(block)?;
        (self.progress)(size);
        Ok(added)
    }

    /// Writes the node over `children`.
    pub(super) fn node(&mut self, children: &[Added]) -> Result<Added, ImportError> {
        let (mut size, mut tsize) = (Bytes::ZERO, Bytes::ZERO);
        for child in children {
            size = size.checked_add(child.size)?;
            tsize = tsize.checked_add(child.tsize)?;
        }
        let blocksizes = children.iter().map(|child| child.size.get()).collect();
        let fs = FsNode { filesize: Some(size.get()), blocksizes, ..FsNode::new(Kind::File) };
        let link =
            |child: &Added| pb::Link { cid: child.cid, name: Some(""), tsize: Some(child.tsize.get()) };
        let data = fs.encode();
        let node = pb::Node { links: children.iter().map(link).collect(), data: Some(&data) };
        let block = self.profile.block(node.encode());
        let added = Added { cid: *block.cid(), size, tsize: tsize.checked_add(block.size())? };
        self.sink.accept(block)?;
        Ok(added)
    }
}

/// Fills nodes from the left; every leaf is equally deep. Holds the unfinished node of each level.
fn balanced(writer: &mut Writer<'_>) -> Result<Added, ImportError> {
    let mut levels: Vec<Vec<Added>> = Vec::new();
    while let Some(leaf) = writer.leaf()? {
        add(writer, &mut levels, 0, leaf)?;
    }
    match levels.first().map(Vec::as_slice) {
        // An empty file is one empty leaf.
        None => return writer.leaf_of(Buf::new()),
        Some([only]) if levels.len() == 1 => return Ok(*only),
        Some(_) => {}
    }
    let mut level = 0;
    loop {
        let node = writer.node(&std::mem::take(&mut levels[level]))?;
        level += 1;
        if level == levels.len() {
            return Ok(node);
        }
        add(writer, &mut levels, level, node)?;
    }
}

/// Adds a child to a level, closing the level's node first when it is full.
fn add(
    writer: &mut Writer<'_>,
    levels: &mut Vec<Vec<Added>>,
    level: usize,
    child: Added,
) -> Result<(), ImportError> {
    match levels.get_mut(level) {
        None => levels.push(vec![child]),
        Some(children) if children.len() >= writer.max_links() => {
            let full = std::mem::replace(children, vec![child]);
            let node = writer.node(&full)?;
            add(writer, levels, level + 1, node)?;
        }
        Some(children) => children.push(child),
    }
    Ok(())
}
