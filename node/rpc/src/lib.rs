//! The contract of the control API: methods, parameters, results and errors of a pop's JSON-RPC, and a typed client.
//!
//! One table ([`contract`](mod@contract)) names every method once; the trait a daemon implements ([`Api`]), the module
//! that serves it ([`module`]), the methods of [`Client`] and the `OpenRPC` document ([`openrpc`]) all come from it, so
//! that they cannot drift apart. Results are exactly what the command line prints with `--json`.
//!
//! This crate never listens, never touches a store or a network of peers, and prints nothing.

mod client;
mod contract;
mod error;
mod openrpc;
mod params;
mod progress;
mod result;
#[cfg(feature = "server")]
mod server;
mod text;

pub use client::{Client, Endpoint, ParseEndpointError, Watch};
#[cfg(feature = "server")]
pub use contract::{Api, module};
pub use error::{Error, ErrorCode};
pub use openrpc::openrpc;
pub use params::*;
pub use progress::{Event, Progress, Reporter};
pub use result::*;
pub use text::{CidPath, CidText, ParseCidError};

/// What an operation returns: its result or an error of the one table.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The subscription that streams the progress of a long method, and how it is left.
pub const WATCH: &str = "pop_watch";
/// Ends a subscription made with [`WATCH`], and with it the operation.
pub const UNWATCH: &str = "pop_unwatch";
/// The name under which the events of a subscription arrive.
pub const EVENT: &str = "pop_event";
