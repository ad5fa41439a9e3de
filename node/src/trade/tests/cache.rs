//! What stays and what goes on a node whose disk is smaller than the world.

use super::*;
use libp2p::multiaddr::Protocol;
use pop_dag::What;
use pop_wire::query::{Query, VERSION};
use pop_wire::{Reason, RequestId};

const CAPACITY: u64 = 16 * MIB;

/// A node that has room for a dozen of the files of these tests.
fn small() -> Setup {
    Setup { disk: (Bytes::new(CAPACITY), Bytes::new(MIB)), ..Setup::default() }
}

impl Node {
    /// Returns what the segment files take, as the file system says.
    fn disk(&self) -> u64 {
        let segments = self.dir.as_ref().unwrap().path().join("blocks/segs");
        let sizes = std::fs::read_dir(segments).unwrap().map(|entry| {
            // A compaction may remove a file between the two looks.
            entry.unwrap().metadata().map_or(0, |meta| meta.len())
        });
        sizes.sum()
    }

    /// Fetches from this one node.
    async fn fetch_from(&self, seller: &Node, root: Cid, path: &[&str]) -> Result<Fetched, FetchError> {
        // With its peer id, so that a connection that is there is used.
        let address = seller.address().await.with(Protocol::P2p(seller.id()));
        let path = path.iter().map(|name| (*name).to_owned()).collect();
        self.fetch(root, |request| (request.peers, request.path) = (vec![address], path)).await
    }

    fn has_ref(&self, root: &Cid) -> bool {
        self.shared.store.ref_of(root).unwrap().is_some()
    }

