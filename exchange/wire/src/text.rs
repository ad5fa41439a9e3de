//! Text from a peer that people will read.

use serde::{Deserialize, Deserializer, Serialize};

use crate::limit;

/// A reason in words: bounded, and without characters that move a terminal's cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Reason(String);

impl Reason {
    /// Returns `text`, shortened to the limit, with control characters replaced.
    pub fn new(text: impl AsRef<str>) -> Self {
        let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        Self(text.as_ref().chars().take(limit::REASON).map(clean).collect())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}
