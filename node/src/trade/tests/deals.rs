//! Fetching, free and paid.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn free_content_is_fetched_kept_and_served_on() {
    let (first, second, third) =
        (Node::start(Setup::default()), Node::start(Setup::default()), Node::start(Setup::default()));
    second.join(&first).await;
    let (root, size) = first.add_file(5 * MIB + 7, 1);
    let fetched = second.fetch(root, |_| ()).await.unwrap();
    assert_eq!((fetched.size, fetched.provider, fetched.offers), (size, first.id(), 1));
    assert_eq!((fetched.spent, fetched.vouchers), (AttoFil::ZERO, 0));
    assert!(second.has_all(&root));
    assert!(!second.shared.store.ref_of(&root).unwrap().unwrap().pinned);

    third.join(&second).await;
    let fetched = third.fetch(root, |_| ()).await.unwrap();
    assert!([first.id(), second.id()].contains(&fetched.provider));
    assert!(third.has_all(&root));
}

#[tokio::test(flavor = "multi_thread")]
async fn paid_content_costs_exactly_its_price() {
    let bank = Arc::<Bank>::default();
    let seller = Node::start(Setup { price: price(), bank: Arc::clone(&bank), ..Setup::default() });
    let buyer = Node::start(Setup { bank: Arc::clone(&bank), ..Setup::default() });
    buyer.join(&seller).await;
    let (root, size) = seller.add_file(40 * MIB, 2);
    let fetched = buyer.fetch(root, |_| ()).await.unwrap();
    assert_eq!(fetched.spent, price().cost_of(size).unwrap());
    assert_eq!(bank.taken(), fetched.spent, "every voucher was taken");
    assert!((4..12).contains(&fetched.vouchers), "{} vouchers", fetched.vouchers);
    assert!(buyer.has_all(&root));
    assert_eq!(seller.trade.unpaid(), Bytes::ZERO);
    assert_eq!(buyer.trade.standing(&seller.id()).0, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_equal_questions_get_three_answers() {
    let (seller, buyer) = (Node::start(Setup::default()), Node::start(Setup::default()));
    buyer.join(&seller).await;
    let (root, _) = seller.add_file(1000, 3);
    for _ in 0..3 {
        let question = ask::Question {
            root,
            scope: Scope::all(),
            max_price: PricePerByte::FREE,
            peers: Vec::new(),
            strategy: Strategy::First,
            deadline: Instant::now() + DEADLINE,
        };
        let mut asking = ask::Asking::new(&buyer.shared, question);
        let signed = within(asking.next()).await.unwrap().expect("an offer");
        assert_eq!(signed.offer.provider, seller.id());
    }
    assert!(buyer.shared.tables().asked.is_empty(), "closed questions leave nothing");
    assert!(buyer.shared.tables().waiting.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_is_not_found_and_says_who_was_asked() {
    let (one, two, asker) =
        (Node::start(Setup::default()), Node::start(Setup::default()), Node::start(Setup::default()));
    asker.join(&one).await;
    asker.join(&two).await;
    let stranger = Node::idle(Setup::default());
    let (root, _) = stranger.add_file(10, 4);
    let error = asker.fetch(root, |_| ()).await.unwrap_err();
    assert!(matches!(error, FetchError::NotFound { asked: 2 }), "{error}");
    assert_eq!(error.to_string(), "nobody has it: 2 peers were asked");
    assert!(asker.shared.store.stagings().is_empty(), "a question leaves nothing behind");
    let named = one.address().await;
    let error = asker.fetch(root, |request| request.peers = vec![named]).await.unwrap_err();
    assert!(matches!(error, FetchError::NotFound { asked: 1 }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_on_another_chain_or_above_the_price_is_refused_with_the_reason() {
    let seller = Node::start(Setup { price: price(), chain: "local:00000002", ..Setup::default() });
    let buyer = Node::start(Setup::default());
    buyer.join(&seller).await;
    let (root, _) = seller.add_file(10, 5);
    let error = buyer.fetch(root, |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("no common chain"), "{error}");

    let dear = Node::start(Setup { price: price(), ..Setup::default() });
    let (root, _) = dear.add_file(10, 6);
    let named = dear.address().await;
    let named = |request: &mut FetchRequest| request.peers = vec![named.clone()];
    let error = buyer.fetch(root, |request| {
        named(request);
        request.max_price = PricePerByte::FREE;
    });
    let error = error.await.unwrap_err();
    assert!(matches!(&error, FetchError::Refused { why, .. } if why.contains("is above")), "{error}");
    let error = buyer.fetch(root, |request| {
        named(request);
        request.max_spend = Some(AttoFil::ZERO);
    });
    let error = error.await.unwrap_err();
    assert!(matches!(&error, FetchError::Refused { why, .. } if why.contains("may be spent")), "{error}");
    let poor = Node::start(Setup { funds: AttoFil::ZERO, ..Setup::default() });
    let error = poor.fetch(root, named).await.unwrap_err();
    assert!(matches!(error, FetchError::Purse(PurseError::Funds { .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_brings_only_what_it_needs() {
    let (seller, buyer) = (Node::start(Setup::default()), Node::start(Setup::default()));
    buyer.join(&seller).await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("src")).unwrap();
    std::fs::write(dir.path().join("src/small.txt"), "small").unwrap();
    std::fs::write(dir.path().join("large"), vec![7; 3 << 20]).unwrap();
    let mut staging = seller.shared.store.stage("test").unwrap();
    let rules = Rules::default();
    let added = unixfs::add_path(dir.path(), &rules, &mut staging, &mut |_| ()).unwrap();
    staging.commit(Ref { complete: true, ..Ref::new(added.cid) }).unwrap();
    let path = vec!["src".to_owned(), "small.txt".to_owned()];
    let fetched = buyer.fetch(added.cid, |request| request.path = path.clone()).await.unwrap();
    assert!(fetched.size < Bytes::new(1000), "{}", fetched.size);
    let mut out = Vec::new();
    let resolved = unixfs::resolve(&added.cid, &path, &buyer.shared.store).unwrap();
    unixfs::write_file(&resolved.cid, &buyer.shared.store, &mut out, &mut |_| ()).unwrap();
    assert_eq!(out, b"small");
    assert!(!buyer.has_all(&added.cid));

    let wrong = vec!["src".to_owned(), "no.txt".to_owned()];
    let error = buyer.fetch(added.cid, |request| request.path = wrong).await.unwrap_err();
    assert!(matches!(error, FetchError::NotFound { .. } | FetchError::NoPath(_)), "{error}");
    assert!(buyer.fetch(added.cid, |_| ()).await.is_ok());
    assert!(buyer.has_all(&added.cid));
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_files_come_too() {
    let bank = Arc::<Bank>::default();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "full").unwrap();
    std::fs::write(dir.path().join("z"), "").unwrap();
    for price in [PricePerByte::FREE, price()] {
        let seller = Node::start(Setup { price, bank: Arc::clone(&bank), ..Setup::default() });
        let mut staging = seller.shared.store.stage("test").unwrap();
        let added = unixfs::add_path(dir.path(), &Rules::default(), &mut staging, &mut |_| ()).unwrap();
        let mut nothing: &[u8] = &[];
        let alone = unixfs::add_file(&mut nothing, &Rules::default(), &mut staging, &mut |_| ()).unwrap();
        staging.commit(Ref { complete: true, ..Ref::new(added.cid) }).unwrap();
        let staging = seller.shared.store.stage("alone").unwrap();
        staging.put(&pop_dag::Block::of(pop_dag::Codec::Raw, Buf::new())).unwrap();
        staging.commit(Ref { complete: true, ..Ref::new(alone.cid) }).unwrap();
        for (root, path, all) in
            [(added.cid, None, true), (added.cid, Some("z"), false), (alone.cid, None, true)]
        {
            let buyer = Node::start(Setup { bank: Arc::clone(&bank), ..Setup::default() });
            buyer.join(&seller).await;
            let path: Vec<String> = path.into_iter().map(str::to_owned).collect();
            let fetched = buyer.fetch(root, |request| request.path = path.clone()).await.unwrap();
            assert_eq!(fetched.provider, seller.id());
            let found = unixfs::resolve(&root, &path, &buyer.shared.store).unwrap();
            assert!(buyer.shared.store.has(&found.cid).unwrap(), "{root}/{path:?}");
            assert_eq!(buyer.has_all(&root), all);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_was_cut_off_goes_on_where_it_was() {
    let bank = Arc::<Bank>::default();
    let seller = Node::start(Setup { price: price(), bank: Arc::clone(&bank), ..Setup::default() });
    let buyer = Node::start(Setup { bank: Arc::clone(&bank), ..Setup::default() });
    buyer.join(&seller).await;
    let (root, size) = seller.add_file(48 * MIB, 8);
    let exact = price().cost_of(size).unwrap();
    for _ in 0..3 {
        let before = bank.taken();
        tokio::select! {
            done = buyer.fetch(root, |_| ()) => { done.unwrap(); break }
            () = async { while bank.taken() == before { tokio::task::yield_now().await } } => {}
        }
    }
    buyer.fetch(root, |_| ()).await.unwrap();
    assert!(buyer.has_all(&root));
    let slack = price().cost_of(limit::INTERVAL_MAX).unwrap();
    let most = exact.checked_add(slack).unwrap();
    assert!(bank.promised() <= most, "{} for {exact}", bank.promised());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_fetches_of_the_same_content_share_one_transfer() {
    let bank = Arc::<Bank>::default();
    let seller = Node::start(Setup { price: price(), bank: Arc::clone(&bank), ..Setup::default() });
    let buyer = Node::start(Setup { bank: Arc::clone(&bank), ..Setup::default() });
    buyer.join(&seller).await;
    let (root, size) = seller.add_file(3 * MIB, 9);
    let (one, two) = tokio::join!(buyer.fetch(root, |_| ()), buyer.fetch(root, |_| ()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(bank.taken(), price().cost_of(size).unwrap());
    assert!(one.spent.is_zero() != two.spent.is_zero());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_node_begins_nothing_new() {
    let (seller, buyer) = (Node::start(Setup::default()), Node::start(Setup::default()));
    buyer.join(&seller).await;
    let (root, _) = seller.add_file(10, 10);
    within(seller.trade.drain(DEADLINE)).await;
    let named = seller.address().await;
    let error = buyer.fetch(root, |request| request.peers = vec![named]).await.unwrap_err();
    assert!(matches!(error, FetchError::NotFound { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_at_once_do_not_each_spend_the_whole_day() {
    let bank = Arc::<Bank>::default();
    let seller = Node::start(Setup { price: price(), bank: Arc::clone(&bank), ..Setup::default() });
    let ((one, size), (two, _)) = (seller.add_file(4 * MIB, 61), seller.add_file(4 * MIB, 63));
    let cost = price().cost_of(size).unwrap();
    let spend = cost.checked_add(AttoFil::new(cost.get() / 2)).unwrap();
    let buyer = Node::start(Setup { spend: Some(spend), bank: Arc::clone(&bank), ..Setup::default() });
    buyer.join(&seller).await;
    let (first, second) = tokio::join!(buyer.fetch(one, |_| ()), buyer.fetch(two, |_| ()));
    assert!(bank.promised() <= spend, "{} of {spend}", bank.promised());
    if let (Ok(_), Ok(_)) = (&first, &second) {
        panic!("both were paid for");
    }
    // What a deal that was dropped has set aside is free again, save what it signed for.
    let set_aside = |amount| buyer.shared.set_aside(AttoFil::new(amount), Instant::now());
    let left = set_aside(u128::MAX).err().unwrap();
    let spending = set_aside(left.get()).ok().unwrap();
    assert_eq!(set_aside(1).err(), Some(AttoFil::ZERO));
    spending.on_voucher(AttoFil::new(7));
    drop(spending);
    assert_eq!(set_aside(u128::MAX).err(), Some(left.saturating_sub(AttoFil::new(7))));
}

#[tokio::test]
async fn a_day_that_began_before_the_start_counts() {
    let now = Hour::of(unix_seconds());
    let spent = [(now, AttoFil::new(6)), (Hour::of(now.end() - 20 * 3600), AttoFil::new(3))];
    let node = Node::idle(Setup { spend: Some(AttoFil::new(10)), spent: spent.into(), ..Setup::default() });
    let set_aside = |amount| node.shared.set_aside(AttoFil::new(amount), Instant::now());
    assert_eq!(set_aside(2).err(), Some(AttoFil::new(1)));
    assert!(set_aside(1).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_deposited_only_for_who_is_there_and_not_without_bound() {
    let dear = PricePerByte::per_gib(AttoFil::from_fil(20_000));
    let bank = Arc::<Bank>::default();
    let setup = || Setup { price: dear, bank: Arc::clone(&bank), ..Setup::default() };
    let (seller, buyer) = (Node::start(setup()), Node::start(setup()));
    let (root, _) = seller.add_file(MIB, 65);
    let named = seller.address().await;
    let ask = |request: &mut FetchRequest| {
        (request.peers, request.max_price) = (vec![named.clone()], dear);
    };
    let error = buyer.fetch(root, ask).await.unwrap_err();
    assert!(
        matches!(&error, FetchError::Refused { why, .. } if why.contains("without --max-spend")),
        "{error}"
    );
    assert_eq!(bank.holds(), 0);
    let more = |request: &mut FetchRequest| {
        ask(request);
        request.max_spend = Some(AttoFil::from_fil(30));
    };
    buyer.fetch(root, more).await.unwrap();

    let bank = Arc::<Bank>::default();
    let deaf = Setup { price: price(), protocols: vec![OFFER.to_owned()], ..Setup::default() };
    let deaf = Node::start(deaf);
    let buyer = Node::start(Setup { bank: Arc::clone(&bank), ..Setup::default() });
    let (root, _) = deaf.add_file(10, 67);
    let named = deaf.address().await;
    let error = buyer.fetch(root, |request| request.peers = vec![named]).await.unwrap_err();
    assert!(matches!(error, FetchError::Broken { .. }), "{error}");
    assert_eq!(bank.holds(), 0, "nobody to deal with, nothing deposited");
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_that_cannot_be_handed_over_keep_no_question_waiting() {
    let (seller, buyer) = (Node::start(Setup::default()), Node::start(Setup::default()));
    buyer.join(&seller).await;
    let (root, _) = seller.add_file(10, 69);
    let places = u32::try_from(shared::DELIVERIES).unwrap();
    let stuck = seller.shared.deliveries.acquire_many(places).await.unwrap();
    let short = |request: &mut FetchRequest| request.timeout = Duration::from_secs(2);
    for _ in 0..=shared::ANSWERS {
        assert!(buyer.fetch(root, short).await.is_err());
    }
    let address = seller.address().await;
    let busy = seller.shared.answers.acquire_many(u32::try_from(shared::ANSWERS).unwrap()).await;
    let named = |request: &mut FetchRequest| request.peers = vec![address.clone()];
    assert!(buyer.fetch(root, named).await.is_err(), "too busy, and says so in time");
    drop(busy);
    buyer.fetch(root, named).await.unwrap();
    drop(stuck);
}

/// Not a gate: prints what a transfer makes on this machine, free and paid.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement; run it alone, with --release"]
async fn speed() {
    const SIZE: u64 = 1024 * MIB;
    for price in [PricePerByte::FREE, price()] {
        let bank = Arc::<Bank>::default();
        let seller = Node::start(Setup { price, bank: Arc::clone(&bank), ..Setup::default() });
        let buyer = Node::start(Setup { bank, ..Setup::default() });
        buyer.join(&seller).await;
        let (root, _) = seller.add_file(SIZE, 99);
        let fetched = buyer.fetch(root, |_| ()).await.unwrap();
        let rate = f64::from(u32::try_from(SIZE / MIB).unwrap()) / fetched.transfer.as_secs_f64();
        println!("price {price}: {rate:.0} MiB/s, {} vouchers", fetched.vouchers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_named_by_its_address_alone_can_be_asked_again_and_again() {
    let (seller, buyer) = (Node::start(Setup::default()), Node::start(Setup::default()));
    let named: Multiaddr = seller.address().await;
    assert!(!named.to_string().contains("/p2p/"), "{named}");
    for n in 0..9 {
        let (root, _) = seller.add_file(1000, 201 + 2 * n);
        let address = named.clone();
        let fetched = buyer.fetch(root, |request| request.peers = vec![address]).await;
        assert_eq!(fetched.unwrap().provider, seller.id(), "time {n}");
    }
}
