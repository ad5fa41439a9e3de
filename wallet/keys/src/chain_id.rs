//! Which chain a key, an offer or a channel belongs to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest network name that is read: real ones are far shorter, and offers carry it.
const MAX_NAME: usize = 32;

/// The name of one chain: `local:` and 8 hex digits for embedded books, `fil:` and a network name otherwise.
///
/// Filecoin messages and vouchers carry no network id, so this name is what keeps a play voucher from being
/// redeemed for real money: keys, offers and channels are all bound to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(String);

impl ChainId {
    /// Returns the id of an embedded chain, from its genesis hash.
    pub fn local(genesis: &[u8; 32]) -> Self {
        Self(format!("local:{}", hex::encode(&genesis[..4])))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true where the money is real.
    pub fn is_real(&self) -> bool {
        self.0.starts_with("fil:")
    }
}

/// Text that names no chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no chain id; want local: and 8 hex digits, or fil: and a network name")]
pub struct ChainIdError(String);

impl FromStr for ChainId {
    type Err = ChainIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let name_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let good = match text.split_once(':') {
            Some(("local", hash)) => hash.len() == 8 && hash.bytes().all(hex_digit),
            Some(("fil", name)) => (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(name_byte),
            Some(_) | None => false,
        };
        match good {
            true => Ok(Self(text.to_owned())),
            false => Err(ChainIdError(text.chars().take(2 * MAX_NAME).collect())),
        }
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ChainId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ChainId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_names_are_chains() {
        for text in ["local:0011aabb", "fil:mainnet", "fil:calibrationnet"] {
            assert_eq!(text.parse::<ChainId>().unwrap().as_str(), text);
        }
        for text in ["", "local:", "local:0011AABB", "local:0011aab", "fil:", "fil:Main", "eth:1", "mainnet"]
        {
            assert!(text.parse::<ChainId>().is_err(), "{text}");
        }
        assert_eq!(ChainId::local(&[0xab; 32]).as_str(), "local:abababab");
        assert!(!ChainId::local(&[0xab; 32]).is_real());
    }
}
