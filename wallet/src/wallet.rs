//! The wallet itself: what it is made of, its keys, and plain transfers.

use std::fmt;
use std::sync::Arc;

use futures::lock::Mutex as AsyncMutex;
use parking_lot::{Mutex, MutexGuard};
use pop_keys::{Address, ChainId, Keystore, Zeroizing};
use pop_payments::paych::method;
use pop_payments::{Chain, Message, MsgCid};
use pop_store::State;
use pop_units::AttoFil;

use crate::book::Book;
use crate::error::WalletError;
use crate::rows::{Purpose, Tables};

/// What the operator allows the wallet to do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The most that one message may cost in fees.
    pub max_fee: AttoFil,
    /// The least that is put into a channel at a time, so that not every deal costs a message.
    pub min_deposit: AttoFil,
    /// Epochs that must be built on a message before it counts.
    pub confidence: u64,
}

impl Policy {
    /// Returns the usual policy for a chain: real ones can be reorganised, embedded ones cannot.
    pub fn of(chain: &ChainId) -> Self {
        // A tenth of a FIL covers the dearest messages seen; five epochs are what lotus waits for.
        let max_fee = AttoFil::new(100_000_000_000_000_000);
        let confidence = if chain.is_real() { 5 } else { 0 };
        Self { max_fee, min_deposit: AttoFil::ZERO, confidence }
    }
}

/// One key of the wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySummary {
    /// Its address.
    pub address: Address,
    /// Its balance on chain.
    pub balance: AttoFil,
    /// Whether it pays where no other is named.
    pub default: bool,
}

/// The wallet; clones share everything.
#[derive(Clone)]
pub struct Wallet(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) state: State,
    pub(crate) tables: Tables,
    pub(crate) keystore: Keystore,
    pub(crate) chain: Arc<dyn Chain>,
    pub(crate) policy: Policy,
    book: Mutex<Book>,
    /// The one writer of messages: taking a nonce, writing the message down and pushing it are one step, or
    /// the chain would see nonces out of order. Held across the chain's answers, hence an async lock.
    pub(crate) outbox: AsyncMutex<()>,
}

impl fmt::Debug for Wallet {
    // Keys and vouchers stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wallet").field("chain", self.0.chain.id()).finish_non_exhaustive()
    }
}

impl Wallet {
    /// Opens the wallet over durable rows, with the usual policy of its chain.
    ///
    /// # Errors
    /// Keys and chain do not belong together, or the rows cannot be read.
    pub fn open(state: State, keystore: Keystore, chain: Arc<dyn Chain>) -> Result<Self, WalletError> {
        let policy = Policy::of(chain.id());
        Self::open_with(state, keystore, chain, policy)
    }

    /// Opens the wallet with a policy.
    ///
    /// # Errors
    /// Keys and chain do not belong together, or the rows cannot be read.
    pub fn open_with(
        state: State,
        keystore: Keystore,
        chain: Arc<dyn Chain>,
        policy: Policy,
    ) -> Result<Self, WalletError> {
        if keystore.chain() != chain.id() {
            let (keys, chain) = (keystore.chain().to_string(), chain.id().to_string());
            return Err(WalletError::WrongChain { keys, chain });
        }
        let tables = Tables::of(chain.id());
        let book = Mutex::new(Book::load(&state, &tables)?);
        let outbox = AsyncMutex::new(());
        Ok(Self(Arc::new(Inner { state, tables, keystore, chain, policy, book, outbox })))
    }

    /// Returns which chain the wallet pays on.
    pub fn chain_id(&self) -> ChainId {
        self.0.chain.id().clone()
    }

    /// Returns the address that pays and is paid where none is named.
    ///
    /// # Errors
    /// There is no key yet, or the marker cannot be read.
    pub fn default_address(&self) -> Result<Address, WalletError> {
        self.0.keystore.default_address()?.ok_or(WalletError::NoKey)
    }

    /// Returns all keys with their balances.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The keys cannot be read or the chain does not answer.
    pub async fn list(&self) -> Result<Vec<KeySummary>, WalletError> {
        let default = self.0.keystore.default_address()?;
        let mut keys = Vec::new();
        for address in self.0.keystore.list()? {
            let balance = self.0.chain.balance(&address).await?;
            keys.push(KeySummary { address, balance, default: default == Some(address) });
        }
        Ok(keys)
    }

    /// Makes a key.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new_key(&self) -> Result<Address, WalletError> {
        Ok(self.0.keystore.new_key()?)
    }

    /// Takes a key in one of the forms that wallets export.
    ///
    /// # Errors
    /// The text is no key, or is bound to another chain.
    pub fn import(&self, text: &str) -> Result<Address, WalletError> {
        Ok(self.0.keystore.import(text)?)
    }

    /// Returns a key in the form that `lotus wallet import` reads.
    ///
    /// # Errors
    /// The key is not here.
    pub fn export(&self, address: &Address) -> Result<Zeroizing<String>, WalletError> {
        Ok(self.0.keystore.export(address)?)
    }

    /// Marks a key as the default.
    ///
    /// # Errors
    /// The key is not here.
    pub fn set_default(&self, address: &Address) -> Result<(), WalletError> {
        Ok(self.0.keystore.set_default(address)?)
    }

    /// Returns the balance of any address.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The chain does not answer.
    pub async fn balance(&self, address: &Address) -> Result<AttoFil, WalletError> {
        Ok(self.0.chain.balance(address).await?)
    }

    /// Sends money. Returns when the chain has taken the message, not when it is confirmed.
    ///
    /// Dropped half-way, the message is either not written down or still sent by [`Wallet::tick`].
    ///
    /// # Errors
    /// The key is not here, the money does not suffice, or the chain refuses.
    pub async fn pay(&self, from: &Address, to: &Address, amount: AttoFil) -> Result<MsgCid, WalletError> {
        let writer = self.0.outbox.lock().await;
        let message = Message::new(*from, *to, amount, method::SEND, Vec::new());
        let sent = self.send(&writer, message, Purpose::Pay, None).await?;
        drop(writer);
        self.poll_outbox().await?;
        Ok(sent)
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock()
    }
}
