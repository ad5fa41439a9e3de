//! What the daemon answers; each is exactly what the command line prints with `--json`.
//!
//! Sizes are integers, money is a decimal string of attoFIL in a member that ends in `_atto`, times are seconds in a
//! member that ends in `_s`, CIDs, peer ids and addresses are text.

use std::collections::BTreeMap;

use pop_units::{AttoFil, Bytes, ChainEpoch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::CidText;

macro_rules! results {
    ($($item:item)*) => { $(
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        $item
    )* };
}

results! {
    /// This node, or another one that answered.
    #[serde(untagged)]
    pub enum Pong {
        /// This node.
        Own {
            /// Its peer id.
            peer_id: String,
            /// The multiaddrs it listens on.
            addresses: Vec<String>,
            /// The peer ids it is connected to.
            peers: Vec<String>,
            /// Its version.
            version: String,
            /// The URL of its gateway, where it has one.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            gateway: Option<String>,
            /// The same over TLS, where that is spoken.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            gateway_https: Option<String>,
        },
        /// Another node.
        Peer {
            /// Its peer id.
            peer_id: String,
            /// Its version.
            version: String,
            /// The time until its answer came.
            latency_s: f64,
        },
    }

    /// The daemon stops.
    pub struct Stopped {
        /// Always true.
        pub stopped: bool,
    }

    /// A name inside a root.
    pub struct Entry {
        /// The name.
        pub key: String,
        /// What it names.
        pub cid: CidText,
        /// The bytes of the file or tree.
        #[schemars(with = "u64")]
        pub size: Bytes,
    }

    /// What one put added.
    pub struct Put {
        /// The open transaction.
        pub tx: String,
        /// Its root as of now.
        pub root: CidText,
        /// What was added.
        pub entries: Vec<Entry>,
        /// The bytes of all entries of the transaction.
        #[schemars(with = "u64")]
        pub total_size: Bytes,
    }

    /// The open transaction, or `tx: null`.
    #[derive(Default)]
    pub struct TxStatus {
        /// The open transaction.
        pub tx: Option<String>,
        /// Its root as of now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub root: Option<CidText>,
        /// All its entries.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub entries: Option<Vec<Entry>>,
        /// The bytes of all its entries.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<u64>")]
        pub total_size: Option<Bytes>,
    }

    /// A peer that keeps a copy.
    pub struct Cached {
        /// Its peer id.
        pub peer: String,
        /// Its proof of possession, in hex.
        pub proof: String,
    }

    /// What was made permanent and who keeps copies.
    pub struct Committed {
        /// The root.
        pub root: CidText,
        /// The bytes that count for it.
        #[schemars(with = "u64")]
        pub size: Bytes,
        /// How many copies were asked for.
        pub requested: u8,
        /// Those that there are.
        pub caches: Vec<Cached>,
    }

    /// What came in with a CAR.
    pub struct Imported {
        /// Its roots.
        pub roots: Vec<CidText>,
        /// Its blocks.
        pub blocks: u64,
        /// The bytes of its blocks.
        #[schemars(with = "u64")]
        pub size: Bytes,
        /// How many blocks its roots link to that it does not have.
        pub missing: u64,
        /// The first of them.
        pub missing_first: Vec<CidText>,
        /// Who keeps copies.
        pub caches: Vec<Cached>,
    }

    /// What went out as a CAR.
    pub struct Exported {
        /// The CAR's root.
        pub root: CidText,
        /// Its blocks.
        pub blocks: u64,
        /// The bytes of the file.
        #[schemars(with = "u64")]
        pub size: Bytes,
        /// How many blocks are not here and were left out; what is below them is not counted.
        pub missing: u64,
        /// The first of them.
        pub missing_first: Vec<CidText>,
    }

    /// Where retrieved content came from.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum Source {
        /// This node's store.
        Local,
        /// Another node.
        Network,
    }

    /// What was retrieved and what it took.
    pub struct Got {
        /// The CID at the end of the path.
        pub cid: CidText,
        /// The bytes of the file or tree.
        #[schemars(with = "u64")]
        pub size: Bytes,
        /// Where it came from.
        pub source: Source,
        /// The peer id of who sent it.
        pub provider: Option<String>,
        /// How many offers arrived.
        pub offers: u64,
        /// What it cost.
        #[schemars(with = "String")]
        pub spent_atto: AttoFil,
        /// How many vouchers were given for it.
        pub vouchers: u64,
        /// The time until an offer was taken.
        pub routing_s: f64,
        /// The time from then to the last verified byte.
        pub transfer_s: f64,
        /// How many symlinks were not written because they lead out of the tree; progress names them.
        #[serde(default)]
        pub left_out: u64,
    }

    /// A name inside a root that this node keeps.
    pub struct HeldEntry {
        /// The name.
        pub key: String,
        /// What it names.
        pub cid: CidText,
        /// The bytes behind it, as its owner counts them.
        #[schemars(with = "u64")]
        pub size: Bytes,
        /// Whether all of it is here.
        pub held: bool,
    }

    /// A root that this node keeps.
    pub struct RefEntry {
        /// The root.
        pub root: CidText,
        /// The bytes that count for it.
        #[schemars(with = "u64")]
        pub size: Bytes,
        /// The names inside.
        pub keys: Vec<String>,
        /// The same names with what is behind them.
        pub entries: Vec<HeldEntry>,
        /// Whether everything below the root is here.
        pub complete: bool,
        /// Whether it is never evicted.
        pub pinned: bool,
        /// How often it was used.
        pub frequency: u64,
        /// When it was last used, in seconds since 1970.
        pub last_used_s: u64,
        /// The bytes that were sent to peers.
        #[schemars(with = "u64")]
        pub served: Bytes,
        /// What peers paid for them.
        #[schemars(with = "String")]
        pub revenue_atto: AttoFil,
    }

    /// Whether a root is evicted.
    pub struct Pinned {
        /// The root.
        pub root: CidText,
        /// Whether it is never evicted.
        pub pinned: bool,
    }

    /// What was reclaimed.
    pub struct Freed {
        /// The bytes.
        #[schemars(with = "u64")]
        pub freed: Bytes,
        /// What was read and found good, where that was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub verified: Option<Verified>,
    }

    /// What a check of every block has read. Damage to a block in use is an error instead.
    pub struct Verified {
        /// The blocks in use, all of them good.
        pub blocks: u64,
        /// The bytes read.
        #[schemars(with = "u64")]
        pub size: Bytes,
        /// Damaged records that nothing needs; a compaction drops them.
        pub damaged_unused: u64,
    }

    /// How full the store is and how well it chooses what stays.
    pub struct StoreFigures {
        /// What it takes on the disk.
        #[schemars(with = "u64")]
        pub used: Bytes,
        /// What of it is alive.
        #[schemars(with = "u64")]
        pub live: Bytes,
        /// What a compaction would give back now.
        #[schemars(with = "u64")]
        pub reclaimable: Bytes,
        /// What is kept free for content on its way in.
        #[schemars(with = "u64")]
        pub reserved: Bytes,
        /// What it may take.
        #[schemars(with = "u64")]
        pub capacity: Bytes,
        /// Down to where an eviction goes.
        #[schemars(with = "u64")]
        pub low: Bytes,
        /// What pinned roots take.
        #[schemars(with = "u64")]
        pub pinned: Bytes,
        /// How many roots there are.
        pub refs: u64,
        /// How many of them are pinned.
        pub pinned_refs: u64,
        /// How many blocks there are.
        pub blocks: u64,
        /// Who chooses what goes.
        pub policy: String,
        /// Of so many roots one is in the sample that policies are compared on.
        pub sampled_one_in: u64,
        /// How the policy that chooses does on it since the start.
        pub sampled: Shadow,
        /// How each policy would have done alone.
        pub shadows: Vec<Shadow>,
    }

    /// How a policy does on a sample of the uses, without choosing anything.
    pub struct Shadow {
        /// The policy.
        pub policy: String,
        /// The uses it saw.
        pub requests: u64,
        /// The uses that found the root here.
        pub hits: u64,
        /// The share of uses that found the root here.
        pub hit_ratio: f64,
        /// The share of bytes used that were here.
        pub byte_hit_ratio: f64,
    }

    /// A connected node.
    pub struct PeerEntry {
        /// Its peer id.
        pub peer_id: String,
        /// Its multiaddrs.
        pub addresses: Vec<String>,
        /// The regions it serves.
        pub regions: Vec<String>,
        /// The time its last answer took.
        pub latency_s: Option<f64>,
        /// What this node thinks of it, higher is better.
        pub score: f64,
        /// What the score is made of.
        #[serde(default)]
        pub why: String,
    }

    /// An address of the wallet.
    pub struct Address {
        /// The address.
        pub address: String,
    }

    /// An address and what it holds.
    pub struct Balance {
        /// The address.
        pub address: String,
        /// What it holds on the chain.
        #[schemars(with = "String")]
        pub balance_atto: AttoFil,
    }

    /// A key of the wallet.
    pub struct KeyEntry {
        /// Its address.
        pub address: String,
        /// What it holds on the chain.
        #[schemars(with = "String")]
        pub balance_atto: AttoFil,
        /// Whether it pays when nobody says which.
        pub default: bool,
    }

    /// A key that leaves the wallet.
    pub struct ExportedKey {
        /// Its address.
        pub address: String,
        /// The key in the hex JSON form of Lotus.
        pub key: String,
    }

    /// A plain transfer that the chain took.
    pub struct Payment {
        /// The CID of the message.
        pub message: String,
        /// Who paid.
        pub from: String,
        /// Who was paid.
        pub to: String,
        /// How much.
        #[schemars(with = "String")]
        pub amount_atto: AttoFil,
    }

    /// Which way a channel pays.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum Direction {
        /// This node pays.
        Outbound,
        /// This node is paid.
        Inbound,
    }

    /// A payment channel.
    pub struct Channel {
        /// Its address.
        pub channel: String,
        /// Which way it pays.
        pub direction: Direction,
        /// Who pays.
        pub from: String,
        /// Who is paid.
        pub to: String,
        /// What it holds on the chain.
        #[schemars(with = "String")]
        pub deposit_atto: AttoFil,
        /// The sum of the best vouchers of its lanes.
        #[schemars(with = "String")]
        pub best_voucher_atto: AttoFil,
        /// What the chain has credited.
        #[schemars(with = "String")]
        pub redeemed_atto: AttoFil,
        /// `open`, `settling`, `collectable`, `closed` or `failed`.
        pub state: String,
        /// The epoch at which it can be collected.
        #[schemars(with = "Option<i64>")]
        pub settles_at: Option<ChainEpoch>,
    }

    /// What this node earned and spent.
    pub struct Earnings {
        /// The vouchers it accepted.
        #[schemars(with = "String")]
        pub earned_atto: AttoFil,
        /// What of them the chain has credited.
        #[schemars(with = "String")]
        pub redeemed_atto: AttoFil,
        /// What came back to the wallet.
        #[schemars(with = "String")]
        pub collected_atto: AttoFil,
        /// The vouchers it gave.
        #[schemars(with = "String")]
        pub spent_atto: AttoFil,
    }

    /// The chain this node's money lives on.
    pub struct ChainStatus {
        /// Its id.
        pub chain_id: String,
        /// Its latest epoch.
        #[schemars(with = "i64")]
        pub epoch: ChainEpoch,
        /// The address of its API when this node serves it.
        pub listen: Option<String>,
    }

    /// A configured value.
    pub struct ConfigValue {
        /// The value as it is written in the file.
        pub value: serde_json::Value,
        /// Where it comes from: `default`, `file`, `environment` or `flag`.
        pub origin: String,
    }

    /// The configuration that the daemon runs with.
    #[serde(transparent)]
    pub struct ConfigShow(pub BTreeMap<String, ConfigValue>);
}

impl Stopped {
    /// The daemon stops.
    pub const DONE: Self = Self { stopped: true };
}
