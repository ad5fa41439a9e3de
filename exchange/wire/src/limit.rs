//! What a peer may make this node hold in memory, each with its reason.

use pop_units::Bytes;

/// Longest control frame. The largest honest one is an `Open` with a signed offer and a deep path: about 10 KiB.
pub const CONTROL: Bytes = Bytes::new(64 << 10);
/// Longest query on gossip: it is copied to every node, so it must stay small.
pub const QUERY: Bytes = Bytes::new(4 << 10);
/// Longest voucher: 103 bytes are usual, the rest is room for longer addresses and amounts.
pub const VOUCHER: usize = 512;
/// Addresses in a query: more than a node with three transports and two networks listens on.
pub const REPLY_ADDRS: usize = 8;
/// Segments of a path: the depth that a file system's own limits allow in practice.
pub const PATH_SEGMENTS: usize = 128;
/// Bytes of one path segment, as in file systems.
pub const PATH_SEGMENT: usize = 255;
/// Characters of a reason that is shown to people.
pub const REASON: usize = 200;
/// Characters of a chain's name.
pub const CHAIN: usize = 64;
/// Bytes of a region's name: it is part of a gossip topic.
pub const REGION: usize = 64;
/// Shortest interval between payments. Below it the signatures and syncs cost more than the bytes.
pub const INTERVAL_MIN: Bytes = Bytes::MIB;
/// Longest interval between payments: what the two sides risk on each other at most, twice over.
pub const INTERVAL_MAX: Bytes = Bytes::new(16 << 20);
/// Bytes that may be on the way: at least twice 500 MiB/s times 20 ms.
pub const CREDIT_WINDOW: Bytes = Bytes::new(16 << 20);
/// Largest credit that a peer may have granted: four windows.
pub const CREDIT_MAX: Bytes = Bytes::new(64 << 20);
/// Blocks that a transfer may have whatever its size: a tree of some ten thousand files of a few bytes.
const BLOCKS: u64 = 1 << 16;
/// Bytes to a block above that. A link takes about 60 bytes in its directory, so trees whose files have 70 bytes
/// on average pass at any size, and those with files of a kibibyte by far; what is finer than this costs more in
/// indices and tables than in payload.
const BLOCK_BYTES: u64 = 128;

/// Returns the most blocks that `bytes` of payload may come in.
pub const fn blocks_for(bytes: Bytes) -> u64 {
    BLOCKS + bytes.get() / BLOCK_BYTES
}
