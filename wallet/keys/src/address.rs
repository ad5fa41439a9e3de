//! Filecoin addresses: five protocols, one byte form, one text form.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Payload of f1 and f2: a BLAKE2b-160 hash.
const HASH_LEN: usize = 20;
/// Payload of f3: a compressed BLS public key.
const BLS_LEN: usize = 48;
/// Longest sub-address of f4, by the Filecoin specification.
const MAX_SUB: usize = 54;
/// Protocol byte, a namespace of at most 9 bytes (63 bits), the longest sub-address.
const MAX_BYTES: usize = 1 + 9 + MAX_SUB;
const CHECKSUM_LEN: usize = 4;
/// Longest text form: the longest f4 (20 digits of namespace, 58 bytes in base32) stays below.
const MAX_TEXT: usize = 128;

/// The kind of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// f0: the number of an actor.
    Id,
    /// f1: the hash of a secp256k1 public key.
    Secp256k1,
    /// f2: the hash that an actor was created under.
    Actor,
    /// f3: a BLS public key.
    Bls,
    /// f4: an address in another actor's namespace.
    Delegated,
}

impl Protocol {
    const fn byte(self) -> u8 {
        match self {
            Self::Id => 0,
            Self::Secp256k1 => 1,
            Self::Actor => 2,
            Self::Bls => 3,
            Self::Delegated => 4,
        }
    }

    const fn of_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Id),
            1 => Some(Self::Secp256k1),
            2 => Some(Self::Actor),
            3 => Some(Self::Bls),
            4 => Some(Self::Delegated),
            _ => None,
        }
    }
}

/// A Filecoin address, kept in its canonical byte form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    // Unused bytes stay zero, so that comparing and hashing the whole array is comparing addresses.
    bytes: [u8; MAX_BYTES],
    len: u8,
}

/// What is wrong with the text or bytes of an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text has no network prefix, no protocol digit, or foreign characters.
    #[error("{0:?} is no Filecoin address")]
    Syntax(String),
    /// The checksum belongs to another address: a typing error.
    #[error("{0:?} has a wrong checksum")]
    Checksum(String),
    /// The protocol byte is unknown.
    #[error("address protocol {0} is unknown")]
    Protocol(u8),
    /// The payload has the wrong length for its protocol.
    #[error("address payload of {0} bytes does not fit its protocol")]
    Length(usize),
    /// A number is not minimally encoded or above 2^63 - 1.
    #[error("address number is not canonical")]
    Number,
}

impl Address {
    /// Returns the address of actor number `id`.
    ///
    /// # Errors
    /// `id` is above 2^63 - 1.
    pub fn new_id(id: u64) -> Result<Self, AddressError> {
        if i64::try_from(id).is_err() {
            return Err(AddressError::Number);
        }
        let mut payload = Vec::with_capacity(9);
        write_varint(id, &mut payload);
        Self::join(Protocol::Id, &payload)
    }

    /// Returns the f1 address of an uncompressed secp256k1 public key (65 bytes).
    pub fn of_public_key(uncompressed: &[u8]) -> Self {
        Self::of_hashed(Protocol::Secp256k1, uncompressed)
    }

    /// Returns the f2 address of an actor created under `seed`.
    pub fn of_actor_seed(seed: &[u8]) -> Self {
        Self::of_hashed(Protocol::Actor, seed)
    }

