//! Counters of the chain and of payment channels, and the replication factor.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Overflow;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Wraps the plain number.
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// Returns the plain number.
            pub const fn get(self) -> $inner {
                self.0
            }

            /// Adds `count`.
            ///
            /// # Errors
            /// The sum does not fit.
            pub fn checked_add(self, count: $inner) -> Result<Self, Overflow> {
                self.0.checked_add(count).map(Self).ok_or(Overflow)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// A height of the chain; one epoch is 30 s on Filecoin.
    ChainEpoch(i64)
}
counter! {
    /// A lane of a payment channel: an independent series of cumulative vouchers.
    Lane(u64)
}
counter! {
    /// The order of vouchers on a lane, or of messages of an account.
    Nonce(u64)
}
counter! {
    /// How many other nodes shall keep a copy.
    ReplicationFactor(u8)
}
