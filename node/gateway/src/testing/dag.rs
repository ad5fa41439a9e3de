//! Content in blocks, well formed or not.

use pop_dag::codec::pb;
use pop_dag::unixfs::{Entry, Profile, Rules, add_file, directory};
use pop_dag::{Block, Buf, Cid, Codec, Memory};
use pop_units::Bytes;

/// UnixFS types.
pub(crate) const RAW: u64 = 0;
pub(crate) const DIRECTORY: u64 = 1;
pub(crate) const FILE: u64 = 2;
pub(crate) const METADATA: u64 = 3;
pub(crate) const SYMLINK: u64 = 4;

/// A part of a file as its node states it: where, and how large.
pub(crate) type Part = (Cid, u64);

/// Bytes that are different wherever one looks.
pub(crate) fn content(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Adds a file in leaves of so many bytes.
pub(crate) fn file(content: &[u8], chunk: u64, blocks: &mut Memory) -> Cid {
    let profile = Profile { chunk: Bytes::new(chunk), ..Profile::default() };
    file_by(content, &profile.into(), blocks)
}

/// Adds a file by rules.
pub(crate) fn file_by(mut content: &[u8], rules: &Rules, blocks: &mut Memory) -> Cid {
    add_file(&mut content, rules, blocks, &mut |_| {}).unwrap().cid
}

/// Adds a raw block.
pub(crate) fn raw(content: &[u8], blocks: &mut Memory) -> Cid {
    put(Block::of(Codec::Raw, Buf::copy_from_slice(content)), blocks)
}

/// Adds a directory.
pub(crate) fn dir(entries: &[(&str, Cid)], blocks: &mut Memory) -> Cid {
    dir_by(entries, &Profile::default(), blocks)
}

/// Adds a directory by a profile.
pub(crate) fn dir_by(entries: &[(&str, Cid)], profile: &Profile, blocks: &mut Memory) -> Cid {
    let entry = |(name, cid): &(&str, Cid)| Entry { name: (*name).into(), cid: *cid, tsize: Bytes::new(1) };
    *directory(entries.iter().map(entry).collect(), profile, blocks).unwrap().0.cid()
}

/// Adds a UnixFS node as it is stated, whatever is true of it.
pub(crate) fn node(kind: u64, own: &[u8], parts: &[Part], filesize: Option<u64>, blocks: &mut Memory) -> Cid {
    let mut message = Vec::new();
    put_number(&mut message, 1, kind);
    if !own.is_empty() {
        put_varint(&mut message, 2 << 3 | 2);
        put_varint(&mut message, own.len().try_into().unwrap());
        message.extend_from_slice(own);
    }
    if let Some(size) = filesize {
        put_number(&mut message, 3, size);
    }
    parts.iter().for_each(|(_, size)| put_number(&mut message, 4, *size));
    let link = |(cid, size): &Part| pb::Link { cid: *cid, name: Some(""), tsize: Some(*size) };
    let node = pb::Node { links: parts.iter().map(link).collect(), data: Some(&message) };
    put(Block::of(Codec::DagPb, node.encode().into()), blocks)
}

/// Adds a block of any codec.
pub(crate) fn block(codec: Codec, data: &[u8], blocks: &mut Memory) -> Cid {
    put(Block::of(codec, Buf::copy_from_slice(data)), blocks)
}

fn put(block: Block, blocks: &mut Memory) -> Cid {
    let cid = *block.cid();
    blocks.insert(block);
    cid
}

fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(out, field << 3);
    put_varint(out, number);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(u8::try_from(number & 0x7f | 0x80).unwrap());
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap());
}
