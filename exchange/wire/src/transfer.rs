//! The control frames of [`crate::TRANSFER`]: one deal per substream.

use cid::Cid;
use pop_dag::Scope;
use pop_keys::Address;
use pop_units::{AttoFil, Bytes};
use serde::{Deserialize, Serialize};

use crate::offer::SignedOffer;
use crate::query::{check_scope, too_long};
use crate::{DealId, Reason, Token, WireError, limit};

/// What lets the client have the blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// The provider's own promise.
    Offer(Box<SignedOffer>),
    /// The provider asked this client to keep a copy, free of charge.
    Token(Token),
}

/// The first frame of a deal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Names the deal.
    pub deal: DealId,
    /// Why the blocks are due.
    pub grant: Grant,
    /// The content's root.
    pub root: Cid,
    /// Which part of it.
    pub scope: Scope,
    /// How many blocks of the traversal the client already holds: they are not sent again.
    pub skip: u64,
    /// The payment channel, unless the price is zero.
    pub channel: Option<Address>,
    /// Payload bytes that may be sent at once; more with each `Credit`.
    pub credit: Bytes,
}

/// What the client sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Up {
    /// Starts the deal.
    Open(Box<Open>),
    /// A signed, cumulative voucher in its canonical bytes.
    Voucher {
        /// The bytes.
        #[serde(with = "serde_bytes")]
        voucher: Vec<u8>,
    },
    /// So many more payload bytes may be sent.
    Credit {
        /// The bytes.
        bytes: Bytes,
    },
    /// The client ends the deal.
    Cancel {
        /// Why.
        why: Reason,
    },
}

impl Up {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// A list, text or number over its limit.
    pub fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Open(open) => {
                check_scope(&open.scope)?;
                check_credit(open.credit)?;
                match &open.grant {
                    Grant::Offer(signed) => signed.offer.check(),
                    Grant::Token(_) => Ok(()),
                }
            }
            Self::Voucher { voucher } if voucher.len() > limit::VOUCHER => {
                Err(too_long("voucher", voucher.len(), limit::VOUCHER))
            }
            Self::Credit { bytes } if bytes.is_zero() => Err(WireError::Impossible("a credit of nothing")),
            Self::Credit { bytes } => check_credit(*bytes),
            Self::Voucher { .. } | Self::Cancel { .. } => Ok(()),
        }
    }
}

fn check_credit(bytes: Bytes) -> Result<(), WireError> {
    if bytes > limit::CREDIT_MAX {
        return Err(WireError::TooLong { what: "credit", len: bytes.get(), limit: limit::CREDIT_MAX.get() });
    }
    Ok(())
}

/// Why a provider does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// The offer is void: forged, expired, or for something else.
    Offer,
    /// The authorisation is unknown, used, expired, or bound to another peer or root.
    Token,
    /// The content is not here, or not all of it.
    NotHere,
    /// Too many deals at once.
    Busy,
    /// The channel is unknown, settling, or belongs to somebody else.
    Channel,
    /// The voucher is not acceptable.
    Voucher,
    /// Earlier deals were left unpaid.
    Unpaid,
    /// The client broke the protocol.
    Protocol,
    /// The client said nothing for too long.
    Silence,
    /// Something failed at the provider.
    Internal,
}

/// What the provider sends, besides blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Down {
    /// The deal is on; blocks follow.
    Accept {
        /// The deal.
        deal: DealId,
    },
    /// Nothing more comes before this is paid.
    PaymentDue {
        /// Payload bytes sent in this deal.
        sent: Bytes,
        /// What they cost, less what was paid.
        owed: AttoFil,
    },
    /// The deal is over, not done.
    Refused {
        /// What kind.
        code: Refusal,
        /// In words.
        why: Reason,
    },
    /// Every block in scope was sent; the last payment is due.
    End {
        /// Blocks sent in this deal.
        blocks: u64,
        /// Payload bytes sent in this deal.
        sent: Bytes,
    },
    /// The deal is paid; the last frame.
    Receipt {
        /// What was paid in this deal.
        paid: AttoFil,
    },
}
