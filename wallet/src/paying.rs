//! The payer: channels are created and topped up, vouchers are written down and then let out.

use pop_keys::Address;
use pop_payments::paych::{ConstructorParams, ExecParams, encode as cbor, init_actor, method};
use pop_payments::payer::{DealId, MAX_LANES, PayError, Promise, Reserved};
use pop_payments::{Message, Voucher};
use pop_store::Batch;
use pop_units::{AttoFil, Bytes, ChainEpoch, Lane};

use crate::book::{Book, Gate};
use crate::entry;
use crate::error::WalletError;
use crate::rows::{ChannelRow, Direction, LaneRow, Purpose, Stage, encode, lane_key};
use crate::spent::Hour;
use crate::wallet::Wallet;

/// A lane that a deal may pay on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lanehold {
    /// The channel.
    pub channel: Address,
    /// The lane.
    pub lane: Lane,
    /// The deal.
    pub deal: DealId,
    /// What vouchers say about settling: not before this epoch. Zero where the payee does not ask for it.
    pub min_settle: ChainEpoch,
}

/// What has to happen before a deal can pay.
enum Next {
    Ready(Lanehold),
    Create(AttoFil),
    TopUp { number: u64, channel: Address, amount: AttoFil },
    Wait { number: u64 },
}

impl Wallet {
    /// Returns a lane on which `need` more can be promised to `payee`, creating or topping up the channel.
    ///
    /// Waits for the chain, for at most thirty epochs. Deals that ask at the same time share one channel.
    /// Dropped half-way, a message already written down is still sent by [`Wallet::tick`], and the next call
    /// goes on from there.
    ///
    /// # Errors
    /// The money does not suffice, all lanes are taken, or the chain does not confirm.
    pub async fn ensure_channel(
        &self,
        payee: &Address,
        deal: DealId,
        need: AttoFil,
    ) -> Result<Lanehold, WalletError> {
        let from = self.default_address()?;
        // Unlocking a key may take long on purpose; it must not happen while a voucher is due.
        self.0.keystore.secret(&from)?;
        let mut looks = Self::looks();
        let (mut waited_for, mut funded) = (None, false);
        loop {
            let next = self.next_step((&from, payee), deal, need)?;
            match next {
                Next::Ready(hold) => return Ok(hold),
                Next::Create(_) | Next::TopUp { .. } => {
                    funded = true;
                    self.fund((&from, payee), deal, need).await?;
                }
                Next::Wait { number } => {
                    if waited_for.replace(number) == Some(number) {
                        self.wait_a_little(&mut looks).await?;
                    }
                    self.push_unsent().await?;
                    self.poll_outbox().await?;
                    match self.check_created(number) {
                        // What another call began and could not end, this one may begin anew.
                        Err(_) if !funded => continue,
                        created => created?,
                    }
                    if !self.book().is_pending(|purpose| purpose.channel() == Some(number)) {
                        self.refresh(number).await?;
                    }
                }
            }
        }
    }

    /// Returns the next voucher of a deal: `add` more, for `bytes`, promised in the hour `now`. It is on disk when this
    /// returns. Blocks.
    ///
    /// # Errors
    /// The channel is short, the lane is not the deal's (any more), or the disk fails; then no voucher left.
    pub fn voucher(
        &self,
        hold: &Lanehold,
        add: AttoFil,
        bytes: Bytes,
        now: Hour,
    ) -> Result<Voucher, WalletError> {
        let (number, from, gate) = self.out_gate(&hold.channel, hold.lane)?;
        let mut row = gate.lock();
        let key = self.0.keystore.secret(&from)?;
        let reserved = self.with_lanes(number, |lanes| lanes.reserve(&hold.deal, hold.lane, add))?;
        let mut voucher = Voucher::new(hold.channel, hold.lane, reserved.nonce, reserved.amount);
        voucher.min_settle_height = hold.min_settle;
        let voucher = voucher.sign(&key);
        let next = LaneRow {
            nonce: reserved.nonce,
            amount: reserved.amount,
            bytes: row.bytes.saturating_add(bytes),
            best: voucher.encode(),
            previous: row.best.clone(),
        };
        let spent = self.spend((number, hold.lane), add, now);
        match spent.and_then(|batch| self.write_lane(batch, (number, &hold.channel), &next, (&reserved, add)))
        {
            Ok(()) => {
                self.book().on_paid_for(number, hold.lane, next.bytes);
                *row = next;
                Ok(voucher)
            }
            Err(error) => {
                self.with_lanes(number, |lanes| {
                    lanes.on_unsent(&reserved, add);
                    Ok(())
                })?;
                Err(error)
            }
        }
    }

