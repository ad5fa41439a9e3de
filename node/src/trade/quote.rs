//! What content would cost that was not bought.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use pop_dag::Cid;
use pop_keys::Address;
use pop_units::{AttoFil, Bytes, PricePerByte};
use pop_wire::offer::Offer;

use super::shared::Shared;

/// Addresses of a provider that are told.
const ADDRESSES: usize = 8;

/// The cheapest offer that costs more than may be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The root.
    pub root: Cid,
    /// Payload bytes of what was asked for.
    pub size: Bytes,
    /// What one costs.
    pub price: PricePerByte,
    /// What all of them cost.
    pub cost: AttoFil,
    /// Where the provider is: addresses that end in its peer id.
    pub providers: Vec<Multiaddr>,
    /// Who is paid.
    pub payee: Option<Address>,
    /// On which chain.
    pub chain: String,
    /// Seconds since 1970 after which the offer is void.
    pub expiry: u64,
}

impl Quote {
    /// Returns the cheaper of two offers.
    pub(super) fn cheaper(one: Option<Box<Offer>>, other: Box<Offer>) -> Box<Offer> {
        match one {
            Some(one) if one.price <= other.price => one,
            Some(_) | None => other,
        }
    }

    /// Adds to an offer where its provider is.
    pub(super) async fn of(shared: &Shared, offer: Option<Box<Offer>>) -> Option<Box<Self>> {
        let offer = offer?;
        let peers = shared.net.peers().await.unwrap_or_default();
        let known = peers.into_iter().find(|known| known.peer == offer.provider);
        let mut providers: Vec<Multiaddr> = known.map(|known| known.addresses).unwrap_or_default();
        providers.truncate(ADDRESSES);
        let named = Protocol::P2p(offer.provider);
        for address in &mut providers {
            if address.iter().last() != Some(named.clone()) {
                address.push(named.clone());
            }
        }
        if providers.is_empty() {
            providers.push(Multiaddr::empty().with(named));
        }
        Some(Box::new(Self {
            root: offer.root,
            size: offer.size,
            price: offer.price,
            cost: offer.price.cost_of(offer.size).ok()?,
            providers,
            payee: offer.payee,
            chain: offer.chain,
            expiry: offer.expiry,
        }))
    }
}
