//! dag-pb as a value: a map of the links and the data.

use cid::Cid;

use super::{Fault, Link, Node};
use crate::codec::value::{EncodeError, Map, Value};

/// Reads a node as a value, links in the order they have.
///
/// # Errors
/// The bytes break a rule.
pub fn decode(data: &[u8]) -> Result<Value, Fault> {
    let node = Node::decode(data)?;
    let links = node.links.iter().map(|link| {
        let mut entries = vec![("Hash".into(), Value::Link(Box::new(link.cid)))];
        entries.extend(link.name.map(|name| ("Name".into(), Value::Text(name.into()))));
        entries.extend(link.tsize.map(|size| ("Tsize".into(), Value::Unsigned(size))));
        Value::Map(Map::of_sorted(entries))
    });
    let mut entries: Vec<(Box<str>, Value)> = Vec::with_capacity(2);
    entries.extend(node.data.map(|data| ("Data".into(), Value::Bytes(data.into()))));
    entries.push(("Links".into(), Value::List(links.collect())));
    Ok(Value::Map(Map::of_sorted(entries)))
}

/// Returns the bytes of a node: its links in the order they have, then its data.
///
/// # Errors
/// The value has not the shape of a node.
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    let Value::Map(map) = value else { return Err(EncodeError::Shape("a node is a map")) };
    let mut node = Node::default();
    let mut has_links = false;
    for (key, value) in map.iter() {
        match (key, value) {
            ("Data", Value::Bytes(data)) => node.data = Some(data),
            ("Links", Value::List(links)) => {
                has_links = true;
                node.links = links.iter().map(link).collect::<Result<_, _>>()?;
            }
            _ => return Err(EncodeError::Shape("a node has Data as bytes and Links as a list")),
        }
    }
    if has_links { Ok(node.encode()) } else { Err(EncodeError::Shape("a node has Links")) }
}

fn link(value: &Value) -> Result<Link<'_>, EncodeError> {
    const SHAPE: EncodeError = EncodeError::Shape("a link has Hash, Name as text and Tsize as a size");
    let Value::Map(map) = value else { return Err(EncodeError::Shape("a link is a map")) };
    let (mut cid, mut name, mut tsize): (Option<Cid>, _, _) = (None, None, None);
    for (key, value) in map.iter() {
        match (key, value) {
            ("Hash", Value::Link(found)) => cid = Some(**found),
            ("Name", Value::Text(text)) => name = Some(text.as_ref()),
            ("Tsize", Value::Unsigned(size)) => tsize = Some(*size),
            _ => return Err(SHAPE),
        }
    }
    Ok(Link { cid: cid.ok_or(SHAPE)?, name, tsize })
}
