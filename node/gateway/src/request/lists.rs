//! What is never served, and what alone is.
//!
//! A list has one CID or path `/ipfs/CID/…` in a line, `#` begins a comment. Behind it may stand `451` and the URL
//! of whoever demands it (RFC 7725). A CID stands for its content in every version, base and codec, and a path for
//! everything below it.

pub(crate) mod guard;

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode, header};
use pop_dag::Cid;

use crate::refusal::{Keep, Refusal};
use crate::request::{cid, target};
use crate::settings;

/// How often the files are looked at: a stat a second is nothing, and whoever edits a list waits twice as long.
const EVERY: Duration = Duration::from_secs(1);

/// How long others may remember that content is forbidden: lists change both ways.
const KEEP: Duration = Duration::from_secs(300);

/// The largest list: ten million lines are a mistake, and all of it is memory.
const MAX_SIZE: u64 = 1 << 30;

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// The file cannot be read.
    #[error("the list {path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A line is neither a CID nor a path.
    #[error("line {line} of the list {path}: {why}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

/// The lists of a gateway, as they are now.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    deny: Option<Watched>,
    allow: Option<Watched>,
}

/// A list and the file that it is from.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    state: Mutex<State>,
    /// How often there were other rules.
    changes: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    rules: Option<Arc<Rules>>,
    /// What the file was like when it was read last.
    stamp: Option<Stamp>,
    /// What it was like at the last look, when it had changed.
    changing: Option<Stamp>,
    looked: Option<Instant>,
}

/// What tells one state of a file from another: inode, length, and when the content and the inode last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        Self {
            inode: (file.dev(), file.ino()),
            size: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// The lines of a list, by the multihash of the CID.
#[derive(Debug, Default)]
pub(crate) struct Rules(HashMap<Vec<u8>, Vec<Rule>>);

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    below: Vec<String>,
    is_legal: bool,
    by: Option<HeaderValue>,
}

impl Lists {
    pub(crate) fn new(files: &settings::Lists) -> Self {
        let watched = |path: &Option<PathBuf>| path.clone().map(Watched::new);
        Self { deny: watched(&files.deny), allow: watched(&files.allow) }
    }

    /// Returns whether there are none, so that nothing has to be looked at.
    pub(crate) fn is_empty(&self) -> bool {
        self.deny.is_none() && self.allow.is_none()
    }

    /// Reads the lists for the first time. Blocks.
    ///
    /// # Errors
    /// A list cannot be used; the owner has to know before anything is served.
    pub(crate) fn load(&self, now: Instant) -> Result<(), ListError> {
        self.all().try_for_each(|list| list.read(now))
    }

    /// Returns whether it is time to look at the files.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.all().any(|list| list.is_due(now))
    }

    /// Reads what has changed; a list that cannot be read stays as it was. Blocks.
    pub(crate) fn refresh(&self, now: Instant) {
        for list in self.all() {
            list.refresh(now);
        }
    }

    /// Refuses a path below a root that is asked for.
    ///
    /// # Errors
    /// It is on the list of what is never served, or not on the list of what is.
    pub(crate) fn check(&self, root: &Cid, segments: &[String]) -> Result<(), Refusal> {
        if let Some(allow) = &self.allow
            && allow.rules().is_none_or(|rules| rules.find(root, segments).is_none())
        {
            return Err(gone("this node serves only what is on its allow list, and this is not"));
        }
        self.check_block(root, segments)
    }

    /// Refuses what a path leads to or through.
    ///
    /// # Errors
    /// It is on the list of what is never served.
    pub(crate) fn check_block(&self, block: &Cid, segments: &[String]) -> Result<(), Refusal> {
        let Some(deny) = &self.deny else { return Ok(()) };
        // Without its list, a gateway that should have one serves nothing.
        let Some(rules) = deny.rules() else {
            return Err(gone("the deny list of this node is not read yet"));
        };
        rules.find(block, segments).map_or(Ok(()), |rule| Err(rule.refusal()))
    }

    /// Refuses an archive of everything below a path, when something there is never served.
    ///
    /// # Errors
    /// It, or a path below it, is on the list of what is never served.
    pub(crate) fn check_below(&self, block: &Cid, segments: &[String]) -> Result<(), Refusal> {
        self.check_block(block, segments)?;
        let rules = self.deny.as_ref().and_then(Watched::rules);
        let rule = rules.as_ref().and_then(|rules| rules.find_below(block, segments));
        rule.map_or(Ok(()), |rule| Err(rule.refusal().hint("What else there is can be had by its own path.")))
    }

    /// Returns a number that grows with every change of a list.
    pub(crate) fn changes(&self) -> u64 {
        self.all().map(|list| list.changes.load(Ordering::Acquire)).fold(0, u64::wrapping_add)
    }

    fn all(&self) -> impl Iterator<Item = &Watched> {
        self.deny.iter().chain(&self.allow)
    }
}

impl Watched {
    fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::default(), changes: AtomicU64::new(0) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Only whole values are put in, so whoever broke left a list that can be used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rules(&self) -> Option<Arc<Rules>> {
        self.state().rules.clone()
    }

