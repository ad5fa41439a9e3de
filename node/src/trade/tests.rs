//! Whole nodes of this room on loopback: real sockets, real stores; only the money is play.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes as Buf;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use pop_dag::unixfs::{self, Rules};
use pop_dag::{Cid, Scope};
use pop_exchange::offer::Strategy;
use pop_keys::Address;
use pop_rpc::Reporter;
use pop_store::{Options, Ref, Store};
use pop_units::{AttoFil, Bytes, ChainEpoch, Lane, PricePerByte, ReplicationFactor};
use pop_wallet::{Hour, Lanehold};
use pop_wire::transfer::{Down, Grant, Open, Refusal, Up};
use pop_wire::{BlockHeader, DealId, ProofKey, TRANSFER, Token, dispatch as wire, limit};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::link::{link, message};
use super::purse::{Claim, Purse, PurseError};
use super::shared::{Handles, Policy, Shared, unix_seconds};
use super::*;
use crate::net::{self, NetConfig, NetEvent, Stream};

mod cache;
mod deals;
mod hostile;
mod money;
mod replication;

/// Generous: these tests share two cores with a compiler.
const DEADLINE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("in time")
}

/// Play money: channels are made at once and every voucher is its cumulative amount in the clear.
#[derive(Default)]
pub(crate) struct Bank {
    /// By channel and lane: what the payer has promised, what the payee has taken.
    lanes: Mutex<HashMap<(Address, Lane), (AttoFil, AttoFil)>>,
    next: Mutex<u64>,
}

impl Bank {
    /// How many lanes were asked for.
    fn holds(&self) -> u64 {
        *self.next.lock().unwrap()
    }

    pub(crate) fn taken(&self) -> AttoFil {
        AttoFil::checked_sum(self.lanes.lock().unwrap().values().map(|(_, taken)| *taken)).unwrap()
    }

    fn promised(&self) -> AttoFil {
        AttoFil::checked_sum(self.lanes.lock().unwrap().values().map(|(promised, _)| *promised)).unwrap()
    }
}

struct PlayPurse {
    bank: Arc<Bank>,
    chain: String,
    funds: AttoFil,
}

fn address(n: u64) -> Address {
    format!("f0{n}").parse().unwrap()
}

#[async_trait]
impl Purse for PlayPurse {
    fn chain(&self) -> String {
        self.chain.clone()
    }

    fn payee(&self) -> Result<Address, PurseError> {
        Ok(address(7))
    }

    async fn hold(&self, _: &Address, deal: DealId, need: AttoFil) -> Result<Lanehold, PurseError> {
        if need > self.funds {
            return Err(PurseError::Funds { need, source: "empty pockets".into() });
        }
        let lane = {
            let mut next = self.bank.next.lock().unwrap();
            *next += 1;
            Lane::new(*next)
        };
        let hold =
            Lanehold { channel: address(1000), lane, deal: *deal.as_bytes(), min_settle: ChainEpoch::new(0) };
        Ok(hold)
    }

    fn voucher(&self, hold: &Lanehold, add: AttoFil, _: Bytes) -> Result<Vec<u8>, PurseError> {
        let mut lanes = self.bank.lanes.lock().unwrap();
        let (promised, _) = lanes.entry((hold.channel, hold.lane)).or_default();
        *promised = promised.checked_add(add).unwrap();
        Ok([&hold.lane.get().to_be_bytes()[..], &promised.get().to_be_bytes()[..]].concat())
    }

    fn release(&self, _: &Lanehold) {}

    async fn admit(&self, channel: &Address) -> Result<(), PurseError> {
        match *channel == address(1000) {
            true => Ok(()),
            false => Err(PurseError::Unacceptable("no such channel".into())),
        }
    }

