//! What stands around the blocks of an archive of version 1, for writers that hold the blocks themselves and
//! would copy nothing.

use std::io;

use bytes::Bytes as Buf;
use cid::Cid;
use pop_units::Bytes;

use super::header::Header;
use crate::codec::proto::put_varint;

/// Returns what an archive of version 1 begins with, its length included.
///
/// # Errors
/// There is no root.
pub fn header(roots: &[Cid]) -> io::Result<Buf> {
    if roots.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an archive needs a root"));
    }
    let header = Header { roots: Some(roots.to_vec()), version: 1 };
    let map = serde_ipld_dagcbor::to_vec(&header).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(map.len() + 10);
    put_varint(&mut bytes, Bytes::of(&map).get());
    bytes.extend_from_slice(&map);
    Ok(bytes.into())
}

/// Returns what stands in front of the data of a block of `size` bytes: the length of both and the CID.
pub fn section_head(cid: &Cid, size: Bytes) -> Buf {
    let name = cid.to_bytes();
    let mut head = Vec::with_capacity(name.len() + 10);
    put_varint(&mut head, Bytes::of(&name).saturating_add(size).get());
    head.extend_from_slice(&name);
    head.into()
}
