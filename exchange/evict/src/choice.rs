//! The operator's choice of a policy.

use std::fmt;
use std::str::FromStr;

use pop_units::Bytes;

use crate::{Aged, Lru, Policy, Resident, S3Fifo, Saved, Sieve};

/// A policy by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Choice {
    /// Aged frequency.
    #[default]
    Aged,
    /// Least recently used.
    Lru,
    /// S3-FIFO.
    S3Fifo,
    /// SIEVE.
    Sieve,
}

impl Choice {
    /// All of them, the default first.
    pub const ALL: [Self; 4] = [Self::Aged, Self::Lru, Self::S3Fifo, Self::Sieve];

    /// Returns an empty policy that keeps no rows.
    pub fn fresh(self, capacity: Bytes) -> Box<dyn Policy> {
        match self {
            Self::Aged => Box::new(Aged::new(capacity)),
            Self::Lru => Box::new(Lru::new(capacity)),
            Self::S3Fifo => Box::new(S3Fifo::new(capacity)),
            Self::Sieve => Box::new(Sieve::new(capacity)),
        }
    }

    /// Returns the policy over what is `resident`, from the rows of an earlier run, also of another policy.
    ///
    /// Only [`Aged`] keeps rows; the others start from what the store itself knows.
    pub fn restore(
        self,
        capacity: Bytes,
        saved: Saved,
        resident: impl IntoIterator<Item = Resident>,
    ) -> Box<dyn Policy> {
        match self {
            Self::Aged => Box::new(Aged::restore(capacity, saved, resident)),
            Self::Lru => Box::new(Lru::restore(capacity, resident)),
            Self::S3Fifo => Box::new(S3Fifo::restore(capacity, resident)),
            Self::Sieve => Box::new(Sieve::restore(capacity, resident)),
        }
    }

    /// Returns the name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aged => "aged",
            Self::Lru => "lru",
            Self::S3Fifo => "s3-fifo",
            Self::Sieve => "sieve",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Text that names no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no eviction policy; known are aged, lru, s3-fifo and sieve")]
pub struct ParseChoiceError(String);

impl FromStr for Choice {
    type Err = ParseChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|choice| choice.name() == text);
        found.ok_or_else(|| ParseChoiceError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Id;

    #[test]
    fn names_come_back() {
        for choice in Choice::ALL {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!(Choice::default().to_string(), "aged");
        assert!("LRU".parse::<Choice>().is_err());
    }

    #[test]
    fn every_policy_starts_from_what_is_resident() {
        let resident = |number: u8| Resident {
            id: Id::new(&[number]),
            size: Bytes::new(10),
            frequency: u64::from(number % 3),
            last_used: u64::from(number),
        };
        for choice in Choice::ALL {
            let policy = choice.restore(Bytes::new(1000), Saved::default(), (0..20).map(resident));
            let usage = policy.usage();
            assert_eq!((usage.refs, usage.used), (20, Bytes::new(200)), "{choice}");
        }
    }
}
