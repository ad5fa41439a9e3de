//! A part of a DAG that is chosen more finely than peers ask each other for.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use pop_units::Bytes;

use super::{MAX_DEPTH, MAX_WAITING, Scope};

/// What a [`Walk`](super::Walk) covers. The scope alone is what peers ask for; the rest stays in this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Which part of what is below the root.
    pub scope: Scope,
    /// Only these bytes, when the path leads to a file. Whatever the scope says, the file is then an entity.
    pub bytes: Option<ByteRange>,
    /// Visit a block as often as it is linked: `dups=y` of CAR. A few small blocks can then be a walk without
    /// end, so give it a budget.
    pub repeats: bool,
    /// Whether blocks below the target whose codec is not read here are taken for leaves. Otherwise they end the
    /// walk, which cannot tell what lies below them.
    pub unread_are_leaves: bool,
    /// How much is visited at most.
    pub budget: Budget,
}

impl Selection {
    /// Selects what a scope means.
    pub const fn of(scope: Scope) -> Self {
        Self { scope, bytes: None, repeats: false, unread_are_leaves: false, budget: Budget::MAX }
    }
}

/// How much a walk visits at most, after which it ends with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Blocks, each as often as it is visited.
    pub blocks: u64,
    /// The sum of their sizes.
    pub bytes: Bytes,
    /// Links from the root to a block; above [`MAX_DEPTH`] it changes nothing.
    pub depth: u32,
    /// Links that wait to be visited, 128 bytes of memory each; above [`MAX_WAITING`] it changes nothing.
    pub waiting: usize,
    /// Blocks that are remembered so as not to be visited again, 57 bytes of memory each.
    pub seen: usize,
}

impl Budget {
    /// No bound but those that every walk has.
    pub const MAX: Self = Self {
        blocks: u64::MAX,
        bytes: Bytes::new(u64::MAX),
        depth: MAX_DEPTH,
        waiting: MAX_WAITING,
        seen: usize::MAX,
    };
}

impl Default for Budget {
    fn default() -> Self {
        Self::MAX
    }
}

/// Bytes of a file: the `entity-bytes` of trustless gateways, `from:to`.
///
/// Both ends are part of the range. Negative ones count from the end of the file, so that `-1` is its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// The first byte.
    pub from: i64,
    /// The last byte; `None` for that of the file, written `*`.
    pub to: Option<i64>,
}

/// A text that is no range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ByteRangeError {
    /// It has not the form.
    #[error("a range of bytes is from:to, two whole numbers of 64 bits, or from:* up to the end")]
    Form,
    /// The ends stand in the wrong order, whatever the size of the file.
    #[error("a range of bytes begins before it ends")]
    Order,
}

impl ByteRange {
    /// Returns where the range lies in a file of `size` bytes; `None` when no byte of the file is in it.
    pub fn within(self, size: u64) -> Option<Range<u64>> {
        let last = size.checked_sub(1)?;
        let from = match u64::try_from(self.from) {
            Ok(from) => from,
            // What lies before the first byte is as good as the first.
            Err(_) => size.saturating_sub(self.from.unsigned_abs()),
        };
        let to = match self.to {
            None => last,
            Some(to) => match u64::try_from(to) {
                Ok(to) => to.min(last),
                Err(_) => size.checked_sub(to.unsigned_abs())?,
            },
        };
        (from <= to).then_some(from..to.saturating_add(1))
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to {
            Some(to) => write!(f, "{}:{to}", self.from),
            None => write!(f, "{}:*", self.from),
        }
    }
}

impl FromStr for ByteRange {
    type Err = ByteRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (from, to) = text.split_once(':').ok_or(ByteRangeError::Form)?;
        let from = number(from)?;
        let to = if to == "*" { None } else { Some(number(to)?) };
        // With one end from the start and one from the end, it depends on the file.
        let backwards = to.is_some_and(|to| to < from && from.is_negative() == to.is_negative());
        if backwards { Err(ByteRangeError::Order) } else { Ok(Self { from, to }) }
    }
}

/// Reads digits with or without a minus; `parse` alone would take a plus.
fn number(text: &str) -> Result<i64, ByteRangeError> {
    let number = text.parse().map_err(|_| ByteRangeError::Form)?;
    if text.starts_with('+') { Err(ByteRangeError::Form) } else { Ok(number) }
}

#[cfg(test)]
mod tests;