    /// Ends a deal: its lane and what was kept for it are free for others.
    pub fn release(&self, hold: &Lanehold) {
        if let Ok((_, channel)) = self.book().find_mut(&hold.channel) {
            channel.lanes.release(&hold.deal);
        }
    }

    /// Takes note of our own best voucher as the payee showed it, after our records were lost or are behind.
    ///
    /// Only our own signature on it counts; what the payee says besides is not believed. Blocks.
    ///
    /// # Errors
    /// The voucher is not ours, or the disk fails.
    pub fn adopt(&self, shown: &Voucher) -> Result<(), WalletError> {
        let signer = shown.signer().map_err(|_| WalletError::NotOurVoucher)?;
        if self.book().find(&shown.channel)?.1.row.from != signer.address() {
            return Err(WalletError::NotOurVoucher);
        }
        let (number, _, gate) = self.out_gate(&shown.channel, shown.lane)?;
        let mut row = gate.lock();
        let raised = self.with_lanes(number, |lanes| Ok(lanes.on_own_voucher(shown)))?;
        let Some(Promise { nonce, amount }) = raised else {
            return Ok(());
        };
        let delta = amount.saturating_sub(row.amount);
        let next =
            LaneRow { nonce, amount, best: shown.encode(), previous: row.best.clone(), bytes: row.bytes };
        let reserved = Reserved { lane: shown.lane, nonce, amount };
        self.write_lane(Batch::new(), (number, &shown.channel), &next, (&reserved, delta))?;
        *row = next;
        Ok(())
    }

    fn next_step(
        &self,
        (from, payee): (&Address, &Address),
        deal: DealId,
        need: AttoFil,
    ) -> Result<Next, WalletError> {
        let mut book = self.book();
        let Some(number) = channel_to(&book, from, payee) else {
            return Ok(Next::Create(need.max(self.0.policy.min_deposit)));
        };
        let funding = |purpose| matches!(purpose, Purpose::TopUp { channel } | Purpose::Create { channel } if channel == number);
        let pending = book.is_pending(funding);
        let channel = book.channels.get_mut(&number).ok_or(WalletError::Damaged("channel"))?;
        let (Stage::Open, Some(address), true) = (channel.row.stage, channel.row.address, channel.seen)
        else {
            return Ok(Next::Wait { number });
        };
        let short = match channel.lanes.hold(deal, need) {
            Ok(lane) => {
                let min_settle = ChainEpoch::new(0);
                return Ok(Next::Ready(Lanehold { channel: address, lane, deal, min_settle }));
            }
            Err(PayError::Shortfall { short }) => short,
            Err(error) => return Err(error.into()),
        };
        match pending {
            true => Ok(Next::Wait { number }),
            false => {
                let amount = short.max(self.0.policy.min_deposit);
                Ok(Next::TopUp { number, channel: address, amount })
            }
        }
    }

