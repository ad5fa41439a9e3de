//! What UnixFS 1.5 says beside the content: mode and time of change. Optional, and no part of any profile.

use cid::Cid;

use crate::codec::proto::{Fields, Value};
use crate::codec::{Codec, pb};

/// The optional attributes of a file, directory or symlink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permissions: the lower twelve bits of a POSIX mode.
    pub mode: Option<u32>,
    /// When it was changed, in seconds since 1970.
    pub changed: Option<i64>,
}

/// Reads the attributes of a block. What is not well formed says nothing.
pub fn attributes(cid: &Cid, data: &[u8]) -> Attributes {
    if cid.codec() != Codec::DagPb.code() {
        return Attributes::default();
    }
    let node = pb::Node::decode(data).unwrap_or_default();
    let mut found = Attributes::default();
    let mut fields = Fields::new(node.data.unwrap_or_default());
    while let Ok(Some((field, value))) = fields.next() {
        match (field, value) {
            (7, Value::Number(mode)) => found.mode = u32::try_from(mode & 0o7777).ok(),
            (8, Value::Bytes(time)) => found.changed = seconds(time),
            _ => {}
        }
    }
    found
}

/// Reads the seconds of a time; a fraction of one may follow.
fn seconds(time: &[u8]) -> Option<i64> {
    let mut fields = Fields::new(time);
    while let Ok(Some((field, value))) = fields.next() {
        if let (1, Value::Number(seconds)) = (field, value) {
            // An int64 on the wire: a negative one has its sign in bit 63.
            return Some(i64::from_ne_bytes(seconds.to_ne_bytes()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Block;
    use crate::codec::proto::{put_bytes, put_number};

    fn block(fields: impl Fn(&mut Vec<u8>)) -> Block {
        let mut fs = Vec::new();
        put_number(&mut fs, 1, 2);
        fields(&mut fs);
        Block::of(Codec::DagPb, pb::Node { links: Vec::new(), data: Some(&fs) }.encode().into())
    }

    fn read(block: &Block) -> (Option<u32>, Option<i64>) {
        let found = attributes(block.cid(), block.data());
        (found.mode, found.changed)
    }

    #[test]
    fn mode_and_time_are_read_where_they_stand() {
        let time = |seconds: u64| {
            let mut time = Vec::new();
            put_number(&mut time, 1, seconds);
            // A fraction in 32 fixed bits.
            time.extend_from_slice(&[2 << 3 | 5, 1, 2, 3, 4]);
            time
        };
        assert_eq!(read(&block(|_| ())), (None, None));
        let both = block(|fs| {
            put_number(fs, 7, 0o100_644);
            put_bytes(fs, 8, &time(1_700_000_000));
        });
        assert_eq!(read(&both), (Some(0o644), Some(1_700_000_000)));
        assert_eq!(read(&block(|fs| put_bytes(fs, 8, &time(u64::MAX)))), (None, Some(-1)));
        assert_eq!(read(&block(|fs| put_bytes(fs, 8, b"\xff"))), (None, None));
        let raw = Block::of(Codec::Raw, both.data().clone());
        assert_eq!(read(&raw), (None, None));
    }
}
