//! Flags of the evidence drivers: `--name value` pairs and bare switches.

use std::collections::HashMap;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// Parsed flags of one command.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    values: HashMap<String, String>,
    switches: Vec<String>,
}

impl Flags {
    /// Parses `words`, where `valued` take a value and `bare` do not.
    pub(crate) fn parse(words: &[&str], valued: &[&str], bare: &[&str]) -> Result<Self> {
        let mut flags = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if bare.contains(word) {
                flags.switches.push((*word).to_owned());
            } else if valued.contains(word) {
                let value = rest.next().with_context(|| format!("{word} takes a value"))?;
                flags.values.insert((*word).to_owned(), (*value).to_owned());
            } else {
                bail!("unknown flag {word}; known: {} {}", valued.join(" "), bare.join(" "));
            }
        }
        Ok(flags)
    }

    /// Returns the value of `name`, or `default` parsed the same way.
    pub(crate) fn value<T>(&self, name: &str, default: &str) -> Result<T>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let text = self.values.get(name).map_or(default, String::as_str);
        text.parse().map_err(|error| anyhow::anyhow!("{name} {text}: {error}"))
    }

    /// Returns the text of `name`, when given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Returns whether the switch was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.switches.iter().any(|switch| switch == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_switches_and_defaults() {
        let flags = Flags::parse(&["--rounds", "3", "--json"], &["--rounds", "--size"], &["--json"]).unwrap();
        assert_eq!(flags.value::<u32>("--rounds", "10").unwrap(), 3);
        assert_eq!(flags.value::<u32>("--size", "7").unwrap(), 7);
        assert!(flags.has("--json"));
        assert_eq!(flags.text("--size"), None);
    }

    #[test]
    fn unknown_flag_and_missing_value_are_refused() {
        assert!(Flags::parse(&["--speed"], &["--size"], &[]).is_err());
        assert!(Flags::parse(&["--size"], &["--size"], &[]).is_err());
    }
}
