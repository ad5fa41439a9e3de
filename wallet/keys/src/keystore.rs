//! Key files: one per key, readable by their owner only, bound to one chain.
//!
//! The binding is a rule about money, not tidiness: Filecoin's messages carry no chain id, so a key used on
//! an embedded chain and on the real one would make play vouchers redeemable for real money.

mod file;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use crate::{Address, ChainId, KeyTextError, SecretKey, Signature, key_text};
use file::{Cost, KeyFile};

/// How secrets lie on disk.
#[derive(Clone)]
pub enum Protection {
    /// As they are, in files that only their owner can read. Refused for keys of a real chain.
    Plain,
    /// Encrypted under a passphrase.
    Passphrase(Zeroizing<String>),
}

/// The keys of one chain. Clones share what is unlocked.
#[derive(Clone)]
pub struct Keystore(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    chain: ChainId,
    protection: Protection,
    cost: Cost,
    // Deriving a key from a passphrase takes long on purpose, so it is done once for each file.
    unlocked: Mutex<BTreeMap<Address, SecretKey>>,
}

/// Why a key cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// A real chain's keys are never kept in the open.
    #[error("keys of {0} need a passphrase")]
    PlainRefused(ChainId),
    /// There is no such key here.
    #[error("no key for {0} in this wallet")]
    NoKey(Address),
    /// The key is here, for another chain.
    #[error("key {address} is bound to {bound}")]
    OtherChain {
        /// Its address.
        address: Address,
        /// The chain it may be used on.
        bound: ChainId,
    },
    /// The passphrase does not open the file, or somebody changed it.
    #[error("wrong passphrase for {0}, or a changed file")]
    Locked(Address),
    /// The file is encrypted and there is no passphrase.
    #[error("key {0} needs a passphrase")]
    NeedsPassphrase(Address),
    /// The file is no key file of ours.
    #[error("{path} is no key file: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The imported text is no key.
    #[error(transparent)]
    Text(#[from] KeyTextError),
    /// The system has no randomness.
    #[error("no randomness")]
    Random(#[from] getrandom::Error),
    /// The disk.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keystore").field("chain", &self.0.chain).finish_non_exhaustive()
    }
}

impl Keystore {
    /// Opens the keys of `chain` in `dir`, which is created where missing.
    ///
    /// # Errors
    /// The folder cannot be used, or a real chain's keys would lie in the open.
    pub fn open(dir: &Path, chain: ChainId, protection: Protection) -> Result<Self, KeystoreError> {
        Self::open_with(dir, chain, protection, Cost::STANDARD)
    }

    fn open_with(
        dir: &Path,
        chain: ChainId,
        protection: Protection,
        cost: Cost,
    ) -> Result<Self, KeystoreError> {
        if chain.is_real() && matches!(protection, Protection::Plain) {
            return Err(KeystoreError::PlainRefused(chain));
        }
        file::create_private_dir(dir)?;
        let unlocked = Mutex::default();
        Ok(Self(Arc::new(Inner { dir: dir.to_owned(), chain, protection, cost, unlocked })))
    }

    /// Returns the chain that the keys are bound to.
    pub fn chain(&self) -> &ChainId {
        &self.0.chain
    }

    /// Returns the addresses of all keys of this chain, sorted.
    ///
    /// # Errors
    /// The folder or a file in it cannot be read.
    pub fn list(&self) -> Result<Vec<Address>, KeystoreError> {
        let mut addresses = Vec::new();
        for key_file in file::read_all(&self.0.dir)? {
            if key_file.chain == self.0.chain {
                addresses.push(key_file.address);
            }
        }
        addresses.sort();
        Ok(addresses)
    }

