//! The part of Lotus' JSON-RPC that a wallet needs, answered by the ledger in Lotus' shapes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cid::Cid;
use pop_keys::{Address, Protocol};
use pop_payments::paych::State;
use pop_payments::{Message, SignedAtto, SignedMessage};
use pop_units::AttoFil;
use serde_json::{Value, json};

use super::view::{Actor, Kind, View};
use super::{Devnet, Error, GAS, PushError, unix_millis};
use crate::paych::ActorId;
use crate::{cids, lanes};

/// The code of errors that Lotus does not number.
const SOME_ERROR: i64 = 1;
const UNKNOWN_METHOD: i64 = -32601;
const BAD_PARAMS: i64 = -32602;
const INTERNAL: i64 = -32603;

/// An error as JSON-RPC carries it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct RpcFault {
    /// The number: -326xx for misuse of the call, 1 for what the chain says.
    pub code: i64,
    /// The words.
    pub message: String,
}

impl RpcFault {
    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn unknown_actor(address: &Address) -> Self {
        Self::new(SOME_ERROR, format!("actor not found: {address}"))
    }

    fn params(what: &str) -> Self {
        Self::new(BAD_PARAMS, format!("invalid params: {what}"))
    }
}

impl From<Error> for RpcFault {
    fn from(error: Error) -> Self {
        Self::new(INTERNAL, error.to_string())
    }
}

impl From<PushError> for RpcFault {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Ledger(error) => error.into(),
            refused => Self::new(SOME_ERROR, refused.to_string()),
        }
    }
}

type Answer = Result<Value, RpcFault>;

impl Devnet {
    /// Answers a call of somebody inside this process, who may also advance the chain.
    ///
    /// # Errors
    /// What JSON-RPC answers with: unknown method -32601, bad parameters -32602, the chain's refusal 1.
    pub fn handle(&self, method: &str, params: Value) -> Result<Value, RpcFault> {
        self.handle_remote(method, params, true)
    }

    /// Answers a call that came over the network; time moves only for those who `may_advance` it.
    ///
    /// # Errors
    /// As [`Devnet::handle`].
    pub fn handle_remote(&self, method: &str, params: Value, may_advance: bool) -> Result<Value, RpcFault> {
        let params = Params::of(params)?;
        match method {
            "Filecoin.ChainHead" => self.chain_head(),
            "Filecoin.StateNetworkName" => Ok(json!(self.id().as_str())),
            "Filecoin.StateNetworkVersion" => Ok(json!(27)),
            "Filecoin.StateGetActor" => self.state_get_actor(&params.address(0)?),
            "Filecoin.StateAccountKey" => self.state_account_key(&params.address(0)?),
            "Filecoin.StateLookupID" => self.state_lookup_id(&params.address(0)?),
            "Filecoin.StateLookupRobustAddress" => self.state_lookup_robust_address(&params.address(0)?),
            "Filecoin.StateReadState" => self.state_read_state(&params.address(0)?),
            "Filecoin.ChainReadObj" => self.chain_read_obj(&params.cid(0)?),
            "Filecoin.MpoolGetNonce" => self.mpool_get_nonce(&params.address(0)?),
            "Filecoin.GasEstimateMessageGas" => self.gas_estimate(params.message(0)?),
            "Filecoin.StateCall" => self.state_call(&params.message(0)?),
            "Filecoin.MpoolPush" => self.mpool_push(&params.signed(0)?),
            "Filecoin.StateSearchMsg" => self.state_search_msg(&params.cid(1)?),
            "Pop.ChainInfo" => Ok(self.chain_info()),
            "Pop.Advance" if !may_advance => Err(RpcFault::new(SOME_ERROR, "only the operator moves time")),
            "Pop.Advance" => Ok(json!(self.advance(params.count(0)?)?.get())),
            unknown => {
                let name: String = unknown.chars().take(64).collect();
                Err(RpcFault::new(UNKNOWN_METHOD, format!("method '{name}' not found")))
            }
        }
    }

    fn chain_head(&self) -> Answer {
        let epoch = self.epoch()?;
        let view = self.snapshot()?;
        let block = view.block_cid(view.head.number)?.ok_or_else(|| Error::damaged(b"b"))?;
        let header = json!({
            "Miner": "f00",
            "Parents": [],
            "ParentWeight": "0",
            "Height": epoch.get(),
            "ParentStateRoot": link(&block),
            "ParentMessageReceipts": link(&block),
            "Messages": link(&block),
            "Timestamp": view.head.anchor.unwrap_or(0) / 1000,
            "ForkSignaling": 0,
            "ParentBaseFee": "0",
        });
        Ok(json!({ "Cids": [link(&block)], "Blocks": [header], "Height": epoch.get() }))
    }

