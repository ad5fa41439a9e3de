//! Refs: the roots this node keeps, what is known about each, and the names inside them.
//!
//! A ref is one row, and each of its keys a row of its own: a transaction of a thousand files must not
//! become one value that sled cannot hold safely, and a use of it must not cost a look at each.

use std::collections::BTreeMap;

use cid::Cid;
use pop_units::{AttoFil, Bytes};
use serde::{Deserialize, Serialize};

use crate::error::{Error, StateError};
use crate::reach::{Blocks, Reach};
use crate::state::{Batch, State};
use crate::whole::Whole;

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
    /// What was served of it in all.
    pub bytes_served: Bytes,
    /// What was received for serving it.
    pub revenue: AttoFil,
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
    /// True when its whole DAG is here. Found out by the commit, whatever it was given.
    pub here: bool,
}

impl RefKey {
    /// Returns a key of which nothing is known to be here.
    pub fn new(name: impl Into<String>, cid: Cid, size: Bytes) -> Self {
        Self { name: name.into(), cid, size, here: false }
    }
}

/// A ref without the names in it, which may be a hundred thousand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// The root.
    pub root: Cid,
    /// Size of the blocks of its DAG that are here, each counted once.
    pub size: Bytes,
    /// True when the whole DAG is here.
    pub complete: bool,
    /// True when eviction must leave it alone.
    pub pinned: bool,
    /// How often it was used.
    pub frequency: u64,
    /// When it was last used, in seconds since 1970.
    pub last_used: u64,
    /// How many names there are inside the root.
    #[serde(default = "uncounted")]
    pub names: u64,
    /// What was served of it in all.
    #[serde(default)]
    pub bytes_served: Bytes,
    /// What was received for serving it.
    #[serde(default)]
    pub revenue: AttoFil,
}

/// Rows of older versions do not tell the number of names; reading one counts them.
const fn uncounted() -> u64 {
    u64::MAX
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
            bytes_served: Bytes::ZERO,
            revenue: AttoFil::ZERO,
        }
    }

    /// Puts a ref together from its rows.
    pub(crate) fn of(brief: Brief, names: Names) -> Self {
        let Brief { root, size, complete, pinned, frequency, last_used, names: _, bytes_served, revenue } =
            brief;
        let named = |(name, row): (String, KeyRow)| RefKey {
            name,
            cid: row.cid,
            size: row.size,
            here: row.here || complete,
        };
        let keys = names.into_iter().map(named).collect();
        Self { root, size, keys, complete, pinned, frequency, last_used, bytes_served, revenue }
    }

    /// Takes the names out.
    pub(crate) fn split(self) -> (Brief, BTreeMap<String, RefKey>) {
        let Self { root, size, keys, complete, pinned, frequency, last_used, bytes_served, revenue } = self;
        let names = 0;
        let brief =
            Brief { root, size, complete, pinned, frequency, last_used, names, bytes_served, revenue };
        (brief, keys.into_iter().map(|key| (key.name.clone(), key)).collect())
    }
}

impl Brief {
    /// Adds what another commit of the same root knew.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.complete |= other.complete;
        self.pinned |= other.pinned;
        self.frequency = self.frequency.max(other.frequency);
        self.last_used = self.last_used.max(other.last_used);
        self.bytes_served = self.bytes_served.max(other.bytes_served);
        self.revenue = self.revenue.max(other.revenue);
    }
}

/// What the row of a name holds; the name is in its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyRow {
    pub(crate) cid: Cid,
    size: Bytes,
    /// Whether its whole DAG was here when that was last looked at; nothing of a ref goes before the ref.
    #[serde(default)]
    pub(crate) here: bool,
}

impl KeyRow {
    pub(crate) fn of(key: &RefKey) -> Self {
        Self { cid: key.cid, size: key.size, here: key.here }
    }
}

/// The rows of the names inside a root.
pub(crate) type Names = BTreeMap<String, KeyRow>;

/// A ref as it was before a commit whose blocks are still being made visible.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    pub(crate) brief: Option<Brief>,
    /// The names that the commit wrote, and what they were.
    pub(crate) names: BTreeMap<String, Option<KeyRow>>,
}

