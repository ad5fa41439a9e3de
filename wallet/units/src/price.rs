//! What a byte costs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::money::unit_in_atto;
use crate::{AttoFil, Bytes, Decimal, Overflow, split_unit};

/// A price, kept as attoFIL per GiB so that cheap traffic does not round to free.
///
/// JSON form: a decimal string of attoFIL per GiB. Text form: `0.01 FIL/GiB` or `5 attoFIL/byte`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PricePerByte(AttoFil);

impl PricePerByte {
    /// Free of charge.
    pub const FREE: Self = Self(AttoFil::ZERO);

    /// Returns the price of `amount` for each GiB.
    pub const fn per_gib(amount: AttoFil) -> Self {
        Self(amount)
    }

    /// Returns what one GiB costs.
    pub const fn of_gib(self) -> AttoFil {
        self.0
    }

    /// Returns true when bytes cost nothing.
    pub const fn is_free(self) -> bool {
        self.0.is_zero()
    }

    /// Returns the price of `size` bytes, rounded up to a whole attoFIL.
    ///
    /// # Errors
    /// The product does not fit 128 bits.
    pub fn cost_of(self, size: Bytes) -> Result<AttoFil, Overflow> {
        let product = self.0.get().checked_mul(u128::from(size.get())).ok_or(Overflow)?;
        Ok(AttoFil::new(product.div_ceil(u128::from(Bytes::GIB.get()))))
    }
}

impl fmt::Display for PricePerByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/GiB", self.0)
    }
}

/// Text that is no price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no price; write it like 0.01 FIL/GiB or 5 attoFIL/byte")]
pub struct ParsePriceError(String);

impl FromStr for PricePerByte {
    type Err = ParsePriceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ParsePriceError(text.to_owned());
        if text.trim() == "0" {
            return Ok(Self::FREE);
        }
        let (amount, per) = text.split_once('/').ok_or_else(fail)?;
        let (number, unit) = split_unit(amount);
        let unit = unit_in_atto(&unit).ok_or_else(fail)?;
        let bytes_per_gib = u128::from(Bytes::GIB.get());
        let unit = match per.trim().to_ascii_lowercase().as_str() {
            "gib" => Some(unit),
            "byte" | "b" => unit.checked_mul(bytes_per_gib),
            _ => None,
        };
        let amount = unit.and_then(|unit| Decimal::parse(number)?.times(unit)).ok_or_else(fail)?;
        Ok(Self(AttoFil::new(amount)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_parse_and_print() {
        let price: PricePerByte = "0.01 FIL/GiB".parse().unwrap();
        assert_eq!(price.of_gib(), "0.01 FIL".parse().unwrap());
        assert_eq!(price.to_string(), "0.01 FIL/GiB");
        let price: PricePerByte = "5 attoFIL/byte".parse().unwrap();
        assert_eq!(price.of_gib().get(), 5 << 30);
        assert_eq!("0".parse(), Ok(PricePerByte::FREE));
        for text in ["", "1 FIL", "1 FIL/day", "x FIL/GiB", "0.1 attoFIL/GiB"] {
            assert!(text.parse::<PricePerByte>().is_err(), "{text}");
        }
    }

    #[test]
    fn cost_rounds_up_and_never_wraps() {
        let price: PricePerByte = "1 attoFIL/GiB".parse().unwrap();
        assert_eq!(price.cost_of(Bytes::new(1)), Ok(AttoFil::new(1)));
        assert_eq!(price.cost_of(Bytes::ZERO), Ok(AttoFil::ZERO));
        let dear = PricePerByte::per_gib(AttoFil::new(u128::MAX));
        assert_eq!(dear.cost_of(Bytes::GIB), Err(Overflow));
    }
}
