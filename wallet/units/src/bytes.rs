//! Sizes of content and disks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Decimal, Overflow, split_unit};

/// A number of bytes. JSON form: an integer; text form: `10GiB`, `500MB`, `42`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(u64);

impl Bytes {
    /// No bytes.
    pub const ZERO: Self = Self(0);
    /// 2^10 bytes.
    pub const KIB: Self = Self(1 << 10);
    /// 2^20 bytes.
    pub const MIB: Self = Self(1 << 20);
    /// 2^30 bytes.
    pub const GIB: Self = Self(1 << 30);

    /// Returns `count` bytes.
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// Returns the length of a buffer.
    pub fn of(buffer: &[u8]) -> Self {
        Self(u64::try_from(buffer.len()).unwrap_or(u64::MAX))
    }

    /// Returns the number as an integer.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the number as an index, or `usize::MAX` where it does not fit.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Adds two sizes.
    ///
    /// # Errors
    /// The sum does not fit 64 bits.
    pub fn checked_add(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_add(other.0).map(Self).ok_or(Overflow)
    }

    /// Adds two sizes, stopping at the largest.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Subtracts, stopping at zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Multiplies by a plain factor, stopping at the largest.
    #[must_use]
    pub const fn saturating_mul(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    /// Returns true for no bytes.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 4] =
            [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        for (name, unit) in UNITS {
            if self.0 >= unit {
                let (whole, rest) = (self.0 / unit, self.0 % unit);
                // Two digits after the point, rounded down, in integers.
                let hundredths = u128::from(rest) * 100 / u128::from(unit);
                return match hundredths {
                    0 => write!(f, "{whole} {name}"),
                    _ => write!(f, "{whole}.{hundredths:02} {name}"),
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// Text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no size; write it like 10GiB, 500MB or 4096")]
pub struct ParseBytesError(String);

impl FromStr for Bytes {
    type Err = ParseBytesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ParseBytesError(text.to_owned());
        let (number, unit) = split_unit(text);
        let unit: u128 = match unit.as_str() {
            "" | "b" => 1,
            "kb" | "k" => 1_000,
            "mb" | "m" => 1_000_000,
            "gb" | "g" => 1_000_000_000,
            "tb" | "t" => 1_000_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "tib" => 1 << 40,
            _ => return Err(fail()),
        };
        let count = Decimal::parse(number).and_then(|n| n.times(unit)).ok_or_else(fail)?;
        u64::try_from(count).map(Self).map_err(|_| fail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_exactly() {
        let table = [
            ("0", 0),
            ("42", 42),
            ("10GiB", 10 << 30),
            ("10 gib", 10 << 30),
            ("500MB", 500_000_000),
            ("1.5KiB", 1536),
            (".5k", 500),
        ];
        for (text, count) in table {
            assert_eq!(text.parse(), Ok(Bytes(count)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "GiB", "-1", "1.5", "1e3", "10 parsecs", "99999999999TiB", "1..2"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_print_for_people() {
        assert_eq!(Bytes(0).to_string(), "0 B");
        assert_eq!(Bytes(1536).to_string(), "1.50 KiB");
        assert_eq!(Bytes(10 << 30).to_string(), "10 GiB");
    }
}
