//! The ledger as its clients see it: what it executes, what it refuses, and what it never loses.

use pop_keys::SecretKey;
use pop_payments::paych::{
    ConstructorParams, ExecParams, ExecReturn, RawVoucher, UpdateParams, decode, encode, init_actor, method,
};
use pop_payments::{SignedAtto, predict_channel_address};
use pop_units::Lane;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::store::MemStore;

pub(crate) fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[number; 32]).unwrap()
}

pub(crate) fn genesis(seed: u8) -> Genesis {
    let operator = key(1).address();
    Genesis { seed: [seed; 32], ..Genesis::new(operator).unwrap() }
}

pub(crate) fn devnet(seed: u8) -> Devnet {
    Devnet::open(Arc::new(MemStore::new()), genesis(seed), Clock::Manual).unwrap()
}

pub(crate) fn atto(amount: u64) -> AttoFil {
    AttoFil::new(u128::from(amount))
}

pub(crate) fn voucher(channel: Address, lane: u64, nonce: u64, amount: u64, by: &SecretKey) -> RawVoucher {
    let zero = ChainEpoch::new(0);
    let mut voucher = RawVoucher {
        channel,
        time_lock_min: zero,
        time_lock_max: zero,
        secret_hash: Vec::new(),
        extra: None,
        lane: Lane::new(lane),
        nonce: Nonce::new(nonce),
        amount: SignedAtto::from(atto(amount)),
        min_settle_height: zero,
        merges: Vec::new(),
        signature: None,
    };
    voucher.signature = Some(by.sign(&voucher.signing_bytes()).to_bytes().to_vec());
    voucher
}

pub(crate) fn update(voucher: RawVoucher) -> Vec<u8> {
    encode(&UpdateParams { voucher, secret: Vec::new() })
}

pub(crate) fn exec(from: Address, to: Address, code: Cid) -> Vec<u8> {
    encode(&ExecParams { code, constructor: encode(&ConstructorParams { from, to }) })
}

/// A ledger with three funded accounts: keys 1 (operator), 2 and 3.
struct World {
    devnet: Devnet,
}

impl World {
    fn new() -> Self {
        let world = Self { devnet: devnet(7) };
        for to in [2, 3] {
            assert_eq!(world.send(1, key(to).address(), 1_000_000, 0, Vec::new()), 0);
        }
        world
    }

    fn actor(&self, address: &Address) -> Option<Actor> {
        let head = self.devnet.head.lock().clone();
        View::new(&*self.devnet.store, head).find(address).unwrap().map(|(_, actor)| actor)
    }

    fn balance(&self, address: &Address) -> AttoFil {
        self.actor(address).map_or(AttoFil::ZERO, |actor| actor.balance)
    }

    #[expect(clippy::too_many_arguments, reason = "the five fields of a message that tests vary")]
    fn message(&self, by: u8, to: Address, value: u64, method: u64, params: Vec<u8>) -> Message {
        let from = key(by).address();
        let nonce = self.actor(&from).map_or(Nonce::new(0), |actor| actor.nonce);
        Message { nonce, ..Message::new(from, to, atto(value), method, params) }
    }

    fn receipt(&self, signed: &SignedMessage) -> Stored {
        let cid = self.devnet.push(signed).unwrap();
        self.devnet.snapshot().unwrap().receipt(cid.cid()).unwrap().unwrap()
    }

    #[expect(clippy::too_many_arguments, reason = "the five fields of a message that tests vary")]
    fn send(&self, by: u8, to: Address, value: u64, method: u64, params: Vec<u8>) -> u32 {
        self.receipt(&self.message(by, to, value, method, params).sign(&key(by))).exit.get()
    }

    /// Opens a channel from key 2 to key 3.
    fn open(&self, deposit: u64) -> Address {
        let params = exec(key(2).address(), key(3).address(), Kind::Paych.code());
        let message = self.message(2, init_actor(), deposit, method::EXEC, params);
        let receipt = self.receipt(&message.sign(&key(2)));
        assert!(receipt.exit.is_ok());
        decode::<ExecReturn>(&receipt.ret).unwrap().robust
    }

