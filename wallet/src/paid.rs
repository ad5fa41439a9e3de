//! The payee: channels are looked up once, vouchers are judged, written down and then acknowledged.

use pop_keys::{Address, Protocol};
use pop_payments::payee::{self, Best, Expect, Fresh, Refusal, Verdict, View};
use pop_payments::{ChannelState, Head, Resolved, Voucher};
use pop_store::Batch;
use pop_units::{AttoFil, Lane};

use crate::book::{Book, Channel, Gate};
use crate::entry;
use crate::error::WalletError;
use crate::rows::{ChannelRow, Direction, LaneRow, Stage, encode, lane_key, number_key};
use crate::wallet::Wallet;

/// Most channels that are open at a time: each is watched, and a stranger can make one for us.
pub(crate) const MAX_CHANNELS: usize = 4096;

/// Lanes that a channel's vouchers may name, good ones and refused ones.
const MAX_GATES: usize = 64;

/// A voucher that counts, and is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What it adds; zero when it is the same voucher again.
    pub delta: AttoFil,
    /// The lane's total: what is acknowledged, the same however often the voucher comes.
    pub total: AttoFil,
}

impl Wallet {
    /// Looks a channel up on chain, so that vouchers on it can be accepted. Any of our keys may be paid.
    ///
    /// A channel has two names; the view holds the one (f2) that it goes by in the books, and that whoever
    /// counts by channels should use.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// It does not exist, does not pay one of our keys, or is paid by another than `payer`.
    pub async fn admit(&self, channel: &Address, payer: Option<&Address>) -> Result<View, WalletError> {
        let number = self.look_up(channel).await?;
        let payee = self.book().channels.get(&number).map(|found| found.row.to);
        // The key may have gone since the channel was entered; without it vouchers are no money.
        if !payee.is_some_and(|payee| self.0.keystore.has(&payee)) {
            return Err(WalletError::NotOurs(*channel));
        }
        let book = self.book();
        let found = book.channels.get(&number).ok_or(WalletError::UnknownChannel(*channel))?;
        if found.row.direction != Direction::Inbound {
            return Err(WalletError::NotOurs(*channel));
        }
        if payer.is_some_and(|payer| *payer != found.row.from) {
            return Err(WalletError::OtherPayer(found.row.from));
        }
        found.view(book.epoch).ok_or(WalletError::UnknownChannel(*channel))
    }

    /// Takes a voucher, by the rules of [`payee::judge`]. It is on disk when this returns. Blocks.
    ///
    /// # Errors
    /// The first rule that it breaks, or that the disk failed; then it does not count.
    pub fn accept(&self, voucher: &[u8], channel: &Address, expect: &Expect) -> Result<Accepted, Refusal> {
        let lane = Voucher::decode(voucher)?.lane;
        let (number, gate) = self.in_gate(channel, lane)?;
        let mut row = gate.lock();
        let (view, best, signer) = {
            let book = self.book();
            let found = book.channels.get(&number).ok_or(Refusal::UnknownChannel(*channel))?;
            let view = found.view(book.epoch).ok_or(Refusal::UnknownChannel(*channel))?;
            (view, found.best.clone(), found.signer)
        };
        let fresh = match payee::judge(voucher, &view, &best, signer.as_ref(), expect)? {
            Verdict::Known { total, .. } => return Ok(Accepted { delta: AttoFil::ZERO, total }),
            Verdict::Fresh(fresh) => fresh,
        };
        self.reserve_best(number, &fresh, voucher)?;
        let total = fresh.voucher.amount;
        let next = LaneRow {
            nonce: fresh.voucher.nonce,
            amount: total,
            bytes: row.bytes.saturating_add(expect.bytes),
            best: voucher.to_vec(),
            previous: row.best.clone(),
        };
        if let Err(error) = self.write_accepted(number, &view.channel, &next, &fresh) {
            self.give_back(number, lane, best.get(&lane));
            return Err(Refusal::Storage(Box::new(error)));
        }
        self.book().on_paid_for(number, lane, next.bytes);
        *row = next;
        Ok(Accepted { delta: fresh.delta, total })
    }

    /// Returns the best voucher of a lane: what a payer that lost its records is shown.
    pub fn best(&self, channel: &Address, lane: Lane) -> Option<Voucher> {
        let book = self.book();
        let (_, found) = book.find(channel).ok()?;
        Voucher::decode(&found.best.get(&lane)?.bytes).ok()
    }

