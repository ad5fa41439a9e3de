//! Money as the chain writes it: signed, a sign byte and a big-endian magnitude.

use std::fmt;

use pop_units::AttoFil;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Sign byte and 16 bytes: everything that fits an `i128`; the whole supply of FIL needs 12.
const MAX_LEN: usize = 17;

/// An amount as it stands in chain objects. The actor's rules speak of negative amounts, our own books do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignedAtto(i128);

/// Money below zero where only an amount makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("amount {0} attoFIL is negative")]
pub struct NegativeAmount(pub i128);

impl SignedAtto {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// Wraps the plain number of attoFIL.
    pub const fn new(atto: i128) -> Self {
        Self(atto)
    }

    /// Returns the plain number of attoFIL.
    pub const fn get(self) -> i128 {
        self.0
    }

    /// Returns the byte form: empty for zero, else a sign byte and the shortest big-endian magnitude.
    pub fn to_bytes(self) -> Vec<u8> {
        let magnitude = self.0.unsigned_abs().to_be_bytes();
        let start = magnitude.iter().position(|&b| b != 0);
        let Some(digits) = start.and_then(|start| magnitude.get(start..)) else {
            return Vec::new();
        };
        let mut bytes = vec![u8::from(self.0 < 0)];
        bytes.extend_from_slice(digits);
        bytes
    }

    /// Reads the byte form; `None` where it is not canonical or does not fit.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::ZERO);
        }
        if bytes.len() > MAX_LEN {
            return None;
        }
        let (&sign, digits) = bytes.split_first()?;
        if sign > 1 || digits.first().is_none_or(|&b| b == 0) {
            return None;
        }
        let magnitude = digits.iter().fold(0u128, |sum, &b| (sum << 8) | u128::from(b));
        let amount = i128::try_from(magnitude).ok()?;
        Some(Self(if sign == 1 { -amount } else { amount }))
    }
}

impl TryFrom<SignedAtto> for AttoFil {
    type Error = NegativeAmount;

    fn try_from(amount: SignedAtto) -> Result<Self, NegativeAmount> {
        u128::try_from(amount.0).map(Self::new).map_err(|_| NegativeAmount(amount.0))
    }
}

impl From<AttoFil> for SignedAtto {
    /// Stops at 2^127 - 1, eleven orders of magnitude above all the money there is.
    fn from(amount: AttoFil) -> Self {
        Self(i128::try_from(amount.get()).unwrap_or(i128::MAX))
    }
}

impl fmt::Display for SignedAtto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for SignedAtto {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(&self.0),
            false => serializer.serialize_bytes(&self.to_bytes()),
        }
    }
}

impl<'de> Deserialize<'de> for SignedAtto {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = SignedAtto;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of attoFIL")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<SignedAtto, E> {
                SignedAtto::from_bytes(bytes).ok_or_else(|| E::custom("amount bytes are not canonical"))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SignedAtto, E> {
                text.parse().map(SignedAtto).map_err(E::custom)
            }
        }
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_str(Visitor),
            false => deserializer.deserialize_bytes(Visitor),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn byte_forms_are_canonical() {
        assert_eq!(SignedAtto(10_000).to_bytes(), [0, 0x27, 0x10]);
        assert_eq!(SignedAtto(0).to_bytes(), [0u8; 0]);
        assert_eq!(SignedAtto(-1).to_bytes(), [1, 1]);
        for bytes in [&[0][..], &[1], &[0, 0, 1], &[2, 1], &[0; 18], &[0, 255].repeat(9)] {
            assert_eq!(SignedAtto::from_bytes(bytes), None, "{bytes:?}");
        }
        assert_eq!(AttoFil::try_from(SignedAtto(-5)), Err(NegativeAmount(-5)));
    }

    proptest! {
        #[test]
        fn amounts_round_trip(atto in -i128::MAX..=i128::MAX) {
            prop_assert_eq!(SignedAtto::from_bytes(&SignedAtto(atto).to_bytes()), Some(SignedAtto(atto)));
        }

        #[test]
        fn what_decodes_encodes_back(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Some(amount) = SignedAtto::from_bytes(&bytes) {
                prop_assert_eq!(amount.to_bytes(), bytes);
            }
        }
    }
}
