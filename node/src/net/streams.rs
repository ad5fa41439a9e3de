//! Substreams for the node's own protocols: opened on request, handed over when a peer opens them.
//!
//! Exists because an opened stream must never be lost: each request is matched by its id and answered by its
//! deadline, each accepted stream is handed on before the next is taken, and what cannot be kept is reset and
//! counted. Knows nothing of what is said on a stream.

mod handler;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError as DialFailure, FromSwarm, NetworkBehaviour, NotifyHandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::oneshot;

use self::handler::{Handler, Outcome, Request};
use super::error::{DialError, OpenError};
use super::event::Counters;

/// Requests being worked on in all; more are answered with [`OpenError::Busy`].
const MAX_PENDING: usize = 4096;

/// Requests being worked on for one peer: the muxer's limit, and some to wait for a place.
const MAX_PENDING_PER_PEER: usize = 256;

/// Where the answer to a request goes.
pub(super) type Reply = oneshot::Sender<Result<Stream, OpenError>>;

/// The number of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::net) struct Id(u64);

/// A stream a peer opened.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) peer: PeerId,
    pub(super) protocol: StreamProtocol,
    pub(super) stream: Stream,
}

/// The behaviour.
pub(super) struct Behaviour {
    protocols: Arc<[StreamProtocol]>,
    timeouts: Timeouts,
    counters: Arc<Counters>,
    connections: HashMap<PeerId, Vec<Connection>>,
    /// The attempts made for requests; bounded by those.
    dialling: HashMap<PeerId, ConnectionId>,
    pending: HashMap<Id, Pending>,
    next: u64,
    steps: VecDeque<ToSwarm<Inbound, Request>>,
    waker: Option<Waker>,
}

/// How long the two halves of opening may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) dial: Duration,
    pub(super) open: Duration,
}

struct Connection {
    id: ConnectionId,
    over_tcp: bool,
}

struct Pending {
    peer: PeerId,
    protocol: StreamProtocol,
    /// The connection it was given to; none while the peer is being dialled.
    connection: Option<ConnectionId>,
    deadline: Instant,
    reply: Reply,
}

impl Behaviour {
    pub(super) fn new(protocols: Arc<[StreamProtocol]>, timeouts: Timeouts, counters: Arc<Counters>) -> Self {
        Self {
            protocols,
            timeouts,
            counters,
            connections: HashMap::new(),
            dialling: HashMap::new(),
            pending: HashMap::new(),
            next: 0,
            steps: VecDeque::new(),
            waker: None,
        }
    }

    /// Opens a stream; the answer goes to `reply`, at the latest at its deadline.
    pub(super) fn open(&mut self, peer: PeerId, protocol: &str, reply: Reply, now: Instant) {
        let Some(protocol) = self.protocols.iter().find(|known| known.as_ref() == protocol).cloned() else {
            let protocol = protocol.to_owned();
            let _ = reply.send(Err(OpenError::Unsupported { peer, protocol }));
            return;
        };
        let with_peer = self.pending.values().filter(|pending| pending.peer == peer).count();
        if self.pending.len() >= MAX_PENDING || with_peer >= MAX_PENDING_PER_PEER {
            let _ = reply.send(Err(OpenError::Busy { pending: self.pending.len() }));
            return;
        }
        let id = Id(self.next);
        self.next = self.next.wrapping_add(1);
        let connection = self.best(peer);
        match connection {
            Some(connection) => self.request(id, peer, connection, protocol.clone()),
            None => self.dial(peer),
        }
        let deadline = now + self.timeouts.open + connection.map_or(self.timeouts.dial, |_| Duration::ZERO);
        self.pending.insert(id, Pending { peer, protocol, connection, deadline, reply });
    }

    /// Answers what is past its deadline and forgets what nobody waits for any more.
    pub(super) fn expire(&mut self, now: Instant) {
        let overdue =
            self.pending.extract_if(|_, pending| pending.deadline <= now || pending.reply.is_closed());
        for (_, Pending { peer, reply, .. }) in overdue {
            let _ = reply.send(Err(OpenError::TimedOut { peer }));
        }
    }

    /// Returns the connection for a new stream: TCP where there is a choice, for it moves bulk twice as fast.
    fn best(&self, peer: PeerId) -> Option<ConnectionId> {
        let known = self.connections.get(&peer)?;
        known.iter().find(|connection| connection.over_tcp).or_else(|| known.first()).map(|found| found.id)
    }