impl Before {
    /// Undoes what the commit has written already.
    pub(crate) fn restore(&self, mut names: Names) -> Option<(Brief, Names)> {
        let brief = self.brief.clone()?;
        for (name, row) in &self.names {
            match row {
                Some(row) => drop(names.insert(name.clone(), *row)),
                None => drop(names.remove(name)),
            }
        }
        Some((brief, names))
    }
}

/// Returns what a root is found by: its codec and multihash, whatever version it was written in.
pub(crate) fn id(root: &Cid) -> Vec<u8> {
    Cid::new_v1(root.codec(), *root.hash()).to_bytes()
}

fn key_prefix(root: &Cid) -> Vec<u8> {
    let id = id(root);
    [&[u8::try_from(id.len()).unwrap_or(u8::MAX)], id.as_slice()].concat()
}

fn key_key(root: &Cid, name: &str) -> Vec<u8> {
    [key_prefix(root).as_slice(), name.as_bytes()].concat()
}

/// Returns a ref without its keys.
pub(crate) fn load_bare(state: &State, root: &Cid) -> Result<Option<Brief>, StateError> {
    state.get(REFS, &id(root))?.map(|row| read(state, &row)).transpose()
}

/// Returns every ref without its keys.
pub(crate) fn list_bare(state: &State) -> Result<Vec<Brief>, StateError> {
    state.scan(REFS, &[])?.iter().map(|(_, row)| read(state, row)).collect()
}

/// Returns the names inside a root.
pub(crate) fn names(state: &State, root: &Cid) -> Result<Names, StateError> {
    let prefix = key_prefix(root);
    let rows = state.scan(KEYS, &prefix)?;
    rows.iter().map(|(key, value)| read_key(key.get(prefix.len()..).unwrap_or(&[]), value)).collect()
}

/// Returns what one name stands for.
pub(crate) fn key(state: &State, root: &Cid, name: &str) -> Result<Option<KeyRow>, StateError> {
    let row = state.get(KEYS, &key_key(root, name))?;
    row.map(|row| read_key(name.as_bytes(), &row).map(|(_, row)| row)).transpose()
}

/// Adds one name of a ref to a batch; the number of names in the ref's row is the caller's.
pub(crate) fn put_key(batch: &mut Batch, root: &Cid, name: &str, row: &KeyRow) -> Result<(), Error> {
    if name.len() > NAME_LIMIT {
        return Err(Error::LongName { length: name.len(), limit: NAME_LIMIT });
    }
    batch.set(KEYS, &key_key(root, name), encode(KEYS, row)?);
    Ok(())
}

/// Adds to a batch what has changed about which names of an incomplete ref are here as a whole.
pub(crate) fn recheck_names(
    state: &State,
    batch: &mut Batch,
    root: &Cid,
    (reach, blocks): (&Reach, &dyn Blocks),
) -> Result<(), Error> {
    let mut whole = Whole::new(blocks);
    for (name, row) in names(state, root)? {
        let here = reach.has(&row.cid) && whole.is_here(&row.cid)?;
        if here != row.here {
            put_key(batch, root, &name, &KeyRow { here, ..row })?;
        }
    }
    Ok(())
}

/// Adds the row of a ref to a batch, leaving its keys as they are.
pub(crate) fn put_bare(batch: &mut Batch, found: &Brief) -> Result<(), StateError> {
    batch.set(REFS, &id(&found.root), encode(REFS, found)?);
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

pub(crate) fn encode(table: &'static str, row: &impl Serialize) -> Result<Vec<u8>, StateError> {
    serde_ipld_dagcbor::to_vec(row).map_err(|error| StateError::Row { table, what: error.to_string() })
}

fn read(state: &State, row: &[u8]) -> Result<Brief, StateError> {
    let mut found: Brief = serde_ipld_dagcbor::from_slice(row)
        .map_err(|error| StateError::Row { table: REFS, what: error.to_string() })?;
    if found.names == uncounted() {
        let names = state.scan(KEYS, &key_prefix(&found.root))?.len();
        found.names = u64::try_from(names).unwrap_or(u64::MAX);
    }
    Ok(found)
}

fn read_key(name: &[u8], value: &[u8]) -> Result<(String, KeyRow), StateError> {
    let fault = |what: String| StateError::Row { table: KEYS, what };
    let row = serde_ipld_dagcbor::from_slice(value).map_err(|error| fault(error.to_string()))?;
    let name = String::from_utf8(name.to_vec()).map_err(|error| fault(error.to_string()))?;
    Ok((name, row))
}
