//! The bytes of one record in a segment file. This format is final: a change needs a new version byte.
//!
//! A segment file is a plain sequence of records, the first at offset 0, each at a multiple of 8. All
//! integers are little-endian.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | magic, `POPB` |
//! | 4 | 1 | version, 1 |
//! | 5 | 1 | kind: 1 put, 2 tombstone; readers step over others |
//! | 6 | 1 | length of the multihash in bytes |
//! | 7 | 1 | flags: bit 0 set when the multihash is longer than 40 bytes; the others are zero in version 1 |
//! | 8 | 4 | length of the payload in bytes; 0 for a tombstone |
//! | 12 | 4 | CRC-32C over payload, then the rest of the multihash, then the header with this field zero |
//! | 16 | 8 | sequence number, over all segments of a store; the highest wins per multihash |
//! | 24 | 40 | the multihash, or its first 40 bytes; filled up with zeros |
//! | 64 | n | with flag bit 0: the rest of the multihash |
//! | 64 + n | payload length | the payload |
//! | | 0 to 7 | zeros up to a multiple of 8, not covered by the CRC |
//!
//! The CRC runs over the payload first so that it can be computed before the writer lock is taken; the
//! sequence number is only known under it. A record that is moved to another segment keeps its number, so
//! numbers need not rise inside a segment. The key is the multihash alone: one copy serves every codec.

use crate::bytes_at::{field, index, u32_at, u64_at};

/// Length of the fixed header.
pub(crate) const HEADER: u64 = 64;
/// As [`HEADER`], for buffers.
pub(crate) const HEADER_LEN: usize = 64;
/// Multihash bytes inside the header.
const INLINE: usize = 40;
const MAGIC: [u8; 4] = *b"POPB";
const VERSION: u8 = 1;
const LONG_MULTIHASH: u8 = 1;
/// Far over any block; a larger length is a sign of damage, not a reason to allocate.
const MAX_PAYLOAD: u32 = 16 << 20;

/// The kind of a stored block.
pub(crate) const PUT: u8 = 1;
/// The kind of a record that says a block is gone.
pub(crate) const TOMBSTONE: u8 = 2;

/// Returns the bytes a record takes in its segment.
pub(crate) fn span(multihash_len: usize, payload_len: u32) -> u64 {
    let rest = u64::try_from(multihash_len.saturating_sub(INLINE)).unwrap_or(0);
    (HEADER + rest + u64::from(payload_len)).next_multiple_of(8)
}

/// Returns the offset of the payload inside its record.
pub(crate) fn payload_at(multihash_len: usize) -> usize {
    HEADER_LEN + multihash_len.saturating_sub(INLINE)
}

/// A record about to be written.
pub(crate) struct Draft<'a> {
    kind: u8,
    multihash: &'a [u8],
    payload: &'a [u8],
    payload_crc: u32,
}

impl<'a> Draft<'a> {
    /// Prepares a block; hashes the payload for the CRC.
    pub(crate) fn put(multihash: &'a [u8], payload: &'a [u8]) -> Self {
        Self { kind: PUT, multihash, payload, payload_crc: crc32c::crc32c(payload) }
    }

    /// Prepares the note that a block is gone.
    pub(crate) fn tombstone(multihash: &'a [u8]) -> Self {
        Self { kind: TOMBSTONE, multihash, payload: &[], payload_crc: crc32c::crc32c(&[]) }
    }

    pub(crate) fn is_put(&self) -> bool {
        self.kind == PUT
    }

    pub(crate) fn payload(&self) -> &'a [u8] {
        self.payload
    }

    pub(crate) fn payload_len(&self) -> u32 {
        u32::try_from(self.payload.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn span(&self) -> u64 {
        span(self.multihash.len(), self.payload_len())
    }

    /// Returns what stands before the payload: the header and the rest of a long multihash.
    pub(crate) fn head(&self, seq: u64) -> Vec<u8> {
        let (inline, rest) = self.multihash.split_at(self.multihash.len().min(INLINE));
        let mut head = Vec::with_capacity(HEADER_LEN + rest.len());
        head.extend_from_slice(&MAGIC);
        let flags = if rest.is_empty() { 0 } else { LONG_MULTIHASH };
        let multihash_len = u8::try_from(self.multihash.len()).unwrap_or(u8::MAX);
        head.extend_from_slice(&[VERSION, self.kind, multihash_len, flags]);
        head.extend_from_slice(&self.payload_len().to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&seq.to_le_bytes());
        head.extend_from_slice(inline);
        head.resize(HEADER_LEN, 0);
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(self.payload_crc, rest), &head);
        head.splice(12..16, crc.to_le_bytes());
        head.extend_from_slice(rest);
        head
    }
}

/// A header read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: u8,
    pub(crate) multihash_len: usize,
    pub(crate) payload_len: u32,
    pub(crate) seq: u64,
    crc: u32,
    raw: [u8; HEADER_LEN],
}

