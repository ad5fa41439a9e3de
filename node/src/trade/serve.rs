//! The selling side of a deal, over a substream.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes as Buf;
use futures::io::{ReadHalf, WriteHalf};
use libp2p::PeerId;
use pop_dag::{Cid, Scope, Walk, is_leaf};
use pop_exchange::deal::provider::{Closing, Next};
use pop_exchange::deal::{Fault, Provider, Schedule};
use pop_keys::Address;
use pop_store::{Serve, Store};
use pop_units::{Bytes, PricePerByte};
use pop_wire::offer::SignedOffer;
use pop_wire::transfer::{Down, Grant, Open, Refusal, Up};
use pop_wire::{BlockHeader, Reason, limit};
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use super::error::told;
use super::link::{ANSWER, Duplex, Reader, Writer, link, message};
use super::purse::Claim;
use super::shared::{Shared, unix_seconds};

/// Blocks that are read ahead: one large block, or some small ones.
const BATCH: Bytes = Bytes::new(2 << 20);
/// How many of them, whatever their size.
const BATCH_BLOCKS: usize = 4096;
/// How long looking a channel up on the chain may take; the client's own deadline is [`SILENCE`](pop_exchange::deal::SILENCE).
const ADMIT: std::time::Duration = std::time::Duration::from_secs(15);

/// Why a deal is not made, or not finished, as the client is told.
struct Refused {
    code: Refusal,
    why: String,
}

impl Refused {
    fn new(code: Refusal, why: impl ToString) -> Self {
        Self { code, why: why.to_string() }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        let code = match &fault {
            Fault::Silence { .. } | Fault::TooSlow { .. } => Refusal::Silence,
            _ => Refusal::Protocol,
        };
        Self::new(code, fault)
    }
}

impl From<crate::pool::Stopped> for Refused {
    fn from(stopped: crate::pool::Stopped) -> Self {
        Self::new(Refusal::Busy, stopped)
    }
}

/// What a deal was agreed to be.
struct Terms {
    schedule: Schedule,
    channel: Option<Address>,
}

/// Serves one deal from its first frame to its end.
pub(super) async fn serve<S: Duplex>(shared: Arc<Shared>, peer: PeerId, stream: S) {
    let (mut reader, mut writer) = link(stream);
    if let Err(refused) = deal(&shared, peer, &mut reader, &mut writer).await {
        tracing::debug!(%peer, code = ?refused.code, why = %refused.why, "deal ended early");
        let down = Down::Refused { code: refused.code, why: Reason::new(&refused.why) };
        // Whoever is gone need not be told.
        let _ = writer.send(&down).await;
    }
    if writer.close().await.is_ok() {
        reader.closed(ANSWER).await;
    }
}

async fn deal<S: Duplex>(
    shared: &Arc<Shared>,
    peer: PeerId,
    reader: &mut Reader<ReadHalf<S>>,
    writer: &mut Writer<WriteHalf<S>>,
) -> Result<(), Refused> {
    let first: Up = reader.message(ANSWER).await?;
    first.check().map_err(Fault::from)?;
    let Up::Open(open) = first else {
        return Err(Refused::new(Refusal::Protocol, "the first frame must open a deal"));
    };
    if shared.draining.is_cancelled() {
        return Err(Refused::new(Refusal::Busy, "the node is stopping"));
    }
    let Ok(_permit) = shared.deals.try_acquire() else {
        return Err(Refused::new(Refusal::Busy, "too many deals at once"));
    };
    let terms = agree(shared, peer, &open).await?;
    // Until the deal is over; what is looked at from here on stays.
    let (store, root) = (shared.store.clone(), open.root);
    let _held = shared.pool.run(move || store.hold(&root)).await?;
    let walk = skip(shared, &open).await?;
    let debt = Debt::open(shared, terms.channel)?;
    writer.send(&Down::Accept { deal: open.deal }).await?;
    let provider = Provider::new(terms.schedule, open.credit, Instant::now());
    let sale = Sale {
        shared,
        channel: terms.channel,
        provider: Mutex::new(provider),
        moved: Notify::new(),
        ending: Mutex::new(None),
    };
    let blocks = Blocks { store: shared.store.clone(), walk, seq: open.skip };
    let result = tokio::select! {
        sent = sale.send(writer, blocks) => sent,
        ended = sale.receive(reader) => Err(ended),
    };
    let provider = sale.provider.into_inner().unwrap_or_else(PoisonError::into_inner);
    debt.close(&provider);
    tracing::debug!(
        %peer, root = %open.root, deal = %open.deal, blocks = provider.blocks(),
        sent = %provider.sent(), paid = %provider.paid(), "deal ended",
    );
    result?;
    count_serve(shared, peer, open.root, &provider).await
}

