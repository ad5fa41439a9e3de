//! What the bytes of a block mean: codecs and the links inside.

pub mod cbor;
pub mod pb;
pub(crate) mod proto;

use cid::Cid;

/// The codecs that content is made of here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Plain bytes without links.
    Raw,
    /// The protobuf form of UnixFS.
    DagPb,
    /// CBOR with links.
    DagCbor,
    /// JSON with links; named, but its links are not read.
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
}

impl From<cbor::Fault> for CodecError {
    fn from(fault: cbor::Fault) -> Self {
        Self::Cbor(fault)
    }
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
        Some(Codec::DagJson) | None => Err(CodecError::Unsupported(cid.codec())),
    }
}

/// Reads a CID that fills `bytes` to the last byte in its only encoding.
pub(crate) fn whole_cid(bytes: &[u8]) -> Option<Cid> {
    let mut rest = bytes;
    let cid = Cid::read_bytes(&mut rest).ok()?;
    (rest.is_empty() && cid.encoded_len() == bytes.len()).then_some(cid)
}

#[cfg(test)]
mod tests;
