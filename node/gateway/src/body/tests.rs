use std::net::Ipv4Addr;

use http_body_util::BodyExt;
use pop_dag::unixfs::{Chunker, Layout, Profile, Rules};
use pop_dag::{Memory, What};
use proptest::prelude::*;

use super::*;
use crate::content::{Content, Wanted};
use crate::site::Site;
use crate::testing::arriving::Arriving;
use crate::testing::dag::{self, FILE, RAW};
use crate::testing::settings;

fn view(content: Arc<Arriving>, root: Cid, in_flight: Bytes) -> View {
    let mut settings = settings();
    settings.limits.in_flight = in_flight;
    let content: Arc<dyn Content> = content;
    let wanted = Wanted { root, path: Vec::new(), what: What::Entity, from: Ipv4Addr::LOCALHOST.into() };
    View::new(Arc::new(Site::new(settings, content)), wanted, true)
}

fn local(blocks: &Memory, root: Cid, in_flight: Bytes) -> View {
    view(Arc::new(Arriving::new(blocks.clone())), root, in_flight)
}

async fn whole(view: &View, cid: Cid, range: Range<u64>) -> Vec<u8> {
    let body = FileBody::open(view.clone(), cid, range).await.unwrap();
    body.collect().await.unwrap().to_bytes().to_vec()
}

/// A file whose nodes hold content of their own, as trickled ones did, over leaves of every old kind.
fn odd(content: &[u8], blocks: &mut Memory) -> Cid {
    let size = |part: &[u8]| u64::try_from(part.len()).unwrap();
    let mut parts = Vec::new();
    for (index, chunk) in content.chunks(2000).enumerate() {
        let (own, rest) = chunk.split_at(chunk.len() / 3);
        let (a, b) = rest.split_at(rest.len() / 2);
        let below = [(dag::raw(a, blocks), size(a)), (dag::node(RAW, b, &[], None, blocks), size(b))];
        let below = match index % 3 {
            0 => dag::node(FILE, own, &below, Some(size(chunk)), blocks),
            1 => dag::node(FILE, own, &below, None, blocks),
            _ => dag::node(FILE, chunk, &[], None, blocks),
        };
        parts.push((below, size(chunk)));
        parts.push((dag::raw(b"", blocks), 0));
    }
    dag::node(FILE, b"", &parts, Some(size(content)), blocks)
}

fn shapes() -> impl Strategy<Value = Option<Rules>> {
    let profile = (any::<bool>(), any::<bool>(), 1000_u64..20_000, 2_usize..12).prop_map(
        |(cid_v0, raw_leaves, chunk, max_links)| {
            let chunk = Bytes::new(chunk);
            Profile { cid_v0, raw_leaves: raw_leaves && !cid_v0, chunk, max_links, ..Profile::default() }
        },
    );
    let layout = prop_oneof![Just(Layout::Balanced), Just(Layout::Trickle)];
    let rules = (profile, layout)
        .prop_map(|(profile, layout)| Some(Rules { profile, chunker: Chunker::Profile, layout }));
    prop_oneof![4 => rules, 1 => Just(None)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn parts_of_any_file_make_the_whole(
        len in 1_usize..200_000,
        shape in shapes(),
        mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        in_flight in prop_oneof![Just(Bytes::ZERO), Just(Bytes::new(128 << 10)), Just(Bytes::new(32 << 20))],
    ) {
        let content = dag::content(len);
        let mut blocks = Memory::new();
        let root = match &shape {
            Some(rules) => dag::file_by(&content, rules, &mut blocks),
            None => odd(&content, &mut blocks),
        };
        let mut cuts: Vec<usize> = cuts.drain(..).map(|cut| cut.index(len + 1)).chain([0, len]).collect();
        cuts.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let view = local(&blocks, root, in_flight);
            let size = u64::try_from(len).unwrap();
            assert!(whole(&view, root, 0..size).await == content);
            for pair in cuts.windows(2) {
                let [from, to] = [pair[0], pair[1]].map(|cut| u64::try_from(cut).unwrap());
                assert!(whole(&view, root, from..to).await == content[pair[0]..pair[1]], "{from}..{to}");
            }
        });
    }
}

#[tokio::test]
async fn without_room_frames_are_small_and_the_bytes_the_same() {
    let content = dag::content(3 << 20);
    let mut blocks = Memory::new();
    let root = dag::file(&content, 1 << 20, &mut blocks);
    let view = local(&blocks, root, Bytes::ZERO);
    // The second time, leaves are read in part.
    for _ in 0..2 {
        let mut body = FileBody::open(view.clone(), root, 1000..3 << 20).await.unwrap();
        let mut got = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= 32 << 10);
            got.extend_from_slice(&data);
        }
        assert!(got == content[1000..]);
    }
}

#[test]
fn batches_end_where_leaves_do() {
    let mut ends = Vec::new();
    let (mut at, mut batch) = (1000 + FIRST, FIRST);
    while ends.len() < 7 {
        batch = (batch * 2).min(MOST);
        at = upto(at, batch);
        ends.push(at >> 10);
    }
    assert_eq!(ends, [128, 256, 512, 1024, 2048, 3072, 4096]);
    assert_eq!(upto(1000, FIRST), 1000 + FIRST, "a short range is one batch");
    assert_eq!(upto(u64::MAX, MOST), u64::MAX);
}