    fn state_get_actor(&self, address: &Address) -> Answer {
        let (id, actor) = self.actor(address)?;
        let head = self.state_object(id, &actor)?;
        Ok(json!({
            "Code": link(&actor.kind.code()),
            "Head": link(&head),
            "Nonce": actor.nonce.get(),
            "Balance": actor.balance.to_atto_string(),
            "DelegatedAddress": null,
        }))
    }

    fn state_account_key(&self, address: &Address) -> Answer {
        match self.actor(address)? {
            (_, actor) if actor.kind == Kind::Account => Ok(json!(actor.address)),
            (_, actor) => Err(RpcFault::new(SOME_ERROR, format!("{} actor has no key", actor.kind.name()))),
        }
    }

    fn state_lookup_id(&self, address: &Address) -> Answer {
        let id = self.snapshot()?.id_of(address)?.ok_or_else(|| RpcFault::unknown_actor(address))?;
        Ok(json!(id_address(id)?))
    }

    fn state_lookup_robust_address(&self, address: &Address) -> Answer {
        match self.actor(address)? {
            (_, actor) if actor.address.protocol() != Protocol::Id => Ok(json!(actor.address)),
            (_, actor) => {
                Err(RpcFault::new(SOME_ERROR, format!("{} actor has one address", actor.kind.name())))
            }
        }
    }

    fn state_read_state(&self, address: &Address) -> Answer {
        let (id, actor) = self.actor(address)?;
        let state = match actor.kind {
            Kind::System => json!({ "BuiltinActors": link(&self.manifest()) }),
            Kind::Init => {
                json!({ "NextID": self.snapshot()?.head.next_id, "NetworkName": self.id().as_str() })
            }
            Kind::Account => json!({ "Address": actor.address }),
            Kind::Paych => self.channel_json(id)?,
        };
        let balance = actor.balance.to_atto_string();
        Ok(json!({ "Balance": balance, "Code": link(&actor.kind.code()), "State": state }))
    }

    fn channel_json(&self, id: ActorId) -> Answer {
        let state = self.channel_state(id)?;
        Ok(json!({
            "From": state.from,
            "To": state.to,
            "ToSend": state.to_send.to_string(),
            "SettlingAt": state.settling_at.get(),
            "MinSettleHeight": state.min_settle_height.get(),
            "LaneStates": link(&state.lanes),
        }))
    }

    fn chain_read_obj(&self, cid: &Cid) -> Answer {
        let found = self.objects.lock().blocks.get(cid).cloned();
        let found = found.ok_or_else(|| RpcFault::new(SOME_ERROR, format!("ipld: could not find {cid}")))?;
        Ok(json!(BASE64.encode(found)))
    }

    fn mpool_get_nonce(&self, address: &Address) -> Answer {
        let (_, actor) = self.actor(address)?;
        Ok(json!(actor.nonce.get()))
    }

    fn gas_estimate(&self, mut message: Message) -> Answer {
        let outcome = self.try_out(&message)?;
        if !outcome.exit.is_ok() {
            let why = format!("message execution failed: exit {}", outcome.exit);
            return Err(RpcFault::new(SOME_ERROR, why));
        }
        message.gas_limit = GAS;
        message.fee_cap = AttoFil::new(self.genesis().fee.get().div_ceil(u128::from(GAS)));
        message.premium = AttoFil::ZERO;
        Ok(message.to_json())
    }

    fn state_call(&self, message: &Message) -> Answer {
        let outcome = self.try_out(message)?;
        let error = if outcome.exit.is_ok() { String::new() } else { format!("exit {}", outcome.exit) };
        Ok(json!({
            "MsgCid": link(&message.cid()),
            "Msg": message.to_json(),
            "MsgRct": receipt(outcome.exit.get(), &outcome.ret),
            "Error": error,
            "Duration": 0,
        }))
    }

    fn mpool_push(&self, signed: &SignedMessage) -> Answer {
        Ok(link(self.push(signed)?.cid()))
    }

    fn state_search_msg(&self, cid: &Cid) -> Answer {
        let view = self.snapshot()?;
        let Some(stored) = view.receipt(cid)? else { return Ok(Value::Null) };
        let block = view.block_cid(stored.block)?.ok_or_else(|| Error::damaged(b"b"))?;
        Ok(json!({
            "Message": link(cid),
            "Receipt": receipt(stored.exit.get(), &stored.ret),
            "ReturnDec": null,
            "TipSet": [link(&block)],
            "Height": stored.epoch.get(),
        }))
    }

    fn chain_info(&self) -> Value {
        let facts = self.facts();
        let hash = super::hex(&facts.genesis_hash);
        json!({
            "ChainId": facts.id.as_str(),
            "GenesisHash": hash,
            "Network": self.genesis().network,
            "Operator": self.genesis().operator,
            "EpochMillis": facts.epoch.and_then(|epoch| u64::try_from(epoch.as_millis()).ok()),
            "SettleDelay": facts.settle_delay,
            "Fee": self.genesis().fee.to_atto_string(),
        })
    }

