//! The engines that settle: a ledger inside the process and the client of Filecoin nodes.
//!
//! There is one way to settle, [`FilRpc`], whether the chain is a Filecoin network, the ledger of another
//! process of the same operator, or the one in this process. When to settle is decided above; nothing here
//! starts a payment by itself.

mod answer;
mod cids;
mod client;
mod devnet;
mod lanes;
pub mod paych;
mod router;
mod server;
mod store;
mod token;
mod transport;

pub use crate::client::FilRpc;
pub use crate::devnet::{AuditError, Clock, Devnet, Error, Facts, Genesis, PushError, RpcFault, audit};
pub use crate::router::{MAX_REQUEST, Reply, Router};
pub use crate::server::serve;
pub use crate::store::{ChainStore, Change, MAX_VALUE, MemStore, Row, StoreError};
pub use crate::token::Token;
pub use crate::transport::{CallError, Http, InProcess, Repeat, Transport};