/// The use of a ref counts once a transfer is complete, never for a question; its revenue is what came in vouchers.
async fn count_serve(shared: &Shared, peer: PeerId, root: Cid, provider: &Provider) -> Result<(), Refused> {
    let (store, bytes, revenue) = (shared.store.clone(), provider.sent(), provider.paid());
    // A client that has everything already, or says so, was served nothing.
    if bytes.is_zero() {
        return Ok(());
    }
    let counted = shared.pool.run(move || {
        let peer = peer.to_bytes();
        store.served(&root, Serve { peer: &peer, bytes, revenue, now: unix_seconds() })
    });
    if let Err(error) = counted.await? {
        tracing::warn!(%root, error = %told(&error), "use of a ref was not counted");
    }
    Ok(())
}

/// Checks what entitles the client.
async fn agree(shared: &Shared, peer: PeerId, open: &Open) -> Result<Terms, Refused> {
    match &open.grant {
        Grant::Token(token) => {
            if open.scope != Scope::all() {
                return Err(Refused::new(Refusal::Token, "a token is good for the whole DAG only"));
            }
            let redeemed = shared.tables().authorisations.redeem(token, &open.root, &peer, Instant::now());
            if let Err(refusal) = redeemed {
                tracing::debug!(%peer, root = %open.root, %refusal, "token refused");
                return Err(Refused::new(Refusal::Token, "token is not good"));
            }
            let free = Schedule::new(PricePerByte::FREE, limit::INTERVAL_MIN, limit::INTERVAL_MAX);
            Ok(Terms { schedule: free, channel: None })
        }
        Grant::Offer(signed) => {
            check_offer(shared, signed, open)?;
            let offer = &signed.offer;
            let schedule = Schedule::new(offer.price, offer.interval, offer.interval_max);
            if offer.price.is_free() {
                return Ok(Terms { schedule, channel: None });
            }
            let missing = || Refused::new(Refusal::Channel, "a price needs a payment channel");
            let channel = open.channel.ok_or_else(missing)?;
            let admitted = timeout(ADMIT, shared.purse.admit(&channel)).await;
            let late = |_| Refused::new(Refusal::Channel, "the chain does not answer in time");
            admitted.map_err(late)?.map_err(|e| Refused::new(Refusal::Channel, told(&e)))?;
            Ok(Terms { schedule, channel: Some(channel) })
        }
    }
}

/// Checks that the offer is this node's own, of today, and for what is asked.
fn check_offer(shared: &Shared, signed: &SignedOffer, open: &Open) -> Result<(), Refused> {
    let refuse = |why: &str| Err(Refused::new(Refusal::Offer, why));
    let offer = &signed.offer;
    if offer.provider != shared.net.local_peer_id() {
        return refuse("offer is of another provider");
    }
    if offer.root != open.root || offer.scope != open.scope {
        return refuse("offer is for other content");
    }
    if offer.expiry <= unix_seconds() {
        return refuse("offer expired");
    }
    if !offer.price.is_free() && offer.chain != shared.purse.chain() {
        return refuse("offer is for another chain");
    }
    signed.verify().map_err(|e| Refused::new(Refusal::Offer, e))
}

/// Returns the traversal behind the blocks that the client holds.
async fn skip(shared: &Shared, open: &Open) -> Result<Walk, Refused> {
    let store = shared.store.clone();
    let (root, scope, skip) = (open.root, open.scope.clone(), open.skip);
    let skipped = shared.pool.run(move || {
        let not_here = |e: &dyn std::error::Error| Refused::new(Refusal::NotHere, e);
        let mut walk = Walk::new(root, &scope).map_err(|e| not_here(&e))?;
        let first = walk.want().copied();
        for _ in 0..skip {
            let Some(cid) = walk.want().copied() else {
                return Err(Refused::new(Refusal::Protocol, "more is skipped than there is"));
            };
            if is_leaf(&cid) && walk.on_leaf_skipped().is_ok() {
                continue;
            }
            let data = read(&store, &cid)?;
            walk.on_block(&data).map_err(|e| not_here(&e))?;
        }
        // Better refused now than after the client has made a channel and waits.
        if let Some(cid) = first {
            read(&store, &cid)?;
        }
        Ok(walk)
    });
    skipped.await?
}

