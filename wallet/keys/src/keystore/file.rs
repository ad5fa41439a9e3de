//! The file format: a JSON header that says what is inside, and the secret, sealed or plain.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::KeystoreError;
use crate::{Address, ChainId, SecretKey};

const FORMAT: u32 = 1;
/// A key file has a few hundred bytes; what is larger is something else.
const MAX_FILE: u64 = 16 * 1024;
/// Most memory that a file may ask us to spend on its passphrase: 1 GiB.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;

/// What guessing a passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// 64 MiB, three passes: about a fifth of a second on a small server.
    pub(super) const STANDARD: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };

    #[cfg(test)]
    pub(super) const CHEAP: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };

    fn derive(self, passphrase: &str, salt: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        if self.memory_kib > MAX_MEMORY_KIB || self.passes > MAX_PASSES {
            return None;
        }
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).ok()?;
        let mut key = Zeroizing::new([0; 32]);
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon.hash_password_into(passphrase.as_bytes(), salt, &mut *key).ok()?;
        Some(key)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Secret {
    Plain(Zeroizing<String>),
    Argon2idXchacha20poly1305 { cost: Cost, salt: String, nonce: String, sealed: String },
}

/// A key as it lies on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    format: u32,
    pub(super) address: Address,
    pub(super) chain: ChainId,
    kind: String,
    secret: Secret,
}

impl KeyFile {
    pub(super) fn seal(
        key: &SecretKey,
        chain: &ChainId,
        passphrase: Option<&str>,
        cost: Cost,
    ) -> Result<Self, KeystoreError> {
        let address = key.address();
        let secret = match passphrase {
            None => Secret::Plain(Zeroizing::new(BASE64.encode(*key.to_bytes()))),
            Some(passphrase) => {
                let (mut salt, mut nonce) = ([0; 16], [0; 24]);
                getrandom::fill(&mut salt)?;
                getrandom::fill(&mut nonce)?;
                let derived = cost.derive(passphrase, &salt).ok_or(KeystoreError::Locked(address))?;
                let aad = bound_to(&address, chain);
                let plain = key.to_bytes();
                let payload = Payload { msg: &*plain, aad: &aad };
                let sealed = XChaCha20Poly1305::new((&*derived).into())
                    .encrypt(XNonce::from_slice(&nonce), payload)
                    .map_err(|_| KeystoreError::Locked(address))?;
                let [salt, nonce, sealed] = [&salt[..], &nonce, &sealed].map(|bytes| BASE64.encode(bytes));
                Secret::Argon2idXchacha20poly1305 { cost, salt, nonce, sealed }
            }
        };
        Ok(Self { format: FORMAT, address, chain: chain.clone(), kind: "secp256k1".to_owned(), secret })
    }

    pub(super) fn open(&self, passphrase: Option<&str>) -> Result<SecretKey, KeystoreError> {
        let locked = || KeystoreError::Locked(self.address);
        let bytes = match &self.secret {
            Secret::Plain(text) => Zeroizing::new(BASE64.decode(text.as_str()).map_err(|_| locked())?),
            Secret::Argon2idXchacha20poly1305 { cost, salt, nonce, sealed } => {
                let passphrase = passphrase.ok_or(KeystoreError::NeedsPassphrase(self.address))?;
                let decode = |text: &String| BASE64.decode(text).map_err(|_| locked());
                let (salt, nonce, sealed) = (decode(salt)?, decode(nonce)?, decode(sealed)?);
                let nonce: [u8; 24] = nonce.try_into().map_err(|_| locked())?;
                let derived = cost.derive(passphrase, &salt).ok_or_else(locked)?;
                let aad = bound_to(&self.address, &self.chain);
                let payload = Payload { msg: &sealed, aad: &aad };
                let opened =
                    XChaCha20Poly1305::new((&*derived).into()).decrypt(&XNonce::from(nonce), payload);
                Zeroizing::new(opened.map_err(|_| locked())?)
            }
        };
        // A header that was moved onto another key must not sign for the wrong address.
        SecretKey::from_bytes(&bytes).filter(|key| key.address() == self.address).ok_or_else(locked)
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self.secret, Secret::Plain(_))
    }

    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(serde_json::to_vec_pretty(self).expect("strings and numbers always encode"))
    }
}

/// What the seal covers besides the secret: the header cannot be changed without breaking it.
fn bound_to(address: &Address, chain: &ChainId) -> Vec<u8> {
    format!("{address} {chain}").into_bytes()
}

pub(super) fn create_private_dir(dir: &Path) -> Result<(), KeystoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| KeystoreError::Io { path: dir.to_owned(), source })
}

/// Reads all key files of a folder, in no order.
pub(super) fn read_all(dir: &Path) -> Result<Vec<KeyFile>, KeystoreError> {
    let io = |source| KeystoreError::Io { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|extension| extension == "key") {
            files.extend(read_key(&path)?);
        }
    }
    Ok(files)
}

pub(super) fn read_key(path: &Path) -> Result<Option<KeyFile>, KeystoreError> {
    let damaged = |reason: String| KeystoreError::Damaged { path: path.to_owned(), reason };
    let Some(bytes) = read_small(path)? else {
        return Ok(None);
    };
    let key_file: KeyFile = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    match (key_file.format, key_file.kind.as_str()) {
        (FORMAT, "secp256k1") => Ok(Some(key_file)),
        (FORMAT, kind) => Err(damaged(format!("kind {kind:?} is unknown"))),
        (format, _) => Err(damaged(format!("format {format} is unknown"))),
    }
}

/// Reads a whole small file; `None` where there is none.
pub(super) fn read_small(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, KeystoreError> {
    let io = |source| KeystoreError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(io)?;
    Ok(Some(bytes))
}

/// Writes a file so that after a crash the old or the new one is there, whole, for its owner only.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeystoreError> {
    let io = |source| KeystoreError::Io { path: path.to_owned(), source };
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    // A draft left by a crash may have other permissions; the new one must be made with ours.
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)?;
    std::fs::rename(&draft, path).map_err(io)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all()).map_err(io)
}
