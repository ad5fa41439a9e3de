//! `multipart/form-data` (RFC 7578, RFC 2046) as bytes come in, as a plain state machine.
//!
//! Own code, because what crates offer reads ahead as far as the client is fast and lets a part's head grow without
//! bound. Here no more is held than the piece at hand and one head or delimiter; content is handed on without a
//! copy. Nothing is skipped: what is neither a part nor framing is an error.

use bytes::{Bytes as Buf, BytesMut};

use super::disposition::{self, Field};

/// Bytes of a part's head: a name of the longest path, percent-encoded twice, and room.
const HEAD: usize = 8 << 10;
/// Headers of a part.
const HEADERS: usize = 16;
/// Spaces that may follow a delimiter.
const PADDING: usize = 16;
/// The longest boundary (RFC 2046, 5.1.1).
const BOUNDARY: usize = 70;

/// What a form consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A part begins.
    Part(Field),
    /// Content of the part.
    Data(Buf),
}

/// What is wrong with a form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the boundary is missing or has characters that it must not have")]
    Boundary,
    #[error("the body does not begin with the boundary")]
    Preamble,
    #[error("the head of a part is longer than {HEAD} bytes or has more than {HEADERS} lines")]
    LongHead,
    #[error("the head of a part is malformed: {0}")]
    Head(&'static str),
    #[error("the form breaks off in the middle")]
    Unfinished,
    #[error("bytes follow the end of the form")]
    Trailing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first delimiter.
    Start,
    /// In a part's head.
    Head,
    /// At the empty line behind it, which a delimiter may share when there is no content.
    Blank,
    /// In a part's content.
    Content,
    /// Behind the last delimiter.
    End,
}

/// A form on its way in.
#[derive(Debug)]
pub(crate) struct Parser {
    /// A line end and the dashes with the boundary.
    delimiter: Vec<u8>,
    state: State,
    /// What came and is not handed on.
    rest: Buf,
}

/// What follows the bytes of a delimiter.
enum After {
    /// Another part, so many bytes on.
    Part(usize),
    /// The end, so many bytes on.
    End(usize),
    /// Something else: it is none.
    Content,
    /// Too little has come to tell.
    More,
}

