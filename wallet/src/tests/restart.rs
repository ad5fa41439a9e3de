//! What happens when processes die and links fail.

use std::sync::atomic::Ordering;

use pop_units::{Lane, Nonce};

use super::*;
use crate::WalletError;
use crate::tests::faulty::Fault;

#[tokio::test]
async fn payer_that_died_goes_on_with_higher_nonces_and_never_less() {
    let mut world = World::new().await;
    let hold = world.hold(1, 100).await;
    world.admit(&hold.channel).await;
    world.pay(&hold, 10);
    let lost = world.pay(&hold, 10);
    world.payer.restart();
    let again = world.hold(2, 50).await;
    assert_eq!((again.channel, again.lane), (hold.channel, hold.lane));
    let next = world.pay(&again, 5);
    assert!(next.nonce > lost.nonce && next.amount == fil(25));
    // The vouchers that got lost on the way are worth what they were.
    assert_eq!(world.accept(&next).unwrap().delta, fil(25));
    assert_eq!(world.payer.wallet().channels().unwrap().len(), 1);
    world.assert_conserved();
}

#[tokio::test]
async fn payee_that_died_still_has_its_best_voucher() {
    let mut world = World::new().await;
    let hold = world.hold(1, 100).await;
    world.admit(&hold.channel).await;
    let voucher = world.pay(&hold, 40);
    let first = world.accept(&voucher).unwrap();
    world.payee.restart();
    assert_eq!(world.payee.wallet().best(&hold.channel, hold.lane), Some(voucher.clone()));
    // Not looked up since the start: nothing new is taken on an old view.
    assert!(matches!(world.accept(&world.pay(&hold, 1)), Err(Refusal::UnknownChannel(_))));
    world.admit(&hold.channel).await;
    let again = world.accept(&voucher).unwrap();
    assert_eq!((again.delta, again.total), (AttoFil::ZERO, first.total));
    let earnings = world.payee.wallet().earnings().unwrap();
    assert_eq!((earnings.earned, earnings.bytes_sold), (fil(40), Bytes::MIB));
    assert_eq!(world.accept(&world.pay(&hold, 2)).unwrap().delta, fil(3));
    world.assert_conserved();
}

#[tokio::test]
async fn same_voucher_counts_once() {
    let world = World::new().await;
    let hold = world.hold(1, 100).await;
    world.admit(&hold.channel).await;
    let voucher = world.pay(&hold, 40);
    for delta in [40, 0, 0] {
        let accepted = world.accept(&voucher).unwrap();
        assert_eq!((accepted.delta, accepted.total), (fil(delta), fil(40)));
    }
    assert_eq!(world.payee.wallet().earnings().unwrap().bytes_sold, Bytes::MIB);
    world.assert_conserved();
}

#[tokio::test]
async fn channel_whose_message_got_lost_is_still_created_once() {
    for fault in [Fault::Lost, Fault::AnswerLost] {
        let mut world = World::new().await;
        world.payer.chain.set(fault);
        let payee = world.payee.address();
        let failed = world.payer.wallet().ensure_channel(&payee, [1; 16], fil(100)).await;
        assert!(matches!(failed, Err(WalletError::Chain(_))), "{failed:?}");
        world.payer.restart();
        world.payer.chain.set(Fault::None);
        let report = world.payer.wallet().tick().await.unwrap();
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        let hold = world.hold(1, 100).await;
        world.admit(&hold.channel).await;
        assert_eq!(world.accept(&world.pay(&hold, 100)).unwrap().delta, fil(100));
        let channels = world.payer.wallet().channels().unwrap();
        assert_eq!((channels.len(), channels[0].deposit), (1, fil(100)));
        assert_eq!(world.balance(&world.payer), AttoFil::from_fil(1000).get() - 100);
        world.assert_conserved();
    }
}

#[tokio::test]
async fn top_up_whose_answer_got_lost_is_not_paid_twice() {
    let mut world = World::new().await;
    let hold = world.hold(1, 100).await;
    world.pay(&hold, 100);
    world.payer.chain.set(Fault::AnswerLost);
    let payee = world.payee.address();
    let failed = world.payer.wallet().ensure_channel(&payee, [2; 16], fil(30)).await;
    assert!(failed.is_err());
    world.payer.restart();
    world.payer.chain.set(Fault::None);
    world.payer.wallet().tick().await.unwrap();
    let again = world.hold(2, 30).await;
    assert_eq!(again.channel, hold.channel);
    assert_eq!(world.payer.wallet().channels().unwrap()[0].deposit, fil(130));
    world.assert_conserved();
}

