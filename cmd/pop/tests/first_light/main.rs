//! The main job end to end: real daemons, real sockets, the real command line.
#![expect(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "in tests an unwrap is the assertion, and their constants are small"
)]

mod fleet;
mod harm;
mod keeping;
mod market;
