//! Who uploads: the owner of a token, or somebody on this machine.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use subtle::ConstantTimeEq;

/// The largest file of tokens; a thousand tokens are a tenth of it.
const FILE_LIMIT: u64 = 1 << 20;
/// Tokens shorter than this are guessed.
const SHORT: usize = 16;

/// Who uploads.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    name: Arc<str>,
    secret: Arc<[u8]>,
}

impl Owner {
    pub(crate) fn new(name: &str, secret: &[u8]) -> Self {
        Self { name: name.into(), secret: secret.into() }
    }

    /// Somebody on this machine, who needs no token.
    pub(crate) fn local() -> Self {
        Self::new("local", &[])
    }

    /// Returns the name for the log.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

// Written by hand, as secrets are not for logs.
impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Owner").field(&self.name).finish()
    }
}

/// The tokens of a file, read again when it changes. While it cannot be read, nobody is let in.
#[derive(Debug)]
pub(crate) struct Tokens {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// What the file was at the last look; nothing inside when there was none.
    stamp: Option<Option<Stamp>>,
    owners: Arc<[Owner]>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Tokens {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), known: Mutex::default() }
    }

    /// Returns the owner of a token. Every token is compared, in a time that does not tell how much was right. Blocks.
    pub(crate) fn owner_of(&self, shown: &[u8]) -> Option<Owner> {
        let owners = self.owners();
        let mut found = None;
        for owner in owners.iter() {
            if bool::from(owner.secret.ct_eq(shown)) {
                found = Some(owner.clone());
            }
        }
        found
    }

    /// Returns who may upload now. Blocks.
    pub(crate) fn owners(&self) -> Arc<[Owner]> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = fs::metadata(&self.path).ok().map(|meta| stamp(&meta));
        if known.stamp != Some(stamp) {
            let read = read(&self.path);
            if let Err(error) = &read {
                tracing::error!(path = %self.path.display(), %error, "the upload tokens cannot be read; nobody uploads");
            }
            // The look was before the read: what changed in between is seen next time.
            *known = Known { stamp: Some(stamp), owners: read.unwrap_or_default().into() };
        }
        Arc::clone(&known.owners)
    }
}

fn stamp(meta: &Metadata) -> Stamp {
    Stamp { inode: meta.ino(), size: meta.size(), changed: (meta.ctime(), meta.ctime_nsec()) }
}

fn read(path: &Path) -> io::Result<Vec<Owner>> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if meta.mode() & 0o007 != 0 {
        tracing::warn!(path = %path.display(), "everybody on this machine may read the upload tokens; chmod 600 it");
    }
    let mut text = String::new();
    file.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_LIMIT {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(parse(&text))
}

/// Reads `TOKEN` or `NAME:TOKEN` of each line; empty lines and those that begin with `#` are none.
fn parse(text: &str) -> Vec<Owner> {
    let mut owners = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), index + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, secret) = match line.split_once(':') {
            Some((name, secret)) => (name.trim().to_owned(), secret.trim()),
            None => (format!("token {number}"), line),
        };
        // What no header can carry lets nobody in, least of all an empty one.
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            tracing::warn!(line = number, "no upload token: it is empty, has a space, or is not ASCII");
            continue;
        }
        if secret.len() < SHORT {
            tracing::warn!(line = number, name, "an upload token of fewer than 16 characters can be guessed");
        }
        owners.push(Owner::new(&name, secret.as_bytes()));
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_tokens_with_or_without_a_name() {
        let owners = parse(
            "# mine\n\n  alice : 0123456789abcdef0 \nfedcba9876543210fedc\nbob:\n:nameless-but-long\nx:two words\n",
        );
        let shown: Vec<_> =
            owners.iter().map(|o| (o.name(), std::str::from_utf8(&o.secret).unwrap())).collect();
        assert_eq!(
            shown,
            [("alice", "0123456789abcdef0"), ("token 4", "fedcba9876543210fedc"), ("", "nameless-but-long")]
        );
        assert_eq!(format!("{:?}", owners[0]), "Owner(\"alice\")");
    }

    #[test]
    fn the_file_is_read_again_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        let tokens = Tokens::new(&path);
        assert!(tokens.owner_of(b"one-one-one-one-one").is_none(), "no file is nobody");
        fs::write(&path, "a:one-one-one-one-one\nb:two-two-two-two-two\n").unwrap();
        assert_eq!(tokens.owner_of(b"one-one-one-one-one").unwrap().name(), "a");
        assert_eq!(tokens.owner_of(b"two-two-two-two-two").unwrap().name(), "b");
        assert!(tokens.owner_of(b"two-two-two-two-twO").is_none());
        assert!(tokens.owner_of(b"").is_none());
        // Replaced as editors do, so that the inode changes whatever the clock's grain.
        fs::write(dir.path().join("new"), "c:one-one-one-one-one\n").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(tokens.owner_of(b"one-one-one-one-one").unwrap().name(), "c");
        assert!(tokens.owner_of(b"two-two-two-two-two").is_none());
        fs::write(&path, "").unwrap();
        assert!(tokens.owner_of(b"one-one-one-one-one").is_none(), "an empty file is nobody");
        fs::remove_file(&path).unwrap();
        assert!(tokens.owners().is_empty());
    }

    #[test]
    fn a_file_that_is_no_list_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        fs::write(&path, [0xff; 40]).unwrap();
        assert!(Tokens::new(&path).owners().is_empty());
        fs::write(&path, "a-long-enough-token\n".repeat(60_000)).unwrap();
        assert!(Tokens::new(&path).owners().is_empty());
    }
}
