//! The half of the streams behaviour that lives with one connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::upgrade::{InboundUpgrade, ReadyUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, FullyNegotiatedInbound,
    FullyNegotiatedOutbound, StreamUpgradeError, SubstreamProtocol,
};
use libp2p::{PeerId, StreamProtocol};

use super::{Id, Stream};
use crate::net::error::OpenError;
use crate::net::event::Counters;

/// Inbound streams alive on one connection: above what a node opens ([`crate::net::muxer::MAX_OUTBOUND`]), so
/// only a peer that does not keep to it is refused.
const MAX_INBOUND: usize = 256;

const _: () = assert!(MAX_INBOUND > crate::net::muxer::MAX_OUTBOUND, "honest peers are never refused");

/// The behaviour asks for a stream.
#[derive(Debug)]
pub(in crate::net) struct Request {
    pub(super) id: Id,
    pub(super) protocol: StreamProtocol,
    pub(super) timeout: Duration,
}

/// What came of a request, or a stream the peer opened.
#[derive(Debug)]
pub(in crate::net) enum Outcome {
    Inbound { protocol: StreamProtocol, stream: Stream },
    Opened { id: Id, stream: Stream },
    Failed { id: Id, failure: Failure },
}

/// Why a request failed.
#[derive(Debug)]
pub(in crate::net) enum Failure {
    Unsupported,
    TimedOut,
    Io(io::Error),
}

impl Failure {
    pub(super) fn of(self, peer: PeerId, protocol: &StreamProtocol) -> OpenError {
        match self {
            Self::Unsupported => OpenError::Unsupported { peer, protocol: protocol.to_string() },
            Self::TimedOut => OpenError::TimedOut { peer },
            Self::Io(source) => OpenError::Io { peer, source },
        }
    }
}

/// The handler of one connection. Its queues are bounded by the behaviour's limit of requests for one peer and
/// by the limit of inbound streams.
pub(in crate::net) struct Handler {
    protocols: Arc<[StreamProtocol]>,
    counters: Arc<Counters>,
    requests: VecDeque<Request>,
    outcomes: VecDeque<Outcome>,
    /// Requests at the swarm.
    opening: usize,
    /// Each inbound stream holds a clone.
    inbound: Arc<()>,
}

impl Handler {
    pub(super) fn new(protocols: Arc<[StreamProtocol]>, counters: Arc<Counters>) -> Self {
        Self {
            protocols,
            counters,
            requests: VecDeque::new(),
            outcomes: VecDeque::new(),
            opening: 0,
            inbound: Arc::new(()),
        }
    }

    fn on_inbound(&mut self, (inner, protocol): (libp2p::Stream, StreamProtocol)) {
        // One count is the handler's own.
        if Arc::strong_count(&self.inbound) > MAX_INBOUND {
            self.counters.count_stream_refused();
            return;
        }
        let stream = Stream { inner, _place: Some(Arc::clone(&self.inbound)) };
        self.outcomes.push_back(Outcome::Inbound { protocol, stream });
    }

    fn on_opened(&mut self, inner: libp2p::Stream, id: Id) {
        self.opening = self.opening.saturating_sub(1);
        self.outcomes.push_back(Outcome::Opened { id, stream: Stream { inner, _place: None } });
    }

    fn on_failed(&mut self, error: StreamUpgradeError<Infallible>, id: Id) {
        self.opening = self.opening.saturating_sub(1);
        let failure = match error {
            StreamUpgradeError::Timeout => Failure::TimedOut,
            StreamUpgradeError::NegotiationFailed => Failure::Unsupported,
            StreamUpgradeError::Io(error) => Failure::Io(error),
            StreamUpgradeError::Apply(never) => match never {},
        };
        self.outcomes.push_back(Outcome::Failed { id, failure });
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Request;
    type ToBehaviour = Outcome;
    type InboundProtocol = Offered;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Id;

    fn listen_protocol(&self) -> SubstreamProtocol<Offered> {
        SubstreamProtocol::new(Offered(Arc::clone(&self.protocols)), ())
    }

    fn connection_keep_alive(&self) -> bool {
        // Living streams are counted by the swarm.
        self.opening > 0 || !self.requests.is_empty() || !self.outcomes.is_empty()
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        if let Some(outcome) = self.outcomes.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(outcome));
        }
        if let Some(Request { id, protocol, timeout }) = self.requests.pop_front() {
            self.opening += 1;
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(protocol), id).with_timeout(timeout);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        // Both queues are filled only by calls after which the connection polls again.
        Poll::Pending
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        Poll::Ready(self.outcomes.pop_front())
    }

    fn on_behaviour_event(&mut self, request: Request) {
        self.requests.push_back(request);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Offered, ReadyUpgrade<StreamProtocol>, (), Id>,
    ) {
        // The swarm's list of events grows with its versions; these three are ours.
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info: () }) => {
                self.on_inbound(protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                self.on_opened(protocol, info);
            }
            ConnectionEvent::DialUpgradeError(failed) => self.on_failed(failed.error, failed.info),
            _ => {}
        }
    }
}

/// The inbound upgrade: any of the protocols, and which one it was.
#[derive(Debug, Clone)]
pub(in crate::net) struct Offered(Arc<[StreamProtocol]>);

impl UpgradeInfo for Offered {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        let offered: Vec<StreamProtocol> = self.0.iter().cloned().collect();
        offered.into_iter()
    }
}

impl<C> InboundUpgrade<C> for Offered {
    type Output = (C, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, socket: C, agreed: Self::Info) -> Self::Future {
        ready(Ok((socket, agreed)))
    }
}
