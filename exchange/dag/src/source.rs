//! Where blocks come from and go to.

use std::collections::HashMap;
use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes as Buf;
use cid::Cid;
use pop_units::Bytes;

use crate::block::Block;

/// A place that blocks are read from.
pub trait BlockSource {
    /// Returns the data of `cid`, already verified; `None` when it is not here.
    ///
    /// Identity CIDs are never asked for: the functions of this crate resolve them.
    ///
    /// # Errors
    /// The place could not be read.
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError>;

    /// Returns the bytes of a block that lie in `range`, as far as it goes, in memory of their own; `None` when the
    /// block is not here.
    ///
    /// For those who have had the block as a whole before: where the whole is compared with a checksum each time
    /// that it is read, a part need not be. Overridden where a part costs less.
    ///
    /// # Errors
    /// The place could not be read.
    fn part(&self, cid: &Cid, range: Range<u64>) -> Result<Option<Buf>, SourceError> {
        Ok(self.block(cid)?.map(|block| {
            let [start, end] = [range.start, range.end].map(|at| Bytes::new(at).as_usize().min(block.len()));
            Buf::copy_from_slice(&block[start.min(end)..end])
        }))
    }

    /// Returns true when the block is here. Overridden where that is cheaper than reading it.
    ///
    /// # Errors
    /// The place could not be read.
    fn has(&self, cid: &Cid) -> Result<bool, SourceError> {
        Ok(self.block(cid)?.is_some())
    }
}

/// A place that blocks are written to, in the order they are made.
pub trait BlockSink {
    /// Takes one block.
    ///
    /// # Errors
    /// The place could not take it.
    fn accept(&mut self, block: Block) -> Result<(), SinkError>;
}

/// An error of a [`BlockSource`], whatever it is made of.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SourceError(pub Box<dyn Error + Send + Sync>);

/// An error of a [`BlockSink`] or of a visitor, whatever it is made of.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SinkError(pub Box<dyn Error + Send + Sync>);

impl SourceError {
    /// Wraps an error of a source.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl SinkError {
    /// Wraps an error of a sink.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl<S: BlockSource + ?Sized> BlockSource for &S {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        (**self).block(cid)
    }

    fn part(&self, cid: &Cid, range: Range<u64>) -> Result<Option<Buf>, SourceError> {
        (**self).part(cid, range)
    }

    fn has(&self, cid: &Cid) -> Result<bool, SourceError> {
        (**self).has(cid)
    }
}

impl<S: BlockSource + ?Sized> BlockSource for Arc<S> {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        (**self).block(cid)
    }

    fn part(&self, cid: &Cid, range: Range<u64>) -> Result<Option<Buf>, SourceError> {
        (**self).part(cid, range)
    }

    fn has(&self, cid: &Cid) -> Result<bool, SourceError> {
        (**self).has(cid)
    }
}

impl<S: BlockSink + ?Sized> BlockSink for &mut S {
    fn accept(&mut self, block: Block) -> Result<(), SinkError> {
        (**self).accept(block)
    }
}

/// Blocks in memory, found by multihash: the smallest source and sink, for tests and small DAGs.
#[derive(Clone, Debug, Default)]
pub struct Memory(HashMap<Vec<u8>, Buf>);

impl Memory {
    /// Returns an empty place.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a block.
    pub fn insert(&mut self, block: Block) {
        let (cid, data) = block.into_parts();
        self.0.insert(cid.hash().to_bytes(), data);
    }

    /// Forgets a block; returns true when it was here.
    pub fn remove(&mut self, cid: &Cid) -> bool {
        self.0.remove(&cid.hash().to_bytes()).is_some()
    }

    /// Returns how many blocks are here.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true when there is no block.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl BlockSource for Memory {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        Ok(self.0.get(&cid.hash().to_bytes()).cloned())
    }
}

impl BlockSink for Memory {
    fn accept(&mut self, block: Block) -> Result<(), SinkError> {
        self.insert(block);
        Ok(())
    }
}