    fn rows(&self) -> Vec<crate::store::Row> {
        self.devnet.store.scan(&[]).unwrap()
    }

    fn assert_conserved(&self) {
        let (balances, fees) = self.devnet.totals().unwrap();
        assert_eq!(balances.checked_add(fees).unwrap(), self.devnet.genesis().supply);
    }

    fn rpc(&self, method: &str, params: Value) -> Result<Value, RpcFault> {
        self.devnet.handle(method, params)
    }
}

#[test]
fn a_channel_lives_and_dies_by_the_rules() {
    let world = World::new();
    let (payer, payee) = (key(2), key(3));
    let channel = world.open(100);
    let pay = |nonce, amount| update(voucher(channel, 0, nonce, amount, &payer));
    assert_eq!(world.balance(&channel), atto(100));
    assert_eq!(world.send(3, channel, 0, method::UPDATE_CHANNEL_STATE, pay(1, 40)), 0);
    assert_eq!(world.send(3, channel, 0, method::UPDATE_CHANNEL_STATE, pay(1, 50)), 16, "old nonce");
    assert_eq!(world.send(3, channel, 0, method::UPDATE_CHANNEL_STATE, pay(2, 101)), 16, "over balance");
    assert_eq!(world.send(1, channel, 50, method::SEND, Vec::new()), 0, "anybody may top up");
    assert_eq!(world.send(3, channel, 0, method::UPDATE_CHANNEL_STATE, pay(2, 101)), 0);
    assert_eq!(world.send(2, channel, 0, method::UPDATE_CHANNEL_STATE, pay(3, 102)), 16, "own voucher");
    assert_eq!(world.send(1, channel, 0, method::UPDATE_CHANNEL_STATE, pay(3, 102)), 18, "stranger");
    let forged = update(voucher(channel, 0, 3, 102, &payee));
    assert_eq!(world.send(3, channel, 0, method::UPDATE_CHANNEL_STATE, forged), 16, "signed by the payee");
    assert_eq!(world.send(3, channel, 0, method::COLLECT, Vec::new()), 18);
    assert_eq!(world.send(2, channel, 0, method::SETTLE, Vec::new()), 0);
    assert_eq!(world.send(3, channel, 0, method::SETTLE, Vec::new()), 20);
    world.devnet.advance(1439).unwrap();
    assert_eq!(world.send(3, channel, 0, method::COLLECT, Vec::new()), 18);
    world.devnet.advance(1).unwrap();
    assert_eq!(world.send(3, channel, 0, method::UPDATE_CHANNEL_STATE, pay(3, 120)), 32);
    let before = (world.balance(&payer.address()), world.balance(&payee.address()));
    assert_eq!(world.send(3, channel, 0, method::COLLECT, Vec::new()), 0);
    assert_eq!(world.balance(&payer.address()), before.0.checked_add(atto(49)).unwrap());
    assert_eq!(world.balance(&payee.address()), before.1.checked_add(atto(101)).unwrap());
    assert_eq!(world.actor(&channel), None);
    assert_eq!(world.send(2, channel, 9, method::SEND, Vec::new()), 5, "a deleted channel takes no money");
    assert!(world.rows().iter().all(|(key, _)| key[0] != b'l' && key[0] != b'c'), "rows left behind");
    world.assert_conserved();
}

#[test]
fn vouchers_may_name_the_channel_by_number_and_negative_amounts_are_illegal() {
    let world = World::new();
    let channel = world.open(100);
    let id = world.devnet.snapshot().unwrap().id_of(&channel).unwrap().unwrap();
    let by_id = update(voucher(Address::new_id(id).unwrap(), 5, 0, 10, &key(2)));
    assert_eq!(world.send(3, channel, 0, method::UPDATE_CHANNEL_STATE, by_id), 0);
    let mut negative = voucher(channel, 6, 0, 10, &key(2));
    negative.amount = SignedAtto::new(-10);
    negative.signature = Some(key(2).sign(&negative.signing_bytes()).to_bytes().to_vec());
    assert_eq!(world.send(3, channel, 0, method::UPDATE_CHANNEL_STATE, update(negative)), 16);
    let unknown = voucher(predict_channel_address(None, &channel, Nonce::new(0), 0), 6, 0, 1, &key(2));
    assert_eq!(world.send(3, channel, 0, method::UPDATE_CHANNEL_STATE, update(unknown)), 16);
    assert_eq!(world.send(3, channel, 0, method::UPDATE_CHANNEL_STATE, vec![0x80]), 21);
    assert_eq!(world.send(3, channel, 0, 5, Vec::new()), 22);
}