    fn keys(&self, root: &Cid) -> Vec<String> {
        let found = self.shared.store.ref_of(root).unwrap().unwrap();
        assert!(found.keys.iter().all(|key| key.here), "{:?}", found.keys);
        found.keys.into_iter().map(|key| key.name).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_cache_keeps_what_is_used_and_what_is_pinned_and_never_outgrows_its_disk() {
    let (seller, client) = (Node::start(Setup::default()), Node::start(Setup::default()));
    let cache = Node::start(small());
    cache.join(&seller).await;
    let (own, _) = cache.add_file(2 * MIB, 1);
    cache.shared.store.set_pinned(&own, true).unwrap();
    let roots: Vec<Cid> = (0..40).map(|n| seller.add_file(MIB, 100 + 2 * n).0).collect();
    let hot = roots[0];
    for (n, root) in roots.iter().enumerate() {
        cache.fetch_from(&seller, *root, &[]).await.unwrap();
        assert!(cache.disk() <= CAPACITY, "{} bytes after {n} files", cache.disk());
        assert!(cache.has_all(&hot) && cache.has_all(&own), "lost after {n} files");
        cache.shared.store.touch(&hot, 7).unwrap();
        if n == 3 {
            client.fetch_from(&cache, hot, &[]).await.unwrap();
        }
    }
    let kept = roots.iter().filter(|root| cache.has_ref(root)).count();
    assert!((4..14).contains(&kept), "{kept} of {} stayed", roots.len());
    assert!(roots.iter().filter(|root| cache.has_ref(root)).all(|root| cache.has_all(root)));

    // Everything that is told of the store is as right after a restart as it was before.
    let before = cache.shared.store.figures();
    let list = cache.shared.store.refs().unwrap();
    let served = cache.shared.store.ref_of(&hot).unwrap().unwrap();
    assert!(served.bytes_served >= Bytes::MIB && served.frequency >= 2, "{served:?}");
    let cache = cache.restart(small()).await;
    let after = cache.shared.store.figures();
    let told = |figures: &pop_store::Figures| {
        (figures.live, figures.refs, figures.pinned_refs, figures.blocks, figures.pinned, figures.policy)
    };
    assert_eq!(told(&after), told(&before));
    assert_eq!(after.refs, u64::try_from(kept + 1).unwrap());
    assert!(after.used <= Bytes::new(CAPACITY) && after.used.get() >= after.live.get());
    assert_eq!(cache.shared.store.refs().unwrap(), list);
    assert!(cache.has_all(&hot) && cache.has_all(&own));
}

/// Opens a deal for all of a root behind its first `skip` blocks and takes it as far as `Accept`; nothing more is
/// read or granted.
async fn begin(
    client: &Node,
    seller: &Node,
    root: Cid,
    skip: u64,
) -> (link::Reader<impl futures::AsyncRead + Unpin>, impl Drop) {
    within(client.shared.net.dial(seller.address().await)).await.unwrap();
    let query = Query {
        v: VERSION,
        req_id: RequestId::new([3; 16]),
        root,
        scope: Scope { path: Vec::new(), what: What::All },
        max_price: PricePerByte::FREE,
        ttl_s: 60,
        reply_addrs: Vec::new(),
        chain: "local:00000001".to_owned(),
    };
    let offer = within(answer::ask(&client.shared, seller.id(), &query)).await.unwrap().expect("an offer");
    let stream = within(client.shared.net.open(seller.id(), TRANSFER)).await.unwrap();
    let (mut reader, mut writer) = link(stream);
    let open = Open {
        deal: DealId::new([1; 16]),
        grant: Grant::Offer(Box::new(offer)),
        root,
        scope: query.scope,
        skip,
        channel: None,
        credit: Bytes::MIB,
    };
    writer.send(&Up::Open(Box::new(open))).await.unwrap();
    assert!(matches!(reader.message(DEADLINE).await.unwrap(), Down::Accept { .. }));
    (reader, Cancelling(Some(writer)))
}

/// Ends the deal when it is dropped.
struct Cancelling<W: futures::AsyncWrite + Unpin + Send + 'static>(Option<link::Writer<W>>);

impl<W: futures::AsyncWrite + Unpin + Send + 'static> Drop for Cancelling<W> {
    fn drop(&mut self) {
        let mut writer = self.0.take().unwrap();
        tokio::spawn(async move {
            let _ = writer.send(&Up::Cancel { why: Reason::new("seen enough") }).await;
            let _ = writer.close().await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_in_a_running_deal_stays_and_goes_when_the_deal_is_over() {
    let (seller, client) = (Node::start(Setup::default()), Node::start(Setup::default()));
    let cache = Node::start(small());
    cache.join(&seller).await;
    let (root, _) = seller.add_file(4 * MIB, 1);
    cache.fetch_from(&seller, root, &[]).await.unwrap();
    let deal = begin(&client, &cache, root, 0).await;
    for n in 0..16 {
        let (other, _) = seller.add_file(MIB, 100 + 2 * n);
        cache.fetch_from(&seller, other, &[]).await.unwrap();
        assert!(cache.has_all(&root), "evicted under a deal after {n} files");
    }
    drop(deal);
    within(async {
        while !cache.shared.tasks.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    for n in 50..80 {
        let (other, _) = seller.add_file(MIB, 100 + 2 * n);
        cache.fetch_from(&seller, other, &[]).await.unwrap();
    }
    assert!(!cache.has_ref(&root), "a deal that was broken off is no use");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_fits_is_refused_before_a_byte_is_fetched() {
    let bank = Arc::<Bank>::default();
    let seller = Node::start(Setup { price: price(), bank: Arc::clone(&bank), ..Setup::default() });
    let cache = Node::start(Setup { bank: Arc::clone(&bank), quota: Bytes::GIB, ..small() });
    cache.join(&seller).await;
    let (kept, _) = seller.add_file(MIB, 1);
    let content = seller.add_file(2 * CAPACITY, 3);
    cache.fetch_from(&seller, kept, &[]).await.unwrap();
    let (used, holds) = (cache.shared.store.used(), bank.holds());

    let error = cache.fetch_from(&seller, content.0, &[]).await.unwrap_err();
    assert!(matches!(error, FetchError::Store(pop_store::Error::TooLarge { .. })), "{error}");
    let begun = Instant::now();
    let error = cache.fetch(content.0, |_| ()).await.unwrap_err();
    assert!(matches!(error, FetchError::Store(pop_store::Error::TooLarge { .. })), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(15), "a second offer of that size is an answer");
    assert_eq!((cache.shared.store.used(), bank.holds()), (used, holds), "nothing moved");
    assert!(cache.has_all(&kept), "nothing was evicted for it");

    // Nor is a copy of it begun for a peer, who hears why.
    let options = DispatchOptions {
        factor: ReplicationFactor::new(1),
        peers: vec![cache.id()],
        attempts: 0,
        backoff: Duration::from_secs(1),
    };
    let (progress, mut notes) = (Reporter::heard(), String::new());
    let cached =
        within(seller.trade.dispatch(content.0, content.1, options, progress.clone())).await.unwrap();
    assert!(cached.is_empty());
    while let Some(report) = progress.try_next() {
        notes.extend(report.note);
    }
    assert!(notes.contains("no room") || notes.contains("could ever have free"), "{notes}");
    assert_eq!(cache.shared.store.used(), used);
    assert!(cache.has_all(&kept));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_for_peers_make_their_room_by_eviction() {
    let (owner, cache) = (Node::start(Setup::default()), Node::start(small()));
    owner.join(&cache).await;
    let mut kept = Vec::new();
    for n in 0..24 {
        let content = owner.add_file(MIB, 1 + 2 * n);
        let options = DispatchOptions {
            factor: ReplicationFactor::new(1),
            peers: vec![cache.id()],
            attempts: 0,
            backoff: Duration::from_secs(1),
        };
        let cached = within(owner.trade.dispatch(content.0, content.1, options, Reporter::mute())).await;
        assert_eq!(cached.unwrap().len(), 1, "copy {n}");
        assert!(cache.disk() <= CAPACITY);
        kept.push(content.0);
    }
    assert!(cache.has_all(kept.last().unwrap()));
    assert!(kept.iter().any(|root| !cache.has_ref(root)), "more was kept than there is room for");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_copies_for_peers_must_be_asked_for_twice() {
    let (owner, cache) = (Node::start(Setup::default()), Node::start(small()));
    owner.join(&cache).await;
    let (pinned, _) = cache.add_file(8 * MIB, 1);
    cache.shared.store.set_pinned(&pinned, true).unwrap();
    let (kept, _) = cache.add_file(MIB, 3);
    let content = owner.add_file(4 * MIB, 5);
    for copies in 0..2 {
        let options = DispatchOptions {
            factor: ReplicationFactor::new(1),
            peers: vec![cache.id()],
            attempts: 0,
            backoff: Duration::from_secs(1),
        };
        let cached = within(owner.trade.dispatch(content.0, content.1, options, Reporter::mute())).await;
        assert_eq!(cached.unwrap().len(), copies);
        assert!(copies == 1 || cache.has_all(&kept), "nothing went for one question");
    }
    assert!(cache.has_all(&content.0) && cache.has_all(&pinned));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_serve_is_counted_with_what_came_in_vouchers() {
    let bank = Arc::<Bank>::default();
    let seller = Node::start(Setup { price: price(), bank: Arc::clone(&bank), ..Setup::default() });
    let (root, size) = seller.add_file(5 * MIB, 1);
    let told = |seller: &Node| {
        let found = seller.shared.store.ref_of(&root).unwrap().unwrap();
        (found.frequency, found.bytes_served, found.revenue)
    };
    assert_eq!(told(&seller), (0, Bytes::ZERO, AttoFil::ZERO));
    let mut spent = AttoFil::ZERO;
    for n in 1..3 {
        let buyer = Node::start(Setup { bank: Arc::clone(&bank), ..Setup::default() });
        let fetched = buyer.fetch_from(&seller, root, &[]).await.unwrap();
        spent = spent.checked_add(fetched.spent).unwrap();
        // The seller counts once the last voucher is in, which the buyer does not wait for.
        within(async {
            while told(&seller).1 != size.saturating_mul(n) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert_eq!(told(&seller), (n, size.saturating_mul(n), spent));
    }
    // A question, a deal that is broken off, and one that skips everything count nothing.
    let free = Node::start(Setup::default());
    let (root, _) = free.add_file(4 * MIB, 3);
    let client = Node::start(Setup::default());
    drop(begin(&client, &free, root, 0).await);
    let blocks =
        pop_dag::walk::run(root, &Scope::all(), &free.shared.store, &mut |_, _| Ok(())).unwrap().blocks;
    let (mut reader, writer) = begin(&client, &free, root, blocks).await;
    let end: Down = reader.message(DEADLINE).await.unwrap();
    assert!(matches!(end, Down::End { blocks: 0, .. }), "{end:?}");
    drop((reader, writer));
    within(async {
        while !free.shared.tasks.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let found = free.shared.store.ref_of(&root).unwrap().unwrap();
    assert_eq!((found.frequency, found.bytes_served), (0, Bytes::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_all_that_is_here_until_another_is_asked_for() {
    let bank = Arc::<Bank>::default();
    let setup = || Setup { bank: Arc::clone(&bank), ..Setup::default() };
    let seller = Node::start(Setup { price: price(), ..setup() });
    let (middle, third) = (Node::start(setup()), Node::start(setup()));
    let dir = tempfile::tempdir().unwrap();
    for (name, len) in [("a", 300_000), ("b", 2_500_000), ("c", 70_000)] {
        let mut data = Vec::new();
        std::io::Read::read_to_end(&mut Noise { left: len, state: len | 1 }, &mut data).unwrap();
        std::fs::write(dir.path().join(name), data).unwrap();
    }
    let mut staging = seller.shared.store.stage("test").unwrap();
    let rules = Rules::default();
    let root = unixfs::add_path(dir.path(), &rules, &mut staging, &mut |_| ()).unwrap().cid;
    staging.commit(Ref { complete: true, ..Ref::new(root) }).unwrap();

    middle.fetch_from(&seller, root, &["a"]).await.unwrap();
    assert_eq!(middle.keys(&root), ["a"]);
    let kept = middle.shared.store.ref_of(&root).unwrap().unwrap();
    assert_eq!(kept.keys[0].size, Bytes::new(300_000), "the key's own size, without the way to it");
    // It offers what it has and nothing else.
    let error = third.fetch_from(&middle, root, &[]).await.unwrap_err();
    assert!(matches!(error, FetchError::NotFound { asked: 1 }), "{error}");
    let error = third.fetch_from(&middle, root, &["b"]).await.unwrap_err();
    assert!(matches!(error, FetchError::NotFound { asked: 1 }), "{error}");
    third.fetch_from(&middle, root, &["a"]).await.unwrap();
    assert_eq!(third.keys(&root), ["a"]);

    let middle = middle.restart(setup()).await;
    assert_eq!(middle.keys(&root), ["a"]);
    let again = middle.fetch_from(&seller, root, &["a"]).await.unwrap();
    assert_eq!((again.provider, again.spent), (middle.id(), AttoFil::ZERO), "nothing is bought again");
    let fetched = middle.fetch_from(&seller, root, &["b"]).await.unwrap();
    let shared = seller.shared.store.size(&root).unwrap().unwrap();
    let own = fetched.size.saturating_sub(shared);
    assert_eq!(fetched.spent, price().cost_of(own).unwrap(), "the root was here");
    assert_eq!(middle.keys(&root), ["a", "b"]);
    assert!(!middle.shared.store.ref_of(&root).unwrap().unwrap().complete);

    middle.fetch_from(&seller, root, &["c"]).await.unwrap();
    let whole = middle.fetch_from(&seller, root, &[]).await.unwrap();
    assert_eq!((whole.provider, whole.spent), (middle.id(), AttoFil::ZERO), "all of it was here");
    assert!(middle.has_all(&root));
    third.fetch_from(&middle, root, &[]).await.unwrap();
    assert!(third.has_all(&root));
}
