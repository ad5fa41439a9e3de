//! Parameters, returns and state of the payment-channel actor, as they stand on chain.

use cid::Cid;
use fvm_ipld_encoding::tuple::{Deserialize_tuple, Serialize_tuple, serde_tuple};
use pop_keys::Address;
use pop_units::{ChainEpoch, Lane, Nonce};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::amount::SignedAtto;

/// Method numbers.
pub mod method {
    /// Plain transfer: also how a channel is topped up.
    pub const SEND: u64 = 0;
    /// Creates an actor; of the init actor.
    pub const EXEC: u64 = 2;
    /// Submits a voucher.
    pub const UPDATE_CHANNEL_STATE: u64 = 2;
    /// Starts settling.
    pub const SETTLE: u64 = 3;
    /// Pays out and deletes the channel.
    pub const COLLECT: u64 = 4;
}

/// Epochs from Settle to Collect: 12 hours of 30 s.
pub const SETTLE_DELAY: i64 = 12 * 120;
/// Longest secret that a voucher may ask for.
pub const MAX_SECRET: usize = 256;
/// Highest lane.
pub const MAX_LANE: u64 = i64::MAX.unsigned_abs();

/// Returns the address of the init actor, which creates channels.
pub fn init_actor() -> Address {
    Address::new_id(1).expect("1 is an actor number")
}

/// Parameters of the init actor's Exec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ExecParams {
    /// Code of the new actor.
    pub code: Cid,
    /// CBOR of its constructor's parameters.
    #[serde(with = "serde_bytes")]
    pub constructor: Vec<u8>,
}

/// What Exec returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ExecReturn {
    /// The f0 address.
    pub id: Address,
    /// The f2 address.
    pub robust: Address,
}

/// Parameters of a channel's constructor: payer and payee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ConstructorParams {
    /// Who pays.
    pub from: Address,
    /// Who is paid.
    pub to: Address,
}

/// A call that a voucher may ask the chain to make before it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ExtraCall {
    /// Whom to call.
    pub actor: Address,
    /// Which method.
    pub method: u64,
    /// With which parameters.
    #[serde(with = "serde_bytes")]
    pub params: Vec<u8>,
}

/// A lane whose redeemed amount a voucher takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Merge {
    /// The lane.
    pub lane: Lane,
    /// Its new nonce.
    pub nonce: Nonce,
}

/// A voucher exactly as it stands in chain messages: every field as written, nothing checked.
///
/// Payer and payee use [`crate::Voucher`]; this form is for the rules of the actor, which must give each
/// broken field its own exit code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct RawVoucher {
    /// The channel.
    pub channel: Address,
    /// Not valid before this epoch.
    pub time_lock_min: ChainEpoch,
    /// Not valid after this epoch; zero for ever.
    pub time_lock_max: ChainEpoch,
    /// Hash of a secret that must be shown; empty for none.
    #[serde(with = "serde_bytes")]
    pub secret_hash: Vec<u8>,
    /// A call that must succeed.
    pub extra: Option<ExtraCall>,
    /// The lane.
    pub lane: Lane,
    /// Order on the lane.
    pub nonce: Nonce,
    /// Cumulative amount on the lane.
    pub amount: SignedAtto,
    /// Settling lasts at least until here.
    pub min_settle_height: ChainEpoch,
    /// Lanes taken over.
    pub merges: Vec<Merge>,
    /// Type byte and signature; `None` for the signing bytes.
    #[serde(with = "serde_bytes")]
    pub signature: Option<Vec<u8>>,
}

/// Parameters of UpdateChannelState.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct UpdateParams {
    /// The voucher.
    pub voucher: RawVoucher,
    /// The secret behind its hash; empty for none.
    #[serde(with = "serde_bytes")]
    pub secret: Vec<u8>,
}

/// The actor's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct State {
    /// Who pays (f0).
    pub from: Address,
    /// Who is paid (f0).
    pub to: Address,
    /// What `to` gets at collection.
    pub to_send: SignedAtto,
    /// When it can be collected; zero while nobody settles.
    pub settling_at: ChainEpoch,
    /// Settling lasts at least until here.
    pub min_settle_height: ChainEpoch,
    /// Root of the lanes: an AMT of bit width 3.
    pub lanes: Cid,
}

/// One lane in the AMT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct LaneEntry {
    /// Cumulative amount submitted.
    pub redeemed: SignedAtto,
    /// Nonce of the best voucher submitted.
    pub nonce: Nonce,
}

impl RawVoucher {
    /// Returns the bytes that are signed: the voucher without its signature.
    pub fn signing_bytes(&self) -> Vec<u8> {
        encode(&Self { signature: None, ..self.clone() })
    }
}

/// Returns the CBOR of parameters, returns or state.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    fvm_ipld_encoding::to_vec(value).expect("plain tuples always encode")
}

/// Reads parameters, returns or state from CBOR.
///
/// # Errors
/// The bytes have another shape.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, fvm_ipld_encoding::Error> {
    fvm_ipld_encoding::from_slice(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constructor_parameters_have_the_actors_shape() {
        let params =
            ConstructorParams { from: Address::new_id(100).unwrap(), to: Address::new_id(101).unwrap() };
        assert_eq!(encode(&params), [0x82, 0x42, 0, 100, 0x42, 0, 101]);
        assert_eq!(decode::<ConstructorParams>(&encode(&params)).unwrap(), params);
    }
}