#[test]
fn constructor_follows_its_rules() {
    let world = World::new();
    let known = key(2).address();
    let number = |id| Address::new_id(id).unwrap();
    let foreign = predict_channel_address(None, &known, Nonce::new(0), 0);
    let code = Kind::Paych.code();
    let table = [
        ("new payee", exec(known, key(9).address(), code), 0),
        ("missing actor", exec(known, number(123_456), code), 17),
        ("unresolvable to", exec(known, foreign, code), 16),
        ("unresolvable from", exec(foreign, known, code), 16),
        ("another actor's code", exec(known, known, Kind::Account.code()), 18),
        ("no parameters", Vec::new(), 21),
    ];
    for (name, params, exit) in table {
        let before = world.balance(&known);
        assert_eq!(world.send(2, init_actor(), 10, method::EXEC, params), exit, "{name}");
        let spent = before.checked_sub(world.balance(&known)).unwrap();
        assert_eq!(spent, if exit == 0 { atto(10) } else { atto(0) }, "{name}");
        world.assert_conserved();
    }
}

#[test]
fn collect_to_a_payee_that_is_gone_fails_and_loses_nothing() {
    let world = World::new();
    let (payee, code) = (world.open(10), Kind::Paych.code());
    let message = world.message(2, init_actor(), 50, method::EXEC, exec(key(2).address(), payee, code));
    let receipt = world.receipt(&message.sign(&key(2)));
    let channel = decode::<ExecReturn>(&receipt.ret).unwrap().robust;
    for channel in [payee, channel] {
        assert_eq!(world.send(2, channel, 0, method::SETTLE, Vec::new()), 0);
    }
    world.devnet.advance(1440).unwrap();
    assert_eq!(world.send(2, payee, 0, method::COLLECT, Vec::new()), 0);
    assert_eq!(world.send(2, channel, 0, method::COLLECT, Vec::new()), 5);
    assert_eq!(world.balance(&channel), atto(50));
    world.assert_conserved();
}

/// Fails every third write: before it happens, or after, when the caller cannot know.
#[derive(Default)]
struct Flaky {
    rows: MemStore,
    writes: std::sync::atomic::AtomicU32,
}

impl ChainStore for Flaky {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.get(key)
    }

    fn apply(&self, changes: Vec<crate::store::Change>) -> Result<(), StoreError> {
        let write = self.writes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if write % 6 != 4 {
            self.rows.apply(changes)?;
        }
        if write % 3 == 1 { Err(StoreError("disk".into())) } else { Ok(()) }
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<crate::store::Row>, StoreError> {
        self.rows.scan(prefix)
    }
}

#[test]
fn a_failing_store_neither_loses_nor_doubles_a_message() {
    let world =
        World { devnet: Devnet::open(Arc::new(Flaky::default()), genesis(7), Clock::Manual).unwrap() };
    let mut failures = 0;
    for sent in 1..=50 {
        let signed = world.message(1, key(2).address(), 10, 0, Vec::new()).sign(&key(1));
        while let Err(error) = world.devnet.push(&signed) {
            assert!(matches!(error, PushError::Ledger(Error::Store(_))), "{error}");
            failures += 1;
        }
        assert_eq!(world.balance(&key(2).address()), atto(10 * sent));
        assert_eq!(world.devnet.head.lock().number, sent);
        world.assert_conserved();
    }
    assert!(failures > 15);
}

