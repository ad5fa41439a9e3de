//! The side that sells.

use std::time::{Duration, Instant};

use pop_units::{AttoFil, Bytes, PricePerByte};
use pop_wire::transfer::Down;
use pop_wire::{WireError, limit};

use crate::deal::{Fault, SILENCE, Schedule};

/// Vouchers that a client may send before anything went out, and besides one for each half of the shortest
/// interval: each costs a sync of the disk.
const VOUCHERS: u64 = 8;

/// How long a deal may take besides its bytes.
const GRACE: Duration = Duration::from_secs(60);
/// The slowest client that is served: whoever takes less holds a place that others wait for.
const RATE: u64 = 16 << 10;

/// What the client is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Ours,
    Credit,
    Payment,
}

/// Whether the next block may go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send it, then call [`Provider::on_sent`].
    Send,
    /// Flush, then wait for credit.
    AwaitCredit,
    /// Send the bill if there is one, flush, then wait for a voucher.
    AwaitPayment(Option<Down>),
}

/// What follows after the last block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Send these frames, flush and close.
    Finish(Vec<Down>),
    /// Send these frames, flush, then wait for the last voucher.
    AwaitPayment(Vec<Down>),
}

/// A deal as its provider sees it.
///
/// Invariants: no block goes out while more than two intervals would be unpaid, unless nothing is unpaid; no
/// more goes out than was granted.
#[derive(Debug)]
pub struct Provider {
    schedule: Schedule,
    credit: Bytes,
    sent: Bytes,
    blocks: u64,
    paid: AttoFil,
    vouchers: u64,
    /// What had been sent when the last bill was made.
    billed: Option<Bytes>,
    is_ended: bool,
    turn: Turn,
    begun: Instant,
    last: Instant,
}

impl Provider {
    /// Starts a deal whose first frame granted `credit`.
    pub fn new(schedule: Schedule, credit: Bytes, now: Instant) -> Self {
        Self {
            schedule,
            credit: credit.min(limit::CREDIT_MAX),
            sent: Bytes::ZERO,
            blocks: 0,
            paid: AttoFil::ZERO,
            vouchers: 0,
            billed: None,
            is_ended: false,
            turn: Turn::Ours,
            begun: now,
            last: now,
        }
    }

    /// Starts a deal that costs nothing.
    pub fn free(credit: Bytes, now: Instant) -> Self {
        Self::new(Schedule::new(PricePerByte::FREE, limit::INTERVAL_MIN, limit::INTERVAL_MAX), credit, now)
    }

    /// Decides whether a block of `len` bytes may go out.
    ///
    /// # Errors
    /// The price does not fit; the client is too slow.
    pub fn next(&mut self, len: Bytes, now: Instant) -> Result<Next, Fault> {
        self.check_pace(now)?;
        let unpaid = self.unpaid();
        if !unpaid.is_zero() && unpaid.saturating_add(len) > self.schedule.exposure() {
            self.wait_for(Turn::Payment, now);
            return Ok(Next::AwaitPayment(self.bill()?));
        }
        if len > self.credit {
            self.wait_for(Turn::Credit, now);
            return Ok(Next::AwaitCredit);
        }
        self.turn = Turn::Ours;
        Ok(Next::Send)
    }

    /// Takes note that a block of `len` bytes went out.
    pub fn on_sent(&mut self, len: Bytes, now: Instant) {
        self.credit = self.credit.saturating_sub(len);
        self.sent = self.sent.saturating_add(len);
        self.blocks = self.blocks.saturating_add(1);
        self.last = now;
    }

    /// Takes note that the client granted more.
    ///
    /// # Errors
    /// It is nothing, or the sum is over what this protocol allows.
    pub fn on_credit(&mut self, bytes: Bytes, now: Instant) -> Result<(), Fault> {
        if bytes.is_zero() {
            return Err(WireError::Impossible("a credit of nothing").into());
        }
        let credit = self.credit.saturating_add(bytes);
        if credit > limit::CREDIT_MAX {
            return Err(Fault::OverCredit { sent: credit, granted: limit::CREDIT_MAX });
        }
        self.credit = credit;
        // Where money is due, nothing else gains time.
        if self.turn != Turn::Payment {
            self.last = now;
        }
        Ok(())
    }

