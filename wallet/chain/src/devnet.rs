//! The ledger inside the process: real signed Filecoin messages under the rules of the payment-channel actor.
//!
//! It lets a node pay and be paid without any network, and it answers the same JSON-RPC as a Filecoin node, so
//! that the wallet has one way to settle. Each message is one block, executed when it is handed in and durable
//! when the call returns. It is its operator's book, not money: whoever holds the store can rewrite it, which
//! the chain of block hashes makes visible to whoever kept a copy.

mod audit;
mod execute;
mod genesis;
mod rpc;
mod view;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cid::Cid;
use parking_lot::Mutex;
use pop_keys::{Address, ChainId};
use pop_payments::{ExitCode, Message, MsgCid, SignedMessage};
use pop_units::{AttoFil, ChainEpoch, Nonce};
use serde_bytes::{ByteArray, ByteBuf};

pub use self::audit::{AuditError, audit};
pub use self::genesis::Genesis;
pub use self::rpc::RpcFault;

use self::execute::{Outcome, Rules};
use self::view::{Actor, Head, Kind, Stored, View};
use crate::paych::ActorId;
use crate::store::{ChainStore, StoreError};

/// Actors below are the system's.
const FIRST_ACCOUNT: ActorId = 1000;
/// Gas of every message: the ledger does not meter.
const GAS: u64 = 1_000_000;
/// The largest message; with its row's key it stays within one value of the store.
const MAX_MESSAGE: usize = 3 * 1024;
/// Objects kept for `ChainReadObj`; a client reads them right after the state that names them.
const MAX_OBJECTS: usize = 4096;

/// Where epochs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// One epoch every `epoch` of wall-clock time, the time while the ledger was closed included.
    Wall {
        /// The length of an epoch, 30 s on Filecoin.
        epoch: Duration,
    },
    /// Epochs pass only by [`Devnet::advance`].
    Manual,
}

impl Default for Clock {
    fn default() -> Self {
        Self::Wall { epoch: Duration::from_secs(30) }
    }
}

/// Why the ledger itself cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row does not decode.
    #[error("ledger row {key} is damaged")]
    Damaged {
        /// The key in hexadecimal.
        key: String,
    },
    /// A row would be larger than the store takes.
    #[error("ledger row of {0} bytes is too large")]
    TooLarge(usize),
    /// A counter or amount does not fit.
    #[error("amount or counter of the ledger does not fit")]
    Overflow,
    /// A message would create or destroy money; nothing of it was written.
    #[error("message moves {before} into {after}")]
    NotConserved {
        /// Balances before.
        before: AttoFil,
        /// Balances and fees after.
        after: AttoFil,
    },
    /// The founder's address cannot sign.
    #[error("operator {0} is no f1 address")]
    Operator(Address),
    /// An epoch of no length.
    #[error("epoch length is below a millisecond")]
    EpochLength,
}

impl Error {
    fn damaged(key: &[u8]) -> Self {
        Self::Damaged { key: hex(key) }
    }
}

/// Why a message is not executed; nothing has changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The sender has no account.
    #[error("actor not found: {0}")]
    UnknownSender(Address),
    /// The message is not signed by its sender.
    #[error("signature verification failed: message is not signed by {0}")]
    Signature(Address),
    /// The nonce is another than the sender's next.
    #[error("{} (expected {next}, got {got})", if got < next { "message nonce too low" } else { "unfulfilled nonce gap" })]
    Nonce {
        /// The sender's next nonce.
        next: Nonce,
        /// The message's.
        got: Nonce,
    },
    /// The sender cannot pay value and fees.
    #[error("not enough funds to execute transaction: have {have}, need {need}")]
    Funds {
        /// The sender's balance.
        have: AttoFil,
        /// Value and the highest fee.
        need: AttoFil,
    },
    /// Gas fields allow less than the chain charges.
    #[error("message offers a fee of {offered}, the chain charges {charged}")]
    Fee {
        /// Gas limit times fee cap.
        offered: AttoFil,
        /// The chain's fee.
        charged: AttoFil,
    },
    /// The message is larger than the ledger takes.
    #[error("message of {0} bytes is too large")]
    TooLarge(usize),
    /// The ledger itself failed.
    #[error(transparent)]
    Ledger(#[from] Error),
}

/// What a client has to know of the chain beyond Filecoin's own calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The chain's id.
    pub id: ChainId,
    /// The genesis hash; it salts channel addresses.
    pub genesis_hash: [u8; 32],
    /// Time from epoch to epoch; nothing under a manual clock.
    pub epoch: Option<Duration>,
    /// Epochs from Settle to Collect.
    pub settle_delay: i64,
}

/// The embedded ledger. Calls may block on the store.
pub struct Devnet {
    store: Arc<dyn ChainStore>,
    genesis: Genesis,
    rules: Rules,
    id: ChainId,
    clock: Clock,
    head: Mutex<Head>,
    objects: Mutex<Objects>,
}