#[tokio::test]
async fn refused_message_gives_its_nonce_back() {
    let world = World::new().await;
    world.payer.chain.set(Fault::Refused);
    let payee = world.payee.address();
    let refused = world.payer.wallet().ensure_channel(&payee, [1; 16], fil(100)).await;
    assert!(matches!(refused, Err(WalletError::Chain(_))));
    world.payer.chain.set(Fault::None);
    let pushes = world.payer.chain.pushes.load(Ordering::Relaxed);
    let hold = world.hold(1, 100).await;
    assert_eq!(world.payer.chain.pushes.load(Ordering::Relaxed), pushes + 1);
    world.pay(&hold, 100);
    world.assert_conserved();
}

#[tokio::test]
async fn creation_that_can_never_happen_makes_room_for_the_next() {
    let mut world = World::new().await;
    let (payer, payee) = (world.payer.address(), world.payee.address());
    world.payer.chain.set(Fault::Lost);
    world.payer.wallet().ensure_channel(&payee, [1; 16], fil(100)).await.unwrap_err();
    // The same key is used elsewhere: the nonce of the creation is taken.
    let twin = Side::new(&world.devnet, world.payer.key.clone()).await;
    twin.wallet().pay(&payer, &payee, fil(1)).await.unwrap();
    world.payer.restart();
    world.payer.chain.set(Fault::None);
    let hold = world.hold(1, 100).await;
    world.admit(&hold.channel).await;
    assert_eq!(world.accept(&world.pay(&hold, 100)).unwrap().delta, fil(100));
    assert_eq!(world.payer.wallet().channels().unwrap().len(), 1);
    assert_eq!(world.payer.wallet().tick().await.unwrap().pending, 0);
    world.assert_conserved();
}

#[tokio::test]
async fn own_voucher_shown_by_the_payee_mends_a_lost_record() {
    let world = World::new().await;
    let hold = world.hold(1, 100).await;
    world.pay(&hold, 10);
    let ahead = Voucher::new(hold.channel, hold.lane, Nonce::new(9), fil(60));
    let forged = world.payer.wallet().adopt(&ahead.clone().sign(&world.payee.key));
    assert!(matches!(forged, Err(WalletError::NotOurVoucher)));
    world.payer.wallet().adopt(&ahead.sign(&world.payer.key)).unwrap();
    let next = world.pay(&hold, 5);
    assert_eq!((next.nonce, next.amount), (Nonce::new(10), fil(65)));
    world.assert_conserved();
}

#[tokio::test]
async fn wallet_without_its_records_finds_its_channels_again() {
    let world = World::new().await;
    let hold = world.hold(1, 100).await;
    world.admit(&hold.channel).await;
    world.accept(&world.pay(&hold, 30)).unwrap();
    world.payee.wallet().submit(&hold.channel, Some(Lane::new(0))).await.unwrap();
    let bare = Side::new(&world.devnet, world.payer.key.clone()).await;
    bare.wallet().track(&hold.channel).await.unwrap();
    let payee = world.payee.address();
    let found = bare.wallet().ensure_channel(&payee, [5; 16], fil(10)).await.unwrap();
    assert_eq!(found.channel, hold.channel);
    let voucher = bare.wallet().voucher(&found, fil(10), Bytes::MIB, NOON).unwrap();
    assert_eq!(world.accept(&voucher).unwrap().total, fil(40));
}

#[tokio::test]
async fn keys_of_another_chain_do_not_open() {
    let world = World::new().await;
    let other = World::new().await;
    let dir = TempDir::new().unwrap();
    let state = State::open(dir.path().join("state")).unwrap();
    let keystore =
        Keystore::open(&dir.path().join("keys"), other.payer.chain.id().clone(), Protection::Plain).unwrap();
    let chain: Arc<dyn Chain> = world.payer.chain.clone();
    assert!(matches!(Wallet::open(state, keystore, chain), Err(WalletError::WrongChain { .. })));
}