    /// Allows one more voucher to be looked at. It may add little: a voucher that was signed and lost makes the
    /// next one add more than the client thinks, and the bills after it less. What is owed bounds what goes
    /// out, so a small voucher harms nobody, but each costs a sync.
    ///
    /// # Errors
    /// There are more vouchers than any honest client needs.
    pub fn on_voucher(&mut self) -> Result<(), Fault> {
        let allowed = self.sent.get() / (limit::INTERVAL_MIN.get() / 2);
        if self.vouchers >= allowed.saturating_add(VOUCHERS) {
            return Err(Fault::TooManyVouchers { vouchers: self.vouchers, sent: self.sent });
        }
        self.vouchers = self.vouchers.saturating_add(1);
        Ok(())
    }

    /// Takes note of a voucher that was checked, credited and synced, and that adds `amount`.
    ///
    /// # Errors
    /// The sums do not fit.
    pub fn on_payment(&mut self, amount: AttoFil, now: Instant) -> Result<(), Fault> {
        self.paid = self.paid.checked_add(amount)?;
        self.schedule.on_payment(amount)?;
        self.last = now;
        Ok(())
    }

    /// Says what follows now that every block of the scope went out; again after each voucher.
    ///
    /// # Errors
    /// The price does not fit.
    pub fn closing(&mut self, now: Instant) -> Result<Closing, Fault> {
        let mut frames = Vec::new();
        if !self.is_ended {
            self.is_ended = true;
            frames.push(Down::End { blocks: self.blocks, sent: self.sent });
        }
        if !self.owed()?.is_zero() {
            self.wait_for(Turn::Payment, now);
            return Ok(Closing::AwaitPayment(frames));
        }
        if !self.paid.is_zero() {
            frames.push(Down::Receipt { paid: self.paid });
        }
        Ok(Closing::Finish(frames))
    }

    /// Returns the price.
    pub const fn price(&self) -> PricePerByte {
        self.schedule.price()
    }

    /// Returns the bytes that went out and are not paid for.
    pub fn unpaid(&self) -> Bytes {
        self.sent.saturating_sub(self.schedule.covered(self.paid))
    }

    /// Returns what is owed for the bytes that went out.
    ///
    /// # Errors
    /// The price does not fit.
    pub fn owed(&self) -> Result<AttoFil, Fault> {
        Ok(self.schedule.price().cost_of(self.sent)?.saturating_sub(self.paid))
    }

    /// Returns true once everything went out and is paid for.
    pub fn is_over(&self) -> bool {
        self.is_ended && self.owed().is_ok_and(AttoFil::is_zero)
    }

    /// Returns what was paid.
    pub const fn paid(&self) -> AttoFil {
        self.paid
    }

    /// Returns the payload bytes that went out.
    pub const fn sent(&self) -> Bytes {
        self.sent
    }

    /// Returns the blocks that went out.
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Returns when [`Provider::on_tick`] must be called at the latest while the client is waited for.
    pub fn deadline(&self) -> Instant {
        self.pace().min(self.last + SILENCE)
    }

    /// Returns when more must have gone out.
    fn pace(&self) -> Instant {
        self.begun + GRACE.saturating_add(Duration::from_secs(self.sent.get() / RATE))
    }

    fn check_pace(&self, now: Instant) -> Result<(), Fault> {
        if now < self.pace() {
            return Ok(());
        }
        let seconds = now.saturating_duration_since(self.begun).as_secs();
        Err(Fault::TooSlow { sent: self.sent, seconds })
    }

    /// The client's time begins when its turn does, not with the last block: our own disk may have been slow.
    fn wait_for(&mut self, turn: Turn, now: Instant) {
        if self.turn != turn {
            (self.turn, self.last) = (turn, now);
        }
    }

    /// Looks at the time, while it is the client's turn.
    ///
    /// # Errors
    /// The client was silent for too long, or is too slow.
    pub fn on_tick(&self, now: Instant) -> Result<(), Fault> {
        self.check_pace(now)?;
        if now < self.deadline() {
            return Ok(());
        }
        Err(Fault::Silence { seconds: SILENCE.as_secs() })
    }

    fn bill(&mut self) -> Result<Option<Down>, Fault> {
        if self.billed.replace(self.sent) == Some(self.sent) {
            return Ok(None);
        }
        Ok(Some(Down::PaymentDue { sent: self.sent, owed: self.owed()? }))
    }
}
