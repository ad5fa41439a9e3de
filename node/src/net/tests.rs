//! Real swarms on loopback, real sockets, port 0; every wait has a deadline.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::SwarmEvent;
use libp2p::{Swarm, SwarmBuilder, noise, ping, tcp, tls, yamux};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;

mod gossip;
mod muxers;

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
const WS: &str = "/ip4/127.0.0.1/tcp/0/ws";
const TOPIC: &str = "/pop/query/1.0.0/Test";
const TRANSFER: &str = "/pop/transfer/1.0.0";
/// Generous: these tests share two cores with a compiler.
const DEADLINE: Duration = Duration::from_secs(60);

struct Node {
    net: NetHandle,
    events: mpsc::Receiver<NetEvent>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Node {
    fn start(change: impl FnOnce(&mut NetConfig)) -> Self {
        let mut config = NetConfig::new(Keypair::generate_ed25519());
        config.listen = vec![TCP.parse().unwrap()];
        config.topics = vec![TOPIC.to_owned()];
        config.protocols = vec![TRANSFER.to_owned()];
        config.limits.target_peers = 0;
        change(&mut config);
        let stop = CancellationToken::new();
        let (net, events, run) = start(config, stop.clone()).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(run);
        Self { net, events, stop, tasks }
    }

    fn on(listen: &str) -> Self {
        Self::start(|config| config.listen = vec![listen.parse().unwrap()])
    }

    fn id(&self) -> PeerId {
        self.net.local_peer_id()
    }

    async fn address(&self) -> Multiaddr {
        within(self.net.listeners()).await.unwrap().remove(0)
    }

    /// Connects, and waits until both ends know.
    async fn dial(&self, other: &mut Node) {
        let found = within(self.net.dial(other.address().await)).await.unwrap();
        assert_eq!(found, other.id());
        let own = self.id();
        other.wait(|event| matches!(event, NetEvent::Connected { peer } if peer == own).then_some(())).await;
    }

    /// Waits for the first event that `pick` takes.
    async fn wait<T>(&mut self, pick: impl Fn(NetEvent) -> Option<T>) -> T {
        within(async {
            loop {
                let event = self.events.recv().await.expect("the loop runs");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        })
        .await
    }

    async fn inbound(&mut self) -> Stream {
        self.wait(|event| match event {
            NetEvent::Inbound { stream, protocol, .. } => {
                assert_eq!(protocol, TRANSFER);
                Some(stream)
            }
            _ => None,
        })
        .await
    }

    async fn subscribed(&mut self, other: PeerId) {
        self.wait(|event| match event {
            NetEvent::Subscribed { peer, topic } if peer == other => {
                assert_eq!(topic, TOPIC);
                Some(())
            }
            _ => None,
        })
        .await;
    }

    async fn gone(&mut self, other: PeerId) {
        self.wait(|event| matches!(event, NetEvent::Disconnected { peer } if peer == other).then_some(()))
            .await;
    }

    /// Waits for a message and lets it travel on.
    async fn gossip(&mut self) -> (PeerId, Vec<u8>) {
        let (author, data, id, source) = self
            .wait(|event| match event {
                NetEvent::Gossip { author, source, topic, data, id } => {
                    assert_eq!(topic, TOPIC);
                    Some((author, data, id, source))
                }
                _ => None,
            })
            .await;
        self.net.report(id, source, Acceptance::Accept).await.unwrap();
        (author, data)
    }

    async fn end(mut self) {
        self.stop.cancel();
        within(self.tasks.join_next()).await.unwrap().unwrap();
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

/// Bytes that tell where they are and whose they are.
fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 31 + at / 251 + seed * 7) % 251).unwrap()).collect()
}

/// Writes and reads at the same time, as both ends of a deal do.
async fn exchange(stream: Stream, send: Vec<u8>) -> Vec<u8> {
    let (mut reader, mut writer) = stream.split();
    let write = async {
        writer.write_all(&send).await.unwrap();
        writer.close().await.unwrap();
    };
    let mut received = Vec::new();
    let (_, read) = tokio::join!(write, reader.read_to_end(&mut received));
    read.unwrap();
    received
}

