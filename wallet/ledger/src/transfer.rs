//! One movement of money.

use std::fmt;

use pop_units::AttoFil;
use serde::{Deserialize, Serialize};

use crate::account::AccountId;

/// What makes a transfer unique: a series and its number in it.
///
/// Numbers of a series only rise, as voucher nonces do. So the last number is all that must be remembered to
/// recognise a repetition, and a peer that sends a million vouchers does not grow the books.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TransferId {
    /// The series, like a lane of a channel.
    pub series: String,
    /// The number in it.
    pub number: u64,
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.series, self.number)
    }
}

/// An amount that moves between two accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Its identity: posted once, whatever happens.
    pub id: TransferId,
    /// Where it comes to.
    pub debit: AccountId,
    /// Where it comes from.
    pub credit: AccountId,
    /// How much.
    pub amount: AttoFil,
}
