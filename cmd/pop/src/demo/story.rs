//! The demo's steps, each through the typed client, as a command would do it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pop_rpc::{
    AddressParams, ChainAdvanceParams, ChannelParams, CidPath, CidText, Client, CommitParams, Direction,
    Error, ErrorCode, GetParams, Got, NoParams, PaySubmitParams, PingParams, Pong, PutParams, Replication,
    WalletPayParams, Watch,
};
use pop_units::{AttoFil, Bytes, PricePerByte, ReplicationFactor, Span};

use serde::de::DeserializeOwned;

use super::cluster::Cluster;
use super::{Teller, compare};
use crate::content::speed;
use crate::exit;
use crate::link::LOOK;
use crate::progress::Meter;

/// Nodes on one machine that have not met in this time never will.
const MEETING: Duration = Duration::from_secs(30);
/// What the buyer gets to spend.
const POCKET_MONEY: AttoFil = AttoFil::from_fil(1);
/// Characters of a peer id's end that tell it from others.
const SHORT: usize = 8;

/// A node and how others reach it.
pub(super) struct Node {
    client: Client,
    peer_id: String,
    address: String,
}

impl Node {
    async fn meet(client: Client) -> Result<Self, Error> {
        let Pong::Own { peer_id, addresses, .. } = client.ping(PingParams::default()).await? else {
            return Err(Error::new(ErrorCode::Internal, "a node took itself for another one"));
        };
        let address = addresses.into_iter().find(|address| address.contains("/tcp/"));
        let address = address.ok_or_else(|| Error::new(ErrorCode::Internal, "a node listens nowhere"))?;
        let address = match address.contains("/p2p/") {
            true => address,
            false => format!("{address}/p2p/{peer_id}"),
        };
        Ok(Self { client, peer_id, address })
    }

    async fn address_of_money(&self) -> Result<String, Error> {
        Ok(self.client.wallet_default(AddressParams::default()).await?.address)
    }
}

/// Publisher, cache and buyer.
pub(super) struct Nodes {
    a: Node,
    b: Node,
    c: Node,
}

/// Writes a file of random bytes.
pub(super) async fn make_file(dir: &Path, size: Bytes, teller: Teller) -> Result<PathBuf, Error> {
    let (began, path) = (Instant::now(), dir.join("random.bin"));
    let target = path.clone();
    let write = move || {
        let mut file = std::fs::File::create(&target)?;
        let mut buffer = vec![0; Bytes::MIB.as_usize()];
        let mut left = size;
        while !left.is_zero() {
            let count = left.min(Bytes::MIB);
            let chunk = &mut buffer[..count.as_usize()];
            getrandom::fill(chunk).map_err(std::io::Error::other)?;
            file.write_all(chunk)?;
            left = left.saturating_sub(count);
        }
        Ok(())
    };
    let written =
        tokio::task::spawn_blocking(write).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    written.map_err(|error| exit::file(&path, &error))?;
    teller.step("generate", began.elapsed(), &format!("{size} of random bytes"));
    Ok(path)
}

/// Starts the three nodes and waits until they know each other.
pub(super) async fn gather(
    cluster: &mut Cluster,
    price: PricePerByte,
    teller: Teller,
) -> Result<Nodes, Error> {
    let began = Instant::now();
    let flag = |name: &str, value: &str| [format!("--{name}"), value.to_owned()];
    let price = price.to_string();
    let own_chain =
        [flag("chain", "local"), flag("chain-listen", "127.0.0.1:0"), flag("price", &price)].concat();
    let a = Node::meet(cluster.start("a", &own_chain).await?).await?;
    let url = a.client.chain_status(NoParams {}).await?.listen;
    let url = url.ok_or_else(|| Error::new(ErrorCode::Internal, "node a does not serve its chain"))?;
    let token = cluster.repo("a").join("chain.token").to_string_lossy().into_owned();
    let shared = [flag("chain", &url), flag("chain-token-file", &token), flag("price", &price)].concat();
    let with =
        |bootstrap: &[String]| [shared.clone(), flag("bootstrap", &bootstrap.join(",")).into()].concat();
    let b = Node::meet(cluster.start("b", &with(std::slice::from_ref(&a.address))).await?).await?;
    let c = Node::meet(cluster.start("c", &with(&[a.address.clone(), b.address.clone()])).await?).await?;
    for node in [&a, &b, &c] {
        met(node).await?;
    }
    let names = [&a, &b, &c].map(|node| short(&node.peer_id)).join(", ");
    teller.step("start", began.elapsed(), &format!("three nodes: {names}; price {price}"));
    Ok(Nodes { a, b, c })
}

