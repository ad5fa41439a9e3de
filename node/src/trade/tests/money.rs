//! The same deals with real wallets on one embedded chain.

use super::*;
use pop_chain::{Clock, Devnet, FilRpc, Genesis, InProcess, MemStore};
use pop_keys::{Keystore, Protection, SecretKey};
use pop_payments::Chain;
use pop_store::State;

/// One chain and two wallets; the first has all the money.
struct World {
    devnet: Arc<Devnet>,
    buyer: Wallet,
    seller: Wallet,
    _dirs: [TempDir; 2],
}

async fn wallet(devnet: &Arc<Devnet>, key: SecretKey) -> (Wallet, TempDir) {
    let chain = FilRpc::connect(InProcess::new(Arc::clone(devnet)), None).await.unwrap();
    let chain: Arc<dyn Chain> = Arc::new(chain);
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path().join("state")).unwrap();
    let keys = Keystore::open(&dir.path().join("keys"), chain.id().clone(), Protection::Plain).unwrap();
    let address = keys.keep(key).unwrap();
    keys.set_default(&address).unwrap();
    (Wallet::open(state, keys, chain).unwrap(), dir)
}

impl World {
    async fn new() -> Self {
        let key = SecretKey::generate().unwrap();
        let genesis = Genesis::new(key.address()).unwrap();
        let devnet = Devnet::open(Arc::new(MemStore::new()), genesis, Clock::Manual).unwrap();
        let devnet = Arc::new(devnet);
        let (buyer, one) = wallet(&devnet, key).await;
        let (seller, two) = wallet(&devnet, SecretKey::generate().unwrap()).await;
        Self { devnet, buyer, seller, _dirs: [one, two] }
    }

    async fn nodes(&self) -> (Node, Node) {
        let seller =
            Node::start(Setup { price: price(), wallet: Some(self.seller.clone()), ..Setup::default() });
        let buyer = Node::start(Setup { wallet: Some(self.buyer.clone()), ..Setup::default() });
        buyer.join(&seller).await;
        (seller, buyer)
    }

    fn assert_settled(&self, exact: AttoFil, slack: AttoFil) {
        let (bought, sold) = (self.buyer.earnings().unwrap(), self.seller.earnings().unwrap());
        assert!(sold.earned >= exact, "{} of {exact}", sold.earned);
        assert!(bought.spent <= exact.checked_add(slack).unwrap(), "{} for {exact}", bought.spent);
        for books in [bought.books, sold.books] {
            assert_eq!(books.debits, books.credits);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_ends_on_the_chain_to_the_last_atto() {
    let world = World::new().await;
    let (seller, buyer) = world.nodes().await;
    let (root, size) = seller.add_file(20 * MIB, 40);
    let fetched = buyer.fetch(root, |_| ()).await.unwrap();
    let cost = price().cost_of(size).unwrap();
    assert_eq!(fetched.spent, cost);
    world.assert_settled(cost, AttoFil::ZERO);
    let earnings = world.seller.earnings().unwrap();
    assert_eq!(earnings.earned, cost);
    assert!(earnings.bytes_sold <= size && earnings.bytes_sold.get() + 16 >= size.get());

    let channel = world.seller.channels().unwrap()[0].channel;
    within(world.seller.submit(&channel, None)).await.unwrap();
    let redeemed = world.seller.channels().unwrap()[0].redeemed;
    world.devnet.advance(1).unwrap();
    within(world.seller.tick()).await.unwrap();
    let later = world.seller.channels().unwrap()[0].redeemed;
    assert_eq!(redeemed.max(later), cost);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_purchases_at_once_share_a_channel() {
    let world = World::new().await;
    let (seller, buyer) = world.nodes().await;
    let ((one, first), (two, second)) = (seller.add_file(5 * MIB, 41), seller.add_file(7 * MIB, 43));
    let (first_done, second_done) = tokio::join!(buyer.fetch(one, |_| ()), buyer.fetch(two, |_| ()));
    let cost = |size| price().cost_of(size).unwrap();
    assert_eq!(first_done.unwrap().spent, cost(first));
    assert_eq!(second_done.unwrap().spent, cost(second));
    world.assert_settled(cost(first).checked_add(cost(second)).unwrap(), AttoFil::ZERO);
    assert_eq!(world.seller.channels().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_cut_off_again_and_again_loses_no_voucher() {
    let world = World::new().await;
    let (seller, buyer) = world.nodes().await;
    let (root, size) = seller.add_file(32 * MIB, 45);
    for cut in 1..=3 {
        let paid = async {
            while world.seller.earnings().map_or(0, |e| e.bytes_sold.get()) < cut * 4 * MIB {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            done = buyer.fetch(root, |_| ()) => { done.unwrap(); break }
            () = paid => {}
        }
    }
    buyer.fetch(root, |_| ()).await.unwrap();
    assert!(buyer.has_all(&root));
    // Each cut may void one signed voucher that was not sent, and round once.
    let slack = price().cost_of(Bytes::new(3 * 16 * MIB)).unwrap();
    let exact = price().cost_of(size).unwrap();
    let (bought, sold) = (world.buyer.earnings().unwrap(), world.seller.earnings().unwrap());
    assert!(bought.spent <= exact.checked_add(slack).unwrap());
    assert!(sold.earned <= bought.spent);
}
