//! The buying side of a deal, over a substream.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes as Buf;
use futures::future::BoxFuture;
use futures::io::{ReadHalf, WriteHalf};
use pop_dag::{Block, Cid, Walk};
use pop_exchange::deal::client::{Step, Terms};
use pop_exchange::deal::{Client, Fault};
use pop_store::Staging;
use pop_units::{AttoFil, Bytes};
use pop_wallet::Lanehold;
use pop_wire::transfer::{Down, Grant, Up};
use pop_wire::{Frame, Reason};
use tokio::time::sleep_until;

use super::error::{DealError, told};
use super::link::{Duplex, Reader, Writer, link, message};
use super::shared::{Shared, Spending};

/// How much is hashed or stored in one go: enough to keep the disk busy, little enough to bound memory.
const BATCH: Bytes = Bytes::new(4 << 20);
/// How many blocks wait at a stage at most, whatever their size: the credit window bounds only payload.
const QUEUE: usize = 4096;

/// One deal to be made.
pub(super) struct Purchase {
    pub(super) terms: Terms,
    pub(super) grant: Grant,
    /// The lane that pays; none when the price is zero.
    pub(super) hold: Option<Lanehold>,
    /// What was set aside for it.
    pub(super) spending: Option<Arc<Spending>>,
    pub(super) staging: Staging,
    /// The traversal, with the first `skip` blocks followed.
    pub(super) walk: Walk,
    pub(super) skip: u64,
}

/// What a deal brought, complete or not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bought {
    pub(super) bytes: Bytes,
    pub(super) spent: AttoFil,
    pub(super) vouchers: u64,
    /// Blocks that came with them.
    pub(super) blocks: u64,
    /// What the path leads to, once the whole scope is staged.
    pub(super) whole: Option<Cid>,
}

/// Makes the deal. `progress` hears the bytes that are verified and staged so far. A dropped call leaves what is
/// staged; at most one interval of it is not paid for.
pub(super) async fn buy<S: Duplex>(
    shared: &Shared,
    stream: S,
    purchase: Purchase,
    progress: &mut (dyn FnMut(Bytes) + Send),
) -> (Bought, Result<(), DealError>) {
    let (reader, writer) = link(stream);
    let Purchase { terms, grant, hold, spending, staging, walk, skip } = purchase;
    let client = Client::new(terms, walk, skip, Instant::now());
    let channel = hold.as_ref().map(|hold| hold.channel);
    let open = client.open(grant, channel);
    let mut buyer = Buyer {
        shared,
        client,
        reader,
        writer,
        staging,
        hold,
        spending,
        arrived: Vec::new(),
        verifying: None,
        verified: Vec::new(),
        storing: None,
        paying: None,
        vouchers: 0,
        paid_for: Bytes::ZERO,
        is_closed: false,
        progress,
    };
    let mut result = buyer.writer.send(&open).await.map_err(DealError::from);
    if result.is_ok() {
        result = buyer.run().await;
    }
    let result = buyer.end(result).await;
    let bought = Bought {
        bytes: buyer.client.staged(),
        spent: buyer.client.paid(),
        vouchers: buyer.vouchers,
        blocks: buyer.client.blocks(),
        whole: buyer.client.whole().copied(),
    };
    (bought, result)
}

/// A block off the wire, not verified.
struct Arrived {
    seq: u64,
    cid: Cid,
    data: Buf,
}

/// A batch that was hashed.
struct Verified {
    /// Good ones, in order.
    blocks: Vec<Block>,
    /// What is wrong with the block after them.
    bad: Option<Fault>,
}

/// A batch that was staged.
#[derive(Clone, Copy, Default)]
struct Stored {
    blocks: u64,
    bytes: Bytes,
}

