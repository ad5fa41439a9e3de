use std::net::Ipv4Addr;

use pop_dag::{Block, Codec};
use pop_units::PricePerByte;

use super::*;
use crate::config::Config;
use crate::trade::tests::{Node, Setup, within};

/// A node that fetches what is free, and whoever carries that out.
fn reader(flags: &[(&str, &str)]) -> (Node, Arc<Retrievals>) {
    let node = Node::start(Setup::default());
    let retrievals = on(&node, flags);
    (node, retrievals)
}

fn on(node: &Node, flags: &[(&str, &str)]) -> Arc<Retrievals> {
    let mut all = vec![("gateway_fetch", "free".to_owned())];
    all.extend(flags.iter().map(|(key, value)| (*key, (*value).to_owned())));
    let config = Config::load(std::path::Path::new("/nowhere"), &all).unwrap();
    let (trade, store, pool) = node.parts();
    Arc::new(Retrievals::new(trade, store, pool, Terms::of(&config)))
}

fn wanted(root: Cid, path: &[&str]) -> Wanted {
    let path = path.iter().map(|name| (*name).to_owned()).collect();
    Wanted { root, path, what: What::Entity, from: Ipv4Addr::LOCALHOST.into() }
}

/// A root that nobody has.
fn nowhere(n: u64) -> Cid {
    *Block::of(Codec::DagPb, n.to_be_bytes().to_vec().into()).cid()
}

/// Waits for the end of a retrieval.
async fn end(retrieval: &mut Retrieval) -> Result<(), Miss> {
    let ended = within(retrieval.arrival.wait_for(|arrival| arrival.ended.is_some())).await.unwrap();
    ended.ended.clone().unwrap()
}

