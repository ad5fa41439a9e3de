//! One node of a file: what it holds itself, and where its parts lie.

use bytes::Bytes as Buf;
use cid::Cid;
use pop_units::Bytes;

use super::ExportError;
use super::node::{FsNode, Kind};
use super::read::decode;
use crate::codec::{Codec, CodecError, pb, whole_cid};

/// A node of a file, or a leaf of one, whose sizes add up.
///
/// Takes some 50 bytes for each part, so that the nodes of a large file can be kept while it is read. What a
/// node claims about its parts holds only once they are read: a reader passes the claim on to
/// [`Self::decode`].
#[derive(Debug)]
pub struct FileNode {
    /// Content in the node itself; it goes before that of the parts.
    own: Buf,
    /// Where the content of each part ends, counted from where the node's starts.
    ends: Box<[u64]>,
    /// Where the CID of each part starts in `cids`.
    starts: Box<[u32]>,
    /// The CIDs of the parts, one after the other.
    cids: Box<[u8]>,
}

/// What holds a byte of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The node itself: its content from that byte on.
    Own(Buf),
    /// A part.
    Part {
        /// The part's root.
        cid: Cid,
        /// Where its content starts, counted from where the node's does.
        start: u64,
        /// The size that is claimed for it.
        size: u64,
    },
}

impl FileNode {
    /// Reads a node, which must have the size that is claimed for it, if one is.
    ///
    /// # Errors
    /// It is no node of a file, breaks the codec's rules, or its sizes do not add up.
    pub fn decode(cid: &Cid, data: &Buf, claimed: Option<Bytes>) -> Result<Self, ExportError> {
        if cid.codec() == Codec::Raw.code() {
            if claimed.is_some_and(|claimed| claimed != Bytes::of(data)) {
                return Err(ExportError::Size { cid: *cid });
            }
            return Ok(Self::leaf(data.clone()));
        }
        let (node, fs) = checked(cid, data, claimed)?;
        let mut read = Self::leaf(data.slice_ref(fs.data.unwrap_or_default()));
        let mut end = Bytes::of(&read.own).get();
        let end_of = |size: &u64| {
            end = end.saturating_add(*size);
            end
        };
        read.ends = fs.blocksizes.iter().map(end_of).collect();
        let (mut starts, mut cids) = (Vec::with_capacity(node.links.len()), Vec::new());
        for link in &node.links {
            // A block has no more than 2^21 bytes of them.
            starts.push(u32::try_from(cids.len()).map_err(|_| ExportError::Size { cid: *cid })?);
            cids.extend_from_slice(&link.cid.to_bytes());
        }
        (read.starts, read.cids) = (starts.into(), cids.into());
        Ok(read)
    }

    fn leaf(own: Buf) -> Self {
        Self { own, ends: Box::default(), starts: Box::default(), cids: Box::default() }
    }

    /// Returns the size of the node's content with that of its parts.
    pub fn size(&self) -> Bytes {
        self.ends.last().map_or_else(|| Bytes::of(&self.own), |end| Bytes::new(*end))
    }

    /// Returns how many parts the node links to.
    pub fn parts(&self) -> usize {
        self.ends.len()
    }

    /// Returns the content in the node itself.
    pub const fn own(&self) -> &Buf {
        &self.own
    }

    /// Returns what holds the byte at `at`, counted from where the node's content starts; `None` behind its end.
    pub fn at(&self, at: u64) -> Option<Holder> {
        let own = Bytes::of(&self.own).get();
        if at < own {
            let skip = usize::try_from(at).ok()?;
            return Some(Holder::Own(self.own.slice(skip..)));
        }
        let index = self.ends.partition_point(|end| *end <= at);
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(own, |end| *end);
        Some(Holder::Part { cid: self.cid(index)?, start, size: end - start })
    }

    fn cid(&self, index: usize) -> Option<Cid> {
        let place = |index: usize| self.starts.get(index).and_then(|start| usize::try_from(*start).ok());
        let end = place(index + 1).unwrap_or(self.cids.len());
        whole_cid(self.cids.get(place(index)?..end)?)
    }
}

/// Reads a node of a file and checks its sizes.
fn checked<'a>(
    cid: &Cid,
    data: &'a [u8],
    claimed: Option<Bytes>,
) -> Result<(pb::Node<'a>, FsNode<'a>), ExportError> {
    let wrong = || ExportError::Kind { cid: *cid, wanted: "file" };
    if cid.codec() != Codec::DagPb.code() {
        return Err(wrong());
    }
    let (node, fs) = decode(cid, data)?;
    if !matches!(fs.kind, Kind::File | Kind::Raw) {
        return Err(wrong());
    }
    let size = fs.content_size().filter(|size| claimed.is_none_or(|claimed| claimed.get() == *size));
    if size.is_none() || node.links.len() != fs.blocksizes.len() {
        return Err(ExportError::Size { cid: *cid });
    }
    // The specification demands it: what has named links is no file, whatever its type says.
    if node.links.iter().any(|link| !link.name.unwrap_or_default().is_empty()) {
        return Err(ExportError::Codec { cid: *cid, source: CodecError::UnixFs(pb::Fault::Named) });
    }
    Ok((node, fs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{BlockSource, Memory};
    use crate::unixfs::{Profile, add_file};

    #[test]
    fn a_node_tells_where_each_byte_lies() {
        let content: Vec<u8> = (0..100).collect();
        let profile = Profile { chunk: Bytes::new(30), ..Profile::default() };
        let mut blocks = Memory::new();
        let added = add_file(&mut content.as_slice(), &profile.into(), &mut blocks, &mut |_| {}).unwrap();
        let data = blocks.block(&added.cid).unwrap().unwrap();
        let node = FileNode::decode(&added.cid, &data, Some(Bytes::new(100))).unwrap();
        assert_eq!((node.size(), node.parts(), node.own().len()), (Bytes::new(100), 4, 0));
        for at in 0..100_u64 {
            let Some(Holder::Part { cid, start, size }) = node.at(at) else { panic!("{at}") };
            assert_eq!((start, size), (at / 30 * 30, 30.min(100 - start)));
            let leaf = blocks.block(&cid).unwrap().unwrap();
            let leaf = FileNode::decode(&cid, &leaf, Some(Bytes::new(size))).unwrap();
            let Some(Holder::Own(rest)) = leaf.at(at - start) else { panic!("{at}") };
            assert_eq!(u64::from(rest[0]), at);
        }
        assert_eq!(node.at(100), None);
        assert!(matches!(
            FileNode::decode(&added.cid, &data, Some(Bytes::new(99))),
            Err(ExportError::Size { .. })
        ));
    }
}
