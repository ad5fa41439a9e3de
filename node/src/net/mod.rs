//! The network room: one loop owns the libp2p swarm, everybody else holds a [`NetHandle`].
//!
//! Exists so that libp2p stays behind a dozen plain async calls and one stream of [`NetEvent`]s: dial, open a
//! substream, publish, and hear what peers do. What a protocol says on a substream is not known here, and
//! nothing here touches the store or money.
//!
//! Every queue has a bound. When the event channel is full, gossip is dropped and inbound substreams are reset,
//! both counted ([`Counters`]); the swarm itself never waits for its consumer.

mod behaviour;
mod bootstrap;
mod config;
mod driver;
mod error;
mod event;
mod handle;
mod muxer;
mod outbox;
mod peers;
mod read_ahead;
mod streams;
#[cfg(test)]
mod tests;
mod transport;

pub use config::{Limits, MAX_GOSSIP, NetConfig};
pub use error::{DialError, OpenError, PingError, PublishError, StartError, Stopped};
pub use event::{Acceptance, Counters, MessageId, NetEvent, PeerSummary};
pub use handle::{NetHandle, Target};
pub use libp2p::identity::Keypair;
pub use libp2p::{Multiaddr, PeerId};
pub use streams::Stream;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Starts listening and returns the handle, the events and the loop, which runs once the caller spawns it.
///
/// Must be called inside a tokio runtime. The loop returns when `stop` is cancelled, after closing listeners
/// and connections.
///
/// # Errors
/// A listen address that cannot be bound, or a name in the configuration that libp2p does not accept.
pub fn start(
    config: NetConfig,
    stop: CancellationToken,
) -> Result<(NetHandle, mpsc::Receiver<NetEvent>, impl Future<Output = ()> + Send + 'static), StartError> {
    let (driver, handle, events) = driver::Driver::new(config, stop)?;
    Ok((handle, events, driver.run()))
}