impl Devnet {
    /// Opens the ledger in `store`, or founds one on `genesis` where there is none.
    ///
    /// # Errors
    /// The store fails, its rows are damaged, or the genesis makes no sense.
    pub fn open(store: Arc<dyn ChainStore>, genesis: Genesis, clock: Clock) -> Result<Self, Error> {
        if matches!(clock, Clock::Wall { epoch } if epoch.as_millis() == 0) {
            return Err(Error::EpochLength);
        }
        let (genesis, mut head) = match (Genesis::stored(&*store)?, View::stored_head(&*store)?) {
            (Some(genesis), Some(head)) => (genesis, head),
            (None, None) => found(&*store, genesis)?,
            (Some(_), None) | (None, Some(_)) => return Err(Error::damaged(b"h")),
        };
        head.anchor = match clock {
            Clock::Wall { .. } => Some(head.anchor.unwrap_or_else(unix_millis)),
            Clock::Manual => None,
        };
        let rules = Rules { genesis_hash: genesis.hash(), settle_delay: genesis.settle_delay };
        let id = genesis.chain_id();
        let (head, objects) = (Mutex::new(head), Mutex::default());
        Ok(Self { store, genesis, rules, id, clock, head, objects })
    }

    /// Executes a signed message as the next block. The same message again changes nothing.
    ///
    /// # Errors
    /// The message is refused, or the store fails; nothing has changed then.
    pub fn push(&self, signed: &SignedMessage) -> Result<MsgCid, PushError> {
        let cid = signed.cid();
        let mut head = self.head.lock();
        let mut view = self.view(&head, unix_millis())?;
        if view.receipt(cid.cid())?.is_some() {
            return Ok(cid);
        }
        let bytes = signed.to_bytes();
        if bytes.len() > MAX_MESSAGE {
            return Err(PushError::TooLarge(bytes.len()));
        }
        let (from, mut sender) = self.check(&view, signed)?;
        sender.nonce = sender.nonce.checked_add(1).map_err(|_| Error::Overflow)?;
        let fee = self.genesis.fee;
        sender.balance = sender.balance.checked_sub(fee).map_err(|_| Error::Overflow)?;
        view.put_actor(from, &sender)?;
        view.head.fees = view.head.fees.checked_add(fee).map_err(|_| Error::Overflow)?;
        let Outcome { exit, ret } = execute::run(&mut view, &self.rules, from, &signed.message)?;
        let block = head.number.checked_add(1).ok_or(Error::Overflow)?;
        let receipt = Stored { exit, ret: ByteBuf::from(ret), gas: GAS, epoch: view.head.epoch, block };
        view.put_message(cid.cid(), &bytes, &receipt)?;
        view.seal(Some(*cid.cid()))?;
        self.commit(view, &mut head)?;
        Ok(cid)
    }

    /// Returns how an unsigned message would end now.
    ///
    /// # Errors
    /// The sender has no account, or the store fails.
    pub fn dry_run(&self, message: &Message) -> Result<ExitCode, PushError> {
        Ok(self.try_out(message)?.exit)
    }

    /// Lets `epochs` pass and returns the epoch then.
    ///
    /// # Errors
    /// The store fails.
    pub fn advance(&self, epochs: u32) -> Result<ChainEpoch, Error> {
        let mut head = self.head.lock();
        let mut view = self.view(&head, unix_millis())?;
        let epoch = view.head.epoch.checked_add(i64::from(epochs)).map_err(|_| Error::Overflow)?;
        view.head.epoch = epoch;
        self.commit(view, &mut head)?;
        Ok(epoch)
    }

    /// Returns the chain's id.
    pub fn id(&self) -> &ChainId {
        &self.id
    }

    /// Returns what the chain was founded on.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Returns what a client has to know of the chain.
    pub fn facts(&self) -> Facts {
        Facts {
            id: self.id.clone(),
            genesis_hash: self.rules.genesis_hash,
            epoch: self.epoch_length(),
            settle_delay: self.genesis.settle_delay,
        }
    }

    /// Returns the epoch now. What was returned once is durable: epochs never go back.
    ///
    /// # Errors
    /// The store fails.
    pub fn epoch(&self) -> Result<ChainEpoch, Error> {
        self.epoch_at(unix_millis())
    }

    /// Returns the sum of all balances, and of all fees ever charged; together they are the supply.
    ///
    /// # Errors
    /// The store fails.
    pub fn totals(&self) -> Result<(AttoFil, AttoFil), Error> {
        let head = self.head.lock();
        let actors = View::new(&*self.store, head.clone()).actors()?;
        let sum = AttoFil::checked_sum(actors.into_iter().map(|actor| actor.balance));
        Ok((sum.map_err(|_| Error::Overflow)?, head.fees))
    }

    fn epoch_at(&self, millis: u64) -> Result<ChainEpoch, Error> {
        let mut head = self.head.lock();
        let view = self.view(&head, millis)?;
        if view.head.epoch > head.epoch || view.head.anchor < head.anchor {
            self.commit(view, &mut head)?;
        }
        Ok(head.epoch)
    }

    fn epoch_length(&self) -> Option<Duration> {
        match self.clock {
            Clock::Wall { epoch } => Some(epoch),
            Clock::Manual => None,
        }
    }

