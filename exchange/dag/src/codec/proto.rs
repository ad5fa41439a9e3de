//! The part of the protobuf wire format that dag-pb and UnixFS need.

use super::pb::Fault;

/// A field's payload.
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A fixed-width number: no field of ours, only skipped.
    Fixed,
}

/// Reads fields off the front of a message.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) const fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// Returns what was not read yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Returns the next field's number and payload; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, Fault> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| Fault::Truncated)?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Fault::WireType { field: tag >> 3 }),
        };
        Ok(Some((tag >> 3, value)))
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let (value, rest) = take_varint(self.0)?;
        self.0 = rest;
        Ok(value)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Fault::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// Reads one minimal varint that fits 64 bits.
pub(crate) fn take_varint(bytes: &[u8]) -> Result<(u64, &[u8]), Fault> {
    let (value, rest) = unsigned_varint::decode::u64(bytes).map_err(|error| match error {
        unsigned_varint::decode::Error::Insufficient => Fault::Truncated,
        _ => Fault::Varint,
    })?;
    let used = bytes.len() - rest.len();
    // The tenth byte carries bit 63 alone; the decoder drops what lies above.
    if used == 10 && bytes[9] > 1 {
        return Err(Fault::Varint);
    }
    Ok((value, rest))
}

pub(crate) fn put_varint(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(unsigned_varint::encode::u64(value, &mut unsigned_varint::encode::u64_buffer()));
}

pub(crate) fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3);
    put_varint(out, value);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, pop_units::Bytes::of(bytes).get());
    out.extend_from_slice(bytes);
}
