//! Uploads on their way into the store, and copies of them on their way to peers.
//!
//! Each upload has a thread, as its client may take an hour: the store pool is for short work. Copies are asked for
//! in the background once the upload is permanent; a stop ends that, and it is not begun again.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use pop_dag::{Buf, Cid};
use pop_gateway::{Codec, Intake, Order, UploadError, Uploaded, UploadedEntry};
use pop_rpc::Reporter;
use pop_store::Store;
use pop_units::{Bytes, ReplicationFactor};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::content::commit::counted;
use crate::content::pipe::PipeError;
use crate::content::upload::{self, Incoming, Kept, Lost, Named, Piece};
use crate::node::Node;
use crate::pool::{Cancel, CancelGuard};
use crate::trade::{DispatchError, DispatchOptions};

/// Uploads at once: each has two threads, and some megabytes on their way to the disk.
const AT_ONCE: usize = 16;
/// Pieces between the gateway and the disk.
const QUEUE: usize = 8;
/// The largest piece, so that the queue is bounded in bytes: 2 MiB.
const PIECE: usize = 256 << 10;
/// Uploads whose copies are asked for at once.
const DISPATCHES: usize = 4;
/// Uploads that wait for that; of more, no copies are asked for.
const WAITING: usize = 64;

/// Asks peers for copies and returns how many keep one.
type Dispatch = Arc<
    dyn Fn(Cid, Bytes, DispatchOptions) -> BoxFuture<'static, Result<usize, DispatchError>> + Send + Sync,
>;

/// Where uploads come in. Clones share it.
#[derive(Clone)]
pub(super) struct Intakes(Arc<Shared>);

