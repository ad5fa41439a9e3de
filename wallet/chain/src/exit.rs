//! Exit codes of messages, as Filecoin numbers them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a message that was executed ended; zero is success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExitCode(u32);

impl ExitCode {
    /// The message did what it asked for.
    pub const OK: Self = Self(0);
    /// The receiver does not exist and cannot be created by a send.
    pub const INVALID_RECEIVER: Self = Self(5);
    /// The sender of an inner send has less than the value.
    pub const INSUFFICIENT_FUNDS: Self = Self(6);
    /// The message wants more work than one message may cause.
    pub const OUT_OF_GAS: Self = Self(7);
    /// A parameter breaks a rule.
    pub const ILLEGAL_ARGUMENT: Self = Self(16);
    /// Something named does not exist.
    pub const NOT_FOUND: Self = Self(17);
    /// The caller may not do this, or not yet.
    pub const FORBIDDEN: Self = Self(18);
    /// The actor is in no state for this.
    pub const ILLEGAL_STATE: Self = Self(20);
    /// The parameters do not decode.
    pub const SERIALIZATION: Self = Self(21);
    /// The actor has no such method.
    pub const UNHANDLED: Self = Self(22);
    /// A voucher came after the channel was settled.
    pub const UPDATE_AFTER_SETTLED: Self = Self(32);

    /// Wraps the number.
    pub const fn new(code: u32) -> Self {
        Self(code)
    }

    /// Returns the number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns true for success.
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