    fn accept(&self, channel: &Address, voucher: &[u8], _: Claim) -> Result<AttoFil, PurseError> {
        let malformed = || PurseError::Unacceptable("malformed".into());
        let (lane, amount) = voucher.split_at_checked(8).ok_or_else(malformed)?;
        let lane = Lane::new(u64::from_be_bytes(lane.try_into().map_err(|_| malformed())?));
        let amount = AttoFil::new(u128::from_be_bytes(amount.try_into().map_err(|_| malformed())?));
        let mut lanes = self.bank.lanes.lock().unwrap();
        let (_, taken) = lanes.entry((*channel, lane)).or_default();
        let delta = amount.saturating_sub(*taken);
        if delta.is_zero() {
            return Err(PurseError::Unacceptable("adds nothing".into()));
        }
        *taken = amount;
        Ok(delta)
    }
}

/// How a node is made.
pub(crate) struct Setup {
    price: PricePerByte,
    chain: &'static str,
    region: &'static str,
    quota: Bytes,
    funds: AttoFil,
    /// What was spent before the start.
    spent: BTreeMap<Hour, AttoFil>,
    spend: Option<AttoFil>,
    protocols: Vec<String>,
    bank: Arc<Bank>,
    /// What blocks may take on the disk, and of what size their files are.
    disk: (Bytes, Bytes),
    /// Real money instead of the bank's.
    wallet: Option<Wallet>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            price: PricePerByte::FREE,
            chain: "local:00000001",
            region: "Test",
            quota: Bytes::GIB,
            funds: AttoFil::from_fil(1000),
            spend: None,
            protocols: protocols(),
            bank: Arc::default(),
            disk: (Bytes::new(u64::MAX), Bytes::new(16 * MIB)),
            wallet: None,
            spent: BTreeMap::new(),
        }
    }
}

impl Setup {
    /// A node that asks this price, and whose money is in that bank.
    pub(crate) fn at(price: PricePerByte, bank: &Arc<Bank>) -> Self {
        Self { price, bank: Arc::clone(bank), ..Self::default() }
    }

    fn options(&self) -> Options {
        let (capacity, segment_size) = self.disk;
        Options { capacity, segment_size, ..Options::default() }
    }
}