struct Shared {
    store: Store,
    dispatch: Dispatch,
    places: Arc<Semaphore>,
    dispatches: Semaphore,
    waiting: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Intakes {
    pub(super) fn new(node: &Node) -> Self {
        let trade = node.trade.clone();
        let dispatch = move |root, size, options| {
            let trade = trade.clone();
            let copies: BoxFuture<'static, _> = Box::pin(async move {
                let cached = trade.dispatch(root, size, options, Reporter::mute()).await?;
                Ok(cached.len())
            });
            copies
        };
        Self::with(node.store.clone(), Arc::new(dispatch))
    }

    fn with(store: Store, dispatch: Dispatch) -> Self {
        Self(Arc::new(Shared {
            store,
            dispatch,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            dispatches: Semaphore::new(DISPATCHES),
            waiting: Arc::new(Semaphore::new(WAITING)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Begins an upload. Cancel safe.
    ///
    /// # Errors
    /// The node is stopping.
    pub(super) async fn begin(&self, order: Order) -> Result<Box<dyn Intake>, UploadError> {
        let place = Arc::clone(&self.0.places).acquire_owned().await.map_err(|_| UploadError::Stopped)?;
        let (pieces, coming) = mpsc::channel(QUEUE);
        let (tell, outcome) = oneshot::channel();
        let cancel = Cancel::default();
        let left = cancel.on_drop();
        let intakes = self.clone();
        let incoming = Incoming { pieces: coming, stop: self.0.stop.clone(), runtime: Handle::current() };
        let span = tracing::Span::current();
        self.0.tasks.spawn_blocking(move || {
            let _place = place;
            let outcome = span.in_scope(|| intakes.take_in(order, incoming, &cancel));
            // Whoever sent the upload may be gone.
            let _ = tell.send(outcome);
        });
        Ok(Box::new(Taking { pieces, outcome: Some(outcome), _left: left }))
    }

    /// Ends uploads that have not come to their commit and what asks for copies, and waits for those that have.
    pub(super) async fn close(&self) {
        self.0.places.close();
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn take_in(
        &self,
        order: Order,
        mut incoming: Incoming,
        cancel: &Cancel,
    ) -> Result<Uploaded, UploadError> {
        let codec = order.directory.map(|codec| match codec {
            Codec::DagPb => pop_rpc::Codec::DagPb,
            Codec::DagCbor => pop_rpc::Codec::DagCbor,
        });
        let kept = upload::carry_out(&self.0.store, codec, &mut incoming, cancel).map_err(tell)?;
        let is_asked = order.replication > 0 && self.replicate(kept.root, order.replication);
        Ok(uploaded(kept, if is_asked { order.replication } else { 0 }))
    }

    /// Asks for copies in the background, on the terms of a commit; returns false when too many uploads wait for that.
    fn replicate(&self, root: Cid, copies: u8) -> bool {
        let Ok(place) = Arc::clone(&self.0.waiting).try_acquire_owned() else {
            tracing::warn!(%root, "too many uploads wait for copies; dispatch it again later");
            return false;
        };
        let size = match counted(&self.0.store, &root) {
            Ok(size) => size,
            Err(error) => {
                tracing::warn!(%root, %error, "no copies of an upload");
                return false;
            }
        };
        let shared = Arc::clone(&self.0);
        let work = async move {
            let _place = place;
            tokio::select! {
                biased;
                () = shared.stop.cancelled() => tracing::info!(%root, "the stop ended the asking for copies"),
                () = shared.ask_for_copies(root, size, copies) => {}
            }
        };
        self.0.tasks.spawn(work.instrument(tracing::info_span!("replicate")));
        true
    }
}

impl Shared {
    async fn ask_for_copies(&self, root: Cid, size: Bytes, copies: u8) {
        let Ok(_turn) = self.dispatches.acquire().await else { return };
        let terms = pop_rpc::Replication::default();
        let options = DispatchOptions {
            factor: ReplicationFactor::new(copies),
            peers: Vec::new(),
            attempts: terms.attempts,
            backoff: terms.backoff.as_duration(),
        };
        match (self.dispatch)(root, size, options).await {
            Ok(found) if found >= usize::from(copies) => {
                tracing::info!(%root, copies = found, "upload replicated")
            }
            Ok(found) => {
                tracing::warn!(%root, copies = found, asked = copies, "fewer copies of an upload than asked for");
            }
            Err(error) => tracing::warn!(%root, %error, "no copies of an upload"),
        }
    }
}

fn uploaded(kept: Kept, replication: u8) -> Uploaded {
    let entry = |Named { key, added }: Named| UploadedEntry { key, cid: added.cid, size: added.size };
    let entries = kept.entries.into_iter().map(entry).collect();
    Uploaded { root: kept.root, size: kept.size, replication, entries }
}

/// Says why an upload was not kept to somebody who does not own this node: no paths, no words of the system.
fn tell(lost: Lost) -> UploadError {
    use pop_dag::unixfs::ImportError;

    use crate::content::upload::NameError;
    use pop_exchange::tx::KeyError;

    let why = lost.to_string();
    let (store, what) = match lost {
        Lost::Left => return UploadError::Stopped,
        Lost::OutOfTurn(_) => return UploadError::Form { why },
        Lost::Name(NameError::Part(KeyError::NotAName { key })) => return UploadError::Name { name: key },
        Lost::Name(NameError::Twice { name }) => return UploadError::Twice { name },
        Lost::Name(NameError::Part(_) | NameError::TooDeep { .. } | NameError::TooMany)
        | Lost::Import(ImportError::TooLarge { .. }) => return UploadError::Form { why },
        Lost::Pipe(PipeError::Store(store)) | Lost::Store(store) => (Some(store), "the store failed"),
        Lost::Pipe(PipeError::Sink(_) | PipeError::Thread(_) | PipeError::Crashed) | Lost::Import(_) => {
            (None, "it could not be written")
        }
    };
    match store {
        Some(error @ (pop_store::Error::Full { .. } | pop_store::Error::TooLarge { .. })) => {
            UploadError::Full { why: error.to_string() }
        }
        Some(error) if error.is_full() => UploadError::Full { why: "its disk has no room left".to_owned() },
        Some(pop_store::Error::Closed) => UploadError::Stopped,
        _ => {
            tracing::error!(%why, "an upload could not be kept");
            UploadError::Failed { why: what.to_owned() }
        }
    }
}

/// An upload under way. Dropped, it leaves nothing.
struct Taking {
    pieces: mpsc::Sender<Piece>,
    outcome: Option<oneshot::Receiver<Result<Uploaded, UploadError>>>,
    _left: CancelGuard,
}

impl Taking {
    async fn send(&mut self, piece: Piece) -> Result<(), UploadError> {
        match self.pieces.send(piece).await {
            Ok(()) => Ok(()),
            // The other side has ended, and not with a commit.
            Err(_) => self.ended().await.and(Err(UploadError::Stopped)),
        }
    }

    async fn ended(&mut self) -> Result<Uploaded, UploadError> {
        let Some(outcome) = self.outcome.take() else { return Err(UploadError::Stopped) };
        outcome.await.unwrap_or_else(|_| Err(UploadError::Failed { why: "its thread crashed".to_owned() }))
    }
}

#[async_trait]
impl Intake for Taking {
    async fn file(&mut self, name: &str) -> Result<(), UploadError> {
        self.send(Piece::File(name.to_owned())).await
    }

    async fn bytes(&mut self, mut piece: Buf) -> Result<(), UploadError> {
        while piece.len() > PIECE {
            self.send(Piece::Bytes(piece.split_to(PIECE))).await?;
        }
        self.send(Piece::Bytes(piece)).await
    }

    async fn commit(mut self: Box<Self>) -> Result<Uploaded, UploadError> {
        self.send(Piece::Commit).await?;
        self.ended().await
    }
}

#[cfg(test)]
mod tests;
