//! Money: whole attoFIL, never negative, never rounded.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Decimal, Overflow, split_unit};

/// Longest text that is read as money (the bound that Lotus uses).
const MAX_TEXT: usize = 50;
const ATTO_PER_FIL: u128 = 1_000_000_000_000_000_000;

/// An amount of money in attoFIL (10^-18 FIL). JSON form: a decimal string of attoFIL; text form: `0.02 FIL`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttoFil(u128);

impl AttoFil {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// Returns `amount` attoFIL.
    pub const fn new(amount: u128) -> Self {
        Self(amount)
    }

    /// Returns `amount` whole FIL.
    pub const fn from_fil(amount: u32) -> Self {
        // 2^32 x 10^18 is below 2^92: it cannot overflow. `as` is the only const widening there is.
        #[expect(clippy::as_conversions, reason = "const widening of u32 to u128 loses nothing")]
        Self(amount as u128 * ATTO_PER_FIL)
    }

    /// Returns the number of attoFIL.
    pub const fn get(self) -> u128 {
        self.0
    }

    /// Returns true for no money.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Adds two amounts.
    ///
    /// # Errors
    /// The sum does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_add(other.0).map(Self).ok_or(Overflow)
    }

    /// Subtracts.
    ///
    /// # Errors
    /// `other` is more than `self`.
    pub fn checked_sub(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_sub(other.0).map(Self).ok_or(Overflow)
    }

    /// Subtracts, stopping at zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Sums amounts.
    ///
    /// # Errors
    /// The sum does not fit.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, Overflow> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// Returns the plain decimal string of attoFIL, as JSON fields that end in `_atto` carry it.
    pub fn to_atto_string(self) -> String {
        self.0.to_string()
    }
}

impl fmt::Display for AttoFil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / ATTO_PER_FIL, self.0 % ATTO_PER_FIL);
        match rest {
            0 => write!(f, "{whole} FIL"),
            _ => write!(f, "{whole}.{} FIL", format!("{rest:018}").trim_end_matches('0')),
        }
    }
}

/// Text that is no amount of money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no amount; write it like 0.02 FIL, 5 nanoFIL or 100 attoFIL, without fractions of an attoFIL"
)]
pub struct ParseMoneyError(pub(crate) String);

/// Reads the attoFIL of one `unit`, or nothing where the word is no unit of money.
pub(crate) fn unit_in_atto(unit: &str) -> Option<u128> {
    match unit {
        "" | "fil" => Some(ATTO_PER_FIL),
        "nanofil" | "nfil" => Some(1_000_000_000),
        "picofil" | "pfil" => Some(1_000_000),
        "attofil" | "afil" => Some(1),
        _ => None,
    }
}

impl FromStr for AttoFil {
    type Err = ParseMoneyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ParseMoneyError(text.chars().take(MAX_TEXT).collect());
        if text.len() > MAX_TEXT {
            return Err(fail());
        }
        let (number, unit) = split_unit(text);
        let unit = unit_in_atto(&unit).ok_or_else(fail)?;
        Decimal::parse(number).and_then(|n| n.times(unit)).map(Self).ok_or_else(fail)
    }
}

impl Serialize for AttoFil {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AttoFil {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let amount = plain.then(|| text.parse().ok()).flatten();
        amount.map(Self).ok_or_else(|| serde::de::Error::custom("want a decimal string of attoFIL"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_parse_exactly() {
        let table = [
            ("1", ATTO_PER_FIL),
            ("0.02 FIL", 20_000_000_000_000_000),
            ("5nanoFIL", 5_000_000_000),
            ("7 attofil", 7),
        ];
        for (text, atto) in table {
            assert_eq!(text.parse(), Ok(AttoFil(atto)), "{text}");
        }
        for text in ["0.5 attoFIL", "", "-1", "1e3", "0.0000000000000000001", ".5 aFIL.", "1 EUR"] {
            assert!(text.parse::<AttoFil>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_prints_parses_back(atto in any::<u128>()) {
            let amount = AttoFil(atto / 1000);
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
            let json = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(serde_json::from_str::<AttoFil>(&json).unwrap(), amount);
        }
    }
}
