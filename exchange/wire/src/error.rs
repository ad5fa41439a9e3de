//! What bytes from a peer can be besides a message.

/// Bytes that are no message of this protocol. Always the sender's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The first byte of a frame names no frame type.
    #[error("unknown frame type {kind:#04x}")]
    UnknownFrame {
        /// The byte.
        kind: u8,
    },
    /// A length is above what this protocol allows.
    #[error("{what} of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// A length is written in more bytes than it needs, or in too many.
    #[error("length of a frame is no minimal varint")]
    BadLength,
    /// The bytes are no canonical DAG-CBOR of the message that is due.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// A block header with flags or fields that this version does not know.
    #[error("malformed block header: {0}")]
    BadHeader(&'static str),
    /// A message that is well formed but states something impossible.
    #[error("impossible message: {0}")]
    Impossible(&'static str),
}
