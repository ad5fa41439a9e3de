//! The way from reading and hashing to the disk: both at once, with a short queue between them.
//!
//! A put is then as fast as the slower of the two and not as their sum. Blocks arrive in the order in which they were
//! made. The queue is bounded in bytes and in blocks, whatever the size of either.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use pop_dag::{Block, BlockSink, SinkError};
use pop_rpc::{Error, ErrorCode};
use pop_store::Staging;
use pop_units::Bytes;

use crate::fault::{Cancelled, Fault};
use crate::pool::Cancel;

/// Bytes that go to the writer at once: a large block, or enough small ones that handing them over costs nothing.
const BATCH: Bytes = Bytes::MIB;
/// Blocks of a batch, however small.
const BATCH_BLOCKS: usize = 512;
/// Batches that wait for the disk. With the one being filled and the one being written this bounds what a put holds
/// to six batches and the block at hand.
const QUEUE: usize = 4;

/// Why blocks did not get into a staging.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipeError {
    /// The store does not take them.
    #[error(transparent)]
    Store(#[from] pop_store::Error),
    /// Nobody takes blocks any more, or nobody waits for them.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The system gives no thread.
    #[error("the writer of a staging did not start")]
    Thread(#[source] std::io::Error),
    /// Its thread ended in the middle.
    #[error("the writer of a staging crashed")]
    Crashed,
}

impl From<PipeError> for Error {
    fn from(error: PipeError) -> Self {
        match error {
            PipeError::Store(store) => store.fault(),
            PipeError::Sink(sink) => sink.fault(),
            PipeError::Thread(_) | PipeError::Crashed => Self::of(ErrorCode::Internal, &error),
        }
    }
}

/// Runs `make` with a sink whose blocks another thread puts into `staging`. On return all of them are staged, or one of
/// the two sides has failed. Blocks.
///
/// # Errors
/// What the store says, else what `make` says.
pub(crate) fn staged<T, E: From<PipeError>>(
    staging: &Staging,
    cancel: &Cancel,
    make: impl FnOnce(&mut Inlet<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let (sender, receiver) = sync_channel(QUEUE);
    let span = tracing::Span::current();
    thread::scope(|scope| {
        let writer = thread::Builder::new().name("staging".to_owned());
        let writer = writer.spawn_scoped(scope, move || span.in_scope(|| write(staging, &receiver)));
        let writer = writer.map_err(PipeError::Thread)?;
        let mut inlet = Inlet { sender, cancel, batch: Vec::new(), size: Bytes::ZERO };
        let made = make(&mut inlet)
            .and_then(|made| inlet.flush().map(|()| made).map_err(|sink| PipeError::Sink(sink).into()));
        // Its end is the writer's.
        drop(inlet);
        // What the disk says comes first: the other side then only knows that nobody takes its blocks.
        match writer.join() {
            Ok(written) => written.map_err(PipeError::Store)?,
            Err(_) => return Err(PipeError::Crashed.into()),
        }
        made
    })
}

/// Puts what comes into the staging until nothing comes any more or the store fails.
fn write(staging: &Staging, batches: &Receiver<Vec<Block>>) -> Result<(), pop_store::Error> {
    // An early return drops nothing that `make` could wait for: its next batch finds nobody.
    batches.iter().flatten().try_for_each(|block| staging.put(&block))
}

/// The writer has ended before the blocks did.
#[derive(Debug, thiserror::Error)]
#[error("the store takes no more blocks")]
struct Deaf;

/// Where blocks go in.
pub(crate) struct Inlet<'a> {
    sender: SyncSender<Vec<Block>>,
    cancel: &'a Cancel,
    batch: Vec<Block>,
    size: Bytes,
}

impl Inlet<'_> {
    fn flush(&mut self) -> Result<(), SinkError> {
        self.size = Bytes::ZERO;
        let batch = std::mem::take(&mut self.batch);
        self.sender.send(batch).map_err(|_| SinkError::new(Deaf))
    }
}

impl BlockSink for Inlet<'_> {
    fn accept(&mut self, block: Block) -> Result<(), SinkError> {
        if self.cancel.is_cancelled() {
            return Err(SinkError::new(Cancelled));
        }
        self.size = self.size.saturating_add(block.size());
        self.batch.push(block);
        if self.size >= BATCH || self.batch.len() >= BATCH_BLOCKS { self.flush() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use pop_dag::{Buf, Codec};
    use pop_store::{Options, Store};

    use super::*;

    fn block(n: u32, len: usize) -> Block {
        let mut data = vec![7; len];
        data[..4].copy_from_slice(&n.to_be_bytes());
        Block::of(Codec::Raw, Buf::from(data))
    }

    fn store(capacity: Bytes) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { capacity, ..Options::default() };
        let store = Store::open(dir.path(), options).unwrap();
        (dir, store)
    }

    #[test]
    fn all_that_was_made_is_staged_on_return() {
        let (_dir, store) = store(Bytes::GIB);
        let staging = store.stage("t").unwrap();
        let made: Result<_, Error> = staged(&staging, &Cancel::default(), |inlet| {
            (0..3000).try_for_each(|n| inlet.accept(block(n, 100))).map_err(Fault::fault)?;
            (0..5).try_for_each(|n| inlet.accept(block(n, 1 << 20))).map_err(Fault::fault)?;
            Ok(7)
        });
        assert_eq!(made, Ok(7));
        assert!((0..3000).all(|n| staging.has(block(n, 100).cid()).unwrap()));
        assert!((0..5).all(|n| staging.has(block(n, 1 << 20).cid()).unwrap()));
    }

    #[test]
    fn a_full_store_is_told_and_ends_the_making() {
        let (_dir, store) = store(Bytes::new(4 << 20));
        let staging = store.stage("t").unwrap();
        let mut made = 0;
        let error: Result<(), Error> = staged(&staging, &Cancel::default(), |inlet| {
            for n in 0..1000 {
                inlet.accept(block(n, 1 << 20)).map_err(Fault::fault)?;
                made = n;
            }
            Ok(())
        });
        assert_eq!(error.unwrap_err().code, ErrorCode::Storage);
        assert!(made < 100, "{made} blocks were made for nobody");
    }

    #[test]
    fn what_the_maker_says_is_told_and_a_caller_that_left_ends_it() {
        let (_dir, store) = store(Bytes::GIB);
        let staging = store.stage("t").unwrap();
        let broken = Error::new(ErrorCode::BadInput, "broken");
        assert_eq!(staged(&staging, &Cancel::default(), |_| Err::<(), _>(broken.clone())), Err(broken));
        let cancel = Cancel::default();
        drop(cancel.on_drop());
        let left: Result<(), Error> =
            staged(&staging, &cancel, |inlet| inlet.accept(block(0, 10)).map_err(Fault::fault));
        assert_eq!(left.unwrap_err().code, ErrorCode::Interrupted);
    }
}
