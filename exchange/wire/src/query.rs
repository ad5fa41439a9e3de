//! The question that a node gossips: who has this, at what price.

use cid::Cid;
use multiaddr::Multiaddr;
use pop_dag::Scope;
use pop_units::PricePerByte;
use serde::{Deserialize, Serialize};

use crate::{RequestId, WireError, frame, limit};

/// The version of [`Query`] that this crate speaks.
pub const VERSION: u8 = 1;

/// A question for content. On gossip it is a bare DAG-CBOR map: the message already has an author and a length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// [`VERSION`].
    pub v: u8,
    /// Random; inside the payload, so that the same question asked again is a new message.
    pub req_id: RequestId,
    /// The content's root.
    pub root: Cid,
    /// Which part of it.
    pub scope: Scope,
    /// The most that the asker pays; nothing above is worth an answer.
    pub max_price: PricePerByte,
    /// How long the asker listens, in seconds.
    pub ttl_s: u16,
    /// Where the asker can be dialled.
    pub reply_addrs: Vec<Multiaddr>,
    /// The chain that the asker can pay on.
    pub chain: String,
}

impl Query {
    /// Returns the bytes for gossip.
    ///
    /// # Errors
    /// The query is over the limits.
    pub fn to_gossip(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        let bytes = serde_ipld_dagcbor::to_vec(self).map_err(|e| WireError::Malformed(e.to_string()))?;
        if bytes.len() > limit::QUERY.as_usize() {
            return Err(too_long("query", bytes.len(), limit::QUERY.as_usize()));
        }
        Ok(bytes)
    }

    /// Reads the bytes of a gossip message.
    ///
    /// # Errors
    /// The bytes are no query of this version, or over the limits.
    pub fn from_gossip(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > limit::QUERY.as_usize() {
            return Err(too_long("query", bytes.len(), limit::QUERY.as_usize()));
        }
        let query: Self = frame::decode(bytes)?;
        query.check()?;
        Ok(query)
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    /// A wrong version, or a list or text over its limit.
    pub fn check(&self) -> Result<(), WireError> {
        if self.v != VERSION {
            return Err(WireError::Impossible("unknown version of a query"));
        }
        if self.reply_addrs.len() > limit::REPLY_ADDRS {
            return Err(too_long("list of addresses", self.reply_addrs.len(), limit::REPLY_ADDRS));
        }
        check_chain(&self.chain)?;
        check_scope(&self.scope)
    }
}

pub(crate) fn check_chain(chain: &str) -> Result<(), WireError> {
    if chain.len() > limit::CHAIN {
        return Err(too_long("name of a chain", chain.len(), limit::CHAIN));
    }
    if !chain.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(WireError::Impossible("name of a chain is no plain word"));
    }
    Ok(())
}

pub(crate) fn check_scope(scope: &Scope) -> Result<(), WireError> {
    if scope.path.len() > limit::PATH_SEGMENTS {
        return Err(too_long("path", scope.path.len(), limit::PATH_SEGMENTS));
    }
    match scope.path.iter().find(|segment| segment.len() > limit::PATH_SEGMENT) {
        Some(segment) => Err(too_long("path segment", segment.len(), limit::PATH_SEGMENT)),
        None => Ok(()),
    }
}

pub(crate) fn too_long(what: &'static str, len: usize, limit: usize) -> WireError {
    let wide = |n| u64::try_from(n).unwrap_or(u64::MAX);
    WireError::TooLong { what, len: wide(len), limit: wide(limit) }
}
