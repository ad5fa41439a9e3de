//! What callers say: one object for each method, every member by name.

use std::path::PathBuf;

use pop_units::{AttoFil, PricePerByte, ReplicationFactor, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::{with_unit, with_unit_opt};
use crate::{CidPath, CidText};

/// Declares parameter objects: they read strictly, so that a misspelt member is an error and not a default.
macro_rules! params {
    ($($item:item)*) => { $(
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        $item
    )* };
}

/// Declares parameter objects that end with the terms of a replication. They are members of the object itself, and
/// spelt out because serde reads a flattened object strictly no more.
macro_rules! replicated {
    ($(
        $(#[doc = $doc:literal])+
        pub struct $name:ident {
            $( $(#[doc = $own_doc:literal])+ $(#[serde($own_serde:ident)])? pub $own:ident: $type:ty, )*
            cache_rf = $default:literal,
        }
    )*) => { $(
        params! {
            $(#[doc = $doc])+
            pub struct $name {
                $( $(#[doc = $own_doc])+ $(#[serde($own_serde)])? pub $own: $type, )*
                /// How many peers shall keep a copy.
                #[serde(default = $default)]
                #[schemars(with = "u8")]
                pub cache_rf: ReplicationFactor,
                /// Peer ids that are asked first.
                #[serde(default)]
                pub peers: Vec<String>,
                /// Rounds that are tried after the first.
                #[serde(default)]
                pub attempts: u32,
                /// The pause before the second round; it doubles from round to round.
                #[serde(default = "default_backoff", with = "with_unit")]
                #[schemars(with = "String")]
                pub backoff: Span,
                /// Whether what this node keeps is never evicted.
                #[serde(default = "yes")]
                pub pin: bool,
            }
        }

        impl $name {
            /// Returns the terms `terms` for this.
            pub fn new($($own: $type,)* terms: Replication) -> Self {
                let Replication { cache_rf, peers, attempts, backoff, pin } = terms;
                Self { $($own,)* cache_rf, peers, attempts, backoff, pin }
            }

            /// Returns its terms of replication.
            pub fn terms(&self) -> Replication {
                Replication {
                    cache_rf: self.cache_rf,
                    peers: self.peers.clone(),
                    attempts: self.attempts,
                    backoff: self.backoff,
                    pin: self.pin,
                }
            }
        }
    )* };
}

/// How many copies, where and how patiently: the part that `commit`, `dispatch` and `import` have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Replication {
    /// How many peers shall keep a copy.
    pub cache_rf: ReplicationFactor,
    /// Peer ids that are asked first.
    pub peers: Vec<String>,
    /// Rounds that are tried after the first.
    pub attempts: u32,
    /// The pause before the second round; it doubles from round to round.
    pub backoff: Span,
    /// Whether what this node keeps is never evicted.
    pub pin: bool,
}

/// Names that are written in kebab case, in JSON as on the command line.
macro_rules! choices {
    ($($item:item)*) => { $(
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        $item
    )* };
}

choices! {
    /// How the root of a transaction is encoded.
    pub enum Codec {
        /// A UnixFS directory.
        #[default]
        DagPb,
        /// A map of `Links` and `Data`.
        DagCbor,
    }

    /// How a DAG of chunks is shaped.
    pub enum Layout {
        /// What the profile says.
        #[default]
        Auto,
        /// Every leaf at the same depth.
        Balanced,
        /// Early bytes near the root, for streaming.
        Trickle,
    }

    /// How much of a DAG is meant.
    pub enum Scope {
        /// The one block.
        Block,
        /// The file or the directory's own blocks.
        Entity,
        /// Everything below.
        #[default]
        All,
    }

    /// Which offer is taken.
    pub enum Strategy {
        /// The first that arrives.
        #[default]
        First,
        /// The cheapest of those that arrive in a few seconds.
        Cheapest,
        /// The first under the maximal price.
        FirstBelow,
    }
}

params! {
    /// Nothing to say.
    #[derive(Default)]
    pub struct NoParams {}

    /// Who to ping.
    #[derive(Default)]
    pub struct PingParams {
        /// A peer id or a multiaddr; this node itself when left out.
        #[serde(default)]
        pub target: Option<String>,
    }

    /// How to stop.
    #[derive(Default)]
    pub struct OffParams {
        /// How long running paid deals may take to finish, like `30s`.
        #[serde(default, with = "with_unit_opt")]
        #[schemars(with = "Option<String>")]
        pub drain: Option<Span>,
    }

    /// What to add to the open transaction.
    #[derive(Default)]
    pub struct PutParams {
        /// Absolute paths of files and directories.
        pub paths: Vec<PathBuf>,
        /// How the transaction's root is encoded; decided by the first put.
        #[serde(default)]
        pub codec: Option<Codec>,
        /// The import profile, like `unixfs-v1-2025`.
        #[serde(default)]
        pub profile: Option<String>,
        /// How files are cut: `profile`, `size-N`, `buzhash`, or `auto` by the kind of each file.
        #[serde(default)]
        pub chunker: Option<String>,
        /// The shape of a file's DAG.
        #[serde(default)]
        pub layout: Layout,
    }

    /// A CAR to write.
    pub struct ExportParams {
        /// What is exported.
        pub cid: CidPath,
        /// The absolute path of the file to write.
        pub output: PathBuf,
        /// 1 or 2.
        #[serde(default = "one")]
        pub car_version: u8,
        /// How much of the DAG.
        #[serde(default)]
        pub scope: Scope,
        /// Whether blocks that are not here may be left out.
        #[serde(default)]
        pub partial: bool,
    }

    /// What to retrieve, and on which terms.
    pub struct GetParams {
        /// What is wanted.
        pub cid: CidPath,
        /// The absolute path of the file or tree to write; kept in the store only when left out.
        #[serde(default)]
        pub output: Option<PathBuf>,
        /// Which offer is taken; the node's own choice when left out.
        #[serde(default)]
        pub strategy: Option<Strategy>,
        /// The highest price, like `0.01 FIL/GiB`; the node's own when left out.
        #[serde(default, with = "with_unit_opt")]
        #[schemars(with = "Option<String>")]
        pub max_price: Option<PricePerByte>,
        /// The most this get may cost, like `0.5 FIL`.
        #[serde(default, with = "with_unit_opt")]
        #[schemars(with = "Option<String>")]
        pub max_spend: Option<AttoFil>,
        /// A provider to ask directly.
        #[serde(default)]
        pub peer: Option<String>,
        /// How long nothing may arrive before this is given up, like `60s`.
        #[serde(default = "default_timeout", with = "with_unit")]
        #[schemars(with = "String")]
        pub timeout: Span,
    }

    /// One root.
    pub struct RootParams {
        /// The root.
        pub root: CidText,
    }

    /// What to reclaim.
    #[derive(Default)]
    pub struct GcParams {
        /// Only tells what would be reclaimed.
        #[serde(default)]
        pub dry_run: bool,
        /// Reads every block on the disk and checks it.
        #[serde(default)]
        pub verify: bool,
    }

    /// How a key is made.
    #[derive(Default)]
    pub struct WalletNewParams {
        /// Whether it becomes the default.
        #[serde(default)]
        pub default: bool,
    }

    /// One of the wallet's addresses, or its default.
    #[derive(Default)]
    pub struct AddressParams {
        /// The address; the default one when left out.
        #[serde(default)]
        pub address: Option<String>,
    }

    /// A key to take in.
    pub struct WalletImportParams {
        /// The key in the hex JSON form of Lotus.
        pub key: String,
        /// Whether it becomes the default.
        #[serde(default)]
        pub default: bool,
    }

    /// A plain transfer.
    pub struct WalletPayParams {
        /// Who pays.
        pub from: String,
        /// Who is paid.
        pub to: String,
        /// How much, like `0.5 FIL`.
        #[serde(with = "with_unit")]
        #[schemars(with = "String")]
        pub amount: AttoFil,
    }

    /// One payment channel.
    pub struct ChannelParams {
        /// Its address.
        pub channel: String,
    }

    /// Which vouchers are submitted.
    pub struct PaySubmitParams {
        /// The channel's address.
        pub channel: String,
        /// One lane; all of them when left out.
        #[serde(default)]
        #[schemars(with = "Option<u64>")]
        pub lane: Option<pop_units::Lane>,
    }

    /// How far the embedded chain moves.
    pub struct ChainAdvanceParams {
        /// The number of epochs.
        pub epochs: u32,
    }
}

replicated! {
    /// Where a commit is replicated to.
    pub struct CommitParams {
        cache_rf = "default_cache_rf",
    }

    /// What is replicated, and where to.
    pub struct DispatchParams {
        /// The root.
        pub root: CidText,
        cache_rf = "default_cache_rf",
    }

    /// A CAR to take in.
    pub struct ImportParams {
        /// The absolute path of the file.
        pub path: PathBuf,
        /// Whether a CAR may lack blocks that its roots link to.
        #[serde(default)]
        pub partial: bool,
        /// Whether the path is a pipe that carries the CAR in frames: four bytes of length, big-endian, and as many of
        /// content; the last is empty. So an end is told from a writer that died.
        #[serde(default)]
        pub framed: bool,
        cache_rf = "no_caches",
    }
}

fn default_cache_rf() -> ReplicationFactor {
    ReplicationFactor::new(2)
}

fn no_caches() -> ReplicationFactor {
    ReplicationFactor::new(0)
}

fn default_backoff() -> Span {
    Span::new(std::time::Duration::from_secs(180))
}

fn default_timeout() -> Span {
    Span::new(std::time::Duration::from_secs(60))
}

const fn yes() -> bool {
    true
}

const fn one() -> u8 {
    1
}

impl Default for Replication {
    fn default() -> Self {
        let (cache_rf, backoff) = (default_cache_rf(), default_backoff());
        Self { cache_rf, peers: Vec::new(), attempts: 0, backoff, pin: true }
    }
}

impl Default for CommitParams {
    fn default() -> Self {
        Self::new(Replication::default())
    }
}

impl GetParams {
    /// Returns a get of `cid` on the node's own terms.
    pub fn new(cid: CidPath) -> Self {
        Self {
            cid,
            output: None,
            strategy: None,
            max_price: None,
            max_spend: None,
            peer: None,
            timeout: default_timeout(),
        }
    }
}
