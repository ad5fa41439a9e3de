use std::net::Ipv4Addr;
use std::time::Duration;

use http::header;
use pop_dag::unixfs::Profile;
use pop_dag::{Block, Codec, Memory};
use pop_units::{AttoFil, Bytes, PricePerByte};

use super::*;
use crate::content::{Content, Offer};
use crate::testing::arriving::Arriving;
use crate::testing::{self, Fake, dag, settings};

fn leaf(text: &'static str) -> Block {
    Block::of(Codec::Raw, Buf::from_static(text.as_bytes()))
}

fn memory(blocks: &[&Block]) -> Memory {
    let mut memory = Memory::new();
    blocks.iter().for_each(|block| memory.insert((*block).clone()));
    memory
}

fn view(content: &Arc<Arriving>, root: &Block, may_fetch: bool) -> View {
    let content: Arc<dyn Content> = content.clone();
    let site = Arc::new(Site::new(settings(), content));
    let wanted =
        Wanted { root: *root.cid(), path: Vec::new(), what: What::Entity, from: Ipv4Addr::LOCALHOST.into() };
    View::new(site, wanted, may_fetch)
}

/// Reads blocks in order and joins what they hold.
fn joined(cids: Vec<Cid>) -> impl FnMut(&dyn BlockSource) -> Result<String, Gap> + Send + 'static {
    move |blocks| {
        let read = |cid: &Cid| blocks.block(cid)?.ok_or(Gap::Missing(*cid));
        let parts: Result<Vec<Buf>, Gap> = cids.iter().map(read).collect();
        Ok(String::from_utf8(parts?.concat()).unwrap())
    }
}

/// Returns the counts of retrievals that are not zero.
fn fetches(view: &View) -> Vec<String> {
    let mut text = String::new();
    view.site().figures.write(&mut text).unwrap();
    let lines =
        text.lines().filter(|line| line.starts_with("pop_gateway_fetches_total{") && !line.ends_with(" 0"));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn what_is_here_is_read_without_asking_anybody() {
    let (a, b) = (leaf("a"), leaf("b"));
    let content = Arc::new(Arriving::new(memory(&[&a, &b])));
    let view = view(&content, &a, true);
    assert_eq!(view.read(joined(vec![*a.cid(), *b.cid()])).await.unwrap(), "ab");
    assert_eq!(view.read_small(joined(vec![*a.cid()])).await.unwrap(), "a");
    assert_eq!(view.peek(a.cid()), Some(a.data().clone()), "a small read is remembered");
    assert_eq!(view.peek(b.cid()), None);
    assert!(!view.has_fetched());
    assert_eq!(content.asked(), 0);
}

#[tokio::test]
async fn what_comes_is_waited_for_and_asked_for_once() {
    let blocks = [leaf("a"), leaf("b"), leaf("c")];
    let all = memory(&[&blocks[0], &blocks[1], &blocks[2]]);
    let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    let content = Arc::new(Arriving::new(memory(&[&blocks[0]])));
    let view = view(&content, &blocks[0], true);
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (view, cids) = (view.clone(), cids.clone());
            tokio::spawn(async move { view.read(joined(cids)).await })
        })
        .collect();
    content.arrive(&cids[2], &all);
    content.arrive(&cids[1], &all);
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap(), "abc");
    }
    assert_eq!(content.asked(), 1);
    assert!(view.has_fetched());
    assert_eq!(content.staying(), 1);
    assert_eq!(
        fetches(&view),
        ["pop_gateway_fetches_total{result=\"found\"} 1"],
        "three readers, one retrieval"
    );
    drop(view);
    assert_eq!(content.staying(), 0, "the last clone leaves the retrieval");
}

