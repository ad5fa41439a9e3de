//! The rules against 6,018 recorded operations of the real actor, and the actor's own cases by name.

use std::io::Read;

use pop_payments::paych::SETTLE_DELAY;
use serde::Deserialize;

use super::*;
use crate::lanes;

const TO: ActorId = 101;
const FROM: ActorId = 102;
const OTHER: ActorId = 103;
const CHANNEL: ActorId = 100;

#[derive(Deserialize)]
struct Trace {
    trace: u64,
    balance: u64,
    epoch: i64,
    ops: Vec<Op>,
}

#[derive(Deserialize)]
struct Op {
    #[serde(flatten)]
    act: Act,
    exit: u32,
    #[serde(default)]
    deleted: bool,
    paid_to: Option<u64>,
    to_send: Option<u64>,
    settling_at: Option<i64>,
    min_settle_height: Option<i64>,
    balance: Option<u64>,
    lanes: Option<Vec<(u64, u64, u64)>>,
    lane_root: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Act {
    Advance { by: i64 },
    Fund { by: u64 },
    Settle { caller: String },
    Collect { caller: String },
    Update(Box<Recorded>),
}

#[derive(Deserialize)]
struct Recorded {
    caller: String,
    chan: u64,
    tmin: i64,
    tmax: i64,
    secret_hash: String,
    secret: String,
    lane: u64,
    nonce: u64,
    amount: i64,
    msh: i64,
    merges: Vec<(u64, u64)>,
    sig: String,
}

struct Model {
    channel: Channel,
    balance: AttoFil,
    epoch: ChainEpoch,
    payout: Option<Payout>,
}

fn atto(amount: u64) -> AttoFil {
    AttoFil::new(u128::from(amount))
}

fn party(name: &str) -> ActorId {
    match name {
        "to" => TO,
        "from" => FROM,
        "other" => OTHER,
        unknown => panic!("caller {unknown}"),
    }
}

impl Model {
    fn call(&self, caller: ActorId) -> Call {
        Call { caller, receiver: CHANNEL, epoch: self.epoch, balance: self.balance }
    }

    fn run(&mut self, act: &Act) -> Result<(), ExitCode> {
        match act {
            Act::Advance { by } => self.epoch = self.epoch.checked_add(*by).unwrap(),
            Act::Fund { by } => self.balance = self.balance.checked_add(atto(*by)).unwrap(),
            Act::Settle { caller } => self.channel.settle(self.call(party(caller)), SETTLE_DELAY)?,
            Act::Collect { caller } => {
                self.payout = Some(self.channel.collect(self.call(party(caller)))?);
            }
            Act::Update(recorded) => self.update(recorded)?,
        }
        Ok(())
    }

    fn update(&mut self, r: &Recorded) -> Result<(), ExitCode> {
        let (secret, secret_hash) = (hex::decode(&r.secret).unwrap(), hex::decode(&r.secret_hash).unwrap());
        let merges: Vec<_> = r.merges.iter().map(|(l, n)| (Lane::new(*l), Nonce::new(*n))).collect();
        let update = Update {
            channel: Some(r.chan),
            time_lock_min: ChainEpoch::new(r.tmin),
            time_lock_max: ChainEpoch::new(r.tmax),
            secret_hash: &secret_hash,
            secret: &secret,
            extra: ExitCode::OK,
            lane: Lane::new(r.lane),
            nonce: Nonce::new(r.nonce),
            amount: u64::try_from(r.amount).ok().map(atto),
            min_settle_height: ChainEpoch::new(r.msh),
            merges: &merges,
            signed: match r.sig.as_str() {
                "ok" => Signed::Well,
                "bad" => Signed::Wrongly,
                _ => Signed::Not,
            },
        };
        let call = self.call(party(&r.caller));
        self.channel.update(call, &update)
    }
}

fn traces() -> Vec<Trace> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/paych/traces.json.gz");
    let mut json = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut json).unwrap();
    serde_json::from_str(&json).unwrap()
}

