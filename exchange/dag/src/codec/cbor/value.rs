//! dag-cbor values, strictly: what is decoded is encoded to the same bytes.

use super::{Fault, Scan};
use crate::codec::MAX_NESTING;
use crate::codec::len_of;
use crate::codec::value::{EncodeError, Map, Value};

/// Reads a value. Unlike [`super::links`] it wants text to be UTF-8 everywhere.
///
/// # Errors
/// The bytes are no strict dag-cbor value.
pub fn decode(data: &[u8]) -> Result<Value, Fault> {
    // The first pass holds nothing. After it, counts are true, and memory can be asked for by them.
    Scan::over(data, true).whole(&mut |_| ())?;
    build(&mut Scan::over(data, true))
}

fn build(scan: &mut Scan<'_>) -> Result<Value, Fault> {
    let (major, argument) = scan.head()?;
    let count = || usize::try_from(argument).unwrap_or(usize::MAX);
    Ok(match major {
        0 => Value::Unsigned(argument),
        1 => Value::Negative(argument),
        2 => Value::Bytes(scan.take(argument)?.into()),
        3 => Value::Text(scan.text(argument)?.into()),
        4 => {
            let mut items = Vec::with_capacity(count());
            for _ in 0..argument {
                items.push(build(scan)?);
            }
            Value::List(items.into())
        }
        5 => {
            let mut entries = Vec::with_capacity(count());
            for _ in 0..argument {
                entries.push((scan.key()?.into(), build(scan)?));
            }
            Value::Map(Map::of_sorted(entries))
        }
        6 => Value::Link(Box::new(scan.link()?)),
        _ => match argument {
            20 => Value::Bool(false),
            21 => Value::Bool(true),
            22 => Value::Null,
            bits => Value::Float(f64::from_bits(bits)),
        },
    })
}

/// Returns the bytes of a value.
///
/// # Errors
/// A float is not finite, or nesting is too deep.
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    put(&mut out, value, 0)?;
    Ok(out)
}

fn put(out: &mut Vec<u8>, value: &Value, depth: u32) -> Result<(), EncodeError> {
    if depth > MAX_NESTING {
        return Err(EncodeError::Depth);
    }
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(value) => out.push(if *value { 0xf5 } else { 0xf4 }),
        Value::Unsigned(number) => put_head(out, 0, *number),
        Value::Negative(below) => put_head(out, 1, *below),
        Value::Float(number) if !number.is_finite() => return Err(EncodeError::NotFinite),
        Value::Float(number) => {
            // Equal values have one encoding: negative zero is written as zero.
            let number = if *number == 0.0 { 0.0 } else { *number };
            out.push(0xfb);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Text(text) => put_text(out, text),
        Value::Bytes(bytes) => put_bytes(out, bytes),
        Value::List(items) => {
            put_head(out, 4, len_of(items.len()));
            items.iter().try_for_each(|item| put(out, item, depth + 1))?;
        }
        Value::Map(map) => {
            put_head(out, 5, len_of(map.len()));
            for (key, value) in map.iter() {
                put_text(out, key);
                put(out, value, depth + 1)?;
            }
        }
        Value::Link(cid) => {
            out.extend_from_slice(&[0xd8, 42]);
            let bytes = cid.to_bytes();
            put_head(out, 2, len_of(bytes.len() + 1));
            out.push(0);
            out.extend_from_slice(&bytes);
        }
    }
    Ok(())
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_head(out, 3, len_of(text.len()));
    out.extend_from_slice(text.as_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_head(out, 2, len_of(bytes.len()));
    out.extend_from_slice(bytes);
}

/// Writes a major type and its argument in the shortest form.
fn put_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    if let Ok(byte) = u8::try_from(argument) {
        match byte {
            0..24 => out.push(major | byte),
            _ => out.extend_from_slice(&[major | 24, byte]),
        }
    } else if let Ok(short) = u16::try_from(argument) {
        out.push(major | 25);
        out.extend_from_slice(&short.to_be_bytes());
    } else if let Ok(word) = u32::try_from(argument) {
        out.push(major | 26);
        out.extend_from_slice(&word.to_be_bytes());
    } else {
        out.push(major | 27);
        out.extend_from_slice(&argument.to_be_bytes());
    }
}