    /// Dials a peer once, at the addresses the routing table has and the peer itself named earlier.
    fn dial(&mut self, peer: PeerId) {
        if self.dialling.contains_key(&peer) {
            return;
        }
        let opts = DialOpts::peer_id(peer).build();
        self.dialling.insert(peer, opts.connection_id());
        self.step(ToSwarm::Dial { opts });
    }

    fn request(&mut self, id: Id, peer: PeerId, connection: ConnectionId, protocol: StreamProtocol) {
        let event = Request { id, protocol, timeout: self.timeouts.open };
        let handler = NotifyHandler::One(connection);
        self.step(ToSwarm::NotifyHandler { peer_id: peer, handler, event });
    }

    fn step(&mut self, step: ToSwarm<Inbound, Request>) {
        self.steps.push_back(step);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn on_connected(&mut self, peer: PeerId, connection: Connection) {
        let id = connection.id;
        self.dialling.remove(&peer);
        self.connections.entry(peer).or_default().push(connection);
        self.hand_over(peer, None, id);
    }

    fn on_closed(&mut self, peer: PeerId, closed: ConnectionId) {
        if let Some(known) = self.connections.get_mut(&peer) {
            known.retain(|connection| connection.id != closed);
            if known.is_empty() {
                self.connections.remove(&peer);
            }
        }
        // A request survives on another connection; its deadline stays.
        if let Some(other) = self.best(peer) {
            self.hand_over(peer, Some(closed), other);
            return;
        }
        self.fail(peer, Some(closed), |peer| OpenError::Disconnected { peer });
    }

    fn on_dial_failed(&mut self, peer: PeerId, dial: ConnectionId, error: &DialFailure) {
        let ours = self.dialling.get(&peer) == Some(&dial);
        if ours {
            self.dialling.remove(&peer);
        }
        // Somebody else's attempt is under way, or has just won: that one answers.
        let replaced = matches!(error, DialFailure::DialPeerConditionFalse(_));
        if replaced || self.dialling.contains_key(&peer) {
            return;
        }
        let source = DialError::of(error);
        self.fail(peer, None, |peer| OpenError::Unreachable { peer, source: source.clone() });
    }

    /// Gives the requests that were at `from` to the connection `to`.
    fn hand_over(&mut self, peer: PeerId, from: Option<ConnectionId>, to: ConnectionId) {
        let mut moved = Vec::new();
        for (id, pending) in &mut self.pending {
            if pending.peer == peer && pending.connection == from {
                pending.connection = Some(to);
                moved.push((*id, pending.protocol.clone()));
            }
        }
        for (id, protocol) in moved {
            self.request(id, peer, to, protocol);
        }
    }

    fn fail(&mut self, peer: PeerId, at: Option<ConnectionId>, error: impl Fn(PeerId) -> OpenError) {
        let failed = self.pending.extract_if(|_, pending| pending.peer == peer && pending.connection == at);
        for (_, pending) in failed {
            let _ = pending.reply.send(Err(error(peer)));
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Inbound;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::new(Arc::clone(&self.protocols), Arc::clone(&self.counters)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::new(Arc::clone(&self.protocols), Arc::clone(&self.counters)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        // The swarm's list of events grows with its versions; these three are ours.
        match event {
            FromSwarm::ConnectionEstablished(new) => {
                let address = new.endpoint.get_remote_address();
                let over_tcp = address.iter().any(|part| matches!(part, Protocol::Tcp(_)));
                self.on_connected(new.peer_id, Connection { id: new.connection_id, over_tcp });
            }
            FromSwarm::ConnectionClosed(old) => self.on_closed(old.peer_id, old.connection_id),
            FromSwarm::DialFailure(failure) => {
                if let Some(peer) = failure.peer_id {
                    self.on_dial_failed(peer, failure.connection_id, failure.error);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            Outcome::Inbound { protocol, stream } => {
                self.step(ToSwarm::GenerateEvent(Inbound { peer, protocol, stream }));
            }
            Outcome::Opened { id, stream } => {
                // Nobody waits any more: dropping the stream resets it.
                if let Some(pending) = self.pending.remove(&id) {
                    let _ = pending.reply.send(Ok(stream));
                }
            }
            Outcome::Failed { id, failure } => {
                if let Some(Pending { peer, protocol, reply, .. }) = self.pending.remove(&id) {
                    let _ = reply.send(Err(failure.of(peer, &protocol)));
                }
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(step) = self.steps.pop_front() {
            return Poll::Ready(step);
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// A substream with a peer; dropping it before closing resets it.
///
/// Its connection stays open as long as the stream lives.
#[derive(Debug)]
pub struct Stream {
    inner: libp2p::Stream,
    /// Counts the inbound streams alive on the connection.
    _place: Option<Arc<()>>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}
