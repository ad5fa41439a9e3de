//! Content as verified blocks: codecs, links, the one walk over a DAG, UnixFS files and CAR archives.
//!
//! Everything that hashes, parses or orders blocks lives here, so that a server, its client and a proof of
//! storage agree byte for byte. Nothing here opens a socket, reads a clock or knows what a payment is; only
//! [`unixfs`] touches files, and only those it was pointed at.

mod block;
pub mod car;
pub mod codec;
pub mod proof;
mod source;
pub mod unixfs;
pub mod walk;

pub use bytes::Bytes as Buf;
pub use cid::Cid;
pub use cid::multibase::Base;

pub use crate::block::{Block, BlockError, MAX_BLOCK, identity, is_leaf};
pub use crate::codec::{Codec, CodecError, Value, links};
pub use crate::source::{BlockSink, BlockSource, Memory, SinkError, SourceError};
pub use crate::walk::{Scope, Selection, Walk, WalkError, What};
