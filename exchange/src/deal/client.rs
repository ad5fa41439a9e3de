//! The side that buys.

use std::time::Instant;

use pop_dag::{Cid, Scope, Walk};
use pop_units::{AttoFil, Bytes, PricePerByte};
use pop_wire::transfer::{Down, Grant, Open, Up};
use pop_wire::{BlockHeader, DealId, limit};

use crate::deal::{Fault, RECEIPT, SILENCE, Schedule};

/// What the client agreed to.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Names the deal.
    pub deal: DealId,
    /// The content's root.
    pub root: Cid,
    /// Which part of it.
    pub scope: Scope,
    /// The most payload bytes that may come: what was offered, or the quota.
    pub size: Bytes,
    /// The price.
    pub price: PricePerByte,
    /// The first interval.
    pub interval: Bytes,
    /// The longest interval.
    pub interval_max: Bytes,
    /// The most that may be spent.
    pub budget: AttoFil,
}

/// What the driver must do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this frame.
    Send(Up),
    /// Sync what is staged, sign a voucher that adds this amount, send it, then call [`Client::on_paid`].
    Pay(AttoFil),
    /// The deal is complete and paid.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Opening,
    Flowing,
    /// Everything came; staging and the last payment are under way.
    Ending,
    /// The last payment is sent.
    AwaitingReceipt,
    Done,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Opening => "waiting for the answer",
            Self::Flowing => "receiving blocks",
            Self::Ending => "ending",
            Self::AwaitingReceipt => "waiting for the receipt",
            Self::Done => "done",
        }
    }
}

/// A deal as its client sees it.
///
/// Invariants: nothing is paid for before it is verified and staged; no payment exceeds the price of what is
/// staged; the last payment makes the sum exactly the price of all that is staged.
#[derive(Debug)]
pub struct Client {
    terms: Terms,
    schedule: Schedule,
    walk: Walk,
    state: State,
    skip: u64,
    blocks: u64,
    /// Payload bytes that came, verified or not.
    received: Bytes,
    /// Payload bytes that are verified and staged.
    staged: Bytes,
    /// Blocks that are verified and staged. Bytes do not tell: an empty block has none.
    staged_blocks: u64,
    granted: Bytes,
    /// Staged, not yet granted again.
    regrant: Bytes,
    paid: AttoFil,
    paying: Option<AttoFil>,
    /// The provider waits for payment of everything up to here.
    due: Bytes,
    /// The provider said that nothing more is owed, or is gone.
    is_settled: bool,
    last: Instant,
}

impl Client {
    /// Starts a deal. `walk` is the traversal of the scope, with `skip` blocks already followed from what is
    /// staged.
    pub fn new(terms: Terms, walk: Walk, skip: u64, now: Instant) -> Self {
        let schedule = Schedule::new(terms.price, terms.interval, terms.interval_max);
        Self {
            terms,
            schedule,
            walk,
            state: State::Opening,
            skip,
            blocks: 0,
            received: Bytes::ZERO,
            staged: Bytes::ZERO,
            staged_blocks: 0,
            granted: limit::CREDIT_WINDOW,
            regrant: Bytes::ZERO,
            paid: AttoFil::ZERO,
            paying: None,
            due: Bytes::ZERO,
            is_settled: false,
            last: now,
        }
    }

    /// Returns the first frame.
    pub fn open(&self, grant: Grant, channel: Option<pop_keys::Address>) -> Up {
        Up::Open(Box::new(Open {
            deal: self.terms.deal,
            grant,
            root: self.terms.root,
            scope: self.terms.scope.clone(),
            skip: self.skip,
            channel,
            credit: limit::CREDIT_WINDOW,
        }))
    }

    /// Takes a block off the wire. Returns the CID that its bytes must hash to; report the block with
    /// [`Client::on_staged`] when it is verified and staged.
    ///
    /// # Errors
    /// The block is not the one that is due; the deal is over.
    pub fn on_block(&mut self, header: &BlockHeader, data: &[u8], now: Instant) -> Result<Cid, Fault> {
        self.expect(&[State::Flowing], "a block")?;
        let seq = header.seq;
        let want = *self.walk.want().ok_or(Fault::Unwanted { seq })?;
        let place = self.skip.saturating_add(self.blocks);
        if *header != BlockHeader::of(&want, header.len, place)
            || Bytes::of(data).get() != u64::from(header.len)
        {
            return Err(Fault::WrongBlock { seq, want });
        }
        let received = self.received.saturating_add(Bytes::of(data));
        if received > self.granted {
            return Err(Fault::OverCredit { sent: received, granted: self.granted });
        }
        if received > self.terms.size {
            return Err(Fault::Oversize { offered: self.terms.size });
        }
        let blocks = self.blocks.saturating_add(1);
        if blocks > limit::blocks_for(received) {
            return Err(Fault::TooManyBlocks { blocks, bytes: received });
        }
        // The bytes are not verified yet: whatever the walk makes of them counts only once they are, and a
        // forged block ends the deal before that.
        self.walk
            .on_block(data)
            .map_err(|source| Fault::Traversal { cid: want, source: Box::new(source) })?;
        self.received = received;
        self.blocks = blocks;
        self.last = now;
        Ok(want)
    }