impl Header {
    /// Reads a header; `None` when the bytes are none, whatever they are.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let raw: [u8; HEADER_LEN] = bytes.get(..HEADER_LEN)?.try_into().ok()?;
        let [version, kind, multihash_len, flags] = field(&raw, 4);
        let multihash_len = usize::from(multihash_len);
        let long = multihash_len > INLINE;
        let payload_len = u32_at(&raw, 8);
        let sound = raw.starts_with(&MAGIC)
            && version == VERSION
            && kind != 0
            && multihash_len > 0
            && flags == u8::from(long)
            && payload_len <= MAX_PAYLOAD;
        sound.then(|| Self {
            kind,
            multihash_len,
            payload_len,
            seq: u64_at(&raw, 16),
            crc: u32_at(&raw, 12),
            raw,
        })
    }

    pub(crate) fn span(&self) -> u64 {
        span(self.multihash_len, self.payload_len)
    }

    /// Returns the length of what follows the header, without the padding.
    pub(crate) fn body_len(&self) -> u64 {
        let rest = u64::try_from(self.multihash_len.saturating_sub(INLINE)).unwrap_or(0);
        rest + u64::from(self.payload_len)
    }

    /// Splits what follows the header into the rest of the multihash and the payload.
    fn split<'a>(&self, body: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let (rest, payload) = body.split_at_checked(self.multihash_len.saturating_sub(INLINE))?;
        Some((rest, payload.get(..index(u64::from(self.payload_len)))?))
    }

    /// Returns the multihash and the payload when the CRC holds over them.
    pub(crate) fn check<'a>(&self, body: &'a [u8]) -> Option<(Vec<u8>, &'a [u8])> {
        let (rest, payload) = self.split(body)?;
        let mut head = self.raw;
        head.get_mut(12..16)?.fill(0);
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(payload), rest), &head);
        (crc == self.crc).then(|| (self.multihash(rest), payload))
    }

    /// Returns the whole multihash, given the part of it that follows the header.
    pub(crate) fn multihash(&self, rest: &[u8]) -> Vec<u8> {
        [self.inline(), rest].concat()
    }

    /// Returns the part of the multihash that is inside the header.
    fn inline(&self) -> &[u8] {
        self.raw.get(24..24 + self.multihash_len.min(INLINE)).unwrap_or(&[])
    }

    /// Returns true when this is the record of `multihash` with a payload of `len` bytes.
    pub(crate) fn is_of(&self, multihash: &[u8], len: u32, after: &[u8]) -> bool {
        let rest = after.get(..self.multihash_len.saturating_sub(INLINE)).unwrap_or(&[]);
        let is_equal = multihash.len() == self.multihash_len
            && multihash.starts_with(self.inline())
            && multihash.ends_with(rest);
        self.kind == PUT && self.payload_len == len && is_equal
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bytes_at::length;

    fn record(draft: &Draft<'_>, seq: u64) -> Vec<u8> {
        let mut bytes = draft.head(seq);
        bytes.extend_from_slice(draft.payload());
        bytes.resize(index(draft.span()), 0);
        bytes
    }

    #[test]
    fn the_bytes_of_a_record_are_these() {
        let multihash: Vec<u8> = (0x12..0x12 + 34).collect();
        let bytes = record(&Draft::put(&multihash, b"hello"), 7);
        assert_eq!(bytes.len(), 72);
        let mut expected = b"POPB\x01\x01\x22\x00\x05\0\0\0".to_vec();
        expected.extend_from_slice(&bytes[12..16]);
        expected.extend_from_slice(&7u64.to_le_bytes());
        expected.extend_from_slice(&multihash);
        expected.extend_from_slice(&[0; 6]);
        expected.extend_from_slice(b"hello\0\0\0");
        assert_eq!(bytes, expected);
        let mut covered = b"hello".to_vec();
        covered.extend_from_slice(&bytes[..12]);
        covered.extend_from_slice(&[0; 4]);
        covered.extend_from_slice(&bytes[16..64]);
        assert_eq!(u32_at(&bytes, 12), crc32c::crc32c(&covered));
    }

    proptest! {
        #[test]
        fn reading_undoes_writing(
            multihash in prop::collection::vec(any::<u8>(), 1..80),
            payload in prop::collection::vec(any::<u8>(), 0..200),
            seq in any::<u64>(),
        ) {
            let bytes = record(&Draft::put(&multihash, &payload), seq);
            let header = Header::parse(&bytes).unwrap();
            prop_assert_eq!(header.span(), length(&bytes));
            prop_assert_eq!(header.seq, seq);
            let (key, data) = header.check(&bytes[64..]).unwrap();
            prop_assert_eq!(&key, &multihash);
            prop_assert_eq!(data, &payload[..]);
            let len = u32::try_from(payload.len()).unwrap();
            prop_assert!(header.is_of(&multihash, len, &bytes[64..]));
        }

        #[test]
        fn one_flipped_bit_is_noticed(
            payload in prop::collection::vec(any::<u8>(), 0..60),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut bytes = record(&Draft::put(&[7; 50], &payload), 3);
            let covered = 64 + 10 + payload.len();
            let at = at.index(covered);
            bytes[at] ^= 1 << bit;
            let sound = Header::parse(&bytes).is_some_and(|header| header.check(&bytes[64..]).is_some());
            prop_assert!(!sound);
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(header) = Header::parse(&bytes) {
                let _ = header.check(bytes.get(64..).unwrap_or(&[]));
            }
        }
    }
}
