//! Writing dag-json in its one canonical form.

use cid::Cid;
use data_encoding::BASE64_NOPAD;

use crate::codec::MAX_NESTING;
use crate::codec::value::{EncodeError, Map, Value};

/// Returns the bytes of a value: keys sorted by their bytes, no space anywhere, and what the specification
/// leaves open as RFC 8785 has it: the shortest digits of a float, the shortest escapes of a text. A float
/// without a fraction keeps a point, because a number without one is an integer.
///
/// # Errors
/// A float is not finite, nesting is too deep, or a map uses the reserved key.
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
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Unsigned(_) | Value::Negative(_) => {
            out.extend_from_slice(value.as_integer().unwrap_or_default().to_string().as_bytes());
        }
        Value::Float(number) if !number.is_finite() => return Err(EncodeError::NotFinite),
        Value::Float(number) => put_float(out, *number),
        Value::Text(text) => put_text(out, text),
        Value::Bytes(bytes) => put_bytes(out, bytes),
        Value::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                put(out, item, depth + 1)?;
            }
            out.push(b']');
        }
        Value::Map(map) => put_map(out, map, depth)?,
        Value::Link(cid) => put_link(out, cid),
    }
    Ok(())
}

fn put_map(out: &mut Vec<u8>, map: &Map, depth: u32) -> Result<(), EncodeError> {
    let entries = sorted(map);
    if is_reserved(&entries) {
        return Err(EncodeError::Reserved);
    }
    out.push(b'{');
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_text(out, key);
        out.push(b':');
        put(out, value, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

fn sorted(map: &Map) -> Vec<(&str, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}

/// Returns true for a map that would be read as a link or as bytes, or as a broken form of them.
fn is_reserved(entries: &[(&str, &Value)]) -> bool {
    match entries.first() {
        Some(("/", Value::Text(_))) => true,
        Some(("/", Value::Map(inner))) => matches!(sorted(inner).first(), Some(("bytes", Value::Text(_)))),
        _ => false,
    }
}

fn put_link(out: &mut Vec<u8>, cid: &Cid) {
    out.extend_from_slice(b"{\"/\":\"");
    out.extend_from_slice(cid.to_string().as_bytes());
    out.extend_from_slice(b"\"}");
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"{\"/\":{\"bytes\":\"");
    out.extend_from_slice(BASE64_NOPAD.encode(bytes).as_bytes());
    out.extend_from_slice(b"\"}}");
}

fn put_float(out: &mut Vec<u8>, number: f64) {
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let text = match exponent.parse::<i32>() {
        Ok(-6..=20) => {
            let plain = number.to_string();
            if plain.contains('.') { plain } else { plain + ".0" }
        }
        Ok(0..) => format!("{digits}e+{exponent}"),
        _ => scientific,
    };
    out.extend_from_slice(text.as_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
