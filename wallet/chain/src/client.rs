//! The client of a chain: Filecoin's public JSON-RPC, or the embedded ledger that speaks the same.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cid::Cid;
use pop_keys::{Address, ChainId, Protocol};
use pop_payments::{
    Chain, ChainError, ChannelState, ExitCode, Head, Message, MsgCid, Receipt, Resolved, SignedMessage,
};
use pop_units::{AttoFil, ChainEpoch, Nonce};
use serde_json::{Value, json};

use crate::answer;
use crate::devnet::Facts;
use crate::lanes::Walk;
use crate::transport::{CallError, Repeat, Transport};

/// Filecoin's time from epoch to epoch.
const FILECOIN_EPOCH: Duration = Duration::from_secs(30);
/// Epochs that a message is searched back: public nodes keep about 2000.
const LOOKBACK: i64 = 2000;
const PAYMENT_CHANNEL: &str = "paymentchannel";

/// The longest network name that a chain id takes.
const MAX_NAME: usize = 32;

/// A chain behind a transport.
#[derive(Debug)]
pub struct FilRpc<T> {
    transport: T,
    id: ChainId,
    facts: Option<Facts>,
}

impl<T: Transport> FilRpc<T> {
    /// Connects, and refuses any other chain than `want` where one is wanted. Cancel safe.
    ///
    /// # Errors
    /// The node does not answer, or serves another chain.
    pub async fn connect(transport: T, want: Option<&ChainId>) -> Result<Self, ChainError> {
        let name = call(&transport, "Filecoin.StateNetworkName", json!([])).await?;
        let got = network(answer::text(&name)?);
        let id: ChainId = got.parse().map_err(|_| answer::nonsense("name of the network"))?;
        if let Some(want) = want.filter(|want| **want != id) {
            return Err(ChainError::WrongChain { want: want.clone(), got });
        }
        let facts = match id.is_real() {
            true => None,
            false => {
                let facts = answer::facts(&call(&transport, "Pop.ChainInfo", json!([])).await?)?;
                // The id is the hash's beginning: a ledger that gives another hash would salt addresses wrongly.
                if facts.id != id || ChainId::local(&facts.genesis_hash) != id {
                    return Err(answer::nonsense("genesis hash of another chain"));
                }
                Some(facts)
            }
        };
        Ok(Self { transport, id, facts })
    }

    /// Returns what an embedded ledger tells of itself; nothing for a Filecoin network.
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// Returns what salts channel addresses on this chain; nothing for a Filecoin network.
    pub fn chain_salt(&self) -> Option<&[u8; 32]> {
        self.facts.as_ref().map(|facts| &facts.genesis_hash)
    }

    /// Lets epochs pass on an embedded ledger that allows it.
    ///
    /// # Errors
    /// The ledger refuses, or this is no embedded ledger.
    pub async fn advance(&self, epochs: u32) -> Result<ChainEpoch, ChainError> {
        let answer = self.transport.call("Pop.Advance", json!([epochs]), Repeat::Never).await;
        answer::epoch(&answer.map_err(answer::failed)?)
    }

    async fn read(&self, method: &str, params: Value) -> Result<Value, ChainError> {
        call(&self.transport, method, params).await
    }

    /// Reads what an address may not have; nothing where the chain does not know the address.
    async fn read_actor(&self, method: &str, params: Value) -> Result<Option<Value>, ChainError> {
        match self.transport.call(method, params, Repeat::Safe).await {
            Ok(Value::Null) => Ok(None),
            Ok(found) => Ok(Some(found)),
            Err(CallError::Fault(fault)) if answer::says_unknown_actor(&fault.message) => Ok(None),
            Err(error) => Err(answer::failed(error)),
        }
    }

