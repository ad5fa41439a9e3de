//! How each kind of setting reads and writes its text.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;

use multiaddr::Multiaddr;
use pop_evict::Choice;
use pop_units::{AttoFil, Bytes, PricePerByte, Span};

/// A value with a text form. Empty text means "not chosen" where that is allowed.
pub(super) trait Setting: Sized {
    /// Whether it is a list.
    const MANY: bool = false;
    /// Reads the text.
    fn read(text: &str) -> Result<Self, String>;
    /// Writes what reads back as the same value.
    fn write(&self) -> String;
}

/// What one element of a list or an optional value is.
pub(super) trait Part: FromStr<Err: fmt::Display> + fmt::Display + PartialEq {}
impl Part for Multiaddr {}
impl Part for String {}
impl Part for AttoFil {}
impl Part for SocketAddr {}
impl Part for NonZeroU16 {}
impl Part for Rate {}

impl<T: Part> Setting for Vec<T> {
    const MANY: bool = true;

    /// Commas, spaces and lines part the elements; blanks and repetitions are dropped.
    fn read(text: &str) -> Result<Self, String> {
        let mut list = Self::new();
        for part in text.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty()) {
            let part = part.parse().map_err(|error| format!("{part:?}: {error}"))?;
            if !list.contains(&part) {
                list.push(part);
            }
        }
        Ok(list)
    }

    fn write(&self) -> String {
        self.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
}

impl<T: Part> Setting for Option<T> {
    fn read(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|error: T::Err| error.to_string()),
        }
    }

    fn write(&self) -> String {
        self.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

impl Setting for Option<PathBuf> {
    fn read(text: &str) -> Result<Self, String> {
        Ok((!text.is_empty()).then(|| text.into()))
    }

    fn write(&self) -> String {
        self.as_ref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

macro_rules! plain {
    ($($type:ty),*) => { $(
        impl Setting for $type {
            fn read(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|error: <$type as FromStr>::Err| error.to_string())
            }

            fn write(&self) -> String {
                self.to_string()
            }
        }
    )* };
}

plain!(Choice, Percent, AttoFil, PricePerByte, Span, NonZeroUsize, u32, String);
plain!(ChainChoice, LogLevel, LogFormat, ServeChoice, FetchChoice, SellChoice, AccessLogFormat);

impl Setting for Option<Bytes> {
    fn read(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() { Ok(None) } else { Bytes::read(text).map(Some) }
    }

    fn write(&self) -> String {
        self.as_ref().map(Bytes::write).unwrap_or_default()
    }
}

impl Setting for Bytes {
    fn read(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|error: pop_units::ParseBytesError| error.to_string())
    }

    /// Exact, unlike the display form, which is rounded for people.
    fn write(&self) -> String {
        let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        let exact = units.iter().find(|(_, unit)| self.get() >= *unit && self.get().is_multiple_of(*unit));
        match exact {
            Some((name, unit)) => format!("{}{name}", self.get() / unit),
            None => self.get().to_string(),
        }
    }
}

/// Bytes each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub Bytes);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let size = text.strip_suffix("/s").unwrap_or(text);
        let size = Bytes::read(size).map_err(|_| format!("{text:?} is no rate; write it like 10MiB/s"))?;
        match size.is_zero() {
            true => Err("a rate of zero would stop the node; leave it empty for no bound".to_owned()),
            false => Ok(Self(size)),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0.write())
    }
}

/// A part of a whole that is at least half of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(u8);

impl Percent {
    /// Returns the number before the sign.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').unwrap_or(text).trim_end();
        match number.parse() {
            Ok(percent @ 50..=100) => Ok(Self(percent)),
            Ok(_) | Err(_) => Err(format!("{text:?} is no part; write it like 95%, from 50% to 100%")),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// Which chain money lives on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainChoice {
    /// The embedded ledger of this operator.
    Local,
    /// A Filecoin JSON-RPC API.
    Url(String),
}

impl FromStr for ChainChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "local" => Ok(Self::Local),
            _ if text.starts_with("http://") || text.starts_with("https://") => {
                Ok(Self::Url(text.to_owned()))
            }
            _ => Err(format!(
                "{text:?} is no chain; write local or a URL that starts with http:// or https://"
            )),
        }
    }
}

impl fmt::Display for ChainChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// Declares a setting that is one of a few words.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $( $(#[doc = $word_doc:literal])+ $variant:ident = $word:literal, )+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[doc = $word_doc])+ $variant, )+
        }

        impl $name {
            /// Returns the word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )+
                }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $( $word => Ok(Self::$variant), )+
                    _ => Err(format!("{text:?} is none of {}", [$($word),+].join(", "))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// How much is logged.
    LogLevel {
        /// What the operator must act on.
        Error = "error",
        /// What is odd but survived.
        Warn = "warn",
        /// The node's life cycle.
        Info = "info",
        /// Every deal.
        Debug = "debug",
        /// Every block.
        Trace = "trace",
    }
}

words! {
    /// How log lines look.
    LogFormat {
        /// For people.
        Text = "text",
        /// For collectors.
        Json = "json",
    }
}

words! {
    /// What the gateway answers.
    ServeChoice {
        /// Everything on loopback, elsewhere what clients verify themselves.
        Auto = "auto",
        /// Files, directories, blocks and CARs.
        Full = "full",
        /// Blocks and CARs.
        Trustless = "trustless",
    }
}

words! {
    /// What the gateway does about content that is not here.
    FetchChoice {
        /// Nothing.
        Off = "off",
        /// Takes it where it costs nothing.
        Free = "free",
        /// Buys it, within bounds.
        Paid = "paid",
    }
}

words! {
    /// What content costs over HTTP.
    SellChoice {
        /// Nothing.
        Free = "free",
        /// What the node asks of its peers.
        Node = "node",
    }
}

words! {
    /// What a line of the access log looks like.
    AccessLogFormat {
        /// As web servers write it.
        Combined = "combined",
        /// One JSON object.
        Json = "json",
    }
}