    /// Returns the ledger as it is at a moment of the wall clock.
    fn view(&self, head: &Head, millis: u64) -> Result<View<'_>, Error> {
        let mut head = head.clone();
        if let (Some(length), Some(anchor)) = (self.epoch_length(), head.anchor) {
            // A clock that was set back must not stop the chain until it has caught up.
            let anchor = anchor.min(millis);
            let length = u64::try_from(length.as_millis()).map_err(|_| Error::Overflow)?;
            let passed = millis.saturating_sub(anchor).checked_div(length).unwrap_or(0);
            let epochs = i64::try_from(passed).map_err(|_| Error::Overflow)?;
            head.epoch = head.epoch.checked_add(epochs).map_err(|_| Error::Overflow)?;
            // The rest of a begun epoch is kept, or a busy chain would run slow.
            head.anchor = Some(anchor.saturating_add(passed.saturating_mul(length)));
        }
        Ok(View::new(&*self.store, head))
    }

    fn check(&self, view: &View<'_>, signed: &SignedMessage) -> Result<(ActorId, Actor), PushError> {
        let message = &signed.message;
        let (id, sender) = account(view, &message.from)?;
        signed.verify(&sender.address).map_err(|_| PushError::Signature(sender.address))?;
        if message.nonce != sender.nonce {
            return Err(PushError::Nonce { next: sender.nonce, got: message.nonce });
        }
        let offered = message.max_fee().ok_or(Error::Overflow)?;
        if offered < self.genesis.fee {
            return Err(PushError::Fee { offered, charged: self.genesis.fee });
        }
        let need = message.value.checked_add(offered).map_err(|_| Error::Overflow)?;
        match need <= sender.balance {
            true => Ok((id, sender)),
            false => Err(PushError::Funds { have: sender.balance, need }),
        }
    }

    fn try_out(&self, message: &Message) -> Result<Outcome, PushError> {
        let head = self.head.lock();
        let mut view = self.view(&head, unix_millis())?;
        let (from, sender) = account(&view, &message.from)?;
        let message = Message { nonce: sender.nonce, ..message.clone() };
        Ok(execute::run(&mut view, &self.rules, from, &message)?)
    }

    fn commit(&self, view: View<'_>, head: &mut Head) -> Result<(), Error> {
        let (before, balances) = view.flows()?;
        let fees = view.head.fees.checked_sub(head.fees).map_err(|_| Error::Overflow)?;
        let after = balances.checked_add(fees).map_err(|_| Error::Overflow)?;
        if before != after {
            return Err(Error::NotConserved { before, after });
        }
        let (next, changes) = view.into_changes()?;
        match self.store.apply(changes) {
            Ok(()) => *head = next,
            Err(error) => {
                // A failed sync leaves open whether the rows were written: what the store shows now counts.
                if let Ok(Some(stored)) = View::stored_head(&*self.store) {
                    *head = stored;
                }
                return Err(error.into());
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Devnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Devnet({})", self.id)
    }
}

/// Objects that recent answers named, the oldest forgotten first.
#[derive(Debug, Default)]
struct Objects {
    blocks: HashMap<Cid, Vec<u8>>,
    order: VecDeque<Cid>,
}

impl Objects {
    fn put(&mut self, cid: Cid, block: Vec<u8>) {
        if self.blocks.insert(cid, block).is_some() {
            return;
        }
        self.order.push_back(cid);
        if self.order.len() > MAX_OBJECTS {
            let oldest = self.order.pop_front();
            oldest.and_then(|oldest| self.blocks.remove(&oldest));
        }
    }
}

fn account(view: &View<'_>, address: &Address) -> Result<(ActorId, Actor), PushError> {
    let found = view.find(address)?.filter(|(_, actor)| actor.kind == Kind::Account);
    found.ok_or(PushError::UnknownSender(*address))
}

fn found(store: &dyn ChainStore, genesis: Genesis) -> Result<(Genesis, Head), Error> {
    if genesis.operator.protocol() != pop_keys::Protocol::Secp256k1 {
        return Err(Error::Operator(genesis.operator));
    }
    let head = Head {
        number: 0,
        hash: ByteArray::new(genesis.hash()),
        epoch: ChainEpoch::new(0),
        anchor: None,
        next_id: FIRST_ACCOUNT,
        fees: AttoFil::ZERO,
    };
    let mut view = View::new(store, head);
    for (id, kind) in [(0, Kind::System), (1, Kind::Init)] {
        let address = Address::new_id(id).map_err(|_| Error::Overflow)?;
        view.put_actor(id, &Actor { kind, balance: AttoFil::ZERO, nonce: Nonce::new(0), address })?;
    }
    let operator = view.create(Kind::Account, genesis.operator)?;
    let mut account = view.actor(operator)?.ok_or(Error::Operator(genesis.operator))?;
    account.balance = genesis.supply;
    view.put_actor(operator, &account)?;
    view.seal(None)?;
    let (head, mut changes) = view.into_changes()?;
    changes.push(genesis.row());
    store.apply(changes)?;
    Ok((genesis, head))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
