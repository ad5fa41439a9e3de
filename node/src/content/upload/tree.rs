//! The files of an upload by their names, and the directories that the names imply.

use std::collections::BTreeMap;

use pop_dag::BlockSink;
use pop_dag::unixfs::{Added, Entry, ImportError, MAX_TREE_DEPTH, Profile, directory};
use pop_exchange::tx::{KeyError, check_key};
use pop_units::Bytes;

use super::Named;

/// Files and directories of one upload.
const NODES: usize = 20_000;

/// Why a name is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    /// A part of it cannot be a file's name.
    #[error(transparent)]
    Part(#[from] KeyError),
    /// It stands already, for a file or a directory.
    #[error("two files are named {name:?}")]
    Twice {
        /// The name.
        name: String,
    },
    /// It lies too deep.
    #[error("{name:?} lies deeper than {MAX_TREE_DEPTH} directories")]
    TooDeep {
        /// The name.
        name: String,
    },
    /// There are too many.
    #[error("more than {NODES} files and directories")]
    TooMany,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tree {
    top: BTreeMap<String, Node>,
    nodes: usize,
}

#[derive(Debug)]
enum Node {
    File(Added),
    Directory(BTreeMap<String, Node>),
}

impl Tree {
    /// Checks that a file of this name can be put.
    pub(super) fn check(&self, name: &str) -> Result<(), NameError> {
        let parts: Vec<_> = name.split('/').collect();
        parts.iter().try_for_each(|part| check_key(part))?;
        if parts.len() > usize::try_from(MAX_TREE_DEPTH).unwrap_or(usize::MAX) {
            return Err(NameError::TooDeep { name: name.to_owned() });
        }
        let mut here = &self.top;
        for (index, part) in parts.iter().enumerate() {
            match here.get(*part) {
                None if self.nodes.saturating_add(parts.len() - index) > NODES => {
                    return Err(NameError::TooMany);
                }
                None => return Ok(()),
                Some(Node::Directory(below)) => here = below,
                Some(Node::File(_)) => break,
            }
        }
        Err(NameError::Twice { name: name.to_owned() })
    }

    /// Puts a file.
    pub(super) fn put(&mut self, name: &str, added: Added) -> Result<(), NameError> {
        self.check(name)?;
        let mut here = &mut self.top;
        let mut rest = name;
        while let Some((part, below)) = rest.split_once('/') {
            let nodes = &mut self.nodes;
            let node = here.entry(part.to_owned()).or_insert_with(|| {
                *nodes = nodes.saturating_add(1);
                Node::Directory(BTreeMap::new())
            });
            match node {
                Node::Directory(entries) => here = entries,
                Node::File(_) => return Err(NameError::Twice { name: name.to_owned() }),
            }
            rest = below;
        }
        here.insert(rest.to_owned(), Node::File(added));
        self.nodes = self.nodes.saturating_add(1);
        Ok(())
    }

    /// Writes every directory below the root and returns what stands under it.
    pub(super) fn build(
        self,
        profile: &Profile,
        sink: &mut dyn BlockSink,
    ) -> Result<Vec<Named>, ImportError> {
        entries(self.top, profile, sink)
    }
}

fn entries(
    nodes: BTreeMap<String, Node>,
    profile: &Profile,
    sink: &mut dyn BlockSink,
) -> Result<Vec<Named>, ImportError> {
    let mut named = Vec::with_capacity(nodes.len());
    for (key, node) in nodes {
        let added = match node {
            Node::File(added) => added,
            // As deep as names may be.
            Node::Directory(below) => over(entries(below, profile, sink)?, profile, sink)?,
        };
        named.push(Named { key, added });
    }
    Ok(named)
}

/// Writes the directory over `named`.
fn over(named: Vec<Named>, profile: &Profile, sink: &mut dyn BlockSink) -> Result<Added, ImportError> {
    let size = named.iter().try_fold(Bytes::ZERO, |sum, named| sum.checked_add(named.added.size))?;
    let link = |named: Named| Entry { name: named.key, cid: named.added.cid, tsize: named.added.tsize };
    let (block, tsize) = directory(named.into_iter().map(link).collect(), profile, sink)?;
    Ok(Added { cid: *block.cid(), size, tsize })
}
