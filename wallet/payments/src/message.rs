//! Filecoin messages: what an account asks the chain to do.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cid::Cid;
use cid::multihash::Multihash;
use pop_keys::{Address, SecretKey, Signature, SignatureError, blake2b_256};
use pop_units::{AttoFil, Nonce};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::amount::{NegativeAmount, SignedAtto};
use crate::chain::MsgCid;

/// Codec and hash of every chain object.
const DAG_CBOR: u64 = 0x71;
const BLAKE2B_256: u64 = 0xb220;
/// Longest message that is decoded. The largest we send carries one voucher.
const MAX_BYTES: usize = 64 * 1024;

/// Returns the CID of a chain object (DAG-CBOR, BLAKE2b-256).
pub(crate) fn object_cid(bytes: &[u8]) -> Cid {
    let hash = Multihash::wrap(BLAKE2B_256, &blake2b_256(bytes)).expect("32 bytes fit a multihash");
    Cid::new_v1(DAG_CBOR, hash)
}

/// An unsigned message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who receives it.
    pub to: Address,
    /// Who sends and pays for it.
    pub from: Address,
    /// The sender's count of messages before this one.
    pub nonce: Nonce,
    /// Money that goes along.
    pub value: AttoFil,
    /// Gas it may use.
    pub gas_limit: u64,
    /// Highest price of one gas unit, tip included.
    pub fee_cap: AttoFil,
    /// Tip for each gas unit.
    pub premium: AttoFil,
    /// Method of the receiver; 0 just sends.
    pub method: u64,
    /// CBOR parameters of the method.
    pub params: Vec<u8>,
}

/// A message with its sender's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedMessage {
    /// The message.
    pub message: Message,
    /// The signature over its CID.
    pub signature: Signature,
}

/// Why bytes or JSON are no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Too long to be one.
    #[error("message of {0} bytes is longer than any we know")]
    TooLong(usize),
    /// No CBOR of this shape.
    #[error("message does not decode")]
    Decode(#[from] fvm_ipld_encoding::Error),
    /// It decodes, but was not written canonically.
    #[error("message bytes are not canonical")]
    NotCanonical,
    /// Only version 0 exists.
    #[error("message version {0} is unknown")]
    Version(u64),
    /// Value and fees are never negative.
    #[error(transparent)]
    Negative(#[from] NegativeAmount),
    /// The signature is of another kind or length.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The JSON form lacks a field or has a wrong one.
    #[error("message JSON: field {0}")]
    Json(&'static str),
}

/// The ten CBOR fields, in order.
#[derive(Serialize, Deserialize)]
struct Tuple(
    u64,
    Address,
    Address,
    Nonce,
    SignedAtto,
    u64,
    SignedAtto,
    SignedAtto,
    u64,
    #[serde(with = "serde_bytes")] Vec<u8>,
);

#[derive(Serialize, Deserialize)]
struct SignedTuple(Tuple, #[serde(with = "serde_bytes")] Vec<u8>);

impl Message {
    /// Returns a message without gas fields, to be estimated and given a nonce.
    pub fn new(from: Address, to: Address, value: AttoFil, method: u64, params: Vec<u8>) -> Self {
        let zero = AttoFil::ZERO;
        Self {
            to,
            from,
            nonce: Nonce::new(0),
            value,
            gas_limit: 0,
            fee_cap: zero,
            premium: zero,
            method,
            params,
        }
    }

    /// Returns the canonical CBOR bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(&self.tuple())
    }

    /// Reads canonical CBOR bytes.
    ///
    /// # Errors
    /// The bytes are no message, or not written canonically.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
        let message = Self::of_tuple(decode(bytes)?)?;
        canonical(message.to_bytes() == bytes, message)
    }

    /// Returns the CID of the unsigned message: what is signed.
    pub fn cid(&self) -> Cid {
        object_cid(&self.to_bytes())
    }

    /// Signs the message.
    pub fn sign(self, key: &SecretKey) -> SignedMessage {
        self.sign_with(|bytes| key.sign(bytes))
    }

    /// Signs the message through `signer`, which gets the bytes to sign.
    pub fn sign_with(self, signer: impl FnOnce(&[u8]) -> Signature) -> SignedMessage {
        let signature = signer(&self.cid().to_bytes());
        SignedMessage { message: self, signature }
    }

    /// Returns the most that gas can cost: limit times fee cap; `None` where that does not fit.
    pub fn max_fee(&self) -> Option<AttoFil> {
        self.fee_cap.get().checked_mul(u128::from(self.gas_limit)).map(AttoFil::new)
    }

    /// Returns the JSON form of Lotus.
    pub fn to_json(&self) -> Value {
        json!({
            "Version": 0,
            "To": self.to.to_string(),
            "From": self.from.to_string(),
            "Nonce": self.nonce.get(),
            "Value": self.value.to_atto_string(),
            "GasLimit": self.gas_limit,
            "GasFeeCap": self.fee_cap.to_atto_string(),
            "GasPremium": self.premium.to_atto_string(),
            "Method": self.method,
            "Params": BASE64.encode(&self.params),
            "CID": { "/": self.cid().to_string() },
        })
    }

    /// Reads the JSON form of Lotus. Absent numbers are zero, as Lotus reads them; a CID in it is ignored.
    ///
    /// # Errors
    /// A field is missing or no value of its kind.
    pub fn from_json(json: &Value) -> Result<Self, MessageError> {
        if number(json, "Version")? != 0 {
            return Err(MessageError::Version(number(json, "Version")?));
        }
        let params = match json.get("Params") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(text)) => BASE64.decode(text).map_err(|_| MessageError::Json("Params"))?,
            Some(_) => return Err(MessageError::Json("Params")),
        };
        Ok(Self {
            to: address(json, "To")?,
            from: address(json, "From")?,
            nonce: Nonce::new(number(json, "Nonce")?),
            value: amount(json, "Value")?,
            gas_limit: number(json, "GasLimit")?,
            fee_cap: amount(json, "GasFeeCap")?,
            premium: amount(json, "GasPremium")?,
            method: number(json, "Method")?,
            params,
        })
    }

    fn tuple(&self) -> Tuple {
        Tuple(
            0,
            self.to,
            self.from,
            self.nonce,
            self.value.into(),
            self.gas_limit,
            self.fee_cap.into(),
            self.premium.into(),
            self.method,
            self.params.clone(),
        )
    }

    fn of_tuple(tuple: Tuple) -> Result<Self, MessageError> {
        let Tuple(version, to, from, nonce, value, gas_limit, fee_cap, premium, method, params) = tuple;
        if version != 0 {
            return Err(MessageError::Version(version));
        }
        let (value, fee_cap, premium) = (value.try_into()?, fee_cap.try_into()?, premium.try_into()?);
        Ok(Self { to, from, nonce, value, gas_limit, fee_cap, premium, method, params })
    }
}

