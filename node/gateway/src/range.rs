//! `Range: bytes=…` (RFC 9110, 14): one part of a representation.
//!
//! What is no range of bytes is passed over, as the specification allows. Of several ranges the first that the
//! file has is served.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use pop_units::Bytes;

use crate::refusal::Refusal;

/// Ranges in one request above which it is treated as one for the whole file.
const MOST: usize = 16;

/// What part of a file is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: 200.
    Whole,
    /// These bytes, at least one: 206.
    Of(Range<u64>),
    /// Bytes that the file does not have: 416.
    Outside,
}

/// Reads the `Range` of a request for a file of `size` bytes.
pub(crate) fn part(headers: &HeaderMap, size: u64) -> Part {
    let mut sent = headers.get_all(header::RANGE).iter();
    let (Some(value), None) = (sent.next(), sent.next()) else { return Part::Whole };
    let Some(specs) = value.to_str().ok().and_then(specs) else { return Part::Whole };
    // An empty file has no bytes that could be missed.
    if size == 0 {
        return Part::Whole;
    }
    let within: Vec<_> = specs.iter().filter_map(|spec| spec.within(size)).collect();
    let sum =
        within.iter().fold(0, |sum: u64, range| sum.saturating_add(range.end.saturating_sub(range.start)));
    match within.first() {
        None => Part::Outside,
        Some(_) if within.len() > 1 && sum > size => Part::Whole,
        Some(first) => Part::Of(first.clone()),
    }
}

/// Returns the `Content-Range` of a part.
pub(crate) fn content_range(range: &Range<u64>, size: u64) -> HeaderValue {
    let last = range.end.saturating_sub(1);
    text(format!("bytes {}-{last}/{size}", range.start))
}

/// Refuses a range that lies outside.
pub(crate) fn outside(size: u64) -> Refusal {
    let what = format!("the file has {} and nothing in the range", Bytes::new(size));
    let refusal = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, what);
    refusal
        .with(header::CONTENT_RANGE, text(format!("bytes */{size}")))
        .with(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"))
}

fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("digits and ASCII words are a header's value")
}

/// One range as it is written. Numbers above 64 bits are as good as the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    /// `from-to`, both included; to the end when there is no `to`.
    From(u64, Option<u64>),
    /// `-count`: the last bytes.
    Last(u64),
}

impl Spec {
    fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.trim_matches([' ', '\t']).split_once('-')?;
        match (from, to) {
            ("", count) => Some(Self::Last(number(count)?)),
            (from, "") => Some(Self::From(number(from)?, None)),
            (from, to) => {
                let (from, to) = (number(from)?, number(to)?);
                (from <= to).then_some(Self::From(from, Some(to)))
            }
        }
    }

    /// Returns where the range lies in a file of `size` bytes; `None` when there is nothing of it.
    fn within(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(from, to) => from..to.map_or(size, |to| to.saturating_add(1).min(size)),
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

fn specs(value: &str) -> Option<Vec<Spec>> {
    let (unit, list) = value.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = Vec::new();
    for text in list.split(',').filter(|text| !text.trim().is_empty()) {
        if specs.len() == MOST {
            return None;
        }
        specs.push(Spec::parse(text)?);
    }
    (!specs.is_empty()).then_some(specs)
}

fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
