//! Keys of the wallet: Filecoin addresses, secp256k1 signatures and the files that keep the secrets.
//!
//! Everything above signs and checks through this crate, so that the curve and the file format have one home.
//! It never talks to a chain and never logs a secret.

mod address;
mod chain_id;
mod key_text;
mod keystore;
mod secret;

pub use crate::address::{Address, AddressError, Protocol};
pub use crate::chain_id::{ChainId, ChainIdError};
pub use crate::key_text::KeyTextError;
pub use crate::keystore::{Keystore, KeystoreError, Protection};
pub use crate::secret::{PublicKey, SecretKey, Signature, SignatureError, blake2b_256};

pub use zeroize::Zeroizing;
