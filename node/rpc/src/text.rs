//! Values that JSON carries as text: CIDs, paths below a CID, quantities with their unit.

use std::fmt;
use std::str::FromStr;

use cid::Cid;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes with `Display` and reads with `FromStr`: for quantities that callers write with a unit (`0.02 FIL`, `30s`).
pub(crate) mod with_unit {
    use super::*;

    pub(crate) fn serialize<T: fmt::Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// [`with_unit`] for values that may be left out.
pub(crate) mod with_unit_opt {
    use super::*;

    pub(crate) fn serialize<T: fmt::Display, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(ToString::to_string).serialize(to)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

/// Text that is no CID, or no path below one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCidError {
    /// The first segment does not parse.
    #[error("{text:?} is no CID: {why}")]
    NoCid {
        /// What was read.
        text: String,
        /// What the parser says.
        why: String,
    },
    /// A root was wanted.
    #[error("{0:?} has a path; a root is a CID alone")]
    HasPath(String),
    /// A segment of the path means nothing inside a DAG.
    #[error("{0:?} has an empty, '.' or '..' segment")]
    BadSegment(String),
}

/// Longest text that is shown back in an error, so that a pasted file does not flood a terminal.
const SHOWN: usize = 100;

fn parse_cid(text: &str) -> Result<Cid, ParseCidError> {
    Cid::from_str(text).map_err(|why| ParseCidError::NoCid {
        text: text.chars().take(SHOWN).collect(),
        why: why.to_string(),
    })
}

/// A CID that JSON carries as its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CidText(pub Cid);

impl From<Cid> for CidText {
    fn from(cid: Cid) -> Self {
        Self(cid)
    }
}

impl fmt::Display for CidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CidText {
    type Err = ParseCidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let target = CidPath::from_str(text)?;
        match target.path.is_empty() {
            true => Ok(Self(target.cid)),
            false => Err(ParseCidError::HasPath(text.chars().take(SHOWN).collect())),
        }
    }
}

/// A CID and the names that lead from it to what is meant: `CID/a/b`, also written `/ipfs/CID/a/b` or `ipfs://CID/a/b`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CidPath {
    /// Where the path starts.
    pub cid: Cid,
    /// The names, from the root down; none for the root itself.
    pub path: Vec<String>,
}

impl From<Cid> for CidPath {
    fn from(cid: Cid) -> Self {
        Self { cid, path: Vec::new() }
    }
}

impl fmt::Display for CidPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cid)?;
        self.path.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

impl FromStr for CidPath {
    type Err = ParseCidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = ["ipfs://", "/ipfs/", "/ipld/", "/"].iter().find_map(|prefix| text.strip_prefix(prefix));
        let rest = rest.unwrap_or(text);
        // One slash at the end is how a shell completes a directory.
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut segments = rest.split('/');
        let cid = parse_cid(segments.next().unwrap_or_default())?;
        let path: Vec<String> = segments.map(str::to_owned).collect();
        match path.iter().any(|name| matches!(name.as_str(), "" | "." | "..")) {
            true => Err(ParseCidError::BadSegment(text.chars().take(SHOWN).collect())),
            false => Ok(Self { cid, path }),
        }
    }
}

macro_rules! json_as_text {
    ($type:ident, $name:literal, $description:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                with_unit::deserialize(from)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $description })
            }
        }
    };
}

json_as_text!(CidText, "Cid", "A CID as text.");
json_as_text!(CidPath, "CidPath", "A CID, or names below one: CID/a/b.");

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";

    #[test]
    fn paths_parse_in_every_common_form() {
        let plain: CidPath = format!("{ROOT}/a/b c").parse().unwrap();
        assert_eq!(plain.path, ["a", "b c"]);
        for prefix in ["/ipfs/", "ipfs://", "/"] {
            assert_eq!(format!("{prefix}{ROOT}/a/b c/").parse(), Ok(plain.clone()));
        }
        assert_eq!(plain.to_string(), format!("{ROOT}/a/b c"));
        let json = serde_json::to_string(&plain).unwrap();
        assert_eq!(serde_json::from_str::<CidPath>(&json).unwrap(), plain);
    }

    #[test]
    fn what_is_no_cid_is_named() {
        assert!(matches!("hello".parse::<CidPath>(), Err(ParseCidError::NoCid { .. })));
        assert!(matches!("".parse::<CidText>(), Err(ParseCidError::NoCid { .. })));
        assert!(matches!(format!("{ROOT}/a").parse::<CidText>(), Err(ParseCidError::HasPath(_))));
        for path in ["a//b", "../b", "a/./b"] {
            assert!(matches!(format!("{ROOT}/{path}").parse::<CidPath>(), Err(ParseCidError::BadSegment(_))));
        }
    }
}