#[test]
fn channel_addresses_are_predictable_and_another_chains() {
    let world = World::new();
    let payer = key(2).address();
    let salt = world.devnet.facts().genesis_hash;
    assert_eq!(world.open(1), predict_channel_address(Some(&salt), &payer, Nonce::new(0), 0));
    assert_ne!(world.open(1), predict_channel_address(None, &payer, Nonce::new(1), 0));
    assert_ne!(devnet(1).id(), devnet(2).id());
    assert!(world.devnet.id().as_str().starts_with("local:"));
}

#[test]
fn refused_messages_change_nothing() {
    let world = World::new();
    let payer = key(2).address();
    let good = world.message(2, key(3).address(), 5, 0, Vec::new());
    let refused = |message: Message, by: u8| world.devnet.push(&message.sign(&key(by))).unwrap_err();
    let before = world.rows();
    let gap = Message { nonce: Nonce::new(1), ..good.clone() };
    assert!(matches!(refused(gap, 2), PushError::Nonce { .. }));
    assert!(matches!(refused(good.clone(), 3), PushError::Signature(_)));
    let rich = Message { value: atto(1_000_001), ..good.clone() };
    assert!(matches!(refused(rich, 2), PushError::Funds { .. }));
    let gas = Message { gas_limit: 1000, fee_cap: atto(1000), value: atto(1), ..good.clone() };
    assert!(matches!(refused(gas, 2), PushError::Funds { .. }));
    let large = Message { params: vec![0; 4000], ..good.clone() };
    assert!(matches!(refused(large, 2), PushError::TooLarge(_)));
    let stranger = Message { from: key(8).address(), ..good.clone() };
    assert!(matches!(refused(stranger, 8), PushError::UnknownSender(_)));
    assert_eq!(world.rows(), before);

    let signed = good.sign(&key(2));
    let cid = world.devnet.push(&signed).unwrap();
    let after = world.rows();
    assert_eq!(world.devnet.push(&signed).unwrap(), cid, "the same message again is answered alike");
    assert_eq!(world.rows(), after, "and executed once");
    let low = Message { value: atto(6), ..signed.message };
    assert!(matches!(refused(low, 2), PushError::Nonce { .. }));
    assert_eq!(world.rows(), after);
    assert_eq!(world.balance(&payer), atto(999_995));
}

#[test]
fn a_dry_run_tells_the_end_and_changes_nothing() {
    let world = World::new();
    let channel = world.open(10);
    let before = world.rows();
    let collect = world.message(2, channel, 0, method::COLLECT, Vec::new());
    assert_eq!(world.devnet.dry_run(&collect).unwrap().get(), 18);
    let settle = world.message(2, channel, 0, method::SETTLE, Vec::new());
    assert_eq!(world.devnet.dry_run(&settle).unwrap().get(), 0);
    let rich = world.message(2, channel, u64::MAX, method::SEND, Vec::new());
    assert_eq!(world.devnet.dry_run(&rich).unwrap().get(), 6);
    assert_eq!(world.rows(), before);
}

#[test]
fn fees_are_charged_for_success_and_failure_and_counted() {
    let store = Arc::new(MemStore::new());
    let world =
        World { devnet: Devnet::open(store, Genesis { fee: atto(7), ..genesis(7) }, Clock::Manual).unwrap() };
    let send = |to: Address| {
        let message = world.message(1, to, 0, 0, Vec::new());
        let estimated = world.rpc("Filecoin.GasEstimateMessageGas", json!([message.to_json(), null, null]));
        let gas = estimated.map(|json| Message::from_json(&json).unwrap());
        let gas = gas.unwrap_or(Message { gas_limit: GAS, fee_cap: atto(1), ..message });
        world.receipt(&gas.sign(&key(1))).exit.get()
    };
    assert_eq!(send(key(2).address()), 0);
    assert_eq!(send(Address::new_id(77).unwrap()), 5);
    assert_eq!(world.devnet.totals().unwrap().1, atto(14));
    world.assert_conserved();
    let free = world.message(1, key(2).address(), 0, 0, Vec::new()).sign(&key(1));
    assert!(matches!(world.devnet.push(&free), Err(PushError::Fee { .. })));
}

