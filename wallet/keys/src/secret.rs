//! secp256k1 over BLAKE2b-256, as Filecoin signs messages and vouchers.

use std::fmt;

use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::ecdsa::{RecoveryId, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::Address;

/// The type byte of secp256k1 signatures on the wire.
const TYPE_BYTE: u8 = 1;
const COMPACT_LEN: usize = 65;

/// Returns the BLAKE2b-256 hash of `input`.
pub fn blake2b_256(input: &[u8]) -> [u8; 32] {
    let hash = blake2b_simd::Params::new().hash_length(32).hash(input);
    hash.as_bytes().try_into().expect("the hash length was set to 32")
}

/// A secret key; erased from memory when dropped, never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Returns a fresh random key.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = Zeroizing::new([0; 32]);
        // All but about 2^-128 of the seeds are keys, so this ends at once.
        loop {
            getrandom::fill(&mut *seed)?;
            if let Some(key) = Self::from_bytes(&*seed) {
                return Ok(key);
            }
        }
    }

    /// Reads the 32-byte scalar; `None` where it is no key of the curve.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        // The curve's own reader pads short input; a key of another length is a damaged one.
        let exact: &[u8; 32] = bytes.try_into().ok()?;
        SigningKey::from_slice(exact).ok().map(Self)
    }

    /// Returns the 32-byte scalar.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    /// Returns the f1 address of this key.
    pub fn address(&self) -> Address {
        PublicKey(*self.0.verifying_key()).address()
    }

    /// Signs the BLAKE2b-256 hash of `message`, deterministically (RFC 6979).
    pub fn sign(&self, message: &[u8]) -> Signature {
        let (signature, recovery) = self
            .0
            .sign_prehash_recoverable(&blake2b_256(message))
            .expect("a 32-byte hash can always be signed");
        let mut bytes = [0; COMPACT_LEN];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = recovery.to_byte();
        Signature(bytes)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.address())
    }
}

/// A public key, kept where the same signer is checked again and again: cheaper than recovering it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Returns the f1 address of this key.
    pub fn address(&self) -> Address {
        Address::of_public_key(self.0.to_encoded_point(false).as_bytes())
    }

    /// Returns true when `signature` was made by this key over `message`.
    pub fn verifies(&self, signature: &Signature, message: &[u8]) -> bool {
        let Ok((signature, _)) = signature.parts() else {
            return false;
        };
        self.0.verify_prehash(&blake2b_256(message), &signature).is_ok()
    }
}

/// A recoverable secp256k1 signature: `r || s || v`, 65 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; COMPACT_LEN]);

/// Why a signature is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Not a type byte 1 and 65 bytes.
    #[error("signature of {len} bytes is no secp256k1 signature of type 1")]
    Form {
        /// Length of what came.
        len: usize,
    },
    /// No key of the curve makes this signature.
    #[error("signature matches no key")]
    Invalid,
    /// Another key made it.
    #[error("signed by another key, {got}")]
    Signer {
        /// Who signed.
        got: Address,
    },
}

impl Signature {
    /// Reads the wire form: type byte 1 and 65 bytes.
    ///
    /// # Errors
    /// Any other length or type.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignatureError> {
        let form = SignatureError::Form { len: bytes.len() };
        match bytes.split_first() {
            Some((&TYPE_BYTE, compact)) => compact.try_into().map(Self).map_err(|_| form),
            Some(_) | None => Err(form),
        }
    }

    /// Reads the 65 bytes without their type byte, as the JSON form carries them.
    ///
    /// # Errors
    /// Any other length.
    pub fn from_compact(bytes: &[u8]) -> Result<Self, SignatureError> {
        bytes.try_into().map(Self).map_err(|_| SignatureError::Form { len: bytes.len() })
    }

    /// Returns the wire form: type byte and 65 bytes.
    pub fn to_bytes(&self) -> [u8; COMPACT_LEN + 1] {
        let mut bytes = [TYPE_BYTE; COMPACT_LEN + 1];
        bytes[1..].copy_from_slice(&self.0);
        bytes
    }

    /// Returns the 65 bytes `r || s || v`.
    pub fn as_compact(&self) -> &[u8; COMPACT_LEN] {
        &self.0
    }

    /// Returns the key that signed `message`.
    ///
    /// # Errors
    /// The signature is none of this message by any key. High-S forms are refused: they would give one
    /// voucher two encodings.
    pub fn recover(&self, message: &[u8]) -> Result<PublicKey, SignatureError> {
        let (signature, recovery) = self.parts()?;
        VerifyingKey::recover_from_prehash(&blake2b_256(message), &signature, recovery)
            .map(PublicKey)
            .map_err(|_| SignatureError::Invalid)
    }

    /// Checks that `signer` (an f1 address) signed `message`.
    ///
    /// # Errors
    /// The signature is invalid or another's.
    pub fn verify(&self, signer: &Address, message: &[u8]) -> Result<PublicKey, SignatureError> {
        let key = self.recover(message)?;
        let got = key.address();
        match got == *signer {
            true => Ok(key),
            false => Err(SignatureError::Signer { got }),
        }
    }

    fn parts(&self) -> Result<(k256::ecdsa::Signature, RecoveryId), SignatureError> {
        let recovery = RecoveryId::from_byte(self.0[64]).ok_or(SignatureError::Invalid)?;
        let signature =
            k256::ecdsa::Signature::from_slice(&self.0[..64]).map_err(|_| SignatureError::Invalid)?;
        match signature.normalize_s() {
            Some(_) => Err(SignatureError::Invalid),
            None => Ok((signature, recovery)),
        }
    }
}

impl fmt::Debug for Signature {
    // Signatures stay out of logs: whoever reads a log must not be able to redeem a voucher.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(..)")
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Signature;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("66 bytes of a secp256k1 signature")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Signature, E> {
                Signature::from_bytes(bytes).map_err(E::custom)
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_recover_their_signer_and_nobody_else() {
        let key = SecretKey::generate().unwrap();
        let signature = key.sign(b"a message");
        let public = signature.verify(&key.address(), b"a message").unwrap();
        assert!(public.verifies(&signature, b"a message"));
        assert!(!public.verifies(&signature, b"another message"));
        assert!(signature.verify(&key.address(), b"another message").is_err());
        let other = SecretKey::generate().unwrap();
        let refused = Err(SignatureError::Signer { got: key.address() });
        assert_eq!(signature.verify(&other.address(), b"a message"), refused);
    }

    #[test]
    fn wire_form_is_exact() {
        let signature = SecretKey::generate().unwrap().sign(b"x");
        let bytes = signature.to_bytes();
        assert_eq!(Signature::from_bytes(&bytes), Ok(signature));
        let mut doubled = vec![1];
        doubled.extend_from_slice(&bytes);
        assert_eq!(Signature::from_bytes(&doubled), Err(SignatureError::Form { len: 67 }));
        assert!(Signature::from_bytes(&bytes[..65]).is_err());
        assert!(Signature::from_bytes(&[2; 66]).is_err());
    }

    #[test]
    fn secrets_do_not_print() {
        let key = SecretKey::from_bytes(&[7; 32]).unwrap();
        assert!(!format!("{key:?}").contains("0707"));
        assert!(SecretKey::from_bytes(&[0; 32]).is_none());
        assert!(SecretKey::from_bytes(&[1; 31]).is_none());
    }
}
