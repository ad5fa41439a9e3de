//! Answering questions: what this node has, and what it asks for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use pop_dag::{Cid, Scope, Walk, is_leaf};
use pop_exchange::offer::Unfit;
use pop_store::Store;
use pop_units::Bytes;
use pop_wire::offer::{Offer, SignedOffer, Talk};
use pop_wire::query::Query;
use pop_wire::{OFFER, WireError, limit};
use tokio::time::timeout;

use super::link::{ANSWER, Duplex, Reader, Writer, link};
use super::shared::{Reply, Shared, unix_seconds};
use crate::net::{Acceptance, MessageId};

/// How long an offer stands: a channel may have to be made on a slow chain first.
const OFFER_LIFE: Duration = Duration::from_secs(600);
/// Blocks that are looked at to answer a question: 2 TiB of a file. Each is a look into the index, so the largest
/// take seconds; [`ANSWERS`](super::shared::ANSWERS) bounds how many are measured at once.
const MEASURED: u64 = 1 << 21;
/// How long handing an offer over may take, dialling included.
const DELIVERY: Duration = Duration::from_secs(15);

/// How long a direct question waits for its turn: the asker waits [`ANSWER`] for all of it.
const BUSY: Duration = Duration::from_secs(5);

/// A gossip message as it came.
pub(super) struct Gossip {
    pub(super) author: PeerId,
    pub(super) source: PeerId,
    pub(super) data: Vec<u8>,
    pub(super) id: MessageId,
}

/// Hears a question on gossip, and answers it where there is something to answer.
pub(super) async fn on_gossip(shared: Arc<Shared>, gossip: Gossip) {
    let Gossip { author, source, data, id } = gossip;
    let query = Query::from_gossip(&data);
    let is_news = match &query {
        Ok(query) => shared.tables().heard.is_news(author, query.req_id, Instant::now()),
        Err(_) => false,
    };
    let verdict = match &query {
        Ok(_) if is_news => Acceptance::Accept,
        // Known already, or too many of this author: nothing that its neighbour could be blamed for.
        Ok(_) => Acceptance::Ignore,
        Err(_) => Acceptance::Reject,
    };
    if shared.net.report(id, source, verdict).await.is_err() || author == shared.net.local_peer_id() {
        return;
    }
    let Ok(query) = query else {
        tracing::debug!(%author, %source, "gossip that is no query");
        return;
    };
    // An offer above the asker's price is made all the same: it is told what the content costs, which silence
    // would hide behind "nobody has it".
    if !is_news || shared.draining.is_cancelled() {
        return;
    }
    let signed = {
        // A node that is too busy keeps silent; another one answers.
        let Ok(_permit) = shared.answers.try_acquire() else { return };
        offer(&shared, &query).await
    };
    if let Some(signed) = signed {
        let delivered = timeout(DELIVERY, deliver(&shared, author, &query, signed)).await;
        tracing::debug!(%author, root = %query.root, delivered = matches!(delivered, Ok(true)), "offer");
    }
}

/// Hands an offer over: one at a time to each asker, so that one who cannot be reached keeps nobody else waiting.
async fn deliver(shared: &Arc<Shared>, author: PeerId, query: &Query, signed: SignedOffer) -> bool {
    let _turn = shared.turn(&format!("offer:{author}")).await;
    let Ok(_permit) = shared.deliveries.acquire().await else { return false };
    if shared.net.connect(author, query.reply_addrs.clone()).await.is_err() {
        return false;
    }
    let Ok(stream) = shared.net.open(author, OFFER).await else { return false };
    let (mut reader, mut writer) = link(stream);
    let sent = writer.send(&Talk::Offer(Box::new(signed))).await.is_ok() && writer.close().await.is_ok();
    reader.closed(ANSWER).await;
    sent
}

/// Serves a substream of [`OFFER`]: a direct question, or an offer to a question of this node.
pub(super) async fn on_stream<S: Duplex>(shared: Arc<Shared>, peer: PeerId, stream: S) {
    let (mut reader, mut writer) = link(stream);
    match reader.message::<Talk>(ANSWER).await {
        Ok(Talk::Ask(query)) => on_ask(&shared, &query, &mut writer).await,
        Ok(Talk::Offer(signed)) => on_offer(&shared, peer, *signed),
        Ok(Talk::NotHere { .. }) => {}
        Err(fault) => tracing::debug!(%peer, %fault, "bad offer stream"),
    }
    if writer.close().await.is_ok() {
        reader.closed(ANSWER).await;
    }
}