impl SignedMessage {
    /// Returns the canonical CBOR bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(&SignedTuple(self.message.tuple(), self.signature.to_bytes().to_vec()))
    }

    /// Reads canonical CBOR bytes.
    ///
    /// # Errors
    /// The bytes are no signed message, or not written canonically.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
        let SignedTuple(tuple, signature) = decode(bytes)?;
        let message = Message::of_tuple(tuple)?;
        let signed = Self { message, signature: Signature::from_bytes(&signature)? };
        canonical(signed.to_bytes() == bytes, signed)
    }

    /// Returns the CID under which the message stands on chain.
    pub fn cid(&self) -> MsgCid {
        MsgCid::new(object_cid(&self.to_bytes()))
    }

    /// Checks that `signer`, the key address of the sender, signed.
    ///
    /// # Errors
    /// The signature is invalid or another's.
    pub fn verify(&self, signer: &Address) -> Result<(), SignatureError> {
        self.signature.verify(signer, &self.message.cid().to_bytes()).map(drop)
    }

    /// Returns the JSON form of Lotus.
    pub fn to_json(&self) -> Value {
        json!({
            "Message": self.message.to_json(),
            "Signature": { "Type": 1, "Data": BASE64.encode(self.signature.as_compact()) },
            "CID": { "/": self.cid().to_string() },
        })
    }

    /// Reads the JSON form of Lotus.
    ///
    /// # Errors
    /// A field is missing or no value of its kind.
    pub fn from_json(json: &Value) -> Result<Self, MessageError> {
        let message = Message::from_json(json.get("Message").ok_or(MessageError::Json("Message"))?)?;
        let signature = json.get("Signature").ok_or(MessageError::Json("Signature"))?;
        if number(signature, "Type")? != 1 {
            return Err(MessageError::Json("Type"));
        }
        let data = signature.get("Data").and_then(Value::as_str).ok_or(MessageError::Json("Data"))?;
        let data = BASE64.decode(data).map_err(|_| MessageError::Json("Data"))?;
        Ok(Self { message, signature: Signature::from_compact(&data)? })
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    fvm_ipld_encoding::to_vec(value).expect("plain tuples always encode")
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, MessageError> {
    match bytes.len() {
        len if len > MAX_BYTES => Err(MessageError::TooLong(len)),
        _ => Ok(fvm_ipld_encoding::from_slice(bytes)?),
    }
}

fn canonical<T>(same: bool, value: T) -> Result<T, MessageError> {
    match same {
        true => Ok(value),
        false => Err(MessageError::NotCanonical),
    }
}

fn address(json: &Value, field: &'static str) -> Result<Address, MessageError> {
    let text = json.get(field).and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).ok_or(MessageError::Json(field))
}

fn number(json: &Value, field: &'static str) -> Result<u64, MessageError> {
    match json.get(field) {
        None => Ok(0),
        Some(value) => value.as_u64().ok_or(MessageError::Json(field)),
    }
}

fn amount(json: &Value, field: &'static str) -> Result<AttoFil, MessageError> {
    match json.get(field) {
        None => Ok(AttoFil::ZERO),
        Some(value) => AttoFil::deserialize(value).map_err(|_| MessageError::Json(field)),
    }
}

#[cfg(test)]
mod tests;
