//! How messages and blocks follow each other on a stream.
//!
//! A frame starts with one byte that names its type. A control frame is `01`, the length as unsigned varint
//! and that many bytes of DAG-CBOR. A block frame is a fixed header of 48 bytes, which starts with `02`, and the
//! payload as it is: block bytes are never wrapped in CBOR, which costs more than the encryption does.

use bytes::Bytes as Buf;
use cid::Cid;
use pop_dag::MAX_BLOCK;
use pop_units::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{WireError, limit};

const CONTROL: u8 = 1;
const BLOCK: u8 = 2;
/// A varint of the longest control frame has three bytes; a longer one is a mistake or an attack.
const LENGTH_MAX: usize = 3;

/// Appends `message` to `out` as a control frame.
///
/// # Errors
/// The message cannot be written as DAG-CBOR or is over [`limit::CONTROL`].
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), WireError> {
    let body = serde_ipld_dagcbor::to_vec(message).map_err(|e| WireError::Malformed(e.to_string()))?;
    check("control frame", Bytes::of(&body).get(), limit::CONTROL)?;
    out.push(CONTROL);
    out.extend_from_slice(unsigned_varint::encode::usize(
        body.len(),
        &mut unsigned_varint::encode::usize_buffer(),
    ));
    out.extend_from_slice(&body);
    Ok(())
}

/// Reads the message of a control frame's body.
///
/// # Errors
/// The bytes are no canonical DAG-CBOR of a `T`, or more follow.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
    serde_ipld_dagcbor::from_slice(body).map_err(|e| WireError::Malformed(e.to_string()))
}

fn check(what: &'static str, len: u64, limit: Bytes) -> Result<(), WireError> {
    if len > limit.get() {
        return Err(WireError::TooLong { what, len, limit: limit.get() });
    }
    Ok(())
}

/// What stands before a block's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Which CID prefix the digest belongs to; see [`BlockHeader::of`].
    pub prefix: u16,
    /// Length of the payload.
    pub len: u32,
    /// Place of the block in the order of this deal, the skipped ones included.
    pub seq: u64,
    /// The first 32 bytes of the multihash digest, padded with zeros.
    pub digest: [u8; 32],
}

impl BlockHeader {
    /// Bytes of a header: type, flags, prefix, length, sequence, digest.
    pub const LEN: usize = 48;
    /// The prefix of a CID that the table does not have; the receiver knows the CID from the parent anyway.
    pub const OTHER: u16 = u16::MAX;
    /// Prefixes that have a number: version, codec and hash function, digests of 32 bytes.
    const PREFIXES: [(u64, u64, u64); 9] = [
        (1, 0x55, 0x12),
        (1, 0x70, 0x12),
        (1, 0x71, 0x12),
        (1, 0x0129, 0x12),
        (0, 0x70, 0x12),
        (1, 0x55, 0xb220),
        (1, 0x70, 0xb220),
        (1, 0x71, 0xb220),
        (1, 0x0129, 0xb220),
    ];

    /// Returns the header of a block of `len` bytes at place `seq`.
    pub fn of(cid: &Cid, len: u32, seq: u64) -> Self {
        let hash = cid.hash();
        let key = (u64::from(cid.version()), cid.codec(), hash.code());
        let known = Self::PREFIXES.iter().position(|p| *p == key && hash.digest().len() == 32);
        let prefix = known.and_then(|at| u16::try_from(at).ok()).unwrap_or(Self::OTHER);
        let mut digest = [0; 32];
        let taken = hash.digest().len().min(32);
        digest[..taken].copy_from_slice(&hash.digest()[..taken]);
        Self { prefix, len, seq, digest }
    }

    /// Returns the bytes that go on the wire.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[0] = BLOCK;
        out[2..4].copy_from_slice(&self.prefix.to_be_bytes());
        out[4..8].copy_from_slice(&self.len.to_be_bytes());
        out[8..16].copy_from_slice(&self.seq.to_be_bytes());
        out[16..].copy_from_slice(&self.digest);
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// A wrong type byte, a flag that is set, or a payload over [`MAX_BLOCK`].
    pub fn decode(bytes: &[u8; Self::LEN]) -> Result<Self, WireError> {
        let [kind, flags, p0, p1, l0, l1, l2, l3, rest @ ..] = bytes;
        if *kind != BLOCK {
            return Err(WireError::UnknownFrame { kind: *kind });
        }
        if *flags != 0 {
            return Err(WireError::BadHeader("flags are set"));
        }
        let len = u32::from_be_bytes([*l0, *l1, *l2, *l3]);
        check("block", u64::from(len), MAX_BLOCK)?;
        let (mut seq, mut digest) = ([0; 8], [0; 32]);
        seq.copy_from_slice(&rest[..8]);
        digest.copy_from_slice(&rest[8..]);
        Ok(Self { prefix: u16::from_be_bytes([*p0, *p1]), len, seq: u64::from_be_bytes(seq), digest })
    }
}

