//! What happens when nothing breaks.

use pop_payments::payer::PayError;
use pop_units::{ChainEpoch, Lane, Nonce};

use super::*;
use crate::{ChannelPhase, Direction, WalletError};

#[tokio::test]
async fn channel_lives_from_creation_to_payout_and_money_is_conserved() {
    let world = World::new().await;
    let hold = world.hold(1, 1000).await;
    world.admit(&hold.channel).await;
    for add in [100, 250, 50] {
        let accepted = world.accept(&world.pay(&hold, add)).unwrap();
        assert_eq!(accepted.delta, fil(add));
    }
    let payee = world.payee.wallet();
    assert_eq!(payee.channels().unwrap()[0].best_voucher, fil(400));
    assert_eq!(payee.submit(&hold.channel, None).await.unwrap().len(), 1);
    assert_eq!(payee.channels().unwrap()[0].redeemed, fil(400));
    assert!(payee.submit(&hold.channel, None).await.unwrap().is_empty());
    payee.settle(&hold.channel).await.unwrap();
    assert_eq!(payee.channels().unwrap()[0].state, ChannelPhase::Settling);
    assert!(matches!(payee.collect(&hold.channel).await, Err(WalletError::Failed(exit)) if exit.get() == 18));
    world.devnet.advance(1440).unwrap();
    let report = payee.tick().await.unwrap();
    assert_eq!((report.collected, report.failed.len(), report.pending), (1, 0, 0));
    world.payer.wallet().tick().await.unwrap();
    assert_eq!(world.balance(&world.payee), 400);
    assert_eq!(world.balance(&world.payer), AttoFil::from_fil(1000).get() - 400);
    for (side, direction, settled) in
        [(&world.payee, Direction::Inbound, 400), (&world.payer, Direction::Outbound, 600)]
    {
        let earnings = side.wallet().earnings().unwrap();
        let channel = &earnings.channels[0];
        assert_eq!((channel.direction, channel.settled), (direction, fil(settled)));
        assert_eq!((channel.vouched, channel.redeemed), (fil(400), fil(400)));
        assert_eq!(channel.bytes, Bytes::new(3 << 20));
        assert_eq!(side.wallet().channels().unwrap()[0].state, ChannelPhase::Closed);
    }
    world.assert_conserved();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deals_at_once_share_one_channel_and_use_lanes_of_their_own() {
    let world = World::new().await;
    let payee = world.payee.address();
    let deals: Vec<_> = (0..10u8)
        .map(|deal| {
            let wallet = world.payer.wallet().clone();
            tokio::spawn(async move { wallet.ensure_channel(&payee, [deal; 16], fil(100)).await.unwrap() })
        })
        .collect();
    let mut holds = Vec::new();
    for deal in deals {
        holds.push(deal.await.unwrap());
    }
    let channels = world.payer.wallet().channels().unwrap();
    assert_eq!((channels.len(), channels[0].deposit), (1, fil(1000)));
    let lanes: std::collections::BTreeSet<Lane> = holds.iter().map(|hold| hold.lane).collect();
    assert_eq!(lanes.len(), 10);
    world.admit(&holds[0].channel).await;
    std::thread::scope(|scope| {
        for hold in &holds {
            let world = &world;
            scope.spawn(move || {
                for _ in 0..10 {
                    world.accept(&world.pay(hold, 10)).unwrap();
                }
            });
        }
    });
    let earnings = world.payee.wallet().earnings().unwrap();
    assert_eq!((earnings.earned, earnings.bytes_sold), (fil(1000), Bytes::new(100 << 20)));
    assert_eq!(world.payer.wallet().earnings().unwrap().spent, fil(1000));
    let short = world.payer.wallet().voucher(&holds[0], fil(1), Bytes::ZERO, NOON);
    assert!(matches!(short, Err(WalletError::Pay(PayError::Shortfall { .. }))));
    assert_eq!(world.payee.wallet().submit(&holds[0].channel, None).await.unwrap().len(), 10);
    assert_eq!(world.payee.wallet().channels().unwrap()[0].redeemed, fil(1000));
    world.assert_conserved();
}

#[tokio::test]
async fn lanes_are_reused_and_channels_topped_up() {
    let world = World::new().await;
    let first = world.hold(1, 100).await;
    world.pay(&first, 60);
    world.payer.wallet().release(&first);
    let gone = world.payer.wallet().voucher(&first, fil(1), Bytes::ZERO, NOON);
    assert!(matches!(gone, Err(WalletError::Pay(PayError::NotHeld { .. }))));
    let second = world.hold(2, 70).await;
    assert_eq!((second.channel, second.lane), (first.channel, first.lane));
    assert_eq!(world.payer.wallet().channels().unwrap()[0].deposit, fil(130));
    let voucher = world.pay(&second, 70);
    assert_eq!((voucher.amount, voucher.nonce), (fil(130), Nonce::new(2)));
    world.assert_conserved();
}

#[tokio::test]
async fn topped_up_channel_takes_what_it_was_short_of() {
    let world = World::new().await;
    let hold = world.hold(1, 50).await;
    world.admit(&hold.channel).await;
    world.hold(2, 100).await;
    // The payee's view is from before the top-up: it says what is missing, and looks again.
    let other = world.hold(2, 100).await;
    world.accept(&world.pay(&hold, 50)).unwrap();
    let voucher = world.pay(&other, 100);
    assert!(matches!(world.accept(&voucher), Err(Refusal::Shortfall { short }) if short == fil(100)));
    world.admit(&hold.channel).await;
    assert_eq!(world.accept(&voucher).unwrap().delta, fil(100));
}

#[tokio::test]
async fn payer_that_settles_meanwhile_is_answered_in_time() {
    let world = World::new().await;
    let hold = world.hold(1, 500).await;
    world.admit(&hold.channel).await;
    world.accept(&world.pay(&hold, 300)).unwrap();
    world.payer.wallet().settle(&hold.channel).await.unwrap();
    // Eleven hours pass before the payee looks.
    world.devnet.advance(1320).unwrap();
    let report = world.payee.wallet().tick().await.unwrap();
    assert_eq!((report.submitted, report.collected), (1, 0));
    let late = world.accept(&world.pay_late(&hold));
    assert!(matches!(late, Err(Refusal::Settling { .. })), "{late:?}");
    world.devnet.advance(120).unwrap();
    let report = world.payer.wallet().tick().await.unwrap();
    assert_eq!(report.collected, 1);
    let report = world.payee.wallet().tick().await.unwrap();
    assert!(report.failed.is_empty());
    assert_eq!(world.balance(&world.payee), 300);
    assert_eq!(world.payee.wallet().earnings().unwrap().collected, fil(300));
    world.assert_conserved();
}

impl World {
    /// A voucher as a payer would sign it that does not care for rules.
    fn pay_late(&self, hold: &Lanehold) -> Voucher {
        Voucher::new(hold.channel, hold.lane, Nonce::new(99), fil(400)).sign(&self.payer.key)
    }
}

#[tokio::test]
async fn strangers_channels_and_wrong_keys_are_refused() {
    let world = World::new().await;
    let hold = world.hold(1, 100).await;
    let voucher = world.pay(&hold, 10);
    let unknown = world.accept(&voucher);
    assert!(matches!(unknown, Err(Refusal::UnknownChannel(_))));
    let nowhere = Address::of_actor_seed(b"nowhere");
    let missing = world.payee.wallet().admit(&nowhere, None).await;
    assert!(matches!(missing, Err(WalletError::UnknownChannel(_))));
    let payee = world.payee.address();
    let other = world.payee.wallet().admit(&hold.channel, Some(&payee)).await;
    assert!(matches!(other, Err(WalletError::OtherPayer(_))));
    let backwards = world.payer.wallet().admit(&hold.channel, None).await;
    assert!(matches!(backwards, Err(WalletError::NotOurs(_))));
    let stranger = Side::new(&world.devnet, SecretKey::generate().unwrap()).await;
    let not_ours = stranger.wallet().track(&hold.channel).await;
    assert!(matches!(not_ours, Err(WalletError::NotOurs(_))));
    let poor = stranger.wallet().ensure_channel(&payee, [1; 16], fil(1)).await;
    assert!(poor.is_err());
    assert!(stranger.wallet().channels().unwrap().is_empty());
}

#[tokio::test]
async fn vouchers_to_any_of_our_keys_count_as_long_as_we_have_it() {
    let mut world = World::new().await;
    let hold = world.hold(1, 100).await;
    world.admit(&hold.channel).await;
    let newer = world.payee.wallet().new_key().unwrap();
    world.payee.wallet().set_default(&newer).unwrap();
    assert_eq!(world.accept(&world.pay(&hold, 10)).unwrap().delta, fil(10));
    world.admit(&hold.channel).await;
    assert_eq!(world.accept(&world.pay(&hold, 10)).unwrap().delta, fil(10));
    let key_file = format!("keystore/{}.key", world.payee.address());
    std::fs::remove_file(world.payee.dir.path().join(key_file)).unwrap();
    world.payee.key = SecretKey::generate().unwrap();
    world.payee.restart();
    let gone = world.payee.wallet().admit(&hold.channel, None).await;
    assert!(matches!(gone, Err(WalletError::NotOurs(_))), "{gone:?}");
}

#[tokio::test]
async fn channel_named_by_its_number_goes_by_its_lasting_address() {
    let world = World::new().await;
    let hold = world.hold(1, 100).await;
    let number = world.payee.chain.resolve(&hold.channel).await.unwrap().id;
    for name in [number, hold.channel, number] {
        let view = world.payee.wallet().admit(&name, None).await.unwrap();
        assert_eq!((view.channel, view.id), (hold.channel, number));
    }
    assert_eq!(world.accept(&world.pay(&hold, 10)).unwrap().delta, fil(10));
    let channels = world.payee.wallet().channels().unwrap();
    assert_eq!((channels.len(), channels[0].channel), (1, hold.channel));
}

#[tokio::test]
async fn voucher_carries_the_settle_horizon_that_was_asked_for() {
    let world = World::new().await;
    let hold = Lanehold { min_settle: ChainEpoch::new(2880), ..world.hold(1, 100).await };
    assert_eq!(world.pay(&hold, 1).min_settle_height, ChainEpoch::new(2880));
}

#[tokio::test]
async fn money_is_sent_and_listed() {
    let world = World::new().await;
    let (payer, payee) = (world.payer.address(), world.payee.address());
    world.payer.wallet().pay(&payer, &payee, fil(77)).await.unwrap();
    let keys = world.payee.wallet().list().await.unwrap();
    assert_eq!((keys.len(), keys[0].balance, keys[0].default), (1, fil(77), true));
    let too_much = world.payer.wallet().pay(&payer, &payee, AttoFil::from_fil(2000)).await;
    assert!(matches!(too_much, Err(WalletError::Funds { .. })));
    world.payer.wallet().pay(&payer, &payee, fil(3)).await.unwrap();
    world.assert_conserved();
}

#[tokio::test]
async fn every_call_can_run_in_a_task_of_its_own() {
    fn is_send<T: Send>(_: T) {}
    let world = World::new().await;
    let (wallet, address) = (world.payer.wallet(), world.payer.address());
    is_send(wallet.tick());
    is_send(wallet.list());
    is_send(wallet.admit(&address, None));
    is_send(wallet.submit(&address, None));
    is_send(wallet.settle(&address));
    is_send(wallet.collect(&address));
    is_send(wallet.track(&address));
    is_send(wallet.pay(&address, &address, fil(1)));
    is_send(wallet.ensure_channel(&address, [0; 16], fil(1)));
}
