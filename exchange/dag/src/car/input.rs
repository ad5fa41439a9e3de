//! A reader that knows how far it is, and asks for no more memory than its caller has bounded.

use std::io::{self, BufRead, BufReader, Read};

use pop_units::Bytes;

use super::CarError;

/// Lengths are read byte by byte; blocks of this size and more pass the buffer by.
pub(super) const BUFFER: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Input<R> {
    input: BufReader<R>,
    pub(super) offset: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(BUFFER, input), offset: 0 }
    }

    /// Reads a varint; `None` when the input ends before its first byte.
    pub(super) fn varint(&mut self) -> Result<Option<u64>, CarError> {
        let offset = self.offset;
        let mut bytes = [0; 10];
        for at in 0..bytes.len() {
            let Some(byte) = self.byte()? else {
                return if at == 0 { Ok(None) } else { Err(CarError::Truncated { offset: self.offset }) };
            };
            bytes[at] = byte;
            if byte & 0x80 == 0 {
                let taken = crate::codec::proto::take_varint(&bytes[..=at]);
                return taken.map(|(value, _)| Some(value)).map_err(|_| CarError::Varint { offset });
            }
        }
        Err(CarError::Varint { offset })
    }

    fn byte(&mut self) -> Result<Option<u8>, CarError> {
        let byte = self.ahead()?.first().copied();
        if byte.is_some() {
            self.consume(1);
        }
        Ok(byte)
    }

    /// Reads `len` bytes; callers have bounded it.
    pub(super) fn exactly(&mut self, len: u64) -> Result<Vec<u8>, CarError> {
        let mut bytes = Vec::with_capacity(Bytes::new(len).as_usize());
        let whole = self.append(len, &mut bytes)?;
        if whole { Ok(bytes) } else { Err(CarError::Truncated { offset: self.offset }) }
    }

    /// Reads `len` bytes to the end of `bytes`; returns false when the input ends before.
    pub(super) fn append(&mut self, len: u64, bytes: &mut Vec<u8>) -> Result<bool, CarError> {
        let before = Bytes::of(bytes).get();
        let read = self.input.by_ref().take(len).read_to_end(bytes);
        let read = read.map(|_| Bytes::of(bytes).get() - before);
        let read = read.map_err(|source| CarError::Read { offset: self.offset, source })?;
        self.offset = self.offset.saturating_add(read);
        Ok(read == len)
    }

    pub(super) fn skip(&mut self, len: u64) -> Result<(), CarError> {
        let mut left = len;
        while left > 0 {
            let ahead = Bytes::of(self.ahead()?).get().min(left);
            if ahead == 0 {
                return Err(CarError::Truncated { offset: self.offset });
            }
            self.consume(Bytes::new(ahead).as_usize());
            left -= ahead;
        }
        Ok(())
    }

    /// Returns what is at hand, empty at the end.
    pub(super) fn ahead(&mut self) -> Result<&[u8], CarError> {
        let offset = self.offset;
        // Twice, because the borrow checker lets no borrow out of a loop that may go round again.
        while let Err(source) = self.input.fill_buf() {
            if source.kind() != io::ErrorKind::Interrupted {
                return Err(CarError::Read { offset, source });
            }
        }
        Ok(self.input.buffer())
    }

    pub(super) fn consume(&mut self, len: usize) {
        self.input.consume(len);
        self.offset = self.offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }
}
