//! `put`: files and trees into the open transaction.

use std::path::{Path, PathBuf};

use pop_dag::unixfs::{Chunker, ChunkerError, Layout as DagLayout, Profile, Rules, add_path};
use pop_dag::{BlockSink, SinkError};
use pop_rpc::{Codec, Entry, Error, ErrorCode, Layout, Put, PutParams, Reporter, TxStatus};
use pop_store::{Staging, Store};
use pop_units::Bytes;

use super::open_tx::{Named, OpenTx, STAGING};
use super::pipe;
use crate::fault::{Cancelled, Fault, file};
use crate::pool::Cancel;

/// How the stagings of puts are named.
pub(super) const PUT: &str = "put:";

/// What a put does, checked.
#[derive(Debug)]
pub(crate) struct Order {
    paths: Vec<PathBuf>,
    codec: Option<Codec>,
    rules: Rules,
}

impl Order {
    /// Reads the caller's words.
    pub(crate) fn read(params: PutParams) -> Result<Self, Error> {
        let usage = |message: String, hint: &str| Error::new(ErrorCode::Usage, message).with_hint(hint);
        if params.paths.is_empty() {
            return Err(usage("nothing to put".into(), "name a file or a directory"));
        }
        if let Some(path) = params.paths.iter().find(|path| !path.is_absolute()) {
            return Err(usage(
                format!("{} is no absolute path", path.display()),
                "the daemon has no current directory",
            ));
        }
        let profile = match params.profile.as_deref() {
            None | Some("unixfs-v1-2025") => Profile::v1_2025(),
            Some("unixfs-v0-2015") => Profile::v0_2015(),
            Some(other) => {
                return Err(usage(
                    format!("{other:?} is no profile"),
                    "there are unixfs-v1-2025 and unixfs-v0-2015",
                ));
            }
        };
        let chunker = params.chunker.as_deref().map(str::parse).transpose();
        let chunker: Option<Chunker> = chunker.map_err(|error: ChunkerError| {
            usage(error.to_string(), "leave --chunker out for the profile's own")
        })?;
        let layout = match params.layout {
            Layout::Auto => DagLayout::Profile,
            Layout::Balanced => DagLayout::Balanced,
            Layout::Trickle => DagLayout::Trickle,
        };
        let rules = Rules { profile, chunker: chunker.unwrap_or_default(), layout };
        Ok(Self { paths: params.paths, codec: params.codec, rules })
    }

    /// Adds everything to the open transaction, or nothing. Blocks.
    pub(crate) fn carry_out(self, store: &Store, cancel: &Cancel, progress: &Reporter) -> Result<Put, Error> {
        let state = store.state();
        let tx = match (OpenTx::load(&state)?, self.codec) {
            (None, codec) => OpenTx::new(codec.unwrap_or_default()),
            (Some(tx), Some(codec)) if codec != tx.codec() => {
                let message = "the open transaction has another codec";
                return Err(Error::new(ErrorCode::Usage, message).with_hint("commit it first"));
            }
            (Some(tx), _) => tx,
        };
        // In a staging of its own, so that a put that fails gives its room back.
        let own = store.stage(&format!("{PUT}{}", super::random_name())).map_err(Fault::fault)?;
        let made = self.read_in(&own, cancel, progress).and_then(|added| {
            // The last moment to leave: what follows is done to its end.
            match cancel.is_cancelled() {
                true => Err(SinkError::new(Cancelled).fault()),
                false => Ok((tx.with(&added)?, added)),
            }
        });
        let (tx, added) = match made {
            Ok(made) => made,
            Err(error) => {
                super::give_up(own);
                return Err(error);
            }
        };
        // Roots first: blocks without a name cost room until the next commit, a name without blocks costs content.
        let mut staging = store.stage(STAGING).map_err(Fault::fault)?;
        staging.absorb(own).map_err(Fault::fault)?;
        staging.set_roots(&tx.roots()).map_err(Fault::fault)?;
        tx.save(&state, &added)?;
        let root = tx.root(&mut staging).map_err(Fault::fault)?;
        let total_size = tx.total_size();
        let shown = |named: &Named| Entry { key: named.key.clone(), cid: named.cid.into(), size: named.size };
        let entries = added.iter().map(shown).collect();
        Ok(Put { tx: tx.id().to_owned(), root: (*root.cid()).into(), entries, total_size })
    }

    /// Reads every path into a staging.
    fn read_in(&self, staging: &Staging, cancel: &Cancel, progress: &Reporter) -> Result<Vec<Named>, Error> {
        pipe::staged(staging, cancel, |sink| self.add_all(sink, progress))
    }

    fn add_all(&self, sink: &mut dyn BlockSink, progress: &Reporter) -> Result<Vec<Named>, Error> {
        let mut added: Vec<Named> = Vec::new();
        let total = self.paths.iter().map(|path| known_size(path)).sum::<Option<u64>>();
        let mut done = Bytes::ZERO;
        for path in &self.paths {
            let key = key_of(path)?;
            if added.iter().any(|named| named.key == key) {
                let message = format!("two paths end in {key:?}");
                return Err(Error::new(ErrorCode::Usage, message).with_hint("put them one after the other"));
            }
            let mut on_chunk = |size| {
                done = done.saturating_add(size);
                progress.report("read", done.get(), total);
            };
            let made = add_path(path, &self.rules, &mut *sink, &mut on_chunk).map_err(Fault::fault)?;
            added.push(Named { key, cid: made.cid, size: made.size, tsize: made.tsize });
        }
        Ok(added)
    }
}

/// Tells what the open transaction holds. Blocks.
pub(crate) fn status(store: &Store) -> Result<TxStatus, Error> {
    let Some(tx) = OpenTx::load(&store.state())? else { return Ok(TxStatus::default()) };
    let shown = |(key, entry): (&str, &pop_exchange::tx::Entry)| Entry {
        key: key.to_owned(),
        cid: entry.cid.into(),
        size: entry.size,
    };
    let root = tx.root(&mut Nowhere).map_err(Fault::fault)?;
    Ok(TxStatus {
        tx: Some(tx.id().to_owned()),
        root: Some((*root.cid()).into()),
        entries: Some(tx.entries().map(shown).collect()),
        total_size: Some(tx.total_size()),
    })
}

/// Takes the shards of a root that is only looked at.
struct Nowhere;

impl pop_dag::BlockSink for Nowhere {
    fn accept(&mut self, _: pop_dag::Block) -> Result<(), pop_dag::SinkError> {
        Ok(())
    }
}

fn key_of(path: &Path) -> Result<String, Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| {
        let message = format!("{} has no last part that could be a key", path.display());
        Error::new(ErrorCode::BadInput, message).with_hint("keys are UTF-8 names of files and directories")
    })
}

/// Returns the size of a file; directories are not walked twice only to show a percentage.
fn known_size(path: &Path) -> Option<u64> {
    path.metadata().ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len())
}

/// Checks that every path can be looked at, so that a typing error fails before anything is read.
pub(crate) fn check_paths(paths: &[PathBuf]) -> Result<(), Error> {
    for path in paths {
        path.symlink_metadata().map_err(|io| file(path, "read", &io))?;
    }
    Ok(())
}