pub(crate) struct Node {
    shared: Arc<Shared>,
    trade: Trade,
    events: Option<mpsc::Receiver<NetEvent>>,
    stop: CancellationToken,
    dir: Option<TempDir>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Node {
    /// A node that serves its peers.
    pub(crate) fn start(setup: Setup) -> Self {
        let mut node = Self::idle(setup);
        let events = node.events.take().unwrap();
        tokio::spawn(serve_peers(Arc::clone(&node.shared), events));
        node
    }

    /// A node whose events the test handles.
    fn idle(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), setup.options()).unwrap();
        Self::on(dir, store, setup)
    }

    /// Stops in order, and serves its peers again from the same directory, under another name.
    async fn restart(mut self, setup: Setup) -> Self {
        let dir = self.dir.take().unwrap();
        self.stop.cancel();
        self.shared.tasks.close();
        within(self.shared.tasks.wait()).await;
        self.shared.store.close().unwrap();
        drop(self);
        let reopened = async {
            loop {
                match Store::open(dir.path(), setup.options()) {
                    Ok(store) => break store,
                    // Tasks of before still let go of it.
                    Err(pop_store::OpenError::InUse { .. }) => {
                        tokio::time::sleep(Duration::from_millis(5)).await
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        };
        let store = within(reopened).await;
        let mut node = Self::on(dir, store, setup);
        let events = node.events.take().unwrap();
        tokio::spawn(serve_peers(Arc::clone(&node.shared), events));
        node
    }

    fn on(dir: TempDir, store: Store, setup: Setup) -> Self {
        let key = Keypair::generate_ed25519();
        let mut config = NetConfig::new(key.clone());
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.topics = topics(&[setup.region.to_owned()]);
        config.protocols = setup.protocols;
        config.limits.target_peers = 0;
        let stop = CancellationToken::new();
        let (net, events, run) = net::start(config, stop.clone()).unwrap();
        tokio::spawn(run);
        let Setup { price, chain, region, quota, funds, spend, bank, wallet, spent, .. } = setup;
        let purse: Arc<dyn Purse> = match wallet {
            Some(wallet) => Arc::new(WalletPurse::new(wallet)),
            None => Arc::new(PlayPurse { bank, chain: chain.to_owned(), funds }),
        };
        let handles = Handles { net, store, pool: Pool::new(), purse, key, spent };
        let policy = Policy { regions: vec![region.to_owned()], price, max_spend_per_day: spend, quota };
        let shared = Shared::new(handles, policy, stop.clone());
        let trade = Trade { shared: Arc::clone(&shared) };
        Self { shared, trade, events: Some(events), stop, dir: Some(dir) }
    }

    /// Returns what other rooms build on.
    pub(crate) fn parts(&self) -> (Trade, Store, Pool) {
        (self.trade.clone(), self.shared.store.clone(), self.shared.pool.clone())
    }

    pub(crate) fn id(&self) -> PeerId {
        self.shared.net.local_peer_id()
    }

    async fn address(&self) -> Multiaddr {
        within(self.shared.net.listeners()).await.unwrap().remove(0)
    }

    /// Connects, and waits until each knows the other's topics.
    pub(crate) async fn join(&self, other: &Node) {
        within(self.shared.net.dial(other.address().await)).await.unwrap();
        let topics = topics(&self.shared.policy.regions);
        let other_topics = super::topics(&other.shared.policy.regions);
        within(async {
            loop {
                let there = self.shared.net.subscribers(&other_topics[0]).await.unwrap();
                let here = other.shared.net.subscribers(&topics[0]).await.unwrap();
                if there.contains(&other.id()) && here.contains(&self.id()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Commits a file of pseudo-random bytes and returns its root and the size of its blocks.
    pub(crate) fn add_file(&self, len: u64, seed: u64) -> (Cid, Bytes) {
        let mut staging = self.shared.store.stage("test").unwrap();
        let mut reader = Noise { left: len, state: seed | 1 };
        let added = unixfs::add_file(&mut reader, &Rules::default(), &mut staging, &mut |_| ()).unwrap();
        staging.commit(Ref { complete: true, ..Ref::new(added.cid) }).unwrap();
        let size = self.shared.store.ref_of(&added.cid).unwrap().unwrap().size;
        (added.cid, size)
    }

    async fn fetch(&self, root: Cid, change: impl FnOnce(&mut FetchRequest)) -> Result<Fetched, FetchError> {
        let mut request = FetchRequest {
            root,
            path: Vec::new(),
            what: pop_dag::What::All,
            max_price: PricePerByte::per_gib(AttoFil::from_fil(1)),
            max_spend: None,
            peers: Vec::new(),
            strategy: Strategy::First,
            timeout: Duration::from_secs(20),
        };
        change(&mut request);
        within(self.trade.fetch(request, Reporter::mute())).await
    }

    /// True when the whole DAG is here and committed.
    fn has_all(&self, root: &Cid) -> bool {
        let complete = self.shared.store.ref_of(root).unwrap().is_some_and(|found| found.complete);
        complete && pop_dag::walk::run(*root, &Scope::all(), &self.shared.store, &mut |_, _| Ok(())).is_ok()
    }
}

/// Bytes that no chunk of repeats.
struct Noise {
    left: u64,
    state: u64,
}

impl std::io::Read for Noise {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = out.len().min(usize::try_from(self.left).unwrap());
        for byte in &mut out[..count] {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            *byte = self.state.to_le_bytes()[3];
        }
        self.left -= u64::try_from(count).unwrap();
        Ok(count)
    }
}

fn price() -> PricePerByte {
    PricePerByte::per_gib(AttoFil::new(1_000_000_000_000_000))
}
