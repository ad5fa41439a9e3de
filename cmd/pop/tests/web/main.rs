//! The gateway of real daemons, over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "in tests an unwrap is the assertion, and their constants are small"
)]

mod fetch;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../first_light/fleet.rs"]
mod fleet;
mod http;
mod local;
