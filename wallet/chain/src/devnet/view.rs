//! The ledger's rows, with the changes of one message laid over the store until they are committed.

use std::collections::BTreeMap;

use cid::Cid;
use pop_keys::{Address, Protocol};
use pop_payments::{ExitCode, LaneState};
use pop_units::{AttoFil, ChainEpoch, Lane, Nonce};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::Error;
use crate::cids;
use crate::paych::{ActorId, Channel};
use crate::store::{ChainStore, Change, MAX_VALUE};

const HEAD: &[u8] = b"h";
const ACTOR: u8 = b'a';
const NAME: u8 = b'n';
const CHANNEL: u8 = b'c';
const LANE: u8 = b'l';
const MESSAGE: u8 = b'm';
const RECEIPT: u8 = b'r';
const BLOCK: u8 = b'b';

/// What an actor can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    System,
    Init,
    Account,
    Paych,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::System, Self::Init, Self::Account, Self::Paych];

    /// The name in the manifest of built-in actors, as every Filecoin network spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Init => "init",
            Self::Account => "account",
            Self::Paych => "paymentchannel",
        }
    }

    pub(crate) fn code(self) -> Cid {
        cids::code_cid(self.name())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Actor {
    pub(crate) kind: Kind,
    pub(crate) balance: AttoFil,
    pub(crate) nonce: Nonce,
    /// The key address of an account, the f2 of a channel.
    pub(crate) address: Address,
}

/// The end of the chain of blocks, and the counters that go with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Blocks so far; block 0 is the genesis.
    pub(crate) number: u64,
    pub(crate) hash: ByteArray<32>,
    pub(crate) epoch: ChainEpoch,
    /// The wall clock in milliseconds when `epoch` began; nothing under a manual clock.
    pub(crate) anchor: Option<u64>,
    pub(crate) next_id: ActorId,
    pub(crate) fees: AttoFil,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) exit: ExitCode,
    pub(crate) ret: ByteBuf,
    pub(crate) gas: u64,
    pub(crate) epoch: ChainEpoch,
    pub(crate) block: u64,
}

/// One message as one block, chained by hash so that a copy of the ledger can be audited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    pub(crate) number: u64,
    pub(crate) parent: ByteArray<32>,
    pub(crate) epoch: ChainEpoch,
    pub(crate) message: Option<Cid>,
    /// Hash over every row that the message changed.
    pub(crate) changes: ByteArray<32>,
}

#[derive(Serialize, Deserialize)]
struct ChannelRow {
    from: ActorId,
    to: ActorId,
    to_send: AttoFil,
    settling_at: ChainEpoch,
    min_settle_height: ChainEpoch,
}

#[derive(Clone)]
pub(crate) struct View<'a> {
    store: &'a dyn ChainStore,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(crate) head: Head,
}

impl<'a> View<'a> {
    pub(crate) fn new(store: &'a dyn ChainStore, head: Head) -> Self {
        Self { store, changes: BTreeMap::new(), head }
    }

    pub(crate) fn stored_head(store: &dyn ChainStore) -> Result<Option<Head>, Error> {
        let row = store.get(HEAD)?;
        row.map(|row| fvm_ipld_encoding::from_slice(&row).map_err(|_| Error::damaged(HEAD))).transpose()
    }

    pub(crate) fn is_head(key: &[u8]) -> bool {
        key == HEAD
    }

    pub(crate) fn block_row(store: &dyn ChainStore, number: u64) -> Result<Option<Vec<u8>>, Error> {
        Ok(store.get(&key(BLOCK, &number.to_be_bytes()))?)
    }

    pub(crate) fn message_row(store: &dyn ChainStore, cid: &Cid) -> Result<Option<Vec<u8>>, Error> {
        Ok(store.get(&key(MESSAGE, &cid.to_bytes()))?)
    }

    pub(crate) fn actor(&self, id: ActorId) -> Result<Option<Actor>, Error> {
        self.get(&key(ACTOR, &id.to_be_bytes()))
    }

    pub(crate) fn put_actor(&mut self, id: ActorId, actor: &Actor) -> Result<(), Error> {
        self.put(key(ACTOR, &id.to_be_bytes()), actor)
    }

    /// Returns the number that an address stands for; a number of f0 form need not exist.
    pub(crate) fn id_of(&self, address: &Address) -> Result<Option<ActorId>, Error> {
        match address.id() {
            Some(id) => Ok(Some(id)),
            None => self.get(&key(NAME, address.as_bytes())),
        }
    }

