//! Identifiers and secrets of fixed length, and the byte form of a peer id.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! fixed {
    ($(#[$doc:meta])* $name:ident($len:literal)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(#[serde(with = "serde_bytes")] [u8; $len]);

        impl $name {
            /// Wraps the bytes.
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Returns the bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }
    };
}

fixed! {
    /// The name of one query, drawn at random by the asker: two equal questions are two requests.
    RequestId(16)
}
fixed! {
    /// The name of one deal, drawn at random by the client.
    DealId(16)
}
fixed! {
    /// A one-use authorisation to pull a root free of charge.
    Token(32)
}
fixed! {
    /// The key of a proof of possession, fresh for each request.
    ProofKey(32)
}

macro_rules! shown_in_hex {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
shown_in_hex!(RequestId, DealId);

macro_rules! never_shown {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}
never_shown!(Token, ProofKey);

/// The byte form of a peer id.
pub(crate) mod peer {
    use libp2p_identity::PeerId;
    use serde::{Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(peer: &PeerId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&peer.to_bytes())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PeerId, D::Error> {
        let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
        PeerId::from_bytes(&bytes).map_err(D::Error::custom)
    }
}
