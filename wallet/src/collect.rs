//! The collector: watches channels and turns vouchers into money before it is too late.

use pop_keys::Address;
use pop_payments::paych::{RawVoucher, SETTLE_DELAY, UpdateParams, encode as cbor, method};
use pop_payments::{ChannelState, Message, MsgCid, Voucher};
use pop_store::Batch;
use pop_units::{AttoFil, ChainEpoch, Lane};
use tracing::{info, warn};

use crate::book::Book;
use crate::entry;
use crate::error::WalletError;
use crate::rows::{Direction, Purpose, Stage, encode, number_key};
use crate::wallet::Wallet;

/// What one round of the collector did.
#[derive(Debug, Default)]
pub struct TickReport {
    /// Vouchers handed in because somebody settles.
    pub submitted: usize,
    /// Channels paid out.
    pub collected: usize,
    /// Messages still under way.
    pub pending: usize,
    /// What went wrong, for each channel; the next round tries again.
    pub failed: Vec<(Option<Address>, WalletError)>,
}

impl Wallet {
    /// Does what is due: pushes messages again, looks at every open channel, hands in vouchers of channels
    /// that are being settled, and collects those that are ripe.
    ///
    /// One channel's failure does not keep the others waiting. Dropped half-way, the next call goes on.
    ///
    /// # Errors
    /// The chain does not even tell its height.
    pub async fn tick(&self) -> Result<TickReport, WalletError> {
        let mut report = TickReport::default();
        let now = self.0.chain.head().await?.epoch;
        if let Err(error) = self.push_again().await {
            report.failed.push((None, error));
        }
        if let Err(error) = self.poll_outbox().await {
            report.failed.push((None, error));
        }
        let open = self.book().open_channels();
        for number in open {
            let done = self.tend(number, now, &mut report).await;
            if let Err(error) = done {
                let channel = self.book().channels.get(&number).and_then(|channel| channel.row.address);
                warn!(?channel, %error, "channel could not be tended");
                report.failed.push((channel, error));
            }
        }
        match self.poll_outbox().await {
            Ok(pending) => report.pending = pending,
            Err(error) => report.failed.push((None, error)),
        }
        Ok(report)
    }

    /// Hands in the best voucher of one lane, or of all lanes, where the chain does not hold it yet.
    ///
    /// # Errors
    /// The channel does not pay us, or the chain refuses.
    pub async fn submit(&self, channel: &Address, lane: Option<Lane>) -> Result<Vec<MsgCid>, WalletError> {
        let number = self.known_open(channel)?;
        let sent = self.submit_best(number, lane).await?;
        self.wait_for_channel(number).await?;
        self.refresh(number).await?;
        Ok(sent)
    }

    /// Starts settling; what we were promised is handed in first.
    ///
    /// # Errors
    /// The channel is not ours, is settling already, or the chain refuses.
    pub async fn settle(&self, channel: &Address) -> Result<MsgCid, WalletError> {
        let number = self.known_open(channel)?;
        self.refresh(number).await?;
        self.submit_best(number, None).await?;
        let sent = self.act(number, method::SETTLE, Purpose::Settle { channel: number }).await?;
        self.wait_for_channel(number).await?;
        self.refresh(number).await?;
        Ok(sent)
    }

    /// Pays out a settled channel: our share as payee, the rest as payer.
    ///
    /// # Errors
    /// The channel is not ours or not ripe, or the chain refuses.
    pub async fn collect(&self, channel: &Address) -> Result<MsgCid, WalletError> {
        let number = self.known_open(channel)?;
        self.refresh(number).await?;
        let sent = self.act(number, method::COLLECT, Purpose::Collect { channel: number }).await?;
        self.wait_for_channel(number).await?;
        self.refresh(number).await?;
        Ok(sent)
    }

    /// Enters a channel that is ours into the books, for instance after they were lost.
    ///
    /// # Errors
    /// The channel does not exist or is not ours.
    pub async fn track(&self, channel: &Address) -> Result<(), WalletError> {
        self.look_up(channel).await.map(drop)
    }

    /// Looks at one channel on chain and takes note of what is new.
    pub(crate) async fn refresh(&self, number: u64) -> Result<(), WalletError> {
        let now = self.0.chain.head().await?.epoch;
        self.refresh_at(number, now).await
    }

    async fn refresh_at(&self, number: u64, now: ChainEpoch) -> Result<(), WalletError> {
        let (look, address) = {
            let mut book = self.book();
            let look = book.begin_look();
            (look, book.channels.get(&number).and_then(|channel| channel.row.address))
        };
        let Some(address) = address else {
            return Ok(());
        };
        let state = self.0.chain.channel(&address).await?;
        let mut book = self.book();
        book.epoch = book.epoch.max(now);
        match book.channels.get_mut(&number) {
            Some(channel) if channel.since < look => channel.since = look,
            Some(_) | None => return Ok(()),
        }
        match state {
            Some(state) => self.on_seen(&mut book, number, &state),
            None => self.on_gone(&mut book, number, &address),
        }
    }

    fn on_seen(&self, book: &mut Book, number: u64, state: &ChannelState) -> Result<(), WalletError> {
        let epoch = book.epoch;
        let Some(channel) = book.channels.get_mut(&number) else {
            return Ok(());
        };
        let was_settling = channel.is_settling();
        if channel.on_seen(state, epoch) {
            self.0.state.apply(Batch::new().put(
                &self.0.tables.channels,
                number_key(number),
                encode(&channel.row),
            ))?;
        }
        if channel.is_settling() && !was_settling {
            info!(channel = ?channel.row.address, at = %channel.row.settling_at, "channel settles");
        }
        Ok(())
    }