/// Waits until nothing runs.
async fn rests(retrievals: &Retrievals) {
    within(async {
        while retrievals.running() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_where_the_owner_does_not_say_so() {
    let (node, _) = reader(&[]);
    let off = on(&node, &[("gateway_fetch", "off")]);
    assert_eq!(off.begin(wanted(nowhere(1), &[])).err(), Some(Miss::Local));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_the_same_share_a_retrieval_and_its_last_one_ends_it() {
    // Nobody is there to ask: a retrieval goes on until its time is up.
    let (_node, retrievals) = reader(&[("gateway_timeout", "1h")]);
    let one = retrievals.begin(wanted(nowhere(1), &["a"])).unwrap();
    let two = retrievals.begin(wanted(nowhere(1), &["a"])).unwrap();
    let other = retrievals.begin(wanted(nowhere(1), &["b"])).unwrap();
    assert_eq!(retrievals.running(), 2);
    drop((one, other));
    within(async {
        while retrievals.running() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(two.arrival.borrow().ended.is_none(), "somebody still waits");
    drop(two);
    rests(&retrievals).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_so_many_run_and_a_stop_ends_them() {
    let (_node, retrievals) = reader(&[("gateway_timeout", "1h")]);
    let mut running: Vec<_> = (0..64).map(|n| retrievals.begin(wanted(nowhere(n), &[])).unwrap()).collect();
    assert_eq!(retrievals.begin(wanted(nowhere(64), &[])).err(), Some(Miss::Busy));
    retrievals.begin(wanted(nowhere(0), &[])).unwrap();
    within(retrievals.finish()).await;
    for retrieval in &mut running {
        assert_eq!(end(retrieval).await, Err(Miss::Stopped));
    }
    assert_eq!(retrievals.begin(wanted(nowhere(0), &[])).err(), Some(Miss::Stopped));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_is_read_while_the_rest_comes_and_after_the_end() {
    let provider = Node::start(Setup::default());
    let (node, retrievals) = reader(&[]);
    node.join(&provider).await;
    let (root, size) = provider.add_file(9 << 20, 1);
    let mut retrieval = retrievals.begin(wanted(root, &[])).unwrap();
    within(retrieval.arrival.wait_for(|arrival| !arrival.bytes.is_zero())).await.unwrap();
    let blocks = Arc::clone(&retrieval.blocks);
    let first = tokio::task::spawn_blocking(move || blocks.block(&root).unwrap().is_some());
    assert!(first.await.unwrap(), "the root has come before anything else");
    assert_eq!(end(&mut retrieval).await, Ok(()));
    assert_eq!(retrieval.arrival.borrow().bytes, size);
    let (_, store, _) = node.parts();
    assert!(store.brief(&root).unwrap().unwrap().complete, "a file that was read whole is here whole");
    let blocks = retrieval.blocks;
    let read = tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        unixfs::write_file(&root, &*blocks, &mut out, &mut |_| ()).map(|_| out.len())
    });
    assert_eq!(read.await.unwrap().unwrap(), 9 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_told_as_an_offer_and_paid_even_when_the_reader_leaves_with_the_last_byte() {
    let price = PricePerByte::per_gib(AttoFil::from_fil(1));
    let bank = Arc::default();
    let provider = Node::start(Setup::at(price, &bank));
    let node = Node::start(Setup::at(PricePerByte::FREE, &bank));
    node.join(&provider).await;
    let (root, size) = provider.add_file(7 << 20, 2);
    let mut free = on(&node, &[]).begin(wanted(root, &[])).unwrap();
    let Err(Miss::Priced(offer)) = end(&mut free).await else { panic!("it costs") };
    assert_eq!((offer.root, offer.size, offer.price), (root, size, price));
    assert_eq!(offer.cost, price.cost_of(size).unwrap());
    assert!(offer.providers[0].ends_with(&format!("/p2p/{}", provider.id())), "{:?}", offer.providers);

    let paid = on(&node, &[("gateway_fetch", "paid"), ("max_price", "2 FIL/GiB")]);
    let mut retrieval = paid.begin(wanted(root, &[])).unwrap();
    within(retrieval.arrival.wait_for(|arrival| arrival.bytes >= size)).await.unwrap();
    drop(retrieval);
    rests(&paid).await;
    assert_eq!(bank.taken(), offer.cost, "what was taken is paid for");
    let (_, store, _) = node.parts();
    assert!(store.brief(&root).unwrap().is_some_and(|found| found.complete), "and kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_alone_brings_no_more_and_is_not_refused_for_the_price_of_all() {
    let price = PricePerByte::per_gib(AttoFil::from_fil(1));
    let bank = Arc::default();
    let provider = Node::start(Setup::at(price, &bank));
    let node = Node::start(Setup::at(PricePerByte::FREE, &bank));
    let (root, _) = provider.add_file(7 << 20, 2);
    let flags = [
        ("gateway_fetch", "paid"),
        ("max_price", "2 FIL/GiB"),
        ("gateway_fetch_spend", "0.0001 FIL"),
        ("gateway_timeout", "5m"),
    ];
    let retrievals = on(&node, &flags);
    let of = |what| Wanted { what, ..wanted(root, &[]) };
    let mut all = retrievals.begin(of(What::All)).unwrap();
    let mut joined = retrievals.begin(of(What::Block)).unwrap();
    assert_eq!((all.is_wider, joined.is_wider), (false, true));
    // Not before: who is alone goes on looking.
    node.join(&provider).await;
    assert!(matches!(end(&mut all).await, Err(Miss::Priced(_))));
    assert!(matches!(end(&mut joined).await, Err(Miss::Priced(_))), "it is the same one");

    let mut block = retrievals.begin(of(What::Block)).unwrap();
    assert!(!block.is_wider);
    assert_eq!(end(&mut block).await, Ok(()));
    let (_, store, _) = node.parts();
    assert_eq!(store.size(&root).unwrap(), Some(block.arrival.borrow().bytes));
    assert!(!store.brief(&root).unwrap().unwrap().complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_below_a_name_that_is_not_there_is_told_so() {
    let provider = Node::start(Setup::default());
    let (node, retrievals) = reader(&[]);
    node.join(&provider).await;
    let (_, store, _) = provider.parts();
    let staging = store.stage("test").unwrap();
    let leaf = Block::of(Codec::Raw, b"leaf".to_vec().into());
    let entry = unixfs::Entry { name: "a".into(), cid: *leaf.cid(), tsize: Bytes::new(4) };
    let (dir, _) = unixfs::directory(vec![entry], &unixfs::Profile::default(), &mut staging.clone()).unwrap();
    staging.put(&leaf).unwrap();
    staging.put(&dir).unwrap();
    let found = pop_store::Ref { complete: true, ..pop_store::Ref::new(*dir.cid()) };
    staging.commit(found).unwrap();
    let mut retrieval = retrievals.begin(wanted(*dir.cid(), &["x", "y", "z"])).unwrap();
    let ended = end(&mut retrieval).await;
    assert!(matches!(&ended, Err(Miss::NoPath { why }) if why.contains('x')), "{ended:?}");
}

#[test]
fn what_lies_above_a_path_is_its_root_and_its_directory() {
    let root: Cid = "bafkqaaa".parse().unwrap();
    let key = |path: &str| Key { root, path: path.chars().map(String::from).collect(), what: What::Entity };
    for (path, above) in [("", vec![]), ("a", vec![""]), ("ab", vec!["", "a"]), ("abc", vec!["", "ab"])] {
        let above: Vec<Key> = above.into_iter().map(key).collect();
        assert_eq!(key(path).above(), above, "{path}");
    }
}

#[test]
fn a_retrieval_covers_what_lies_below_it_only_when_it_is_of_everything() {
    use What::{All, Block, Entity};

    let root: Cid = "bafkqaaa".parse().unwrap();
    let key = |path: &str, what| Key {
        root,
        path: path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
        what,
    };
    let table = [
        (key("", All), key("a/b", Entity), true),
        (key("a", All), key("a/b", All), true),
        (key("a", All), key("a", Block), true),
        (key("a", All), key("ab", Entity), false),
        (key("a/b", All), key("a", Entity), false),
        (key("a", Entity), key("a", Entity), true),
        (key("a", Entity), key("a", Block), true),
        (key("a", Entity), key("a", All), false),
        (key("a", Entity), key("a/b", Block), false),
        (key("a", Block), key("a", Block), true),
        (key("a", Block), key("a", Entity), false),
        (key("a", Block), key("a/b", Block), false),
    ];
    for (one, other, covers) in table {
        assert_eq!(one.covers(&other), covers, "{one:?} {other:?}");
    }
}
