//! The loop that owns the swarm.
//!
//! It awaits only in its `select!`: the stop, then commands, then a late consumer, then the clock, then the
//! network. Replies are matched by connection id or request id and always come.

mod discovery;
mod swarm_event;

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::core::transport::ListenerId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{self, ConnectionId, Swarm};
use libp2p::{Multiaddr, PeerId, StreamProtocol, gossipsub};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::behaviour::Behaviour;
use super::bootstrap::{Bootstrap, Index, peer_of};
use super::config::{Limits, MAX_GOSSIP, NetConfig};
use super::error::{DialError, PublishError, StartError};
use super::event::{Counters, NetEvent, PeerSummary};
use super::handle::{Command, Listening, NetHandle, PING, PING_SIZE};
use super::outbox::Outbox;
use super::peers::Peers;
use super::streams::{self, Inbound, Timeouts};
use super::transport;

/// How often deadlines, the bootstrap list and discovery are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How long an orderly end may take, once for connections and once for their tasks.
const FAREWELL: Duration = Duration::from_secs(2);

/// Bans kept; the oldest is lifted beyond it. Identities are free, so a ban of ten thousand stops nobody.
const MAX_BANS: usize = 8192;

/// Pings answered at the same time; one more is reset.
const MAX_ECHOES: usize = 64;

/// How long the asker of a ping may take over its 32 bytes.
const ECHO_TIMEOUT: Duration = Duration::from_secs(10);

/// The loop's state.
pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    outbox: Outbox,
    stop: CancellationToken,
    /// The connections' tasks and the echoes.
    tasks: TaskTracker,
    echoes: TaskTracker,
    counters: Arc<Counters>,
    limits: Limits,
    listening: watch::Sender<Listening>,
    /// Listeners that have not reported an address yet.
    unsettled: Vec<ListenerId>,
    /// Attempts under way; bounded by the limit of pending connections.
    dials: HashMap<ConnectionId, Purpose>,
    bootstrap: Bootstrap,
    peers: Peers,
    bans: VecDeque<PeerId>,
    discovery: discovery::Schedule,
}

/// Whose attempt a dial is.
enum Purpose {
    Asked(oneshot::Sender<Result<PeerId, DialError>>),
    Bootstrap(Index),
}

impl Driver {
    pub(super) fn new(
        config: NetConfig,
        stop: CancellationToken,
    ) -> Result<(Self, NetHandle, mpsc::Receiver<NetEvent>), StartError> {
        let tasks = TaskTracker::new();
        let counters = Arc::new(Counters::default());
        let mut swarm = swarm(&config, &tasks, &counters)?;
        let mut unsettled = Vec::new();
        for address in &config.listen {
            let listener = swarm
                .listen_on(address.clone())
                .map_err(|source| StartError::Listen { address: address.clone(), source })?;
            unsettled.push(listener);
        }
        for address in &config.announce {
            swarm.add_external_address(address.clone());
        }
        let local = *swarm.local_peer_id();
        let (asked, commands) = mpsc::channel(config.limits.commands.max(1));
        let (room, events) = mpsc::channel(config.limits.events.max(4));
        let first = Listening { addresses: Vec::new(), settled: unsettled.is_empty() };
        let (listening, watched) = watch::channel(first);
        let driver = Self {
            swarm,
            commands,
            outbox: Outbox::new(room, Arc::clone(&counters)),
            stop,
            tasks,
            echoes: TaskTracker::new(),
            counters: Arc::clone(&counters),
            listening,
            unsettled,
            dials: HashMap::new(),
            bootstrap: Bootstrap::new(&config.bootstrap, local, Instant::now()),
            peers: Peers::new(),
            bans: VecDeque::new(),
            discovery: discovery::Schedule::default(),
            limits: config.limits,
        };
        let handle = NetHandle { local, commands: asked, listening: watched, counters };
        Ok((driver, handle, events))
    }

