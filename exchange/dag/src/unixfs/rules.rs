//! What an import is told: a profile, and what departs from it.

use std::fmt;
use std::str::FromStr;

use pop_units::Bytes;

use super::ImportError;
use super::profile::{MAX_CHUNK, Profile};

/// How content becomes blocks.
///
/// The profile alone gives the CIDs that everybody else with the profile gets. A chunker or a layout of one's
/// own gives other CIDs for the same content.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rules {
    /// The form of nodes, leaves and directories.
    pub profile: Profile,
    /// Where content is cut.
    pub chunker: Chunker,
    /// How the leaves of a file are joined.
    pub layout: Layout,
}

/// Where the content of a file is cut into leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Chunker {
    /// Into the pieces that the profile asks for.
    #[default]
    Profile,
    /// Into pieces of one size, from one byte to [`MAX_CHUNK`].
    Size(Bytes),
    /// Where the content says so, around every 16 KiB: what is inserted moves no cut behind it, and content
    /// that two files share becomes the same leaves.
    Buzhash,
    /// By what the file is: audio and video, images and archives in pieces of 1 MiB, text, source code and
    /// fonts as [`Chunker::Buzhash`], anything else as the profile asks for.
    Auto,
}

/// How the leaves of a file are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Layout {
    /// Balanced, but audio and video trickled where [`Chunker::Auto`] tells them.
    #[default]
    Profile,
    /// Every leaf is equally deep.
    Balanced,
    /// The first leaves hang on the root, later ones deeper and deeper: made for reading from the start.
    Trickle,
}

/// A text that names no chunker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkerError {
    /// There is no chunker of that name.
    #[error("{text:?} is no chunker: there are profile, size-N, buzhash and auto")]
    Unknown {
        /// What was asked for.
        text: String,
    },
    /// The size is no number of bytes that a leaf can have.
    #[error("{text:?} is no chunk size: N is a number from 1 to {}", MAX_CHUNK.get())]
    Size {
        /// What was asked for.
        text: String,
    },
}

impl Rules {
    /// Returns the rules that depart from the profile in nothing.
    pub const fn new(profile: Profile) -> Self {
        Self { profile, chunker: Chunker::Profile, layout: Layout::Profile }
    }

    /// Refuses rules that would lose content, never end, or make blocks that nobody takes.
    pub(super) fn check(&self) -> Result<(), ImportError> {
        self.profile.check()?;
        match self.chunker {
            Chunker::Size(size) if !is_chunk(size) => Err(ImportError::Profile),
            Chunker::Size(_) | Chunker::Profile | Chunker::Buzhash | Chunker::Auto => Ok(()),
        }
    }
}

impl From<Profile> for Rules {
    fn from(profile: Profile) -> Self {
        Self::new(profile)
    }
}

/// Returns true for what can be the size of a leaf's content.
pub(super) fn is_chunk(size: Bytes) -> bool {
    !size.is_zero() && size <= MAX_CHUNK
}

impl FromStr for Chunker {
    type Err = ChunkerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "profile" => Ok(Self::Profile),
            "buzhash" => Ok(Self::Buzhash),
            "auto" => Ok(Self::Auto),
            _ => {
                let fail = || ChunkerError::Size { text: text.to_owned() };
                let unknown = || ChunkerError::Unknown { text: text.to_owned() };
                let digits = text.strip_prefix("size-").ok_or_else(unknown)?;
                // `parse` alone would take a sign.
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                let size = digits.parse().ok().filter(|_| plain).map(Bytes::new).ok_or_else(fail)?;
                if is_chunk(size) { Ok(Self::Size(size)) } else { Err(fail()) }
            }
        }
    }
}

impl fmt::Display for Chunker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile => f.write_str("profile"),
            Self::Size(size) => write!(f, "size-{}", size.get()),
            Self::Buzhash => f.write_str("buzhash"),
            Self::Auto => f.write_str("auto"),
        }
    }
}
