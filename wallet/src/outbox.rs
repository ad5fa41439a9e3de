//! Messages on their way: written down before they are pushed, pushed again until they are on chain.

use std::time::Duration;

use futures::lock::MutexGuard as Writer;
use pop_keys::Address;
use pop_payments::paych::{self, ExecReturn};
use pop_payments::{ChainError, ExitCode, Message, MsgCid, Receipt, SignedMessage};
use pop_store::Batch;
use pop_units::Nonce;
use tracing::{info, warn};

use crate::book::{Book, Channel};
use crate::entry;
use crate::error::WalletError;
use crate::rows::{ChannelRow, OutboxRow, Purpose, Stage, encode, number_key};
use crate::wallet::Wallet;

/// Looks at the chain for each epoch while waiting, and epochs waited for.
const LOOKS_PER_BLOCK: u32 = 6;
const BLOCKS: u32 = 30;

impl Wallet {
    /// Signs, writes down and pushes one message, and with it the channel that it creates.
    pub(crate) async fn send(
        &self,
        _writer: &Writer<'_, ()>,
        message: Message,
        purpose: Purpose,
        creates: Option<ChannelRow>,
    ) -> Result<MsgCid, WalletError> {
        let from = message.from;
        self.0.keystore.secret(&from)?;
        // What was not pushed before goes first: a nonce behind an unsent one would never execute.
        self.flush(&from, None).await?;
        // Before the estimate: nodes try the message out, and fail with less clear words.
        self.check_funds(&message).await?;
        let message = self.0.chain.estimate(message, self.0.policy.max_fee).await?;
        self.check_funds(&message).await?;
        let next = self.0.chain.next_nonce(&from).await?;
        let cid = self.write_down(message, next, purpose, creates)?;
        self.flush(&from, Some(cid)).await?;
        Ok(cid)
    }

    async fn check_funds(&self, message: &Message) -> Result<(), WalletError> {
        let have = self.0.chain.balance(&message.from).await?;
        let fee = message.max_fee().ok_or(pop_units::Overflow)?;
        let need = message.value.checked_add(fee)?;
        match have >= need {
            true => Ok(()),
            false => Err(WalletError::Funds { address: Box::new(message.from), have, need }),
        }
    }

    fn write_down(
        &self,
        mut message: Message,
        next: Nonce,
        purpose: Purpose,
        creates: Option<ChannelRow>,
    ) -> Result<MsgCid, WalletError> {
        let from = message.from;
        let key = self.0.keystore.secret(&from)?;
        let mut book = self.book();
        let above_last = match book.nonces.get(&from) {
            Some(last) => last.checked_add(1)?,
            None => Nonce::new(0),
        };
        message.nonce = next.max(above_last);
        let nonce = message.nonce;
        let signed = message.sign(&key);
        let number = book.next_message();
        let row = OutboxRow::new(&signed, purpose);
        let mut batch = Batch::new().put(&self.0.tables.outbox, number_key(number), encode(&row)).put(
            &self.0.tables.nonces,
            from.as_bytes(),
            encode(&nonce),
        );
        if let (Some(channel), Some(created)) = (purpose.channel(), &creates) {
            batch = batch.put(&self.0.tables.channels, number_key(channel), encode(created));
        }
        self.0.state.apply(batch)?;
        book.nonces.insert(from, nonce);
        book.outbox.insert(number, row);
        if let (Some(channel), Some(created)) = (purpose.channel(), creates) {
            book.insert(channel, Channel::new(created));
        }
        Ok(signed.cid())
    }