    /// Returns the ledger for reading, without keeping writers out.
    pub(super) fn snapshot(&self) -> Result<View<'_>, Error> {
        let head = self.head.lock().clone();
        self.view(&head, unix_millis())
    }

    fn actor(&self, address: &Address) -> Result<(ActorId, Actor), RpcFault> {
        self.snapshot()?.find(address)?.ok_or_else(|| RpcFault::unknown_actor(address))
    }

    fn channel_state(&self, id: ActorId) -> Result<State, RpcFault> {
        // Header and lanes are rows of their own: a writer between the two reads would tear the state.
        let channel = {
            let head = self.head.lock();
            self.view(&head, unix_millis())?.channel(id)?
        };
        let channel = channel.ok_or_else(|| Error::damaged(&id.to_be_bytes()))?;
        let tree = lanes::build(&channel.lanes).map_err(|e| RpcFault::new(INTERNAL, e.to_string()))?;
        let mut objects = self.objects.lock();
        for (cid, block) in tree.blocks {
            objects.put(cid, block);
        }
        Ok(State {
            from: id_address(channel.from)?,
            to: id_address(channel.to)?,
            to_send: SignedAtto::from(channel.to_send),
            settling_at: channel.settling_at,
            min_settle_height: channel.min_settle_height,
            lanes: tree.root,
        })
    }

    /// Returns the CID of an actor's state and makes the state readable.
    fn state_object(&self, id: ActorId, actor: &Actor) -> Result<Cid, RpcFault> {
        let bytes = match actor.kind {
            Kind::Paych => fvm_ipld_encoding::to_vec(&self.channel_state(id)?),
            Kind::System => fvm_ipld_encoding::to_vec(&[self.manifest()]),
            Kind::Init | Kind::Account => fvm_ipld_encoding::to_vec(&[actor.address]),
        };
        let bytes = bytes.map_err(|e| RpcFault::new(INTERNAL, e.to_string()))?;
        Ok(self.keep(bytes))
    }

    /// Returns the CID of the list of built-in actors and makes the list readable.
    fn manifest(&self) -> Cid {
        let list = Kind::ALL.map(|kind| (kind.name(), kind.code()));
        let bytes = fvm_ipld_encoding::to_vec(list.as_slice()).expect("names and CIDs always encode");
        self.keep(bytes)
    }

    fn keep(&self, bytes: Vec<u8>) -> Cid {
        let cid = cids::chain_cid(&bytes);
        self.objects.lock().put(cid, bytes);
        cid
    }
}

fn link(cid: &Cid) -> Value {
    json!({ "/": cid.to_string() })
}

fn receipt(exit: u32, ret: &[u8]) -> Value {
    let ret = if ret.is_empty() { Value::Null } else { json!(BASE64.encode(ret)) };
    json!({ "ExitCode": exit, "Return": ret, "GasUsed": GAS, "EventsRoot": null })
}

fn id_address(id: ActorId) -> Result<Address, Error> {
    Address::new_id(id).map_err(|_| Error::Overflow)
}

/// The positional parameters of a call.
struct Params(Vec<Value>);

impl Params {
    fn of(params: Value) -> Result<Self, RpcFault> {
        match params {
            Value::Null => Ok(Self(Vec::new())),
            Value::Array(list) => Ok(Self(list)),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                Err(RpcFault::params("want a list"))
            }
        }
    }

    fn at(&self, index: usize) -> Result<&Value, RpcFault> {
        self.0.get(index).ok_or_else(|| RpcFault::params(&format!("number {index} is missing")))
    }

    fn address(&self, index: usize) -> Result<Address, RpcFault> {
        let text = self.at(index)?.as_str().ok_or_else(|| RpcFault::params("want an address"))?;
        text.parse().map_err(|e: pop_keys::AddressError| RpcFault::params(&e.to_string()))
    }

    fn cid(&self, index: usize) -> Result<Cid, RpcFault> {
        let text = self.at(index)?.get("/").and_then(Value::as_str);
        let cid = text.and_then(|text| text.parse().ok());
        cid.ok_or_else(|| RpcFault::params("want a CID as {\"/\": text}"))
    }

    fn count(&self, index: usize) -> Result<u32, RpcFault> {
        let count = self.at(index)?.as_u64().and_then(|count| u32::try_from(count).ok());
        count.ok_or_else(|| RpcFault::params("want a count of epochs"))
    }

    fn message(&self, index: usize) -> Result<Message, RpcFault> {
        Message::from_json(self.at(index)?).map_err(|e| RpcFault::params(&e.to_string()))
    }

    fn signed(&self, index: usize) -> Result<SignedMessage, RpcFault> {
        SignedMessage::from_json(self.at(index)?).map_err(|e| RpcFault::params(&e.to_string()))
    }
}
