//! dag-pb, strictly: the protobuf that UnixFS blocks are wrapped in.
//!
//! Written here because the rules matter more than the format: no unknown fields, one order inside a link,
//! links in one run. Decoding borrows from the block.

mod value;

use cid::Cid;

use super::proto::{Fields, Value, put_bytes, put_number};
use super::whole_cid;

pub use self::value::{decode, encode};

/// A dag-pb node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node<'a> {
    /// The links in their order on the wire.
    pub links: Vec<Link<'a>>,
    /// The payload; an absent one and an empty one are different blocks.
    pub data: Option<&'a [u8]>,
}

/// A link of a dag-pb node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// Where the link points.
    pub cid: Cid,
    /// The name; an absent one and an empty one are different blocks.
    pub name: Option<&'a str>,
    /// The claimed size of everything below.
    pub tsize: Option<u64>,
}

/// How bytes break the rules of dag-pb or of a UnixFS message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end inside a field.
    #[error("cut short")]
    Truncated,
    /// A number is longer than needed or than 64 bits.
    #[error("number is not minimal or above 64 bits")]
    Varint,
    /// A field has a wire type that its message does not allow.
    #[error("wrong wire type of field {field}")]
    WireType {
        /// The field's number.
        field: u64,
    },
    /// A field is none of the message's.
    #[error("unknown field {field}")]
    Unknown {
        /// The field's number.
        field: u64,
    },
    /// A field stands twice, or after one that must follow it.
    #[error("field {field} repeated or out of order")]
    Order {
        /// The field's number.
        field: u64,
    },
    /// A link has no CID, or bytes that are none.
    #[error("link without a valid CID")]
    Hash,
    /// A name is not UTF-8.
    #[error("name is not UTF-8")]
    Name,
    /// The type of a UnixFS node is missing or unknown.
    #[error("missing or unknown type")]
    Kind,
    /// The sizes of a file node do not add up.
    #[error("sizes do not add up")]
    Size,
    /// A directory is sharded in a way that is not read.
    #[error("sharding other than murmur3-x64-64 with a fanout of 8 to 1024")]
    Sharding,
    /// A shard's links do not stand in the places that it says are taken.
    #[error("links of a shard out of place")]
    Shard,
    /// A link between the parts of a file has a name.
    #[error("part of a file has a name")]
    Named,
}

impl<'a> Node<'a> {
    /// Reads a node; links keep the order they have.
    ///
    /// # Errors
    /// The bytes break a rule.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut node = Self::default();
        let mut fields = Fields::new(bytes);
        let mut data_follows_links = false;
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Bytes(data)) => {
                    if node.data.replace(data).is_some() {
                        return Err(Fault::Order { field });
                    }
                    data_follows_links = !node.links.is_empty();
                }
                // Data may stand before or after the links, never between them.
                (2, Value::Bytes(_)) if data_follows_links => return Err(Fault::Order { field }),
                (2, Value::Bytes(link)) => node.links.push(Link::decode(link)?),
                (1 | 2, _) => return Err(Fault::WireType { field }),
                (field, _) => return Err(Fault::Unknown { field }),
            }
        }
        Ok(node)
    }

    /// Returns the canonical bytes: links in the order given, then data.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut link_bytes = Vec::new();
        for link in &self.links {
            link_bytes.clear();
            link.encode(&mut link_bytes);
            put_bytes(&mut out, 2, &link_bytes);
        }
        if let Some(data) = self.data {
            put_bytes(&mut out, 1, data);
        }
        out
    }
}

impl<'a> Link<'a> {
    /// Takes the first link off the rest of a node's bytes, passing over what is no link: for going through a
    /// node that was decoded before without keeping all its links.
    pub(crate) fn take(rest: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, Fault> {
        let mut fields = Fields::new(rest);
        while let Some((field, value)) = fields.next()? {
            if let (2, Value::Bytes(link)) = (field, value) {
                return Ok(Some((Self::decode(link)?, fields.rest())));
            }
        }
        Ok(None)
    }

    fn decode(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (mut cid, mut name, mut tsize) = (None, None, None);
        let mut fields = Fields::new(bytes);
        let mut last = 0;
        while let Some((field, value)) = fields.next()? {
            if field <= last {
                return Err(Fault::Order { field });
            }
            last = field;
            match (field, value) {
                (1, Value::Bytes(hash)) => cid = Some(whole_cid(hash).ok_or(Fault::Hash)?),
                (2, Value::Bytes(text)) => {
                    name = Some(std::str::from_utf8(text).map_err(|_| Fault::Name)?);
                }
                (3, Value::Number(size)) => tsize = Some(size),
                (1..=3, _) => return Err(Fault::WireType { field }),
                (field, _) => return Err(Fault::Unknown { field }),
            }
        }
        Ok(Self { cid: cid.ok_or(Fault::Hash)?, name, tsize })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, 1, &self.cid.to_bytes());
        if let Some(name) = self.name {
            put_bytes(out, 2, name.as_bytes());
        }
        if let Some(tsize) = self.tsize {
            put_number(out, 3, tsize);
        }
    }
}