    /// Pushes what was written down and not pushed yet, in the order of nonces.
    ///
    /// A message that can never be executed is forgotten; that is an error to its own sender only.
    async fn flush(&self, from: &Address, mine: Option<MsgCid>) -> Result<(), WalletError> {
        let mut waiting = Vec::new();
        for (number, row) in self.book().outbox.iter().filter(|(_, row)| !row.pushed) {
            let signed = row.message()?;
            if signed.message.from == *from {
                waiting.push((*number, signed));
            }
        }
        for (number, signed) in waiting {
            match self.0.chain.push(&signed).await {
                Ok(_) => self.on_pushed(number)?,
                Err(error) => {
                    let outcome = self.on_not_pushed(number, &signed, error).await;
                    let forgotten = !self.book().outbox.contains_key(&number);
                    match outcome {
                        Err(error) if forgotten && mine != Some(signed.cid()) => {
                            warn!(message = %signed.cid(), %error, "message of an earlier call given up");
                        }
                        outcome => outcome?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Pushes what an earlier call wrote down and could not push.
    pub(crate) async fn push_unsent(&self) -> Result<(), WalletError> {
        let unsent: Result<Vec<_>, _> = {
            let book = self.book();
            book.outbox.values().filter(|row| !row.pushed).map(OutboxRow::message).collect()
        };
        for signed in unsent? {
            let _writer = self.0.outbox.lock().await;
            self.flush(&signed.message.from, None).await?;
        }
        Ok(())
    }

    fn on_pushed(&self, number: u64) -> Result<(), WalletError> {
        let mut book = self.book();
        if let Some(row) = book.outbox.get_mut(&number) {
            row.pushed = true;
            self.0.state.apply(Batch::new().put(&self.0.tables.outbox, number_key(number), encode(row)))?;
        }
        Ok(())
    }

    async fn on_not_pushed(
        &self,
        number: u64,
        signed: &SignedMessage,
        error: ChainError,
    ) -> Result<(), WalletError> {
        let for_good = match &error {
            ChainError::Rejected { .. }
            | ChainError::Nonce { .. }
            | ChainError::Funds { .. }
            | ChainError::Fee { .. }
            | ChainError::UnknownActor(_) => true,
            // Anything else leaves open whether the node took it: it is pushed again.
            _ => false,
        };
        if !for_good {
            return Err(error.into());
        }
        if self.0.chain.lookup(&signed.cid()).await?.is_some() {
            return self.on_pushed(number);
        }
        self.forget(number, signed)?;
        Err(error.into())
    }

    /// Takes back a message that the chain will never execute, and its nonce where it was the last.
    fn forget(&self, number: u64, signed: &SignedMessage) -> Result<(), WalletError> {
        let mut book = self.book();
        let Some(row) = book.outbox.get(&number) else {
            return Ok(());
        };
        let purpose = row.purpose;
        let from = signed.message.from;
        let mut batch = Batch::new().delete(&self.0.tables.outbox, number_key(number));
        let nonce = signed.message.nonce;
        let was_last = book.nonces.get(&from) == Some(&nonce);
        let before = nonce.get().checked_sub(1).map(Nonce::new);
        if was_last {
            let nonces = &self.0.tables.nonces;
            batch = match before {
                Some(before) => batch.put(nonces, from.as_bytes(), encode(&before)),
                None => batch.delete(nonces, from.as_bytes()),
            };
        }
        if let Purpose::Create { channel } = purpose {
            batch = self.fail_channel(&mut book, channel, ExitCode::SYS_SENDER_STATE_INVALID, batch);
        }
        self.0.state.apply(batch)?;
        book.outbox.remove(&number);
        // Only now: while the message may be sent again, nothing else may take its nonce.
        match before {
            _ if !was_last => {}
            Some(before) => drop(book.nonces.insert(from, before)),
            None => drop(book.nonces.remove(&from)),
        }
        Ok(())
    }

    fn fail_channel(&self, book: &mut Book, number: u64, exit: ExitCode, batch: Batch) -> Batch {
        let Some(channel) = book.channels.get_mut(&number) else {
            return batch;
        };
        channel.row.stage = Stage::Failed(exit);
        batch.put(&self.0.tables.channels, number_key(number), encode(&channel.row))
    }

    /// Pushes again what may have been lost. The same bytes execute once.
    pub(crate) async fn push_again(&self) -> Result<(), WalletError> {
        let _writer = self.0.outbox.lock().await;
        let rows: Vec<_> = self.book().outbox.iter().map(|(number, row)| (*number, row.clone())).collect();
        for (number, row) in rows {
            let signed = row.message()?;
            if row.pushed && self.0.chain.lookup(&signed.cid()).await?.is_some() {
                continue;
            }
            match self.0.chain.push(&signed).await {
                Ok(_) if row.pushed => {}
                Ok(_) => self.on_pushed(number)?,
                Err(error) => self.on_not_pushed(number, &signed, error).await?,
            }
        }
        Ok(())
    }

    /// Asks what became of the messages that were pushed, and takes note of it. Returns how many are left.
    pub(crate) async fn poll_outbox(&self) -> Result<usize, WalletError> {
        let rows: Vec<_> = self.book().outbox.iter().map(|(number, row)| (*number, row.clone())).collect();
        for (number, row) in rows.into_iter().filter(|(_, row)| row.pushed) {
            let signed = row.message()?;
            let receipt = self.0.chain.lookup(&signed.cid()).await?;
            if let Some(receipt) = receipt.filter(|receipt| receipt.confidence >= self.0.policy.confidence) {
                self.on_receipt(number, &signed, &receipt)?;
            }
        }
        Ok(self.book().outbox.len())
    }

    fn on_receipt(&self, number: u64, signed: &SignedMessage, receipt: &Receipt) -> Result<(), WalletError> {
        let mut book = self.book();
        let Some(purpose) = book.outbox.get(&number).map(|row| row.purpose) else {
            return Ok(());
        };
        let mut batch = Batch::new().delete(&self.0.tables.outbox, number_key(number));
        let (cid, value) = (signed.cid(), signed.message.value);
        if receipt.exit.is_ok() {
            batch = match purpose {
                Purpose::Create { channel } => {
                    self.on_created(&mut book, channel, (signed, receipt), batch)?
                }
                Purpose::TopUp { channel } => {
                    let address = book.channels.get(&channel).and_then(|channel| channel.row.address);
                    let deposit = address.map(|address| entry::deposit(&address, &cid, value));
                    self.post(deposit.as_slice(), batch)?
                }
                Purpose::Pay => self.post(&[entry::payment(&cid, value)], batch)?,
                Purpose::Submit { .. } | Purpose::Settle { .. } | Purpose::Collect { .. } => batch,
            };
        } else {
            warn!(message = %cid, exit = %receipt.exit, ?purpose, "message failed on chain");
            if let Purpose::Create { channel } = purpose {
                batch = self.fail_channel(&mut book, channel, receipt.exit, batch);
            }
        }
        self.0.state.apply(batch)?;
        book.outbox.remove(&number);
        if let Purpose::TopUp { channel } = purpose {
            book.on_changed(channel);
        }
        Ok(())
    }

    fn on_created(
        &self,
        book: &mut Book,
        number: u64,
        (signed, receipt): (&SignedMessage, &Receipt),
        batch: Batch,
    ) -> Result<Batch, WalletError> {
        let (cid, value) = (signed.cid(), signed.message.value);
        let created: ExecReturn =
            paych::decode(&receipt.ret).map_err(|e| ChainError::Protocol(e.to_string()))?;
        let channel = book.channels.get_mut(&number).ok_or(WalletError::Damaged("created channel"))?;
        let row = &mut channel.row;
        (row.stage, row.address, row.id) = (Stage::Open, Some(created.robust), Some(created.id));
        (row.balance, row.first_seen, row.last_seen) = (value, receipt.epoch, receipt.epoch);
        channel.lanes.on_funds(value);
        channel.seen = true;
        info!(channel = %created.robust, payee = %row.to, deposit = %value, "channel open");
        let batch = batch.put(&self.0.tables.channels, number_key(number), encode(row));
        book.by_address.extend([(created.robust, number), (created.id, number)]);
        self.post(&[entry::deposit(&created.robust, &cid, value)], batch)
    }

    /// Waits for a fraction of an epoch; `looks` counts down to giving up.
    pub(crate) async fn wait_a_little(&self, looks: &mut u32) -> Result<(), WalletError> {
        *looks = looks.checked_sub(1).ok_or(WalletError::Unconfirmed)?;
        let block = self.0.chain.head().await?.block_time;
        let pause = (block / LOOKS_PER_BLOCK).clamp(Duration::from_millis(20), Duration::from_secs(5));
        self.0.chain.pause(pause).await;
        Ok(())
    }

    /// How often to look before giving up.
    pub(crate) const fn looks() -> u32 {
        LOOKS_PER_BLOCK * BLOCKS
    }

    /// Waits until no message of a channel is under way.
    pub(crate) async fn wait_for_channel(&self, number: u64) -> Result<(), WalletError> {
        let mut looks = Self::looks();
        loop {
            self.push_unsent().await?;
            self.poll_outbox().await?;
            if !self.book().is_pending(|purpose| purpose.channel() == Some(number)) {
                return Ok(());
            }
            self.wait_a_little(&mut looks).await?;
        }
    }
}
