//! What the wallet knows, in memory: channels and their lanes, the outbox, message nonces.
//!
//! Every row here is on disk too; only who holds which lane, and what the chain was last seen to say, is not.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pop_keys::{Address, PublicKey};
use pop_payments::payee::{Best, View};
use pop_payments::payer::{Lanes, Promise};
use pop_payments::{ChannelState, LaneState, Voucher};
use pop_store::State;
use pop_units::{AttoFil, Bytes, ChainEpoch, Lane, Nonce, Overflow};

use crate::error::WalletError;
use crate::rows::{ChannelRow, Direction, LaneRow, OutboxRow, Purpose, Stage, Tables, decode, number_of};

/// One lane's row, locked while its next voucher is being written: lanes write side by side, the vouchers of
/// one lane one after the other.
pub(crate) type Gate = Arc<Mutex<LaneRow>>;

/// One channel in memory.
pub(crate) struct Channel {
    pub(crate) row: ChannelRow,
    pub(crate) gates: BTreeMap<Lane, Gate>,
    /// Outgoing: what was promised and who holds which lane.
    pub(crate) lanes: Lanes,
    /// Incoming: the best voucher of each lane.
    pub(crate) best: BTreeMap<Lane, Best>,
    /// Incoming: the payer's key, once a voucher showed it.
    pub(crate) signer: Option<PublicKey>,
    /// Bytes that each lane's vouchers paid for.
    pub(crate) paid_for: BTreeMap<Lane, Bytes>,
    /// What the chain holds of the lanes.
    pub(crate) redeemed: BTreeMap<Lane, LaneState>,
    /// Whether the chain was asked since the start, and had it.
    pub(crate) seen: bool,
    /// The epoch of the last look at it.
    pub(crate) looked: ChainEpoch,
    /// Looks that began before this one come too late to count.
    pub(crate) since: u64,
}

impl Channel {
    pub(crate) fn new(row: ChannelRow) -> Self {
        let (lanes, looked) = (Lanes::new(row.balance, []), row.last_seen);
        Self {
            looked,
            row,
            gates: BTreeMap::new(),
            lanes,
            best: BTreeMap::new(),
            signer: None,
            paid_for: BTreeMap::new(),
            redeemed: BTreeMap::new(),
            seen: false,
            since: 0,
        }
    }

    pub(crate) fn gate(&mut self, lane: Lane) -> Gate {
        self.gates.entry(lane).or_default().clone()
    }

    pub(crate) fn is_settling(&self) -> bool {
        self.row.settling_at.get() != 0
    }

    /// Takes note of what the chain says. Returns true when the row must be written again.
    pub(crate) fn on_seen(&mut self, state: &ChannelState, epoch: ChainEpoch) -> bool {
        /// Half an hour of epochs: precise enough for a window of twelve hours.
        const RENEW: i64 = 60;
        let row = &mut self.row;
        let stale = epoch.get().saturating_sub(row.last_seen.get()) >= RENEW;
        let new = (state.balance, state.to_send, state.settling_at);
        let changed = new != (row.balance, row.to_send, row.settling_at);
        (row.balance, row.to_send, row.settling_at) = new;
        if stale || changed {
            row.last_seen = row.last_seen.max(epoch);
        }
        self.lanes.on_funds(state.balance);
        if self.row.direction == Direction::Outbound {
            // The next voucher must be above what was handed in, even where our own records are gone.
            let handed_in = state.lanes.iter();
            let address = self.row.address.unwrap_or(self.row.to);
            for (lane, on_chain) in handed_in {
                let voucher = Voucher::new(address, *lane, on_chain.nonce, on_chain.redeemed);
                self.lanes.on_own_voucher(&voucher);
            }
        }
        self.redeemed.clone_from(&state.lanes);
        (self.seen, self.looked) = (true, epoch);
        stale || changed
    }

    /// Returns what the vouchers of a channel that is gone were paid with.
    ///
    /// Only the payee hands vouchers in, so as payee we know. As payer we know if we looked once nothing could
    /// change any more; else the payee is taken to have handed in its best.
    pub(crate) fn final_payment(&self) -> Result<AttoFil, Overflow> {
        let certain = self.is_settling() && self.looked >= self.row.settling_at;
        match self.row.direction {
            Direction::Outbound if !certain => Ok(self.lanes.promised()?.min(self.row.balance)),
            Direction::Inbound | Direction::Outbound => Ok(self.row.to_send),
        }
    }

    pub(crate) fn view(&self, epoch: ChainEpoch) -> Option<View> {
        let row = &self.row;
        let age = epoch.get().saturating_sub(row.first_seen.get());
        Some(View {
            channel: row.address?,
            id: row.id?,
            from: row.from,
            to: row.to,
            balance: row.balance,
            settling_at: row.settling_at,
            confidence: u64::try_from(age).unwrap_or(0),
            exists: self.seen && row.stage == Stage::Open,
            lanes: self.redeemed.clone(),
        })
    }
}

/// Everything in memory.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) channels: BTreeMap<u64, Channel>,
    pub(crate) by_address: BTreeMap<Address, u64>,
    pub(crate) outbox: BTreeMap<u64, OutboxRow>,
    /// The last message nonce given out for each address.
    pub(crate) nonces: BTreeMap<Address, Nonce>,
    /// The newest epoch heard of.
    pub(crate) epoch: ChainEpoch,
    looks: u64,
    /// Numbers of messages are never used twice while the process runs: answers may come late.
    next_message: u64,
}