    /// Returns the actor that an address stands for.
    pub(crate) fn find(&self, address: &Address) -> Result<Option<(ActorId, Actor)>, Error> {
        let Some(id) = self.id_of(address)? else { return Ok(None) };
        Ok(self.actor(id)?.map(|actor| (id, actor)))
    }

    /// Returns the account of a key address, created where it is new; nothing for other unknown addresses.
    pub(crate) fn find_or_create(&mut self, address: &Address) -> Result<Option<ActorId>, Error> {
        if let Some((id, _)) = self.find(address)? {
            return Ok(Some(id));
        }
        match address.protocol() {
            Protocol::Secp256k1 | Protocol::Bls => self.create(Kind::Account, *address).map(Some),
            Protocol::Id | Protocol::Actor | Protocol::Delegated => Ok(None),
        }
    }

    pub(crate) fn create(&mut self, kind: Kind, address: Address) -> Result<ActorId, Error> {
        let id = self.head.next_id;
        self.head.next_id = id.checked_add(1).ok_or(Error::Overflow)?;
        let actor = Actor { kind, balance: AttoFil::ZERO, nonce: Nonce::new(0), address };
        self.put_actor(id, &actor)?;
        self.put(key(NAME, address.as_bytes()), &id)?;
        Ok(id)
    }

    /// Moves money; `Ok(false)` where `from` has less or an end does not exist.
    pub(crate) fn transfer(&mut self, from: ActorId, to: ActorId, amount: AttoFil) -> Result<bool, Error> {
        let Some(mut payer) = self.actor(from)? else { return Ok(false) };
        let Ok(rest) = payer.balance.checked_sub(amount) else { return Ok(false) };
        payer.balance = rest;
        self.put_actor(from, &payer)?;
        let Some(mut payee) = self.actor(to)? else { return Ok(false) };
        payee.balance = payee.balance.checked_add(amount).map_err(|_| Error::Overflow)?;
        self.put_actor(to, &payee)?;
        Ok(true)
    }

    pub(crate) fn channel(&self, id: ActorId) -> Result<Option<Channel>, Error> {
        let Some(row) = self.get::<ChannelRow>(&key(CHANNEL, &id.to_be_bytes()))? else { return Ok(None) };
        let mut channel = Channel::new(row.from, row.to);
        channel.to_send = row.to_send;
        channel.settling_at = row.settling_at;
        channel.min_settle_height = row.min_settle_height;
        let prefix = key(LANE, &id.to_be_bytes());
        for (name, value) in self.scan(&prefix)? {
            let damaged = || Error::damaged(&name);
            let lane = name.get(prefix.len()..).and_then(|lane| lane.try_into().ok()).ok_or_else(damaged)?;
            let (redeemed, nonce) = fvm_ipld_encoding::from_slice(&value).map_err(|_| damaged())?;
            channel.lanes.insert(Lane::new(u64::from_be_bytes(lane)), LaneState { redeemed, nonce });
        }
        Ok(Some(channel))
    }

    /// Writes a channel; only the lanes that differ from `before`.
    pub(crate) fn put_channel(
        &mut self,
        id: ActorId,
        before: Option<&Channel>,
        after: &Channel,
    ) -> Result<(), Error> {
        let &Channel { from, to, to_send, settling_at, min_settle_height, ref lanes } = after;
        let row = ChannelRow { from, to, to_send, settling_at, min_settle_height };
        self.put(key(CHANNEL, &id.to_be_bytes()), &row)?;
        for (lane, state) in lanes {
            if before.and_then(|channel| channel.lanes.get(lane)) != Some(state) {
                self.put(lane_key(id, *lane), &(state.redeemed, state.nonce))?;
            }
        }
        Ok(())
    }

    /// Removes a channel and its actor; its f2 keeps pointing at the number that is gone, as on Filecoin.
    pub(crate) fn delete_channel(&mut self, id: ActorId, channel: &Channel) {
        self.changes.insert(key(ACTOR, &id.to_be_bytes()), None);
        self.changes.insert(key(CHANNEL, &id.to_be_bytes()), None);
        for lane in channel.lanes.keys() {
            self.changes.insert(lane_key(id, *lane), None);
        }
    }

    pub(crate) fn receipt(&self, message: &Cid) -> Result<Option<Stored>, Error> {
        self.get(&key(RECEIPT, &message.to_bytes()))
    }

    /// Returns the CID of a block's row, which is how tipsets are named.
    pub(crate) fn block_cid(&self, number: u64) -> Result<Option<Cid>, Error> {
        let row = Self::block_row(self.store, number)?;
        Ok(row.map(|row| cids::chain_cid(&row)))
    }

