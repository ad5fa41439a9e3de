//! Asking peers to keep copies, and checking that they do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use pop_dag::proof::{Proof, Prover};
use pop_dag::walk::{self, RunError};
use pop_dag::{Buf, Cid, Scope, SinkError};
use pop_exchange::replicate::{Authorisations, Bound, Outcome, Plan, Rounds, Step};
use pop_rpc::Reporter;
use pop_store::Store;
use pop_units::{Bytes, ReplicationFactor};
use pop_wire::dispatch::{Request, Talk};
use pop_wire::{DISPATCH, ProofKey, RequestId, Token, query_topic};
use tokio::time::{sleep_until, timeout};

use super::error::DispatchError;
use super::link::{ANSWER, link};
use super::shared::Shared;
use crate::pool::{Cancel, Stopped};

/// Time for a pull besides its bytes: queueing, disk, proof.
const PULL_BASE: Duration = Duration::from_secs(120);
/// The slowest pull that is waited for.
const PULL_RATE: u64 = 256 << 10;

/// How long a copy of so many bytes may take; the asker waits no longer, so the puller need not go on either.
pub(super) fn patience(size: Bytes) -> Duration {
    PULL_BASE.saturating_add(Duration::from_secs(size.get() / PULL_RATE))
}

/// How to replicate.
#[derive(Clone, Debug)]
pub struct DispatchOptions {
    /// How many copies.
    pub factor: ReplicationFactor,
    /// Whom to ask first.
    pub peers: Vec<PeerId>,
    /// How many more rounds after the first.
    pub attempts: u32,
    /// How long to wait before the second round.
    pub backoff: Duration,
}

/// A peer that keeps a copy.
#[derive(Clone, Copy, Debug)]
pub struct Cached {
    /// The peer.
    pub peer: PeerId,
    /// Its proof of possession, checked.
    pub proof: Proof,
}

impl From<Cached> for pop_rpc::Cached {
    fn from(cached: Cached) -> Self {
        let proof = cached.proof.0.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { peer: cached.peer.to_string(), proof }
    }
}

/// Asks peers until enough keep a copy or nobody is left. A dropped call revokes what it authorised; peers that
/// are pulling may still finish.
pub(super) async fn dispatch(
    shared: &Arc<Shared>,
    (root, size): (Cid, Bytes),
    options: DispatchOptions,
    progress: Reporter,
) -> Result<Vec<Cached>, DispatchError> {
    let plan =
        Plan { rf: options.factor, attempts: options.attempts, backoff: options.backoff, named_only: false };
    // Evicted meanwhile it could neither be handed out nor proved.
    let store = shared.store.clone();
    let held = shared.pool.run(move || store.hold(&root)).await;
    let _held = held.map_err(|_| DispatchError::Stopped)?;
    let mut rounds = Rounds::new(plan, options.peers);
    let mut running = FuturesUnordered::new();
    let mut cached: Vec<Cached> = Vec::new();
    loop {
        let known = known_peers(shared).await?;
        match rounds.next(&known, Instant::now()) {
            Step::Done => return Ok(cached),
            Step::Ask(peers) => {
                running.extend(
                    peers.into_iter().map(|peer| async move { (peer, ask(shared, peer, root, size).await) }),
                );
            }
            Step::Wait(until) => sleep_until(until.into()).await,
            Step::Await => {}
        }
        let Some((peer, result)) = running.next().await else { continue };
        let outcome = match result {
            Ok(proof) => {
                progress.note("dispatch", format!("cached by {peer}"));
                cached.push(Cached { peer, proof });
                progress.report("copies", count(cached.len()), Some(u64::from(options.factor.get())));
                Outcome::Confirmed
            }
            Err((outcome, why)) => {
                tracing::debug!(%peer, %root, %why, "no copy");
                progress.note("dispatch", format!("{peer}: {why}"));
                outcome
            }
        };
        rounds.on_outcome(&peer, outcome);
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Returns connected peers that share a region with this node, the nearest first.
async fn known_peers(shared: &Shared) -> Result<Vec<PeerId>, DispatchError> {
    let topics: Vec<String> = shared.policy.regions.iter().map(|region| query_topic(region)).collect();
    let mut peers = shared.net.peers().await.map_err(|_| DispatchError::Stopped)?;
    peers.retain(|peer| peer.topics.iter().any(|topic| topics.contains(topic)));
    peers.sort_by_key(|peer| peer.latency.unwrap_or(Duration::MAX));
    Ok(peers.into_iter().map(|peer| peer.peer).collect())
}

type NoCopy = (Outcome, String);

fn failed(why: impl ToString) -> NoCopy {
    (Outcome::Failed, why.to_string())
}

/// An authorisation that ends with the request.
struct Authorised<'a> {
    shared: &'a Shared,
    token: Token,
}

impl Drop for Authorised<'_> {
    fn drop(&mut self) {
        self.shared.tables().authorisations.revoke(&self.token);
    }
}