    /// A channel that is not there was collected, or the node is behind. Only a collection that the rules
    /// allowed is believed; until then it just takes no vouchers.
    fn on_gone(&self, book: &mut Book, number: u64, address: &Address) -> Result<(), WalletError> {
        let epoch = book.epoch.get();
        let Some(channel) = book.channels.get_mut(&number).filter(|channel| channel.row.stage == Stage::Open)
        else {
            return Ok(());
        };
        channel.seen = false;
        let row = &channel.row;
        let ripe = channel.is_settling() && epoch >= row.settling_at.get();
        if !ripe && epoch < row.last_seen.get().saturating_add(SETTLE_DELAY) {
            return Ok(());
        }
        let paid = channel.final_payment()?;
        let rest = row.balance.saturating_sub(paid);
        let mut closed = row.clone();
        closed.settled = match row.direction {
            Direction::Inbound => paid,
            Direction::Outbound => rest,
        };
        (closed.stage, closed.balance, closed.to_send) = (Stage::Closed, AttoFil::ZERO, paid);
        let entries = entry::settlement(row.direction, address, paid, rest);
        let batch = Batch::new().put(&self.0.tables.channels, number_key(number), encode(&closed));
        self.0.state.apply(self.post(&entries, batch)?)?;
        info!(channel = %address, paid = %closed.to_send, %rest, "channel closed");
        channel.row = closed;
        Ok(())
    }

    /// Looks after one channel.
    async fn tend(&self, number: u64, now: ChainEpoch, report: &mut TickReport) -> Result<(), WalletError> {
        self.refresh_at(number, now).await?;
        let found = self.book().channels.get(&number).map(|channel| channel.row.clone());
        let Some(row) = found.filter(|row| row.stage == Stage::Open && row.settling_at.get() != 0) else {
            return Ok(());
        };
        if now < row.settling_at {
            if row.direction == Direction::Inbound {
                report.submitted += self.submit_worthwhile(number).await?;
                self.poll_outbox().await?;
                self.refresh_at(number, now).await?;
            }
            return Ok(());
        }
        if self.book().is_pending(|purpose| purpose == Purpose::Collect { channel: number }) {
            return Ok(());
        }
        self.act(number, method::COLLECT, Purpose::Collect { channel: number }).await?;
        report.collected += 1;
        self.poll_outbox().await?;
        self.refresh_at(number, now).await
    }

    async fn submit_best(&self, number: u64, only: Option<Lane>) -> Result<Vec<MsgCid>, WalletError> {
        let mut sent = Vec::new();
        let vouchers = self.book().unsubmitted(number);
        for (voucher, _) in
            vouchers.iter().filter(|(voucher, _)| only.is_none_or(|lane| lane == voucher.lane))
        {
            sent.extend(self.submit_one(number, voucher).await?);
        }
        Ok(sent)
    }

    /// Hands in what is worth more than handing it in costs.
    async fn submit_worthwhile(&self, number: u64) -> Result<usize, WalletError> {
        let mut sent = 0;
        let vouchers = self.book().unsubmitted(number);
        for (voucher, gain) in &vouchers {
            let (message, _) = self.submission(number, voucher)?;
            let cost = self.0.chain.estimate(message, self.0.policy.max_fee).await?.max_fee();
            if cost.is_some_and(|cost| cost < *gain) && self.submit_one(number, voucher).await?.is_some() {
                sent += 1;
            }
        }
        Ok(sent)
    }

    async fn submit_one(&self, number: u64, voucher: &Voucher) -> Result<Option<MsgCid>, WalletError> {
        let (message, purpose) = self.submission(number, voucher)?;
        if self.book().is_pending(|pending| pending == purpose) {
            return Ok(None);
        }
        self.call(message, purpose).await.map(Some)
    }

    fn submission(&self, number: u64, voucher: &Voucher) -> Result<(Message, Purpose), WalletError> {
        let purpose = Purpose::Submit { channel: number, lane: voucher.lane, nonce: voucher.nonce };
        let params = cbor(&UpdateParams { voucher: RawVoucher::from(voucher), secret: Vec::new() });
        Ok((self.message_to(number, method::UPDATE_CHANNEL_STATE, params)?, purpose))
    }

    async fn act(&self, number: u64, method: u64, purpose: Purpose) -> Result<MsgCid, WalletError> {
        let message = self.message_to(number, method, Vec::new())?;
        self.call(message, purpose).await
    }

    fn message_to(&self, number: u64, method: u64, params: Vec<u8>) -> Result<Message, WalletError> {
        let book = self.book();
        let channel = book.channels.get(&number).ok_or(WalletError::Damaged("channel"))?;
        let own = match channel.row.direction {
            Direction::Inbound => channel.row.to,
            Direction::Outbound => channel.row.from,
        };
        let address = channel.row.address.ok_or(WalletError::Damaged("channel address"))?;
        Ok(Message::new(own, address, AttoFil::ZERO, method, params))
    }

    /// Sends a message to a channel, after asking the chain whether it would pass.
    async fn call(&self, message: Message, purpose: Purpose) -> Result<MsgCid, WalletError> {
        let writer = self.0.outbox.lock().await;
        let exit = self.0.chain.dry_run(&message).await?;
        if !exit.is_ok() {
            return Err(WalletError::Failed(exit));
        }
        self.send(&writer, message, purpose, None).await
    }

    fn known_open(&self, channel: &Address) -> Result<u64, WalletError> {
        let book = self.book();
        let (number, found) = book.find(channel)?;
        match found.row.stage {
            Stage::Open => Ok(number),
            Stage::Creating | Stage::Closed | Stage::Failed(_) => {
                Err(WalletError::State { state: found.phase(book.epoch) })
            }
        }
    }
}