fn check(model: &Model, op: &Op, at: &str) {
    if op.deleted {
        let payout = model.payout.unwrap();
        assert_eq!(Some(payout.to), op.paid_to.map(atto), "{at}: paid to");
        assert_eq!(payout.to.checked_add(payout.from).unwrap(), model.balance, "{at}: paid in all");
        return;
    }
    let channel = &model.channel;
    assert_eq!(Some(channel.to_send), op.to_send.map(atto), "{at}: to_send");
    assert_eq!(Some(channel.settling_at.get()), op.settling_at, "{at}: settling_at");
    assert_eq!(Some(channel.min_settle_height.get()), op.min_settle_height, "{at}: min_settle_height");
    assert_eq!(Some(model.balance), op.balance.map(atto), "{at}: balance");
    let lane = |&(lane, redeemed, nonce): &(u64, u64, u64)| {
        (Lane::new(lane), LaneState { redeemed: atto(redeemed), nonce: Nonce::new(nonce) })
    };
    assert_eq!(channel.lanes, op.lanes.iter().flatten().map(lane).collect(), "{at}: lanes");
    let tree = lanes::build(&channel.lanes).unwrap();
    assert_eq!(Some(tree.root.to_string()), op.lane_root, "{at}: lane root");
}

#[test]
fn all_6018_recorded_operations_end_alike() {
    let mut operations = 0;
    let traces = traces();
    assert_eq!(traces.len(), 300);
    for trace in traces {
        let (balance, epoch) = (atto(trace.balance), ChainEpoch::new(trace.epoch));
        let mut model = Model { channel: Channel::new(FROM, TO), balance, epoch, payout: None };
        for (index, op) in trace.ops.iter().enumerate() {
            let at = format!("trace {} operation {index}", trace.trace);
            let exit = model.run(&op.act).err().unwrap_or(ExitCode::OK);
            assert_eq!(exit.get(), op.exit, "{at}: exit code");
            check(&model, op, &at);
            operations += 1;
        }
    }
    assert_eq!(operations, 6018);
}

/// A voucher that is good in every way: lane 1, nonce 1, 10 of a balance of 100 at epoch 10.
fn voucher() -> Update<'static> {
    Update {
        channel: Some(CHANNEL),
        time_lock_min: ChainEpoch::new(0),
        time_lock_max: ChainEpoch::new(0),
        secret_hash: &[],
        secret: &[],
        extra: ExitCode::OK,
        lane: Lane::new(1),
        nonce: Nonce::new(1),
        amount: Some(atto(10)),
        min_settle_height: ChainEpoch::new(0),
        merges: &[],
        signed: Signed::Well,
    }
}

fn model() -> Model {
    Model { channel: Channel::new(FROM, TO), balance: atto(100), epoch: ChainEpoch::new(10), payout: None }
}

fn submit(model: &mut Model, update: &Update<'_>) -> u32 {
    let call = model.call(TO);
    let before = model.channel.clone();
    let exit = model.channel.update(call, update).err().unwrap_or(ExitCode::OK);
    assert!(exit.is_ok() || model.channel == before, "a refused voucher changed the channel");
    exit.get()
}

