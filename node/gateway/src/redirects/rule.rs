//! One rule of `_redirects`: `from to [status]`.

use http::StatusCode;
use percent_encoding::percent_decode_str;

use crate::request::target;

/// What `*` at the end of a path is called.
const SPLAT: &str = "splat";

/// The longest path or URL that a rule leads to; a name may stand in it often, and for a whole path.
const MAX_LENGTH: usize = 8 << 10;

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    from: Vec<Part>,
    to: String,
    status: StatusCode,
}

/// A segment of the path that a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// This very name.
    Name(String),
    /// Any name, `:called`.
    Any(String),
    /// Whatever follows, `*`.
    Rest,
}

/// What the names of a rule stand for, escaped.
pub(super) type Taken<'a> = Vec<(&'a str, String)>;

impl Rule {
    /// Reads a file.
    ///
    /// # Errors
    /// Returns the first line that is wrong, and why it is.
    pub(super) fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let mut rules = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            rules.push(Self::parse(line).map_err(|why| format!("line {number}: {why}"))?);
        }
        Ok(rules)
    }

    fn parse(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
        let (from, to, status) = match words.as_slice() {
            [from, to] => (*from, *to, StatusCode::MOVED_PERMANENTLY),
            [from, to, status] => (*from, *to, parse_status(status)?),
            _ => return Err("a rule is a path, where it leads and maybe a status".into()),
        };
        let is_url = to.starts_with("https://") || to.starts_with("http://");
        let leads = to.starts_with('/') || (is_url && status.is_redirection());
        if !leads {
            return Err(format!("{to:?} is no path, and no URL for a redirect"));
        }
        Ok(Self { from: parse_from(from)?, to: to.to_owned(), status })
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns what the names of the rule stand for, when it is for this path.
    pub(super) fn take(&self, segments: &[String], slash: bool) -> Option<Taken<'_>> {
        let mut taken = Vec::new();
        let mut left = segments.iter();
        for part in &self.from {
            match part {
                Part::Name(name) if left.next() == Some(name) => {}
                Part::Name(_) => return None,
                Part::Any(called) => taken.push((called.as_str(), target::escape(left.next()?))),
                Part::Rest => {
                    let rest: Vec<String> = left.by_ref().map(|name| target::escape(name)).collect();
                    if rest.is_empty() && !slash {
                        return None;
                    }
                    taken.push((SPLAT, rest.join("/")));
                }
            }
        }
        left.next().is_none().then_some(taken)
    }

    /// Returns where the rule leads, with its names replaced.
    ///
    /// # Errors
    /// Returns what is wrong when that is too long.
    pub(super) fn lead(&self, taken: &Taken<'_>) -> Result<String, String> {
        let mut pieces = self.to.split(':');
        let mut led = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let end = piece.find(|letter: char| !is_of_name(letter)).unwrap_or(piece.len());
            let (called, rest) = piece.split_at(end);
            match taken.iter().find(|(name, _)| *name == called) {
                Some((_, value)) => led.extend([value.as_str(), rest]),
                None => led.extend([":", piece]),
            }
            if led.len() > MAX_LENGTH {
                break;
            }
        }
        match led.len() > MAX_LENGTH {
            true => Err(format!("a rule leads to more than {MAX_LENGTH} bytes")),
            false => Ok(led),
        }
    }
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

fn parse_status(text: &str) -> Result<StatusCode, String> {
    if text.ends_with('!') {
        return Err("forced redirects (or \"shadowing\") are not supported".into());
    }
    match text {
        "200" | "301" | "302" | "303" | "307" | "308" | "404" | "410" | "451" => {
            text.parse().map_err(|_| format!("{text:?} is no status"))
        }
        _ => Err(format!("the status {text:?} is not supported")),
    }
}

fn parse_from(text: &str) -> Result<Vec<Part>, String> {
    let path = text.strip_prefix('/').ok_or_else(|| format!("{text:?} does not begin with a slash"))?;
    let mut parts = Vec::new();
    for piece in path.split('/').filter(|piece| !piece.is_empty()) {
        if parts.last() == Some(&Part::Rest) {
            return Err(format!("{text:?} goes on behind its *"));
        }
        let part = match (piece, piece.strip_prefix(':')) {
            ("*", _) => Part::Rest,
            (_, Some(called)) if !called.is_empty() && called.chars().all(is_of_name) => {
                Part::Any(called.to_owned())
            }
            (_, Some(called)) => return Err(format!("{called:?} is no name of a placeholder")),
            (piece, None) if piece.contains('*') => return Err(format!("{text:?} has a * inside a name")),
            (piece, None) => Part::Name(percent_decode_str(piece).decode_utf8_lossy().into_owned()),
        };
        if let Part::Any(called) = &part
            && (parts.contains(&part) || called == SPLAT)
        {
            return Err(format!("the placeholder {called:?} stands twice in {text:?}, or is called like *"));
        }
        parts.push(part);
    }
    Ok(parts)
}
