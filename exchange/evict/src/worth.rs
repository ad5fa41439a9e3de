//! What a ref earns, as a factor of its rank.
//!
//! A ref that pays should stay longer than its requests alone would let it, and never so much longer that free
//! content starves: the factor is the fourth root of the price received. Only money *received* may enter here, or
//! a peer prices its own junk into the cache.

use pop_units::{AttoFil, Bytes, PricePerByte};

/// A factor of rank in sixteenths: 8 for what is free, 16 at the node's typical price, 32 from sixteen times that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Worth(u8);

/// A sixteenth of the typical price counts like nothing at all.
const LEAST: u8 = 8;
/// More than sixteen times the typical price adds nothing.
const MOST: u8 = 32;

impl Worth {
    /// At the node's typical price; where nobody pays, every ref has it.
    pub const NEUTRAL: Self = Self(16);
    /// Served free on a node that sells.
    pub const FREE: Self = Self(LEAST);

    /// Returns the factor of a ref that earned `revenue` for `served` bytes on a node whose usual price is
    /// `typical`: 16·(price ÷ typical)^¼, rounded, from 8 to 32.
    ///
    /// Neutral where the node sells nothing or the ref has served nothing yet: no price is known.
    pub fn of(revenue: AttoFil, served: Bytes, typical: PricePerByte) -> Self {
        if served.is_zero() || typical.is_free() {
            return Self::NEUTRAL;
        }
        // Too much to count is far above any revenue.
        let usual = typical.cost_of(served).map_or(u128::MAX, AttoFil::get).max(1);
        let at_least = |factor: u8| {
            // price/typical ≥ ((factor − ½)/16)^4, in integers.
            let edge = (2 * u128::from(factor) - 1).pow(4);
            revenue.get().saturating_mul(1 << 20) >= usual.saturating_mul(edge)
        };
        Self((LEAST + 1..=MOST).rev().find(|factor| at_least(*factor)).unwrap_or(LEAST))
    }

    /// Returns the factor in sixteenths.
    pub const fn sixteenths(self) -> u8 {
        self.0
    }

    /// Returns the factor of a record, held to what a factor can be.
    pub(crate) fn from_sixteenths(sixteenths: u8) -> Self {
        Self(sixteenths.clamp(LEAST, MOST))
    }
}

impl Default for Worth {
    fn default() -> Self {
        Self::NEUTRAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(fil: u32, parts: u128) -> u8 {
        let revenue = AttoFil::new(AttoFil::from_fil(fil).get() / parts);
        Worth::of(revenue, Bytes::GIB, PricePerByte::per_gib(AttoFil::from_fil(1))).sixteenths()
    }

    #[test]
    fn factors_are_the_fourth_root_of_the_price() {
        let table = [
            (0, 1, 8),
            (1, 100, 8),
            (1, 16, 8),
            (1, 4, 11),
            (1, 1, 16),
            (4, 1, 23),
            (16, 1, 32),
            (900, 1, 32),
        ];
        for (fil, parts, factor) in table {
            assert_eq!(worth(fil, parts), factor, "{fil}/{parts}");
        }
    }

    #[test]
    fn no_price_is_neutral_and_no_number_overflows() {
        let one = PricePerByte::per_gib(AttoFil::from_fil(1));
        assert_eq!(Worth::of(AttoFil::new(9), Bytes::ZERO, one), Worth::NEUTRAL);
        assert_eq!(Worth::of(AttoFil::new(9), Bytes::GIB, PricePerByte::default()), Worth::NEUTRAL);
        let most = Worth::of(AttoFil::new(u128::MAX), Bytes::new(1), one);
        assert_eq!(most.sixteenths(), 32);
        let dear = PricePerByte::per_gib(AttoFil::new(u128::MAX));
        assert_eq!(Worth::of(AttoFil::new(1), Bytes::new(u64::MAX), dear), Worth::FREE);
    }
}