    /// Returns all actors.
    pub(crate) fn actors(&self) -> Result<Vec<Actor>, Error> {
        let decode = |(name, row): (Vec<u8>, Vec<u8>)| {
            fvm_ipld_encoding::from_slice(&row).map_err(|_| Error::damaged(&name))
        };
        self.scan(&[ACTOR])?.into_iter().map(decode).collect()
    }

    pub(crate) fn put_message(&mut self, cid: &Cid, bytes: &[u8], receipt: &Stored) -> Result<(), Error> {
        if bytes.len() > MAX_VALUE {
            return Err(Error::TooLarge(bytes.len()));
        }
        self.changes.insert(key(MESSAGE, &cid.to_bytes()), Some(bytes.to_vec()));
        self.put(key(RECEIPT, &cid.to_bytes()), receipt)
    }

    /// Closes the changes so far as the next block.
    pub(crate) fn seal(&mut self, message: Option<Cid>) -> Result<(), Error> {
        let rows = self.changes.iter().flat_map(|(name, value)| {
            let value = value.as_deref().unwrap_or_default();
            [name.as_slice(), &[0xff], value, &[0xfe]].map(<[u8]>::to_vec)
        });
        let parts: Vec<Vec<u8>> = rows.collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let changes = ByteArray::new(cids::blake2b_256(&parts));
        let number = match message {
            Some(_) => self.head.number.checked_add(1).ok_or(Error::Overflow)?,
            None => 0,
        };
        let block = Block { number, parent: self.head.hash, epoch: self.head.epoch, message, changes };
        let row = encode(&block)?;
        self.head.number = number;
        self.head.hash = ByteArray::new(cids::blake2b_256(&[&row]));
        self.changes.insert(key(BLOCK, &number.to_be_bytes()), Some(row));
        Ok(())
    }

    /// Returns what money the changes created, as gains and losses that must be equal.
    pub(crate) fn flows(&self) -> Result<(AttoFil, AttoFil), Error> {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for (name, value) in self.changes.iter().filter(|(name, _)| name.first() == Some(&ACTOR)) {
            let balance = |row: &[u8]| {
                let actor: Result<Actor, _> = fvm_ipld_encoding::from_slice(row);
                actor.map(|actor| actor.balance).map_err(|_| Error::damaged(name))
            };
            before.extend(self.store.get(name)?.map(|row| balance(&row)).transpose()?);
            after.extend(value.as_deref().map(balance).transpose()?);
        }
        let sum = |amounts| AttoFil::checked_sum(amounts).map_err(|_| Error::Overflow);
        Ok((sum(before)?, sum(after)?))
    }

    /// Returns the head and what has to be written to make it so.
    pub(crate) fn into_changes(mut self) -> Result<(Head, Vec<Change>), Error> {
        let head = self.head.clone();
        self.put(HEAD.to_vec(), &head)?;
        Ok((head, self.changes.into_iter().collect()))
    }

    fn get<T: DeserializeOwned>(&self, name: &[u8]) -> Result<Option<T>, Error> {
        let Some(row) = self.raw(name)? else { return Ok(None) };
        fvm_ipld_encoding::from_slice(&row).map(Some).map_err(|_| Error::damaged(name))
    }

    fn raw(&self, name: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.changes.get(name) {
            Some(change) => Ok(change.clone()),
            None => Ok(self.store.get(name)?),
        }
    }

    fn put<T: Serialize>(&mut self, name: Vec<u8>, value: &T) -> Result<(), Error> {
        self.changes.insert(name, Some(encode(value)?));
        Ok(())
    }

    fn scan(&self, prefix: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
        let mut rows: BTreeMap<_, _> = self.store.scan(prefix)?.into_iter().collect();
        for (name, value) in self.changes.range(prefix.to_vec()..).take_while(|(k, _)| k.starts_with(prefix))
        {
            match value {
                Some(value) => rows.insert(name.clone(), value.clone()),
                None => rows.remove(name),
            };
        }
        Ok(rows)
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let row = fvm_ipld_encoding::to_vec(value).expect("rows are plain values that always encode");
    if row.len() > MAX_VALUE { Err(Error::TooLarge(row.len())) } else { Ok(row) }
}

fn key(kind: u8, name: &[u8]) -> Vec<u8> {
    [&[kind], name].concat()
}

fn lane_key(id: ActorId, lane: Lane) -> Vec<u8> {
    [&[LANE][..], &id.to_be_bytes(), &lane.get().to_be_bytes()].concat()
}
