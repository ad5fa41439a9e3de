use super::*;
use crate::codec::EncodeError;

fn canonical(text: &str) -> Result<Value, Fault> {
    let value = decode(text.as_bytes())?;
    assert_eq!(encode(&value).unwrap(), text.as_bytes());
    Ok(value)
}

const CID: &str = "bafkreifw7plhl6mofk6sfvhnfh64qmkq73oeqwl6sloru6rehaoujituke";

#[test]
fn one_form_is_canonical_and_others_are_read() {
    let table = [
        ("[1, 2]", "[1,2]"),
        (" [1,2]\n", "[1,2]"),
        (r#"{"b":1,"a":2}"#, r#"{"a":2,"b":1}"#),
        (r#"{"aa":1,"b":2,"é":3}"#, r#"{"aa":1,"b":2,"é":3}"#),
        (r#""\u0041\/\u00e9\ud834\udd1e\u2028""#, "\"A/é\u{1d11e}\u{2028}\""),
        (r#""\u0008\u0009\u000a\u000c\u000d\u001F\u007f""#, "\"\\b\\t\\n\\f\\r\\u001f\u{7f}\""),
        (r#""\"\\""#, r#""\"\\""#),
        ("1.50", "1.5"),
        ("1e2", "100.0"),
        ("1E+2", "100.0"),
        ("-0.0", "-0.0"),
        ("-0", "0"),
        ("0e0", "0.0"),
        ("1e20", "100000000000000000000.0"),
        ("100000000000000000000.0e1", "1e+21"),
        ("0.000001", "0.000001"),
        ("0.0000001", "1e-7"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("5e-324", "5e-324"),
        ("18446744073709551615", "18446744073709551615"),
        ("-18446744073709551616", "-18446744073709551616"),
        ("000", ""),
        (r#"{ "/" : { "bytes" : "AQID" } }"#, r#"{"/":{"bytes":"AQID"}}"#),
        (r#"{"\u002f":{"\u0062ytes":""}}"#, r#"{"/":{"bytes":""}}"#),
    ];
    for (text, expected) in table {
        if expected.is_empty() {
            assert!(decode_any(text.as_bytes()).is_err(), "{text}");
            continue;
        }
        let value = decode_any(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(encode(&value).unwrap()).unwrap(), expected, "{text}");
        assert_eq!(canonical(expected), Ok(value));
        if text != expected {
            assert!(matches!(decode(text.as_bytes()), Err(Fault::NotCanonical(_))), "{text}");
        }
    }
    assert_eq!(decode(b"[1,2 ]"), Err(Fault::NotCanonical(4)));
}

#[test]
fn what_is_no_json_is_refused_by_byte() {
    let table: [(&[u8], Fault); 38] = [
        (b"", Fault::Truncated(0)),
        (b" ", Fault::Truncated(1)),
        (b"[", Fault::Truncated(1)),
        (b"[1,", Fault::Truncated(3)),
        (b"[1,]", Fault::Syntax(3)),
        (b"[,1]", Fault::Syntax(1)),
        (b"[1 2]", Fault::Syntax(3)),
        (b"[1}", Fault::Syntax(2)),
        (b"{\"a\":1,}", Fault::Syntax(7)),
        (b"{\"a\"}", Fault::Syntax(4)),
        (b"{\"a\" 1}", Fault::Syntax(5)),
        (b"{a:1}", Fault::Syntax(1)),
        (b"{1:1}", Fault::Syntax(1)),
        (b"nul", Fault::Truncated(3)),
        (b"nulL", Fault::Syntax(0)),
        (b"true1", Fault::Trailing(4)),
        (b"1 1", Fault::Trailing(2)),
        (b"01", Fault::Trailing(1)),
        (b"1.", Fault::Truncated(2)),
        (b"1.e5", Fault::Syntax(2)),
        (b".5", Fault::Syntax(0)),
        (b"+1", Fault::Syntax(0)),
        (b"-", Fault::Truncated(1)),
        (b"1e", Fault::Truncated(2)),
        (b"NaN", Fault::Syntax(0)),
        (b"1e309", Fault::Number(0)),
        (b"18446744073709551616", Fault::Number(0)),
        (b"-18446744073709551617", Fault::Number(0)),
        (b"[99999999999999999999999999999999999999999999]", Fault::Number(1)),
        (b"\"a", Fault::Truncated(2)),
        (b"\"\n\"", Fault::Text(0)),
        (b"\"\xff\"", Fault::Text(0)),
        (b"\"\\x\"", Fault::Text(0)),
        (b"\"\\u12", Fault::Truncated(5)),
        (b"\"\\u12g4\"", Fault::Text(0)),
        (b"\"\\ud834\"", Fault::Text(0)),
        (b"\"\\udd1e\\ud834\"", Fault::Text(0)),
        (b"\"\\ud834\\u0041\"", Fault::Text(0)),
    ];
    for (text, fault) in table {
        let shown = String::from_utf8_lossy(text);
        assert_eq!(decode_any(text), Err(fault), "{shown}");
        assert_eq!(decode(text), Err(fault), "{shown}");
        assert_eq!(links(text), Err(fault), "{shown}");
    }
}

#[test]
fn the_reserved_key_is_a_link_or_bytes_or_nothing_like_them() {
    let link = format!(r#"{{"/":"{CID}"}}"#);
    assert_eq!(canonical(&link), Ok(Value::Link(Box::new(Cid::try_from(CID).unwrap()))));
    assert_eq!(links(link.as_bytes()), Ok(vec![Cid::try_from(CID).unwrap()]));
    assert_eq!(canonical(r#"{"/":{"bytes":"AQID"}}"#), Ok(Value::Bytes([1, 2, 3].into())));
    let table = [
        (r#"{"/":"foo"}"#.to_owned(), Fault::Link(5)),
        (r#"{"/":""}"#.to_owned(), Fault::Link(5)),
        (format!(r#"{{"/":"/ipfs/{CID}"}}"#), Fault::Link(5)),
        (format!(r#"{{"/":"{}"}}"#, CID.to_uppercase()), Fault::Link(5)),
        (r#"{"/":"zdj7WhuEjrB52m1BisYCtmjH1hSKa7yZ3jEZ9JcXaFRD51wVz"}"#.to_owned(), Fault::Link(5)),
        (format!(r#"{{"/":"z{}"}}"#, "1".repeat(1 << 20)), Fault::Link(5)),
        (format!(r#"{{"/":"{CID}","a":1}}"#), Fault::Reserved(0)),
        (r#"{"/":"foo","bar":"baz"}"#.to_owned(), Fault::Reserved(0)),
        (r#"{"/":{"bytes":"foo","bar":"baz"}}"#.to_owned(), Fault::Reserved(0)),
        (r#"[{"/":{"bytes":"AQID"},"bar":"baz"}]"#.to_owned(), Fault::Reserved(1)),
        (r#"{"/":{"bytes":"AQI="}}"#.to_owned(), Fault::Bytes(14)),
        (r#"{"/":{"bytes":"AQJ"}}"#.to_owned(), Fault::Bytes(14)),
        (r#"{"/":{"bytes":"mAQID!"}}"#.to_owned(), Fault::Bytes(14)),
        (r#"{"/":{"bytes":"A Q"}}"#.to_owned(), Fault::Bytes(14)),
    ];
    for (text, fault) in table {
        let shown = &text[..text.len().min(80)];
        assert_eq!(decode_any(text.as_bytes()), Err(fault), "{shown}");
        assert_eq!(links(text.as_bytes()), Err(fault), "{shown}");
    }
    for text in [
        r#"{"/":true,"bar":"baz"}"#,
        r#"{"/":{"bytes":true},"bar":"baz"}"#,
        r#"{"/":{"bytes":{"/":{"bytes":""}}}}"#,
        r#"{"/":{"abar":"baz","bytes":"foo"}}"#,
        r#"{"/":{"a":1}}"#,
        r#"{"/":{}}"#,
        r#"{"/":[]}"#,
        r#"{"!":1,"/":"foo"}"#,
        r#"{"":"baz","/":{"bytes":"foo"}}"#,
        r#"{"//":"foo"}"#,
        r#"{"bytes":"foo"}"#,
    ] {
        assert!(matches!(canonical(text), Ok(Value::Map(_))), "{text}");
    }
    // Readable as the specification has it, and without a canonical form.
    let late = decode_any(br#"{"bar":"baz","/":"foo"}"#).unwrap();
    assert_eq!(encode(&late), Err(EncodeError::Reserved));
    assert!(decode(br#"{"bar":"baz","/":"foo"}"#).is_err());
}

#[test]
fn keys_stand_once() {
    for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"{"":1,"":1}"#] {
        assert_eq!(decode_any(text.as_bytes()), Err(Fault::Repeated(0)), "{text}");
        assert_eq!(links(text.as_bytes()), Err(Fault::Repeated(0)), "{text}");
    }
    assert_eq!(links(br#"[{"a":1},{"b":{"c":1,"c":2}}]"#), Err(Fault::Repeated(14)));
}

#[test]
fn a_path_leads_through_maps_and_lists() {
    let text = format!(r#"{{"x": [0, {{"y": {{"/": "{CID}"}}, "/": 7}}]}}"#);
    let select = |path: &[&str]| {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        select(text.as_bytes(), &path).unwrap()
    };
    let cid = Cid::try_from(CID).unwrap();
    assert_eq!(select(&["x", "1", "y"]), Selected::Link { cid, used: 3 });
    assert_eq!(select(&["x", "1", "y", "z"]), Selected::Link { cid, used: 3 });
    assert_eq!(select(&["x", "1"]), Selected::Inside);
    assert_eq!(select(&["x", "2"]), Selected::NotFound(1));
    assert_eq!(select(&["q"]), Selected::NotFound(0));
    assert_eq!(select(&["x", "0", "q"]), Selected::NoMembers(2));
}
