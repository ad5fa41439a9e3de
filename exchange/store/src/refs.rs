//! Refs: the roots this node keeps, what is known about each, and the names inside them.
//!
//! A ref is one row, and each of its keys a row of its own: a transaction of a thousand files must not
//! become one value that sled cannot hold safely.

use std::collections::BTreeMap;

use cid::Cid;
use pop_units::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{Error, StateError};
use crate::state::{Batch, State};

const REFS: &str = "store/ref";
const KEYS: &str = "store/ref-key";
/// Longer than any file name of a file system, and short enough for a row's key.
pub(crate) const NAME_LIMIT: usize = 1 << 10;

/// A root that the store keeps, with its DAG as far as it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ref {
    /// The root.
    pub root: Cid,
    /// Size of the blocks of its DAG that are here, each counted once. Computed by the commit.
    pub size: Bytes,
    /// Names inside the root, by name.
    pub keys: Vec<RefKey>,
    /// True when the whole DAG is here.
    pub complete: bool,
    /// True when eviction must leave it alone.
    pub pinned: bool,
    /// How often it was used.
    pub frequency: u64,
    /// When it was last used, in seconds since 1970.
    pub last_used: u64,
}

/// A name inside a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefKey {
    /// The name.
    pub name: String,
    /// What it names.
    pub cid: Cid,
    /// Its size as the owner counts it.
    pub size: Bytes,
}

impl Ref {
    /// Returns a ref to a root: nothing known yet, never used, not pinned.
    pub const fn new(root: Cid) -> Self {
        Self {
            root,
            size: Bytes::ZERO,
            keys: Vec::new(),
            complete: false,
            pinned: false,
            frequency: 0,
            last_used: 0,
        }
    }

    /// Adds what an earlier commit of the same root knew.
    pub(crate) fn merge(&mut self, old: Self) {
        let mut keys: BTreeMap<String, RefKey> =
            old.keys.into_iter().map(|key| (key.name.clone(), key)).collect();
        keys.extend(std::mem::take(&mut self.keys).into_iter().map(|key| (key.name.clone(), key)));
        self.keys = keys.into_values().collect();
        self.complete |= old.complete;
        self.pinned |= old.pinned;
        self.frequency = self.frequency.max(old.frequency);
        self.last_used = self.last_used.max(old.last_used);
    }
}

#[derive(Serialize, Deserialize)]
struct Row {
    root: Cid,
    size: Bytes,
    complete: bool,
    pinned: bool,
    frequency: u64,
    last_used: u64,
}

#[derive(Serialize, Deserialize)]
struct KeyRow {
    cid: Cid,
    size: Bytes,
}

/// Returns what a root is found by: its codec and multihash, whatever version it was written in.
pub(crate) fn id(root: &Cid) -> Vec<u8> {
    Cid::new_v1(root.codec(), *root.hash()).to_bytes()
}

fn key_prefix(root: &Cid) -> Vec<u8> {
    let id = id(root);
    [&[u8::try_from(id.len()).unwrap_or(u8::MAX)], id.as_slice()].concat()
}

/// Returns a ref with its keys.
pub(crate) fn load(state: &State, root: &Cid) -> Result<Option<Ref>, StateError> {
    let Some(row) = state.get(REFS, &id(root))? else { return Ok(None) };
    let mut found = read(&row)?;
    let prefix = key_prefix(root);
    for (key, value) in state.scan(KEYS, &prefix)? {
        found.keys.push(read_key(key.get(prefix.len()..).unwrap_or(&[]), &value)?);
    }
    Ok(Some(found))
}

/// Returns a ref without its keys.
pub(crate) fn load_bare(state: &State, root: &Cid) -> Result<Option<Ref>, StateError> {
    state.get(REFS, &id(root))?.map(|row| read(&row)).transpose()
}

/// Returns every ref without its keys.
pub(crate) fn list_bare(state: &State) -> Result<Vec<Ref>, StateError> {
    state.scan(REFS, &[])?.iter().map(|(_, row)| read(row)).collect()
}

/// Returns every ref with its keys, the least used first.
pub(crate) fn list(state: &State) -> Result<Vec<Ref>, StateError> {
    let mut refs = list_bare(state)?;
    for found in &mut refs {
        let prefix = key_prefix(&found.root);
        for (key, value) in state.scan(KEYS, &prefix)? {
            found.keys.push(read_key(key.get(prefix.len()..).unwrap_or(&[]), &value)?);
        }
    }
    refs.sort_by_key(|found| (found.frequency, found.last_used));
    Ok(refs)
}

/// Adds a ref to a batch, keys and all.
pub(crate) fn put(batch: &mut Batch, found: &Ref) -> Result<(), Error> {
    put_bare(batch, found)?;
    let prefix = key_prefix(&found.root);
    for key in &found.keys {
        if key.name.len() > NAME_LIMIT {
            return Err(Error::LongName { length: key.name.len(), limit: NAME_LIMIT });
        }
        let row = encode(KEYS, &KeyRow { cid: key.cid, size: key.size })?;
        batch.set(KEYS, &[prefix.as_slice(), key.name.as_bytes()].concat(), row);
    }
    Ok(())
}

/// Adds the row of a ref to a batch, leaving its keys as they are.
pub(crate) fn put_bare(batch: &mut Batch, found: &Ref) -> Result<(), StateError> {
    let Ref { root, size, keys: _, complete, pinned, frequency, last_used } = *found;
    let row = encode(REFS, &Row { root, size, complete, pinned, frequency, last_used })?;
    batch.set(REFS, &id(&root), row);
    Ok(())
}

/// Adds the removal of a ref and its keys to a batch.
pub(crate) fn delete(state: &State, batch: &mut Batch, root: &Cid) -> Result<(), StateError> {
    batch.unset(REFS, &id(root));
    for (key, _) in state.scan(KEYS, &key_prefix(root))? {
        batch.unset(KEYS, &key);
    }
    Ok(())
}

fn encode(table: &'static str, row: &impl Serialize) -> Result<Vec<u8>, StateError> {
    serde_ipld_dagcbor::to_vec(row).map_err(|error| StateError::Row { table, what: error.to_string() })
}

fn read(row: &[u8]) -> Result<Ref, StateError> {
    let row: Row = serde_ipld_dagcbor::from_slice(row)
        .map_err(|error| StateError::Row { table: REFS, what: error.to_string() })?;
    let Row { root, size, complete, pinned, frequency, last_used } = row;
    Ok(Ref { root, size, keys: Vec::new(), complete, pinned, frequency, last_used })
}

fn read_key(name: &[u8], value: &[u8]) -> Result<RefKey, StateError> {
    let fault = |what: String| StateError::Row { table: KEYS, what };
    let KeyRow { cid, size } =
        serde_ipld_dagcbor::from_slice(value).map_err(|error| fault(error.to_string()))?;
    let name = String::from_utf8(name.to_vec()).map_err(|error| fault(error.to_string()))?;
    Ok(RefKey { name, cid, size })
}