#[test]
fn a_restart_keeps_everything() {
    let store: Arc<dyn ChainStore> = Arc::new(MemStore::new());
    let open = |seed| Devnet::open(Arc::clone(&store), genesis(seed), Clock::Manual);
    let world = World { devnet: open(7).unwrap() };
    world.send(1, key(2).address(), 1000, 0, Vec::new());
    let channel = world.open(100);
    let params = update(voucher(channel, 3, 1, 40, &key(2)));
    assert_eq!(world.send(3, channel, 0, method::UPDATE_CHANNEL_STATE, params.clone()), 0);
    world.devnet.advance(11).unwrap();
    let state = |world: &World| {
        let state = world.rpc("Filecoin.StateReadState", json!([channel, null])).unwrap();
        (state, world.rpc("Filecoin.ChainHead", json!([])).unwrap(), world.devnet.facts(), world.rows())
    };
    let before = state(&world);
    drop(world);
    // The genesis of a later call founds nothing where a chain exists.
    let world = World { devnet: open(9).unwrap() };
    assert_eq!(state(&world), before);
    assert_eq!(world.send(3, channel, 0, method::UPDATE_CHANNEL_STATE, params), 16, "nonce is remembered");
}

#[test]
fn epochs_follow_the_clock_and_never_go_back() {
    let store: Arc<dyn ChainStore> = Arc::new(MemStore::new());
    let clock = Clock::Wall { epoch: Duration::from_secs(30) };
    let open = || Devnet::open(Arc::clone(&store), genesis(1), clock).unwrap();
    let devnet = open();
    let start = devnet.head.lock().anchor.unwrap();
    let at = |devnet: &Devnet, seconds: u64| devnet.epoch_at(start + seconds * 1000).unwrap().get();
    assert_eq!((at(&devnet, 0), at(&devnet, 29), at(&devnet, 30), at(&devnet, 95)), (0, 0, 1, 3));
    drop(devnet);
    let devnet = open();
    assert_eq!(at(&devnet, 3005), 100, "the time while it was closed counts");
    drop(devnet);
    let devnet = open();
    assert_eq!(devnet.epoch_at(start - 3_600_000).unwrap().get(), 100, "a clock set back");
    assert_eq!(devnet.epoch_at(start - 3_600_000 + 30_000).unwrap().get(), 101, "stops nothing");
}

#[test]
fn blocks_are_chained_from_the_genesis_on() {
    let world = World::new();
    world.open(5);
    let row = |number: u64| world.devnet.store.get(&[&b"b"[..], &number.to_be_bytes()].concat()).unwrap();
    let mut parent = world.devnet.genesis().hash();
    let mut number = 0;
    while let Some(bytes) = row(number) {
        let block: view::Block = fvm_ipld_encoding::from_slice(&bytes).unwrap();
        assert_eq!((block.number, block.parent), (number, ByteArray::new(parent)));
        assert_eq!(block.message.is_some(), number > 0);
        parent = crate::cids::blake2b_256(&[&bytes]);
        number += 1;
    }
    assert_eq!(number, 4);
    assert_eq!(world.devnet.head.lock().hash, ByteArray::new(parent));
}

#[test]
fn an_audit_finds_what_no_message_did() {
    let world = World::new();
    let channel = world.open(100);
    world.devnet.advance(3).unwrap();
    let pay = update(voucher(channel, 0, 1, 40, &key(2)));
    assert_eq!(world.send(3, channel, 0, method::UPDATE_CHANNEL_STATE, pay), 0);
    assert_eq!(world.send(3, channel, 0, method::COLLECT, Vec::new()), 18);
    world.devnet.advance(9).unwrap();
    let copy = |change: &dyn Fn(&mut Vec<crate::store::Row>)| {
        let mut rows = world.rows();
        change(&mut rows);
        let store = MemStore::new();
        store.apply(rows.into_iter().map(|(key, value)| (key, Some(value))).collect()).unwrap();
        audit(&store)
    };
    assert_eq!(copy(&|_| {}).unwrap(), 5);
    assert!(matches!(copy(&|rows| rows.clear()), Err(AuditError::Empty)));
    for kind in [b'a', b'n', b'c', b'l', b'm', b'r', b'b', b'h', b'g'] {
        let spoilt = copy(&|rows| {
            let row = rows.iter_mut().rfind(|(key, _)| key[0] == kind).unwrap();
            let last = row.1.len() - 1;
            row.1[last] ^= 1;
        });
        assert!(spoilt.is_err(), "changed row {}", char::from(kind));
    }
    assert!(copy(&|rows| rows.push((b"a12345678".to_vec(), vec![0]))).is_err(), "added row");
    assert!(copy(&|rows| rows.retain(|(key, _)| key[0] != b'r')).is_err(), "receipts taken away");
}