    /// Takes a control frame of the provider.
    ///
    /// # Errors
    /// The frame ends the deal.
    pub fn on_frame(&mut self, frame: Down, now: Instant) -> Result<Vec<Step>, Fault> {
        self.last = now;
        match frame {
            Down::Accept { deal } => self.on_accept(deal),
            Down::PaymentDue { sent, .. } => self.on_payment_due(sent),
            Down::Refused { code, why } => Err(Fault::Refused { code, why }),
            Down::End { blocks, sent } => self.on_end(blocks, sent),
            Down::Receipt { .. } => self.on_receipt(),
        }
    }

    /// Takes note that so many blocks and their payload bytes are verified and staged, in order.
    ///
    /// # Errors
    /// The price or the budget does not allow what is due.
    pub fn on_staged(&mut self, blocks: u64, bytes: Bytes, now: Instant) -> Result<Vec<Step>, Fault> {
        self.last = now;
        self.staged_blocks = self.staged_blocks.saturating_add(blocks);
        self.staged = self.staged.saturating_add(bytes);
        self.regrant = self.regrant.saturating_add(bytes);
        let mut steps = Vec::new();
        // A quarter of the window at a time: few frames, and the provider never runs dry meanwhile.
        if self.state == State::Flowing && self.regrant.get() >= limit::CREDIT_WINDOW.get() / 4 {
            self.granted = self.granted.saturating_add(self.regrant);
            steps.push(Step::Send(Up::Credit { bytes: std::mem::take(&mut self.regrant) }));
        }
        self.settle(&mut steps)?;
        Ok(steps)
    }

    /// Takes note that the voucher of the last [`Step::Pay`] is sent.
    ///
    /// # Errors
    /// The price or the budget does not allow what is due next.
    pub fn on_paid(&mut self, now: Instant) -> Result<Vec<Step>, Fault> {
        self.last = now;
        if let Some(amount) = self.paying.take() {
            self.paid = self.paid.checked_add(amount)?;
            self.schedule.on_payment(amount)?;
        }
        let mut steps = Vec::new();
        self.settle(&mut steps)?;
        Ok(steps)
    }

    /// Takes note that the provider closed its half. Once everything came that harms only the provider.
    ///
    /// # Errors
    /// Blocks were still due.
    pub fn on_closed(&mut self) -> Result<Vec<Step>, Fault> {
        match self.state {
            State::Opening | State::Flowing => Err(Fault::Closed),
            State::Ending | State::AwaitingReceipt => self.finish(),
            State::Done => Ok(Vec::new()),
        }
    }

    /// Returns when [`Client::on_tick`] must be called at the latest.
    pub fn deadline(&self) -> Instant {
        let wait = if self.state == State::AwaitingReceipt { RECEIPT } else { SILENCE };
        self.last + wait
    }

    /// Looks at the time.
    ///
    /// # Errors
    /// The provider was silent for too long.
    pub fn on_tick(&mut self, now: Instant) -> Result<Vec<Step>, Fault> {
        if now < self.deadline() {
            return Ok(Vec::new());
        }
        if self.paying.is_some() || !self.is_all_staged() {
            // It is our own disk or chain that is slow.
            self.last = now;
            return Ok(Vec::new());
        }
        match self.state {
            // Everything is here and paid: the missing receipt harms nobody.
            State::AwaitingReceipt => {
                self.state = State::Done;
                Ok(vec![Step::Done])
            }
            State::Done => Ok(Vec::new()),
            State::Opening | State::Flowing | State::Ending => {
                Err(Fault::Silence { seconds: SILENCE.as_secs() })
            }
        }
    }

    /// Returns the payload bytes that are verified and staged.
    pub const fn staged(&self) -> Bytes {
        self.staged
    }

    /// Returns the payload bytes that came.
    pub const fn received(&self) -> Bytes {
        self.received
    }