/// Waits until a node is connected to the other two.
async fn met(node: &Node) -> Result<(), Error> {
    let wait = async {
        while node.client.peers(NoParams {}).await?.len() < 2 {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    let met = tokio::time::timeout(MEETING, wait).await;
    met.unwrap_or_else(|_| Err(Error::new(ErrorCode::TimedOut, "the nodes do not find each other")))
}

fn short(peer_id: &str) -> String {
    let skip = peer_id.chars().count().saturating_sub(SHORT);
    format!("…{}", peer_id.chars().skip(skip).collect::<String>())
}

/// The steps between three nodes that know each other.
pub(super) struct Story<'a> {
    pub(super) nodes: &'a Nodes,
    pub(super) teller: Teller,
}

impl Story<'_> {
    /// A publishes and B keeps a copy.
    pub(super) async fn publish(&self, source: &Path) -> Result<(CidText, Bytes, Vec<String>), Error> {
        let a = &self.nodes.a.client;
        let began = Instant::now();
        let params = PutParams { paths: vec![source.to_owned()], ..PutParams::default() };
        let put = self.follow(a.put(params).await?).await?;
        let took = began.elapsed();
        let size = put.total_size;
        self.teller.step(
            "put",
            took,
            &format!("{size} on A, {}, root {}", speed(size, took.as_secs_f64()), put.root),
        );
        let began = Instant::now();
        let params = CommitParams::new(Replication {
            cache_rf: ReplicationFactor::new(1),
            peers: vec![self.nodes.b.peer_id.clone()],
            attempts: 3,
            backoff: Span::new(Duration::from_secs(1)),
            pin: true,
        });
        let committed = self.follow(a.commit(params).await?).await?;
        let took = began.elapsed();
        let cached: Vec<_> = committed.caches.into_iter().map(|cache| cache.peer).collect();
        if cached.is_empty() {
            return Err(Error::new(ErrorCode::TimedOut, "B did not take a copy"));
        }
        let names = cached.iter().map(|peer| short(peer)).collect::<Vec<_>>().join(", ");
        let what = format!("copy on {names}, possession proved, {}", speed(size, took.as_secs_f64()));
        self.teller.step("commit", took, &what);
        Ok((committed.root, size, cached))
    }

    async fn follow<R: DeserializeOwned>(&self, watch: Watch<R>) -> Result<R, Error> {
        let mut meter = Meter::bar_only(self.teller.output);
        watch.finish(|report| meter.on_progress(report)).await
    }

    /// A pays C, whose wallet is new and empty.
    pub(super) async fn give_pocket_money(&self) -> Result<(), Error> {
        let began = Instant::now();
        let (from, to) = (self.nodes.a.address_of_money().await?, self.nodes.c.address_of_money().await?);
        let params = WalletPayParams { from, to, amount: POCKET_MONEY };
        let paid = self.nodes.a.client.wallet_pay(params).await?;
        self.teller.step("fund", began.elapsed(), &format!("{} from A to C", paid.amount_atto));
        Ok(())
    }

    /// C finds the content and buys it.
    pub(super) async fn buy(&self, root: CidText, target: &Path) -> Result<Got, Error> {
        let began = Instant::now();
        let params = GetParams { output: Some(target.to_owned()), ..GetParams::new(CidPath::from(root.0)) };
        let got = self.follow(self.nodes.c.client.get(params).await?).await?;
        let provider = got.provider.as_deref().map(short).unwrap_or_default();
        let what = format!(
            "{} by C from {provider}, {} for {} in {} vouchers",
            got.size,
            speed(got.size, got.transfer_s),
            got.spent_atto,
            got.vouchers
        );
        self.teller.step("get", began.elapsed(), &what);
        Ok(got)
    }

    /// What arrived is compared with what was published.
    pub(super) async fn verify(&self, source: &Path, target: &Path) -> Result<bool, Error> {
        let began = Instant::now();
        let name = source.file_name().map(PathBuf::from).unwrap_or_default();
        let (source, target) = (source.to_owned(), target.join(name));
        let compared = tokio::task::spawn_blocking(move || {
            compare::same(&source, &target).map_err(|error| exit::file(&target, &error))
        });
        let verified = compared.await.map_err(|error| Error::of(ErrorCode::Internal, &error))??;
        let what = if verified { "every byte is the same" } else { "the bytes differ" };
        self.teller.step("verify", began.elapsed(), what);
        Ok(verified)
    }

    /// The seller turns vouchers into money; returns what arrived in its wallet.
    pub(super) async fn settle(&self, provider: Option<&str>) -> Result<AttoFil, Error> {
        let nodes = [&self.nodes.a, &self.nodes.b];
        let seller = nodes.into_iter().find(|node| Some(node.peer_id.as_str()) == provider);
        let seller = seller.ok_or_else(|| Error::new(ErrorCode::Internal, "nobody knows the seller"))?;
        let began = Instant::now();
        let channels = seller.client.pay_list(NoParams {}).await?;
        let Some(channel) = channels.into_iter().find(|channel| channel.direction == Direction::Inbound)
        else {
            self.teller.step("settle", began.elapsed(), "nothing was paid, nothing is settled");
            return Ok(AttoFil::ZERO);
        };
        let before = seller.client.wallet_balance(AddressParams::default()).await?.balance_atto;
        self.end(seller, channel.channel.clone()).await?;
        let params = ChannelParams { channel: channel.channel };
        let collected = seller.client.pay_collect(params).await?;
        let after = seller.client.wallet_balance(AddressParams::default()).await?.balance_atto;
        let what = format!(
            "channel {} settled and collected: {} for {}",
            collected.channel,
            collected.redeemed_atto,
            short(&seller.peer_id)
        );
        self.teller.step("settle", began.elapsed(), &what);
        // The books are exact; the balance also moves with the gas of the three messages.
        match collected.redeemed_atto.is_zero() {
            true => Ok(after.saturating_sub(before)),
            false => Ok(collected.redeemed_atto),
        }
    }

    /// Submits, settles, and moves the embedded chain to the epoch at which the channel can be collected.
    async fn end(&self, seller: &Node, channel: String) -> Result<(), Error> {
        let client = &seller.client;
        client.pay_submit(PaySubmitParams { channel: channel.clone(), lane: None }).await?;
        let settling = client.pay_settle(ChannelParams { channel }).await?;
        let chain = &self.nodes.a.client;
        let epoch = chain.chain_status(NoParams {}).await?.epoch;
        let wanted = settling.settles_at.map_or(0, |at| at.get().saturating_sub(epoch.get()).max(0));
        let epochs = u32::try_from(wanted).unwrap_or(u32::MAX);
        if epochs > 0 {
            chain.chain_advance(ChainAdvanceParams { epochs }).await?;
        }
        Ok(())
    }
}