impl Parser {
    /// Begins a form with this boundary.
    pub(crate) fn new(boundary: &str) -> Result<Self, Broken> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
        let is_long = boundary.is_empty() || boundary.len() > BOUNDARY;
        if is_long || boundary.ends_with(' ') || !boundary.bytes().all(is_allowed) {
            return Err(Broken::Boundary);
        }
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        // The first delimiter begins a line like every other, the first of the body.
        Ok(Self { delimiter, state: State::Start, rest: Buf::from_static(b"\r\n") })
    }

    /// Takes the next piece of the body. All events are to be taken out before.
    pub(crate) fn feed(&mut self, piece: Buf) {
        if self.rest.is_empty() {
            self.rest = piece;
            return;
        }
        let mut joined = BytesMut::with_capacity(self.rest.len().saturating_add(piece.len()));
        joined.extend_from_slice(&self.rest);
        joined.extend_from_slice(&piece);
        self.rest = joined.freeze();
    }

    /// Returns what comes next; `None` when more of the body is needed.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, Broken> {
        loop {
            match self.state {
                State::Start => match self.after() {
                    After::More => return Ok(None),
                    After::Content => return Err(Broken::Preamble),
                    after => self.pass(after),
                },
                State::Head => return Ok(self.head()?.map(Event::Part)),
                State::Blank => match self.after() {
                    After::More => return Ok(None),
                    After::Content => {
                        let _ = self.rest.split_to(2);
                        self.state = State::Content;
                    }
                    after => self.pass(after),
                },
                State::Content => match self.content() {
                    Content::Data(data) => return Ok(Some(Event::Data(data))),
                    Content::Over => {}
                    Content::More => return Ok(None),
                },
                State::End => {
                    // RFC 2046 allows an epilogue. Nobody sends one, so more than line ends is content cut short.
                    let is_end = self.rest.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
                    self.rest.clear();
                    return if is_end { Ok(None) } else { Err(Broken::Trailing) };
                }
            }
        }
    }

    /// Checks that the body may end here.
    pub(crate) fn finish(&self) -> Result<(), Broken> {
        if self.state == State::End { Ok(()) } else { Err(Broken::Unfinished) }
    }

    /// Looks whether the rest begins with a delimiter, and at what follows it.
    fn after(&self) -> After {
        let start = self.delimiter.len();
        let length = start.min(self.rest.len());
        if self.rest[..length] != self.delimiter[..length] {
            return After::Content;
        }
        let Some(behind) = self.rest.get(start..) else { return After::More };
        if behind.starts_with(b"--") {
            return After::End(start + 2);
        }
        let padding = behind.iter().take(PADDING).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match behind[padding..] {
            [b'\r', b'\n', ..] => After::Part(start + padding + 2),
            [] | [b'\r'] => After::More,
            [b'-'] if padding == 0 => After::More,
            _ => After::Content,
        }
    }

    fn pass(&mut self, after: After) {
        let (state, length) = match after {
            After::Part(length) => (State::Head, length),
            After::End(length) => (State::End, length),
            After::Content | After::More => return,
        };
        self.state = state;
        let _ = self.rest.split_to(length);
    }

    fn head(&mut self) -> Result<Option<Field>, Broken> {
        if self.rest.starts_with(b"\r\n") {
            return Err(Broken::Head("it has no Content-Disposition"));
        }
        let window = &self.rest[..self.rest.len().min(HEAD)];
        let Some(end) = window.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if window.len() == HEAD { Err(Broken::LongHead) } else { Ok(None) };
        };
        let field = field(&window[..end])?;
        let _ = self.rest.split_to(end + 2);
        self.state = State::Blank;
        Ok(Some(field))
    }

    fn content(&mut self) -> Content {
        let mut from = 0;
        loop {
            let Some(at) = position(&self.rest[from..], b'\r').map(|at| at + from) else {
                return self.hand_on(self.rest.len());
            };
            let tail = &self.rest[at..];
            let length = tail.len().min(self.delimiter.len());
            if tail[..length] != self.delimiter[..length] {
                from = at + 1;
                continue;
            }
            if at > 0 {
                // The delimiter, or what may become one, is looked at when it comes first.
                return self.hand_on(at);
            }
            match self.after() {
                After::Content => from = 1,
                After::More => return Content::More,
                after => {
                    self.pass(after);
                    return Content::Over;
                }
            }
        }
    }

    fn hand_on(&mut self, length: usize) -> Content {
        match length {
            0 => Content::More,
            _ => Content::Data(self.rest.split_to(length)),
        }
    }
}

enum Content {
    Data(Buf),
    Over,
    More,
}

fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|byte| *byte == wanted)
}

/// Reads a part's head.
fn field(head: &[u8]) -> Result<Field, Broken> {
    let head = std::str::from_utf8(head).map_err(|_| Broken::Head("it is not UTF-8"))?;
    let mut found = None;
    for (index, line) in head.split("\r\n").enumerate() {
        if index >= HEADERS {
            return Err(Broken::LongHead);
        }
        let (name, value) = line.split_once(':').ok_or(Broken::Head("a line has no colon"))?;
        let is_name = |byte: u8| byte.is_ascii_graphic();
        if name.is_empty() || !name.bytes().all(is_name) || value.contains(['\r', '\n', '\0']) {
            return Err(Broken::Head("a line is no header"));
        }
        if name.eq_ignore_ascii_case("content-disposition") {
            if found.is_some() {
                return Err(Broken::Head("it has Content-Disposition twice"));
            }
            found = Some(disposition::parse(value).map_err(Broken::Head)?);
        }
        let is_plain =
            ["7bit", "8bit", "binary"].iter().any(|plain| value.trim().eq_ignore_ascii_case(plain));
        if name.eq_ignore_ascii_case("content-transfer-encoding") && !is_plain {
            return Err(Broken::Head("its content is encoded"));
        }
    }
    found.ok_or(Broken::Head("it has no Content-Disposition"))
}

#[cfg(test)]
mod tests;
