//! CIDs as the chain makes them: version 1, DAG-CBOR, BLAKE2b-256.

use cid::Cid;
use cid::multihash::Multihash;

const BLAKE2B_256: u64 = 0xb220;
const RAW: u64 = 0x55;

/// Returns the BLAKE2b-256 hash.
pub(crate) fn blake2b_256(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = blake2b_simd::Params::new().hash_length(32).to_state();
    for part in parts {
        state.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(state.finalize().as_bytes());
    digest
}

/// Returns the CID of an object of the chain.
pub(crate) fn chain_cid(data: &[u8]) -> Cid {
    of_hash(fvm_ipld_encoding::DAG_CBOR, &blake2b_256(&[data]))
}

/// Returns the CID that names an actor's code; devnet code is named by a text, since it is compiled in.
pub(crate) fn code_cid(name: &str) -> Cid {
    of_hash(RAW, &blake2b_256(&[b"pop devnet actor ", name.as_bytes()]))
}

/// Wraps the hash of a block of the ledger as a CID, for fields that carry tipsets.
pub(crate) fn of_hash(codec: u64, digest: &[u8; 32]) -> Cid {
    let hash = Multihash::wrap(BLAKE2B_256, digest).expect("32 bytes fit a multihash");
    Cid::new_v1(codec, hash)
}
