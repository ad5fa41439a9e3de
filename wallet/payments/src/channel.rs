//! A payment channel as the chain shows it.

use std::collections::BTreeMap;

use pop_keys::Address;
use pop_units::{AttoFil, ChainEpoch, Lane, Nonce};

/// What the chain holds of one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneState {
    /// Cumulative amount of the best submitted voucher.
    pub redeemed: AttoFil,
    /// Its nonce.
    pub nonce: Nonce,
}

/// The state of a payment channel on chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelState {
    /// Who pays (f0).
    pub from: Address,
    /// Who is paid (f0).
    pub to: Address,
    /// What `to` gets at collection.
    pub to_send: AttoFil,
    /// From this epoch on the channel can be collected; zero while nobody settles.
    pub settling_at: ChainEpoch,
    /// Settling lasts at least until here.
    pub min_settle_height: ChainEpoch,
    /// All the money in the channel.
    pub balance: AttoFil,
    /// Lanes that saw a voucher on chain.
    pub lanes: BTreeMap<Lane, LaneState>,
}

/// Returns the f2 address of the actor that the `created`-th creation of `origin`'s message `nonce` makes.
///
/// Filecoin derives it from key and nonce only, so the same key would get the same channels on every chain
/// and a play voucher could be redeemed for real money; an embedded chain therefore mixes in its genesis
/// hash as `chain_salt`.
pub fn predict_channel_address(
    chain_salt: Option<&[u8; 32]>,
    origin: &Address,
    nonce: Nonce,
    created: u64,
) -> Address {
    let mut seed = chain_salt.map(|salt| salt.to_vec()).unwrap_or_default();
    // CBOR byte string of the origin's address: major type 2, every key address is 21 or 49 bytes long.
    let origin = origin.as_bytes();
    let len = u8::try_from(origin.len()).expect("addresses are shorter than 256 bytes");
    match len {
        0..=23 => seed.push(0x40 | len),
        24.. => seed.extend_from_slice(&[0x58, len]),
    }
    seed.extend_from_slice(origin);
    seed.extend_from_slice(&nonce.get().to_be_bytes());
    seed.extend_from_slice(&created.to_be_bytes());
    Address::of_actor_seed(&seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_predictions_hold_and_a_salt_changes_them() {
        let origin: Address = "t1d2xrzcslx7xlbbylc5c3d5lvandqw4iwl6epxba".parse().unwrap();
        let at = |nonce| predict_channel_address(None, &origin, Nonce::new(nonce), 0).to_string();
        assert_eq!(at(0), "f2h6o4uvzsksf3yi2ri2uu7eqvhqkcp7axmg3mski");
        assert_eq!(at(1), "f2nzl23ysfwo53kl5syolbeh6j43sxx4hfmdhm56i");
        let salted = predict_channel_address(Some(&[1; 32]), &origin, Nonce::new(0), 0);
        assert_ne!(salted.to_string(), at(0));
    }
}