    /// Reads the byte form.
    ///
    /// # Errors
    /// The bytes are no canonical address.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AddressError> {
        let (&protocol, payload) = bytes.split_first().ok_or(AddressError::Length(0))?;
        let protocol = Protocol::of_byte(protocol).ok_or(AddressError::Protocol(protocol))?;
        Self::join(protocol, payload)
    }

    /// Returns the byte form: the protocol byte and the payload.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }

    /// Returns a copy of the byte form.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    /// Returns the kind of address.
    pub fn protocol(&self) -> Protocol {
        Protocol::of_byte(self.bytes[0]).expect("constructors admit known protocols only")
    }

    /// Returns the bytes after the protocol byte.
    pub fn payload(&self) -> &[u8] {
        self.as_bytes().split_first().map_or(&[], |(_, payload)| payload)
    }

    /// Returns the actor's number where this is an f0 address.
    pub fn id(&self) -> Option<u64> {
        match self.protocol() {
            Protocol::Id => read_varint(self.payload()).map(|(id, _)| id),
            Protocol::Secp256k1 | Protocol::Actor | Protocol::Bls | Protocol::Delegated => None,
        }
    }

    /// Returns the text form with the prefix of test networks.
    pub fn to_testnet_string(&self) -> String {
        self.to_text('t')
    }

    fn of_hashed(protocol: Protocol, input: &[u8]) -> Self {
        Self::join(protocol, &blake2b(input, HASH_LEN)).expect("the hash has the length of these protocols")
    }

    fn join(protocol: Protocol, payload: &[u8]) -> Result<Self, AddressError> {
        let wrong = AddressError::Length(payload.len());
        match protocol {
            Protocol::Id => match read_varint(payload) {
                Some((_, [])) => {}
                Some(_) | None => return Err(AddressError::Number),
            },
            Protocol::Secp256k1 | Protocol::Actor if payload.len() != HASH_LEN => return Err(wrong),
            Protocol::Bls if payload.len() != BLS_LEN => return Err(wrong),
            Protocol::Delegated => match read_varint(payload) {
                Some((_, sub)) if sub.len() > MAX_SUB => return Err(wrong),
                Some(_) => {}
                None => return Err(AddressError::Number),
            },
            Protocol::Secp256k1 | Protocol::Actor | Protocol::Bls => {}
        }
        let mut bytes = [0; MAX_BYTES];
        bytes[0] = protocol.byte();
        bytes.get_mut(1..=payload.len()).ok_or(wrong.clone())?.copy_from_slice(payload);
        Ok(Self { bytes, len: u8::try_from(payload.len() + 1).map_err(|_| wrong)? })
    }

    fn to_text(self, prefix: char) -> String {
        let digit = self.protocol().byte();
        match self.protocol() {
            Protocol::Id => format!("{prefix}{digit}{}", self.id().unwrap_or_default()),
            Protocol::Secp256k1 | Protocol::Actor | Protocol::Bls => {
                format!("{prefix}{digit}{}", self.checked_base32(self.payload()))
            }
            Protocol::Delegated => {
                let (namespace, sub) = read_varint(self.payload()).unwrap_or_default();
                format!("{prefix}{digit}{namespace}f{}", self.checked_base32(sub))
            }
        }
    }

    fn checked_base32(&self, body: &[u8]) -> String {
        let mut with_sum = body.to_vec();
        with_sum.extend_from_slice(&blake2b(self.as_bytes(), CHECKSUM_LEN));
        BASE32_NOPAD.encode(&with_sum).to_ascii_lowercase()
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || AddressError::Syntax(text.chars().take(MAX_TEXT).collect());
        if text.len() > MAX_TEXT || !text.is_ascii() {
            return Err(fail());
        }
        let rest = text.strip_prefix(['f', 't']).ok_or_else(fail)?;
        let (digit, body) = rest.split_at_checked(1).ok_or_else(fail)?;
        let digit: u8 = digit.parse().map_err(|_| fail())?;
        let protocol = Protocol::of_byte(digit).ok_or(AddressError::Protocol(digit))?;
        let (mut payload, encoded) = match protocol {
            Protocol::Id => return Self::new_id(read_decimal(body).ok_or_else(fail)?),
            Protocol::Secp256k1 | Protocol::Actor | Protocol::Bls => (Vec::new(), body),
            Protocol::Delegated => {
                let (namespace, sub) = body.split_once('f').ok_or_else(fail)?;
                let mut payload = Vec::new();
                write_varint(read_decimal(namespace).ok_or_else(fail)?, &mut payload);
                (payload, sub)
            }
        };
        if encoded.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(fail());
        }
        let decoded = BASE32_NOPAD.decode(encoded.to_ascii_uppercase().as_bytes()).map_err(|_| fail())?;
        let (body, checksum) = decoded.split_last_chunk::<CHECKSUM_LEN>().ok_or_else(fail)?;
        payload.extend_from_slice(body);
        let address = Self::join(protocol, &payload)?;
        match blake2b(address.as_bytes(), CHECKSUM_LEN) == checksum {
            true => Ok(address),
            false => Err(AddressError::Checksum(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text('f'))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => serializer.serialize_bytes(self.as_bytes()),
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_str(Visitor),
            false => deserializer.deserialize_bytes(Visitor),
        }
    }
}

