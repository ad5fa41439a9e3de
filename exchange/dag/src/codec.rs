//! What the bytes of a block mean: codecs, the links inside, and values.
//!
//! [`links`] is for walks: it builds nothing and puts up with old data where that cannot hide a link. [`decode`]
//! and [`encode`] are for those who look inside and convert: what dag-cbor, dag-json and raw decode is encoded to
//! the same bytes again, and a dag-pb node as well when its links stand before its data, where its writers put
//! them.

pub mod cbor;
pub mod json;
pub mod pb;
pub(crate) mod proto;
mod value;

use cid::Cid;

pub use self::value::{EncodeError, Map, RepeatedKey, Value};

/// Deepest nesting inside one block. Filecoin and IPLD schemas stay in single digits; readers recurse.
const MAX_NESTING: u32 = 128;

/// The codecs that content is made of here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Plain bytes without links.
    Raw,
    /// The protobuf form of UnixFS.
    DagPb,
    /// CBOR with links.
    DagCbor,
    /// JSON with links.
    DagJson,
}

impl Codec {
    /// Returns the multicodec code.
    pub const fn code(self) -> u64 {
        match self {
            Self::Raw => 0x55,
            Self::DagPb => 0x70,
            Self::DagCbor => 0x71,
            Self::DagJson => 0x0129,
        }
    }

    /// Returns the codec of a multicodec code.
    pub const fn from_code(code: u64) -> Option<Self> {
        match code {
            0x55 => Some(Self::Raw),
            0x70 => Some(Self::DagPb),
            0x71 => Some(Self::DagCbor),
            0x0129 => Some(Self::DagJson),
            _ => None,
        }
    }
}

/// Multicodec of plain CBOR: a value without links, carried as it is.
pub const PLAIN_CBOR: u64 = 0x51;
/// Multicodec of plain JSON: a value without links, carried as it is.
pub const PLAIN_JSON: u64 = 0x0200;

/// Returns true for codecs whose blocks can have no links.
pub const fn is_linkless(code: u64) -> bool {
    code == Codec::Raw.code() || code == PLAIN_CBOR || code == PLAIN_JSON
}

/// Why the bytes of a block cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Links of this codec are not read here.
    #[error("codec 0x{0:x} is not read here")]
    Unsupported(u64),
    /// The bytes are no dag-pb node.
    #[error("no dag-pb node: {0}")]
    Pb(pb::Fault),
    /// The bytes are no UnixFS message.
    #[error("no UnixFS node: {0}")]
    UnixFs(pb::Fault),
    /// The bytes are no strict dag-cbor value.
    #[error("no dag-cbor value: {0}")]
    Cbor(cbor::Fault),
    /// The bytes are no dag-json value.
    #[error("no dag-json value: {0}")]
    Json(json::Fault),
}

impl From<cbor::Fault> for CodecError {
    fn from(fault: cbor::Fault) -> Self {
        Self::Cbor(fault)
    }
}

/// Where a path leads inside a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// At a link, after `used` segments.
    Link {
        /// Where the link points.
        cid: Cid,
        /// How many segments lead to it.
        used: usize,
    },
    /// At a value of this block, with no segment left.
    Inside,
    /// Nowhere: the segment with this index does not exist.
    NotFound(usize),
    /// Nowhere: the value before the segment with this index has no members.
    NoMembers(usize),
}

/// Returns the links of a block in order of appearance, each as often as it appears.
///
/// # Errors
/// The codec is unknown or the data breaks its rules.
pub fn links(cid: &Cid, data: &[u8]) -> Result<Vec<Cid>, CodecError> {
    match Codec::from_code(cid.codec()) {
        Some(Codec::Raw) => Ok(Vec::new()),
        Some(Codec::DagPb) => {
            let node = pb::Node::decode(data).map_err(CodecError::Pb)?;
            Ok(node.links.iter().map(|link| link.cid).collect())
        }
        Some(Codec::DagCbor) => Ok(cbor::links(data)?),
        Some(Codec::DagJson) => json::links(data).map_err(CodecError::Json),
        None if is_linkless(cid.codec()) => Ok(Vec::new()),
        None => Err(CodecError::Unsupported(cid.codec())),
    }
}

/// Reads the value of a block, strictly. A raw block is a value of bytes.
///
/// # Errors
/// The data breaks the rules of the codec.
pub fn decode(codec: Codec, data: &[u8]) -> Result<Value, CodecError> {
    match codec {
        Codec::Raw => Ok(Value::Bytes(data.into())),
        Codec::DagPb => pb::decode(data).map_err(CodecError::Pb),
        Codec::DagCbor => Ok(cbor::decode(data)?),
        Codec::DagJson => json::decode(data).map_err(CodecError::Json),
    }
}

/// Returns the bytes of a value, in the canonical form of the codec.
///
/// # Errors
/// The value has no form in the codec.
pub fn encode(codec: Codec, value: &Value) -> Result<Vec<u8>, EncodeError> {
    match (codec, value) {
        (Codec::Raw, Value::Bytes(bytes)) => Ok(bytes.to_vec()),
        (Codec::Raw, _) => Err(EncodeError::Shape("a raw block is bytes")),
        (Codec::DagPb, value) => pb::encode(value),
        (Codec::DagCbor, value) => cbor::encode(value),
        (Codec::DagJson, value) => json::encode(value),
    }
}

/// Returns a length as the number that is written for it.
fn len_of(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Reads a CID that fills `bytes` to the last byte in its only encoding.
pub(crate) fn whole_cid(bytes: &[u8]) -> Option<Cid> {
    let mut rest = bytes;
    let cid = Cid::read_bytes(&mut rest).ok()?;
    (rest.is_empty() && cid.encoded_len() == bytes.len()).then_some(cid)
}

#[cfg(test)]
mod tests;
