//! A block: bytes that hash to their CID.
//!
//! The only way to hold a [`Block`] is to have hashed it, so nothing downstream checks again.

use bytes::Bytes as Buf;
use cid::Cid;
use multihash_codetable::{Code, MultihashDigest};
use pop_units::Bytes;

use crate::codec::{Codec, is_linkless};

/// The largest block that is read, sent or stored: what libp2p's block exchanges agree on.
pub const MAX_BLOCK: Bytes = Bytes::new(2 << 20);

/// The multihash code of "the digest is the data itself".
const IDENTITY: u64 = 0;

/// Bytes together with the CID they were checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    cid: Cid,
    data: Buf,
}

/// Why bytes are no block of the CID they came with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The bytes hash to something else.
    #[error("the bytes do not hash to {cid}")]
    Mismatch {
        /// The CID that was claimed.
        cid: Cid,
    },
    /// The block is above [`MAX_BLOCK`].
    #[error("block {cid} is {size}, more than {MAX_BLOCK}")]
    TooLarge {
        /// The CID that was claimed.
        cid: Cid,
        /// The size of the bytes.
        size: Bytes,
    },
    /// The hash function is unknown here, or can be broken.
    #[error("hash function 0x{code:x} of {cid} is not accepted")]
    Hash {
        /// The CID that was claimed.
        cid: Cid,
        /// The multihash code.
        code: u64,
    },
}

impl BlockError {
    /// Returns the CID that was claimed.
    pub const fn cid(&self) -> &Cid {
        match self {
            Self::Mismatch { cid } | Self::TooLarge { cid, .. } | Self::Hash { cid, .. } => cid,
        }
    }
}

impl Block {
    /// Hashes `data` and returns it as the block of `cid`.
    ///
    /// # Errors
    /// The data is too large, the hash function is not accepted, or the digest differs.
    pub fn verified(cid: Cid, data: Buf) -> Result<Self, BlockError> {
        let size = Bytes::of(&data);
        if size > MAX_BLOCK {
            return Err(BlockError::TooLarge { cid, size });
        }
        let code = cid.hash().code();
        let holds = match code {
            IDENTITY => cid.hash().digest() == data.as_ref(),
            _ => accepted(code).ok_or(BlockError::Hash { cid, code })?.digest(&data) == *cid.hash(),
        };
        if holds { Ok(Self { cid, data }) } else { Err(BlockError::Mismatch { cid }) }
    }

    /// Returns `data` as a CIDv1 block hashed with sha2-256.
    ///
    /// Meant for data made here: it does not look at [`MAX_BLOCK`].
    pub fn of(codec: Codec, data: Buf) -> Self {
        let cid = Cid::new_v1(codec.code(), Code::Sha2_256.digest(&data));
        Self { cid, data }
    }

    /// Returns `data` as a CIDv0 block, which is always dag-pb under sha2-256.
    pub(crate) fn of_v0(data: Buf) -> Self {
        let hash = Code::Sha2_256.digest(&data);
        let cid = Cid::new_v0(hash).expect("sha2-256 is the hash of version 0");
        Self { cid, data }
    }

    /// Returns the CID.
    pub const fn cid(&self) -> &Cid {
        &self.cid
    }

    /// Returns the payload.
    pub const fn data(&self) -> &Buf {
        &self.data
    }

    /// Returns the size of the payload.
    pub fn size(&self) -> Bytes {
        Bytes::of(&self.data)
    }

    /// Splits the block.
    pub fn into_parts(self) -> (Cid, Buf) {
        (self.cid, self.data)
    }
}

/// Returns the hash function of `code` if it is one that holds today.
fn accepted(code: u64) -> Option<Code> {
    let code = Code::try_from(code).ok()?;
    matches!(code, Code::Sha2_256 | Code::Sha2_512 | Code::Blake2b256 | Code::Blake2b512).then_some(code)
}

/// Returns the data that an identity CID carries in itself; `None` for any other CID.
pub fn identity(cid: &Cid) -> Option<&[u8]> {
    (cid.hash().code() == IDENTITY).then(|| cid.hash().digest())
}

/// Returns true for a CID whose block can have no links, so that a walk need not see its data.
pub fn is_leaf(cid: &Cid) -> bool {
    is_linkless(cid.codec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use multihash::Multihash;

    #[test]
    fn only_bytes_that_hash_to_the_cid_are_a_block() {
        let block = Block::of(Codec::Raw, Buf::from_static(b"hello"));
        let (cid, data) = block.clone().into_parts();
        assert_eq!(Block::verified(cid, data), Ok(block));
        assert_eq!(Block::verified(cid, Buf::from_static(b"hellp")), Err(BlockError::Mismatch { cid }));
    }

    #[test]
    fn strong_hash_functions_are_accepted_and_others_named() {
        for code in [Code::Sha2_256, Code::Sha2_512, Code::Blake2b256, Code::Blake2b512] {
            let cid = Cid::new_v1(Codec::Raw.code(), code.digest(b"x"));
            assert!(Block::verified(cid, Buf::from_static(b"x")).is_ok(), "{code:?}");
        }
        let sha1 = Cid::new_v1(Codec::Raw.code(), Multihash::wrap(0x11, &[0; 20]).unwrap());
        assert_eq!(Block::verified(sha1, Buf::new()), Err(BlockError::Hash { cid: sha1, code: 0x11 }));
    }

    #[test]
    fn a_shortened_digest_is_no_match() {
        let full = Code::Sha2_256.digest(b"x");
        let cid = Cid::new_v1(Codec::Raw.code(), Multihash::wrap(0x12, &full.digest()[..20]).unwrap());
        assert_eq!(Block::verified(cid, Buf::from_static(b"x")), Err(BlockError::Mismatch { cid }));
    }

    #[test]
    fn identity_carries_its_data() {
        let cid = Cid::new_v1(Codec::Raw.code(), Multihash::wrap(0, b"tiny").unwrap());
        assert_eq!(identity(&cid), Some(&b"tiny"[..]));
        assert!(Block::verified(cid, Buf::from_static(b"tiny")).is_ok());
        assert!(Block::verified(cid, Buf::from_static(b"tins")).is_err());
    }

    #[test]
    fn a_block_above_the_limit_is_refused() {
        let data = Buf::from(vec![0; MAX_BLOCK.as_usize() + 1]);
        let (cid, data) = Block::of(Codec::Raw, data).into_parts();
        assert!(matches!(Block::verified(cid, data), Err(BlockError::TooLarge { .. })));
    }
}
