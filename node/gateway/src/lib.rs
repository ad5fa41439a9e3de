//! The web door: HTTP over content that is addressed by CID.
//!
//! Serves files, directories, blocks and CARs the way the path, subdomain and trustless gateway specifications
//! say (<https://specs.ipfs.tech/http-gateways/>), and takes uploads. It never opens the store, the network or
//! the wallet: what it needs of them it asks of a [`Content`]. Nothing of a URL ever touches the file system, and
//! the control API is not reachable here, whatever the path.
//!
//! One request goes: [`server`] (connection, limits, log) → `handle` (method, host, path, format) → `view` (the
//! blocks, here or on their way) → one module of `answer`. A head is sent only after the path, the root and the
//! first needed block are verified; after it, a failure resets the connection, so that nobody takes half an
//! answer for a whole one.

pub mod admin;
mod answer;
mod asked;
mod body;
mod conditional;
#[cfg(test)]
mod conformance;
mod content;
mod disposition;
mod figures;
mod handle;
mod memory;
mod page;
mod range;
mod readers;
mod redirects;
mod refusal;
mod request;
mod resolve;
pub mod server;
pub mod settings;
mod site;
mod sniff;
#[cfg(test)]
mod testing;
mod tls;
mod upload;
mod view;
mod walks;

pub use crate::content::{
    Arrival, Blocks, Codec, Content, Hold, Intake, Miss, Offer, Order, Retrieval, UploadError, Uploaded,
    UploadedEntry, Wanted,
};
pub use crate::figures::Figures;
pub use crate::request::lists::ListError;
pub use crate::server::{Bound, ServeError};
pub use crate::settings::Settings;
pub use crate::tls::TlsError;