    /// Reads a channel off the chain into the book, whether known before or not. Returns its number.
    pub(crate) async fn look_up(&self, address: &Address) -> Result<u64, WalletError> {
        let known = self.book().by_address.get(address).copied();
        if let Some(number) = known {
            self.refresh(number).await?;
            return Ok(number);
        }
        let chain = &self.0.chain;
        let state = chain.channel(address).await?.ok_or(WalletError::UnknownChannel(*address))?;
        let head = chain.head().await?;
        let Resolved { id, key: name } = chain.resolve(address).await?;
        if name.protocol() != Protocol::Actor {
            return Err(WalletError::Nameless(*address));
        }
        let (from, to) = (chain.resolve(&state.from).await?.key, chain.resolve(&state.to).await?.key);
        let direction = match (self.0.keystore.has(&to), self.0.keystore.has(&from)) {
            (true, _) => Direction::Inbound,
            (false, true) => Direction::Outbound,
            (false, false) => return Err(WalletError::NotOurs(*address)),
        };
        let row = ChannelRow {
            direction,
            stage: Stage::Open,
            address: Some(name),
            id: Some(id),
            from,
            to,
            balance: state.balance,
            to_send: state.to_send,
            settling_at: state.settling_at,
            first_seen: head.epoch,
            last_seen: head.epoch,
            settled: AttoFil::ZERO,
        };
        self.enter(row, &state, &head)
    }

    fn enter(&self, row: ChannelRow, state: &ChannelState, head: &Head) -> Result<u64, WalletError> {
        let mut book = self.book();
        book.epoch = book.epoch.max(head.epoch);
        let known = |book: &Book, address: Option<Address>| book.by_address.get(&address?).copied();
        if let Some(number) = known(&book, row.address).or_else(|| known(&book, row.id)) {
            return Ok(number);
        }
        if book.open_channels().len() >= MAX_CHANNELS {
            return Err(WalletError::TooManyChannels(MAX_CHANNELS));
        }
        let number = book.next_channel();
        self.0.state.apply(Batch::new().put(&self.0.tables.channels, number_key(number), encode(&row)))?;
        let mut channel = Channel::new(row);
        channel.on_seen(state, head.epoch);
        book.insert(number, channel);
        Ok(number)
    }

    fn in_gate(&self, channel: &Address, lane: Lane) -> Result<(u64, Gate), Refusal> {
        let mut book = self.book();
        let (number, found) = book.find_mut(channel).map_err(|_| Refusal::UnknownChannel(*channel))?;
        // What was last seen before a restart may be long past: it must be looked up again.
        let outdated = found.row.stage == Stage::Open && !found.seen;
        if found.row.direction != Direction::Inbound || outdated {
            return Err(Refusal::UnknownChannel(*channel));
        }
        // A stranger's junk vouchers name any lane they like: what they leave behind is bounded.
        let fits = found.gates.contains_key(&lane) || found.gates.len() < MAX_GATES;
        match fits {
            true => Ok((number, found.gate(lane))),
            false => Err(Refusal::Lane { lane }),
        }
    }

    /// Counts the voucher in memory, if the channel still covers it beside what other lanes took meanwhile.
    fn reserve_best(&self, number: u64, fresh: &Fresh, bytes: &[u8]) -> Result<(), Refusal> {
        let mut book = self.book();
        let epoch = book.epoch;
        let found = book.channels.get_mut(&number).ok_or(Refusal::Closed)?;
        let view = found.view(epoch).filter(|view| view.exists).ok_or(Refusal::Closed)?;
        payee::covers(&fresh.voucher, &view, &found.best)?;
        let best = Best { bytes: bytes.to_vec(), nonce: fresh.voucher.nonce, amount: fresh.voucher.amount };
        found.best.insert(fresh.voucher.lane, best);
        found.signer = Some(fresh.signer);
        Ok(())
    }

    fn give_back(&self, number: u64, lane: Lane, before: Option<&Best>) {
        if let Some(found) = self.book().channels.get_mut(&number) {
            match before {
                Some(best) => found.best.insert(lane, best.clone()),
                None => found.best.remove(&lane),
            };
        }
    }

    fn write_accepted(
        &self,
        number: u64,
        channel: &Address,
        row: &LaneRow,
        fresh: &Fresh,
    ) -> Result<(), WalletError> {
        let place = (fresh.voucher.lane, fresh.voucher.nonce);
        let entry = entry::voucher(Direction::Inbound, channel, place, fresh.delta);
        let batch = Batch::new().put(&self.0.tables.lanes, lane_key(number, place.0), encode(row));
        Ok(self.0.state.apply(self.post(&[entry], batch)?)?)
    }
}
