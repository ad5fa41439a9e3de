//! What the operator is shown: channels, and where the money came from and went.

use std::fmt;

use pop_keys::Address;
use pop_ledger::Balance;
use pop_units::{AttoFil, Bytes, ChainEpoch, Overflow};
use serde::{Deserialize, Serialize};

use crate::book::Channel;
use crate::error::WalletError;
use crate::rows::{Direction, Stage};
use crate::wallet::Wallet;

/// Where a channel stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelPhase {
    /// Its message is under way.
    Creating,
    /// Vouchers can be made and taken.
    Open,
    /// It waits for its settling time.
    Settling,
    /// It can be paid out.
    Collectable,
    /// It was paid out.
    Closed,
    /// It was never created.
    Failed,
}

impl fmt::Display for ChannelPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Open => "open",
            Self::Settling => "settling",
            Self::Collectable => "collectable",
            Self::Closed => "closed",
            Self::Failed => "failed",
        })
    }
}

impl Channel {
    pub(crate) fn phase(&self, now: ChainEpoch) -> ChannelPhase {
        match self.row.stage {
            Stage::Creating => ChannelPhase::Creating,
            Stage::Open if !self.is_settling() => ChannelPhase::Open,
            Stage::Open if now < self.row.settling_at => ChannelPhase::Settling,
            Stage::Open => ChannelPhase::Collectable,
            Stage::Closed => ChannelPhase::Closed,
            Stage::Failed(_) => ChannelPhase::Failed,
        }
    }
}

/// One channel as `pay list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSummary {
    /// Its address.
    pub channel: Address,
    /// Whether it pays us.
    pub direction: Direction,
    /// Who pays.
    pub from: Address,
    /// Who is paid.
    pub to: Address,
    /// The money in it.
    pub deposit: AttoFil,
    /// What its vouchers promise, over all lanes.
    pub best_voucher: AttoFil,
    /// What the chain holds of that.
    pub redeemed: AttoFil,
    /// Where it stands.
    pub state: ChannelPhase,
    /// When it can be collected; none while nobody settles.
    pub settles_at: Option<ChainEpoch>,
}

/// One channel from bytes to money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelEarnings {
    /// Its address.
    pub channel: Address,
    /// Whether it pays us.
    pub direction: Direction,
    /// The other side.
    pub peer: Address,
    /// Bytes that its vouchers paid for.
    pub bytes: Bytes,
    /// What its vouchers promise.
    pub vouched: AttoFil,
    /// What the chain holds of that.
    pub redeemed: AttoFil,
    /// What came back to our account at its end.
    pub settled: AttoFil,
}

/// Where the money came from and went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earnings {
    /// All channels.
    pub channels: Vec<ChannelEarnings>,
    /// Promised to us.
    pub earned: AttoFil,
    /// Promised by us.
    pub spent: AttoFil,
    /// What the chain holds of what was promised to us.
    pub redeemed: AttoFil,
    /// Paid out to us so far.
    pub collected: AttoFil,
    /// Bytes sold.
    pub bytes_sold: Bytes,
    /// Bytes bought.
    pub bytes_bought: Bytes,
    /// Both sides of the whole books: equal, or the books are wrong.
    pub books: Balance,
}

impl Wallet {
    /// Returns all channels that have an address, oldest first; one that is being created has none yet.
    ///
    /// # Errors
    /// Sums do not fit.
    pub fn channels(&self) -> Result<Vec<ChannelSummary>, WalletError> {
        let book = self.book();
        let now = book.epoch;
        let known = book.channels.values().filter_map(|channel| Some((channel.row.address?, channel)));
        let summaries = known.map(|(address, channel)| {
            let row = &channel.row;
            let settles_at = channel.is_settling().then_some(row.settling_at);
            Ok(ChannelSummary {
                channel: address,
                direction: row.direction,
                from: row.from,
                to: row.to,
                deposit: row.balance,
                best_voucher: channel.vouched()?,
                redeemed: row.to_send,
                state: channel.phase(now),
                settles_at,
            })
        });
        summaries.collect()
    }

    /// Returns what was sold and bought, promised and paid out, with the totals of the books. Blocks.
    ///
    /// # Errors
    /// The books cannot be read.
    pub fn earnings(&self) -> Result<Earnings, WalletError> {
        let accounts = pop_ledger::balances(&self.books(), "")?;
        let books = pop_ledger::totals(accounts.iter().map(|(_, balance)| balance))?;
        let mut sum = Earnings { books, ..Earnings::default() };
        let book = self.book();
        for channel in book.channels.values() {
            let row = &channel.row;
            let Some(address) = row.address else {
                continue;
            };
            let vouched = channel.vouched()?;
            let peer = match row.direction {
                Direction::Inbound => row.from,
                Direction::Outbound => row.to,
            };
            let bytes = channel.bytes();
            match row.direction {
                Direction::Inbound => {
                    sum.earned = sum.earned.checked_add(vouched)?;
                    sum.redeemed = sum.redeemed.checked_add(row.to_send)?;
                    sum.collected = sum.collected.checked_add(row.settled)?;
                    sum.bytes_sold = sum.bytes_sold.saturating_add(bytes);
                }
                Direction::Outbound => {
                    sum.spent = sum.spent.checked_add(vouched)?;
                    sum.bytes_bought = sum.bytes_bought.saturating_add(bytes);
                }
            }
            sum.channels.push(ChannelEarnings {
                channel: address,
                direction: row.direction,
                peer,
                bytes,
                vouched,
                redeemed: row.to_send,
                settled: row.settled,
            });
        }
        Ok(sum)
    }
}

impl Channel {
    fn vouched(&self) -> Result<AttoFil, Overflow> {
        match self.row.direction {
            Direction::Inbound => AttoFil::checked_sum(self.best.values().map(|best| best.amount)),
            Direction::Outbound => self.lanes.promised(),
        }
    }

    fn bytes(&self) -> Bytes {
        self.paid_for.values().fold(Bytes::ZERO, |sum, bytes| sum.saturating_add(*bytes))
    }
}