    fn is_due(&self, now: Instant) -> bool {
        self.state().looked.is_none_or(|looked| now.saturating_duration_since(looked) >= EVERY)
    }

    fn read(&self, now: Instant) -> Result<(), ListError> {
        let stamp = self.stamp()?;
        let text = std::fs::read_to_string(&self.path).map_err(|source| self.unreadable(source))?;
        if self.stamp()? != stamp {
            return Err(self.unreadable(io::Error::other("it was written to while it was read")));
        }
        let rules = Rules::parse(&text).map_err(|(line, why)| {
            let path = self.path.clone();
            ListError::Line { path, line, why }
        });
        let mut state = self.state();
        state.looked = Some(now);
        // A broken file is not read again before it changes.
        state.stamp = Some(stamp);
        state.rules = Some(Arc::new(rules?));
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn refresh(&self, now: Instant) {
        {
            let mut state = self.state();
            if state.looked.is_some_and(|looked| now.saturating_duration_since(looked) < EVERY) {
                return;
            }
            state.looked = Some(now);
        }
        let read = match self.stamp() {
            Ok(stamp) if !self.is_settled(stamp) => return,
            Ok(_) => self.read(now),
            Err(error) => Err(error),
        };
        match read {
            Ok(()) => tracing::info!(list = %self.path.display(), "the list was read again"),
            Err(error) => {
                let why = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, why, "the list stays as it was");
            }
        }
    }

    /// Returns whether the file has changed, and not since the last look: an editor may have emptied it and write on.
    fn is_settled(&self, stamp: Stamp) -> bool {
        let mut state = self.state();
        let is_new = state.stamp != Some(stamp);
        let before = state.changing.replace(stamp);
        is_new && before == Some(stamp)
    }

    fn stamp(&self) -> Result<Stamp, ListError> {
        let found = std::fs::metadata(&self.path).map_err(|source| self.unreadable(source))?;
        if found.len() > MAX_SIZE {
            return Err(self.unreadable(io::Error::new(io::ErrorKind::FileTooLarge, "it is above 1 GiB")));
        }
        Ok(Stamp::of(&found))
    }

    fn unreadable(&self, source: io::Error) -> ListError {
        ListError::Read { path: self.path.clone(), source }
    }
}

impl Rules {
    /// Reads a list.
    ///
    /// # Errors
    /// Returns the number of the first line that is wrong, and why it is.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut rules = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            // Only behind a space, as a path may have one.
            let line = line.trim();
            let line = line.split_once(" #").map_or(line, |(line, _)| line);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (root, rule) = Rule::parse(line).map_err(|why| (number, why))?;
            rules.0.entry(root.hash().to_bytes()).or_default().push(rule);
        }
        Ok(rules)
    }

    fn find(&self, root: &Cid, segments: &[String]) -> Option<&Rule> {
        self.0.get(&root.hash().to_bytes())?.iter().find(|rule| segments.starts_with(&rule.below))
    }

    /// Finds a rule for something below a path.
    fn find_below(&self, root: &Cid, segments: &[String]) -> Option<&Rule> {
        self.0.get(&root.hash().to_bytes())?.iter().find(|rule| rule.below.starts_with(segments))
    }
}

impl Rule {
    fn parse(line: &str) -> Result<(Cid, Self), String> {
        let mut words = line.split_whitespace();
        let path = words.next().unwrap_or_default();
        let segments = target::split(path).map_err(|refusal| refusal.message.clone())?.segments;
        let segments = match segments.split_first() {
            Some((first, rest)) if first == "ipfs" => rest,
            _ => &segments,
        };
        let Some((root, below)) = segments.split_first() else { return Err("there is no CID".into()) };
        let root = cid::parse(root).map_err(|why| format!("{root:?} is no CID: {why}"))?;
        let is_legal = match words.next() {
            None | Some("410") => false,
            Some("451") => true,
            Some(other) => return Err(format!("{other:?} is neither 410 nor 451")),
        };
        let by = words.next().map(blocked_by).transpose()?;
        match words.next() {
            Some(other) => Err(format!("{other:?} is too much")),
            None => Ok((root, Self { below: below.to_vec(), is_legal, by })),
        }
    }

    fn refusal(&self) -> Refusal {
        if !self.is_legal {
            return gone("this content is on the deny list of this node");
        }
        let message = "this content is on the deny list of this node, because of a legal demand";
        let status = StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS;
        let refusal = Refusal::new(status, message).keep(Keep::For(KEEP));
        match &self.by {
            Some(by) => refusal.with(header::LINK, by.clone()),
            None => refusal,
        }
    }
}

fn blocked_by(url: &str) -> Result<HeaderValue, String> {
    let is_url = url.starts_with("https://") || url.starts_with("http://");
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(&byte));
    let value = HeaderValue::from_str(&format!("<{url}>; rel=\"blocked-by\""));
    value.ok().filter(|_| is_url && is_plain).ok_or_else(|| format!("{url:?} is no URL"))
}

fn gone(message: &str) -> Refusal {
    Refusal::new(StatusCode::GONE, message).keep(Keep::For(KEEP))
}

#[cfg(test)]
mod tests;
