//! Proof that somebody holds a DAG now: a keyed hash over all of it.
//!
//! The asker draws a fresh key, both sides hash every block in walk order, and only who has the bytes can
//! answer. It shows possession at that moment, not for how long.

use std::fmt;

use bytes::Bytes as Buf;
use cid::Cid;
use pop_units::Bytes;
use serde::{Deserialize, Serialize};

use crate::source::BlockSource;
use crate::walk::{self, RunError, Scope};

/// The keyed hash of a DAG.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Proof(pub [u8; 32]);

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Hashes blocks as they come, in walk order.
#[derive(Clone, Debug)]
pub struct Prover(blake2b_simd::State);

impl Prover {
    /// Starts a proof under `key`.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(blake2b_simd::Params::new().hash_length(32).key(key).to_state())
    }

    /// Takes the next block.
    pub fn on_block(&mut self, cid: &Cid, data: &[u8]) {
        self.put(&cid.to_bytes());
        self.put(data);
    }

    /// Returns the proof over all blocks so far.
    pub fn finish(&self) -> Proof {
        let mut proof = [0; 32];
        proof.copy_from_slice(self.0.finalize().as_bytes());
        Proof(proof)
    }

    /// The length goes first, so that no two series of blocks feed the same bytes.
    fn put(&mut self, bytes: &[u8]) {
        self.0.update(&Bytes::of(bytes).get().to_le_bytes());
        self.0.update(bytes);
    }
}

/// Returns the proof over what `scope` means of `root`.
///
/// # Errors
/// A block is missing or cannot be read.
pub fn prove(root: &Cid, scope: &Scope, key: &[u8; 32], source: &dyn BlockSource) -> Result<Proof, RunError> {
    let mut prover = Prover::new(key);
    walk::run(*root, scope, source, &mut |cid: &Cid, data: &Buf| {
        prover.on_block(cid, data);
        Ok(())
    })?;
    Ok(prover.finish())
}
