//! One repository that is started on one chain, then on another, then on the first again.

use std::mem::replace;
use std::sync::atomic::Ordering;

use pop_keys::ChainId;

use super::*;
use crate::rows::Tables;
use crate::tests::faulty::Fault;
use crate::{ChannelPhase, Direction};

impl Side {
    /// Starts this node again where `elsewhere` is. Returns its own key and chain, to come back with.
    fn move_to(&mut self, (key, chain): (SecretKey, Arc<Faulty>)) -> (SecretKey, Arc<Faulty>) {
        let home = (replace(&mut self.key, key), replace(&mut self.chain, chain));
        self.restart();
        home
    }
}

#[tokio::test]
async fn every_chain_keeps_its_own_channels_vouchers_and_messages() {
    let (mut world, elsewhere) = (World::new().await, World::new().await);
    let hold = world.hold(1, 100).await;
    world.admit(&hold.channel).await;
    let voucher = world.pay(&hold, 40);
    world.accept(&voucher).unwrap();
    let (payer, payee) = (world.payer.address(), world.payee.address());
    world.payer.wallet().pay(&payer, &payee, fil(50)).await.unwrap();
    world.payee.chain.set(Fault::Lost);
    world.payee.wallet().pay(&payee, &payer, fil(10)).await.unwrap_err();
    let before = (world.payee.wallet().channels().unwrap(), world.payee.wallet().earnings().unwrap());

    let abroad = (elsewhere.payer.key.clone(), Arc::clone(&elsewhere.payer.chain));
    let home = world.payee.move_to(abroad);
    let report = world.payee.wallet().tick().await.unwrap();
    assert!(report.failed.is_empty() && report.pending == 0, "{report:?}");
    assert_eq!(world.payee.chain.pushes.load(Ordering::Relaxed), 0);
    assert!(world.payee.wallet().channels().unwrap().is_empty());
    let there = elsewhere.payee.address();
    let spent = world.payee.wallet().ensure_channel(&there, [7; 16], fil(30)).await.unwrap();
    world.payee.wallet().voucher(&spent, fil(20), Bytes::MIB, NOON).unwrap();
    elsewhere.devnet.advance(2000).unwrap();
    world.payee.wallet().tick().await.unwrap();

    let abroad = world.payee.move_to(home);
    let wallet = world.payee.wallet();
    assert_eq!((wallet.channels().unwrap(), wallet.earnings().unwrap()), before);
    assert_eq!(wallet.best(&hold.channel, hold.lane), Some(voucher));
    world.payee.chain.set(Fault::None);
    let report = wallet.tick().await.unwrap();
    assert!(report.failed.is_empty() && report.pending == 0, "{report:?}");
    assert_eq!(world.balance(&world.payee), 40);
    assert_eq!(wallet.submit(&hold.channel, None).await.unwrap().len(), 1);
    assert_eq!(wallet.channels().unwrap()[0].redeemed, fil(40));
    world.assert_conserved();

    world.payee.move_to(abroad);
    let channels = world.payee.wallet().channels().unwrap();
    let found = (channels[0].channel, channels[0].direction, channels[0].best_voucher, channels[0].state);
    assert_eq!(found, (spent.channel, Direction::Outbound, fil(20), ChannelPhase::Open));
    assert_eq!(channels.len(), 1);
}

#[test]
fn tables_of_the_longest_chain_id_are_names_that_the_state_takes() {
    let chain: ChainId = format!("fil:{}", "n".repeat(32)).parse().unwrap();
    let tables = Tables::of(&chain);
    let names = [tables.channels, tables.lanes, tables.outbox, tables.nonces, tables.books];
    assert!(names.iter().all(|name| name.len() <= 64), "{names:?}");
}