#[test]
fn misuse_of_calls_has_its_codes() {
    let world = World::new();
    let code = |method: &str, params| world.rpc(method, params).unwrap_err().code;
    assert_eq!(code("Filecoin.PaychGet", json!([])), -32601);
    assert_eq!(code("Filecoin.StateGetActor", json!([])), -32602);
    assert_eq!(code("Filecoin.StateGetActor", json!(["f1nonsense", null])), -32602);
    assert_eq!(code("Filecoin.StateGetActor", json!({ "address": "f01" })), -32602);
    assert_eq!(code("Filecoin.ChainReadObj", json!(["text"])), -32602);
    assert_eq!(code("Filecoin.MpoolPush", json!([{ "Message": {} }])), -32602);
    assert_eq!(code("Pop.Advance", json!([-1])), -32602);
    let unknown = world.rpc("Filecoin.StateGetActor", json!([key(9).address(), null])).unwrap_err();
    assert_eq!(unknown.code, 1);
    assert!(unknown.message.starts_with("actor not found"));
    let advance = world.devnet.handle_remote("Pop.Advance", json!([1]), false).unwrap_err();
    assert_eq!(advance.code, 1);
    assert_eq!(world.rpc("Pop.Advance", json!([3])), Ok(json!(3)));
}

#[test]
fn answers_have_the_shapes_of_lotus() {
    let world = World::new();
    let channel = world.open(100);
    let get = |method: &str, params| world.rpc(method, params).unwrap();
    let state = get("Filecoin.StateReadState", json!([channel, null]));
    assert_eq!(state["Balance"], "100");
    assert_eq!(state["State"]["ToSend"], "0");
    assert_eq!(state["State"]["SettlingAt"], 0);
    let empty = "bafy2bzacedijw74yui7otvo63nfl3hdq2vdzuy7wx2tnptwed6zml4vvz7wee";
    assert_eq!(state["State"]["LaneStates"]["/"], empty);
    let actor = get("Filecoin.StateGetActor", json!(["f00", null]));
    assert_eq!((&actor["Nonce"], &actor["Balance"]), (&json!(0), &json!("0")));
    let id = get("Filecoin.StateLookupID", json!([key(1).address(), null]));
    assert_eq!(id, "f01000");
    assert_eq!(get("Filecoin.StateAccountKey", json!([id, null])), key(1).address().to_string());
    assert_eq!(world.rpc("Filecoin.StateAccountKey", json!([channel, null])).unwrap_err().code, 1);
    let number = get("Filecoin.StateLookupID", json!([channel, null]));
    assert_eq!(get("Filecoin.StateLookupRobustAddress", json!([number, null])), channel.to_string());
    assert_eq!(world.rpc("Filecoin.StateLookupRobustAddress", json!(["f00", null])).unwrap_err().code, 1);
    assert_eq!(get("Filecoin.MpoolGetNonce", json!([key(1).address()])), 2);
    let nothing = get("Filecoin.StateSearchMsg", json!([null, { "/": empty }, -1, true]));
    assert_eq!(nothing, Value::Null);
    let info = get("Pop.ChainInfo", json!([]));
    assert_eq!(info["ChainId"], world.devnet.id().as_str());
    assert_eq!((&info["SettleDelay"], &info["EpochMillis"]), (&json!(1440), &Value::Null));
}

