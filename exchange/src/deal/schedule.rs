//! How much is paid at a time.

use pop_units::{AttoFil, Bytes, Overflow, PricePerByte};

/// The price and the growing interval between payments; both sides compute it alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    price: PricePerByte,
    interval: Bytes,
    max: Bytes,
}

impl Schedule {
    /// Starts at `interval`, which doubles with each full payment up to `max`.
    pub const fn new(price: PricePerByte, interval: Bytes, max: Bytes) -> Self {
        Self { price, interval, max }
    }

    /// Returns the price.
    pub const fn price(&self) -> PricePerByte {
        self.price
    }

    /// Returns the current interval.
    pub const fn interval(&self) -> Bytes {
        self.interval
    }

    /// Returns how many unpaid bytes the provider may have sent: two intervals, so that the next interval
    /// flows while the voucher for the last one is on its way.
    pub const fn exposure(&self) -> Bytes {
        self.interval.saturating_mul(2)
    }

    /// Returns what one interval costs. One attoFIL less than the price: two cumulative payments that are
    /// each rounded up may differ from the interval's own price by that much.
    ///
    /// # Errors
    /// The price does not fit.
    pub fn full_payment(&self) -> Result<AttoFil, Overflow> {
        Ok(self.price.cost_of(self.interval)?.saturating_sub(AttoFil::new(1)))
    }

    /// Takes note of a payment. A full one doubles the interval.
    ///
    /// # Errors
    /// The price does not fit.
    pub fn on_payment(&mut self, amount: AttoFil) -> Result<(), Overflow> {
        if amount >= self.full_payment()? {
            self.interval = self.interval.saturating_mul(2).min(self.max);
        }
        Ok(())
    }

    /// Returns how many bytes `paid` pays for, rounded in favour of who pays.
    pub fn covered(&self, paid: AttoFil) -> Bytes {
        let price = self.price.of_gib().get();
        if price == 0 {
            return Bytes::new(u64::MAX);
        }
        let product = paid.get().saturating_mul(u128::from(Bytes::GIB.get()));
        Bytes::new(u64::try_from(product / price).unwrap_or(u64::MAX))
    }
}
