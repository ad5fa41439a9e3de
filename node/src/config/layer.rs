//! The layers of settings and where each value comes from.

use std::fmt;
use std::path::PathBuf;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::setting::Setting;
use super::{ROWS, Row};

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody chose.
    Default,
    /// `config.toml`.
    File,
    /// A `POP_*` variable.
    Environment,
    /// A flag of the command line.
    Flag,
}

impl Origin {
    const ALL: [Self; 4] = [Self::Default, Self::File, Self::Environment, Self::Flag];

    const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: &'static str,
    /// Its text.
    pub value: String,
    /// Whether it is a list, parted by spaces.
    pub many: bool,
    /// Where it comes from.
    pub origin: Origin,
}

impl Entry {
    /// Returns the value as JSON: a string, or a list of strings.
    pub fn json(&self) -> serde_json::Value {
        match self.many {
            true => self.value.split_whitespace().collect(),
            false => self.value.as_str().into(),
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is there but cannot be read.
    #[error("{}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("config.toml is no TOML: {0}")]
    Syntax(String),
    /// A key that means nothing.
    #[error("unknown key {key:?} in {origin}{}", nearest.map(|key| format!("; did you mean {key:?}?")).unwrap_or_default())]
    UnknownKey {
        /// The key.
        key: String,
        /// The layer.
        origin: &'static str,
        /// The key that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A value that does not parse.
    #[error("{key} ({origin}): {why}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The layer.
        origin: Origin,
        /// What the parser says.
        why: String,
    },
}

/// Returns the key that is nearest to `key`, unless none is near.
pub(super) fn nearest(key: &str) -> Option<&'static str> {
    // Below this, the names have no more in common than any two words.
    const ALIKE: f64 = 0.75;
    let key = key.replace('-', "_").to_lowercase();
    let scored = ROWS.iter().map(|row| (strsim::jaro_winkler(&key, row.key), row.key));
    scored.filter(|(score, _)| *score >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, key)| key)
}

/// Finds the row of a key.
pub(super) fn row(key: &str, origin: &'static str) -> Result<&'static Row, ConfigError> {
    ROWS.iter().find(|row| row.key == key).ok_or_else(|| ConfigError::UnknownKey {
        key: key.to_owned(),
        origin,
        nearest: nearest(key),
    })
}

/// Text values of one origin.
struct Layer {
    origin: Origin,
    values: Dict,
}

impl Layer {
    fn new<K: Into<String>, V: Into<String>>(
        origin: Origin,
        values: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let values = values.into_iter().map(|(key, value)| (key.into(), Value::from(value.into()))).collect();
        Self { origin, values }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.name())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// The four layers, merged.
pub(super) struct Layers(Figment);

impl Layers {
    pub(super) fn new(
        file: Option<&str>,
        environment: &[(String, String)],
        flags: &[(&str, String)],
    ) -> Result<Self, ConfigError> {
        let variable = |row: &Row| format!("POP_{}", row.key.to_uppercase());
        let chosen = environment.iter().filter_map(|(name, value)| {
            let row = ROWS.iter().find(|row| variable(row) == *name)?;
            Some((row.key, value.as_str()))
        });
        let flags = flags.iter().map(|(key, value)| Ok((row(key, "flags")?.key, value.as_str())));
        let flags = flags.collect::<Result<Vec<_>, ConfigError>>()?;

        let mut figment =
            Figment::from(Layer::new(Origin::Default, ROWS.iter().map(|row| (row.key, row.default))));
        if let Some(text) = file {
            figment = figment.merge(Layer { origin: Origin::File, values: toml_values(text)? });
        }
        let figment = figment.merge(Layer::new(Origin::Environment, chosen));
        Ok(Self(figment.merge(Layer::new(Origin::Flag, flags))))
    }

    /// Reads one value and tells where it comes from.
    pub(super) fn read<T: Setting>(&self, key: &'static str) -> Result<(T, Origin), ConfigError> {
        let name = self.0.find_metadata(key).map(|found| found.name.as_ref());
        let origin = Origin::ALL.into_iter().find(|origin| name == Some(origin.name()));
        let origin = origin.unwrap_or(Origin::Default);
        let bad = |why: String| ConfigError::BadValue { key, origin, why };
        let value = self.0.find_value(key).map_err(|error| bad(error.to_string()))?;
        let text = text_of(&value).ok_or_else(|| bad("want text, a number or a list of texts".to_owned()))?;
        Ok((T::read(&text).map_err(bad)?, origin))
    }
}

/// Reads the file and refuses keys that mean nothing.
fn toml_values(text: &str) -> Result<Dict, ConfigError> {
    let values: Dict = Toml::from_str(text).map_err(|error| ConfigError::Syntax(error.to_string()))?;
    values.keys().try_for_each(|key| row(key, "config.toml").map(drop))?;
    Ok(values)
}

/// Returns the text of a value: numbers as they are written, lists parted by spaces.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Num(_, number) => match (number.to_u128(), number.to_i128(), number.to_f64()) {
            (Some(whole), _, _) => Some(whole.to_string()),
            (_, Some(whole), _) => Some(whole.to_string()),
            (_, _, fraction) => fraction.map(|fraction| fraction.to_string()),
        },
        Value::Array(_, values) => {
            values.iter().map(text_of).collect::<Option<Vec<_>>>().map(|parts| parts.join(" "))
        }
        Value::Bool(..) | Value::Char(..) | Value::Empty(..) | Value::Dict(..) => None,
    }
}