impl Book {
    pub(crate) fn load(state: &State, tables: &Tables) -> Result<Self, WalletError> {
        let mut book = Self::default();
        for (key, value) in state.scan(&tables.channels, &[])? {
            book.insert(number_of(&key, 0)?, Channel::new(decode(&value, "channel")?));
        }
        let mut promises: BTreeMap<u64, Vec<(Lane, Promise)>> = BTreeMap::new();
        for (key, value) in state.scan(&tables.lanes, &[])? {
            let (number, lane) = (number_of(&key, 0)?, Lane::new(number_of(&key, 1)?));
            let row: LaneRow = decode(&value, "lane")?;
            let channel =
                book.channels.get_mut(&number).ok_or(WalletError::Damaged("lane without channel"))?;
            match channel.row.direction {
                Direction::Outbound => {
                    let promise = Promise { nonce: row.nonce, amount: row.amount };
                    promises.entry(number).or_default().push((lane, promise));
                }
                Direction::Inbound => {
                    let best = Best { bytes: row.best.clone(), nonce: row.nonce, amount: row.amount };
                    channel.best.insert(lane, best);
                }
            }
            channel.paid_for.insert(lane, row.bytes);
            channel.gates.insert(lane, Arc::new(Mutex::new(row)));
        }
        for (number, promises) in promises {
            if let Some(channel) = book.channels.get_mut(&number) {
                channel.lanes = Lanes::new(channel.row.balance, promises);
            }
        }
        for (key, value) in state.scan(&tables.outbox, &[])? {
            let number = number_of(&key, 0)?;
            book.outbox.insert(number, decode(&value, "outbox")?);
            book.next_message = number.saturating_add(1);
        }
        for (key, value) in state.scan(&tables.nonces, &[])? {
            let address = Address::from_bytes(&key).map_err(|_| WalletError::Damaged("nonce"))?;
            book.nonces.insert(address, decode(&value, "nonce")?);
        }
        Ok(book)
    }

    pub(crate) fn insert(&mut self, number: u64, channel: Channel) {
        for address in [channel.row.address, channel.row.id].into_iter().flatten() {
            self.by_address.insert(address, number);
        }
        self.channels.insert(number, channel);
    }

    pub(crate) fn next_channel(&self) -> u64 {
        self.channels.last_key_value().map_or(0, |(number, _)| number.saturating_add(1))
    }

    /// Begins a look at the chain. Looks overtake each other; their numbers tell which is outdated.
    pub(crate) fn begin_look(&mut self) -> u64 {
        self.looks = self.looks.saturating_add(1);
        self.looks
    }

    /// A channel was changed by us: what was read before is outdated.
    pub(crate) fn on_changed(&mut self, number: u64) {
        let since = self.begin_look();
        if let Some(channel) = self.channels.get_mut(&number) {
            (channel.seen, channel.since) = (false, since);
        }
    }

    pub(crate) fn next_message(&mut self) -> u64 {
        let number = self.next_message;
        self.next_message = number.saturating_add(1);
        number
    }

    pub(crate) fn find(&self, address: &Address) -> Result<(u64, &Channel), WalletError> {
        let number = self.by_address.get(address).copied();
        let found = number.and_then(|number| Some((number, self.channels.get(&number)?)));
        found.ok_or(WalletError::UnknownChannel(*address))
    }

    pub(crate) fn find_mut(&mut self, address: &Address) -> Result<(u64, &mut Channel), WalletError> {
        let number = self.by_address.get(address).copied();
        let found = number.and_then(|number| Some((number, self.channels.get_mut(&number)?)));
        found.ok_or(WalletError::UnknownChannel(*address))
    }

    pub(crate) fn on_paid_for(&mut self, number: u64, lane: Lane, bytes: Bytes) {
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.paid_for.insert(lane, bytes);
        }
    }

    pub(crate) fn open_channels(&self) -> Vec<u64> {
        let open = self.channels.iter().filter(|(_, channel)| channel.row.stage == Stage::Open);
        open.map(|(number, _)| *number).collect()
    }

    /// Returns true while a message of this purpose is under way.
    pub(crate) fn is_pending(&self, purpose: impl Fn(Purpose) -> bool) -> bool {
        self.outbox.values().any(|row| purpose(row.purpose))
    }

    /// Returns the best vouchers of a channel that the chain does not hold yet, and what each would add.
    pub(crate) fn unsubmitted(&self, number: u64) -> Vec<(Voucher, AttoFil)> {
        let Some(channel) = self.channels.get(&number) else {
            return Vec::new();
        };
        let gains = channel.best.iter().filter_map(|(lane, best)| {
            let redeemed = channel.redeemed.get(lane);
            let newer = redeemed.is_none_or(|state| best.nonce > state.nonce);
            let gain = best.amount.saturating_sub(redeemed.map(|state| state.redeemed).unwrap_or_default());
            let voucher = Voucher::decode(&best.bytes).ok()?;
            (newer && !gain.is_zero()).then_some((voucher, gain))
        });
        gains.collect()
    }
}
