//! What a message does once its sender, nonce and funds have been checked.

use pop_keys::{Address, Signature};
use pop_payments::paych::{self as wire, ConstructorParams, ExecParams, ExecReturn, UpdateParams, method};
use pop_payments::{ExitCode, Message, predict_channel_address};
use pop_units::AttoFil;
use serde::de::DeserializeOwned;

use super::Error;
use super::view::{Actor, Kind, View};
use crate::paych::{ActorId, Call, Channel, Signed, Update};

/// More work than one message may cause on this ledger.
const OUT_OF_GAS: ExitCode = ExitCode::new(7);
/// Lanes of one channel; a channel of the house has at most 16, and each message reads all of them.
const MAX_LANES: usize = 1024;

/// What is fixed for a whole chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) genesis_hash: [u8; 32],
    pub(crate) settle_delay: i64,
}

/// How a message ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: ExitCode,
    pub(crate) ret: Vec<u8>,
}

/// Why execution stops: by a rule, which the receipt shows, or because the ledger cannot go on.
enum Halt {
    Exit(ExitCode),
    Broken(Error),
}

impl From<ExitCode> for Halt {
    fn from(exit: ExitCode) -> Self {
        Self::Exit(exit)
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// Executes `message` of account `from`; an exit code other than zero leaves `view` as it was.
pub(crate) fn run(
    view: &mut View<'_>,
    rules: &Rules,
    from: ActorId,
    message: &Message,
) -> Result<Outcome, Error> {
    let mut attempt = view.clone();
    match (Execution { view: &mut attempt, rules, from, message }).run() {
        Ok(ret) => {
            *view = attempt;
            Ok(Outcome { exit: ExitCode::OK, ret })
        }
        Err(Halt::Exit(exit)) => Ok(Outcome { exit, ret: Vec::new() }),
        Err(Halt::Broken(error)) => Err(error),
    }
}

struct Execution<'v, 's> {
    view: &'v mut View<'s>,
    rules: &'v Rules,
    from: ActorId,
    message: &'v Message,
}

impl Execution<'_, '_> {
    fn run(&mut self) -> Result<Vec<u8>, Halt> {
        let to = self.view.find_or_create(&self.message.to)?.ok_or(ExitCode::SYS_INVALID_RECEIVER)?;
        let receiver = self.view.actor(to)?.ok_or(ExitCode::SYS_INVALID_RECEIVER)?;
        self.pay(self.from, to, self.message.value)?;
        match (receiver.kind, self.message.method) {
            (_, method::SEND) => Ok(Vec::new()),
            (Kind::Init, method::EXEC) => self.exec(to),
            (Kind::Paych, method::UPDATE_CHANNEL_STATE) => self.update(to),
            (Kind::Paych, method::SETTLE) => self.settle(to),
            (Kind::Paych, method::COLLECT) => self.collect(to),
            (Kind::System | Kind::Init | Kind::Account | Kind::Paych, _) => {
                Err(ExitCode::USR_UNHANDLED_MESSAGE.into())
            }
        }
    }

    fn exec(&mut self, init: ActorId) -> Result<Vec<u8>, Halt> {
        let ExecParams { code, constructor } = decode(&self.message.params)?;
        if code != Kind::Paych.code() {
            return Err(ExitCode::USR_FORBIDDEN.into());
        }
        let ConstructorParams { from, to } = decode(&constructor)?;
        let to = self.party(&to)?;
        let from = self.party(&from)?;
        let origin = self.view.actor(self.from)?.ok_or(ExitCode::SYS_SENDER_INVALID)?.address;
        let salt = Some(&self.rules.genesis_hash);
        let robust = predict_channel_address(salt, &origin, self.message.nonce, 0);
        if self.view.id_of(&robust)?.is_some() {
            return Err(ExitCode::USR_FORBIDDEN.into());
        }
        let id = self.view.create(Kind::Paych, robust)?;
        self.view.put_channel(id, None, &Channel::new(from, to))?;
        self.pay(init, id, self.message.value)?;
        let id = Address::new_id(id).map_err(|_| Error::Overflow)?;
        Ok(fvm_ipld_encoding::to_vec(&ExecReturn { id, robust }).expect("two addresses always encode"))
    }

    /// Resolves a party of a new channel, which must exist or be a key that comes to exist.
    fn party(&mut self, address: &Address) -> Result<ActorId, Halt> {
        if let Some(id) = self.view.find_or_create(address)? {
            return Ok(id);
        }
        // A number or robust address that resolves but has no actor is "not found"; any other is no argument.
        Err(match self.view.id_of(address)? {
            Some(_) => ExitCode::USR_NOT_FOUND,
            None => ExitCode::USR_ILLEGAL_ARGUMENT,
        }
        .into())
    }

    fn update(&mut self, id: ActorId) -> Result<Vec<u8>, Halt> {
        let UpdateParams { voucher, secret } = decode(&self.message.params)?;
        let before = self.channel(id)?;
        if before.lanes.len() >= MAX_LANES && !before.lanes.contains_key(&voucher.lane) {
            return Err(OUT_OF_GAS.into());
        }
        let signer = self.view.actor(before.counterparty(self.from))?;
        let merges: Vec<_> = voucher.merges.iter().map(|merge| (merge.lane, merge.nonce)).collect();
        let update = Update {
            channel: self.view.id_of(&voucher.channel)?,
            time_lock_min: voucher.time_lock_min,
            time_lock_max: voucher.time_lock_max,
            secret_hash: &voucher.secret_hash,
            secret: &secret,
            // No actor of this ledger has a method that a voucher could call.
            extra: voucher.extra.as_ref().map_or(ExitCode::OK, |_| ExitCode::USR_UNHANDLED_MESSAGE),
            lane: voucher.lane,
            nonce: voucher.nonce,
            amount: AttoFil::try_from(voucher.amount).ok(),
            min_settle_height: voucher.min_settle_height,
            merges: &merges,
            signed: signed(&voucher, signer.as_ref()),
        };
        let mut after = before.clone();
        after.update(self.call(id)?, &update)?;
        self.view.put_channel(id, Some(&before), &after)?;
        Ok(Vec::new())
    }

    fn settle(&mut self, id: ActorId) -> Result<Vec<u8>, Halt> {
        let before = self.channel(id)?;
        let mut after = before.clone();
        after.settle(self.call(id)?, self.rules.settle_delay)?;
        self.view.put_channel(id, Some(&before), &after)?;
        Ok(Vec::new())
    }

    fn collect(&mut self, id: ActorId) -> Result<Vec<u8>, Halt> {
        let channel = self.channel(id)?;
        let payout = channel.collect(self.call(id)?)?;
        self.pay(id, channel.to, payout.to)?;
        self.pay(id, channel.from, payout.from)?;
        self.view.delete_channel(id, &channel);
        Ok(Vec::new())
    }

    fn channel(&self, id: ActorId) -> Result<Channel, Halt> {
        self.view.channel(id)?.ok_or(Halt::Exit(ExitCode::USR_ILLEGAL_STATE))
    }

    fn call(&self, receiver: ActorId) -> Result<Call, Halt> {
        let balance = self.view.actor(receiver)?.ok_or(ExitCode::SYS_INVALID_RECEIVER)?.balance;
        Ok(Call { caller: self.from, receiver, epoch: self.view.head.epoch, balance })
    }

    fn pay(&mut self, from: ActorId, to: ActorId, amount: AttoFil) -> Result<(), Halt> {
        if self.view.actor(to)?.is_none() {
            return Err(ExitCode::SYS_INVALID_RECEIVER.into());
        }
        match self.view.transfer(from, to, amount)? {
            true => Ok(()),
            false => Err(ExitCode::SYS_INSUFFICIENT_FUNDS.into()),
        }
    }
}

fn signed(voucher: &wire::RawVoucher, signer: Option<&Actor>) -> Signed {
    let Some(signature) = &voucher.signature else { return Signed::Not };
    let good = signer.is_some_and(|signer| {
        let signature = Signature::from_bytes(signature);
        signature.and_then(|s| s.verify(&signer.address, &voucher.signing_bytes())).is_ok()
    });
    if good { Signed::Well } else { Signed::Wrongly }
}

fn decode<T: DeserializeOwned>(params: &[u8]) -> Result<T, Halt> {
    fvm_ipld_encoding::from_slice(params).map_err(|_| Halt::Exit(ExitCode::USR_SERIALIZATION))
}
