//! Keeping a copy for a peer that asks for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::io::{ReadHalf, WriteHalf};
use libp2p::PeerId;
use pop_dag::proof::Proof;
use pop_dag::{Cid, Scope};
use pop_exchange::deal::client::Terms;
use pop_store::{Ref, Room, Staging};
use pop_units::{AttoFil, Bytes, PricePerByte};
use pop_wire::dispatch::{Request, Talk};
use pop_wire::transfer::Grant;
use pop_wire::{DealId, Reason, TRANSFER, limit};
use tokio::time::{sleep, timeout};

use super::buy::{Bought, Purchase, buy};
use super::dispatch::{own_proof, patience};
use super::error::told;
use super::link::{ANSWER, Duplex, Reader, Writer, link};
use super::shared::{Shared, unix_seconds};
use super::staged::{resume, stage};
use crate::content::archive::names;

/// How long a request waits for its turn; half of what the asker grants besides the bytes.
const QUEUE: Duration = Duration::from_secs(60);
/// What a peer's word about a size may evict; the rest goes as verified blocks come.
const STEP: Bytes = Bytes::MIB.saturating_mul(64);
/// How often a copy under way is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// What a block counts towards a peer's quota besides its bytes: its place in the indices.
const BLOCK_COST: Bytes = Bytes::new(128);

/// Serves one request to keep a copy.
pub(super) async fn on_stream<S: Duplex>(shared: Arc<Shared>, peer: PeerId, stream: S) {
    let (mut reader, mut writer) = link(stream);
    let request = match reader.message::<Talk>(ANSWER).await {
        Ok(Talk::Request(request)) if request.check().is_ok() => request,
        Ok(_) => return,
        Err(fault) => {
            tracing::debug!(%peer, %fault, "bad dispatch stream");
            return;
        }
    };
    let root = request.root;
    let last = match answer(&shared, peer, &request, (&mut reader, &mut writer)).await {
        Ok(last) => last,
        Err(why) => Talk::Refused { why: Reason::new(why) },
    };
    tracing::debug!(%peer, %root, kept = !matches!(last, Talk::Refused { .. }), "dispatch");
    // An asker that is gone asks again, and then this node has it.
    if writer.send(&last).await.is_ok() && writer.close().await.is_ok() {
        reader.closed(ANSWER).await;
    }
}

/// Works on a request; returns the last word on it.
async fn answer<S: Duplex>(
    shared: &Arc<Shared>,
    peer: PeerId,
    request: &Request,
    (reader, writer): (&mut Reader<ReadHalf<S>>, &mut Writer<WriteHalf<S>>),
) -> Result<Talk, String> {
    let proof = |proof: Proof| proof.0;
    let Some(reserved) = consider(shared, peer, request).await? else {
        let made = proof_for(shared, peer, request, reader).await;
        return made.map(|made| Talk::Have { proof: proof(made) });
    };
    let mut reservation = Reservation { shared, peer, reserved, stored: Bytes::ZERO };
    // With its room the copy stays until it is proved.
    let (stored, _room) = copy(shared, peer, request, reserved, writer).await?;
    reservation.stored = stored;
    drop(reservation);
    let made = proof_for(shared, peer, request, reader).await;
    made.map(|made| Talk::Done { proof: proof(made) })
}

/// Returns how many bytes are reserved for a copy that is to be pulled; `None` when it is here.
async fn consider(shared: &Shared, peer: PeerId, request: &Request) -> Result<Option<Bytes>, String> {
    if shared.draining.is_cancelled() {
        return Err("the node is stopping".into());
    }
    // Before anything is read: who is not of this region is not worth a proof either.
    if !shared.policy.regions.contains(&request.region) {
        return Err(format!("not in region {:?}", request.region));
    }
    let (store, root, size) = (shared.store.clone(), request.root, request.size);
    // Asking leaves a trace in the policy: not for what the quota refuses in any case.
    let is_over = size > shared.policy.quota;
    let known = shared.pool.run(move || {
        let is_here = store.brief(&root)?.is_some_and(|known| known.complete);
        Ok::<_, pop_store::Error>((is_here, is_here || is_over || store.admits(&root, size)))
    });
    let known = known.await.map_err(|e| e.to_string())?;
    match known.map_err(|_| "the store does not answer".to_owned())? {
        (true, _) => return Ok(None),
        (false, true) => {}
        (false, false) => return Err(format!("no room for {size} here, or not at the first asking")),
    }
    // What there could ever be; whether there is room now is the store's to say.
    let room = shared.store.capacity();
    let reserved = shared.tables().quota.reserve(peer, request.size, room, Instant::now());
    reserved.map(Some).map_err(|refusal| refusal.to_string())
}

/// Makes a proof for a peer: one at a time for it, few at a time for all, and none once it has left. Each reads a
/// whole DAG, which is the one thing here that costs the asker nothing.
async fn proof_for<R: futures::AsyncRead + Unpin>(
    shared: &Arc<Shared>,
    peer: PeerId,
    request: &Request,
    reader: &mut Reader<R>,
) -> Result<Proof, String> {
    let busy = |_| "too many proofs are being made".to_owned();
    let work = async {
        let _turn = timeout(QUEUE, shared.turn(&format!("prove:{peer}"))).await.map_err(busy)?;
        let permit = timeout(QUEUE, shared.proofs.acquire()).await.map_err(busy)?;
        let _permit = permit.map_err(|e| e.to_string())?;
        own_proof(shared, request.root, request.key).await
    };
    tokio::select! {
        made = work => made,
        // It has nothing to say meanwhile: this is its end.
        _ = reader.frame() => Err("the asker has left".into()),
    }
}

