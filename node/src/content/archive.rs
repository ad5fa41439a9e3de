//! CAR archives in and out, streamed: memory is bounded by one block whatever the archive's size.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use pop_dag::car::{CarReader, CarWriter, ExportError, Gaps, Part};
use pop_dag::walk::RunError;
use pop_dag::{BlockSink, Buf, Cid, Scope, SinkError, Walk, What, is_leaf, unixfs};
use pop_rpc::{CidPath, CidText, Error, ErrorCode, Exported, Reporter};
use pop_store::{Ref, RefKey, Staging, Store};
use pop_units::Bytes;

use super::framed::Framed;
use super::get::Draft;
use super::{pipe, unix_seconds};
use crate::fault::{Cancelled, Fault, file};
use crate::pool::Cancel;

/// How the stagings of imports are named.
pub(super) const IMPORT: &str = "import:";
/// Names of a root that are kept for lists; each is a row.
const NAMES: usize = 4096;

/// Missing blocks that are named; the others are counted.
const NAMED: usize = 16;

/// What an import takes, and how.
#[derive(Debug)]
pub(crate) struct ImportOrder {
    pub(crate) path: PathBuf,
    /// The path is a pipe with frames.
    pub(crate) framed: bool,
    pub(crate) pin: bool,
    /// Blocks may be missing.
    pub(crate) partial: bool,
}

/// What an import made.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) roots: Vec<Cid>,
    pub(crate) blocks: u64,
    pub(crate) size: Bytes,
    pub(crate) missing: Missing,
}

/// Blocks that a DAG links to and that are not here.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    pub(crate) count: u64,
    /// The first of them.
    pub(crate) first: Vec<Cid>,
}

impl Missing {
    fn add(&mut self, cid: Cid) {
        self.count = self.count.saturating_add(1);
        self.name(cid);
    }

    fn name(&mut self, cid: Cid) {
        if self.first.len() < NAMED && !self.first.contains(&cid) {
            self.first.push(cid);
        }
    }

    /// Returns the named ones as the API shows them.
    pub(crate) fn named(&self) -> Vec<CidText> {
        self.first.iter().copied().map(Into::into).collect()
    }
}

/// Takes a CAR in, whole or not at all. Blocks.
pub(crate) fn import(
    store: &Store,
    order: &ImportOrder,
    cancel: &Cancel,
    progress: &Reporter,
) -> Result<Taken, Error> {
    let unreadable = |io: std::io::Error| file(&order.path, "read", &io);
    let (input, total): (Box<dyn Read + Send>, _) = match order.framed {
        true => (Box::new(Framed::open(&order.path).map_err(unreadable)?), None),
        false => {
            let meta = order.path.metadata().map_err(unreadable)?;
            // To open a pipe may wait for ever for somebody who writes.
            if !meta.is_file() {
                let message = format!("{} is no regular file", order.path.display());
                return Err(Error::new(ErrorCode::BadInput, message).with_hint("- reads standard input"));
            }
            (Box::new(File::open(&order.path).map_err(unreadable)?), Some(meta.len()))
        }
    };
    let staging = store.stage(&format!("{IMPORT}{}", super::random_name())).map_err(Fault::fault)?;
    let mut on_block = |done| progress.report("read", done, total);
    let taken = pipe::staged(&staging, cancel, |sink| read_in(input, sink, &mut on_block));
    let taken = taken.and_then(|taken| keep(&staging, taken, order, cancel, progress));
    if taken.is_err() {
        super::give_up(staging);
    }
    taken
}

fn read_in(
    input: impl Read,
    sink: &mut dyn BlockSink,
    progress: &mut dyn FnMut(u64),
) -> Result<Taken, Error> {
    let mut reader = CarReader::new(input).map_err(Fault::fault)?;
    let mut taken = Taken { roots: reader.roots().to_vec(), ..Taken::default() };
    while let Some(block) = reader.next_block().map_err(Fault::fault)? {
        taken.blocks += 1;
        taken.size = taken.size.saturating_add(Bytes::of(block.data()));
        sink.accept(block).map_err(Fault::fault)?;
        progress(taken.size.get());
    }
    Ok(taken)
}

/// Makes refs of the archive's roots, all in one step.
fn keep(
    staging: &Staging,
    mut taken: Taken,
    order: &ImportOrder,
    cancel: &Cancel,
    progress: &Reporter,
) -> Result<Taken, Error> {
    let mut refs: Vec<Ref> = Vec::with_capacity(taken.roots.len());
    for root in &taken.roots {
        // A root that is named twice is one ref.
        if refs.iter().any(|found| found.root == *root) {
            continue;
        }
        let missing = survey(root, staging)?;
        if let (Some(first), false) = (missing.first.first(), order.partial) {
            let message = format!(
                "the DAG of {root} is not whole: {} blocks are missing, the first is {first}",
                missing.count
            );
            let hint = "--partial keeps it as far as it goes; nothing of this CAR was kept";
            return Err(Error::new(ErrorCode::BadInput, message).with_hint(hint));
        }
        if missing.count > 0 {
            progress.note(
                "read",
                format!("{root} is partial: {} blocks that it links to are missing", missing.count),
            );
        }
        refs.push(Ref {
            keys: names(root, staging),
            complete: missing.count == 0,
            pinned: order.pin,
            last_used: unix_seconds(),
            ..Ref::new(*root)
        });
        taken.missing.count = taken.missing.count.saturating_add(missing.count);
        missing.first.into_iter().for_each(|cid| taken.missing.name(cid));
    }
    // The last moment to leave.
    if cancel.is_cancelled() {
        return Err(SinkError::new(Cancelled).fault());
    }
    staging.clone().commit_all(refs).map_err(Fault::fault)?;
    Ok(taken)
}

