//! Sharded directories: a hash trie whose nodes are dag-pb blocks.
//!
//! Each level takes one byte of the name's hash; a link's name is that byte in hex, followed by the entry's
//! name unless it leads to a further shard. What every writer uses is written: murmur3-x64-64, fanout 256.

use pop_units::Bytes;

use super::node::{FsNode, Kind};
use super::profile::Profile;
use super::{Entry, ImportError};
use crate::block::Block;
use crate::codec::pb;
use crate::source::BlockSink;

/// Multicodec of murmur3-x64-64.
pub(super) const MURMUR3: u64 = 0x22;
const FANOUT: u64 = 256;
/// Levels that a 64-bit hash gives.
const LEVELS: usize = 8;

/// Hands all shards of a directory to `sink`, the root last, and returns the root with the DAG's size.
pub(super) fn write(
    entries: &[Entry],
    profile: &Profile,
    sink: &mut dyn BlockSink,
) -> Result<(Block, Bytes), ImportError> {
    let mut hashed: Vec<Hashed<'_>> = entries.iter().map(|entry| (hash(&entry.name), entry)).collect();
    hashed.sort_by_key(|(hash, _)| *hash);
    write_shard(&hashed, 0, profile, sink)
}

type Hashed<'a> = ([u8; LEVELS], &'a Entry);

fn write_shard(
    entries: &[Hashed<'_>],
    level: usize,
    profile: &Profile,
    sink: &mut dyn BlockSink,
) -> Result<(Block, Bytes), ImportError> {
    let collision = || ImportError::TooLarge { entries: entries.len() };
    if level == LEVELS {
        return Err(collision());
    }
    let mut tsize = Bytes::ZERO;
    let mut bits = [0u8; 32];
    let mut names = Vec::new();
    for group in entries.chunk_by(|a, b| a.0[level] == b.0[level]) {
        let byte = group[0].0[level];
        bits[31 - usize::from(byte / 8)] |= 1 << (byte % 8);
        let (name, cid, below) = match group {
            [(_, only)] => (format!("{byte:02X}{}", only.name), only.cid, only.tsize),
            many => {
                let (shard, below) = write_shard(many, level + 1, profile, sink)?;
                (format!("{byte:02X}"), *shard.cid(), below)
            }
        };
        tsize = tsize.checked_add(below)?;
        names.push((name, cid, below));
    }
    let first = bits.iter().position(|byte| *byte != 0).unwrap_or(bits.len());
    let fs = FsNode {
        data: Some(&bits[first..]),
        hash_type: Some(MURMUR3),
        fanout: Some(FANOUT),
        ..FsNode::new(Kind::HamtShard)
    };
    let data = fs.encode();
    let link = |(name, cid, tsize): &(String, cid::Cid, Bytes)| (name.clone(), *cid, tsize.get());
    let links: Vec<_> = names.iter().map(link).collect();
    let links =
        links.iter().map(|(name, cid, tsize)| pb::Link { cid: *cid, name: Some(name), tsize: Some(*tsize) });
    let block = profile.block(pb::Node { links: links.collect(), data: Some(&data) }.encode());
    let tsize = tsize.checked_add(block.size())?;
    sink.accept(block.clone())?;
    Ok((block, tsize))
}

/// Returns the first half of murmur3-x64-128 of a name, seed 0, first byte first.
pub(super) fn hash(name: &str) -> [u8; LEVELS] {
    let bytes = name.as_bytes();
    let (mut h1, mut h2) = (0u64, 0u64);
    let blocks = bytes.chunks_exact(16);
    let tail = blocks.remainder();
    for block in blocks {
        h1 = mix(h1 ^ scramble_low(word(&block[..8])), 27, h2, 0x52dc_e729);
        h2 = mix(h2 ^ scramble_high(word(&block[8..])), 31, h1, 0x3849_5ab5);
    }
    let (low, high) = tail.split_at(tail.len().min(8));
    h1 ^= scramble_low(word(low));
    h2 ^= scramble_high(word(high));
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    h1 ^= len;
    h2 ^= len;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    finish(h1).wrapping_add(finish(h2)).to_be_bytes()
}

/// Reads up to eight bytes, lowest first.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

const fn scramble_low(word: u64) -> u64 {
    word.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

const fn scramble_high(word: u64) -> u64 {
    word.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

const fn mix(h: u64, rotate: u32, other: u64, add: u64) -> u64 {
    h.rotate_left(rotate).wrapping_add(other).wrapping_mul(5).wrapping_add(add)
}

const fn finish(mut h: u64) -> u64 {
    h = (h ^ h >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ h >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ h >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_agrees_with_published_murmur3_values() {
        // First halves of murmur3-x64-128, seed 0, as widely published.
        assert_eq!(hash(""), [0; 8]);
        assert_eq!(hash("hello"), 0xcbd8_a7b3_41bd_9b02_u64.to_be_bytes());
        assert_eq!(hash("hello, world"), 0x342f_ac62_3a5e_bc8e_u64.to_be_bytes());
        let long = "The quick brown fox jumps over the lazy dog.";
        assert_eq!(hash(long), 0xcd99_481f_9ee9_02c9_u64.to_be_bytes());
    }
}
