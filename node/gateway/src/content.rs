//! What the gateway needs from the node that it is the door of.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pop_dag::{BlockSource, Buf, Cid, What};
use pop_units::{AttoFil, Bytes, PricePerByte};
use tokio::sync::watch;

/// Verified blocks. Its calls block, so they run off the runtime's threads.
pub type Blocks = Arc<dyn BlockSource + Send + Sync>;

/// Keeps content from being evicted until it is dropped.
pub type Hold = Box<dyn std::any::Any + Send + Sync>;

/// The node behind the door.
#[async_trait]
pub trait Content: Send + Sync + 'static {
    /// Returns the blocks that are here.
    fn blocks(&self) -> Blocks;

    /// Returns a number that changes whenever blocks may have left, so that what was remembered of them is
    /// looked at again. Cheap and without waiting.
    fn removals(&self) -> u64;

    /// Keeps the content below `root` from being evicted to make room for other content, for an answer that is on its
    /// way. `None` where that says nothing, or so much is kept already that no more may be. Blocks.
    fn hold(&self, root: &Cid) -> Option<Hold>;

    /// Begins the retrieval of what is missing, or joins the one that runs for the same content.
    ///
    /// # Errors
    /// The policy is against it, or nobody has it on terms that the policy allows.
    async fn retrieve(&self, wanted: Wanted) -> Result<Retrieval, Miss>;

    /// Returns whether anything costs over HTTP. Cheap and without waiting.
    fn sells(&self) -> bool {
        true
    }

    /// Returns what the content below `root` costs here; `None` when it is free over HTTP. Blocks.
    fn price(&self, root: &Cid) -> Option<Offer>;

    /// Counts bytes of content that were sent to somebody. Cheap and without waiting.
    fn served(&self, root: &Cid, size: Bytes, to: IpAddr);

    /// Begins an upload.
    ///
    /// # Errors
    /// The node is stopping or takes nothing.
    async fn receive(&self, order: Order) -> Result<Box<dyn Intake>, UploadError>;
}

/// What is to be retrieved, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The root.
    pub root: Cid,
    /// The path below it.
    pub path: Vec<String>,
    /// How much of what the path leads to. An entity is what is read to show it: a whole file, the entries of a
    /// directory, and its index page.
    pub what: What,
    /// Who asks.
    pub from: IpAddr,
}

/// Content that is on its way. Dropping it leaves the retrieval, which ends when nobody is left.
pub struct Retrieval {
    /// What is here and what has come, verified.
    pub blocks: Blocks,
    /// Changes with every block or group of blocks that came, and at the end.
    pub arrival: watch::Receiver<Arrival>,
    /// Whether it was begun for more than is wanted: its failure then says nothing of what is wanted alone.
    pub is_wider: bool,
    /// Keeps the retrieval going as long as it lives.
    pub stay: Box<dyn std::any::Any + Send + Sync>,
}

/// How far a retrieval is.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    /// Grows with every step forward.
    pub bytes: Bytes,
    /// How it ended.
    pub ended: Option<Result<(), Miss>>,
}

/// Why content that is not here is not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Miss {
    /// This node serves only what it has, or only what it has to this client.
    #[error("this node serves only what it holds")]
    Local,
    /// Nobody answered.
    #[error("nobody who was asked has it: {tried}")]
    NotFound {
        /// Whom or how many were asked.
        tried: String,
    },
    /// Time is up.
    #[error("no answer in time: {tried}")]
    TimedOut {
        /// What was tried.
        tried: String,
    },
    /// It is to be had for money that the policy does not spend.
    #[error("it costs {} FIL", .0.cost)]
    Priced(Box<Offer>),
    /// Whoever has it refuses, or sent what it is not.
    #[error("providers gave nothing: {why}")]
    Refused {
        /// What they said.
        why: String,
    },
    /// This node cannot take it.
    #[error("this node cannot keep it: {why}")]
    Full {
        /// Why not.
        why: String,
    },
    /// Too many retrievals run.
    #[error("too many retrievals are under way")]
    Busy,
    /// The path does not exist in a DAG that was verified on the way.
    #[error("{why}")]
    NoPath {
        /// What is missing.
        why: String,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// A price for content, as machines read it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Offer {
    /// The root.
    #[serde(serialize_with = "as_text")]
    pub root: Cid,
    /// How many bytes there are.
    pub size: Bytes,
    /// What they cost, by the GiB.
    #[serde(rename = "price_atto_per_gib")]
    pub price: PricePerByte,
    /// What all of them cost.
    #[serde(rename = "cost_atto")]
    pub cost: AttoFil,
    /// Where it is sold: multiaddrs that end in the peer.
    pub providers: Vec<String>,
    /// Who is paid: a Filecoin address.
    pub payee: Option<String>,
    /// On which chain.
    pub chain: Option<String>,
    /// Until when, in seconds since 1970.
    pub expires: Option<u64>,
}

fn as_text<T: std::fmt::Display, S: serde::Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// How an upload is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// What the root of several files is written as; `None` when the upload is one file and its root is the file's.
    pub directory: Option<Codec>,
    /// How many other nodes shall keep a copy.
    pub replication: u8,
}

/// What a root over several files is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// A UnixFS directory, which every gateway shows.
    #[default]
    DagPb,
    /// A map of entries.
    DagCbor,
}

/// An upload under way. Dropping it leaves nothing of it.
#[async_trait]
pub trait Intake: Send {
    /// Begins a file; the bytes that follow are its content. Slashes in the name part directories; the name of an
    /// upload that is one file says nothing.
    ///
    /// # Errors
    /// The name cannot be one, stands there already, or the file before could not be kept.
    async fn file(&mut self, name: &str) -> Result<(), UploadError>;

    /// Takes bytes, and waits while the disk is behind.
    ///
    /// # Errors
    /// They could not be kept.
    async fn bytes(&mut self, piece: Buf) -> Result<(), UploadError>;

    /// Makes the upload permanent, in one durable step.
    ///
    /// # Errors
    /// It could not be kept; then nothing of it is.
    async fn commit(self: Box<Self>) -> Result<Uploaded, UploadError>;
}

/// What an upload became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// The root.
    pub root: Cid,
    /// Bytes of content.
    pub size: Bytes,
    /// How many nodes are asked to keep copies; they are still at it.
    pub replication: u8,
    /// What stands directly under the root, by name; nothing when the upload is one file.
    pub entries: Vec<UploadedEntry>,
}

/// A name under the root of an upload.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct UploadedEntry {
    /// The name.
    pub key: String,
    /// What it leads to: a file, or a directory when names with slashes began with it.
    #[serde(serialize_with = "as_text")]
    pub cid: Cid,
    /// Bytes of content.
    pub size: Bytes,
}

/// Why an upload was not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The store has no room for it.
    #[error("the store is full: {why}")]
    Full {
        /// What the store says.
        why: String,
    },
    /// A name cannot be the name of an entry.
    #[error("{name:?} cannot be the name of a file")]
    Name {
        /// The name.
        name: String,
    },
    /// Two files have one name.
    #[error("two files are named {name:?}")]
    Twice {
        /// The name.
        name: String,
    },
    /// The root cannot be written in the form that was asked for.
    #[error("it cannot be written: {why}")]
    Form {
        /// What is in the way.
        why: String,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
    /// The disk or the store failed.
    #[error("it could not be kept: {why}")]
    Failed {
        /// What happened.
        why: String,
    },
}