struct Visitor;

impl serde::de::Visitor<'_> for Visitor {
    type Value = Address;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Filecoin address")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Address, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Address, E> {
        Address::from_bytes(bytes).map_err(E::custom)
    }
}

fn blake2b(input: &[u8], len: usize) -> Vec<u8> {
    blake2b_simd::Params::new().hash_length(len).hash(input).as_bytes().to_vec()
}

/// Reads a plain decimal below 2^63 without leading zeros.
fn read_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number: i64 = (canonical && digits).then(|| text.parse().ok())??;
    u64::try_from(number).ok()
}

fn write_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(0x80 | (number & 0x7f).to_le_bytes()[0]);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Reads a minimal LEB128 number below 2^63; returns it with the rest.
fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    for (i, &byte) in bytes.iter().take(9).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let minimal = byte != 0 || i == 0;
            return minimal.then_some((number, bytes.get(i + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn published_addresses_round_trip() {
        let texts = [
            "f00",
            "f01",
            "f01010",
            "f09223372036854775807",
            "f1m75ifn664mo4hlp6hs2y4ouoetvhc4h3eh5rmhi",
            "f24acjqhdetck7irsvmn2p6jpuwnouzjxuoa22rva",
            "f3vvmn62lofvhjd2ugzca6sof2j2ubwok6cj4xxbfzz4yuxfkgobpihhd2thlanmsh3w2ptld2gqkn2jvlss4a",
            "f410feot7hrogmplrcupubsdbbqarkdewmb4vkwc5qqq",
        ];
        for text in texts {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            let test_form = text.replacen('f', "t", 1);
            assert_eq!(address.to_testnet_string(), test_form);
            assert_eq!(test_form.parse(), Ok(address));
            assert_eq!(Address::from_bytes(address.as_bytes()), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let texts = [
            "",
            "f",
            "f0",
            "f0-1",
            "f001",
            "f09223372036854775808",
            "x01",
            "f5aaaa",
            "f1m75ifn664mo4hlp6hs2y4ouoetvhc4h3eh5rmhj",
            "f1M75IFN664MO4HLP6HS2Y4OUOETVHC4H3EH5RMHI",
            "f1m75ifn664mo4hlp6hs2y4ouoetvhc4h3eh5rm",
            "f2m75ifn664mo4hlp6hs2y4ouoetvhc4h3eh5rmhi",
            "f410eot7hrogmplrcupubsdbbqarkdewmb4vkwc5qqq",
        ];
        for text in texts {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        for bytes in [&[][..], &[0], &[0, 0x80, 0], &[0, 0x80], &[1, 2, 3], &[9, 1], &[0, 1, 1]] {
            assert!(Address::from_bytes(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn ids_round_trip(id in 0..=u64::MAX >> 1) {
            let address = Address::new_id(id).unwrap();
            prop_assert_eq!(address.id(), Some(id));
            prop_assert_eq!(address.to_string().parse(), Ok(address));
            prop_assert_eq!(Address::from_bytes(address.as_bytes()), Ok(address));
        }

        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in ".{0,80}") {
            if let Ok(address) = Address::from_bytes(&bytes) {
                prop_assert_eq!(address.as_bytes(), &bytes[..]);
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
            let _ = text.parse::<Address>();
        }
    }
}
