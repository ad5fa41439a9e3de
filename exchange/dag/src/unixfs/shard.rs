//! Reading one block of a sharded directory.
//!
//! A link's name is the place it takes in its block, in hex, followed by the entry's name unless it leads to a
//! further shard. Any fanout that the specification allows is read. A block whose links, prefixes and
//! bitfield disagree is refused, because other readers would find other entries in it.

use cid::Cid;

use super::hamt::{MURMUR3, hash};
use super::node::{FsNode, Kind};
use crate::codec::pb::{Fault, Link, Node};

/// Fanouts that a bitfield of whole bytes allows, up to the limit that every reader keeps (CVE-2023-23625).
const FANOUTS: std::ops::RangeInclusive<u64> = 8..=1024;

/// How the blocks of a sharded directory are divided; the same in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Bits of a name's hash that each level takes.
    bits: u32,
    /// Digits of a place.
    width: usize,
}

/// A link of a shard.
pub(crate) struct Slot<'a> {
    /// The place of the link in its block.
    pub(crate) index: u64,
    /// The entry's name; empty for a further shard.
    pub(crate) name: &'a str,
}

/// What stands in the place of a name.
pub(crate) enum Found<'n, 'a> {
    Shard(Cid),
    Entry(&'n Link<'a>),
}

impl Shape {
    /// Reads the shape of a shard and checks that its links are in the places that the bitfield names.
    pub(crate) fn of(node: &Node<'_>, fs: &FsNode<'_>) -> Result<Self, Fault> {
        if fs.kind != Kind::HamtShard {
            return Err(Fault::Shard);
        }
        let fanout = fs.fanout.filter(|fanout| fanout.is_power_of_two() && FANOUTS.contains(fanout));
        let fanout = fanout.filter(|_| fs.hash_type == Some(MURMUR3)).ok_or(Fault::Sharding)?;
        let bits = fanout.ilog2();
        let digits = bits.div_ceil(4);
        let shape = Self { bits, width: usize::try_from(digits).map_err(|_| Fault::Sharding)? };
        let field = fs.data.unwrap_or_default();
        let mut next = 0;
        for link in &node.links {
            let slot = shape.slot(link)?;
            if slot.index < next || !is_set(field, slot.index) {
                return Err(Fault::Shard);
            }
            next = slot.index + 1;
        }
        let taken: u32 = field.iter().map(|byte| byte.count_ones()).sum();
        if usize::try_from(taken) == Ok(node.links.len()) { Ok(shape) } else { Err(Fault::Shard) }
    }

    /// Splits a link's name into the place and what is there.
    pub(crate) fn slot<'a>(self, link: &Link<'a>) -> Result<Slot<'a>, Fault> {
        let (digits, name) =
            link.name.and_then(|name| name.split_at_checked(self.width)).ok_or(Fault::Shard)?;
        if !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F')) {
            return Err(Fault::Shard);
        }
        let index = u64::from_str_radix(digits, 16).map_err(|_| Fault::Shard)?;
        if index >> self.bits == 0 { Ok(Slot { index, name }) } else { Err(Fault::Shard) }
    }

    /// Returns true for a link to a further shard.
    pub(crate) fn is_shard(self, link: &Link<'_>) -> bool {
        link.name.is_some_and(|name| name.len() == self.width)
    }

    /// Looks up a name in a shard that lies `level` below the root.
    pub(crate) fn find<'n, 'a>(self, node: &'n Node<'a>, name: &str, level: usize) -> Option<Found<'n, 'a>> {
        let index = self.index(name, level)?;
        let at = |link: &&Link<'a>| self.slot(link).is_ok_and(|slot| slot.index == index);
        let link = node.links.iter().find(at)?;
        match link.name.and_then(|found| found.get(self.width..)) {
            Some("") => Some(Found::Shard(link.cid)),
            found => (found == Some(name)).then_some(Found::Entry(link)),
        }
    }

    /// Returns the place of a name in a shard that lies `level` below the root; `None` below the last level.
    fn index(self, name: &str, level: usize) -> Option<u64> {
        let passed = self.passed(level).filter(|_| self.has_level(level))?;
        Some(self.place(u64::from_be_bytes(hash(name)), passed))
    }

    /// Returns the bits of a hash that follow the first `passed`.
    const fn place(self, hash: u64, passed: u32) -> u64 {
        hash << passed >> (u64::BITS - self.bits)
    }

    /// Returns true when a name belongs into place `index` of a shard that is reached through `way`.
    pub(crate) fn is_at(self, way: &[u64], index: u64, name: &str) -> bool {
        let hash = u64::from_be_bytes(hash(name));
        let mut places = way.iter().copied().chain([index]).enumerate();
        places.all(|(level, index)| {
            let passed = self.passed(level).filter(|_| self.has_level(level));
            passed.is_some_and(|passed| self.place(hash, passed) == index)
        })
    }

    /// Returns the bits of a hash that `levels` take; `None` when there are not so many.
    fn passed(self, levels: usize) -> Option<u32> {
        let bits = u32::try_from(levels).ok()?.checked_mul(self.bits)?;
        (bits <= u64::BITS).then_some(bits)
    }

    /// Returns true when there can be shards `level` below the root.
    pub(crate) fn has_level(self, level: usize) -> bool {
        self.passed(level + 1).is_some()
    }
}

/// Returns true for a set bit. The field is one big number without leading zeros.
fn is_set(field: &[u8], index: u64) -> bool {
    let byte = usize::try_from(index / 8).ok().and_then(|at| field.iter().rev().nth(at));
    byte.is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}
