//! The dag-cbor root of a transaction: the map form `{Data, Links: [{Hash, Name, Tsize}]}` of a directory.
//!
//! The same entries under dag-pb are an ordinary UnixFS directory; this form is read wherever a directory is.

use bytes::Bytes as Buf;
use cid::Cid;
use pop_units::Bytes;
use serde::{Deserialize, Serialize};

use super::node::{FsNode, Kind};
use super::{Entry, ImportError, directory};
use crate::block::{Block, MAX_BLOCK};
use crate::codec::Codec;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    #[serde(rename = "Data")]
    data: Buf,
    #[serde(rename = "Links")]
    links: Vec<Link>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    #[serde(rename = "Hash")]
    hash: Cid,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Tsize")]
    tsize: u64,
}

/// Returns the root block over `entries`, sorted by name, and the size of the whole DAG.
///
/// # Errors
/// A name cannot be written or stands twice, or the root does not fit one block.
pub fn build(mut entries: Vec<Entry>) -> Result<(Block, Bytes), ImportError> {
    directory::sort(&mut entries)?;
    let too_large = ImportError::TooLarge { entries: entries.len() };
    let below = entries.iter().try_fold(Bytes::ZERO, |sum, entry| sum.checked_add(entry.tsize))?;
    let link = |entry: Entry| Link { hash: entry.cid, name: entry.name, tsize: entry.tsize.get() };
    let data = Buf::from(FsNode::new(Kind::Directory).encode());
    let root = Root { data, links: entries.into_iter().map(link).collect() };
    let bytes = serde_ipld_dagcbor::to_vec(&root).expect("a map of text, numbers and links encodes");
    if Bytes::of(&bytes) > MAX_BLOCK {
        return Err(too_large);
    }
    let block = Block::of(Codec::DagCbor, Buf::from(bytes));
    let tsize = below.checked_add(block.size())?;
    Ok((block, tsize))
}

/// Returns the entries when `data` is such a root; `None` for any other dag-cbor.
pub fn entries(data: &[u8]) -> Option<Vec<Entry>> {
    let root: Root = serde_ipld_dagcbor::from_slice(data).ok()?;
    let fs = FsNode::decode(&root.data).ok()?;
    let entry = |link: Link| Entry { name: link.name, cid: link.hash, tsize: Bytes::new(link.tsize) };
    (fs.kind == Kind::Directory).then(|| root.links.into_iter().map(entry).collect())
}