/// One frame off a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The DAG-CBOR of a message, for [`decode`].
    Control(Vec<u8>),
    /// A block and its payload, not verified.
    Block(BlockHeader, Buf),
}

/// Cuts a stream into frames, asking for exactly the bytes that the current frame lacks.
///
/// The caller reads into [`Decoder::room`] and says how much came with [`Decoder::filled`]; a payload is thus
/// written once, into the buffer in which it stays.
#[derive(Debug)]
pub struct Decoder {
    limit: Bytes,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Type byte, then a varint or the rest of a header.
    Head {
        bytes: [u8; BlockHeader::LEN],
        have: usize,
        want: usize,
    },
    Control {
        body: Vec<u8>,
        have: usize,
    },
    Block {
        header: BlockHeader,
        body: Vec<u8>,
        have: usize,
    },
}

impl State {
    const START: Self = Self::Head { bytes: [0; BlockHeader::LEN], have: 0, want: 1 };
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(limit::CONTROL)
    }
}

impl Decoder {
    /// Returns a decoder that refuses control frames above `limit`.
    pub const fn new(limit: Bytes) -> Self {
        Self { limit, state: State::START }
    }

    /// Returns true between two frames: a stream may end here.
    pub const fn is_at_boundary(&self) -> bool {
        matches!(self.state, State::Head { have: 0, .. })
    }

    /// Returns where the next bytes of the stream belong. Never empty.
    pub fn room(&mut self) -> &mut [u8] {
        match &mut self.state {
            State::Head { bytes, have, want } => &mut bytes[*have..*want],
            State::Control { body, have } | State::Block { body, have, .. } => &mut body[*have..],
        }
    }

    /// Takes note that the first `count` bytes of [`Decoder::room`] are filled, and returns the frame that
    /// they complete.
    ///
    /// # Errors
    /// The bytes are no frame; the stream is of no more use.
    pub fn filled(&mut self, count: usize) -> Result<Option<Frame>, WireError> {
        match &mut self.state {
            State::Head { have, want, .. } => *have = have.saturating_add(count).min(*want),
            State::Control { body, have } | State::Block { body, have, .. } => {
                *have = have.saturating_add(count).min(body.len());
            }
        }
        self.advance()
    }

    /// Copies from the front of `input` until a frame is complete or `input` is empty.
    ///
    /// # Errors
    /// As [`Decoder::filled`].
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, WireError> {
        while !input.is_empty() {
            let room = self.room();
            let count = room.len().min(input.len());
            room[..count].copy_from_slice(&input[..count]);
            *input = &input[count..];
            if let Some(frame) = self.filled(count)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    fn advance(&mut self) -> Result<Option<Frame>, WireError> {
        if let State::Head { bytes, have, want } = &mut self.state {
            if have < want {
                return Ok(None);
            }
            match (bytes[0], *have) {
                (BLOCK, BlockHeader::LEN) => {
                    let header = BlockHeader::decode(bytes)?;
                    let body = vec![0; Bytes::new(u64::from(header.len)).as_usize()];
                    self.state = State::Block { header, body, have: 0 };
                }
                (BLOCK, _) => *want = BlockHeader::LEN,
                (CONTROL, 1) => *want = 2,
                (CONTROL, have) if bytes[have - 1] & 0x80 != 0 => {
                    if have > LENGTH_MAX {
                        return Err(WireError::BadLength);
                    }
                    *want = have + 1;
                }
                (CONTROL, have) => {
                    let (len, _) =
                        unsigned_varint::decode::u64(&bytes[1..have]).map_err(|_| WireError::BadLength)?;
                    check("control frame", len, self.limit)?;
                    self.state = State::Control { body: vec![0; Bytes::new(len).as_usize()], have: 0 };
                }
                (kind, _) => return Err(WireError::UnknownFrame { kind }),
            }
        }
        Ok(self.take_full())
    }

    fn take_full(&mut self) -> Option<Frame> {
        let is_full = match &self.state {
            State::Head { .. } => false,
            State::Control { body, have } | State::Block { body, have, .. } => *have == body.len(),
        };
        if !is_full {
            return None;
        }
        match std::mem::replace(&mut self.state, State::START) {
            State::Head { .. } => None,
            State::Control { body, .. } => Some(Frame::Control(body)),
            State::Block { header, body, .. } => Some(Frame::Block(header, Buf::from(body))),
        }
    }
}
