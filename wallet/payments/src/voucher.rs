//! Signed vouchers: what a payer hands over, cumulative on each lane.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pop_keys::{Address, PublicKey, SecretKey, Signature, SignatureError};
use pop_units::{AttoFil, ChainEpoch, Lane, Nonce};

use crate::amount::NegativeAmount;
use crate::paych::{ExtraCall, Merge, RawVoucher, encode};

/// Longest voucher that is read; a plain one has 103 bytes.
pub const MAX_VOUCHER: usize = 512;

/// A promise of `amount` in total on one lane of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// The channel.
    pub channel: Address,
    /// Not valid before this epoch.
    pub time_lock_min: ChainEpoch,
    /// Not valid after this epoch; zero for ever.
    pub time_lock_max: ChainEpoch,
    /// Hash of a secret that must be shown; empty for none.
    pub secret_hash: Vec<u8>,
    /// A call that must succeed.
    pub extra: Option<ExtraCall>,
    /// The lane.
    pub lane: Lane,
    /// Order on the lane.
    pub nonce: Nonce,
    /// Cumulative amount on the lane.
    pub amount: AttoFil,
    /// Settling lasts at least until here.
    pub min_settle_height: ChainEpoch,
    /// Lanes taken over.
    pub merges: Vec<Merge>,
    /// The payer's signature.
    pub signature: Option<Signature>,
}

/// Why bytes or text are no acceptable voucher.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VoucherError {
    /// Longer than any voucher we could be asked to take.
    #[error("voucher of {0} bytes is longer than {MAX_VOUCHER}")]
    TooLong(usize),
    /// No CBOR of eleven such fields.
    #[error("voucher does not decode")]
    Decode(#[source] fvm_ipld_encoding::Error),
    /// It decodes, but was not written canonically.
    #[error("voucher bytes are not canonical")]
    NotCanonical,
    /// The amount is below zero.
    #[error(transparent)]
    Negative(#[from] NegativeAmount),
    /// The signature is of another kind or length, or nobody's.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// There is no signature.
    #[error("voucher is not signed")]
    Unsigned,
    /// The text is no base64 of either alphabet.
    #[error("voucher text is no base64")]
    Text,
}

impl Voucher {
    /// Returns a plain, unsigned voucher without locks or merges.
    pub fn new(channel: Address, lane: Lane, nonce: Nonce, amount: AttoFil) -> Self {
        Self {
            channel,
            time_lock_min: ChainEpoch::new(0),
            time_lock_max: ChainEpoch::new(0),
            secret_hash: Vec::new(),
            extra: None,
            lane,
            nonce,
            amount,
            min_settle_height: ChainEpoch::new(0),
            merges: Vec::new(),
            signature: None,
        }
    }

    /// Reads canonical CBOR bytes.
    ///
    /// # Errors
    /// The bytes are no voucher, too long, or not written canonically.
    pub fn decode(bytes: &[u8]) -> Result<Self, VoucherError> {
        if bytes.len() > MAX_VOUCHER {
            return Err(VoucherError::TooLong(bytes.len()));
        }
        let raw: RawVoucher = fvm_ipld_encoding::from_slice(bytes).map_err(VoucherError::Decode)?;
        match encode(&raw) == bytes {
            true => raw.try_into(),
            false => Err(VoucherError::NotCanonical),
        }
    }

    /// Returns the canonical CBOR bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(&RawVoucher::from(self))
    }

    /// Returns what the payer signs: the voucher without its signature.
    pub fn signing_bytes(&self) -> Vec<u8> {
        RawVoucher::from(self).signing_bytes()
    }

    /// Signs the voucher.
    #[must_use]
    pub fn sign(self, key: &SecretKey) -> Self {
        let signature = Some(key.sign(&self.signing_bytes()));
        Self { signature, ..self }
    }

    /// Returns the key that signed.
    ///
    /// # Errors
    /// Nobody did, or the signature is invalid.
    pub fn signer(&self) -> Result<PublicKey, VoucherError> {
        let signature = self.signature.ok_or(VoucherError::Unsigned)?;
        Ok(signature.recover(&self.signing_bytes())?)
    }
}

impl From<&Voucher> for RawVoucher {
    fn from(voucher: &Voucher) -> Self {
        Self {
            channel: voucher.channel,
            time_lock_min: voucher.time_lock_min,
            time_lock_max: voucher.time_lock_max,
            secret_hash: voucher.secret_hash.clone(),
            extra: voucher.extra.clone(),
            lane: voucher.lane,
            nonce: voucher.nonce,
            amount: voucher.amount.into(),
            min_settle_height: voucher.min_settle_height,
            merges: voucher.merges.clone(),
            signature: voucher.signature.map(|signature| signature.to_bytes().to_vec()),
        }
    }
}

impl TryFrom<RawVoucher> for Voucher {
    type Error = VoucherError;

    fn try_from(raw: RawVoucher) -> Result<Self, VoucherError> {
        Ok(Self {
            channel: raw.channel,
            time_lock_min: raw.time_lock_min,
            time_lock_max: raw.time_lock_max,
            secret_hash: raw.secret_hash,
            extra: raw.extra,
            lane: raw.lane,
            nonce: raw.nonce,
            amount: raw.amount.try_into()?,
            min_settle_height: raw.min_settle_height,
            merges: raw.merges,
            signature: raw.signature.map(|bytes| Signature::from_bytes(&bytes)).transpose()?,
        })
    }
}

impl FromStr for Voucher {
    type Err = VoucherError;

    /// Reads unpadded base64url (lotus) or padded standard base64 (Zondax).
    fn from_str(text: &str) -> Result<Self, VoucherError> {
        // Four characters carry three bytes: longer text cannot hold a voucher.
        if text.len() > MAX_VOUCHER * 4 / 3 + 4 {
            return Err(VoucherError::TooLong(text.len() / 4 * 3));
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).or_else(|_| STANDARD.decode(text));
        Self::decode(&bytes.map_err(|_| VoucherError::Text)?)
    }
}

impl fmt::Display for Voucher {
    /// Writes unpadded base64url, as the lotus command line does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.encode()))
    }
}

#[cfg(test)]
mod tests;