struct Buyer<'a, S> {
    shared: &'a Shared,
    client: Client,
    reader: Reader<ReadHalf<S>>,
    writer: Writer<WriteHalf<S>>,
    staging: Staging,
    hold: Option<Lanehold>,
    spending: Option<Arc<Spending>>,
    /// Came, not yet verified: bounded by the credit window and [`QUEUE`].
    arrived: Vec<Arrived>,
    verifying: Option<BoxFuture<'static, Result<Verified, DealError>>>,
    /// Hashed, waiting for the disk.
    verified: Vec<Block>,
    storing: Option<BoxFuture<'static, Result<Stored, DealError>>>,
    paying: Option<BoxFuture<'static, Result<Vec<u8>, DealError>>>,
    vouchers: u64,
    /// Staged bytes that vouchers were signed for.
    paid_for: Bytes,
    is_closed: bool,
    progress: &'a mut (dyn FnMut(Bytes) + Send),
}

impl<S: Duplex> Buyer<'_, S> {
    async fn run(&mut self) -> Result<(), DealError> {
        while !self.client.is_done() {
            self.work_on();
            let deadline = self.client.deadline().into();
            let takes = !self.is_closed && self.arrived.len() < QUEUE;
            tokio::select! {
                frame = self.reader.frame(), if takes => self.on_frame(frame?).await?,
                verified = finished(&mut self.verifying) => self.on_verified(verified?)?,
                stored = finished(&mut self.storing) => self.on_stored(stored?).await?,
                voucher = finished(&mut self.paying) => self.on_voucher(voucher?).await?,
                () = sleep_until(deadline) => {
                    let steps = self.client.on_tick(Instant::now())?;
                    self.carry_out(steps).await?;
                }
            }
        }
        self.finish_work().await
    }

    async fn on_frame(&mut self, frame: Option<Frame>) -> Result<(), DealError> {
        let now = Instant::now();
        let steps = match frame {
            None => {
                self.is_closed = true;
                self.client.on_closed()?
            }
            Some(Frame::Block(header, data)) => match self.client.on_block(&header, &data, now) {
                Ok(cid) => {
                    self.arrived.push(Arrived { seq: header.seq, cid, data });
                    Vec::new()
                }
                // A block that cannot be traversed is bad content only if it is the block it claims to be.
                Err(Fault::Traversal { cid, .. }) if Block::verified(cid, data).is_err() => {
                    return Err(Fault::BadBlock { seq: header.seq, want: cid }.into());
                }
                Err(fault) => return Err(fault.into()),
            },
            Some(control @ Frame::Control(_)) => {
                let down: Down = message(&control).map_err(Fault::from)?;
                self.client.on_frame(down, now)?
            }
        };
        self.carry_out(steps).await
    }

    /// What came after a bad block is worth nothing: the bad one named it.
    fn on_verified(&mut self, verified: Verified) -> Result<(), DealError> {
        self.verified.extend(verified.blocks);
        match verified.bad {
            None => Ok(()),
            Some(fault) => {
                self.arrived.clear();
                Err(fault.into())
            }
        }
    }

    async fn on_stored(&mut self, stored: Stored) -> Result<(), DealError> {
        let steps = self.client.on_staged(stored.blocks, stored.bytes, Instant::now())?;
        (self.progress)(self.client.staged());
        self.carry_out(steps).await
    }

    async fn on_voucher(&mut self, voucher: Vec<u8>) -> Result<(), DealError> {
        self.writer.send(&Up::Voucher { voucher }).await?;
        self.vouchers = self.vouchers.saturating_add(1);
        let steps = self.client.on_paid(Instant::now())?;
        self.carry_out(steps).await
    }

    async fn carry_out(&mut self, steps: Vec<Step>) -> Result<(), DealError> {
        for step in steps {
            match step {
                Step::Send(up) => self.writer.send(&up).await?,
                Step::Pay(amount) => self.pay(amount)?,
                Step::Done => {}
            }
        }
        Ok(())
    }

    /// Syncs what is staged, then signs: after a crash nothing that is paid for is missing.
    fn pay(&mut self, amount: AttoFil) -> Result<(), DealError> {
        let hold = self.hold.clone().ok_or(Fault::Price)?;
        let (pool, purse) = (self.shared.pool.clone(), self.shared.purse.clone());
        let (staging, spending) = (self.staging.clone(), self.spending.clone());
        let staged = self.client.staged();
        let bytes = staged.saturating_sub(std::mem::replace(&mut self.paid_for, staged));
        self.paying = Some(Box::pin(async move {
            let signed = pool.run(move || {
                staging.sync()?;
                let voucher = purse.voucher(&hold, amount, bytes)?;
                if let Some(spending) = spending {
                    spending.on_voucher(amount);
                }
                Ok::<_, DealError>(voucher)
            });
            signed.await?
        }));
        Ok(())
    }

    /// Keeps one batch with the hasher and one with the disk, in the order in which they came.
    fn work_on(&mut self) {
        let pool = &self.shared.pool;
        if self.verifying.is_none() && !self.arrived.is_empty() && self.verified.len() < QUEUE {
            let (pool, batch) = (pool.clone(), take(&mut self.arrived, |block| Bytes::of(&block.data)));
            self.verifying = Some(Box::pin(async move { Ok(pool.run(move || verify(batch)).await?) }));
        }
        if self.storing.is_none() && !self.verified.is_empty() {
            let (pool, batch) = (pool.clone(), take(&mut self.verified, Block::size));
            let staging = self.staging.clone();
            self.storing = Some(Box::pin(async move { pool.run(move || store(&staging, &batch)).await? }));
        }
    }

    /// Finishes what is in hand: all that is good of it is staged on return.
    async fn finish_work(&mut self) -> Result<(), DealError> {
        let mut result = Ok(());
        loop {
            self.work_on();
            if self.verifying.is_none() && self.storing.is_none() {
                return result;
            }
            tokio::select! {
                verified = finished(&mut self.verifying) => result = result.and(self.on_verified(verified?)),
                stored = finished(&mut self.storing) => {
                    let Stored { blocks, bytes } = stored?;
                    // What it would do next is of no use any more.
                    drop(self.client.on_staged(blocks, bytes, Instant::now()));
                }
            }
        }
    }

    /// Tells the provider, and keeps what came: it is verified, and the next provider need not send it.
    async fn end(&mut self, result: Result<(), DealError>) -> Result<(), DealError> {
        if let Err(error) = &result {
            if !matches!(error, DealError::Peer(Fault::Closed | Fault::Silence { .. })) {
                let cancel = Up::Cancel { why: Reason::new(error.to_string()) };
                // The provider learns it from the end of the stream if not from this.
                let _ = self.writer.send(&cancel).await;
            }
            if let Err(error) = self.finish_work().await {
                tracing::debug!(error = %told(&error), "the rest of a deal is lost");
            }
        }
        let _ = self.writer.close().await;
        result
    }
}