    /// Makes a key. The first key of a chain becomes its default.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new_key(&self) -> Result<Address, KeystoreError> {
        self.keep(SecretKey::generate()?)
    }

    /// Takes a key in one of the forms that wallets export.
    ///
    /// # Errors
    /// The text is no key, or the key is bound to another chain.
    pub fn import(&self, text: &str) -> Result<Address, KeystoreError> {
        self.keep(key_text::parse(text)?)
    }

    /// Returns a key in the form that `lotus wallet import` reads.
    ///
    /// # Errors
    /// The key is not here or cannot be unlocked.
    pub fn export(&self, address: &Address) -> Result<Zeroizing<String>, KeystoreError> {
        Ok(key_text::write(&self.secret(address)?))
    }

    /// Writes the exported form to a file that only its owner can read.
    ///
    /// # Errors
    /// The key cannot be unlocked or the file not be written.
    pub fn export_to(&self, address: &Address, path: &Path) -> Result<(), KeystoreError> {
        file::write_private(path, self.export(address)?.as_bytes())
    }

    /// Returns the address that pays where none is named.
    ///
    /// # Errors
    /// The marker cannot be read.
    pub fn default_address(&self) -> Result<Option<Address>, KeystoreError> {
        let path = self.default_path();
        let Some(text) = file::read_small(&path)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&text);
        let address = text.trim().parse();
        address.map(Some).map_err(|_| KeystoreError::Damaged { path, reason: "no address".to_owned() })
    }

    /// Marks a key of this chain as the default.
    ///
    /// # Errors
    /// The key is not here.
    pub fn set_default(&self, address: &Address) -> Result<(), KeystoreError> {
        self.file_of(address)?;
        file::write_private(&self.default_path(), address.to_string().as_bytes())
    }

    /// Returns true when the key of `address` is here and bound to this chain.
    pub fn has(&self, address: &Address) -> bool {
        self.unlocked().contains_key(address) || self.file_of(address).is_ok()
    }

    /// Signs with the key of `address`.
    ///
    /// # Errors
    /// The key is not here or cannot be unlocked.
    pub fn sign(&self, address: &Address, message: &[u8]) -> Result<Signature, KeystoreError> {
        Ok(self.secret(address)?.sign(message))
    }

    /// Returns the key of `address`.
    ///
    /// # Errors
    /// The key is not here or cannot be unlocked.
    pub fn secret(&self, address: &Address) -> Result<SecretKey, KeystoreError> {
        if let Some(key) = self.unlocked().get(address) {
            return Ok(key.clone());
        }
        let key_file = self.file_of(address)?;
        let key = match &self.0.protection {
            Protection::Plain => key_file.open(None)?,
            Protection::Passphrase(passphrase) => key_file.open(Some(passphrase))?,
        };
        self.unlocked().insert(*address, key.clone());
        Ok(key)
    }

    /// Keeps a key that is at hand; the first one becomes the default.
    ///
    /// # Errors
    /// The key is bound to another chain, or its file cannot be written.
    pub fn keep(&self, key: SecretKey) -> Result<Address, KeystoreError> {
        let address = key.address();
        let path = self.path_of(&address);
        match file::read_key(&path)? {
            Some(old) if old.chain != self.0.chain => {
                return Err(KeystoreError::OtherChain { address, bound: old.chain });
            }
            Some(_) => {}
            None => {
                let passphrase = match &self.0.protection {
                    Protection::Plain => None,
                    Protection::Passphrase(passphrase) => Some(passphrase.as_str()),
                };
                let key_file = KeyFile::seal(&key, &self.0.chain, passphrase, self.0.cost)?;
                file::write_private(&path, &key_file.to_bytes())?;
            }
        }
        self.unlocked().insert(address, key);
        if self.default_address()?.is_none() {
            self.set_default(&address)?;
        }
        Ok(address)
    }

    fn file_of(&self, address: &Address) -> Result<KeyFile, KeystoreError> {
        let key_file = file::read_key(&self.path_of(address))?.ok_or(KeystoreError::NoKey(*address))?;
        if key_file.chain != self.0.chain {
            return Err(KeystoreError::OtherChain { address: *address, bound: key_file.chain });
        }
        if self.0.chain.is_real() && key_file.is_plain() {
            return Err(KeystoreError::PlainRefused(key_file.chain));
        }
        Ok(key_file)
    }

    fn path_of(&self, address: &Address) -> PathBuf {
        self.0.dir.join(format!("{address}.key"))
    }

    fn default_path(&self) -> PathBuf {
        self.0.dir.join(format!("default-{}", self.0.chain.as_str().replace(':', "-")))
    }

    fn unlocked(&self) -> MutexGuard<'_, BTreeMap<Address, SecretKey>> {
        // The map is whole after every statement, so a panic elsewhere cannot have left it broken.
        self.0.unlocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