#[tokio::test]
async fn what_may_not_be_fetched_is_not_asked_for() {
    let a = leaf("a");
    let content = Arc::new(Arriving::new(Memory::new()));
    let refusal = view(&content, &a, false).read(joined(vec![*a.cid()])).await.unwrap_err();
    assert_eq!(refusal.status, StatusCode::NOT_FOUND);
    assert!(refusal.message.contains(&a.cid().to_string()) && refusal.hint.contains("--gateway-fetch"));
    assert_eq!(content.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_in_time_is_told_with_what_was_tried() {
    let (a, b) = (leaf("a"), leaf("b"));
    let content = Arc::new(Arriving::new(memory(&[&a])));
    let refusal = view(&content, &a, true).read(joined(vec![*a.cid(), *b.cid()])).await.unwrap_err();
    assert_eq!(refusal.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(
        refusal.message.contains(&b.cid().to_string()) && refusal.headers.contains_key(header::RETRY_AFTER)
    );
    assert_eq!(content.staying(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_step_forward_gives_more_time() {
    let (a, b) = (leaf("a"), leaf("b"));
    let content = Arc::new(Arriving::new(Memory::new()));
    let reading = tokio::spawn({
        let (view, cids) = (view(&content, &a, true), vec![*a.cid(), *b.cid()]);
        async move { view.read(joined(cids)).await }
    });
    let all = memory(&[&a, &b]);
    for block in [&a, &b] {
        tokio::time::sleep(Duration::from_secs(4)).await;
        content.arrive(block.cid(), &all);
    }
    assert_eq!(reading.await.unwrap().unwrap(), "ab");
}

/// Makes a step forward every 4 seconds, for ever, none of which brings a block.
async fn drip(content: Arc<Arriving>) {
    loop {
        tokio::time::sleep(Duration::from_secs(4)).await;
        content.step();
    }
}

#[tokio::test(start_paused = true)]
async fn steps_that_lead_nowhere_hold_no_head_for_longer_than_four_of_them() {
    let a = leaf("a");
    let content = Arc::new(Arriving::new(Memory::new()));
    let view = view(&content, &a, true);
    let read = view.read(joined(vec![*a.cid()]));
    let refusal = tokio::select! {
        read = read => read.unwrap_err(),
        () = drip(Arc::clone(&content)) => unreachable!(),
    };
    assert_eq!(refusal.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(refusal.message.ends_with("did not within 20 s"), "{}", refusal.message);
    assert!(
        refusal.message.contains(&a.cid().to_string()) && refusal.headers.contains_key(header::RETRY_AFTER)
    );
    // Nor does what comes in place of the path have more time.
    let other = view.of(vec!["other".into()], What::Entity);
    let refusal = other.read(joined(vec![*a.cid()])).await.unwrap_err();
    assert!(refusal.message.ends_with("did not within 20 s"), "{}", refusal.message);
}

#[tokio::test(start_paused = true)]
async fn once_the_head_is_made_each_step_has_its_time() {
    let a = leaf("a");
    let content = Arc::new(Arriving::new(Memory::new()));
    let view = view(&content, &a, true);
    view.answered();
    let come = async {
        tokio::time::sleep(Duration::from_secs(58)).await;
        content.arrive(a.cid(), &memory(&[&a]));
    };
    let read = async { tokio::join!(view.read(joined(vec![*a.cid()])), come).0 };
    let read = tokio::select! {
        read = read => read,
        () = drip(Arc::clone(&content)) => unreachable!(),
    };
    assert_eq!(read.unwrap(), "a");
}

#[tokio::test]
async fn who_joined_a_retrieval_of_more_that_fails_is_not_refused_for_it() {
    let a = leaf("a");
    let dear = || Miss::NotFound { tried: "for all of it".into() };
    let content = Arc::new(Arriving::failing_wider(vec![dear()]));
    content.arrive(a.cid(), &memory(&[&a]));
    let one = view(&content, &a, true);
    let (read, again) = tokio::join!(one.read(joined(vec![*a.cid()])), one.read(joined(vec![*a.cid()])));
    assert_eq!((read.unwrap(), again.unwrap()), ("a".to_owned(), "a".to_owned()));
    assert_eq!(content.asked(), 2, "once more, for all who read");
    assert_eq!(fetches(&one), ["pop_gateway_fetches_total{result=\"found\"} 1"]);

    let content = Arc::new(Arriving::failing_wider(vec![dear(), dear()]));
    let refusal = view(&content, &a, true).read(joined(vec![*a.cid()])).await.unwrap_err();
    assert_eq!((refusal.status, content.asked()), (StatusCode::NOT_FOUND, 2), "and not for ever");

    let content = Arc::new(Arriving::failing_wider(vec![Miss::NoPath { why: "no".into() }]));
    let refusal = view(&content, &a, true).read(joined(vec![*a.cid()])).await.unwrap_err();
    assert_eq!((refusal.status, content.asked()), (StatusCode::NOT_FOUND, 1), "this is of all below");
}

#[tokio::test]
async fn who_stops_waiting_leaves_the_retrieval() {
    let a = leaf("a");
    let content = Arc::new(Arriving::new(Memory::new()));
    let view = view(&content, &a, true);
    let read = view.read(joined(vec![*a.cid()]));
    tokio::select! {
        biased;
        _ = read => panic!("nothing comes"),
        () = async { while content.staying() == 0 { tokio::task::yield_now().await } } => {}
    }
    drop(view);
    assert_eq!(content.staying(), 0);
}

#[tokio::test]
async fn the_end_of_a_retrieval_is_an_answer() {
    let a = leaf("a");
    let ends = [
        (Ok(()), StatusCode::BAD_GATEWAY),
        (Err(Miss::Refused { why: "no".into() }), StatusCode::BAD_GATEWAY),
        (Err(Miss::NoPath { why: "no".into() }), StatusCode::NOT_FOUND),
    ];
    for (end, status) in ends {
        let content = Arc::new(Arriving::new(Memory::new()));
        content.end(end);
        let refusal = view(&content, &a, true).read(joined(vec![*a.cid()])).await.unwrap_err();
        assert_eq!(refusal.status, status);
    }
}

#[tokio::test]
async fn misses_have_the_status_of_their_reason() {
    let a = leaf("a");
    let offer = Offer {
        root: *a.cid(),
        size: Bytes::new(1),
        price: PricePerByte::FREE,
        cost: AttoFil::ZERO,
        providers: Vec::new(),
        payee: None,
        chain: None,
        expires: None,
    };
    let (tried, why) = (|| "two peers".to_owned(), || "because".to_owned());
    let table = [
        (Miss::Local, 404, false),
        (Miss::NotFound { tried: tried() }, 404, false),
        (Miss::TimedOut { tried: tried() }, 504, true),
        (Miss::Priced(Box::new(offer)), 402, false),
        (Miss::Refused { why: why() }, 502, true),
        (Miss::Full { why: why() }, 503, true),
        (Miss::Busy, 503, true),
        (Miss::NoPath { why: why() }, 404, false),
        (Miss::Stopped, 503, true),
    ];
    for (miss, status, later) in table {
        let is_priced = matches!(miss, Miss::Priced(_));
        let content = Arc::new(Arriving::refusing(miss.clone()));
        let refusal = view(&content, &a, true).read(joined(vec![*a.cid()])).await.unwrap_err();
        assert_eq!(refusal.status.as_u16(), status, "{miss}");
        assert_eq!(refusal.headers.contains_key(header::RETRY_AFTER), later, "{miss}");
        assert_eq!(refusal.json.is_some(), is_priced, "{miss}");
    }
}

#[tokio::test]
async fn work_that_nobody_waits_for_finds_no_further_block() {
    let leaf = leaf("a");
    let view = view(&Arc::new(Arriving::new(memory(&[&leaf]))), &leaf, false);
    let (cid, (entered, has_entered)) = (*leaf.cid(), tokio::sync::oneshot::channel());
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let (ended, has_ended) = tokio::sync::oneshot::channel();
    let mut told = Some((entered, ended));
    let work = move |blocks: &dyn BlockSource| {
        let before = blocks.block(&cid).is_ok();
        if let Some((entered, ended)) = told.take() {
            entered.send(()).unwrap();
            may_go_on.recv().unwrap();
            let after =
                [blocks.block(&cid).is_ok(), blocks.part(&cid, 0..1).is_ok(), blocks.has(&cid).is_ok()];
            ended.send((before, after)).unwrap();
        }
        Ok(())
    };
    let waiting = tokio::spawn(async move { view.read(work).await });
    has_entered.await.unwrap();
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    go_on.send(()).unwrap();
    assert_eq!(has_ended.await.unwrap(), (true, [false; 3]));
}

#[test]
fn a_turn_ends_after_many_blocks_or_many_bytes() {
    let (small, large) = (leaf("a"), Block::of(Codec::Raw, Buf::from(vec![0; 2 << 20])));
    let blocks = memory(&[&small, &large]);
    for (block, most) in [(&small, 256), (&large, 4)] {
        let paced = Paced::new(&blocks);
        for _ in 0..most {
            assert!(!paced.is_spent());
            assert_eq!(paced.block(block.cid()).unwrap().as_ref(), Some(block.data()));
        }
        assert!(paced.is_spent());
    }
}

#[tokio::test]
async fn answers_that_take_their_time_keep_their_content_here() {
    let mut blocks = Memory::new();
    let small = dag::file(&dag::content(60_000), 4000, &mut blocks);
    let large = dag::file(&dag::content(300_000), 50_000, &mut blocks);
    let plain = dag::dir(&[("large", large), ("small", small)], &mut blocks);
    let names: Vec<String> = (0..2000).map(|n| format!("{n}")).collect();
    let entries: Vec<(&str, Cid)> = names.iter().map(|name| (name.as_str(), small)).collect();
    let profile = Profile { shard_above: Bytes::new(1000), ..Profile::default() };
    let sharded = dag::dir_by(&entries, &profile, &mut blocks);
    let fake = Fake::new(blocks);
    let holds = Arc::clone(&fake.holds);
    let site = Arc::new(Site::new(settings(), Arc::new(fake)));
    let nobody = Arc::strong_count(&holds);
    for (path, range, is_held) in [
        (format!("{small}"), None, false),
        (format!("{large}"), None, true),
        (format!("{large}"), Some("bytes=100-200000"), true),
        (format!("{large}"), Some("bytes=100-200"), false),
        (format!("{plain}/large"), None, true),
        (format!("{plain}/"), None, false),
        (format!("{sharded}/"), None, true),
        (format!("{sharded}?format=json"), None, true),
        (format!("{plain}?format=car"), None, true),
        (format!("{plain}?format=tar"), None, true),
        (format!("{large}?format=raw"), None, false),
    ] {
        let headers: Vec<(&str, &str)> = range.map(|range| ("Range", range)).into_iter().collect();
        let response = testing::ask(&site, "GET", &format!("/ipfs/{path}"), &headers).await;
        assert!(response.status().is_success(), "{path}");
        assert_eq!(Arc::strong_count(&holds) > nobody, is_held, "{path} {range:?}");
        axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(Arc::strong_count(&holds), nobody, "{path} {range:?}: it was sent");
    }
}