/// One random message; indices wrap over what exists.
#[derive(Clone, Debug)]
enum Step {
    Send { by: u8, to: u8, value: u64 },
    Open { by: u8, to: u8, value: u64 },
    TopUp { by: u8, channel: usize, value: u64 },
    Update { by: u8, signer: u8, channel: usize, lane: u64, nonce: u64, amount: u64 },
    Settle { by: u8, channel: usize },
    Collect { by: u8, channel: usize },
    Advance { by: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    let (key, value, channel) = (1..5u8, 0..2_000u64, 0..6usize);
    prop_oneof![
        (key.clone(), key.clone(), value.clone()).prop_map(|(by, to, value)| Step::Send { by, to, value }),
        (key.clone(), key.clone(), value.clone()).prop_map(|(by, to, value)| Step::Open { by, to, value }),
        (key.clone(), channel.clone(), value.clone()).prop_map(|(by, channel, value)| Step::TopUp {
            by,
            channel,
            value
        }),
        (key.clone(), key.clone(), channel.clone(), 0..3u64, 0..9u64, value).prop_map(
            |(by, signer, channel, lane, nonce, amount)| {
                Step::Update { by, signer, channel, lane, nonce, amount }
            }
        ),
        (key.clone(), channel.clone()).prop_map(|(by, channel)| Step::Settle { by, channel }),
        (key, channel).prop_map(|(by, channel)| Step::Collect { by, channel }),
        (0..1500u32).prop_map(|by| Step::Advance { by }),
    ]
}

fn take(world: &World, channels: &mut Vec<Address>, step: &Step) {
    let at = |channel: usize| channels.get(channel % channels.len().max(1)).copied().unwrap_or(init_actor());
    let address = |number: u8| key(number).address();
    let (by, to, value, method, params) = match *step {
        Step::Advance { by } => {
            world.devnet.advance(by).unwrap();
            return;
        }
        Step::Send { by, to, value } => (by, address(to), value, method::SEND, Vec::new()),
        Step::Open { by, to, value } => {
            let params = exec(address(by), address(to), Kind::Paych.code());
            (by, init_actor(), value, method::EXEC, params)
        }
        Step::TopUp { by, channel, value } => (by, at(channel), value, method::SEND, Vec::new()),
        Step::Update { by, signer, channel, lane, nonce, amount } => {
            let params = update(voucher(at(channel), lane, nonce, amount, &key(signer)));
            (by, at(channel), 0, method::UPDATE_CHANNEL_STATE, params)
        }
        Step::Settle { by, channel } => (by, at(channel), 0, method::SETTLE, Vec::new()),
        Step::Collect { by, channel } => (by, at(channel), 0, method::COLLECT, Vec::new()),
    };
    let signed = world.message(by, to, value, method, params).sign(&key(by));
    // Refusals (key 4 has no account at first, others run out of money) are part of the game.
    let Ok(cid) = world.devnet.push(&signed) else { return };
    let receipt = world.devnet.snapshot().unwrap().receipt(cid.cid()).unwrap().unwrap();
    if let Ok(ExecReturn { robust, .. }) = decode(&receipt.ret) {
        channels.push(robust);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn money_is_neither_made_nor_lost(steps in proptest::collection::vec(step(), 1..60)) {
        let world = World::new();
        let mut channels = Vec::new();
        for step in &steps {
            take(&world, &mut channels, step);
            let (balances, fees) = world.devnet.totals().unwrap();
            prop_assert_eq!(balances.checked_add(fees).unwrap(), world.devnet.genesis().supply);
        }
        prop_assert!(audit(&*world.devnet.store).is_ok());
    }

    #[test]
    fn no_parameters_make_the_ledger_stumble(params in proptest::collection::vec(any::<u8>(), 0..200), method in 0..6u64) {
        let world = World::new();
        let channel = world.open(10);
        for to in [channel, init_actor()] {
            world.send(2, to, 1, method, params.clone());
            world.assert_conserved();
        }
    }
}
