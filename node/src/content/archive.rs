//! CAR archives in and out, streamed: memory is bounded by one block whatever the archive's size.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use pop_dag::car::{CarReader, CarWriter};
use pop_dag::walk::{self, RunError};
use pop_dag::{BlockSink, Buf, Cid, Scope, SinkError, What, unixfs};
use pop_rpc::{CidPath, Error, ErrorCode, Exported, Reporter};
use pop_store::{Ref, RefKey, Staging, Store};
use pop_units::Bytes;

use super::get::Draft;
use super::{StagingSink, unix_seconds};
use crate::fault::{Cancelled, Fault, file};
use crate::pool::Cancel;

/// Big enough that a system call moves many small blocks.
const BUFFER: usize = 1 << 20;

/// How the stagings of imports are named.
pub(super) const IMPORT: &str = "import:";
/// Names of a root that are kept for lists; each is a row.
const NAMES: usize = 4096;

/// What an import made.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) roots: Vec<Cid>,
    pub(crate) blocks: u64,
    pub(crate) size: Bytes,
}

/// Takes a CAR in, whole or not at all. Blocks.
pub(crate) fn import(
    store: &Store,
    path: &Path,
    pin: bool,
    cancel: Cancel,
    progress: &Reporter,
) -> Result<Taken, Error> {
    let input = File::open(path).map_err(|io| file(path, "read", &io))?;
    let total = input.metadata().ok().map(|meta| meta.len());
    let name = format!("{IMPORT}{}", super::random_name());
    let staging = store.stage(&name).map_err(Fault::fault)?;
    let taken = read_in(BufReader::with_capacity(BUFFER, input), &staging, cancel, &mut |done| {
        progress.report("read", done, total);
    });
    let taken = taken.and_then(|taken| keep(store, &staging, &taken, pin, progress).map(|()| taken));
    if taken.is_err() {
        super::give_up(staging);
    }
    taken
}

fn read_in(
    input: impl std::io::Read,
    staging: &Staging,
    cancel: Cancel,
    progress: &mut dyn FnMut(u64),
) -> Result<Taken, Error> {
    let mut reader = CarReader::new(input).map_err(Fault::fault)?;
    let mut sink = StagingSink { staging: staging.clone(), cancel };
    let mut taken = Taken { roots: reader.roots().to_vec(), blocks: 0, size: Bytes::ZERO };
    while let Some(block) = reader.next_block().map_err(Fault::fault)? {
        taken.blocks += 1;
        taken.size = taken.size.saturating_add(Bytes::of(block.data()));
        sink.accept(block).map_err(Fault::fault)?;
        progress(taken.size.get());
    }
    Ok(taken)
}

/// Makes refs of the archive's roots.
fn keep(
    store: &Store,
    staging: &Staging,
    taken: &Taken,
    pin: bool,
    progress: &Reporter,
) -> Result<(), Error> {
    let mut refs = Vec::with_capacity(taken.roots.len());
    for root in &taken.roots {
        let mut absent = 0u64;
        let mut on_absent = |_: &Cid| absent += 1;
        match walk::run_partial(*root, &Scope::all(), staging, &mut |_, _| Ok(()), &mut on_absent) {
            Ok(_) => {}
            Err(RunError::Missing { .. }) => {
                let message = format!("the CAR names the root {root} but has no block for it");
                return Err(
                    Error::new(ErrorCode::BadInput, message).with_hint("nothing of this CAR was kept")
                );
            }
            Err(other) => return Err(other.fault()),
        }
        if absent > 0 {
            progress.note(
                "read",
                format!("{root} is partial: {absent} blocks that it links to are not in the CAR"),
            );
        }
        let keys = names(root, staging);
        refs.push(Ref {
            keys,
            complete: absent == 0,
            pinned: pin,
            last_used: unix_seconds(),
            ..Ref::new(*root)
        });
    }
    // Every root has been looked at before the first one is kept. The blocks stay pinned by the archive's own
    // staging until the last.
    let Some(last) = refs.pop() else { return Ok(()) };
    for (n, found) in refs.into_iter().enumerate() {
        let one = store.stage(&format!("{}:{n}", staging.name())).map_err(Fault::fault)?;
        one.commit(found).map_err(Fault::fault)?;
    }
    staging.clone().commit(last).map_err(Fault::fault)
}

/// Returns the names inside a root that is a directory; none for anything else.
pub(crate) fn names(root: &Cid, source: &dyn pop_dag::BlockSource) -> Vec<RefKey> {
    let entries = unixfs::list(root, source).unwrap_or_default().into_iter().take(NAMES);
    let key = |entry: unixfs::Entry| RefKey::new(entry.name, entry.cid, entry.tsize);
    entries.map(key).collect()
}

/// What an export writes, and where.
#[derive(Debug)]
pub(crate) struct ExportOrder {
    pub(crate) target: CidPath,
    pub(crate) what: What,
    pub(crate) output: PathBuf,
}

/// Writes a CAR of what is here. Blocks.
pub(crate) fn export(
    store: &Store,
    order: ExportOrder,
    cancel: &Cancel,
    progress: &Reporter,
) -> Result<Exported, Error> {
    let ExportOrder { target, what, output } = order;
    let output = output.as_path();
    let scope = Scope { path: target.path, what };
    let draft = Draft::create(output)?;
    let out = BufWriter::with_capacity(BUFFER, draft.file()?);
    let unwritten = |io: std::io::Error| file(output, "written", &io);
    let mut writer = CarWriter::new(out, &[target.cid]).map_err(unwritten)?;
    let mut done = Bytes::ZERO;
    let partial = store.ref_of(&target.cid).map_err(Fault::fault)?.is_some_and(|found| !found.complete);
    let mut visit = |cid: &Cid, data: &Buf| {
        if cancel.is_cancelled() {
            return Err(SinkError::new(Cancelled));
        }
        writer.write_parts(cid, data).map_err(SinkError::new)?;
        done = done.saturating_add(Bytes::of(data));
        progress.report("write", done.get(), None);
        Ok(())
    };
    // A DAG that came in partial goes out partial, said aloud; of a whole one no block may be missing.
    let mut absent = 0u64;
    let totals = match partial {
        true => walk::run_partial(target.cid, &scope, store, &mut visit, &mut |_| absent += 1),
        false => walk::run(target.cid, &scope, store, &mut visit),
    };
    let totals = totals.map_err(Fault::fault)?;
    if absent > 0 {
        progress.note("write", format!("partial: {absent} linked blocks are not here"));
    }
    let mut out = writer.finish().map_err(unwritten)?;
    out.flush().map_err(unwritten)?;
    drop(out);
    let size = draft.keep()?;
    Ok(Exported { root: target.cid.into(), blocks: totals.blocks, size })
}
