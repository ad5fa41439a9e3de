//! Where the embedded ledger keeps its rows: a seam, so that the ledger itself owns no database.

use std::collections::BTreeMap;

use parking_lot::RwLock;

/// A key and its new value; no value deletes.
pub type Change = (Vec<u8>, Option<Vec<u8>>);
/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// The largest value that is ever written.
pub const MAX_VALUE: usize = 4096;

/// What a store says when it cannot do its work.
#[derive(Debug, thiserror::Error)]
#[error("ledger store failed")]
pub struct StoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A durable map of rows. Calls may block on the disk.
pub trait ChainStore: Send + Sync {
    /// Returns the value of `key`.
    ///
    /// # Errors
    /// The store cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Applies all changes or none, and returns once they would survive a loss of power.
    ///
    /// # Errors
    /// The store cannot be written; then nothing has changed.
    fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError>;

    /// Returns all rows whose key starts with `prefix`, in order of keys.
    ///
    /// # Errors
    /// The store cannot be read.
    fn scan(&self, prefix: &[u8]) -> Result<Vec<Row>, StoreError>;
}

/// A store that forgets with the process, for tests and throw-away ledgers.
#[derive(Debug, Default)]
pub struct MemStore(RwLock<BTreeMap<Vec<u8>, Vec<u8>>>);

impl MemStore {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl ChainStore for MemStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.read().get(key).cloned())
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut rows = self.0.write();
        for (key, value) in changes {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Row>, StoreError> {
        let rows = self.0.read();
        let from = rows.range(prefix.to_vec()..);
        Ok(from.take_while(|(k, _)| k.starts_with(prefix)).map(|(k, v)| (k.clone(), v.clone())).collect())
    }
}