/// Waits for what is read ahead until `len` bytes are there.
async fn ahead(body: &mut FileBody, len: u64) {
    let until = Instant::now() + Duration::from_secs(20);
    while body.feed.end().1 < len {
        assert!(Instant::now() < until, "{len} bytes before {} are not read ahead", body.feed.end().0);
        // As each frame that is taken does.
        std::future::poll_fn(|context| {
            body.read_ahead(context);
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_quick_client_never_waits_for_a_batch() {
    const SIZE: u64 = 16 * MOST;
    let content = dag::content(Bytes::new(SIZE).as_usize());
    let mut blocks = Memory::new();
    let root = dag::file(&content, 1 << 20, &mut blocks);
    let view = local(&blocks, root, Bytes::new(32 << 20));
    let mut body = FileBody::open(view, root, 0..SIZE).await.unwrap();
    body.patience = Duration::MAX;
    let mut got = Vec::new();
    while let Some(frame) = body.frame().await {
        got.extend_from_slice(&frame.unwrap().into_data().unwrap());
        let len = body.batch.min(body.left.end - body.left.start);
        ahead(&mut body, len).await;
    }
    assert!(got == content);
}

#[tokio::test]
async fn all_bodies_together_hold_no_more_than_their_room() {
    let content = dag::content(4 << 20);
    let mut blocks = Memory::new();
    let root = dag::file(&content, 1 << 20, &mut blocks);
    let view = local(&blocks, root, Bytes::MIB);
    let mut bodies = Vec::new();
    for _ in 0..40 {
        let mut body = FileBody::open(view.clone(), root, 0..4 << 20).await.unwrap();
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        bodies.push((frame.to_vec(), body));
    }
    for (start, body) in bodies {
        let rest = body.collect().await.unwrap().to_bytes();
        assert!([start, rest.to_vec()].concat() == content);
    }
    assert!(view.site().budget.has_room(Bytes::MIB.get()), "all room came back");
}

#[tokio::test]
async fn what_was_taken_from_a_stalled_client_is_read_again() {
    let content = dag::content(2 << 20);
    let mut blocks = Memory::new();
    let root = dag::file(&content, 100_000, &mut blocks);
    let view = local(&blocks, root, Bytes::new(8 << 20));
    let mut body = FileBody::open(view, root, 0..2 << 20).await.unwrap();
    let mut got = Vec::new();
    while let Some(frame) = body.frame().await {
        got.extend_from_slice(&frame.unwrap().into_data().unwrap());
        body.feed.drop_stalled(Instant::now() + 2 * SLOW, SLOW);
    }
    assert!(got == content);
}

#[tokio::test]
async fn bytes_are_sent_while_others_are_still_to_come() {
    let content = dag::content(100_000);
    let mut all = Memory::new();
    let root = dag::file(&content, 10_000, &mut all);
    let leaves: Vec<Cid> = content.chunks(10_000).map(|chunk| dag::raw(chunk, &mut Memory::new())).collect();
    let mut here = all.clone();
    leaves.iter().for_each(|leaf| assert!(here.remove(leaf)));
    let node = Arc::new(Arriving::new(here));
    let view = view(Arc::clone(&node), root, Bytes::MIB);
    let opening = tokio::spawn(FileBody::open(view.clone(), root, 0..100_000));
    node.arrive(&leaves[0], &all);
    let mut body = opening.await.unwrap().unwrap();
    let mut got = Vec::new();
    for leaf in 1..=leaves.len() {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        got.extend_from_slice(&frame);
        assert_eq!(got.len(), leaf * 10_000, "what came is sent before the next comes");
        if let Some(next) = leaves.get(leaf) {
            node.arrive(next, &all);
        }
    }
    assert!(body.frame().await.is_none());
    assert!(got == content);
    assert_eq!(node.asked(), 1);
    drop((body, view));
    assert_eq!(node.staying(), 0);
}

#[tokio::test]
async fn a_retrieval_that_ends_badly_is_an_error_of_the_body() {
    let content = dag::content(100_000);
    let mut all = Memory::new();
    let root = dag::file(&content, 10_000, &mut all);
    let mut here = all.clone();
    for chunk in content.chunks(10_000).skip(3) {
        assert!(here.remove(&dag::raw(chunk, &mut Memory::new())));
    }
    let node = Arc::new(Arriving::new(here));
    let body = FileBody::open(view(Arc::clone(&node), root, Bytes::MIB), root, 0..100_000).await.unwrap();
    node.end(Err(crate::content::Miss::Refused { why: "no".into() }));
    assert!(body.collect().await.is_err());
}

#[tokio::test]
async fn tiny_leaves_are_few_pieces() {
    let mut blocks = Memory::new();
    let content = dag::content(5000);
    let cid = dag::file(&content, 1, &mut blocks);
    for in_flight in [0, 1 << 20] {
        let view = local(&blocks, cid, Bytes::new(in_flight));
        let pieces = span::read(&blocks, view.site(), &cid, 0..5000, in_flight > 0).unwrap();
        let [piece] = &pieces[..] else { panic!("{} pieces", pieces.len()) };
        assert!((200..=span::LEAVES).contains(&piece.len()), "{}", piece.len());
        assert!(content.starts_with(piece));
        assert!(whole(&view, cid, 0..5000).await == content);
    }
    // What is large stays as it is.
    let mixed: Vec<_> = [1, 2, 5000, 3]
        .map(|len| (dag::raw(&content[..len], &mut blocks), u64::try_from(len).unwrap()))
        .into();
    let cid = dag::node(FILE, b"", &mixed, Some(5006), &mut blocks);
    let view = local(&blocks, cid, Bytes::MIB);
    let pieces = span::read(&blocks, view.site(), &cid, 0..5006, true).unwrap();
    assert_eq!(pieces.iter().map(Buf::len).collect::<Vec<_>>(), [3, 5000, 3]);
}
