//! What a rule reports: where, which rule, what is there, and what to do about it.

use std::fmt;

/// Whether a finding fails the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Printed, does not fail.
    Warning,
    /// Fails the gate.
    Failure,
}

/// One broken rule at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) weight: Weight,
    /// File relative to the workspace, with `:line` where one is known.
    pub(crate) place: String,
    /// Short name of the rule.
    pub(crate) rule: &'static str,
    /// The fact.
    pub(crate) fact: String,
    /// The way out.
    pub(crate) remedy: String,
}

impl Finding {
    /// Returns a finding that fails the gate.
    pub(crate) fn failure(
        place: impl Into<String>,
        rule: &'static str,
        fact: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { weight: Weight::Failure, place: place.into(), rule, fact: fact.into(), remedy: remedy.into() }
    }

    /// Returns the same finding as a warning.
    pub(crate) fn into_warning(mut self) -> Self {
        self.weight = Weight::Warning;
        self
    }

    /// Returns whether this finding fails the gate.
    pub(crate) fn is_failure(&self) -> bool {
        self.weight == Weight::Failure
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Warning => "warning",
            Weight::Failure => "error",
        };
        write!(f, "{weight}[{}] {}: {}\n    -> {}", self.rule, self.place, self.fact, self.remedy)
    }
}