/// Looks for what is missing below a root; reads no leaf.
fn survey(root: &Cid, staging: &Staging) -> Result<Missing, Error> {
    let has = |cid: &Cid| staging.has(cid).map_err(Fault::fault);
    if pop_dag::identity(root).is_none() && !has(root)? {
        let message = format!("the CAR names the root {root} but has no block for it");
        return Err(Error::new(ErrorCode::BadInput, message).with_hint("nothing of this CAR was kept"));
    }
    let mut missing = Missing::default();
    let mut walk = Walk::new(*root, &Scope::all()).map_err(Fault::fault)?;
    while let Some(cid) = walk.want().copied() {
        if is_leaf(&cid) {
            if !has(&cid)? {
                missing.add(cid);
            }
            walk.on_leaf_skipped().map_err(Fault::fault)?;
            continue;
        }
        match staging.get(&cid).map_err(Fault::fault)? {
            Some(data) => walk.on_block(&data).map_err(Fault::fault)?,
            None => {
                missing.add(cid);
                walk.on_absent().map_err(Fault::fault)?;
            }
        }
    }
    Ok(missing)
}

/// Returns the names inside a root that is a directory, as far as its blocks are here; none for anything else.
pub(crate) fn names(root: &Cid, source: &dyn pop_dag::BlockSource) -> Vec<RefKey> {
    let entries = unixfs::Listing::open(root, source).into_iter().flatten().map_while(Result::ok);
    let key = |entry: unixfs::Entry| RefKey::new(entry.name, entry.cid, entry.tsize);
    entries.take(NAMES).map(key).collect()
}

/// Which version of the format is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Version {
    /// The header and the blocks.
    V1,
    /// The same in an envelope, with an index.
    V2,
}

/// What an export writes, and where.
#[derive(Debug)]
pub(crate) struct ExportOrder {
    pub(crate) target: CidPath,
    pub(crate) what: What,
    pub(crate) output: PathBuf,
    pub(crate) version: Version,
    /// Blocks that are not here may be left out.
    pub(crate) partial: bool,
}

/// Writes a CAR of what is here. Blocks.
pub(crate) fn export(
    store: &Store,
    order: ExportOrder,
    cancel: &Cancel,
    progress: &Reporter,
) -> Result<Exported, Error> {
    let ExportOrder { target, what, output, version, partial } = order;
    let (root, output) = (target.cid, output.as_path());
    let scope = Scope { path: target.path, what };
    let draft = Draft::create(output)?;
    let unwritten = |io: std::io::Error| file(output, "written", &io);
    let mut writer = match version {
        Version::V1 => CarWriter::new(draft.file()?, &[root]),
        Version::V2 => CarWriter::indexed(draft.file()?, &[root]),
    }
    .map_err(unwritten)?;
    let mut done = Bytes::ZERO;
    let mut on_block = |_: &Cid, data: &Buf| {
        if cancel.is_cancelled() {
            return Err(SinkError::new(Cancelled));
        }
        done = done.saturating_add(Bytes::of(data));
        progress.report("write", done.get(), None);
        Ok(())
    };
    // Evicted half way, it could not be written whole.
    let _held = store.hold(&root);
    let mut missing = Missing::default();
    let mut on_gap = |cid: &Cid| missing.add(*cid);
    let gaps = if partial { Gaps::Told(&mut on_gap) } else { Gaps::Refused };
    let totals = writer.write_dag(Part { root, scope: &scope, source: store }, gaps, &mut on_block);
    let totals = totals.map_err(|error| match error {
        ExportError::Walk(walk) => incomplete(walk),
        ExportError::Write(io) => unwritten(io),
        other => Error::of(ErrorCode::Internal, &other),
    })?;
    if missing.count > 0 {
        progress.note("write", format!("partial: {} linked blocks are not here", missing.count));
    }
    writer.finish().map_err(unwritten)?;
    let (size, missing_first) = (draft.keep()?, missing.named());
    Ok(Exported { root: root.into(), blocks: totals.blocks, size, missing: missing.count, missing_first })
}

/// Says how what is here of a DAG can be exported all the same.
fn incomplete(error: RunError) -> Error {
    match error {
        RunError::Missing { .. } => Error::of(ErrorCode::NotFound, &error)
            .with_hint("`pop get` fetches what is missing; --partial exports what is here"),
        other => other.fault(),
    }
}