    /// Runs until the stop.
    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(command) = self.commands.recv() => self.on_command(command),
                () = self.outbox.forward(), if self.outbox.is_late() => {}
                _ = tick.tick() => self.on_tick(Instant::now()),
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
            }
        }
        self.close().await;
    }

    /// Ends: nobody new, connections closed, their tasks waited for.
    async fn close(mut self) {
        self.commands.close();
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let drained = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        let in_time = tokio::time::timeout(FAREWELL, drained).await.is_ok();
        drop(self.swarm);
        self.tasks.close();
        self.echoes.close();
        let ended = async { tokio::join!(self.tasks.wait(), self.echoes.wait()) };
        let tasks_ended = tokio::time::timeout(FAREWELL, ended).await.is_ok();
        tracing::debug!(in_time, tasks_ended, "network closed");
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Dial { address, reply } => self.dial(address, reply),
            Command::Connect { peer, addresses, reply } => self.connect(peer, addresses, reply),
            Command::Disconnect { peer, reply } => {
                let _ = self.swarm.disconnect_peer_id(peer);
                let _ = reply.send(());
            }
            Command::Ban { peer, reply } => {
                self.ban(peer);
                let _ = reply.send(());
            }
            Command::Publish { topic, data, reply } => {
                let _ = reply.send(self.publish(topic, data));
            }
            Command::Report { id, source, acceptance } => {
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.report_message_validation_result(&id, &source, acceptance.into());
            }
            Command::Open { peer, protocol, reply } => {
                self.swarm.behaviour_mut().streams.open(peer, &protocol, reply, Instant::now());
            }
            Command::Peers { reply } => {
                let _ = reply.send(self.summaries());
            }
            Command::Subscribers { topic, reply } => {
                let _ = reply.send(self.subscribers(&topic));
            }
        }
    }

    fn on_tick(&mut self, now: Instant) {
        self.swarm.behaviour_mut().streams.expire(now);
        let silent = |by: Option<Instant>| by.is_some_and(|by| by <= now);
        let strangers: Vec<PeerId> =
            self.peers.iter().filter(|(_, peer)| silent(peer.identify_by)).map(|(id, _)| *id).collect();
        for peer in strangers {
            self.show_out(peer, "it never said who it is");
        }
        for (index, address) in self.bootstrap.due(now) {
            if self.is_own(&address) {
                self.bootstrap.on_itself(index);
                continue;
            }
            self.start_dial(options(address), Purpose::Bootstrap(index));
        }
        self.discover(now);
    }

    fn dial(&mut self, address: Multiaddr, reply: oneshot::Sender<Result<PeerId, DialError>>) {
        if self.is_own(&address) {
            let _ = reply.send(Err(DialError::Itself));
            return;
        }
        match peer_of(&address) {
            Some(peer) if self.peers.contains_key(&peer) => {
                let _ = reply.send(Ok(peer));
            }
            Some(_) | None => self.start_dial(options(address), Purpose::Asked(reply)),
        }
    }

    /// Returns whether an address is this node's; libp2p leaves those out and then says there is no address.
    fn is_own(&self, address: &Multiaddr) -> bool {
        match peer_of(address) {
            Some(peer) => peer == *self.swarm.local_peer_id(),
            None => self.listening.borrow().addresses.contains(address),
        }
    }

    fn connect(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: oneshot::Sender<Result<PeerId, DialError>>,
    ) {
        if self.peers.contains_key(&peer) {
            let _ = reply.send(Ok(peer));
            return;
        }
        if peer == *self.swarm.local_peer_id() {
            let _ = reply.send(Err(DialError::Itself));
            return;
        }
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        self.start_dial(options, Purpose::Asked(reply));
    }

    fn start_dial(&mut self, options: DialOpts, purpose: Purpose) {
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(connection, purpose);
            }
            Err(error) => self.on_dial_failed(purpose, &error),
        }
    }

    fn on_dial_failed(&mut self, purpose: Purpose, error: &swarm::DialError) {
        let error = DialError::of(error);
        match purpose {
            Purpose::Asked(reply) => {
                let _ = reply.send(Err(error));
            }
            Purpose::Bootstrap(index) if error == DialError::Itself => self.bootstrap.on_itself(index),
            Purpose::Bootstrap(index) => {
                tracing::debug!(%error, "bootstrap peer not reached");
                self.bootstrap.on_failed(index, Instant::now(), rand::random());
            }
        }
    }

    fn ban(&mut self, peer: PeerId) {
        if self.bans.contains(&peer) {
            return;
        }
        let behaviour = self.swarm.behaviour_mut();
        if self.bans.len() >= MAX_BANS
            && let Some(oldest) = self.bans.pop_front()
        {
            behaviour.banned.unblock_peer(oldest);
            behaviour.gossip.remove_blacklisted_peer(&oldest);
        }
        self.bans.push_back(peer);
        behaviour.gossip.blacklist_peer(&peer);
        if let Some(kad) = behaviour.kad.as_mut() {
            kad.remove_peer(&peer);
        }
        behaviour.banned.block_peer(peer);
    }

    /// Ends the connections with a peer that is not one of ours.
    fn show_out(&mut self, peer: PeerId, reason: &str) {
        self.counters.count_stranger();
        tracing::debug!(%peer, reason, "not a pop peer, disconnecting");
        if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
            kad.remove_peer(&peer);
        }
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    fn publish(&mut self, topic: String, data: Vec<u8>) -> Result<usize, PublishError> {
        if data.len() > MAX_GOSSIP {
            return Err(PublishError::TooLarge { size: data.len(), limit: MAX_GOSSIP });
        }
        let listeners = self.subscribers(&topic).len();
        let hash = gossipsub::IdentTopic::new(topic.clone()).hash();
        match self.swarm.behaviour_mut().gossip.publish(hash, data) {
            Ok(_) => Ok(listeners),
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => {
                Err(PublishError::InsufficientPeers { topic })
            }
            Err(gossipsub::PublishError::AllQueuesFull(peers)) => Err(PublishError::QueuesFull { peers }),
            Err(error) => Err(PublishError::Refused(error)),
        }
    }

    fn subscribers(&self, topic: &str) -> Vec<PeerId> {
        let joined = |topics: Vec<&gossipsub::TopicHash>| topics.iter().any(|hash| hash.as_str() == topic);
        let all = self.swarm.behaviour().gossip.all_peers();
        all.filter(|(_, topics)| joined(topics.clone())).map(|(peer, _)| *peer).collect()
    }

    fn summaries(&self) -> Vec<PeerSummary> {
        let mut topics: HashMap<&PeerId, Vec<String>> = HashMap::new();
        for (peer, hashes) in self.swarm.behaviour().gossip.all_peers() {
            topics.insert(peer, hashes.iter().map(ToString::to_string).collect());
        }
        let summary = |(id, peer): (&PeerId, &super::peers::Peer)| PeerSummary {
            peer: *id,
            addresses: peer.addresses(),
            agent: peer.agent.clone(),
            latency: peer.latency,
            topics: topics.get(id).cloned().unwrap_or_default(),
            since: peer.since,
        };
        self.peers.iter().map(summary).collect()
    }

    fn on_inbound(&mut self, Inbound { peer, protocol, stream }: Inbound) {
        if protocol == PING {
            if self.echoes.len() < MAX_ECHOES {
                self.echoes.spawn(tokio::time::timeout(ECHO_TIMEOUT, echo(stream)));
            } else {
                self.counters.count_stream_refused();
            }
            return;
        }
        self.outbox.stream(NetEvent::Inbound { peer, protocol: protocol.to_string(), stream });
    }
}

