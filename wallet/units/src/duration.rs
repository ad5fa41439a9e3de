//! Lengths of time as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{Decimal, split_unit};

/// A length of time with the text form `30s`, `3m`, `12h`, `250ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

impl Span {
    /// Returns the span of `duration`.
    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }

    /// Returns the standard library's form.
    pub const fn as_duration(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            m if m.is_multiple_of(3_600_000) && m > 0 => write!(f, "{}h", m / 3_600_000),
            m if m.is_multiple_of(60_000) && m > 0 => write!(f, "{}m", m / 60_000),
            m if m.is_multiple_of(1_000) => write!(f, "{}s", m / 1_000),
            m => write!(f, "{m}ms"),
        }
    }
}

/// Text that is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no duration; write it like 30s, 3m or 12h")]
pub struct ParseSpanError(String);

impl FromStr for Span {
    type Err = ParseSpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ParseSpanError(text.to_owned());
        let (number, unit) = split_unit(text);
        let millis: u128 = match unit.as_str() {
            "ms" => 1,
            "s" | "" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(fail()),
        };
        let millis = Decimal::parse(number).and_then(|n| n.times(millis)).ok_or_else(fail)?;
        u64::try_from(millis).map(|m| Self(Duration::from_millis(m))).map_err(|_| fail())
    }
}

impl serde::Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_parse_and_print() {
        for (text, millis) in [("30s", 30_000), ("3m", 180_000), ("12h", 43_200_000), ("250ms", 250)] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.as_duration(), Duration::from_millis(millis));
            assert_eq!(span.to_string(), text);
        }
        assert!("soon".parse::<Span>().is_err());
    }
}
