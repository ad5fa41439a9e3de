//! A decoded block: the IPLD data model, kept small.
//!
//! One value takes 24 bytes on a 64-bit machine and what it holds, so that a hostile block of single-byte items
//! takes 28 times its size in memory, one of dag-pb's shortest links 39 times, and no block more: measured with a
//! counting allocator. Integers are those that dag-cbor can write.

use std::collections::HashSet;
use std::fmt;

use cid::Cid;

use super::Selected;

/// A value of the data model.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer that is not negative.
    Unsigned(u64),
    /// A negative integer, as what it is below minus one: -1 - n.
    Negative(u64),
    /// A number with a fraction, finite.
    Float(f64),
    /// Text.
    Text(Box<str>),
    /// Bytes.
    Bytes(Box<[u8]>),
    /// Values in a row.
    List(Box<[Value]>),
    /// Values by name.
    Map(Map),
    /// A link to another block.
    Link(Box<Cid>),
}

/// Values by name, each name once. Two maps with the same entries are equal: they are held in dag-cbor's order.
#[derive(Clone, Default, PartialEq)]
pub struct Map(Box<[(Box<str>, Value)]>);

/// A name that stands twice in one map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("map key {key:?} is repeated")]
pub struct RepeatedKey {
    /// The name.
    pub key: Box<str>,
}

/// Why a value has no form in a codec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// NaN and infinities are no numbers of the data model.
    #[error("a float is not finite")]
    NotFinite,
    /// Nesting is deeper than is read here.
    #[error("nested deeper than {}", super::MAX_NESTING)]
    Depth,
    /// A map looks like a link or like bytes of dag-json and is none, and dag-json has no escape for that.
    #[error("a map with the key \"/\" has no form in dag-json")]
    Reserved,
    /// The codec has one shape only, and this is not it.
    #[error("not of the shape that the codec has: {0}")]
    Shape(&'static str),
}

impl Value {
    /// Returns the value of an integer; `None` outside of what 64 bits and a sign can hold.
    pub fn integer(number: i128) -> Option<Self> {
        match u64::try_from(number) {
            Ok(number) => Some(Self::Unsigned(number)),
            Err(_) => u64::try_from(-1 - number).ok().map(Self::Negative),
        }
    }

    /// Returns the number of an integer; `None` for any other kind.
    pub fn as_integer(&self) -> Option<i128> {
        match self {
            Self::Unsigned(number) => Some(i128::from(*number)),
            Self::Negative(below) => Some(-1 - i128::from(*below)),
            _ => None,
        }
    }

    /// Follows `path`: map keys by name, list items by index, up to the first link.
    pub fn select(&self, path: &[String]) -> Selected {
        let mut value = self;
        for (index, segment) in path.iter().enumerate() {
            let next = match value {
                Self::Map(map) => map.get(segment),
                Self::List(items) => segment.parse::<usize>().ok().and_then(|item| items.get(item)),
                Self::Link(cid) => return Selected::Link { cid: **cid, used: index },
                _ => return Selected::NoMembers(index),
            };
            let Some(next) = next else { return Selected::NotFound(index) };
            value = next;
        }
        match value {
            Self::Link(cid) => Selected::Link { cid: **cid, used: path.len() },
            _ => Selected::Inside,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Unsigned(_) | Self::Negative(_) => self.as_integer().unwrap_or_default().fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::Bytes(bytes) => write!(f, "{bytes:02x?}"),
            Self::List(items) => f.debug_list().entries(items).finish(),
            Self::Map(map) => map.fmt(f),
            Self::Link(cid) => write!(f, "{cid}"),
        }
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Map {
    /// Returns a map of `entries` in any order.
    ///
    /// # Errors
    /// A name stands twice.
    pub fn new(mut entries: Vec<(Box<str>, Value)>) -> Result<Self, RepeatedKey> {
        entries.sort_unstable_by(|(a, _), (b, _)| order(a).cmp(&order(b)));
        match entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(RepeatedKey { key: pair[0].0.clone() }),
            None => Ok(Self(entries.into())),
        }
    }

    /// Returns a map of entries that are in order already.
    pub(super) fn of_sorted(entries: Vec<(Box<str>, Value)>) -> Self {
        Self(entries.into())
    }

    /// Returns the value of a name.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let found = self.0.binary_search_by(|(found, _)| order(found).cmp(&order(key)));
        found.ok().map(|at| &self.0[at].1)
    }

    /// Returns the entries in dag-cbor's order: short names first, then by bytes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }

    /// Returns how many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true when there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// By what dag-cbor sorts names.
pub(super) fn order(key: &str) -> (usize, &str) {
    (key.len(), key)
}

/// Returns true when no key stands twice.
pub(super) fn all_differ<'a>(keys: impl ExactSizeIterator<Item = &'a str>) -> bool {
    let mut seen = HashSet::with_capacity(keys.len());
    keys.into_iter().all(|key| seen.insert(key))
}