/// A reservation that is settled however the pull ends.
struct Reservation<'a> {
    shared: &'a Shared,
    peer: PeerId,
    reserved: Bytes,
    stored: Bytes,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.shared.tables().quota.settle(&self.peer, self.reserved, self.stored);
    }
}

/// Pulls, verifies and keeps the DAG. Returns what it counts towards the quota, and the room it has. Whatever fails,
/// nothing stays.
async fn copy<W: futures::AsyncWrite + Unpin>(
    shared: &Arc<Shared>,
    peer: PeerId,
    request: &Request,
    reserved: Bytes,
    writer: &mut Writer<W>,
) -> Result<(Bytes, Room), String> {
    let root = request.root;
    let name = format!("keep:{root}");
    let late = |_| "too many copies are being made".to_owned();
    // A place comes before room: those who wait for one keep no room from others.
    let _turn = timeout(QUEUE, shared.turn(&name)).await.map_err(late)?;
    let permit = timeout(QUEUE, shared.pulls.acquire()).await.map_err(late)?;
    let _permit = permit.map_err(|e| e.to_string())?;
    let store = shared.store.clone();
    let begun = shared.pool.run(move || {
        let room = store.reserve(&root, reserved.min(STEP))?;
        let staging = stage(&store, &name, root)?;
        staging.within(&room);
        Ok::<_, pop_store::Error>((room, staging))
    });
    let (room, staging) = begun.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    let copied = async {
        writer.send(&Talk::Accepted).await.map_err(|e| e.to_string())?;
        pull(shared, peer, request, (&staging, reserved)).await
    };
    match copied.await {
        Ok(stored) => Ok((stored, room)),
        Err(why) => {
            discard(shared, staging).await;
            Err(why)
        }
    }
}

async fn pull(
    shared: &Arc<Shared>,
    peer: PeerId,
    request: &Request,
    (staging, reserved): (&Staging, Bytes),
) -> Result<Bytes, String> {
    let root = request.root;
    let here = staging.clone();
    let held = shared.pool.run(move || resume(&here, root, &Scope::all())).await;
    let held = held.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    let mut bought = Bought::default();
    if held.walk.want().is_some() {
        let purchase = Purchase {
            terms: free(root, reserved),
            grant: Grant::Token(request.token),
            hold: None,
            spending: None,
            staging: staging.clone(),
            walk: held.walk,
            skip: held.blocks,
        };
        let stream = shared.net.open(peer, TRANSFER).await.map_err(|e| e.to_string())?;
        // A peer that sends a little now and then must not hold one of the few places for ever.
        let so_far = AtomicU64::new(0);
        let mut note = |bytes: Bytes| so_far.store(bytes.get(), Ordering::Relaxed);
        let (came, result) = tokio::select! {
            done = buy(shared, stream, purchase, &mut note) => done,
            () = falls_behind(&so_far) => {
                shared.on_deal(peer, Bytes::ZERO, true);
                return Err("the copy comes too slowly".into());
            }
        };
        shared.on_deal(peer, came.bytes, result.is_err());
        result.map_err(|e| e.to_string())?;
        bought = came;
    }
    let whole = staging.clone();
    let committed = shared.pool.run(move || keep(whole, root)).await.map_err(|e| e.to_string())?;
    committed.map_err(|e| e.to_string())?;
    Ok(bought.bytes.saturating_add(BLOCK_COST.saturating_mul(bought.blocks)))
}

/// Returns once less has come than the asker itself would wait for. The size is only its claim, so what counts is
/// what came.
async fn falls_behind(so_far: &AtomicU64) {
    let begun = Instant::now();
    while !is_behind(begun.elapsed(), Bytes::new(so_far.load(Ordering::Relaxed))) {
        sleep(LOOK).await;
    }
}

pub(super) fn is_behind(elapsed: Duration, came: Bytes) -> bool {
    elapsed >= patience(came)
}

fn free(root: Cid, size: Bytes) -> Terms {
    Terms {
        deal: DealId::new(rand::random()),
        root,
        scope: Scope::all(),
        size,
        price: PricePerByte::FREE,
        interval: limit::INTERVAL_MIN,
        interval_max: limit::INTERVAL_MAX,
        budget: AttoFil::ZERO,
    }
}

/// Commits the copy. Blocks.
fn keep(staging: Staging, root: Cid) -> Result<(), pop_store::Error> {
    let keys = names(&root, &staging);
    staging.commit(Ref { keys, complete: true, last_used: unix_seconds(), ..Ref::new(root) })
}

/// Takes back the room of a copy that did not come: nobody here asked for it.
async fn discard(shared: &Shared, staging: Staging) {
    match shared.pool.run(move || staging.discard()).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => {
            tracing::warn!(error = %told(&error), "staging of a failed copy stays");
        }
    }
}
