//! Accounts and what stands on them.

use std::fmt;

use pop_units::{AttoFil, Overflow};
use serde::{Deserialize, Serialize};

/// The name of an account, like `sold/f2…/0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(String);

impl AccountId {
    /// Names an account.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was ever written on the two sides of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Money that came here.
    pub debits: AttoFil,
    /// Money that went from here.
    pub credits: AttoFil,
}

impl Balance {
    /// Returns by how much debits exceed credits; zero where they do not.
    pub fn owed_to_us(&self) -> AttoFil {
        self.debits.saturating_sub(self.credits)
    }

    /// Returns by how much credits exceed debits; zero where they do not.
    pub fn owed_by_us(&self) -> AttoFil {
        self.credits.saturating_sub(self.debits)
    }

    pub(crate) fn debit(self, amount: AttoFil) -> Result<Self, Overflow> {
        Ok(Self { debits: self.debits.checked_add(amount)?, ..self })
    }

    pub(crate) fn credit(self, amount: AttoFil) -> Result<Self, Overflow> {
        Ok(Self { credits: self.credits.checked_add(amount)?, ..self })
    }
}
