//! How events of the wallet stand in the books: which accounts each of them moves money between.

use pop_keys::Address;
use pop_ledger::{AccountId, Books, BooksError, Row, Transfer, TransferId};
use pop_payments::MsgCid;
use pop_store::{Batch, State};
use pop_units::{AttoFil, Lane, Nonce};

use crate::error::WalletError;
use crate::rows::Direction;
use crate::wallet::Wallet;

/// Money on chain. Written only while the book is locked, since all channels share it.
const CASH: &str = "cash";

/// The books of one chain, kept in a table of the node's state.
pub(crate) struct StateBooks<'a> {
    state: &'a State,
    table: &'a str,
}

impl Books for StateBooks<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BooksError> {
        Ok(self.state.get(self.table, key)?)
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Row>, BooksError> {
        Ok(self.state.scan(self.table, prefix)?)
    }
}

impl Wallet {
    pub(crate) fn books(&self) -> StateBooks<'_> {
        StateBooks { state: &self.0.state, table: &self.0.tables.books }
    }

    /// Adds what `transfers` change to a batch.
    pub(crate) fn post(&self, transfers: &[Transfer], batch: Batch) -> Result<Batch, WalletError> {
        let books = self.books();
        let posting = pop_ledger::post(&books, transfers)?;
        Ok(posting.rows.iter().fold(batch, |batch, (key, value)| batch.put(books.table, key, value)))
    }
}

/// A voucher: what we bought is owed through the channel, what we sold is due through it.
///
/// The accounts are the lane's own, so that lanes can be written at the same time.
pub(crate) fn voucher(
    direction: Direction,
    channel: &Address,
    (lane, nonce): (Lane, Nonce),
    delta: AttoFil,
) -> Transfer {
    let (debit, credit) = match direction {
        Direction::Inbound => ("due", "sold"),
        Direction::Outbound => ("bought", "promised"),
    };
    let account = |kind| format!("{kind}/{channel}/{lane}");
    transfer(format!("v/{channel}/{lane}"), nonce.get(), account(debit), account(credit), delta)
}

/// Money put into a channel.
pub(crate) fn deposit(channel: &Address, message: &MsgCid, amount: AttoFil) -> Transfer {
    transfer(format!("m/{message}"), 1, format!("escrow/{channel}"), CASH.to_owned(), amount)
}

/// Money sent to an address.
pub(crate) fn payment(message: &MsgCid, amount: AttoFil) -> Transfer {
    transfer(format!("m/{message}"), 1, "paid".to_owned(), CASH.to_owned(), amount)
}

/// The end of a channel: what its vouchers were worth, and the payer's rest.
pub(crate) fn settlement(
    direction: Direction,
    channel: &Address,
    paid: AttoFil,
    rest: AttoFil,
) -> Vec<Transfer> {
    let series = format!("c/{channel}");
    let account = |kind| format!("{kind}/{channel}");
    let cash = CASH.to_owned();
    match direction {
        Direction::Inbound => vec![transfer(series, 1, cash, account("due"), paid)],
        Direction::Outbound => vec![
            transfer(series.clone(), 1, account("promised"), account("escrow"), paid),
            transfer(series, 2, cash, account("escrow"), rest),
        ],
    }
}

fn transfer(series: String, number: u64, debit: String, credit: String, amount: AttoFil) -> Transfer {
    Transfer {
        id: TransferId { series, number },
        debit: AccountId::new(debit),
        credit: AccountId::new(credit),
        amount,
    }
}
