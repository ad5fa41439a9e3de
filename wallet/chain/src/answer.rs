//! What nodes answer, read from JSON in Lotus' shapes. Nothing is trusted beyond its form.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cid::Cid;
use pop_keys::Address;
use pop_payments::{ChainError, ChannelState, ExitCode, Head, Receipt};
use pop_units::{AttoFil, ChainEpoch};
use serde::Deserialize as _;
use serde_json::Value;

use crate::devnet::Facts;
use crate::transport::CallError;

pub(crate) fn nonsense(what: &str) -> ChainError {
    ChainError::Protocol(format!("unexpected {what}"))
}

pub(crate) fn failed(error: CallError) -> ChainError {
    match error {
        CallError::Unreachable(why) => ChainError::Unreachable(why),
        CallError::Protocol(why) => ChainError::Protocol(why),
        CallError::Fault(fault) => ChainError::Rejected { reason: fault.to_string() },
    }
}

/// Lotus, its gateway and Forest spell this differently and number it differently.
pub(crate) fn says_unknown_actor(message: &str) -> bool {
    let message = message.to_lowercase();
    ["actor not found", "failed to find actor", "address not found"]
        .iter()
        .any(|words| message.contains(words))
}

pub(crate) fn text(value: &Value) -> Result<&str, ChainError> {
    value.as_str().ok_or_else(|| nonsense("value that is no text"))
}

pub(crate) fn address(value: &Value) -> Result<Address, ChainError> {
    text(value)?.parse().map_err(|_| nonsense("address"))
}

pub(crate) fn link(value: Option<&Value>) -> Result<Cid, ChainError> {
    let text = value.and_then(|value| value.get("/")).and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).ok_or_else(|| nonsense("CID"))
}

pub(crate) fn amount(value: &Value, field: &str) -> Result<AttoFil, ChainError> {
    let found = value.get(field).and_then(|amount| AttoFil::deserialize(amount).ok());
    found.ok_or_else(|| nonsense(field))
}

pub(crate) fn epoch(value: &Value) -> Result<ChainEpoch, ChainError> {
    value.as_i64().map(ChainEpoch::new).ok_or_else(|| nonsense("epoch"))
}

pub(crate) fn exit(receipt: Option<&Value>) -> Result<ExitCode, ChainError> {
    let code = receipt.and_then(|receipt| receipt.get("ExitCode")).and_then(Value::as_u64);
    let code = code.and_then(|code| u32::try_from(code).ok());
    code.map(ExitCode::new).ok_or_else(|| nonsense("exit code"))
}

pub(crate) fn head(value: &Value, block_time: Duration) -> Result<Head, ChainError> {
    let cids = value.get("Cids").and_then(Value::as_array).ok_or_else(|| nonsense("head"))?;
    let tipset = cids.iter().map(|cid| link(Some(cid))).collect::<Result<_, _>>()?;
    Ok(Head { epoch: epoch(value.get("Height").unwrap_or(&Value::Null))?, tipset, block_time })
}

pub(crate) fn receipt(found: &Value, now: ChainEpoch) -> Result<Receipt, ChainError> {
    let receipt = found.get("Receipt").ok_or_else(|| nonsense("receipt"))?;
    let ret = match receipt.get("Return") {
        None | Some(Value::Null) => Vec::new(),
        Some(ret) => BASE64.decode(text(ret)?).map_err(|_| nonsense("return value"))?,
    };
    let height = epoch(found.get("Height").unwrap_or(&Value::Null))?;
    let gas_used = receipt.get("GasUsed").and_then(Value::as_u64).ok_or_else(|| nonsense("gas"))?;
    let since = now.get().saturating_sub(height.get());
    let confidence = u64::try_from(since).unwrap_or(0);
    Ok(Receipt { exit: exit(Some(receipt))?, ret, epoch: height, gas_used, confidence })
}

/// Reads the state of a channel without its lanes, and their root.
pub(crate) fn channel(value: &Value) -> Result<(Cid, ChannelState), ChainError> {
    let state = value.get("State").ok_or_else(|| nonsense("state"))?;
    let field = |name: &str| state.get(name).ok_or_else(|| nonsense("state that is no channel's"));
    let channel = ChannelState {
        from: address(field("From")?)?,
        to: address(field("To")?)?,
        to_send: amount(state, "ToSend")?,
        settling_at: epoch(field("SettlingAt")?)?,
        min_settle_height: epoch(field("MinSettleHeight")?)?,
        balance: amount(value, "Balance")?,
        lanes: BTreeMap::new(),
    };
    Ok((link(state.get("LaneStates"))?, channel))
}

pub(crate) fn facts(value: &Value) -> Result<Facts, ChainError> {
    let field = |name: &str| value.get(name).unwrap_or(&Value::Null);
    let epoch = match field("EpochMillis") {
        Value::Null => None,
        millis => {
            let millis = millis.as_u64().filter(|millis| *millis > 0);
            Some(Duration::from_millis(millis.ok_or_else(|| nonsense("length of an epoch"))?))
        }
    };
    Ok(Facts {
        id: text(field("ChainId"))?.parse().map_err(|_| nonsense("chain id"))?,
        genesis_hash: hash(text(field("GenesisHash"))?).ok_or_else(|| nonsense("genesis hash"))?,
        epoch,
        settle_delay: field("SettleDelay").as_i64().ok_or_else(|| nonsense("settle delay"))?,
    })
}

fn hash(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(hash)
}
