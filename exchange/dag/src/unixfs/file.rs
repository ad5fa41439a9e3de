//! Files: chunks become leaves, leaves fill nodes from the left.

use std::io::Read;

use bytes::Bytes as Buf;
use pop_units::Bytes;

use super::node::{FsNode, Kind};
use super::profile::Profile;
use super::{Added, ImportError};
use crate::block::Block;
use crate::codec::{Codec, pb};
use crate::source::BlockSink;

/// Reads content to its end, hands every block to `sink` and returns the file's root.
///
/// `progress` is called with the size of each chunk once its block was taken.
///
/// # Errors
/// The reader or the sink gives an error, or the profile is impossible.
pub fn add_file(
    reader: &mut dyn Read,
    profile: &Profile,
    sink: &mut dyn BlockSink,
    progress: &mut dyn FnMut(Bytes),
) -> Result<Added, ImportError> {
    profile.check()?;
    let mut layout = Layout { profile, sink, levels: Vec::new() };
    loop {
        let chunk = read_chunk(reader, profile.chunk)?;
        // An empty file is one empty leaf.
        if chunk.is_empty() && !layout.levels.is_empty() {
            break;
        }
        let size = Bytes::of(&chunk);
        let last = size < profile.chunk;
        let leaf = layout.leaf(chunk)?;
        layout.add(0, leaf)?;
        progress(size);
        if last {
            break;
        }
    }
    layout.finish()
}

/// Reads up to `size`; less only at the end.
fn read_chunk(reader: &mut dyn Read, size: Bytes) -> Result<Buf, ImportError> {
    let mut chunk = Vec::with_capacity(size.as_usize());
    reader.take(size.get()).read_to_end(&mut chunk).map_err(ImportError::Read)?;
    // Small files must not hold a whole chunk's memory while they wait in the sink.
    chunk.shrink_to_fit();
    Ok(Buf::from(chunk))
}

/// The unfinished node of each level, leaves' parents first.
struct Layout<'a> {
    profile: &'a Profile,
    sink: &'a mut dyn BlockSink,
    levels: Vec<Vec<Added>>,
}

impl Layout<'_> {
    fn leaf(&mut self, chunk: Buf) -> Result<Added, ImportError> {
        let size = Bytes::of(&chunk);
        let block = if self.profile.raw_leaves {
            Block::of(Codec::Raw, chunk)
        } else {
            let data = (!chunk.is_empty()).then_some(chunk.as_ref());
            let fs = FsNode { data, filesize: Some(size.get()), ..FsNode::new(Kind::File) };
            let data = fs.encode();
            self.profile.block(pb::Node { links: Vec::new(), data: Some(&data) }.encode())
        };
        let added = Added { cid: *block.cid(), size, tsize: block.size() };
        self.sink.accept(block)?;
        Ok(added)
    }

    /// Adds a child to a level, closing the level's node first when it is full.
    fn add(&mut self, level: usize, child: Added) -> Result<(), ImportError> {
        match self.levels.get(level) {
            None => self.levels.push(Vec::new()),
            Some(children) if children.len() >= self.profile.max_links => {
                let node = self.close(level)?;
                self.add(level + 1, node)?;
            }
            Some(_) => {}
        }
        self.levels[level].push(child);
        Ok(())
    }

    /// Closes what is unfinished from the leaves up: every leaf is equally deep.
    fn finish(mut self) -> Result<Added, ImportError> {
        if let [leaves] = self.levels.as_slice()
            && let [only] = leaves.as_slice()
        {
            return Ok(*only);
        }
        let mut level = 0;
        loop {
            let node = self.close(level)?;
            level += 1;
            if level == self.levels.len() {
                return Ok(node);
            }
            self.add(level, node)?;
        }
    }

    /// Makes the node of a level's children and empties the level.
    fn close(&mut self, level: usize) -> Result<Added, ImportError> {
        let children = std::mem::take(&mut self.levels[level]);
        let (mut size, mut tsize) = (Bytes::ZERO, Bytes::ZERO);
        for child in &children {
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
