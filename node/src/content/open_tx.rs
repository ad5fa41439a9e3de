//! The open transaction: what was put and not yet committed, kept in the durable state so that a restart
//! loses nothing of it.
//!
//! Its blocks are in the staging [`STAGING`]; its rows say which names lead to them.

use pop_dag::unixfs::{Entry, ImportError, Profile, directory, tx_root};
use pop_dag::{Block, BlockSink, Cid};
use pop_exchange::tx;
use pop_rpc::{Codec, Error, ErrorCode};
use pop_store::{Batch, State};
use pop_units::Bytes;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// The staging that holds the blocks of the open transaction.
pub(crate) const STAGING: &str = "tx";
const TABLE: &str = "node/tx";
const HEAD: &[u8] = b"head";
const ENTRY: &[u8] = b"entry/";

/// The open transaction and what its root will look like.
#[derive(Clone, Debug)]
pub(crate) struct OpenTx {
    head: Head,
    names: tx::OpenTx,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Head {
    id: String,
    codec: Codec,
}

/// A name of the transaction and what it leads to, as a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) key: String,
    pub(crate) cid: Cid,
    pub(crate) size: Bytes,
    pub(crate) tsize: Bytes,
}

impl Named {
    fn entry(&self) -> tx::Entry {
        tx::Entry { cid: self.cid, size: self.size, tsize: self.tsize }
    }
}

impl OpenTx {
    /// Starts a transaction; nothing is written before [`OpenTx::add`].
    pub(crate) fn new(codec: Codec) -> Self {
        Self { head: Head { id: super::random_name(), codec }, names: tx::OpenTx::default() }
    }

    /// Reads the open transaction, if there is one.
    pub(crate) fn load(state: &State) -> Result<Option<Self>, Error> {
        let Some(head) = state.get(TABLE, HEAD).map_err(Fault::fault)? else { return Ok(None) };
        let mut tx = Self { head: decode(&head)?, names: tx::OpenTx::default() };
        for (_, row) in state.scan(TABLE, ENTRY).map_err(Fault::fault)? {
            let named: Named = decode(&row)?;
            tx.names.put(&named.key, named.entry()).map_err(Fault::fault)?;
        }
        Ok(Some(tx))
    }

    /// Returns the transaction with more names; one that stands already is replaced. Nothing is written.
    pub(crate) fn with(&self, added: &[Named]) -> Result<Self, Error> {
        let mut tx = self.clone();
        for named in added {
            tx.names.put(&named.key, named.entry()).map_err(Fault::fault)?;
        }
        Ok(tx)
    }

    /// Writes the rows of `added`, which this transaction was made with, durably.
    pub(crate) fn save(&self, state: &State, added: &[Named]) -> Result<(), Error> {
        let mut batch = Batch::new().put(TABLE, HEAD, encode(&self.head)?);
        for named in added {
            batch = batch.put(TABLE, row_key(&named.key), encode(named)?);
        }
        state.apply(batch).map_err(Fault::fault)
    }

    /// Returns what keeps the staged blocks alive.
    pub(crate) fn roots(&self) -> Vec<Cid> {
        self.names.roots()
    }

    /// Forgets the transaction's rows.
    pub(crate) fn forget(self, state: &State) -> Result<(), Error> {
        let mut batch = Batch::new().delete(TABLE, HEAD);
        for (key, _) in self.names.entries() {
            batch = batch.delete(TABLE, row_key(key));
        }
        state.apply(batch).map_err(Fault::fault)
    }

    /// Returns the transaction's name.
    pub(crate) fn id(&self) -> &str {
        &self.head.id
    }

    /// Returns how its root is encoded.
    pub(crate) const fn codec(&self) -> Codec {
        self.head.codec
    }

    /// Returns its names with what they lead to, sorted.
    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = (&str, &tx::Entry)> {
        self.names.entries()
    }

    /// Returns the bytes behind all names.
    pub(crate) fn total_size(&self) -> Bytes {
        self.names.size()
    }

    /// Builds the root over all names; further blocks of a sharded directory go to `sink`.
    pub(crate) fn root(&self, sink: &mut dyn BlockSink) -> Result<Block, ImportError> {
        let entry = |(name, entry): (&str, &tx::Entry)| Entry {
            name: name.to_owned(),
            cid: entry.cid,
            tsize: entry.tsize,
        };
        let entries = self.entries().map(entry).collect();
        let (root, _) = match self.head.codec {
            Codec::DagPb => directory(entries, &Profile::default(), sink)?,
            Codec::DagCbor => tx_root::build(entries)?,
        };
        Ok(root)
    }
}

fn row_key(name: &str) -> Vec<u8> {
    [ENTRY, name.as_bytes()].concat()
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::of(ErrorCode::Internal, &error))
}

fn decode<'a, T: Deserialize<'a>>(row: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(row).map_err(|error| {
        Error::new(ErrorCode::Storage, format!("a row of the open transaction does not read: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use pop_dag::{Buf, Memory};

    use super::*;

    fn named(key: &str, data: &'static [u8]) -> Named {
        let block = Block::of(pop_dag::Codec::Raw, Buf::from_static(data));
        let size = Bytes::of(data);
        Named { key: key.to_owned(), cid: *block.cid(), size, tsize: size }
    }

    #[test]
    fn transaction_is_the_same_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut tx = OpenTx::new(Codec::DagPb);
        {
            let state = State::open(dir.path()).unwrap();
            for added in [&[named("b", b"one"), named("a", b"two")][..], &[named("b", b"three")]] {
                tx = tx.with(added).unwrap();
                tx.save(&state, added).unwrap();
            }
        }
        let state = State::open(dir.path()).unwrap();
        let loaded = OpenTx::load(&state).unwrap().unwrap();
        assert_eq!(loaded.id(), tx.id());
        let keys: Vec<_> = loaded.entries().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "b"]);
        assert_eq!(loaded.total_size(), Bytes::new(8));
        let root = |tx: &OpenTx| *tx.root(&mut Memory::new()).unwrap().cid();
        assert_eq!(root(&loaded), root(&tx));
        loaded.forget(&state).unwrap();
        assert!(OpenTx::load(&state).unwrap().is_none());
    }
}
