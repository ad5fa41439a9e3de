//! dag-json: JSON with links and bytes.
//!
//! The specification has one canonical form for writing and asks readers to put up with old data in another
//! one, so there are two ways in. [`decode`] takes the canonical form only: what it takes is encoded to the same
//! bytes again. [`decode_any`] and [`links`] also take spaces, keys in any order, and other spellings of the
//! same text and numbers. Neither takes a repeated key, a link or bytes that are none, or anything else in the
//! place that is reserved for them.

mod write;

use std::borrow::Cow;

use cid::Cid;
use data_encoding::BASE64_NOPAD;

use super::value::{Map, Value, all_differ};
use super::{MAX_NESTING, Selected};

pub use self::write::encode;

/// Longest text of a CID: 104 bytes in base32, and its prefix.
const MAX_CID_TEXT: usize = 1 + 168;

/// How bytes break the rules of dag-json.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end inside the value.
    #[error("cut short at byte {0}")]
    Truncated(usize),
    /// Bytes follow the value.
    #[error("bytes after the value at byte {0}")]
    Trailing(usize),
    /// This is no JSON.
    #[error("no JSON at byte {0}")]
    Syntax(usize),
    /// A number is outside of what 64 bits and a sign can hold, or no finite float.
    #[error("number out of range at byte {0}")]
    Number(usize),
    /// A text is no Unicode, or has an escape that is none.
    #[error("malformed text at byte {0}")]
    Text(usize),
    /// A map has the same key twice.
    #[error("repeated key in the map at byte {0}")]
    Repeated(usize),
    /// A link is no CID in its one spelling.
    #[error("link without a valid CID at byte {0}")]
    Link(usize),
    /// Bytes are no base64 without padding.
    #[error("malformed base64 at byte {0}")]
    Bytes(usize),
    /// A map looks like a link or like bytes and has more to it.
    #[error("the key \"/\" is misused at byte {0}")]
    Reserved(usize),
    /// Nesting is deeper than is read here.
    #[error("nested deeper than {MAX_NESTING} at byte {0}")]
    Depth(usize),
    /// The same value has another, canonical form.
    #[error("not canonical at byte {0}")]
    NotCanonical(usize),
}

/// Reads a value in its canonical form.
///
/// # Errors
/// The bytes are no dag-json value, or not in canonical form.
pub fn decode(data: &[u8]) -> Result<Value, Fault> {
    let value = decode_any(data)?;
    let Ok(canonical) = encode(&value) else { return Err(Fault::NotCanonical(0)) };
    if canonical == data {
        return Ok(value);
    }
    let same = canonical.iter().zip(data).take_while(|(a, b)| a == b).count();
    Err(Fault::NotCanonical(same))
}

/// Reads a value in any form.
///
/// # Errors
/// The bytes are no dag-json value.
pub fn decode_any(data: &[u8]) -> Result<Value, Fault> {
    Parser { data, at: 0, keep: true, on_link: &mut |_| () }.whole()
}

/// Checks a whole block, in any form, and returns its links in order of appearance.
///
/// # Errors
/// The bytes are no dag-json value.
pub fn links(data: &[u8]) -> Result<Vec<Cid>, Fault> {
    let mut links = Vec::new();
    Parser { data, at: 0, keep: false, on_link: &mut |cid| links.push(cid) }.whole()?;
    Ok(links)
}

/// Follows `path` through a block: map keys by name, list items by index.
///
/// # Errors
/// The bytes are no dag-json value.
pub fn select(data: &[u8], path: &[String]) -> Result<Selected, Fault> {
    Ok(decode_any(data)?.select(path))
}

struct Parser<'a, 'b> {
    data: &'a [u8],
    at: usize,
    /// Whether values are built; without that the data are checked and all values are null.
    keep: bool,
    on_link: &'b mut dyn FnMut(Cid),
}

