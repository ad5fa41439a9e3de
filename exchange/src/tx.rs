//! The open transaction: named entries that become one root.

use std::collections::BTreeMap;

use pop_dag::Cid;
use pop_units::Bytes;

/// Entries of one transaction; a directory above this is better put as a directory.
const ENTRIES: usize = 4096;
/// Bytes of a key: a file system's limit, as it becomes a file name on export.
const KEY: usize = 255;

/// Why a key is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It cannot be a file name.
    #[error("{key:?} is no key: it must not be empty, `.`, `..`, or contain `/` or NUL")]
    NotAName {
        /// The key.
        key: String,
    },
    /// It is too long.
    #[error("key of {len} bytes is over {KEY}")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// The transaction is full.
    #[error("a transaction holds at most {ENTRIES} entries")]
    Full,
}

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The root of the content.
    pub cid: Cid,
    /// Bytes of file content.
    pub size: Bytes,
    /// Size of the DAG, as links state it.
    pub tsize: Bytes,
}

/// The open transaction. Blocks are staged elsewhere; this is the list of what they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenTx {
    entries: BTreeMap<String, Entry>,
}

impl OpenTx {
    /// Puts an entry; an earlier one of the same key is returned and forgotten.
    ///
    /// # Errors
    /// The key is none, or the transaction is full; nothing changes.
    pub fn put(&mut self, key: &str, entry: Entry) -> Result<Option<Entry>, KeyError> {
        check_key(key)?;
        if self.entries.len() >= ENTRIES && !self.entries.contains_key(key) {
            return Err(KeyError::Full);
        }
        Ok(self.entries.insert(key.to_owned(), entry))
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        self.entries.remove(key)
    }

    /// Returns what `key` stands for.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Returns the entries by key.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// Returns the CIDs that keep the staged blocks alive.
    pub fn roots(&self) -> Vec<Cid> {
        self.entries.values().map(|entry| entry.cid).collect()
    }

    /// Returns true when there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the bytes of file content of all entries.
    pub fn size(&self) -> Bytes {
        self.entries.values().fold(Bytes::ZERO, |sum, entry| sum.saturating_add(entry.size))
    }
}

/// Checks that `key` can be an entry of a directory and a file's name.
///
/// # Errors
/// It cannot.
pub fn check_key(key: &str) -> Result<(), KeyError> {
    if key.len() > KEY {
        return Err(KeyError::TooLong { len: key.len() });
    }
    if key.is_empty() || key == "." || key == ".." || key.contains(['/', '\0']) {
        return Err(KeyError::NotAName { key: key.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pop_dag::{Block, Buf, Codec};

    fn entry(text: &'static [u8]) -> Entry {
        let block = Block::of(Codec::Raw, Buf::from_static(text));
        Entry { cid: *block.cid(), size: block.size(), tsize: block.size() }
    }

    #[test]
    fn the_same_key_again_replaces_the_entry() {
        let mut tx = OpenTx::default();
        assert_eq!(tx.put("a.txt", entry(b"one")), Ok(None));
        assert_eq!(tx.put("a.txt", entry(b"three")), Ok(Some(entry(b"one"))));
        assert_eq!(tx.put("b", entry(b"x")), Ok(None));
        assert_eq!(tx.size(), Bytes::new(6));
        assert_eq!(tx.entries().map(|(key, _)| key).collect::<Vec<_>>(), ["a.txt", "b"]);
        assert_eq!(tx.roots().len(), 2);
        assert_eq!(tx.remove("a.txt"), Some(entry(b"three")));
    }

    #[test]
    fn what_is_no_file_name_is_no_key() {
        let mut tx = OpenTx::default();
        for key in ["", ".", "..", "a/b", "/", "nul\0"] {
            assert_eq!(tx.put(key, entry(b"x")), Err(KeyError::NotAName { key: key.into() }), "{key:?}");
        }
        let long = "x".repeat(256);
        assert_eq!(tx.put(&long, entry(b"x")), Err(KeyError::TooLong { len: 256 }));
        assert!(tx.is_empty());
    }

    #[test]
    fn a_full_transaction_takes_no_new_key() {
        let mut tx = OpenTx::default();
        for n in 0..ENTRIES {
            tx.put(&n.to_string(), entry(b"x")).unwrap();
        }
        assert_eq!(tx.put("one more", entry(b"x")), Err(KeyError::Full));
        assert!(tx.put("7", entry(b"y")).is_ok());
    }
}
