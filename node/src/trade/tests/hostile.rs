//! Peers that break the rules, on either side.

use super::*;
use futures::{AsyncReadExt, AsyncWriteExt};
use pop_dag::Memory;

/// A node that answers questions honestly and deals as `deal` says.
fn liar<F: Future<Output = ()> + Send + 'static>(deal: impl Fn(Stream) -> F + Send + 'static) -> Node {
    let mut node = Node::idle(Setup::default());
    let mut events = node.events.take().unwrap();
    let shared = Arc::clone(&node.shared);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            match event {
                NetEvent::Inbound { protocol, stream, .. } if protocol == TRANSFER => {
                    tokio::spawn(deal(stream));
                }
                other => on_event(&shared, other),
            }
        }
    });
    node
}

/// Takes the first frame and accepts.
async fn accept(stream: &mut Stream) -> Open {
    let mut decoder = pop_wire::Decoder::default();
    let open = loop {
        let count = stream.read(decoder.room()).await.unwrap();
        assert!(count > 0);
        if let Some(frame) = decoder.filled(count).unwrap() {
            break message::<Up>(&frame).unwrap();
        }
    };
    let Up::Open(open) = open else { panic!("{open:?}") };
    let mut out = Vec::new();
    pop_wire::encode(&Down::Accept { deal: open.deal }, &mut out).unwrap();
    stream.write_all(&out).await.unwrap();
    stream.flush().await.unwrap();
    *open
}

