//! The wallet over a real state on disk and the embedded ledger. A crash is a drop without closing.

mod chains;
mod chaos;
mod faulty;
mod life;
mod restart;
mod spent;

use std::sync::Arc;

use pop_chain::{Clock, Devnet, FilRpc, Genesis, InProcess, MemStore};
use pop_keys::{Address, Keystore, Protection, SecretKey};
use pop_payments::{Chain, Voucher};
use pop_store::State;
use pop_units::{AttoFil, Bytes};
use tempfile::TempDir;

use crate::{Accepted, Expect, Hour, Lanehold, Refusal, Wallet};
use faulty::Faulty;

/// When vouchers are made.
const NOON: Hour = Hour::of(12 * 3600);

/// One ledger and two wallets on it.
struct World {
    devnet: Arc<Devnet>,
    payer: Side,
    payee: Side,
}

/// One wallet with its folder; its chain can be made to fail.
struct Side {
    dir: TempDir,
    key: SecretKey,
    chain: Arc<Faulty>,
    wallet: Option<Wallet>,
}

impl World {
    async fn new() -> Self {
        let key = SecretKey::generate().unwrap();
        let genesis = Genesis::new(key.address()).unwrap();
        let devnet = Devnet::open(Arc::new(MemStore::new()), genesis, Clock::Manual).unwrap();
        let devnet = Arc::new(devnet);
        let payer = Side::new(&devnet, key).await;
        let payee = Side::new(&devnet, SecretKey::generate().unwrap()).await;
        Self { devnet, payer, payee }
    }

    async fn hold(&self, deal: u8, need: u128) -> Lanehold {
        self.payer.wallet().ensure_channel(&self.payee.address(), [deal; 16], fil(need)).await.unwrap()
    }

    fn pay(&self, hold: &Lanehold, add: u128) -> Voucher {
        self.payer.wallet().voucher(hold, fil(add), Bytes::MIB, NOON).unwrap()
    }

    fn accept(&self, voucher: &Voucher) -> Result<Accepted, Refusal> {
        let expect = Expect::new(fil(1), Bytes::MIB);
        self.payee.wallet().accept(&voucher.encode(), &voucher.channel, &expect)
    }

    async fn admit(&self, channel: &Address) {
        let payer = self.payer.address();
        self.payee.wallet().admit(channel, Some(&payer)).await.unwrap();
    }

    fn balance(&self, side: &Side) -> u128 {
        futures::executor::block_on(async { side.chain.balance(&side.address()).await.unwrap().get() })
    }

    /// All the money there is is where it was.
    fn assert_conserved(&self) {
        let (balances, fees) = self.devnet.totals().unwrap();
        assert_eq!(balances.checked_add(fees).unwrap(), AttoFil::from_fil(1000));
        for side in [&self.payer, &self.payee] {
            let books = side.wallet().earnings().unwrap().books;
            assert_eq!(books.debits, books.credits);
        }
    }
}

impl Side {
    async fn new(devnet: &Arc<Devnet>, key: SecretKey) -> Self {
        let chain = FilRpc::connect(InProcess::new(Arc::clone(devnet)), None).await.unwrap();
        let chain = Arc::new(Faulty::new(Arc::new(chain)));
        let mut side = Self { dir: TempDir::new().unwrap(), key, chain, wallet: None };
        side.restart();
        side
    }

    /// Ends the process without a word and starts it again.
    fn restart(&mut self) {
        drop(self.wallet.take());
        let state = State::open(self.dir.path().join("state")).unwrap();
        let keys = self.dir.path().join("keystore");
        let keystore = Keystore::open(&keys, self.chain.id().clone(), Protection::Plain).unwrap();
        keystore.keep(self.key.clone()).unwrap();
        let chain: Arc<dyn Chain> = self.chain.clone();
        self.wallet = Some(Wallet::open(state, keystore, chain).unwrap());
    }

    fn wallet(&self) -> &Wallet {
        self.wallet.as_ref().unwrap()
    }

    fn address(&self) -> Address {
        self.key.address()
    }
}

fn fil(amount: u128) -> AttoFil {
    AttoFil::new(amount)
}