async fn ask(shared: &Arc<Shared>, peer: PeerId, root: Cid, size: Bytes) -> Result<Proof, NoCopy> {
    let now = Instant::now();
    let (token, key) = (Token::new(rand::random()), ProofKey::new(rand::random()));
    let patience = patience(size);
    let bound = Bound { root, peer, expiry: now + patience.min(Authorisations::LIFE) };
    if !shared.tables().authorisations.grant(token, bound, now) {
        return Err(failed("too many copies are being made"));
    }
    let _authorised = Authorised { shared, token };
    let region = region_with(shared, &peer).await.unwrap_or_default();
    let request = Request { req_id: RequestId::new(rand::random()), root, size, token, key, region };
    let stream = shared.net.open(peer, DISPATCH).await.map_err(failed)?;
    let (mut reader, mut writer) = link(stream);
    writer.send(&Talk::Request(request)).await.map_err(failed)?;
    let proof = match reader.message::<Talk>(patience).await.map_err(failed)? {
        Talk::Have { proof } => Proof(proof),
        Talk::Refused { why } => return Err((Outcome::Refused, why.to_string())),
        Talk::Accepted => match reader.message::<Talk>(patience).await.map_err(failed)? {
            Talk::Done { proof } => Proof(proof),
            Talk::Refused { why } => return Err(failed(why)),
            Talk::Request(_) | Talk::Accepted | Talk::Have { .. } => {
                return Err((Outcome::Refused, "answered out of turn".into()));
            }
        },
        Talk::Request(_) | Talk::Done { .. } => {
            return Err((Outcome::Refused, "answered out of turn".into()));
        }
    };
    let _ = timeout(ANSWER, writer.close()).await;
    if own_proof(shared, root, key).await.map_err(failed)? != proof {
        return Err((Outcome::Refused, "its proof is wrong".into()));
    }
    Ok(proof)
}

/// Returns a region that both nodes are in.
async fn region_with(shared: &Shared, peer: &PeerId) -> Option<String> {
    let peers = shared.net.peers().await.ok()?;
    let topics = &peers.iter().find(|known| known.peer == *peer)?.topics;
    shared.policy.regions.iter().find(|region| topics.contains(&query_topic(region))).cloned()
}

/// Makes the proof over this node's own copy. A dropped call ends the reading at the next block.
pub(super) async fn own_proof(shared: &Shared, root: Cid, key: ProofKey) -> Result<Proof, String> {
    let (store, cancel) = (shared.store.clone(), Cancel::default());
    let _left = cancel.on_drop();
    let proved = shared.pool.run(move || {
        // Evicted half way it could not be proved.
        let _held = store.hold(&root);
        prove(&store, root, &key, &cancel)
    });
    let proved = proved.await;
    proved.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

/// Reads and hashes a whole DAG. Blocks.
fn prove(store: &Store, root: Cid, key: &ProofKey, cancel: &Cancel) -> Result<Proof, RunError> {
    let mut prover = Prover::new(key.as_bytes());
    walk::run(root, &Scope::all(), store, &mut |cid: &Cid, data: &Buf| {
        if cancel.is_cancelled() {
            return Err(SinkError::new(Stopped));
        }
        prover.on_block(cid, data);
        Ok(())
    })?;
    Ok(prover.finish())
}
