//! A lane of a payment channel, for the length of a deal.

use pop_units::AttoFil;
use pop_wallet::Lanehold;
use pop_wire::DealId;

use super::error::DealError;
use super::shared::Shared;

/// A lane that is given back when the deal is over, however it ends.
pub(super) struct Lane<'a> {
    shared: &'a Shared,
    pub(super) hold: Lanehold,
}

impl<'a> Lane<'a> {
    /// Makes sure that `need` more can be promised to `payee`.
    pub(super) async fn hold(
        shared: &'a Shared,
        payee: pop_keys::Address,
        deal: DealId,
        need: AttoFil,
    ) -> Result<Self, DealError> {
        let hold = shared.purse.hold(&payee, deal, need).await?;
        Ok(Self { shared, hold })
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        self.shared.purse.release(&self.hold);
    }
}