/// Sends back what a pinging peer sends; its failure is the peer's loss only.
async fn echo(mut stream: super::Stream) -> std::io::Result<()> {
    let mut ping = [0; PING_SIZE];
    stream.read_exact(&mut ping).await?;
    stream.write_all(&ping).await?;
    stream.close().await
}

fn options(address: Multiaddr) -> DialOpts {
    match peer_of(&address) {
        Some(peer) => {
            DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(vec![address]).build()
        }
        None => DialOpts::unknown_peer_id().address(address).build(),
    }
}

fn swarm(
    config: &NetConfig,
    tasks: &TaskTracker,
    counters: &Arc<Counters>,
) -> Result<Swarm<Behaviour>, StartError> {
    let mut protocols = vec![PING];
    for name in &config.protocols {
        let protocol = StreamProtocol::try_from_owned(name.clone())
            .map_err(|_| StartError::Protocol { protocol: name.clone() })?;
        protocols.push(protocol);
    }
    let timeouts = Timeouts { dial: config.limits.dial, open: config.limits.open };
    let streams = streams::Behaviour::new(protocols.into(), timeouts, Arc::clone(counters));
    let behaviour = Behaviour::new(config, streams)?;
    let transport = transport::build(&config.keypair, config.limits.dial)?;
    let settings = swarm::Config::with_executor(Tracked(tasks.clone()))
        .with_idle_connection_timeout(config.limits.idle)
        // 64 streams opened at once must not wait for each other's negotiation.
        .with_max_negotiating_inbound_streams(256);
    Ok(Swarm::new(transport, behaviour, config.keypair.public().to_peer_id(), settings))
}

/// Runs the swarm's connection tasks where the end of the loop can wait for them.
struct Tracked(TaskTracker);

impl swarm::Executor for Tracked {
    fn exec(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(task);
    }
}