/// Opens `count` streams at once from each side, both sides writing `length` bytes on each.
async fn two_way(listen: &str, count: usize, length: usize) {
    let (mut left, mut right) = (Node::on(listen), Node::on(listen));
    left.dial(&mut right).await;
    let (left_id, right_id) = (left.id(), right.id());
    let mut work = JoinSet::new();
    for seed in 0..count {
        for (net, other) in [(left.net.clone(), right_id), (right.net.clone(), left_id)] {
            work.spawn(async move {
                let stream = net.open(other, TRANSFER).await.unwrap();
                assert_eq!(exchange(stream, pattern(seed, length)).await.len(), length);
            });
        }
    }
    for _ in 0..count {
        for node in [&mut left, &mut right] {
            let stream = node.inbound().await;
            work.spawn(async move {
                // Answers with what it is sent, so that every byte of both directions is compared.
                let (mut reader, mut writer) = stream.split();
                let mut buffer = vec![0; 16 * 1024];
                let mut received = Vec::new();
                loop {
                    let got = reader.read(&mut buffer).await.unwrap();
                    if got == 0 {
                        break;
                    }
                    received.extend_from_slice(&buffer[..got]);
                    writer.write_all(&buffer[..got]).await.unwrap();
                }
                writer.close().await.unwrap();
                let seeds = (0..256).find(|seed| received[..64] == pattern(*seed, 64)).unwrap();
                assert!(received == pattern(seeds, length), "bytes arrive whole and in order");
            });
        }
    }
    within(async {
        while let Some(done) = work.join_next().await {
            done.unwrap()
        }
    })
    .await;
    assert_eq!(left.net.counters().streams_refused() + right.net.counters().streams_refused(), 0);
    left.end().await;
    right.end().await;
}

