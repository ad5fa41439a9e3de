//! The control frames of [`crate::DISPATCH`]: asking a peer to keep a copy.

use cid::Cid;
use pop_units::Bytes;
use serde::{Deserialize, Serialize};

use crate::query::too_long;
use crate::{ProofKey, Reason, RequestId, Token, WireError, limit};

/// A request to keep a copy of a whole DAG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Names the request.
    pub req_id: RequestId,
    /// The root.
    pub root: Cid,
    /// What the asker says it is; serves to refuse early, the bytes are counted when they come.
    pub size: Bytes,
    /// Lets the peer pull the DAG once, free of charge.
    pub token: Token,
    /// The key that the proof must be made with.
    pub key: ProofKey,
    /// The region that the copy is for.
    pub region: String,
}

impl Request {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// The region's name is over its limit.
    pub fn check(&self) -> Result<(), WireError> {
        if self.region.len() > limit::REGION {
            return Err(too_long("name of a region", self.region.len(), limit::REGION));
        }
        Ok(())
    }
}

/// The frames of a dispatch, in the order in which they may come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Talk {
    /// From the asker, first.
    Request(Request),
    /// From the peer: it pulls now, and `Done` or `Refused` follows.
    Accepted,
    /// From the peer: it has the DAG already.
    Have {
        /// Shows that it does.
        #[serde(with = "serde_bytes")]
        proof: [u8; 32],
    },
    /// From the peer: no, or no more.
    Refused {
        /// In words.
        why: Reason,
    },
    /// From the peer: it has pulled and stored the DAG.
    Done {
        /// Shows that it has.
        #[serde(with = "serde_bytes")]
        proof: [u8; 32],
    },
}
