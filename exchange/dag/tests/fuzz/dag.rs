//! What must hold when a DAG is walked, listed and read, whatever its blocks.
//!
//! A case is the sections of an archive. Their digests do not matter: they are worked out from the last section
//! to the first, and put in where an earlier one links to them, so that every case is a DAG as a peer could make
//! it, and every mutation reaches the code behind the check of hashes.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Write};

use pop_dag::unixfs::{self, Entry, FileReader, Listing};
use pop_dag::{Block, BlockSource, Buf, Cid, Codec, Memory, Scope, SourceError, What, identity, links, walk};
use pop_units::Bytes;

use super::car;

/// Files are read up to here: what nodes claim about their size has no limit.
const READ: usize = 4 << 10;
/// Deepest chain of nodes that is read for the next byte of a file.
const DEPTH: usize = 64;

/// Walks, lists and reads a DAG.
///
/// # Panics
/// A block is visited twice, a listing is longer than its blocks, two ways to the same thing lead to different
/// ones, or a file is not the sum of its ranges.
pub(crate) fn check(bytes: &[u8]) {
    let dag = Dag::of(bytes);
    let Some(root) = dag.root else { return };
    let names = check_listing(&root, &dag);
    check_file(&root, &dag);
    let _ = unixfs::symlink_target(&root, &dag);
    let mut paths = vec![Vec::new(), vec!["missing".to_owned()]];
    for name in names.into_iter().take(4) {
        paths.push(vec![name.clone(), "index.html".to_owned()]);
        paths.push(vec![name]);
    }
    for path in paths {
        for what in [What::Block, What::Entity, What::All] {
            check_walk(&root, &Scope { path: path.clone(), what }, &dag);
        }
        if let Ok(found) = unixfs::resolve(&root, &path, &dag) {
            check_listing(&found.cid, &dag);
            check_file(&found.cid, &dag);
        }
    }
}

/// The blocks of a case.
struct Dag {
    root: Option<Cid>,
    blocks: Memory,
    /// Links of all blocks together.
    links: usize,
    reads: Cell<usize>,
    /// A block that is said to be missing.
    hidden: Option<Cid>,
}

impl Dag {
    fn of(bytes: &[u8]) -> Self {
        let mut at = car::start(bytes).unwrap_or(0);
        let mut sections = Vec::new();
        while let Some((start, end)) = car::section(bytes, at)
            && sections.len() < 256
        {
            let mut data = &bytes[start..end];
            at = end;
            let Ok(cid) = Cid::read_bytes(&mut data) else { continue };
            sections.push((cid, data.to_vec()));
        }
        let mut dag = Self { root: None, blocks: Memory::new(), links: 0, reads: Cell::new(0), hidden: None };
        let mut renamed: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for (old, mut data) in sections.into_iter().rev() {
            renamed.iter().for_each(|(old, new)| replace(&mut data, old, new));
            let codec = Codec::from_code(old.codec()).unwrap_or(Codec::Raw);
            let block = Block::of(codec, data.into());
            // The digest alone is put in, so that links keep the codec and version that they have.
            renamed.push((old.hash().digest().to_vec(), block.cid().hash().digest().to_vec()));
            dag.links += count_links(block.data());
            dag.hidden = dag.root;
            dag.root = Some(*block.cid());
            dag.blocks.insert(block);
        }
        dag
    }
}

/// Returns the links of a block in whatever codec, with those of the blocks that its links carry in themselves.
fn count_links(data: &[u8]) -> usize {
    let count = |codec: Codec| {
        let cid = Cid::new_v1(codec.code(), *Block::of(codec, Buf::new()).cid().hash());
        let found = links(&cid, data).unwrap_or_default();
        found.iter().map(|cid| 1 + identity(cid).map_or(0, count_links)).sum::<usize>()
    };
    count(Codec::DagPb) + count(Codec::DagCbor)
}

impl BlockSource for Dag {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        self.reads.set(self.reads.get() + 1);
        self.blocks.block(cid)
    }
}

/// The same without one block.
struct Gap<'a>(&'a Dag);

impl BlockSource for Gap<'_> {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        if self.0.hidden.is_some_and(|hidden| hidden.hash() == cid.hash()) {
            return Ok(None);
        }
        self.0.block(cid)
    }
}

fn replace(data: &mut [u8], old: &[u8], new: &[u8]) {
    let len = old.len();
    // Digests of other lengths, and those that carry their data, stay as they are.
    if len != new.len() {
        return;
    }
    let mut at = 0;
    while let Some(found) = data[at..].windows(len).position(|window| window == old) {
        data[at + found..at + found + len].copy_from_slice(new);
        at += found + len;
    }
}

