//! What must hold when a dag-pb node is read, whatever its bytes.

use multihash_codetable::{Code, MultihashDigest};
use pop_dag::codec::pb::{self, Node};
use pop_dag::{Cid, Codec, links};

/// Reads a node and writes it anew.
///
/// # Panics
/// The node changes, or its bytes do although its links stand before its data.
pub(crate) fn check(bytes: &[u8]) {
    let cid = Cid::new_v1(Codec::DagPb.code(), Code::Sha2_256.digest(bytes));
    let found = links(&cid, bytes);
    let Ok(node) = Node::decode(bytes) else {
        assert!(found.is_err(), "links of what is no node");
        return;
    };
    assert_eq!(found, Ok(node.links.iter().map(|link| link.cid).collect()));
    let encoded = node.encode();
    assert_eq!(Node::decode(&encoded).as_ref(), Ok(&node));
    let value = pb::decode(bytes).expect("a node is a value");
    assert_eq!(pb::encode(&value).as_ref(), Ok(&encoded));
    // Old writers put the data first; nothing else about a node can be written in two ways.
    let is_old = node.data.is_some() && !node.links.is_empty() && bytes.first() == Some(&0x0a);
    if is_old {
        assert_eq!(encoded.len(), bytes.len());
    } else {
        assert_eq!(encoded, bytes);
    }
}
