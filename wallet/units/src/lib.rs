//! Quantities that money and content rules are stated in.
//!
//! Bare integers for money, bytes, prices and epochs are how a CDN pays the wrong amount; each quantity is
//! its own type, with checked arithmetic and one text form. Nothing here reads a clock, a file or a socket.

mod bytes;
mod duration;
mod epoch;
mod money;
mod price;

pub use crate::bytes::{Bytes, ParseBytesError};
pub use crate::duration::{ParseSpanError, Span};
pub use crate::epoch::{ChainEpoch, Lane, Nonce, ReplicationFactor};
pub use crate::money::{AttoFil, ParseMoneyError};
pub use crate::price::{ParsePriceError, PricePerByte};

/// The result of a sum or product that does not fit its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("amount does not fit")]
pub struct Overflow;

/// A decimal number read exactly: `digits / 10^scale`.
struct Decimal {
    digits: u128,
    scale: u32,
}

impl Decimal {
    /// Reads `12`, `12.5` or `.5`; nothing else, no sign and no exponent.
    fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        let joined = format!("0{whole}{fraction}");
        Some(Self { digits: joined.parse().ok()?, scale: u32::try_from(fraction.len()).ok()? })
    }

    /// Multiplies by `unit`; `None` when the product is no whole number or does not fit.
    fn times(&self, unit: u128) -> Option<u128> {
        let divisor = 10u128.checked_pow(self.scale)?;
        let shared = gcd(unit, divisor);
        let (unit, divisor) = (unit / shared, divisor / shared);
        if !self.digits.is_multiple_of(divisor) {
            return None;
        }
        (self.digits / divisor).checked_mul(unit)
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Splits `"10 GiB"` into its number and its lower-case unit.
fn split_unit(text: &str) -> (&str, String) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim().to_ascii_lowercase())
}
