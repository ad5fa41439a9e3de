//! Tables of measurements: a value per round, its median and spread, what it must reach, and the verdict.
//!
//! A ratio is taken round by round between two things measured one right after the other, because a shared
//! disk changes from one second to the next and both sides of a ratio must see the same one.

use anyhow::Result;
use serde_json::{Value, json};

/// What a row must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// Told, not judged.
    None,
}

/// One row: the same quantity, measured once per round.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    name: String,
    bound: Bound,
    unit: &'static str,
    values: Vec<f64>,
    note: String,
}

impl Row {
    /// Returns a row of a quantity that stands for itself.
    pub(crate) fn new(name: impl Into<String>, bound: Bound, unit: &'static str, values: Vec<f64>) -> Self {
        Self { name: name.into(), bound, unit, values, note: String::new() }
    }

    /// Returns a row of ratios of pairs `(baseline, ours)` that were measured one after the other.
    pub(crate) fn ratio(
        name: impl Into<String>,
        bound: Bound,
        pairs: &[(f64, f64)],
        unit: &'static str,
    ) -> Self {
        let ratios = pairs.iter().map(|(baseline, ours)| ours / baseline).collect();
        let median_of = |pick: fn(&(f64, f64)) -> f64| median(&pairs.iter().map(pick).collect::<Vec<_>>());
        let (baseline, ours) = (median_of(|pair| pair.0), median_of(|pair| pair.1));
        let note = format!("{} against {} {unit}", short(ours), short(baseline));
        Self { name: name.into(), bound, unit: "", values: ratios, note }
    }

    /// Adds what a reader should know about the row.
    pub(crate) fn noting(mut self, note: &str) -> Self {
        let glue = if self.note.is_empty() { "" } else { "; " };
        self.note = format!("{}{glue}{note}", self.note);
        self
    }

    /// Returns whether the median is within its bound; nothing for a row that is only told.
    fn passes(&self) -> Option<bool> {
        match self.bound {
            Bound::AtLeast(least) => Some(median(&self.values) >= least),
            Bound::AtMost(most) => Some(median(&self.values) <= most),
            Bound::None => None,
        }
    }

    fn spread(&self) -> (f64, f64) {
        let low = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (low, high)
    }

    fn verdict(&self) -> &'static str {
        match self.passes() {
            Some(true) => "PASS",
            Some(false) => "MISS",
            None => "",
        }
    }

    fn must(&self) -> String {
        match self.bound {
            Bound::AtLeast(least) => format!("≥ {}", short(least)),
            Bound::AtMost(most) => format!("≤ {}", short(most)),
            Bound::None => String::new(),
        }
    }

    fn to_json(&self) -> Value {
        let (low, high) = self.spread();
        let (bound, limit) = match self.bound {
            Bound::AtLeast(least) => ("at_least", Some(least)),
            Bound::AtMost(most) => ("at_most", Some(most)),
            Bound::None => ("none", None),
        };
        json!({
            "name": self.name, "unit": self.unit, "median": median(&self.values), "low": low, "high": high,
            "rounds": self.values, "bound": bound, "limit": limit, "passes": self.passes(), "note": self.note,
        })
    }
}

/// Prints rows as a Markdown table, ready for the documents, or as JSON.
pub(crate) fn print(rows: &[Row], as_json: bool) {
    if as_json {
        println!("{}", Value::from(rows.iter().map(Row::to_json).collect::<Vec<_>>()));
        return;
    }
    println!("| what | median (spread) | must reach | | measured |\n|---|---|---|---|---|");
    for row in rows {
        let (low, high) = row.spread();
        let space = if row.unit.is_empty() { "" } else { " " };
        println!(
            "| {} | **{}**{space}{} ({}–{}) | {} | {} | {} |",
            row.name,
            short(median(&row.values)),
            row.unit,
            short(low),
            short(high),
            row.must(),
            row.verdict(),
            row.note
        );
    }
}

/// Measures two things in turn, so that both meet the same machine: `(baseline, ours)` per round.
pub(crate) fn in_turn(
    rounds: u32,
    mut baseline: impl FnMut() -> Result<f64>,
    mut ours: impl FnMut() -> Result<f64>,
) -> Result<Vec<(f64, f64)>> {
    (0..rounds).map(|_| Ok((baseline()?, ours()?))).collect()
}

/// Returns the middle value; 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Returns a count as a number to calculate with.
pub(crate) fn number(count: u64) -> f64 {
    let high = u32::try_from(count >> 32).unwrap_or(u32::MAX);
    let low = u32::try_from(count & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

/// Returns bytes in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    number(bytes) / number(1 << 20)
}

/// Three digits that count, as far as a table needs them.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_judged_by_its_median() {
        let pairs = [(100.0, 90.0), (50.0, 10.0), (200.0, 190.0)];
        let row = Row::ratio("put", Bound::AtLeast(0.9), &pairs, "MiB/s");
        assert_eq!(row.passes(), Some(true));
        assert_eq!(row.verdict(), "PASS");
        assert!((row.spread().0 - 0.2).abs() < 1e-9);
        assert_eq!(Row::new("x", Bound::AtMost(1.0), "", vec![2.0]).verdict(), "MISS");
        assert_eq!(Row::new("x", Bound::None, "", vec![2.0]).passes(), None);
    }

    #[test]
    fn large_counts_are_exact() {
        assert!((number((5 << 40) + 7) - 5_497_558_138_887.0).abs() < 0.5);
    }
}
