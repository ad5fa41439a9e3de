//! Why a deal ends before it is done.

use pop_dag::{Cid, WalkError};
use pop_units::{AttoFil, Bytes};
use pop_wire::transfer::Refusal;
use pop_wire::{Reason, WireError};

/// Why a deal ends before it is done. Unless said otherwise, the other side's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Bytes that are no message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A message that is not due in this state.
    #[error("{got} came while {state}")]
    OutOfTurn {
        /// What came.
        got: &'static str,
        /// What was going on.
        state: &'static str,
    },
    /// A block that is not the next one of the traversal.
    #[error("block {seq} is not {want}, which is due")]
    WrongBlock {
        /// Its place.
        seq: u64,
        /// What was due.
        want: Cid,
    },
    /// A block whose bytes do not hash to the CID that is due.
    #[error("bytes of block {seq} do not hash to {want}")]
    BadBlock {
        /// Its place.
        seq: u64,
        /// What was due.
        want: Cid,
    },
    /// A block after the last one of the scope.
    #[error("block {seq} is outside the scope")]
    Unwanted {
        /// Its place.
        seq: u64,
    },
    /// A block from which the traversal cannot go on. Only if its bytes do hash to the CID does this say
    /// something about the content.
    #[error("block {cid} cannot be traversed")]
    Traversal {
        /// The block.
        cid: Cid,
        /// Why.
        #[source]
        source: Box<WalkError>,
    },
    /// More bytes than were granted.
    #[error("{sent} sent, {granted} granted")]
    OverCredit {
        /// What came.
        sent: Bytes,
        /// What was allowed.
        granted: Bytes,
    },
    /// More bytes than were offered, or than there is a quota for.
    #[error("more than the {offered} that were offered")]
    Oversize {
        /// The limit.
        offered: Bytes,
    },
    /// More blocks than any honest tree of so many bytes has.
    #[error("{blocks} blocks in {bytes}")]
    TooManyBlocks {
        /// How many came.
        blocks: u64,
        /// What they carried.
        bytes: Bytes,
    },
    /// The end was announced before everything came.
    #[error("ended after {got} blocks and {bytes}, more is due")]
    Short {
        /// Blocks that came.
        got: u64,
        /// Bytes that came.
        bytes: Bytes,
    },
    /// More vouchers than any honest client needs.
    #[error("{vouchers} vouchers for {sent}")]
    TooManyVouchers {
        /// How many came.
        vouchers: u64,
        /// What went out.
        sent: Bytes,
    },
    /// The stream ended in the middle.
    #[error("connection closed in the middle of the deal")]
    Closed,
    /// The other side said nothing for too long.
    #[error("silent for {seconds} s")]
    Silence {
        /// How long.
        seconds: u64,
    },
    /// The other side takes too little to be worth a place.
    #[error("too slow: {sent} in {seconds} s")]
    TooSlow {
        /// What went out.
        sent: Bytes,
        /// How long it took.
        seconds: u64,
    },
    /// The provider does not go on.
    #[error("refused ({code:?}): {why}")]
    Refused {
        /// What kind.
        code: Refusal,
        /// In the peer's words.
        why: Reason,
    },
    /// The client does not go on.
    #[error("cancelled: {why}")]
    Cancelled {
        /// In the peer's words.
        why: Reason,
    },
    /// Paying would exceed what the caller allows. Nobody's fault.
    #[error("next payment would exceed the budget of {budget}")]
    Budget {
        /// The most that may be spent.
        budget: AttoFil,
    },
    /// A price that cannot be multiplied.
    #[error("price does not fit")]
    Price,
}

impl From<pop_units::Overflow> for Fault {
    fn from(_: pop_units::Overflow) -> Self {
        Self::Price
    }
}