fn check_walk(root: &Cid, scope: &Scope, dag: &Dag) {
    let (visits, result) = walk_over(root, scope, dag, false);
    let (again, _) = walk_over(root, scope, dag, true);
    if result {
        assert_eq!(visits, again, "a walk over all blocks passes over some");
    }
    let (partial, _) = walk_over(root, scope, &Gap(dag), true);
    assert!(partial.iter().all(|cid| again.contains(cid)) || !result, "fewer blocks lead further");
    let distinct: HashSet<_> = visits.iter().map(|cid| (cid.codec(), cid.hash().to_bytes())).collect();
    assert_eq!(distinct.len(), visits.len(), "a block is visited twice");
}

fn walk_over(root: &Cid, scope: &Scope, source: &dyn BlockSource, partial: bool) -> (Vec<Cid>, bool) {
    let mut visits = Vec::new();
    let mut visit = |cid: &Cid, _: &Buf| {
        visits.push(*cid);
        Ok(())
    };
    let result = if partial {
        walk::run_partial(*root, scope, source, &mut visit, &mut |_| ())
    } else {
        walk::run(*root, scope, source, &mut visit)
    };
    if let Ok(totals) = &result {
        assert_eq!(usize::try_from(totals.blocks), Ok(visits.len()));
    }
    (visits, result.is_ok())
}

/// Lists a directory and returns the names in it.
fn check_listing(dir: &Cid, dag: &Dag) -> Vec<String> {
    let Ok(listing) = Listing::open(dir, dag) else {
        assert!(unixfs::list(dir, dag).is_err(), "two listings differ");
        return Vec::new();
    };
    let mut entries: Vec<Entry> = Vec::new();
    let mut whole = true;
    for entry in listing {
        whole &= entry.is_ok();
        entries.extend(entry);
    }
    assert!(entries.len() <= dag.links, "{} entries of {} links", entries.len(), dag.links);
    let names: HashSet<_> = entries.iter().map(|entry| &entry.name).collect();
    assert_eq!(names.len(), entries.len(), "a name is listed twice");
    assert_eq!(unixfs::list(dir, dag).is_ok(), whole, "two listings differ");
    if whole {
        for entry in entries.iter().take(32) {
            let found = unixfs::lookup(dir, &entry.name, dag).expect("what is listed is found");
            assert_eq!(found.as_ref(), Some(entry));
            check_way(dir, entry, dag);
        }
    }
    entries.into_iter().map(|entry| entry.name).collect()
}

/// A path leads where the listing says.
fn check_way(dir: &Cid, entry: &Entry, dag: &Dag) {
    let scope = Scope { path: vec![entry.name.clone()], what: What::Block };
    let totals = walk::run(*dir, &scope, dag, &mut |_, _| Ok(()));
    if let Ok(totals) = totals {
        assert_eq!(totals.target, Some(entry.cid), "a path and a listing disagree about {:?}", entry.name);
    }
}

fn check_file(file: &Cid, dag: &Dag) {
    let Ok(mut reader) = FileReader::open(file, dag) else { return };
    let size = reader.size();
    dag.reads.set(0);
    let mut content = Limited(Vec::new());
    let whole = unixfs::write_file(file, dag, &mut content, &mut |_| ());
    let content = content.0;
    assert!(dag.reads.get() <= (content.len() + 1) * (DEPTH + 1), "{} blocks are read", dag.reads.get());
    if let Ok(written) = whole {
        assert_eq!((written, Bytes::of(&content)), (size, size));
    }
    // Whatever comes after, the bytes that were read are at their place.
    let len = content.len();
    for (from, to) in [(0, 1), (len / 3, len / 2), (len / 2, len), (len.saturating_sub(1), len)] {
        let mut part = Limited(Vec::new());
        let read = unixfs::read_range(file, offset(from)..offset(to), dag, &mut part, &mut |_| ());
        assert!(read.is_ok() || from >= to || to > len, "a range inside is not read: {read:?}");
        if to <= len {
            assert!(from >= to || part.0 == content[from..to], "a range differs");
        }
    }
    reader.seek_to(Bytes::new(offset(len / 2)));
    let mut at = len / 2;
    while let Ok(piece) = reader.piece(7)
        && !piece.is_empty()
        && at < len
    {
        let known = piece.len().min(len - at);
        assert_eq!(piece[..known], content[at..at + known], "a piece differs");
        at += known;
    }
}

fn offset(at: usize) -> u64 {
    u64::try_from(at).unwrap_or(u64::MAX)
}

/// Takes [`READ`] bytes.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = READ - self.0.len();
        if room == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let taken = &bytes[..bytes.len().min(room)];
        self.0.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