/// Takes a batch from the front.
fn take<T>(queue: &mut Vec<T>, size_of: impl Fn(&T) -> Bytes) -> Vec<T> {
    let (mut size, mut room) = (Bytes::ZERO, QUEUE);
    let is_within = |item: &T| {
        let fits = size < BATCH && room > 0;
        room = room.saturating_sub(1);
        size = size.saturating_add(size_of(item));
        fits
    };
    let count = queue.iter().map(is_within).take_while(|fits| *fits).count();
    queue.drain(..count).collect()
}

/// Hashes blocks up to the first that is bad. Blocks.
fn verify(batch: Vec<Arrived>) -> Verified {
    let mut blocks = Vec::with_capacity(batch.len());
    for Arrived { seq, cid, data } in batch {
        match Block::verified(cid, data) {
            Ok(block) => blocks.push(block),
            Err(_) => return Verified { blocks, bad: Some(Fault::BadBlock { seq, want: cid }) },
        }
    }
    Verified { blocks, bad: None }
}

/// Stages blocks in order. Blocks.
fn store(staging: &Staging, batch: &[Block]) -> Result<Stored, DealError> {
    let mut stored = Stored::default();
    for block in batch {
        staging.put(block)?;
        stored.blocks = stored.blocks.saturating_add(1);
        stored.bytes = stored.bytes.saturating_add(block.size());
    }
    Ok(stored)
}

/// Waits for a piece of work and forgets it; for ever when there is none. Cancel safe.
async fn finished<T>(work: &mut Option<BoxFuture<'static, T>>) -> T {
    match work {
        None => std::future::pending().await,
        Some(running) => {
            let result = running.await;
            *work = None;
            result
        }
    }
}
