//! Copies elsewhere.

use super::dispatch::own_proof;
use super::*;
use futures::io::{ReadHalf, WriteHalf};
use pop_wire::{DISPATCH, Reason, RequestId};

fn options(factor: u8) -> DispatchOptions {
    DispatchOptions {
        factor: ReplicationFactor::new(factor),
        peers: Vec::new(),
        attempts: 0,
        backoff: Duration::from_secs(1),
    }
}

async fn dispatch(node: &Node, (root, size): (Cid, Bytes), options: DispatchOptions) -> Vec<Cached> {
    within(node.trade.dispatch(root, size, options, Reporter::mute())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_pulled_proved_and_counted() {
    let (owner, one, two) =
        (Node::start(Setup::default()), Node::start(Setup::default()), Node::start(Setup::default()));
    owner.join(&one).await;
    owner.join(&two).await;
    let content = owner.add_file(3 * MIB, 30);
    let cached = dispatch(&owner, content, options(2)).await;
    assert_eq!(cached.len(), 2);
    for keeper in [&one, &two] {
        assert!(keeper.has_all(&content.0));
        assert!(!keeper.shared.store.ref_of(&content.0).unwrap().unwrap().pinned);
    }
    assert_ne!(cached[0].proof, cached[1].proof, "each request has its own key");
    let again = dispatch(&owner, content, options(2)).await;
    assert_eq!(again.len(), 2, "who has it already proves it");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_copies_than_peers_end_cleanly() {
    let (owner, one) = (Node::start(Setup::default()), Node::start(Setup::default()));
    owner.join(&one).await;
    let content = owner.add_file(10, 31);
    assert_eq!(dispatch(&owner, content, options(5)).await.len(), 1);
    let alone = Node::start(Setup::default());
    let content = alone.add_file(10, 32);
    assert!(dispatch(&alone, content, options(2)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn region_and_quota_are_kept() {
    let owner = Node::start(Setup::default());
    let elsewhere = Node::start(Setup { region: "Elsewhere", ..Setup::default() });
    let small = Node::start(Setup { quota: Bytes::new(MIB), ..Setup::default() });
    owner.join(&small).await;
    within(owner.shared.net.dial(elsewhere.address().await)).await.unwrap();
    let content = owner.add_file(2 * MIB, 33);
    let named = DispatchOptions { peers: vec![elsewhere.id()], ..options(2) };
    assert!(dispatch(&owner, content, named).await.is_empty());
    // A claim below the truth is cut off where it ends.
    assert!(dispatch(&owner, (content.0, Bytes::new(1000)), options(1)).await.is_empty());
    assert!(small.shared.store.ref_of(&content.0).unwrap().is_none());
    assert!(small.shared.store.stagings().is_empty(), "nothing of it stays");
}

/// A peer that answers every dispatch with this proof, made from the request.
fn claims(node: Node, proof: impl Fn(&wire::Request, &Store) -> [u8; 32] + Send + 'static) -> Node {
    let mut node = node;
    let mut events = node.events.take().unwrap();
    let shared = Arc::clone(&node.shared);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            match event {
                NetEvent::Inbound { protocol, stream, .. } if protocol == DISPATCH => {
                    let (mut reader, mut writer) = link(stream);
                    let wire::Talk::Request(request) = reader.message(DEADLINE).await.unwrap() else {
                        continue;
                    };
                    let proof = proof(&request, &shared.store);
                    writer.send(&wire::Talk::Have { proof }).await.unwrap();
                    writer.close().await.unwrap();
                }
                other => on_event(&shared, other),
            }
        }
    });
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_proof_over_every_block_with_the_fresh_key_counts() {
    let prove = |store: &Store, root: Cid, key: &ProofKey| {
        pop_dag::proof::prove(&root, &Scope::all(), key.as_bytes(), store).unwrap().0
    };
    let owner = Node::start(Setup::default());
    let content = owner.add_file(3 * MIB, 34);

    let honest = claims(Node::idle(Setup::default()), move |r, store| prove(store, r.root, &r.key));
    honest.add_file(3 * MIB, 34);
    owner.join(&honest).await;
    assert_eq!(dispatch(&owner, content, options(1)).await.len(), 1);
    drop(honest);

    let owner = Node::start(Setup::default());
    owner.add_file(3 * MIB, 34);
    let replay =
        claims(Node::idle(Setup::default()), move |r, store| prove(store, r.root, &ProofKey::new([9; 32])));
    replay.add_file(3 * MIB, 34);
    owner.join(&replay).await;
    assert!(dispatch(&owner, content, options(1)).await.is_empty(), "another key's proof");

    let owner = Node::start(Setup::default());
    owner.add_file(3 * MIB, 34);
    let lost = claims(Node::idle(Setup::default()), move |r, store| {
        // All but the last block.
        let mut prover = pop_dag::proof::Prover::new(r.key.as_bytes());
        let mut blocks = Vec::new();
        pop_dag::walk::run(r.root, &Scope::all(), store, &mut |cid: &Cid, data: &Buf| {
            blocks.push((*cid, data.clone()));
            Ok(())
        })
        .unwrap();
        blocks.pop();
        blocks.iter().for_each(|(cid, data)| prover.on_block(cid, data));
        prover.finish().0
    });
    lost.add_file(3 * MIB, 34);
    owner.join(&lost).await;
    assert!(dispatch(&owner, content, options(1)).await.is_empty(), "a lost block");
}

/// Asks `keeper`'s owner for content with a token, as `who`; true when it is served.
async fn pulls(who: &Node, owner: &Node, root: Cid, token: Token) -> bool {
    let stream = within(who.shared.net.open(owner.id(), TRANSFER)).await.unwrap();
    let (mut reader, mut writer) = link(stream);
    let open = Open {
        deal: DealId::new([1; 16]),
        grant: Grant::Token(token),
        root,
        scope: Scope::all(),
        skip: 0,
        channel: None,
        credit: limit::CREDIT_WINDOW,
    };
    writer.send(&Up::Open(Box::new(open))).await.unwrap();
    let served = matches!(reader.message(DEADLINE).await.unwrap(), Down::Accept { .. });
    let _ = writer.send(&Up::Cancel { why: Reason::new("seen enough") }).await;
    served
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorisation_is_for_one_peer_and_one_pull() {
    // The keeper hands the request to the test instead of pulling.
    let mut keeper = Node::idle(Setup::default());
    let mut events = keeper.events.take().unwrap();
    let (owner, thief) =
        (Node::start(Setup { price: price(), ..Setup::default() }), Node::start(Setup::default()));
    owner.join(&keeper).await;
    thief.join(&owner).await;
    let content = owner.add_file(10, 35);
    let named = DispatchOptions { peers: vec![keeper.id()], ..options(1) };
    let asked = owner.trade.dispatch(content.0, content.1, named, Reporter::mute());
    let checked = async {
        let (request, mut writer) = loop {
            match events.recv().await.expect("the loop runs") {
                NetEvent::Inbound { protocol, stream, .. } if protocol == DISPATCH => {
                    let (mut reader, writer) = link(stream);
                    let wire::Talk::Request(request) = reader.message(DEADLINE).await.unwrap() else {
                        panic!()
                    };
                    break (request, (reader, writer));
                }
                _ => {}
            }
        };
        assert_ne!(request.req_id, RequestId::new([0; 16]));
        writer.1.send(&wire::Talk::Accepted).await.unwrap();
        assert!(!pulls(&thief, &owner, content.0, request.token).await, "wrong peer");
        assert!(pulls(&keeper, &owner, content.0, request.token).await, "the first use");
        assert!(!pulls(&keeper, &owner, content.0, request.token).await, "second use");
        writer.1.send(&wire::Talk::Refused { why: Reason::new("enough") }).await.unwrap();
    };
    let (cached, ()) = within(async { tokio::join!(asked, checked) }).await;
    // The thief may well be asked next, and keep an honest copy.
    assert!(cached.unwrap().iter().all(|cached| cached.peer != keeper.id()));
}

#[test]
fn a_copy_that_trickles_in_does_not_keep_its_place() {
    let behind = |seconds, came| keep::is_behind(Duration::from_secs(seconds), Bytes::new(came));
    assert!(!behind(119, 0) && behind(120, 0));
    assert!(behind(3600, MIB), "whatever size was claimed");
    assert!(!behind(3600, 1024 * MIB));
}

/// Puts a request to `keeper` and returns the substream.
async fn request(
    who: &Node,
    keeper: &Node,
    root: Cid,
    region: &str,
) -> (link::Reader<ReadHalf<Stream>>, link::Writer<WriteHalf<Stream>>) {
    let stream = within(who.shared.net.open(keeper.id(), DISPATCH)).await.unwrap();
    let (reader, mut writer) = link(stream);
    let request = wire::Request {
        req_id: RequestId::new([1; 16]),
        root,
        size: Bytes::new(1000),
        token: Token::new([2; 32]),
        key: ProofKey::new([3; 32]),
        region: region.to_owned(),
    };
    writer.send(&wire::Talk::Request(request)).await.unwrap();
    (reader, writer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_does_not_come_leaves_nothing() {
    let (asker, keeper) = (Node::start(Setup::default()), Node::start(Setup::default()));
    asker.join(&keeper).await;
    // The token is unknown to the asker; the root of the other cannot be walked at all.
    let nonsense = Cid::try_from(&[1, 0x70, 0, 3, 0xff, 0xff, 0xff][..]).unwrap();
    let (held, _) = asker.add_file(10, 71);
    for root in [held, nonsense] {
        let (mut reader, _writer) = request(&asker, &keeper, root, "Test").await;
        let last = loop {
            match reader.message::<wire::Talk>(DEADLINE).await.unwrap() {
                wire::Talk::Accepted => {}
                last => break last,
            }
        };
        assert!(matches!(last, wire::Talk::Refused { .. }), "{last:?}");
        assert!(keeper.shared.store.stagings().is_empty(), "{root}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_for_others_are_few_and_end_with_the_asker() {
    let (asker, keeper) = (Node::start(Setup::default()), Node::start(Setup::default()));
    asker.join(&keeper).await;
    let (root, _) = keeper.add_file(MIB, 73);
    let (mut reader, _writer) = request(&asker, &keeper, root, "Elsewhere").await;
    let refused = reader.message::<wire::Talk>(DEADLINE).await.unwrap();
    assert!(matches!(refused, wire::Talk::Refused { .. }), "{refused:?}");
    drop((reader, _writer));

    let places = u32::try_from(shared::PROOFS).unwrap();
    let taken = keeper.shared.proofs.acquire_many(places).await.unwrap();
    let (reader, writer) = request(&asker, &keeper, root, "Test").await;
    let tasks = async |count: usize| {
        within(async {
            while keeper.shared.tasks.len() != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    };
    tasks(1).await;
    drop((reader, writer));
    tasks(0).await;
    let (mut reader, _writer) = request(&asker, &keeper, root, "Test").await;
    tasks(1).await;
    drop(taken);
    let proved = reader.message::<wire::Talk>(DEADLINE).await.unwrap();
    let right = own_proof(&keeper.shared, root, ProofKey::new([3; 32])).await.unwrap();
    assert!(matches!(proved, wire::Talk::Have { proof } if proof == right.0), "{proved:?}");
}
