//! Posting: from transfers to the rows that they change.

use std::collections::BTreeMap;

use pop_units::{AttoFil, Overflow};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::account::{AccountId, Balance};
use crate::transfer::{Transfer, TransferId};

/// Longest account or series name: rows are keyed by them.
const MAX_NAME: usize = 256;
/// First byte of the key of an account's row.
const ACCOUNT: u8 = b'a';
/// First byte of the key of a series' row: its last transfer.
const SERIES: u8 = b's';

/// A failure of the storage below.
pub type BooksError = Box<dyn std::error::Error + Send + Sync>;

/// Where the rows are kept. Writing is the caller's, so that it can write other rows in the same step.
pub trait Books {
    /// Returns a row.
    ///
    /// # Errors
    /// The storage fails.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BooksError>;

    /// Returns all rows whose key starts with `prefix`.
    ///
    /// # Errors
    /// The storage fails.
    fn scan(&self, prefix: &[u8]) -> Result<Vec<Row>, BooksError>;
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// What a set of transfers changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Posting {
    /// The rows to write, all in one step.
    pub rows: Vec<Row>,
    /// How many of the transfers were new.
    pub fresh: usize,
}

/// Why transfers cannot be posted. Nothing of the set is then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// The number was used for another transfer.
    #[error("transfer {0} was posted with another content")]
    Conflict(TransferId),
    /// Both sides are the same account.
    #[error("transfer {0} goes from an account to itself")]
    SameAccount(TransferId),
    /// A name is empty or too long.
    #[error("{0} bytes are no length of an account's name")]
    Name(usize),
    /// A sum does not fit.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// A row does not decode.
    #[error("books are damaged")]
    Damaged(#[source] BooksError),
    /// The storage failed.
    #[error("books cannot be read")]
    Storage(#[source] BooksError),
}

/// Returns what posting `transfers` changes, all together. Those posted before change nothing.
///
/// The caller writes the rows before it posts again to any of the same accounts.
///
/// # Errors
/// One of them contradicts the books; nothing changes then.
pub fn post(books: &dyn Books, transfers: &[Transfer]) -> Result<Posting, PostError> {
    let mut draft = Draft { books, balances: BTreeMap::new(), series: BTreeMap::new(), fresh: 0 };
    for transfer in transfers {
        draft.add(transfer)?;
    }
    draft.finish()
}

/// Returns what stands on an account.
///
/// # Errors
/// The books cannot be read.
pub fn balance(books: &dyn Books, account: &AccountId) -> Result<Balance, PostError> {
    Ok(read(books, &key(ACCOUNT, account.as_str())?)?.unwrap_or_default())
}

/// Returns all accounts whose names start with `prefix`, with what stands on them.
///
/// # Errors
/// The books cannot be read.
pub fn balances(books: &dyn Books, prefix: &str) -> Result<Vec<(AccountId, Balance)>, PostError> {
    let mut start = vec![ACCOUNT];
    start.extend_from_slice(prefix.as_bytes());
    let rows = books.scan(&start).map_err(PostError::Storage)?;
    rows.into_iter()
        .map(|(key, value)| {
            let name = key.get(1..).unwrap_or_default().to_vec();
            let name = String::from_utf8(name).map_err(|e| PostError::Damaged(e.into()))?;
            Ok((AccountId::new(name), decode(&value)?))
        })
        .collect()
}

struct Draft<'a> {
    books: &'a dyn Books,
    balances: BTreeMap<AccountId, Balance>,
    series: BTreeMap<String, Transfer>,
    fresh: usize,
}

impl Draft<'_> {
    fn add(&mut self, transfer: &Transfer) -> Result<(), PostError> {
        if transfer.debit == transfer.credit {
            return Err(PostError::SameAccount(transfer.id.clone()));
        }
        if self.is_known(transfer)? {
            return Ok(());
        }
        let debited = self.balance(&transfer.debit)?.debit(transfer.amount)?;
        let credited = self.balance(&transfer.credit)?.credit(transfer.amount)?;
        self.balances.insert(transfer.debit.clone(), debited);
        self.balances.insert(transfer.credit.clone(), credited);
        self.series.insert(transfer.id.series.clone(), transfer.clone());
        self.fresh += 1;
        Ok(())
    }

    fn is_known(&self, transfer: &Transfer) -> Result<bool, PostError> {
        let id = &transfer.id;
        let last = match self.series.get(&id.series) {
            Some(last) => Some(last.clone()),
            None => read(self.books, &key(SERIES, &id.series)?)?,
        };
        match last {
            Some(last) if last.id.number == id.number && last != *transfer => {
                Err(PostError::Conflict(id.clone()))
            }
            Some(last) => Ok(id.number <= last.id.number),
            None => Ok(false),
        }
    }

    fn balance(&self, account: &AccountId) -> Result<Balance, PostError> {
        match self.balances.get(account) {
            Some(balance) => Ok(*balance),
            None => balance(self.books, account),
        }
    }

    fn finish(self) -> Result<Posting, PostError> {
        let mut rows = Vec::with_capacity(self.balances.len() + self.series.len());
        for (account, balance) in &self.balances {
            rows.push((key(ACCOUNT, account.as_str())?, encode(balance)?));
        }
        for (series, last) in &self.series {
            rows.push((key(SERIES, series)?, encode(last)?));
        }
        Ok(Posting { rows, fresh: self.fresh })
    }
}

/// Sums both sides of a set of accounts; equal over all accounts of the books.
///
/// # Errors
/// A sum does not fit.
pub fn totals<'a>(balances: impl IntoIterator<Item = &'a Balance>) -> Result<Balance, Overflow> {
    balances.into_iter().try_fold(Balance::default(), |sum: Balance, balance| {
        let debits: Result<AttoFil, Overflow> = sum.debits.checked_add(balance.debits);
        Ok(Balance { debits: debits?, credits: sum.credits.checked_add(balance.credits)? })
    })
}

fn key(kind: u8, name: &str) -> Result<Vec<u8>, PostError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(PostError::Name(name.len()));
    }
    let mut key = vec![kind];
    key.extend_from_slice(name.as_bytes());
    Ok(key)
}

fn read<T: DeserializeOwned>(books: &dyn Books, key: &[u8]) -> Result<Option<T>, PostError> {
    match books.get(key).map_err(PostError::Storage)? {
        Some(value) => decode(&value).map(Some),
        None => Ok(None),
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, PostError> {
    serde_ipld_dagcbor::to_vec(value).map_err(|e| PostError::Damaged(e.into()))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PostError> {
    serde_ipld_dagcbor::from_slice(bytes).map_err(|e| PostError::Damaged(e.into()))
}

#[cfg(test)]
mod tests;
