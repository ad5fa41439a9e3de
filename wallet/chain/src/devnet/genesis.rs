//! What a ledger is founded on.

use pop_keys::{Address, ChainId};
use pop_payments::paych::SETTLE_DELAY;
use pop_units::AttoFil;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::cids;
use crate::store::ChainStore;

const KEY: &[u8] = b"g";

/// The first facts of a ledger; their hash names the chain, so none of them can change later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// A name for people.
    pub network: String,
    /// Who runs the ledger and owns all its money at the start (an f1 address).
    pub operator: Address,
    /// How much money there is.
    pub supply: AttoFil,
    /// Epochs from Settle to Collect.
    pub settle_delay: i64,
    /// What each message costs; kept by nobody, counted as fees.
    pub fee: AttoFil,
    /// Randomness, so that two operators with one key still have two chains.
    #[serde(with = "serde_bytes")]
    pub seed: [u8; 32],
}

impl Genesis {
    /// Returns the usual genesis: 1000 FIL for the operator, Filecoin's settle delay, no fees.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new(operator: Address) -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self {
            network: "pop".to_owned(),
            operator,
            supply: AttoFil::from_fil(1000),
            settle_delay: SETTLE_DELAY,
            fee: AttoFil::ZERO,
            seed,
        })
    }

    /// Returns what the ledger in `store` was founded on; nothing where there is none.
    ///
    /// # Errors
    /// The store cannot be read or its row is damaged.
    pub fn stored(store: &dyn ChainStore) -> Result<Option<Self>, Error> {
        let Some(row) = store.get(KEY)? else { return Ok(None) };
        fvm_ipld_encoding::from_slice(&row).map(Some).map_err(|_| Error::damaged(KEY))
    }

    /// Returns the hash that names the chain and salts its channel addresses.
    pub fn hash(&self) -> [u8; 32] {
        cids::blake2b_256(&[b"pop ledger genesis 1", &self.to_bytes()])
    }

    /// Returns the id of the chain.
    pub fn chain_id(&self) -> ChainId {
        ChainId::local(&self.hash())
    }

    pub(crate) fn row(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        (KEY.to_vec(), Some(self.to_bytes()))
    }

    fn to_bytes(&self) -> Vec<u8> {
        fvm_ipld_encoding::to_vec(self).expect("texts and bytes always encode")
    }
}
