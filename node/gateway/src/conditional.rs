//! Conditional requests (RFC 9110, 13): whoever has the representation already is spared it.
//!
//! Entity tags here are made of CIDs, so that equal tags mean equal bytes. There are no dates to compare with.

use http::{HeaderMap, HeaderName, header};

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The answer is wanted.
    Holds,
    /// The client has it: 304.
    NotModified,
    /// The client wants nothing but what it knows: 412.
    Failed,
}

/// Tells whether an answer with this entity tag is wanted. The tag is given as in the header, quotes included.
pub(crate) fn check(headers: &HeaderMap, tag: &str) -> Condition {
    if headers.contains_key(header::IF_MATCH)
        && !matches(headers, header::IF_MATCH, |sent| is_same(sent, tag))
    {
        return Condition::Failed;
    }
    match matches(headers, header::IF_NONE_MATCH, |sent| is_like(sent, tag)) {
        true => Condition::NotModified,
        false => Condition::Holds,
    }
}

/// Tells whether a `Range` counts: `If-Range` is absent or names this very representation.
pub(crate) fn allows_range(headers: &HeaderMap, tag: &str) -> bool {
    match headers.get(header::IF_RANGE) {
        None => true,
        // A date, which can be no match, has no quotes.
        Some(sent) => sent.to_str().is_ok_and(|sent| is_same(sent.trim(), tag)),
    }
}

/// Returns whether one of the tags in a header is a match; `*` matches whatever there is.
fn matches(headers: &HeaderMap, name: HeaderName, is_match: impl Fn(&str) -> bool) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|list| list.trim() == "*" || Tags(list).any(&is_match))
}

/// Strong comparison.
fn is_same(sent: &str, tag: &str) -> bool {
    sent == tag && !is_weak(tag)
}

/// Weak comparison, which sees through what proxies that compress make of a tag.
fn is_like(sent: &str, tag: &str) -> bool {
    let [sent, tag] = [sent, tag].map(|tag| tag.trim_start_matches("W/").trim_matches('"'));
    let base = ["-gzip", "-br", "-zstd"].iter().find_map(|suffix| sent.strip_suffix(suffix));
    sent == tag || base == Some(tag)
}

fn is_weak(tag: &str) -> bool {
    tag.starts_with("W/")
}

/// The entity tags of a list, with quotes, up to what is none.
struct Tags<'a>(&'a str);

impl<'a> Iterator for Tags<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches([' ', '\t', ',']);
        let open = if is_weak(rest) { 2 } else { 0 };
        let inside = rest.get(open..)?.strip_prefix('"')?;
        let len = inside.find('"')?;
        let (tag, after) = rest.split_at_checked(open + len + 2)?;
        self.0 = after;
        Some(tag)
    }
}

#[cfg(test)]
mod tests;