    /// Returns the lasting address of an actor without a key.
    async fn robust(&self, address: &Address) -> Result<Address, ChainError> {
        if address.protocol() != Protocol::Id {
            return Ok(*address);
        }
        let params = json!([address, null]);
        match self.transport.call("Filecoin.StateLookupRobustAddress", params, Repeat::Safe).await {
            Ok(robust) => answer::address(&robust),
            // Actors of the system have none, and not every node tells it.
            Err(CallError::Fault(_)) => Ok(*address),
            Err(error) => Err(answer::failed(error)),
        }
    }

    async fn object(&self, cid: &Cid) -> Result<Vec<u8>, ChainError> {
        let found = self.read("Filecoin.ChainReadObj", json!([{ "/": cid.to_string() }])).await?;
        BASE64.decode(answer::text(&found)?).map_err(|_| answer::nonsense("object"))
    }

    /// Turns the refusal of a message into what the caller can act on.
    async fn refused(&self, message: &SignedMessage, error: CallError) -> Result<MsgCid, ChainError> {
        let CallError::Fault(fault) = error else { return Err(answer::failed(error)) };
        let (cid, words) = (message.cid(), fault.message.to_lowercase());
        let Message { from, nonce, value, .. } = &message.message;
        if words.contains("already in mpool") {
            return Ok(cid);
        }
        if words.contains("nonce") {
            // An executed message is refused by nodes that have forgotten it in their pool; that is no error.
            if self.lookup(&cid).await?.is_some() {
                return Ok(cid);
            }
            return Err(ChainError::Nonce { next: self.next_nonce(from).await?, got: *nonce });
        }
        if words.contains("not enough funds") {
            let fee = message.message.max_fee().unwrap_or_default();
            let need = value.checked_add(fee).unwrap_or(*value);
            return Err(ChainError::Funds { address: *from, have: self.balance(from).await?, need });
        }
        if answer::says_unknown_actor(&words) {
            return Err(ChainError::UnknownActor(*from));
        }
        Err(answer::failed(CallError::Fault(fault)))
    }
}

#[async_trait]
impl<T: Transport> Chain for FilRpc<T> {
    fn id(&self) -> &ChainId {
        &self.id
    }

    async fn head(&self) -> Result<Head, ChainError> {
        let head = self.read("Filecoin.ChainHead", json!([])).await?;
        let facts = self.facts.as_ref();
        // Under a manual clock nothing happens between two calls of advance: any short time will do to poll.
        let block_time = facts.map_or(FILECOIN_EPOCH, |facts| facts.epoch.unwrap_or(Duration::from_secs(1)));
        answer::head(&head, block_time)
    }

    async fn balance(&self, address: &Address) -> Result<AttoFil, ChainError> {
        match self.read_actor("Filecoin.StateGetActor", json!([address, null])).await? {
            Some(actor) => answer::amount(&actor, "Balance"),
            None => Ok(AttoFil::ZERO),
        }
    }

    async fn next_nonce(&self, address: &Address) -> Result<Nonce, ChainError> {
        match self.read_actor("Filecoin.MpoolGetNonce", json!([address])).await? {
            Some(nonce) => nonce.as_u64().map(Nonce::new).ok_or_else(|| answer::nonsense("nonce")),
            None => Ok(Nonce::new(0)),
        }
    }

    async fn resolve(&self, address: &Address) -> Result<Resolved, ChainError> {
        let id = self.read_actor("Filecoin.StateLookupID", json!([address, null])).await?;
        let id = answer::address(&id.ok_or(ChainError::UnknownActor(*address))?)?;
        let key = match address.protocol() {
            Protocol::Secp256k1 | Protocol::Bls => *address,
            Protocol::Id | Protocol::Actor | Protocol::Delegated => {
                match self.transport.call("Filecoin.StateAccountKey", json!([id, null]), Repeat::Safe).await {
                    Ok(key) => answer::address(&key)?,
                    // Only accounts have keys.
                    Err(CallError::Fault(_)) => self.robust(address).await?,
                    Err(error) => return Err(answer::failed(error)),
                }
            }
        };
        Ok(Resolved { id, key })
    }