/// Sends bytes after the acceptance and keeps the stream open for a while.
fn sends(bytes: impl Fn(&Open) -> Vec<u8> + Send + Sync + Copy + 'static) -> Node {
    liar(move |mut stream| async move {
        let open = accept(&mut stream).await;
        stream.write_all(&bytes(&open)).await.unwrap();
        stream.flush().await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
}

/// What is sent after the acceptance.
type Lie = fn(&Open) -> Vec<u8>;

/// A block of the right name and place with other bytes.
fn forged(open: &Open) -> Vec<u8> {
    let data = vec![7; 10];
    let header = BlockHeader::of(&open.root, 10, 0);
    [header.encode().to_vec(), data].concat()
}

/// The root with no bytes at all, and then the end.
fn empty(open: &Open) -> Vec<u8> {
    let mut out = BlockHeader::of(&open.root, 0, 0).encode().to_vec();
    pop_wire::encode(&Down::End { blocks: 1, sent: Bytes::ZERO }, &mut out).unwrap();
    out
}

/// The frames of a whole deal, in which the blocks go out as `lie` changes them.
fn transcript(root: Cid, blocks: &Memory, lie: impl Fn(usize, &Buf) -> Buf) -> Vec<u8> {
    let (mut out, mut seq, mut sent) = (Vec::new(), 0, Bytes::ZERO);
    let mut send = |cid: &Cid, data: &Buf| {
        let data = lie(seq, data);
        let len = u32::try_from(data.len()).unwrap();
        out.extend(BlockHeader::of(cid, len, u64::try_from(seq).unwrap()).encode());
        out.extend(&data);
        seq += 1;
        sent = sent.saturating_add(Bytes::of(&data));
        Ok(())
    };
    pop_dag::walk::run(root, &Scope::all(), blocks, &mut send).unwrap();
    let blocks = u64::try_from(seq).unwrap();
    pop_wire::encode(&Down::End { blocks, sent }, &mut out).unwrap();
    out
}

/// A node that serves one content so.
fn plays(frames: Vec<u8>) -> Node {
    let frames = Arc::new(frames);
    liar(move |mut stream| {
        let frames = Arc::clone(&frames);
        async move {
            accept(&mut stream).await;
            stream.write_all(&frames).await.unwrap();
            stream.flush().await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_leaf_without_bytes_makes_no_content_whole() {
    let mut blocks = Memory::new();
    let mut noise = Noise { left: 3 * MIB, state: 51 };
    let added = unixfs::add_file(&mut noise, &Rules::default(), &mut blocks, &mut |_| ()).unwrap();
    let last = |seq: usize, data: &Buf| if seq == 3 { Buf::new() } else { data.clone() };
    let liar = plays(transcript(added.cid, &blocks, last));
    let (root, _) = liar.add_file(3 * MIB, 51);
    assert_eq!(root, added.cid);
    let (honest, buyer) = (Node::start(Setup::default()), Node::start(Setup::default()));
    let address = liar.address().await;
    let error = buyer.fetch(root, |request| request.peers = vec![address]).await.unwrap_err();
    assert!(matches!(error, FetchError::BadData { .. }), "{error}");
    assert!(buyer.shared.store.ref_of(&root).unwrap().is_none());
    honest.add_file(3 * MIB, 51);
    let both = vec![liar.address().await, honest.address().await];
    buyer.fetch(root, |request| request.peers = both).await.unwrap();
    assert!(buyer.has_all(&root));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_behind_a_forged_node_is_staged() {
    let (mut blocks, mut junk) = (Memory::new(), Memory::new());
    let mut noise = Noise { left: 3 * MIB, state: 53 };
    let added = unixfs::add_file(&mut noise, &Rules::default(), &mut blocks, &mut |_| ()).unwrap();
    let mut noise = Noise { left: 3 * MIB, state: 55 };
    let other = unixfs::add_file(&mut noise, &Rules::default(), &mut junk, &mut |_| ()).unwrap();
    // Another file's blocks, under the name of the one that was asked for.
    let frames = transcript(other.cid, &junk, |_, data| data.clone());
    let named = BlockHeader::of(&added.cid, u32::from_be_bytes(frames[4..8].try_into().unwrap()), 0);
    let liar = plays([&named.encode()[..], &frames[BlockHeader::LEN..]].concat());
    let (root, _) = liar.add_file(3 * MIB, 53);
    let buyer = Node::start(Setup::default());
    let address = liar.address().await;
    let error = buyer.fetch(root, |request| request.peers = vec![address]).await.unwrap_err();
    assert!(matches!(error, FetchError::BadData { .. }), "{error}");
    assert!(buyer.shared.store.stagings().is_empty(), "there was nothing good to keep");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_is_found_out_and_the_next_offer_taken() {
    let cases: [(&str, Lie); 5] = [
        ("do not hash", forged),
        ("do not hash", empty),
        ("is not", |_| BlockHeader::of(&Cid::default(), 0, 0).encode().to_vec()),
        ("unknown frame type 0x09", |_| vec![9; 100]),
        ("over the limit", |_| vec![1, 0xff, 0xff, 0x7f]),
    ];
    for (told, bytes) in cases {
        let (liar, honest) = (sends(bytes), Node::start(Setup::default()));
        let buyer = Node::start(Setup::default());
        let (root, _) = liar.add_file(10, 20);
        honest.add_file(10, 20);
        let address = liar.address().await;
        let error = buyer.fetch(root, |request| request.peers = vec![address]).await.unwrap_err();
        let text = error::told(&error);
        assert!(matches!(error, FetchError::BadData { .. }) && text.contains(told), "{text}");
        assert!(!buyer.has_all(&root));
        assert!(buyer.trade.standing(&liar.id()).0 < 0.0);

        let both = vec![liar.address().await, honest.address().await];
        let fetched = buyer.fetch(root, |request| request.peers = both).await.unwrap();
        assert_eq!(fetched.provider, honest.id());
        assert!(buyer.has_all(&root));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_up_is_told_as_such() {
    let liar = liar(|mut stream| async move {
        accept(&mut stream).await;
    });
    let buyer = Node::start(Setup::default());
    let (root, _) = liar.add_file(10, 21);
    let address = liar.address().await;
    let error = buyer.fetch(root, |request| request.peers = vec![address]).await.unwrap_err();
    assert!(matches!(error, FetchError::Broken { .. }), "{error}");
}

/// Opens a deal by hand and returns what the provider says first.
async fn open(client: &Node, provider: &Node, change: impl FnOnce(&mut Open)) -> Down {
    let question = ask::Question {
        root: Cid::default(),
        scope: Scope::all(),
        max_price: price(),
        peers: Vec::new(),
        strategy: Strategy::First,
        deadline: Instant::now() + DEADLINE,
    };
    let mut open = Open {
        deal: DealId::new([1; 16]),
        grant: Grant::Token(Token::new([0; 32])),
        root: question.root,
        scope: Scope::all(),
        skip: 0,
        channel: None,
        credit: limit::CREDIT_WINDOW,
    };
    change(&mut open);
    let stream = within(client.shared.net.open(provider.id(), TRANSFER)).await.unwrap();
    let (mut reader, mut writer) = link(stream);
    writer.send(&Up::Open(Box::new(open))).await.unwrap();
    reader.message(DEADLINE).await.unwrap()
}

fn code(down: &Down) -> Option<Refusal> {
    match down {
        Down::Refused { code, .. } => Some(*code),
        _ => None,
    }
}

/// An offer of the seller to the buyer's question.
async fn offer_of(seller: &Node, buyer: &Node, root: Cid) -> Box<pop_wire::offer::SignedOffer> {
    let question = ask::Question {
        root,
        scope: Scope::all(),
        max_price: price(),
        peers: vec![seller.address().await],
        strategy: Strategy::First,
        deadline: Instant::now() + DEADLINE,
    };
    let mut asking = ask::Asking::new(&buyer.shared, question);
    Box::new(within(asking.next()).await.unwrap().expect("an offer"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_serves_nothing_without_a_good_grant() {
    let seller = Node::start(Setup { price: price(), ..Setup::default() });
    let buyer = Node::start(Setup::default());
    let (root, _) = seller.add_file(10, 22);
    let (other, _) = seller.add_file(10, 25);
    let signed = offer_of(&seller, &buyer, root).await;
    let with = |grant: Grant, channel: Option<u64>| {
        move |open: &mut Open| {
            (open.root, open.grant, open.channel) = (root, grant, channel.map(address));
        }
    };
    let mut cheaper = signed.clone();
    cheaper.offer.price = PricePerByte::FREE;
    let table = [
        ("unknown token", with(Grant::Token(Token::new([3; 32])), None), Refusal::Token),
        ("no channel", with(Grant::Offer(signed.clone()), None), Refusal::Channel),
        ("other channel", with(Grant::Offer(signed.clone()), Some(5)), Refusal::Channel),
        ("forged price", with(Grant::Offer(cheaper), None), Refusal::Offer),
    ];
    for (name, change, expected) in table {
        assert_eq!(code(&open(&buyer, &seller, change).await), Some(expected), "{name}");
    }
    let change = with(Grant::Offer(signed.clone()), Some(1000));
    let skipping = |open: &mut Open| {
        change(open);
        open.skip = 99;
    };
    assert_eq!(code(&open(&buyer, &seller, skipping).await), Some(Refusal::Protocol));
    let elsewhere = |open: &mut Open| {
        (open.root, open.grant) = (other, Grant::Offer(signed.clone()));
    };
    assert_eq!(code(&open(&buyer, &seller, elsewhere).await), Some(Refusal::Offer));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_pay_gets_two_intervals_and_is_remembered() {
    let seller = Node::start(Setup { price: price(), ..Setup::default() });
    let buyer = Node::start(Setup::default());
    let (root, _) = seller.add_file(8 * MIB, 24);
    let signed = offer_of(&seller, &buyer, root).await;
    let stream = within(buyer.shared.net.open(seller.id(), TRANSFER)).await.unwrap();
    let (mut reader, mut writer) = link(stream);
    let first = Open {
        deal: DealId::new([1; 16]),
        grant: Grant::Offer(signed),
        root,
        scope: Scope::all(),
        skip: 0,
        channel: Some(address(1000)),
        credit: limit::CREDIT_WINDOW,
    };
    writer.send(&Up::Open(Box::new(first))).await.unwrap();
    let mut got = Bytes::ZERO;
    loop {
        match within(reader.frame()).await.unwrap().unwrap() {
            pop_wire::Frame::Block(_, data) => got = got.saturating_add(Bytes::of(&data)),
            control => {
                if let Down::PaymentDue { sent, .. } = message(&control).unwrap() {
                    assert_eq!(sent, got);
                    break;
                }
            }
        }
    }
    assert!(got <= Bytes::new(2 * MIB), "{got} for nothing");
    writer.send(&Up::Voucher { voucher: vec![0; 24] }).await.unwrap();
    let refused = loop {
        let down: Down = reader.message(DEADLINE).await.unwrap();
        if let Some(code) = code(&down) {
            break code;
        }
    };
    assert_eq!(refused, Refusal::Voucher, "a voucher that adds nothing");
    within(async {
        while seller.trade.unpaid() != got {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
