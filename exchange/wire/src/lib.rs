//! Every byte that a node sends to a peer: messages, frames, limits and protocol ids.
//!
//! One place decides what the wire looks like, so that a change of it shows in one folder and in the golden
//! files of `testdata/wire`. Nothing here does I/O: bytes are handed in and frames come out.

pub mod dispatch;
mod error;
mod frame;
mod id;
pub mod limit;
pub mod offer;
pub mod query;
mod text;
pub mod transfer;

pub use crate::error::WireError;
pub use crate::frame::{BlockHeader, Decoder, Frame, decode, encode};
pub use crate::id::{DealId, ProofKey, RequestId, Token};
pub use crate::text::Reason;

/// One paid or free transfer per substream: `transfer::Up` one way, `transfer::Down` and blocks the other.
pub const TRANSFER: &str = "/pop/transfer/1.0.0";
/// One `offer::Talk` exchange: an offer handed over, or a direct question and its answer.
pub const OFFER: &str = "/pop/offer/1.0.0";
/// One request to keep a copy: `dispatch::Talk` both ways.
pub const DISPATCH: &str = "/pop/dispatch/1.0.0";

const QUERY_TOPIC: &str = "/pop/query/1.0.0/";

/// Returns the gossip topic that carries the queries of a region.
pub fn query_topic(region: &str) -> String {
    format!("{QUERY_TOPIC}{region}")
}

/// Returns the region whose queries a gossip topic carries.
pub fn region_of(topic: &str) -> Option<&str> {
    topic.strip_prefix(QUERY_TOPIC).filter(|region| !region.is_empty())
}

#[cfg(test)]
mod tests;
