//! From a path to what it leads to.

use pop_dag::Cid;
use pop_dag::unixfs::EntryKind;
use pop_units::Bytes;

use crate::asked::Target;
use crate::refusal::Refusal;
use crate::view::View;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The roots of the path's segments, from the first root to the terminal; shards of directories are none.
    pub(crate) roots: Vec<Cid>,
    /// The terminal block.
    pub(crate) cid: Cid,
    pub(crate) kind: Kind,
    /// Segments that lead on inside the terminal block, which has no link there.
    pub(crate) rest: Vec<String>,
}

/// What the terminal block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A UnixFS file or raw block of so many bytes.
    File(Bytes),
    /// A directory, in one block or sharded, or a transaction's root.
    Directory,
    Symlink,
    /// A block of dag-cbor, dag-json, cbor or json.
    Value,
    /// A block of a codec that is not known here.
    Other,
}

/// Follows a path over verified blocks. Symlinks are not followed.
pub(crate) async fn find(view: &View, target: &Target) -> Result<Found, Refusal> {
    let _ = (view, target);
    Err(Refusal::new(http::StatusCode::NOT_IMPLEMENTED, "not built yet"))
}