    /// Creates or tops up, unless somebody else did while we waited for our turn to write.
    async fn fund(
        &self,
        (from, payee): (&Address, &Address),
        deal: DealId,
        need: AttoFil,
    ) -> Result<(), WalletError> {
        let writer = self.0.outbox.lock().await;
        match self.next_step((from, payee), deal, need)? {
            Next::Ready(_) | Next::Wait { .. } => {}
            Next::Create(deposit) => {
                let constructor = cbor(&ConstructorParams { from: *from, to: *payee });
                let code = self.0.chain.paych_code().await?;
                let params = cbor(&ExecParams { code, constructor });
                let message = Message::new(*from, init_actor(), deposit, method::EXEC, params);
                let channel = self.book().next_channel();
                let row = new_row(*from, *payee);
                self.send(&writer, message, Purpose::Create { channel }, Some(row)).await?;
            }
            Next::TopUp { number, channel, amount } => {
                let message = Message::new(*from, channel, amount, method::SEND, Vec::new());
                // The balance in memory is from before: it must be read again before it is relied on.
                self.send(&writer, message, Purpose::TopUp { channel: number }, None).await?;
                self.book().on_changed(number);
            }
        }
        Ok(())
    }

    fn check_created(&self, number: u64) -> Result<(), WalletError> {
        match self.book().channels.get(&number).map(|channel| channel.row.stage) {
            Some(Stage::Failed(exit)) => Err(WalletError::Failed(exit)),
            Some(Stage::Creating | Stage::Open | Stage::Closed) | None => Ok(()),
        }
    }

    fn out_gate(&self, channel: &Address, lane: Lane) -> Result<(u64, Address, Gate), WalletError> {
        let mut book = self.book();
        let (number, found) = book.find_mut(channel)?;
        if found.row.direction != Direction::Outbound {
            return Err(WalletError::NotOurs(*channel));
        }
        if found.row.stage != Stage::Open || found.is_settling() {
            let state = found.phase(ChainEpoch::new(0));
            return Err(WalletError::State { state });
        }
        if !found.gates.contains_key(&lane) && found.gates.len() >= MAX_LANES {
            return Err(PayError::NotHeld { lane }.into());
        }
        Ok((number, found.row.from, found.gate(lane)))
    }

    fn with_lanes<T>(
        &self,
        number: u64,
        change: impl FnOnce(&mut pop_payments::payer::Lanes) -> Result<T, PayError>,
    ) -> Result<T, WalletError> {
        let mut book = self.book();
        let channel = book.channels.get_mut(&number).ok_or(WalletError::Damaged("channel"))?;
        Ok(change(&mut channel.lanes)?)
    }

    fn write_lane(
        &self,
        batch: Batch,
        (number, channel): (u64, &Address),
        row: &LaneRow,
        (reserved, delta): (&Reserved, AttoFil),
    ) -> Result<(), WalletError> {
        let entry = entry::voucher(Direction::Outbound, channel, (reserved.lane, reserved.nonce), delta);
        let batch = batch.put(&self.0.tables.lanes, lane_key(number, reserved.lane), encode(row));
        Ok(self.0.state.apply(self.post(&[entry], batch)?)?)
    }
}

/// Returns the channel that pays `payee`, being created or usable.
fn channel_to(book: &Book, from: &Address, payee: &Address) -> Option<u64> {
    let fits = |row: &ChannelRow| {
        let usable = matches!(row.stage, Stage::Creating | Stage::Open) && row.settling_at.get() == 0;
        usable && row.direction == Direction::Outbound && row.from == *from && row.to == *payee
    };
    book.channels.iter().rev().find(|(_, channel)| fits(&channel.row)).map(|(number, _)| *number)
}

fn new_row(from: Address, to: Address) -> ChannelRow {
    let zero = ChainEpoch::new(0);
    ChannelRow {
        direction: Direction::Outbound,
        stage: Stage::Creating,
        address: None,
        id: None,
        from,
        to,
        balance: AttoFil::ZERO,
        to_send: AttoFil::ZERO,
        settling_at: zero,
        first_seen: zero,
        last_seen: zero,
        settled: AttoFil::ZERO,
    }
}
