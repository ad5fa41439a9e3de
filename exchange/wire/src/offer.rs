//! A provider's promise, signed: this content, at this price, until then.

use cid::Cid;
use libp2p_identity::{Keypair, PeerId, PublicKey};
use pop_dag::Scope;
use pop_keys::Address;
use pop_units::{Bytes, PricePerByte};
use serde::{Deserialize, Serialize};

use crate::query::{Query, check_chain, check_scope};
use crate::{RequestId, WireError, limit};

/// Comes before the signed bytes, so that the signature means nothing in any other protocol.
const DOMAIN: &[u8] = b"/pop/offer/1.0.0 signature\n";

/// What a provider promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The query that this answers.
    pub req_id: RequestId,
    /// The content's root.
    pub root: Cid,
    /// Which part of it.
    pub scope: Scope,
    /// Payload bytes of the blocks in scope, each counted once.
    pub size: Bytes,
    /// The price.
    pub price: PricePerByte,
    /// The first interval between payments.
    pub interval: Bytes,
    /// The interval doubles with each full payment up to this.
    pub interval_max: Bytes,
    /// Who is paid; nobody when the price is zero.
    pub payee: Option<Address>,
    /// The chain of `payee`.
    pub chain: String,
    /// Who promises.
    #[serde(with = "crate::id::peer")]
    pub provider: PeerId,
    /// Seconds since 1970 after which the promise is void.
    pub expiry: u64,
}

impl Offer {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// A list or text over its limit, an interval outside the protocol's, or a price without a payee.
    pub fn check(&self) -> Result<(), WireError> {
        check_chain(&self.chain)?;
        check_scope(&self.scope)?;
        let allowed = limit::INTERVAL_MIN..=limit::INTERVAL_MAX;
        if !allowed.contains(&self.interval)
            || !allowed.contains(&self.interval_max)
            || self.interval > self.interval_max
        {
            return Err(WireError::Impossible("payment interval is outside 1 MiB to 16 MiB"));
        }
        if !self.price.is_free() && self.payee.is_none() {
            return Err(WireError::Impossible("a price without a payee"));
        }
        Ok(())
    }

    fn signed_bytes(&self) -> Result<Vec<u8>, WireError> {
        let body = serde_ipld_dagcbor::to_vec(self).map_err(|e| WireError::Malformed(e.to_string()))?;
        Ok([DOMAIN, &body].concat())
    }
}

/// An offer with the provider's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedOffer {
    /// What is promised.
    pub offer: Offer,
    /// By the provider's peer key, over the domain and the canonical DAG-CBOR of `offer`.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// Why a signed offer is not the promise of who it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The offer itself is not allowed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The peer id does not hold its public key, so nothing can be checked without asking others.
    #[error("peer id {0} does not hold a public key")]
    NoKey(PeerId),
    /// The signature is not the provider's.
    #[error("signature is not of {0}")]
    Forged(PeerId),
    /// The signing key is not the provider's.
    #[error("key does not belong to {0}")]
    NotOurs(PeerId),
}

impl SignedOffer {
    /// Signs `offer` with the provider's key.
    ///
    /// # Errors
    /// The offer is not allowed, or names another provider.
    pub fn sign(offer: Offer, key: &Keypair) -> Result<Self, SignatureError> {
        offer.check()?;
        if key.public().to_peer_id() != offer.provider {
            return Err(SignatureError::NotOurs(offer.provider));
        }
        let bytes = offer.signed_bytes()?;
        let signature = key.sign(&bytes).map_err(|_| SignatureError::NotOurs(offer.provider))?;
        Ok(Self { offer, signature })
    }

    /// Checks limits and signature.
    ///
    /// # Errors
    /// The offer is not allowed, or not signed by its provider.
    pub fn verify(&self) -> Result<(), SignatureError> {
        self.offer.check()?;
        let provider = self.offer.provider;
        let hash = provider.as_ref();
        // Code 0 is the identity hash: the peer id is the key itself.
        if hash.code() != 0 {
            return Err(SignatureError::NoKey(provider));
        }
        let key =
            PublicKey::try_decode_protobuf(hash.digest()).map_err(|_| SignatureError::NoKey(provider))?;
        if !key.verify(&self.offer.signed_bytes()?, &self.signature) {
            return Err(SignatureError::Forged(provider));
        }
        Ok(())
    }
}

/// The control frames of [`crate::OFFER`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Talk {
    /// A question put to one peer; it answers on the same stream.
    Ask(Box<Query>),
    /// An answer: first frame of a stream that the provider opens, or the reply to `Ask`.
    Offer(Box<SignedOffer>),
    /// The reply to `Ask` of a peer that does not have it, or not on these terms.
    NotHere {
        /// The question.
        req_id: RequestId,
    },
}
