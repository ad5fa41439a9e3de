//! The texts in which wallets hand keys around.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::SecretKey;

/// Longest text that is read as a key; the hex form of lotus has about 170 characters.
const MAX_TEXT: usize = 1024;

/// Text that is no key we can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyTextError {
    /// None of the known forms.
    #[error("text is no key; want lotus hex, lotus JSON, 0x hex or base64 of 32 bytes")]
    Form,
    /// A key of another kind.
    #[error("only secp256k1 keys can be used")]
    Kind,
    /// 32 bytes that are no key of the curve.
    #[error("bytes are no key of the curve")]
    Value,
}

/// Reads a key: lotus' hex of JSON, that JSON itself, `0x` and 64 hex digits, or base64 of the 32 bytes.
///
/// # Errors
/// The text is none of these, or no secp256k1 key.
pub(crate) fn parse(text: &str) -> Result<SecretKey, KeyTextError> {
    let text = text.trim();
    if text.len() > MAX_TEXT {
        return Err(KeyTextError::Form);
    }
    if text.starts_with('{') {
        return of_json(text.as_bytes());
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return of_scalar(hex::decode(digits).map(Zeroizing::new).ok());
    }
    if let Ok(bytes) = hex::decode(text).map(Zeroizing::new) {
        return match bytes.len() {
            32 => of_scalar(Some(bytes)),
            _ => of_json(&bytes),
        };
    }
    of_scalar(BASE64.decode(text).map(Zeroizing::new).ok())
}

/// Writes the hex of JSON that `lotus wallet import` reads.
pub(crate) fn write(key: &SecretKey) -> Zeroizing<String> {
    let scalar = Zeroizing::new(BASE64.encode(*key.to_bytes()));
    let json = Zeroizing::new(json!({ "Type": "secp256k1", "PrivateKey": *scalar }).to_string());
    Zeroizing::new(hex::encode(json.as_bytes()))
}

fn of_json(bytes: &[u8]) -> Result<SecretKey, KeyTextError> {
    let json: Value = serde_json::from_slice(bytes).map_err(|_| KeyTextError::Form)?;
    // Old lotus wrote the kind as a number; 1 is secp256k1.
    let secp = match json.get("Type").ok_or(KeyTextError::Form)? {
        Value::String(kind) => kind == "secp256k1",
        Value::Number(kind) => kind.as_u64() == Some(1),
        _ => return Err(KeyTextError::Form),
    };
    if !secp {
        return Err(KeyTextError::Kind);
    }
    let scalar = json.get("PrivateKey").and_then(Value::as_str).ok_or(KeyTextError::Form)?;
    of_scalar(BASE64.decode(scalar).map(Zeroizing::new).ok())
}

fn of_scalar(bytes: Option<Zeroizing<Vec<u8>>>) -> Result<SecretKey, KeyTextError> {
    let bytes = bytes.filter(|bytes| bytes.len() == 32).ok_or(KeyTextError::Form)?;
    SecretKey::from_bytes(&bytes).ok_or(KeyTextError::Value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_form_is_read() {
        let key = SecretKey::from_bytes(&[0x42; 32]).unwrap();
        let base64 = BASE64.encode([0x42; 32]);
        let json = format!(r#"{{"Type":"secp256k1","PrivateKey":"{base64}"}}"#);
        let old = format!(r#"{{"Type":1,"PrivateKey":"{base64}"}}"#);
        let digits = hex::encode([0x42; 32]);
        let forms = [
            hex::encode(&json),
            json,
            old,
            base64,
            digits.clone(),
            format!("0x{digits}"),
            write(&key).to_string(),
        ];
        for form in forms {
            assert_eq!(parse(&format!(" {form}\n")).unwrap().address(), key.address(), "{form}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_by_name() {
        let bls = r#"{"Type":"bls","PrivateKey":"QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="}"#;
        assert_eq!(parse(bls).unwrap_err(), KeyTextError::Kind);
        assert_eq!(parse(&BASE64.encode([0; 32])).unwrap_err(), KeyTextError::Value);
        for text in ["", "hello", "{", "{}", "0x12", "abcd", &"a".repeat(5000)] {
            assert_eq!(parse(text).unwrap_err(), KeyTextError::Form, "{text}");
        }
    }
}
