//! The handle that the rest of the node holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::{mpsc, oneshot, watch};

use super::error::{DialError, OpenError, PingError, PublishError, Stopped};
use super::event::{Acceptance, Counters, MessageId, PeerSummary};
use super::streams::{Reply, Stream};

/// The echo on a substream of its own: libp2p's ping has no call for "now".
pub(super) const PING: StreamProtocol = StreamProtocol::new("/pop/ping/1.0.0");

/// Bytes of one ping, as many as libp2p's.
pub(super) const PING_SIZE: usize = 32;

/// What a ping is aimed at.
#[derive(Debug, Clone)]
pub enum Target {
    /// A peer, dialled if it is not connected.
    Peer(PeerId),
    /// An address, with or without a peer id at its end.
    Address(Multiaddr),
}

impl From<PeerId> for Target {
    fn from(peer: PeerId) -> Self {
        Self::Peer(peer)
    }
}

impl From<Multiaddr> for Target {
    fn from(address: Multiaddr) -> Self {
        Self::Address(address)
    }
}

/// What callers ask of the loop.
pub(super) enum Command {
    Dial { address: Multiaddr, reply: oneshot::Sender<Result<PeerId, DialError>> },
    Connect { peer: PeerId, addresses: Vec<Multiaddr>, reply: oneshot::Sender<Result<PeerId, DialError>> },
    Disconnect { peer: PeerId, reply: oneshot::Sender<()> },
    Ban { peer: PeerId, reply: oneshot::Sender<()> },
    Publish { topic: String, data: Vec<u8>, reply: oneshot::Sender<Result<usize, PublishError>> },
    Report { id: MessageId, source: PeerId, acceptance: Acceptance },
    Open { peer: PeerId, protocol: String, reply: Reply },
    Peers { reply: oneshot::Sender<Vec<PeerSummary>> },
    Subscribers { topic: String, reply: oneshot::Sender<Vec<PeerId>> },
}

/// Where the node listens.
#[derive(Debug, Clone, Default)]
pub(super) struct Listening {
    pub(super) addresses: Vec<Multiaddr>,
    /// Every configured address has been bound, or failed.
    pub(super) settled: bool,
}

/// A cloneable handle to the network loop; every method answers [`Stopped`] in its error once the loop ended.
#[derive(Debug, Clone)]
pub struct NetHandle {
    pub(super) local: PeerId,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) listening: watch::Receiver<Listening>,
    pub(super) counters: Arc<Counters>,
}

impl NetHandle {
    /// Returns this node's peer id.
    pub fn local_peer_id(&self) -> PeerId {
        self.local
    }

    /// Returns the addresses listened on, ports resolved; waits until the listeners of the start stand.
    /// Cancel safe.
    pub async fn listeners(&self) -> Result<Vec<Multiaddr>, Stopped> {
        let mut listening = self.listening.clone();
        let settled = listening.wait_for(|listening| listening.settled).await.map_err(|_| Stopped)?;
        Ok(settled.addresses.clone())
    }

    /// Connects to whoever answers at an address. A dropped call leaves the attempt running.
    pub async fn dial(&self, address: Multiaddr) -> Result<PeerId, DialError> {
        self.ask(|reply| Command::Dial { address, reply }).await?
    }

    /// Connects to a peer at these addresses or others known of it; returns at once if it is connected.
    /// A dropped call leaves the attempt running.
    pub async fn connect(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), DialError> {
        self.ask(|reply| Command::Connect { peer, addresses, reply }).await?.map(|_| ())
    }

    /// Closes every connection with a peer. Cancel safe once sent.
    pub async fn disconnect(&self, peer: PeerId) -> Result<(), Stopped> {
        self.ask(|reply| Command::Disconnect { peer, reply }).await
    }

    /// Disconnects a peer and refuses it until the node restarts. Cancel safe once sent.
    pub async fn ban(&self, peer: PeerId) -> Result<(), Stopped> {
        self.ask(|reply| Command::Ban { peer, reply }).await
    }

    /// Publishes on a topic; returns how many connected peers listen there. Cancel safe once sent.
    pub async fn publish(&self, topic: &str, data: Vec<u8>) -> Result<usize, PublishError> {
        self.ask(|reply| Command::Publish { topic: topic.to_owned(), data, reply }).await?
    }

    /// Gives the verdict on a gossip message, which is what lets it travel on. Cancel safe.
    pub async fn report(&self, id: MessageId, source: PeerId, acceptance: Acceptance) -> Result<(), Stopped> {
        self.commands.send(Command::Report { id, source, acceptance }).await.map_err(|_| Stopped)
    }

    /// Opens a substream, dialling the peer first if an address of it is known.
    ///
    /// Ends by itself within the limits for dialling and opening. A dropped call resets the stream.
    pub async fn open(&self, peer: PeerId, protocol: &str) -> Result<Stream, OpenError> {
        self.ask(|reply| Command::Open { peer, protocol: protocol.to_owned(), reply }).await?
    }

    /// Measures one round trip, connecting first if need be. Cancel safe.
    pub async fn ping(&self, target: impl Into<Target>, timeout: Duration) -> Result<Duration, PingError> {
        let echo = self.echo(target.into());
        tokio::time::timeout(timeout, echo).await.unwrap_or(Err(PingError::TimedOut(timeout)))
    }

    /// Returns the connected peers. Cancel safe.
    pub async fn peers(&self) -> Result<Vec<PeerSummary>, Stopped> {
        self.ask(|reply| Command::Peers { reply }).await
    }

    /// Returns the connected peers that listen on a topic. Cancel safe.
    pub async fn subscribers(&self, topic: &str) -> Result<Vec<PeerId>, Stopped> {
        self.ask(|reply| Command::Subscribers { topic: topic.to_owned(), reply }).await
    }

    /// Returns what was dropped at the bounds so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    async fn echo(&self, target: Target) -> Result<Duration, PingError> {
        let peer = match target {
            Target::Peer(peer) => peer,
            Target::Address(address) => self.dial(address).await?,
        };
        let mut stream = self.open(peer, PING.as_ref()).await?;
        let sent: [u8; PING_SIZE] = rand::random();
        let mut echoed = [0; PING_SIZE];
        let start = Instant::now();
        let exchange = async {
            stream.write_all(&sent).await?;
            stream.flush().await?;
            stream.read_exact(&mut echoed).await
        };
        exchange.await.map_err(|error| PingError::NoEcho(Some(error)))?;
        let took = start.elapsed();
        if echoed == sent { Ok(took) } else { Err(PingError::NoEcho(None)) }
    }
}