fn read(store: &Store, cid: &Cid) -> Result<Buf, Refused> {
    match store.get_checked(cid) {
        Ok(Some(data)) => Ok(data),
        Ok(None) => Err(Refused::new(Refusal::NotHere, format!("{cid} is not here"))),
        Err(error) => {
            tracing::error!(%cid, error = %told(&error), "block cannot be read; `pop gc --verify` finds all of them");
            Err(Refused::new(Refusal::Internal, "a block cannot be read"))
        }
    }
}

/// Reads the blocks of the scope in order.
struct Blocks {
    store: Store,
    walk: Walk,
    seq: u64,
}

impl Blocks {
    /// Reads on until a batch is full or the walk is over. Blocks.
    fn batch(mut self) -> Result<(Self, Vec<(BlockHeader, Buf)>), Refused> {
        let (mut batch, mut size) = (Vec::new(), Bytes::ZERO);
        while let Some(cid) = self.walk.want().copied() {
            let data = read(&self.store, &cid)?;
            let walked = self.walk.on_block(&data);
            walked.map_err(|e| Refused::new(Refusal::NotHere, e))?;
            let len = u32::try_from(data.len())
                .map_err(|_| Refused::new(Refusal::Internal, "a block is too large"))?;
            size = size.saturating_add(Bytes::of(&data));
            batch.push((BlockHeader::of(&cid, len, self.seq), data));
            self.seq = self.seq.saturating_add(1);
            if size >= BATCH || batch.len() >= BATCH_BLOCKS {
                break;
            }
        }
        Ok((self, batch))
    }
}

/// A running deal. Its two halves share the machine; neither holds it while waiting.
struct Sale<'a> {
    shared: &'a Arc<Shared>,
    channel: Option<Address>,
    provider: Mutex<Provider>,
    /// The machine has moved: credit or money came, or the client ended the deal.
    moved: Notify,
    /// Why the deal ends at the next frame boundary: cut off within a block, the client could not be told.
    ending: Mutex<Option<Refused>>,
}