const KIB: usize = 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_streams_each_way_carry_every_byte_over_tcp() {
    two_way(TCP, 64, 256 * KIB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_streams_each_way_carry_every_byte_over_quic() {
    two_way(QUIC, 64, 256 * KIB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_work_over_websocket() {
    two_way(WS, 2, 64 * KIB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_streams_at_once_fifty_times_lose_none() {
    let (left, mut right) = (Node::on(TCP), Node::on(TCP));
    left.dial(&mut right).await;
    let other = right.id();
    for round in 0..50_u8 {
        let mut opens = JoinSet::new();
        for _ in 0..4 {
            let net = left.net.clone();
            opens.spawn(async move {
                let mut stream = net.open(other, TRANSFER).await.unwrap();
                stream.write_all(&[round]).await.unwrap();
                stream.close().await.unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                assert_eq!(answer, [round]);
            });
        }
        for _ in 0..4 {
            let mut stream = right.inbound().await;
            let mut said = Vec::new();
            within(stream.read_to_end(&mut said)).await.unwrap();
            stream.write_all(&said).await.unwrap();
            stream.close().await.unwrap();
        }
        within(async {
            while let Some(done) = opens.join_next().await {
                done.unwrap()
            }
        })
        .await;
    }
    left.end().await;
    right.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_streams_than_a_connection_carries_wait_their_turn() {
    let (left, mut right) = (Node::on(TCP), Node::on(TCP));
    left.dial(&mut right).await;
    let other = right.id();
    let mut opens = JoinSet::new();
    for _ in 0..250 {
        let net = left.net.clone();
        opens.spawn(async move {
            let mut stream = net.open(other, TRANSFER).await.unwrap();
            let mut end = Vec::new();
            stream.read_to_end(&mut end).await.unwrap();
        });
    }
    for _ in 0..250 {
        let mut stream = right.inbound().await;
        stream.close().await.unwrap();
    }
    within(async {
        while let Some(done) = opens.join_next().await {
            done.unwrap()
        }
    })
    .await;
    left.end().await;
    right.end().await;
}

fn stranger() -> Swarm<ping::Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| ping::Behaviour::default())
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(DEADLINE))
        .build()
}

#[tokio::test]
async fn a_peer_that_is_not_pop_is_shown_out() {
    let mut node = Node::on(TCP);
    let mut stranger = stranger();
    stranger.dial(node.address().await).unwrap();
    let id = *stranger.local_peer_id();
    let theirs = async {
        loop {
            if let SwarmEvent::ConnectionClosed { .. } = stranger.select_next_some().await {
                break;
            }
        }
    };
    within(async { tokio::join!(theirs, node.gone(id)) }).await;
    assert_eq!(node.net.counters().strangers(), 1);
    node.end().await;
}

#[tokio::test]
async fn a_peer_with_nothing_but_tls_can_connect() {
    let mut node = Node::on(TCP);
    let mut other = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), tls::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| ping::Behaviour::default())
        .unwrap()
        .build();
    let id = *other.local_peer_id();
    other.dial(node.address().await).unwrap();
    let met = node.wait(|event| matches!(event, NetEvent::Connected { peer } if peer == id).then_some(()));
    within(async {
        tokio::select! {
            () = met => {}
            () = async { loop { other.select_next_some().await; } } => {}
        }
    })
    .await;
    node.end().await;
}

#[tokio::test]
async fn a_peer_that_goes_away_is_told_and_opens_to_it_end() {
    let (mut left, mut right) = (Node::on(TCP), Node::on(TCP));
    left.dial(&mut right).await;
    let gone = right.id();
    right.end().await;
    left.gone(gone).await;
    let opened = within(left.net.open(gone, TRANSFER)).await;
    assert!(matches!(opened, Err(OpenError::Unreachable { .. })), "{opened:?}");
    left.end().await;
}

#[tokio::test]
async fn opens_under_way_end_when_the_peer_goes_away() {
    let (left, mut right) = (Node::on(TCP), Node::on(TCP));
    left.dial(&mut right).await;
    let gone = right.id();
    let mut opens = JoinSet::new();
    for _ in 0..200 {
        let net = left.net.clone();
        opens.spawn(async move {
            // Either outcome is fine; a call that hangs is not.
            let _ = net.open(gone, TRANSFER).await;
        });
    }
    right.end().await;
    within(async {
        while let Some(done) = opens.join_next().await {
            done.unwrap()
        }
    })
    .await;
    left.end().await;
}

#[tokio::test]
async fn an_open_to_a_peer_that_left_finds_it_again() {
    let (mut left, mut right) = (Node::on(TCP), Node::on(TCP));
    left.dial(&mut right).await;
    let (left_id, right_id) = (left.id(), right.id());
    left.wait(|event| matches!(event, NetEvent::Identified { peer, .. } if peer == right_id).then_some(()))
        .await;
    within(right.net.disconnect(left_id)).await.unwrap();
    left.gone(right_id).await;
    let mut opens = JoinSet::new();
    for _ in 0..4 {
        let net = left.net.clone();
        opens.spawn(async move { net.open(right_id, TRANSFER).await.unwrap() });
    }
    within(async {
        while let Some(done) = opens.join_next().await {
            done.unwrap();
        }
    })
    .await;
    left.end().await;
    right.end().await;
}

#[tokio::test]
async fn a_protocol_the_peer_does_not_speak_is_unsupported() {
    let left = Node::start(|config| config.protocols.push("/pop/other/1.0.0".to_owned()));
    let mut right = Node::on(TCP);
    left.dial(&mut right).await;
    for protocol in ["/pop/other/1.0.0", "/never/configured"] {
        let opened = within(left.net.open(right.id(), protocol)).await;
        assert!(matches!(opened, Err(OpenError::Unsupported { .. })), "{opened:?}");
    }
    left.end().await;
    right.end().await;
}

#[tokio::test]
async fn a_full_event_channel_refuses_streams_and_counts_them() {
    let left = Node::on(TCP);
    let mut right = Node::start(|config| config.limits.events = 4);
    left.dial(&mut right).await;
    let (net, other) = (left.net.clone(), right.id());
    within(async {
        let mut kept = Vec::new();
        while right.net.counters().streams_refused() == 0 {
            if let Ok(stream) = net.open(other, TRANSFER).await {
                kept.push(stream);
            }
        }
    })
    .await;
    assert!(within(left.net.ping(other, DEADLINE)).await.is_ok(), "the loop is not blocked");
    left.end().await;
    right.end().await;
}

#[tokio::test]
async fn ping_measures_a_peer_and_an_address() {
    let (left, right) = (Node::on(TCP), Node::on(QUIC));
    let address = right.address().await;
    assert!(within(left.net.ping(address, DEADLINE)).await.unwrap() > Duration::ZERO);
    assert!(within(left.net.ping(right.id(), DEADLINE)).await.unwrap() > Duration::ZERO);
    let nobody = within(left.net.ping(PeerId::random(), DEADLINE)).await;
    assert!(matches!(nobody, Err(PingError::Open(OpenError::Unreachable { .. }))), "{nobody:?}");
    left.end().await;
    right.end().await;
}

#[tokio::test]
async fn dialling_nobody_oneself_or_another_is_a_typed_answer() {
    let (left, right) = (Node::on(TCP), Node::on(TCP));
    let own = within(left.net.dial(left.address().await)).await;
    assert_eq!(own, Err(DialError::Itself));
    let other = PeerId::random();
    let lie = within(left.net.connect(other, vec![right.address().await])).await;
    assert!(matches!(lie, Err(DialError::WrongPeer { .. })), "{lie:?}");
    let address = right.address().await;
    right.end().await;
    let closed = within(left.net.dial(address)).await;
    assert!(matches!(closed, Err(DialError::Unreachable { .. })), "{closed:?}");
    left.end().await;
}

#[tokio::test]
async fn peers_are_listed_with_who_they_are() {
    let (mut left, mut right) = (Node::on(TCP), Node::on(TCP));
    left.dial(&mut right).await;
    let other = right.id();
    let seen = std::cell::RefCell::new((false, false));
    left.wait(|event| {
        let mut seen = seen.borrow_mut();
        match event {
            NetEvent::Identified { peer, agent, addresses, protocols } if peer == other => {
                assert!(agent.starts_with("pop/"));
                assert!(protocols.iter().any(|protocol| protocol == TRANSFER));
                assert!(!addresses.is_empty());
                seen.0 = true;
            }
            NetEvent::Subscribed { peer, .. } if peer == other => seen.1 = true,
            _ => {}
        }
        (*seen == (true, true)).then_some(())
    })
    .await;
    let peers = within(left.net.peers()).await.unwrap();
    assert_eq!(peers.len(), 1);
    assert_eq!(peers[0].peer, other);
    assert!(peers[0].agent.as_ref().unwrap().starts_with("pop/"));
    assert_eq!(peers[0].topics, [TOPIC]);
    left.end().await;
    right.end().await;
}

#[tokio::test]
async fn a_banned_peer_is_disconnected_and_stays_out() {
    let (mut left, mut right) = (Node::on(TCP), Node::on(TCP));
    left.dial(&mut right).await;
    let (left_id, right_id) = (left.id(), right.id());
    within(left.net.ban(right_id)).await.unwrap();
    left.gone(right_id).await;
    right.gone(left_id).await;
    let again = within(left.net.connect(right_id, vec![right.address().await])).await;
    assert!(matches!(again, Err(DialError::Refused { .. })), "{again:?}");
    left.end().await;
    right.end().await;
}

#[tokio::test]
async fn the_bootstrap_list_connects_and_strangers_meet_through_it() {
    let hub = Node::start(|config| config.limits.target_peers = 12);
    let address = hub.address().await;
    let mut nodes: Vec<Node> = (0..2)
        .map(|_| {
            Node::start(|config| {
                config.bootstrap = vec![address.clone(), address.clone()];
                config.limits.target_peers = 12;
            })
        })
        .collect();
    let (last, first) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    let mut first = first;
    let other = last.id();
    first.wait(|event| matches!(event, NetEvent::Connected { peer } if peer == other).then_some(())).await;
    for node in [hub, first, last] {
        node.end().await;
    }
}

#[tokio::test]
async fn a_bootstrap_peer_that_starts_later_is_found() {
    let keypair = Keypair::generate_ed25519();
    let early = Node::start(|config| config.keypair = keypair.clone());
    let address = early.address().await;
    early.end().await;
    let mut waiting = Node::start(|config| config.bootstrap = vec![address.clone()]);
    let late = Node::start(|config| {
        config.keypair = keypair;
        config.listen = vec![address];
    });
    let other = late.id();
    waiting.wait(|event| matches!(event, NetEvent::Connected { peer } if peer == other).then_some(())).await;
    waiting.end().await;
    late.end().await;
}

#[tokio::test]
async fn a_taken_port_is_a_start_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = NetConfig::new(Keypair::generate_ed25519());
    config.listen =
        vec![format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port()).parse().unwrap()];
    let started = start(config, CancellationToken::new());
    assert!(matches!(started, Err(StartError::Listen { .. })));
}

#[tokio::test]
async fn after_the_stop_every_call_says_so() {
    let node = Node::on(TCP);
    let net = node.net.clone();
    node.end().await;
    assert!(matches!(net.peers().await, Err(Stopped)));
    assert!(matches!(net.open(PeerId::random(), TRANSFER).await, Err(OpenError::Stopped(_))));
}