    /// Returns the blocks that came.
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Returns what is paid in this deal, a payment under way included.
    pub fn paid(&self) -> AttoFil {
        let under_way = self.paying.unwrap_or_default();
        self.paid.checked_add(under_way).unwrap_or(self.paid)
    }

    /// Returns true once everything came and nothing is owed.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Returns what the scope's path leads to, once every block of the scope is verified and staged.
    pub fn whole(&self) -> Option<&Cid> {
        let is_whole = self.walk.want().is_none() && self.is_all_staged();
        self.walk.target().filter(|_| is_whole)
    }

    /// Returns true when nothing that came is still to be verified or staged.
    fn is_all_staged(&self) -> bool {
        self.staged_blocks == self.blocks && self.staged == self.received
    }

    fn on_accept(&mut self, deal: DealId) -> Result<Vec<Step>, Fault> {
        self.expect(&[State::Opening], "an acceptance")?;
        if deal != self.terms.deal {
            return Err(Fault::OutOfTurn { got: "another deal's acceptance", state: self.state.name() });
        }
        self.state = State::Flowing;
        Ok(Vec::new())
    }

    fn on_payment_due(&mut self, sent: Bytes) -> Result<Vec<Step>, Fault> {
        self.expect(&[State::Flowing], "a bill")?;
        // A bill for more than came is a lie or a bug; it must not make us wait for what is not on its way.
        if sent != self.received {
            return Err(Fault::OutOfTurn { got: "a bill for other bytes", state: self.state.name() });
        }
        self.due = sent;
        let mut steps = Vec::new();
        self.settle(&mut steps)?;
        Ok(steps)
    }

    fn on_end(&mut self, blocks: u64, sent: Bytes) -> Result<Vec<Step>, Fault> {
        self.expect(&[State::Flowing], "the end")?;
        if self.walk.want().is_some() || blocks != self.blocks || sent != self.received {
            return Err(Fault::Short { got: self.blocks, bytes: self.received });
        }
        self.state = State::Ending;
        self.due = sent;
        let mut steps = Vec::new();
        self.settle(&mut steps)?;
        Ok(steps)
    }

    fn on_receipt(&mut self) -> Result<Vec<Step>, Fault> {
        self.expect(&[State::Ending, State::AwaitingReceipt], "a receipt")?;
        self.finish()
    }

    /// Nothing more will be paid; done as soon as everything is staged.
    fn finish(&mut self) -> Result<Vec<Step>, Fault> {
        self.is_settled = true;
        let mut steps = Vec::new();
        self.settle(&mut steps)?;
        Ok(steps)
    }

    /// Pays what is due, and finishes once nothing is.
    fn settle(&mut self, steps: &mut Vec<Step>) -> Result<(), Fault> {
        let is_staged = self.is_all_staged();
        match self.state {
            State::Opening | State::Done => return Ok(()),
            State::Ending | State::AwaitingReceipt if self.is_settled && is_staged => {
                self.state = State::Done;
                steps.push(Step::Done);
                return Ok(());
            }
            State::Flowing | State::Ending | State::AwaitingReceipt => {}
        }
        if self.paying.is_some() || self.is_settled {
            return Ok(());
        }
        let cost = self.schedule.price().cost_of(self.staged)?;
        let owed = cost.saturating_sub(self.paid);
        if self.is_payment_due(owed)? {
            if cost > self.terms.budget {
                return Err(Fault::Budget { budget: self.terms.budget });
            }
            self.paying = Some(owed);
            steps.push(Step::Pay(owed));
        } else if self.state == State::Ending && is_staged {
            let is_free = self.paid.is_zero();
            self.state = if is_free { State::Done } else { State::AwaitingReceipt };
            if is_free {
                steps.push(Step::Done);
            }
        }
        Ok(())
    }

    fn is_payment_due(&mut self, owed: AttoFil) -> Result<bool, Fault> {
        if self.schedule.price().cost_of(self.due)? <= self.paid {
            // The bill is answered; the next payment needs a new one or a full interval.
            self.due = Bytes::ZERO;
        }
        let is_billed = self.staged >= self.due && !self.due.is_zero();
        let unpaid = self.staged.saturating_sub(self.schedule.covered(self.paid));
        Ok(!owed.is_zero() && (unpaid >= self.schedule.interval() || is_billed))
    }

    fn expect(&self, states: &[State], got: &'static str) -> Result<(), Fault> {
        if states.contains(&self.state) {
            return Ok(());
        }
        Err(Fault::OutOfTurn { got, state: self.state.name() })
    }
}