    async fn paych_code(&self) -> Result<Cid, ChainError> {
        let system = self.read("Filecoin.StateReadState", json!(["f00", null])).await?;
        let manifest = answer::link(system.get("State").and_then(|state| state.get("BuiltinActors")))?;
        let list: Vec<(String, Cid)> = fvm_ipld_encoding::from_slice(&self.object(&manifest).await?)
            .map_err(|_| answer::nonsense("list of built-in actors"))?;
        let found = list.into_iter().find(|(name, _)| name == PAYMENT_CHANNEL);
        found.map(|(_, code)| code).ok_or_else(|| answer::nonsense("no payment channels"))
    }

    async fn channel(&self, channel: &Address) -> Result<Option<ChannelState>, ChainError> {
        let state = self.read_actor("Filecoin.StateReadState", json!([channel, null])).await?;
        let Some(state) = state else { return Ok(None) };
        let (root, mut channel) = answer::channel(&state)?;
        let mut walk = Walk::new(root);
        while let Some(cid) = walk.want() {
            let block = self.object(&cid).await?;
            walk.on_block(&block).map_err(|e| ChainError::Protocol(e.to_string()))?;
        }
        channel.lanes = walk.finish();
        Ok(Some(channel))
    }

    async fn estimate(&self, message: Message, max_fee: AttoFil) -> Result<Message, ChainError> {
        let spec = json!({ "MaxFee": max_fee.to_atto_string() });
        let params = json!([message.to_json(), spec, null]);
        let found = self.read("Filecoin.GasEstimateMessageGas", params).await?;
        let found = Message::from_json(&found).map_err(|e| ChainError::Protocol(e.to_string()))?;
        let Message { gas_limit, fee_cap, premium, .. } = found;
        // Only the gas fields are taken: a node must not be able to write the rest of our message.
        let filled = Message { gas_limit, fee_cap, premium, ..message };
        let cost = filled.max_fee().ok_or_else(|| answer::nonsense("gas"))?;
        if cost > max_fee { Err(ChainError::Fee { cost, max: max_fee }) } else { Ok(filled) }
    }

    async fn dry_run(&self, message: &Message) -> Result<ExitCode, ChainError> {
        let result = self.read("Filecoin.StateCall", json!([message.to_json(), null])).await?;
        answer::exit(result.get("MsgRct"))
    }

    async fn push(&self, message: &SignedMessage) -> Result<MsgCid, ChainError> {
        let params = json!([message.to_json()]);
        match self.transport.call("Filecoin.MpoolPush", params, Repeat::Never).await {
            Ok(cid) if answer::link(Some(&cid))? == *message.cid().cid() => Ok(message.cid()),
            Ok(_) => Err(answer::nonsense("CID of another message")),
            Err(error) => self.refused(message, error).await,
        }
    }

    async fn lookup(&self, message: &MsgCid) -> Result<Option<Receipt>, ChainError> {
        let params = json!([null, { "/": message.to_string() }, LOOKBACK, true]);
        let found = self.read("Filecoin.StateSearchMsg", params).await?;
        if found.is_null() {
            return Ok(None);
        }
        // Another message at the same nonce that replaced ours is not our message.
        if answer::link(found.get("Message"))? != *message.cid() {
            return Ok(None);
        }
        let head = self.head().await?;
        answer::receipt(&found, head.epoch).map(Some)
    }

    async fn pause(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Returns the chain id of a network's name: embedded ledgers give it themselves.
fn network(name: &str) -> String {
    // Development networks of Lotus carry a UUID: the beginning of a long name tells them apart as well.
    if name.contains(':') { name.to_owned() } else { format!("fil:{}", name.get(..MAX_NAME).unwrap_or(name)) }
}

async fn call(transport: &impl Transport, method: &str, params: Value) -> Result<Value, ChainError> {
    transport.call(method, params, Repeat::Safe).await.map_err(answer::failed)
}

#[cfg(test)]
mod tests;