impl<'a> Parser<'a, '_> {
    fn whole(mut self) -> Result<Value, Fault> {
        let value = self.value(0)?;
        match self.peek() {
            Err(Fault::Truncated(_)) => Ok(value),
            _ => Err(Fault::Trailing(self.at)),
        }
    }

    fn value(&mut self, depth: u32) -> Result<Value, Fault> {
        let first = self.peek()?;
        if depth > MAX_NESTING {
            return Err(Fault::Depth(self.at));
        }
        match first {
            b'{' => self.map(depth),
            b'[' => self.list(depth),
            b'"' => {
                let text = self.text()?;
                Ok(if self.keep { Value::Text(text.into()) } else { Value::Null })
            }
            b't' => self.word(b"true", Value::Bool(true)),
            b'f' => self.word(b"false", Value::Bool(false)),
            b'n' => self.word(b"null", Value::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(Fault::Syntax(self.at)),
        }
    }

    fn list(&mut self, depth: u32) -> Result<Value, Fault> {
        let mut items = Vec::new();
        self.at += 1;
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(Value::List(items.into()));
        }
        loop {
            let item = self.value(depth + 1)?;
            if self.keep {
                items.push(item);
            }
            if !self.goes_on(b']')? {
                return Ok(Value::List(items.into()));
            }
        }
    }

    fn map(&mut self, depth: u32) -> Result<Value, Fault> {
        let start = self.at;
        let (mut keys, mut entries) = (Vec::new(), Vec::new());
        self.at += 1;
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(Value::Map(Map::default()));
        }
        loop {
            let key = self.key()?;
            if keys.is_empty()
                && entries.is_empty()
                && key == "/"
                && let Some(special) = self.special(start)?
            {
                return Ok(special);
            }
            let value = self.value(depth + 1)?;
            if self.keep {
                entries.push((key.into(), value));
            } else {
                keys.push(key);
            }
            if !self.goes_on(b'}')? {
                break;
            }
        }
        if self.keep {
            return Map::new(entries).map(Value::Map).map_err(|_| Fault::Repeated(start));
        }
        let differ = all_differ(keys.iter().map(AsRef::as_ref));
        if differ { Ok(Value::Null) } else { Err(Fault::Repeated(start)) }
    }

    /// Reads what follows the first key "/" of a map: a link or bytes, or `None` for any other value, which is
    /// then still to be read.
    fn special(&mut self, start: usize) -> Result<Option<Value>, Fault> {
        if self.peek()? == b'"' {
            let at = self.at;
            let text = self.text()?;
            self.closes(start)?;
            // Another spelling of the same CID is refused with those that are none. The bound matters: reading
            // base58 takes the square of its length.
            let short = Some(text.as_ref()).filter(|text| text.len() <= MAX_CID_TEXT);
            let cid = short.and_then(|text| Cid::try_from(text).ok()).filter(|cid| cid.to_string() == text);
            let cid = cid.ok_or(Fault::Link(at))?;
            (self.on_link)(cid);
            return Ok(Some(if self.keep { Value::Link(Box::new(cid)) } else { Value::Null }));
        }
        let back = self.at;
        let bytes = self.bytes(start)?;
        if bytes.is_none() {
            self.at = back;
        }
        Ok(bytes)
    }

    fn bytes(&mut self, start: usize) -> Result<Option<Value>, Fault> {
        if self.peek()? != b'{' {
            return Ok(None);
        }
        self.at += 1;
        if self.peek()? != b'"' || self.key()? != "bytes" || self.peek()? != b'"' {
            return Ok(None);
        }
        let at = self.at;
        let text = self.text()?;
        self.closes(start)?;
        self.closes(start)?;
        let bytes = BASE64_NOPAD.decode(text.as_bytes()).map_err(|_| Fault::Bytes(at))?;
        Ok(Some(if self.keep { Value::Bytes(bytes.into()) } else { Value::Null }))
    }

    /// Wants the end of a map that must have no further key.
    fn closes(&mut self, start: usize) -> Result<(), Fault> {
        match self.peek()? {
            b'}' => {
                self.at += 1;
                Ok(())
            }
            b',' => Err(Fault::Reserved(start)),
            _ => Err(Fault::Syntax(self.at)),
        }
    }

    fn key(&mut self) -> Result<Cow<'a, str>, Fault> {
        if self.peek()? != b'"' {
            return Err(Fault::Syntax(self.at));
        }
        let key = self.text()?;
        if self.peek()? != b':' {
            return Err(Fault::Syntax(self.at));
        }
        self.at += 1;
        Ok(key)
    }

    /// Steps over a comma or over `end`; returns true for the comma.
    fn goes_on(&mut self, end: u8) -> Result<bool, Fault> {
        let found = self.peek()?;
        if found != b',' && found != end {
            return Err(Fault::Syntax(self.at));
        }
        self.at += 1;
        Ok(found == b',')
    }

    fn word(&mut self, word: &[u8], value: Value) -> Result<Value, Fault> {
        let rest = &self.data[self.at..];
        if rest.starts_with(word) {
            self.at += word.len();
            return Ok(value);
        }
        Err(if word.starts_with(rest) { Fault::Truncated(self.data.len()) } else { Fault::Syntax(self.at) })
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        let negative = self.steps_over(b"-");
        let digits = self.at;
        if !self.steps_over(b"0") {
            self.digits()?;
        }
        let whole = digits..self.at;
        let mut is_float = false;
        if self.steps_over(b".") {
            is_float = true;
            self.digits()?;
        }
        if self.steps_over(b"eE") {
            is_float = true;
            self.steps_over(b"+-");
            self.digits()?;
        }
        let text = |range| std::str::from_utf8(&self.data[range]).unwrap_or_default();
        let number = if is_float {
            text(start..self.at).parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float)
        } else {
            let number = text(whole).parse::<i128>().ok();
            number.and_then(|number| Value::integer(if negative { -number } else { number }))
        };
        number.ok_or(Fault::Number(start))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let count = self.data[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        match count {
            0 if self.at == self.data.len() => Err(Fault::Truncated(self.at)),
            0 => Err(Fault::Syntax(self.at)),
            _ => Ok(()),
        }
    }

    fn steps_over(&mut self, any: &[u8]) -> bool {
        let found = self.data.get(self.at).is_some_and(|byte| any.contains(byte));
        self.at += usize::from(found);
        found
    }

    /// Reads a text, of which the opening quote is next; borrows it where it has no escapes.
    fn text(&mut self) -> Result<Cow<'a, str>, Fault> {
        let start = self.at;
        self.at += 1;
        let first = self.plain(start)?;
        if self.steps_over(b"\"") {
            return Ok(Cow::Borrowed(first));
        }
        let mut text = first.to_owned();
        while !self.steps_over(b"\"") {
            text.push(self.escape(start)?);
            text.push_str(self.plain(start)?);
        }
        Ok(Cow::Owned(text))
    }

    /// Reads up to the next quote or escape.
    fn plain(&mut self, start: usize) -> Result<&'a str, Fault> {
        let rest = &self.data[self.at..];
        let len = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        let len = len.ok_or(Fault::Truncated(self.data.len()))?;
        self.at += len;
        if rest[len] < 0x20 {
            return Err(Fault::Text(start));
        }
        std::str::from_utf8(&rest[..len]).map_err(|_| Fault::Text(start))
    }

    /// Reads an escape, of which the backslash is next.
    fn escape(&mut self, start: usize) -> Result<char, Fault> {
        let found = *self.data.get(self.at + 1).ok_or(Fault::Truncated(self.data.len()))?;
        self.at += 2;
        Ok(match found {
            b'"' | b'\\' | b'/' => char::from(found),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit(start)?;
                let mut units = [unit, 0];
                let is_high = (0xd800..0xdc00).contains(&unit);
                if is_high && self.data[self.at..].starts_with(b"\\u") {
                    self.at += 2;
                    units[1] = self.unit(start)?;
                }
                let used = if is_high { &units[..] } else { &units[..1] };
                let mut chars = char::decode_utf16(used.iter().copied());
                match (chars.next(), chars.next()) {
                    (Some(Ok(found)), None) => found,
                    _ => return Err(Fault::Text(start)),
                }
            }
            _ => return Err(Fault::Text(start)),
        })
    }

    fn unit(&mut self, start: usize) -> Result<u16, Fault> {
        let digits = self.data.get(self.at..self.at + 4).ok_or(Fault::Truncated(self.data.len()))?;
        self.at += 4;
        let digit = |sum: u16, byte: &u8| {
            let digit = u16::try_from(char::from(*byte).to_digit(16)?).ok()?;
            Some(sum << 4 | digit)
        };
        digits.iter().try_fold(0, digit).ok_or(Fault::Text(start))
    }

    /// Returns the next byte that is no space.
    fn peek(&mut self) -> Result<u8, Fault> {
        while self.steps_over(b" \t\n\r") {}
        self.data.get(self.at).copied().ok_or(Fault::Truncated(self.at))
    }
}

#[cfg(test)]
mod tests;
