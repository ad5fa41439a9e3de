//! `POST /` of the gateway: files as they come in become a ref of their own, in one durable step.
//!
//! The open transaction has no part in it. Memory is bounded by the queue that the pieces come through and by what a
//! put holds; whatever ends an upload before its commit leaves nothing of it.

mod tree;

use std::io::{self, Read};

use pop_dag::unixfs::{Added, Content, ImportError, Profile, Rules, add_content, directory, tx_root};
use pop_dag::{BlockSink, Buf, Cid, SinkError};
use pop_rpc::Codec;
use pop_store::{Ref, RefKey, Staging, Store};
use pop_units::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use self::tree::NameError;

use self::tree::Tree;
use super::pipe::{self, PipeError};
use super::unix_seconds;
use crate::pool::Cancel;

/// How the stagings of uploads are named.
pub(super) const UPLOAD: &str = "upload:";

/// What comes in, in this order: files with their bytes, and the end.
#[derive(Debug)]
pub(crate) enum Piece {
    /// A file begins. Slashes in the name part directories.
    File(String),
    /// Content of the file.
    Bytes(Buf),
    /// All of it has come.
    Commit,
}

/// Where the pieces come from.
pub(crate) struct Incoming {
    pub(crate) pieces: mpsc::Receiver<Piece>,
    /// Ends what has not come to its commit.
    pub(crate) stop: CancellationToken,
    pub(crate) runtime: Handle,
}

impl Incoming {
    /// Waits for the next piece; `None` when the other side is gone or the node stops. Blocks.
    fn next(&mut self) -> Option<Piece> {
        // Most of the time one waits already, and the runtime need not be asked.
        if let Ok(piece) = self.pieces.try_recv() {
            return Some(piece);
        }
        let (pieces, stop) = (&mut self.pieces, &self.stop);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = stop.cancelled() => None,
                piece = pieces.recv() => piece,
            }
        })
    }
}

/// A name directly under the root of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) key: String,
    pub(crate) added: Added,
}

/// An upload that is permanent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) root: Cid,
    /// Bytes of content.
    pub(crate) size: Bytes,
    /// Sorted; none when the upload is one file.
    pub(crate) entries: Vec<Named>,
}

/// Why an upload was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// The blocks could not be staged.
    #[error(transparent)]
    Pipe(#[from] PipeError),
    /// The store did not make it permanent.
    #[error(transparent)]
    Store(#[from] pop_store::Error),
    /// A file or a directory over the files cannot be written.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A name cannot be an entry, or stands for a file and a directory.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Pieces came out of turn.
    #[error("{0}")]
    OutOfTurn(&'static str),
    /// The other side went away, or the node stops.
    #[error("it was broken off")]
    Left,
}

impl From<SinkError> for Lost {
    fn from(error: SinkError) -> Self {
        Self::Pipe(error.into())
    }
}

/// Takes an upload in and makes it permanent; on an error nothing of it stays. `codec` is how the root over the files
/// is written, nothing when there is one file whose root is the upload's. Blocks.
pub(crate) fn carry_out(
    store: &Store,
    codec: Option<Codec>,
    incoming: &mut Incoming,
    cancel: &Cancel,
) -> Result<Kept, Lost> {
    let staging = store.stage(&format!("{UPLOAD}{}", super::random_name()))?;
    let made = pipe::staged(&staging, cancel, |sink| take_in(codec, incoming, sink));
    let kept = made.and_then(|kept| commit(&staging, &kept).map(|()| kept));
    if kept.is_err() {
        super::give_up(staging);
    }
    kept
}

fn take_in(codec: Option<Codec>, incoming: &mut Incoming, sink: &mut dyn BlockSink) -> Result<Kept, Lost> {
    match codec {
        None => one(incoming, sink),
        Some(codec) => several(codec, incoming, sink),
    }
}

fn one(incoming: &mut Incoming, sink: &mut dyn BlockSink) -> Result<Kept, Lost> {
    match incoming.next() {
        Some(Piece::File(_)) => {}
        Some(Piece::Bytes(_) | Piece::Commit) => return Err(Lost::OutOfTurn("there is no file")),
        None => return Err(Lost::Left),
    }
    match add(incoming, sink)? {
        (added, Next::Commit) => Ok(Kept { root: added.cid, size: added.size, entries: Vec::new() }),
        (_, Next::File(_)) => Err(Lost::OutOfTurn("one file was announced")),
    }
}

fn several(codec: Codec, incoming: &mut Incoming, sink: &mut dyn BlockSink) -> Result<Kept, Lost> {
    let mut tree = Tree::default();
    let mut next = match incoming.next() {
        Some(Piece::File(name)) => Next::File(name),
        Some(Piece::Commit) => Next::Commit,
        Some(Piece::Bytes(_)) => return Err(Lost::OutOfTurn("there is no file")),
        None => return Err(Lost::Left),
    };
    while let Next::File(name) = next {
        tree.check(&name)?;
        let (added, after) = add(incoming, sink)?;
        tree.put(&name, added)?;
        next = after;
    }
    let profile = Profile::default();
    let entries = tree.build(&profile, sink)?;
    let links = entries.iter().map(|named| pop_dag::unixfs::Entry {
        name: named.key.clone(),
        cid: named.added.cid,
        tsize: named.added.tsize,
    });
    let (block, _) = match codec {
        Codec::DagPb => directory(links.collect(), &profile, sink)?,
        Codec::DagCbor => tx_root::build(links.collect())?,
    };
    let root = *block.cid();
    if codec == Codec::DagCbor {
        sink.accept(block)?;
    }
    let size = entries.iter().fold(Bytes::ZERO, |sum, named| sum.saturating_add(named.added.size));
    Ok(Kept { root, size, entries })
}

/// What ends a file.
enum Next {
    File(String),
    Commit,
}

/// Adds the content that comes until the next file or the end, by the rules that a put has.
fn add(incoming: &mut Incoming, sink: &mut dyn BlockSink) -> Result<(Added, Next), Lost> {
    let mut reader = Reader { incoming, piece: Buf::new(), next: None };
    let content = Content { reader: &mut reader, name: None, size: None };
    let added = add_content(content, &Rules::default(), sink, &mut |_| {});
    match (added, reader.next) {
        (Ok(added), Some(next)) => Ok((added, next)),
        // The reader's only error, which the chunker passes on.
        (Err(ImportError::Read(_)), _) | (Ok(_), None) => Err(Lost::Left),
        (Err(ImportError::Sink(sink)), _) => Err(sink.into()),
        (Err(error), _) => Err(error.into()),
    }
}

/// The content of one file.
struct Reader<'a> {
    incoming: &'a mut Incoming,
    piece: Buf,
    next: Option<Next>,
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            if self.next.is_some() {
                return Ok(0);
            }
            match self.incoming.next() {
                Some(Piece::Bytes(piece)) => self.piece = piece,
                Some(Piece::File(name)) => self.next = Some(Next::File(name)),
                Some(Piece::Commit) => self.next = Some(Next::Commit),
                // Of a kind that no reader tries again.
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let length = self.piece.len().min(into.len());
        into[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

/// Makes the upload a ref, pinned as all that the owner adds.
fn commit(staging: &Staging, kept: &Kept) -> Result<(), Lost> {
    let key = |named: &Named| RefKey::new(named.key.clone(), named.added.cid, named.added.size);
    let keys = kept.entries.iter().map(key).collect();
    let found = Ref { keys, complete: true, pinned: true, last_used: unix_seconds(), ..Ref::new(kept.root) };
    staging.clone().commit(found).map_err(Lost::Store)
}

#[cfg(test)]
mod tests;
