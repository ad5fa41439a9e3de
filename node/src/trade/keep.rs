//! Keeping a copy for a peer that asks for it.

use std::sync::Arc;
use std::time::Instant;

use libp2p::PeerId;
use pop_dag::proof::Proof;
use pop_dag::{Cid, Scope};
use pop_exchange::deal::client::Terms;
use pop_store::{Ref, Staging, Store};
use pop_units::{AttoFil, Bytes, PricePerByte};
use pop_wire::dispatch::{Request, Talk};
use pop_wire::transfer::Grant;
use pop_wire::{DealId, Reason, TRANSFER, limit};

use super::buy::{Bought, Purchase, buy};
use super::dispatch::own_proof;
use super::error::told;
use super::fetch::{names, resume, stage};
use super::link::{ANSWER, Duplex, link};
use super::shared::{Shared, unix_seconds};

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
    let last = match consider(&shared, peer, &request).await {
        Ok(Answer::Have(proof)) => Talk::Have { proof: proof.0 },
        Ok(Answer::Pull(reserved)) => {
            if writer.send(&Talk::Accepted).await.is_err() {
                shared.tables().quota.settle(&peer, reserved, Bytes::ZERO);
                return;
            }
            match pull(&shared, peer, &request, reserved).await {
                Ok(proof) => Talk::Done { proof: proof.0 },
                Err(why) => Talk::Refused { why: Reason::new(why) },
            }
        }
        Err(why) => Talk::Refused { why: Reason::new(why) },
    };
    tracing::debug!(%peer, %root, kept = !matches!(last, Talk::Refused { .. }), "dispatch");
    // An asker that is gone asks again, and then this node has it.
    if writer.send(&last).await.is_ok() && writer.close().await.is_ok() {
        reader.closed(ANSWER).await;
    }
}

enum Answer {
    /// Have it already.
    Have(Proof),
    /// Will pull it; so much is reserved.
    Pull(Bytes),
}

async fn consider(shared: &Shared, peer: PeerId, request: &Request) -> Result<Answer, String> {
    if shared.draining.is_cancelled() {
        return Err("the node is stopping".into());
    }
    let (store, root) = (shared.store.clone(), request.root);
    let known = shared.pool.run(move || store.ref_of(&root)).await.map_err(|e| e.to_string())?;
    let known = known.map_err(|_| "the store does not answer".to_owned())?;
    if known.is_some_and(|known| known.complete) {
        return Ok(Answer::Have(own_proof(shared, root, request.key).await?));
    }
    if !shared.policy.regions.contains(&request.region) {
        return Err(format!("not in region {:?}", request.region));
    }
    let room = shared.store.capacity().saturating_sub(shared.store.used());
    let reserved = shared.tables().quota.reserve(peer, request.size, room, Instant::now());
    reserved.map(Answer::Pull).map_err(|refusal| refusal.to_string())
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

/// Pulls, verifies and keeps the DAG, and proves it.
async fn pull(
    shared: &Arc<Shared>,
    peer: PeerId,
    request: &Request,
    reserved: Bytes,
) -> Result<Proof, String> {
    let mut reservation = Reservation { shared, peer, reserved, stored: Bytes::ZERO };
    let root = request.root;
    let name = format!("keep:{root}");
    let _turn = shared.turn(&name).await;
    let _permit = shared.pulls.acquire().await.map_err(|e| e.to_string())?;
    let store = shared.store.clone();
    let opened = shared.pool.run(move || open(&store, &name, root)).await.map_err(|e| e.to_string())?;
    let (staging, held) = opened?;
    let is_complete = held.walk.want().is_none();
    if !is_complete {
        let terms = Terms {
            deal: DealId::new(rand::random()),
            root,
            scope: Scope::all(),
            size: reserved,
            price: PricePerByte::FREE,
            interval: limit::INTERVAL_MIN,
            interval_max: limit::INTERVAL_MAX,
            budget: AttoFil::ZERO,
        };
        let purchase = Purchase {
            terms,
            grant: Grant::Token(request.token),
            hold: None,
            staging: staging.clone(),
            walk: held.walk,
            skip: held.blocks,
        };
        let stream = shared.net.open(peer, TRANSFER).await.map_err(|e| e.to_string())?;
        let (bought, result) = buy(shared, stream, purchase, &mut |_| ()).await;
        shared.on_deal(peer, bought.bytes, result.is_err());
        if let Err(error) = result {
            discard(shared, staging).await;
            return Err(error.to_string());
        }
        let Bought { bytes, .. } = bought;
        reservation.stored = bytes;
    }
    let committed = shared.pool.run(move || keep(staging, root)).await.map_err(|e| e.to_string())?;
    committed.map_err(|e| e.to_string())?;
    own_proof(shared, root, request.key).await
}

fn open(store: &Store, name: &str, root: Cid) -> Result<(Staging, super::fetch::Held), String> {
    let staging = stage(store, name, root).map_err(|e| e.to_string())?;
    let held = resume(&staging, root, &Scope::all()).map_err(|e| e.to_string())?;
    Ok((staging, held))
}

/// Commits the copy. Blocks.
fn keep(staging: Staging, root: Cid) -> Result<(), pop_store::Error> {
    let keys = names(&staging, &root);
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
