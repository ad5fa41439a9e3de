//! The UnixFS message inside a dag-pb node.

use crate::codec::pb::Fault;
use crate::codec::proto::{Fields, Value, put_bytes, put_number, take_varint};

/// What a UnixFS node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A leaf of a file, as the oldest writers made them.
    Raw,
    /// A directory in one block.
    Directory,
    /// A file or a part of one.
    File,
    /// A wrapper that nobody writes.
    Metadata,
    /// A symlink.
    Symlink,
    /// A part of a sharded directory.
    HamtShard,
}

impl Kind {
    const fn number(self) -> u64 {
        match self {
            Self::Raw => 0,
            Self::Directory => 1,
            Self::File => 2,
            Self::Metadata => 3,
            Self::Symlink => 4,
            Self::HamtShard => 5,
        }
    }

    const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Raw),
            1 => Some(Self::Directory),
            2 => Some(Self::File),
            3 => Some(Self::Metadata),
            4 => Some(Self::Symlink),
            5 => Some(Self::HamtShard),
            _ => None,
        }
    }
}

/// A UnixFS message. Mode and time of change are passed over: they are no part of any profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FsNode<'a> {
    pub(crate) kind: Kind,
    pub(crate) data: Option<&'a [u8]>,
    pub(crate) filesize: Option<u64>,
    pub(crate) blocksizes: Vec<u64>,
    pub(crate) hash_type: Option<u64>,
    pub(crate) fanout: Option<u64>,
}

impl<'a> FsNode<'a> {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self { kind, data: None, filesize: None, blocksizes: Vec::new(), hash_type: None, fanout: None }
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut node = Self::new(Kind::Raw);
        let mut kind = None;
        let mut fields = Fields::new(bytes);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Number(number)) => kind = Some(Kind::from_number(number).ok_or(Fault::Kind)?),
                (2, Value::Bytes(data)) => node.data = Some(data),
                (3, Value::Number(size)) => node.filesize = Some(size),
                (4, Value::Number(size)) => node.blocksizes.push(size),
                // Some writers pack the sizes into one field.
                (4, Value::Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        let (size, rest) = take_varint(packed)?;
                        node.blocksizes.push(size);
                        packed = rest;
                    }
                }
                (5, Value::Number(hash)) => node.hash_type = Some(hash),
                (6, Value::Number(fanout)) => node.fanout = Some(fanout),
                (1..=6, _) => return Err(Fault::WireType { field }),
                (_, _) => {}
            }
        }
        node.kind = kind.ok_or(Fault::Kind)?;
        Ok(node)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, 1, self.kind.number());
        if let Some(data) = self.data {
            put_bytes(&mut out, 2, data);
        }
        if let Some(size) = self.filesize {
            put_number(&mut out, 3, size);
        }
        for size in &self.blocksizes {
            put_number(&mut out, 4, *size);
        }
        if let Some(hash) = self.hash_type {
            put_number(&mut out, 5, hash);
        }
        if let Some(fanout) = self.fanout {
            put_number(&mut out, 6, fanout);
        }
        out
    }

    /// Returns the bytes of file content that the node claims to hold, itself and below.
    pub(crate) fn content_size(&self) -> Option<u64> {
        let own = u64::try_from(self.data.unwrap_or_default().len()).ok()?;
        let sum = self.blocksizes.iter().try_fold(own, |sum, size| sum.checked_add(*size))?;
        self.filesize.is_none_or(|size| size == sum).then_some(sum)
    }
}
