//! What was promised in which hour, so that a bound on a day's spending holds over restarts.
//!
//! A row for each lane and hour, written together with the voucher: lanes are written side by side and share no row.

use std::collections::BTreeMap;

use pop_store::Batch;
use pop_units::{AttoFil, Lane};

use crate::error::WalletError;
use crate::rows::{decode, encode, lane_key, number_of};
use crate::wallet::Wallet;

/// An hour of the world's clock, counted since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(u64);

impl Hour {
    const SECONDS: u64 = 3600;

    /// Returns the hour of a moment, which is given in seconds since 1970.
    pub const fn of(seconds: u64) -> Self {
        Self(seconds / Self::SECONDS)
    }

    /// Returns the seconds since 1970 at its end.
    pub const fn end(self) -> u64 {
        self.0.saturating_add(1).saturating_mul(Self::SECONDS)
    }

    /// Returns true if a part of it may be less than a day ago.
    fn is_within_a_day_of(self, now: Self) -> bool {
        now.0.saturating_sub(self.0) <= 24
    }
}

impl Wallet {
    /// Returns what was promised on this chain in each hour that a day before `now` reaches into. Blocks.
    ///
    /// An hour that is yet to come was told by a clock that went wrong: it counts as `now`.
    ///
    /// # Errors
    /// The rows cannot be read, or their sum does not fit.
    pub fn spent_by_hour(&self, now: Hour) -> Result<BTreeMap<Hour, AttoFil>, WalletError> {
        let mut hours = BTreeMap::<Hour, AttoFil>::new();
        for (key, value) in self.0.state.scan(&self.0.tables.spent, &[])? {
            let hour = Hour(number_of(&key, 2)?).min(now);
            if hour.is_within_a_day_of(now) {
                let sum = hours.entry(hour).or_default();
                *sum = sum.checked_add(decode(&value, "spent")?)?;
            }
        }
        Ok(hours)
    }

    /// Adds to a batch that `add` more is promised on a lane, and forgets hours that no day reaches any more.
    ///
    /// The lane is locked by the caller.
    pub(crate) fn spend(
        &self,
        (number, lane): (u64, Lane),
        add: AttoFil,
        now: Hour,
    ) -> Result<Batch, WalletError> {
        let table = &self.0.tables.spent;
        let (mut batch, mut sum) = (Batch::new(), add);
        for (key, value) in self.0.state.scan(table, &lane_key(number, lane))? {
            let hour = Hour(number_of(&key, 2)?);
            if hour >= now {
                sum = sum.checked_add(decode(&value, "spent")?)?;
            }
            if hour > now || !hour.is_within_a_day_of(now) {
                batch = batch.delete(table, key);
            }
        }
        let key = [&lane_key(number, lane)[..], &now.0.to_be_bytes()[..]].concat();
        Ok(batch.put(table, key, encode(&sum)))
    }
}