#[test]
fn create_lane_follows_each_rule() {
    type Change = fn(&mut Update<'static>);
    let table: [(&str, Change, u32); 12] = [
        ("good", |_| {}, 0),
        ("first nonce zero", |u| u.nonce = Nonce::new(0), 0),
        ("wrong channel", |u| u.channel = Some(210), 16),
        ("channel does not resolve", |u| u.channel = None, 16),
        ("negative", |u| u.amount = None, 16),
        ("over balance", |u| u.amount = Some(atto(101)), 16),
        ("no signature", |u| u.signed = Signed::Not, 16),
        ("bad signature", |u| u.signed = Signed::Wrongly, 16),
        ("too early", |u| u.time_lock_min = ChainEpoch::new(11), 16),
        ("too late", |u| u.time_lock_max = ChainEpoch::new(9), 16),
        ("highest lane", |u| u.lane = Lane::new(MAX_LANE), 0),
        ("lane above the highest", |u| u.lane = Lane::new(MAX_LANE + 1), 16),
    ];
    for (name, change, exit) in table {
        let mut update = voucher();
        change(&mut update);
        assert_eq!(submit(&mut model(), &update), exit, "{name}");
    }
}

#[test]
fn redeeming_counts_the_difference_and_the_nonce_grows() {
    let mut model = model();
    assert_eq!(submit(&mut model, &voucher()), 0);
    assert_eq!(submit(&mut model, &voucher()), 16, "nonce used twice");
    let lower = Update { amount: Some(atto(9)), nonce: Nonce::new(2), ..voucher() };
    assert_eq!(submit(&mut model, &lower), 0, "a newer voucher may lower the amount");
    assert_eq!(model.channel.to_send, atto(9));
    assert_eq!(model.channel.lanes[&Lane::new(1)].nonce, Nonce::new(2));
    let other = Update { lane: Lane::new(2), ..voucher() };
    assert_eq!(submit(&mut model, &other), 0);
    assert_eq!(model.channel.to_send, atto(19));
}

#[test]
fn merges_fold_lanes_in_or_are_refused() {
    let mut start = model();
    assert_eq!(submit(&mut start, &voucher()), 0);
    assert_eq!(submit(&mut start, &Update { lane: Lane::new(2), nonce: Nonce::new(4), ..voucher() }), 0);
    let table: [(&str, u64, u64, u64, u64, u32); 6] = [
        ("good", 2, 5, 2, 30, 0),
        ("own lane", 1, 5, 2, 30, 16),
        ("old merge nonce", 2, 4, 2, 30, 16),
        ("old voucher nonce", 2, 5, 1, 30, 16),
        ("over balance", 2, 5, 2, 101, 16),
        ("unknown lane", 999, 5, 2, 30, 16),
    ];
    for (name, lane, merge_nonce, nonce, amount, exit) in table {
        let mut model = Model { channel: start.channel.clone(), ..self::model() };
        let merges = [(Lane::new(lane), Nonce::new(merge_nonce))];
        let update =
            Update { merges: &merges, nonce: Nonce::new(nonce), amount: Some(atto(amount)), ..voucher() };
        assert_eq!(submit(&mut model, &update), exit, "{name}");
        if exit == 0 {
            assert_eq!(model.channel.to_send, atto(30));
            assert_eq!(
                model.channel.lanes[&Lane::new(2)],
                LaneState { redeemed: atto(10), nonce: Nonce::new(5) }
            );
        }
    }
}

#[test]
fn secret_must_hash_to_what_the_voucher_says() {
    let hash = blake2b_simd::Params::new().hash_length(32).hash(b"secret");
    let locked = Update { secret_hash: hash.as_bytes(), ..voucher() };
    assert_eq!(submit(&mut model(), &Update { secret: b"secret", ..locked.clone() }), 0);
    assert_eq!(submit(&mut model(), &Update { secret: b"guess", ..locked }), 16);
    assert_eq!(submit(&mut model(), &Update { secret: &[7; 257], ..voucher() }), 16);
}

#[test]
fn extra_call_decides() {
    assert_eq!(submit(&mut model(), &Update { extra: ExitCode::new(23), ..voucher() }), 23);
}

#[test]
fn voucher_moves_a_running_settlement() {
    for (raise, moves) in [(0, false), (2, false), (12, false), (1451, true)] {
        let mut model = model();
        model.run(&Act::Settle { caller: "to".to_owned() }).unwrap();
        let at = model.channel.settling_at;
        assert_eq!(at.get(), 1450);
        let update = Update { min_settle_height: ChainEpoch::new(raise), ..voucher() };
        assert_eq!(submit(&mut model, &update), 0);
        assert_eq!(model.channel.settling_at > at, moves, "min settle height {raise}");
        assert_eq!(model.channel.min_settle_height.get(), raise);
    }
}

#[test]
fn settle_happens_once_and_respects_the_settle_height() {
    let mut model = model();
    let update = Update { min_settle_height: ChainEpoch::new(9000), ..voucher() };
    assert_eq!(submit(&mut model, &update), 0);
    let settle = Act::Settle { caller: "from".to_owned() };
    assert_eq!(model.run(&settle), Ok(()));
    assert_eq!(model.channel.settling_at.get(), 9000);
    assert_eq!(model.run(&settle), Err(ExitCode::USR_ILLEGAL_STATE));
    model.epoch = ChainEpoch::new(9000);
    let late = Update { nonce: Nonce::new(2), secret: &[7; 257], ..voucher() };
    assert_eq!(submit(&mut model, &late), 32, "settled comes before the other rules");
    assert_eq!(
        submit(&mut model, &Update { signed: Signed::Not, ..late }),
        16,
        "but after a missing signature"
    );
}

#[test]
fn collect_pays_both_sides_when_the_time_has_come() {
    let mut model = model();
    assert_eq!(submit(&mut model, &voucher()), 0);
    let collect = Act::Collect { caller: "from".to_owned() };
    assert_eq!(model.run(&collect), Err(ExitCode::USR_FORBIDDEN), "not settling");
    model.run(&Act::Settle { caller: "to".to_owned() }).unwrap();
    model.epoch = ChainEpoch::new(1449);
    assert_eq!(model.run(&collect), Err(ExitCode::USR_FORBIDDEN), "one epoch too early");
    model.epoch = ChainEpoch::new(1450);
    assert_eq!(model.run(&Act::Collect { caller: "other".to_owned() }), Err(ExitCode::USR_FORBIDDEN));
    assert_eq!(model.run(&collect), Ok(()));
    assert_eq!(model.payout, Some(Payout { to: atto(10), from: atto(90) }));
}
