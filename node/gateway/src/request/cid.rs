//! CIDs as they stand in URLs.

use pop_dag::{Base, Cid};

use crate::refusal::Refusal;

/// The longest text that is looked at: a digest of 64 bytes in the widest base.
const MAX_TEXT: usize = 1024;
/// The longest label of a host name (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;
/// The code of keys that names of IPNS are made of.
const LIBP2P_KEY: u64 = 0x72;

/// Reads a CID in any base.
///
/// # Errors
/// The text is no CID, says what it is.
pub(crate) fn parse(text: &str) -> Result<Cid, String> {
    let first = text.chars().next().unwrap_or_default();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+=".contains(&byte));
    if text.len() > MAX_TEXT || !is_plain {
        return Err("it is too long, or has characters that no CID has".into());
    }
    let cid = Cid::try_from(text).map_err(|error| error.to_string())?;
    // The parser puts up with bytes behind the digest; then several texts would name one CID.
    let again = match is_v0(&cid) {
        true => Ok(cid.to_string()),
        false => Base::from_code(first)
            .map_err(|_| ())
            .and_then(|base| cid.to_string_of_base(base).map_err(|_| ())),
    };
    match again {
        Ok(again) if again.len() == text.len() => Ok(cid),
        _ => Err("there are bytes behind its digest".into()),
    }
}

/// Returns the one label that a root has in host names: of version 1, in base32, or in base36 where that is too long.
///
/// # Errors
/// The CID does not fit a label.
pub(crate) fn label(root: &Cid) -> Result<String, Refusal> {
    let too_long = || {
        Refusal::bad(format!("CID incompatible with DNS label length limit of {MAX_LABEL}: {root}"))
            .hint("ask for it by path: /ipfs/CID on a host without subdomains")
    };
    let root = root.into_v1().map_err(|_| too_long())?;
    [Base::Base32Lower, Base::Base36Lower]
        .into_iter()
        .filter_map(|base| root.to_string_of_base(base).ok())
        .find(|text| text.len() <= MAX_LABEL)
        .ok_or_else(too_long)
}

/// Returns whether a text can be a name of IPNS: a key, or a domain.
pub(crate) fn is_ipns_name(text: &str) -> bool {
    is_key(text) || is_domain(text)
}

/// Returns whether a text can be a name of IPNS in a host name, where the dots of a domain are dashes.
pub(crate) fn is_ipns_label(text: &str) -> bool {
    is_key(text) || (is_domain_label(text) && text.contains('-'))
}

fn is_key(text: &str) -> bool {
    match parse(text) {
        Ok(cid) => cid.codec() == LIBP2P_KEY || is_v0(&cid),
        // A peer id without a base is base58; its multihash is read as one behind a CID's head.
        Err(_) => {
            text.starts_with("12D3Koo") && text.len() == 52 && text.bytes().all(|b| b.is_ascii_alphanumeric())
        }
    }
}

fn is_domain(text: &str) -> bool {
    text.len() <= 253 && text.contains('.') && text.trim_end_matches('.').split('.').all(is_domain_label)
}

fn is_domain_label(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    (1..=MAX_LABEL).contains(&text.len()) && is_plain && !text.starts_with('-') && !text.ends_with('-')
}

/// Returns whether a CID is of version 0, which has no base in front and is the only one that is not its own version 1.
fn is_v0(cid: &Cid) -> bool {
    cid.into_v1().is_ok_and(|v1| v1 != *cid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V0: &str = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR";
    const V1: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";

    #[test]
    fn cids_are_read_in_every_base() {
        let root = parse(V1).unwrap();
        assert_eq!(parse(V0).unwrap().into_v1().unwrap(), root);
        let bases = [
            Base::Base2,
            Base::Base8,
            Base::Base10,
            Base::Base16Lower,
            Base::Base16Upper,
            Base::Base32Upper,
            Base::Base36Lower,
            Base::Base36Upper,
            Base::Base58Btc,
            Base::Base64,
            Base::Base64Url,
        ];
        for base in bases {
            let text = root.to_string_of_base(base).unwrap();
            // A slash cannot stand in a segment that names a root.
            let expected = (!text.contains('/')).then_some(root);
            assert_eq!(parse(&text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_cid_is_refused() {
        let bytes = parse(V1).unwrap().to_bytes();
        let behind: Vec<u8> = bytes.iter().copied().chain([0, 1, 2]).collect();
        let identity = |size: u8| {
            let head = [1, 0x55, 0, size];
            Base::Base58Btc.encode(head.into_iter().chain(vec![1; usize::from(size)]).collect::<Vec<u8>>())
        };
        let cases = [
            String::new(),
            "Q".into(),
            "b".into(),
            "foo".into(),
            format!("/ipfs/{V0}"),
            format!("x/ipfs/{V0}"),
            format!("{V0}a"),
            V0[..45].into(),
            V1[..58].into(),
            format!("b{}", "a".repeat(2000)),
            format!("z{}", Base::Base58Btc.encode(&behind)),
            format!("f{}", Base::Base16Lower.encode(&behind)),
            format!("z{}", identity(129)),
            "\u{1f680}\u{1fa90}".into(),
            "bafkqaaa\0".into(),
            "bafkqaaa ".into(),
        ];
        for text in cases {
            assert!(parse(&text).is_err(), "{text}");
        }
        assert!(parse("bafkqaaa").is_ok());
        assert!(parse(&format!("z{}", identity(64))).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "\\PC{0,80}") {
            let _ = parse(&text);
            let _ = (is_ipns_name(&text), is_ipns_label(&text));
        }

        #[test]
        fn one_text_names_one_cid(text in "[bfkzQ][a-z0-9]{6,60}") {
            if let Ok(cid) = parse(&text) {
                let again = match cid.to_string_of_base(Base::from_code(text.chars().next().unwrap()).unwrap_or(Base::Base58Btc)) {
                    Ok(again) => again,
                    Err(_) => cid.to_string(),
                };
                prop_assert_eq!(again, text);
            }
        }
    }
}
