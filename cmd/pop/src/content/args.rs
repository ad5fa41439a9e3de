//! The flags of the content commands.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use pop_rpc::{CidPath, CidText};
use pop_units::{AttoFil, PricePerByte, ReplicationFactor, Span};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add files and directory trees to the open transaction
    Put(PutArgs),
    /// Show the open transaction
    Status,
    /// Make the open transaction permanent and replicate it
    Commit(Replication),
    /// Replicate what is already here
    Dispatch {
        /// The root
        root: CidText,
        #[command(flatten)]
        replication: Replication,
    },
    /// Take a CAR into the store
    Import {
        /// The file, or - for stdin
        #[arg(value_name = "FILE.car")]
        file: PathBuf,
        /// Keep a CAR that lacks blocks, as far as it goes
        #[arg(long)]
        partial: bool,
        #[command(flatten)]
        replication: Replication,
    },
    /// Write a CAR
    Export(ExportArgs),
    /// Retrieve, verify, keep, and write a file or tree
    Get(Box<GetArgs>),
    /// List the roots this node keeps, least used first
    List,
    /// Never evict a root
    Pin {
        /// The root
        root: CidText,
    },
    /// Let a root be evicted when room is needed
    Unpin {
        /// The root
        root: CidText,
    },
    /// Forget a root
    Rm {
        /// The root
        root: CidText,
    },
    /// Reclaim what no root needs
    Gc {
        /// Only tell what would be reclaimed
        #[arg(long)]
        dry_run: bool,
        /// Read every block on the disk and check it
        #[arg(long)]
        verify: bool,
    },
    /// Show how full the store is and how well it chooses what stays
    Store,
}

/// Declares words of the command line for words of the contract.
macro_rules! words {
    ($($name:ident { $($(#[doc = $doc:literal])+ $variant:ident),+ })+) => { $(
        #[derive(Clone, Copy, Debug, ValueEnum)]
        pub(crate) enum $name {
            $( $(#[doc = $doc])+ $variant, )+
        }

        impl From<$name> for pop_rpc::$name {
            fn from(word: $name) -> Self {
                match word {
                    $( $name::$variant => Self::$variant, )+
                }
            }
        }
    )+ };
}

words! {
    Codec {
        /// A UnixFS directory
        DagPb,
        /// A map of links
        DagCbor
    }
    Layout {
        /// What the profile says, or the kind of file with --chunker auto
        Auto,
        /// Every leaf at the same depth
        Balanced,
        /// Early bytes near the root
        Trickle
    }
    Scope {
        /// The one block
        Block,
        /// The file, or the directory's own blocks
        Entity,
        /// Everything below
        All
    }
    Strategy {
        /// The first offer
        First,
        /// The cheapest of the first few
        Cheapest,
        /// The first below the maximal price
        FirstBelow
    }
}

#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// Files and directories; the key is the path's last part
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// How the transaction's root is encoded [default: dag-pb]
    #[arg(long, value_enum)]
    pub(crate) codec: Option<Codec>,
    /// The import profile [default: unixfs-v1-2025]
    #[arg(long)]
    pub(crate) profile: Option<String>,
    /// How files are cut: profile, size-N, buzhash, or auto by the kind of each file [default: profile]
    #[arg(long)]
    pub(crate) chunker: Option<String>,
    /// The shape of a file's DAG [default: auto]
    #[arg(long, value_enum)]
    pub(crate) layout: Option<Layout>,
}

#[derive(Debug, Args)]
pub(crate) struct Replication {
    /// How many peers shall keep a copy [default: 2, import: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8))]
    cache_rf: Option<u8>,
    /// Peer ids to ask first
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    peers: Vec<String>,
    /// Rounds to try after the first
    #[arg(long, value_name = "N", default_value_t = 0)]
    attempts: u32,
    /// The pause before the second round; it doubles
    #[arg(long, value_name = "TIME", default_value = "3m")]
    backoff: Span,
    /// Let the root be evicted when room is needed
    #[arg(long)]
    no_pin: bool,
}

impl Replication {
    /// Returns the terms, with `default` copies when nobody says how many.
    pub(crate) fn terms(&self, default: u8) -> pop_rpc::Replication {
        pop_rpc::Replication {
            cache_rf: ReplicationFactor::new(self.cache_rf.unwrap_or(default)),
            peers: self.peers.iter().filter(|peer| !peer.is_empty()).cloned().collect(),
            attempts: self.attempts,
            backoff: self.backoff,
            pin: !self.no_pin,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// What to export: CID or CID/path
    pub(crate) cid: CidPath,
    /// The file to write, or - for stdout [default: CID.car, or NAME.car for a path]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// 1 or 2
    #[arg(long, value_name = "1|2", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub(crate) car_version: u8,
    /// How much of the DAG [default: all]
    #[arg(long, value_enum)]
    pub(crate) scope: Option<Scope>,
    /// Leave out what is not here
    #[arg(long)]
    pub(crate) partial: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// What to get: CID or CID/path
    pub(crate) cid: CidPath,
    /// The file or tree to write, or - for stdout; kept in the store only when left out
    #[arg(long, short, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Which offer is taken
    #[arg(long, value_enum)]
    pub(crate) strategy: Option<Strategy>,
    /// The highest price, like "0.01 FIL/GiB" [default: the node's]
    #[arg(long, value_name = "P")]
    pub(crate) max_price: Option<PricePerByte>,
    /// The most to spend, like "0.5 FIL"
    #[arg(long, value_name = "A")]
    pub(crate) max_spend: Option<AttoFil>,
    /// A provider to ask directly
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) peer: Option<String>,
    /// How long nothing may arrive before giving up [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<Span>,
}
