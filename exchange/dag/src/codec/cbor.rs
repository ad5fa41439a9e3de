//! dag-cbor, strictly: links of a block and paths through it without building values, and values.
//!
//! A general decoder would build up to a hundred bytes of value for each byte of a hostile block; a scan
//! needs none and can refuse what has more than one encoding.

mod value;

use cid::Cid;

use super::{MAX_NESTING, whole_cid};

pub use self::value::{decode, encode};
pub use super::Selected;

/// The one tag of dag-cbor: a link.
const LINK_TAG: u64 = 42;

/// How bytes break the rules of dag-cbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The value is longer than the block.
    #[error("cut short at byte {0}")]
    Truncated(usize),
    /// Bytes follow the value.
    #[error("bytes after the value at byte {0}")]
    Trailing(usize),
    /// A number, length, tag or simple value is none of dag-cbor's, or has a shorter encoding.
    #[error("not canonical at byte {0}")]
    NotCanonical(usize),
    /// Map keys are not text, not sorted, or repeated.
    #[error("map key out of order, repeated or not text at byte {0}")]
    Key(usize),
    /// A map key is not UTF-8.
    #[error("text is not UTF-8 at byte {0}")]
    Text(usize),
    /// A link is no CID.
    #[error("link without a valid CID at byte {0}")]
    Link(usize),
    /// Nesting is deeper than is read here.
    #[error("nested deeper than {MAX_NESTING} at byte {0}")]
    Depth(usize),
}

/// Checks a whole block and returns its links in order of appearance. Text values need not be UTF-8.
///
/// # Errors
/// The bytes are no strict dag-cbor value.
pub fn links(data: &[u8]) -> Result<Vec<Cid>, Fault> {
    let mut links = Vec::new();
    Scan::over(data, false).whole(&mut |cid| links.push(cid))?;
    Ok(links)
}

/// Follows `path` through a block: map keys by name, list items by index.
///
/// # Errors
/// The bytes are no strict dag-cbor value.
pub fn select(data: &[u8], path: &[String]) -> Result<Selected, Fault> {
    links(data)?;
    let mut scan = Scan::over(data, false);
    for (index, segment) in path.iter().enumerate() {
        let (major, count) = scan.head()?;
        match major {
            4 => match segment.parse::<u64>() {
                Ok(item) if item < count => {
                    for _ in 0..item {
                        scan.value(0, &mut |_| ())?;
                    }
                }
                _ => return Ok(Selected::NotFound(index)),
            },
            5 => {
                if !scan.seek_key(count, segment)? {
                    return Ok(Selected::NotFound(index));
                }
            }
            6 => return scan.link().map(|cid| Selected::Link { cid, used: index }),
            _ => return Ok(Selected::NoMembers(index)),
        }
    }
    match scan.head()? {
        (6, _) => scan.link().map(|cid| Selected::Link { cid, used: path.len() }),
        _ => Ok(Selected::Inside),
    }
}

struct Scan<'a> {
    data: &'a [u8],
    at: usize,
    /// Whether text values must be UTF-8.
    strict: bool,
}

impl<'a> Scan<'a> {
    const fn over(data: &'a [u8], strict: bool) -> Self {
        Self { data, at: 0, strict }
    }

    fn whole(mut self, on_link: &mut dyn FnMut(Cid)) -> Result<(), Fault> {
        self.value(0, on_link)?;
        if self.at == self.data.len() { Ok(()) } else { Err(Fault::Trailing(self.at)) }
    }

    fn value(&mut self, depth: u32, on_link: &mut dyn FnMut(Cid)) -> Result<(), Fault> {
        if depth > MAX_NESTING {
            return Err(Fault::Depth(self.at));
        }
        let start = self.at;
        let (major, count) = self.head()?;
        match major {
            0 | 1 | 7 => Ok(()),
            2 => self.take(count).map(drop),
            // Chain data in the wild (Filecoin tickets, addresses) carries plain bytes as text. A walk reads no
            // text values, so they do not keep a block from being walked; keys are read and must be text.
            3 if self.strict => self.text(count).map(drop),
            3 => self.take(count).map(drop),
            4 => (0..count).try_for_each(|_| self.value(depth + 1, on_link)),
            5 => {
                let mut last: Option<&str> = None;
                for _ in 0..count {
                    let key = self.key()?;
                    let sorted = last.is_none_or(|last| (last.len(), last) < (key.len(), key));
                    if !sorted {
                        return Err(Fault::Key(start));
                    }
                    last = Some(key);
                    self.value(depth + 1, on_link)?;
                }
                Ok(())
            }
            _ => self.link().map(on_link),
        }
    }

    /// Reads the head of an item: major type and argument.
    fn head(&mut self) -> Result<(u8, u64), Fault> {
        let start = self.at;
        let byte = self.take(1)?[0];
        let (major, info) = (byte >> 5, byte & 0x1f);
        let wide = match info {
            0..=23 => 0,
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return Err(Fault::NotCanonical(start)),
        };
        let mut argument = u64::from(info);
        if wide > 0 {
            let mut buffer = [0; 8];
            let at = buffer.len() - usize::from(u8::try_from(wide).unwrap_or(8));
            buffer[at..].copy_from_slice(self.take(wide)?);
            argument = u64::from_be_bytes(buffer);
        }
        let canonical = match (major, info) {
            // Only false, true, null and 64-bit floats that are numbers.
            (7, 20..=22) => true,
            // Negative zero equals zero and is written as zero; a walk reads no floats and puts up with it.
            (7, 27) if self.strict && argument == (-0.0f64).to_bits() => false,
            (7, 27) => f64::from_bits(argument).is_finite(),
            (7, _) => false,
            (6, _) => argument == LINK_TAG && info == 24,
            (_, 0..=23) => true,
            (_, 24) => argument >= 24,
            (_, 25) => argument > u64::from(u8::MAX),
            (_, 26) => argument > u64::from(u16::MAX),
            (_, _) => argument > u64::from(u32::MAX),
        };
        if canonical { Ok((major, argument)) } else { Err(Fault::NotCanonical(start)) }
    }

    /// Reads what follows the link tag.
    fn link(&mut self) -> Result<Cid, Fault> {
        let start = self.at;
        match self.head()? {
            (2, count) => match self.take(count)? {
                [0, cid @ ..] => whole_cid(cid).ok_or(Fault::Link(start)),
                _ => Err(Fault::Link(start)),
            },
            _ => Err(Fault::Link(start)),
        }
    }

    fn key(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        match self.head()? {
            (3, count) => self.text(count),
            _ => Err(Fault::Key(start)),
        }
    }

    /// Moves to the value of `wanted` in a map of `count` keys.
    fn seek_key(&mut self, count: u64, wanted: &str) -> Result<bool, Fault> {
        for _ in 0..count {
            if self.key()? == wanted {
                return Ok(true);
            }
            self.value(0, &mut |_| ())?;
        }
        Ok(false)
    }

    fn text(&mut self, count: u64) -> Result<&'a str, Fault> {
        let start = self.at;
        std::str::from_utf8(self.take(count)?).map_err(|_| Fault::Text(start))
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Fault> {
        let fault = Fault::Truncated(self.at);
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count)).ok_or(fault)?;
        let taken = self.data.get(self.at..end).ok_or(fault)?;
        self.at = end;
        Ok(taken)
    }
}
