//! The trickle layout: leaves first, then subtrees that grow deeper.
//!
//! A node holds as many leaves as it may have links, then four subtrees of depth one, four of depth two, and
//! so on up to below its own depth; the root has no limit. So the form of Kubo's `--trickle` is, whose CIDs
//! this gives. A node has more links than the profile says, by four for each level: a few dozen at most.

use super::file::Writer;
use super::{Added, ImportError};

/// How many subtrees of one depth a node has.
const REPEAT: usize = 4;

/// Makes the file of all that the writer has.
pub(super) fn write(writer: &mut Writer<'_>) -> Result<Added, ImportError> {
    fill(writer, None)
}

/// Makes one node and all below it. Depth grows with the logarithm of the content, and so does recursion.
fn fill(writer: &mut Writer<'_>, depth: Option<u32>) -> Result<Added, ImportError> {
    let mut children = Vec::new();
    while children.len() < writer.max_links() {
        match writer.leaf()? {
            Some(leaf) => children.push(leaf),
            None => return writer.node(&children),
        }
    }
    let mut below = 1;
    while depth.is_none_or(|depth| below < depth) && !writer.is_done()? {
        for _ in 0..REPEAT {
            if writer.is_done()? {
                break;
            }
            children.push(fill(writer, Some(below))?);
        }
        below += 1;
    }
    writer.node(&children)
}