async fn on_ask<W: futures::AsyncWrite + Unpin>(shared: &Shared, query: &Query, writer: &mut Writer<W>) {
    let found = {
        // Too busy to look: a closed substream says so, where `NotHere` would be a lie.
        let Ok(Ok(_permit)) = timeout(BUSY, shared.answers.acquire()).await else { return };
        match query.check() {
            Ok(()) if !shared.draining.is_cancelled() => offer(shared, query).await,
            Ok(()) | Err(_) => None,
        }
    };
    let reply = match found {
        Some(signed) => Talk::Offer(Box::new(signed)),
        None => Talk::NotHere { req_id: query.req_id },
    };
    // Who asked and left has its answer.
    let _ = writer.send(&reply).await;
}

/// Hands an offer to whoever asks the question it answers.
pub(super) fn on_offer(shared: &Shared, peer: PeerId, signed: SignedOffer) {
    let tables = shared.tables();
    let id = signed.offer.req_id;
    let checked = tables.asked.on_offer(&signed, &peer, Instant::now(), unix_seconds());
    let reply = match checked {
        Ok(_) => Reply::Offer(Box::new(signed)),
        Err(Unfit::NotAsked) => return,
        Err(unfit) => Reply::unfit(peer, unfit, signed),
    };
    if let Some(waiting) = tables.waiting.get(&id) {
        // A full queue holds more offers than anybody will look at.
        let _ = waiting.try_send(reply);
    }
}

/// Puts a question to one peer. `Ok(None)` when it does not have it.
///
/// # Errors
/// Why it cannot be asked, in words.
pub(super) async fn ask(shared: &Shared, peer: PeerId, query: &Query) -> Result<Option<SignedOffer>, String> {
    let stream = shared.net.open(peer, OFFER).await.map_err(|e| e.to_string())?;
    let (mut reader, mut writer) = link(stream);
    let asked = writer.send(&Talk::Ask(Box::new(query.clone()))).await;
    asked.map_err(|e| e.to_string())?;
    let reply = answer(&mut reader, query).await.map_err(|e| e.to_string());
    let _ = writer.close().await;
    reply
}

async fn answer<R: futures::AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    query: &Query,
) -> Result<Option<SignedOffer>, pop_exchange::deal::Fault> {
    match reader.message::<Talk>(ANSWER).await? {
        Talk::Offer(signed) => Ok(Some(*signed)),
        Talk::NotHere { req_id } if req_id == query.req_id => Ok(None),
        Talk::NotHere { .. } | Talk::Ask(_) => {
            Err(WireError::Impossible("no answer to what was asked").into())
        }
    }
}

/// Makes an offer if the content is here.
async fn offer(shared: &Shared, query: &Query) -> Option<SignedOffer> {
    let (store, root, scope) = (shared.store.clone(), query.root, query.scope.clone());
    let measured = shared.pool.run(move || measure(&store, &root, &scope)).await;
    let size = measured.ok().flatten()?;
    let price = shared.policy.price;
    let payee = if price.is_free() {
        None
    } else {
        let purse = Arc::clone(&shared.purse);
        Some(shared.pool.run(move || purse.payee()).await.ok()?.ok()?)
    };
    let offer = Offer {
        req_id: query.req_id,
        root: query.root,
        scope: query.scope.clone(),
        size,
        price,
        interval: limit::INTERVAL_MIN,
        interval_max: limit::INTERVAL_MAX,
        payee,
        chain: shared.purse.chain(),
        provider: shared.net.local_peer_id(),
        expiry: unix_seconds().saturating_add(OFFER_LIFE.as_secs()),
    };
    SignedOffer::sign(offer, &shared.key).ok()
}

/// Returns the payload bytes in scope if they are all here. Blocks; reads no leaf.
pub(super) fn measure(store: &Store, root: &Cid, scope: &Scope) -> Option<Bytes> {
    let known = store.brief(root).ok().flatten();
    if let Some(known) = known.filter(|known| known.complete && *scope == Scope::all()) {
        return Some(known.size);
    }
    let mut walk = Walk::new(*root, scope).ok()?;
    let mut sum = Bytes::ZERO;
    for _ in 0..MEASURED {
        let Some(cid) = walk.want().copied() else { return Some(sum) };
        let size = if is_leaf(&cid) && walk.on_leaf_skipped().is_ok() {
            store.size(&cid).ok().flatten()?
        } else {
            let data = store.get(&cid).ok().flatten()?;
            walk.on_block(&data).ok()?;
            Bytes::of(&data)
        };
        sum = sum.saturating_add(size);
    }
    None
}
