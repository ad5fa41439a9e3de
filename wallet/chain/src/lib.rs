//! The engines that settle: a ledger inside the process and the client of Filecoin nodes.

mod cids;
mod exit;
pub mod lanes;
pub mod paych;

pub use crate::exit::ExitCode;