impl Sale<'_> {
    fn provider(&self) -> MutexGuard<'_, Provider> {
        self.provider.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends blocks as credit and payments allow, then waits for the last payment.
    async fn send<W: futures::AsyncWrite + Unpin>(
        &self,
        writer: &mut Writer<W>,
        blocks: Blocks,
    ) -> Result<(), Refused> {
        let pool = &self.shared.pool;
        let (mut blocks, mut batch) = pool.run(move || blocks.batch()).await??;
        while !batch.is_empty() {
            // The next batch is read while this one is sent.
            let read = pool.run(move || blocks.batch());
            let (sent, read) = tokio::join!(self.send_batch(writer, batch), read);
            sent?;
            (blocks, batch) = read??;
        }
        self.close(writer).await
    }

    async fn send_batch<W: futures::AsyncWrite + Unpin>(
        &self,
        writer: &mut Writer<W>,
        batch: Vec<(BlockHeader, Buf)>,
    ) -> Result<(), Refused> {
        for (header, data) in batch {
            let size = Bytes::of(&data);
            self.permit(writer, size).await?;
            writer.block(&header, &data).await?;
            self.provider().on_sent(size, Instant::now());
        }
        Ok(())
    }

    /// Waits until a block of `size` may go out.
    async fn permit<W: futures::AsyncWrite + Unpin>(
        &self,
        writer: &mut Writer<W>,
        size: Bytes,
    ) -> Result<(), Refused> {
        loop {
            let moved = self.moved.notified();
            self.check()?;
            let next = self.provider().next(size, Instant::now())?;
            match next {
                Next::Send => return Ok(()),
                Next::AwaitPayment(Some(bill)) => writer.put(&bill)?,
                Next::AwaitPayment(None) | Next::AwaitCredit => {}
            }
            writer.flush().await?;
            self.wait(moved).await?;
        }
    }

    async fn close<W: futures::AsyncWrite + Unpin>(&self, writer: &mut Writer<W>) -> Result<(), Refused> {
        loop {
            let moved = self.moved.notified();
            self.check()?;
            let closing = self.provider().closing(Instant::now())?;
            let (frames, is_over) = match closing {
                Closing::Finish(frames) => (frames, true),
                Closing::AwaitPayment(frames) => (frames, false),
            };
            for frame in &frames {
                writer.put(frame)?;
            }
            writer.flush().await?;
            if is_over {
                return Ok(());
            }
            self.wait(moved).await?;
        }
    }

    /// Waits until the machine moves, while it is the client's turn.
    async fn wait(&self, moved: impl Future<Output = ()>) -> Result<(), Refused> {
        let deadline = self.provider().deadline();
        tokio::select! {
            () = moved => Ok(()),
            () = sleep_until(deadline.into()) => Ok(self.provider().on_tick(Instant::now())?),
        }
    }

    /// Returns early when the client has ended the deal.
    fn check(&self) -> Result<(), Refused> {
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner).take();
        ending.map_or(Ok(()), Err)
    }

    /// Takes the client's frames; returns only when the client is gone.
    async fn receive<R: futures::AsyncRead + Unpin>(&self, reader: &mut Reader<R>) -> Refused {
        loop {
            let frame = match reader.frame().await {
                Ok(Some(frame)) => frame,
                // The client may be gone before the last flush of a deal that is over.
                Ok(None) | Err(Fault::Closed) if self.provider().is_over() => std::future::pending().await,
                Ok(None) | Err(Fault::Closed) => return Fault::Closed.into(),
                Err(fault) => break self.end(fault.into()).await,
            };
            let up = message::<Up>(&frame).and_then(|up| up.check().map(|()| up));
            let taken = match up {
                Ok(up) => self.on_up(up).await,
                Err(error) => Err(Fault::from(error).into()),
            };
            if let Err(refused) = taken {
                break self.end(refused).await;
            }
            self.moved.notify_one();
        }
    }

    /// Leaves it to the sending half to end the deal.
    async fn end(&self, refused: Refused) -> Refused {
        *self.ending.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
        self.moved.notify_one();
        std::future::pending().await
    }

    async fn on_up(&self, up: Up) -> Result<(), Refused> {
        match up {
            Up::Open(_) => Err(Refused::new(Refusal::Protocol, "the deal is open already")),
            Up::Credit { bytes } => Ok(self.provider().on_credit(bytes, Instant::now())?),
            Up::Cancel { why } => Err(Fault::Cancelled { why }.into()),
            Up::Voucher { voucher } => self.on_voucher(voucher).await,
        }
    }

    /// Checks, credits and syncs a voucher before anything more is released.
    async fn on_voucher(&self, voucher: Vec<u8>) -> Result<(), Refused> {
        let channel = self.channel.ok_or_else(|| Refused::new(Refusal::Voucher, "nothing is owed"))?;
        let claim = {
            let mut provider = self.provider();
            provider.on_voucher()?;
            Claim { unpaid: provider.unpaid(), price: provider.price() }
        };
        let purse = Arc::clone(&self.shared.purse);
        let accepted = self.shared.pool.run(move || purse.accept(&channel, &voucher, claim)).await?;
        let amount = accepted.map_err(|e| Refused::new(Refusal::Voucher, told(&e)))?;
        Ok(self.provider().on_payment(amount, Instant::now())?)
    }
}

/// What the client leaves unpaid is remembered, however the deal ends.
struct Debt {
    shared: Arc<Shared>,
    channel: Option<Address>,
    closed: bool,
}

impl Debt {
    fn open(shared: &Arc<Shared>, channel: Option<Address>) -> Result<Self, Refused> {
        if let Some(channel) = &channel {
            let opened = shared.tables().debts.open(channel, Instant::now());
            opened.map_err(|e| Refused::new(Refusal::Unpaid, e))?;
        }
        Ok(Self { shared: Arc::clone(shared), channel, closed: false })
    }

    fn close(mut self, provider: &Provider) {
        let paid = provider.sent().saturating_sub(provider.unpaid());
        self.settle(provider.unpaid(), paid);
    }

    fn settle(&mut self, unpaid: Bytes, paid: Bytes) {
        self.closed = true;
        if let Some(channel) = &self.channel {
            self.shared.tables().debts.close(channel, unpaid, paid, Instant::now());
        }
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        if !self.closed {
            self.settle(Bytes::ZERO, Bytes::ZERO);
        }
    }
}
