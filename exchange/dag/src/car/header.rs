//! The two headers: a dag-cbor map of version and roots, and the fixed one of version 2 around it.

use std::io::Read;

use cid::Cid;
use serde::{Deserialize, Serialize};

use super::input::Input;
use super::{CarError, MAX_HEADER};

/// What version 2 starts with: the length and the map `{"version": 2}` in their only encoding.
pub(super) const PRAGMA: [u8; 11] = *b"\x0a\xa1\x67version\x02";
/// Characteristics of 16 bytes, then offset and size of the data and offset of the index.
const FIXED: usize = 40;
/// Where the data of an archive without padding start.
pub(super) const DATA_OFFSET: u64 = 51;
/// Where the three numbers of the fixed header stand in an archive.
const DATA_OFFSET_AT: u64 = 27;
const DATA_SIZE_AT: u64 = 35;
const INDEX_OFFSET_AT: u64 = 43;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) roots: Option<Vec<Cid>>,
    pub(super) version: u64,
}

/// Reads a header that must end at `end` or before.
pub(super) fn read<R: Read>(input: &mut Input<R>, end: u64) -> Result<Header, CarError> {
    let offset = input.offset;
    let fault = |reason| CarError::Header { offset, reason };
    let len = input.varint()?.ok_or(CarError::Truncated { offset })?;
    if len == 0 || len > MAX_HEADER.get() {
        return Err(fault("impossible length"));
    }
    if input.offset.checked_add(len).is_none_or(|after| after > end) {
        return Err(fault("longer than the data that hold it"));
    }
    let bytes = input.exactly(len)?;
    crate::codec::cbor::links(&bytes).map_err(|_| fault("not strict dag-cbor"))?;
    serde_ipld_dagcbor::from_slice(&bytes).map_err(|_| fault("not the dag-cbor map of an archive"))
}

/// Reads the fixed header of version 2 and skips to its data; returns where the data end.
///
/// The characteristics say what the data are like, not how they are read; they and the index are passed over.
pub(super) fn enter_v2<R: Read>(input: &mut Input<R>) -> Result<u64, CarError> {
    let offset = input.offset;
    if offset != u64::try_from(PRAGMA.len()).unwrap_or(u64::MAX) {
        return Err(CarError::Header { offset: 0, reason: "not the 11 bytes that version 2 starts with" });
    }
    let bytes = input.exactly(u64::try_from(FIXED).unwrap_or(u64::MAX))?;
    let number = |at: usize| {
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(number)
    };
    let (start, size, index) = (number(16), number(24), number(32));
    let padding = start.checked_sub(DATA_OFFSET).ok_or(CarError::Layout {
        offset: DATA_OFFSET_AT,
        value: start,
        reason: "the data would start inside the header",
    })?;
    let size_fault = |reason| CarError::Layout { offset: DATA_SIZE_AT, value: size, reason };
    if size == 0 {
        return Err(size_fault("data hold at least a header"));
    }
    let end = start.checked_add(size).ok_or_else(|| size_fault("the data would end beyond 64 bits"))?;
    if index != 0 && index < end {
        let reason = "the index would start inside the data";
        return Err(CarError::Layout { offset: INDEX_OFFSET_AT, value: index, reason });
    }
    input.skip(padding)?;
    Ok(end)
}

/// Returns pragma and fixed header around data of `size` bytes that an index follows at once.
pub(super) fn v2(size: u64) -> Option<[u8; 51]> {
    let index = DATA_OFFSET.checked_add(size)?;
    let mut bytes = [0; 51];
    bytes[..11].copy_from_slice(&PRAGMA);
    bytes[27..35].copy_from_slice(&DATA_OFFSET.to_le_bytes());
    bytes[35..43].copy_from_slice(&size.to_le_bytes());
    bytes[43..].copy_from_slice(&index.to_le_bytes());
    Some(bytes)
}
