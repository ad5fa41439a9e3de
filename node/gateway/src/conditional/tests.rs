use http::HeaderValue;

use super::*;

const TAG: &str = "\"bafyfile\"";

fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
}

#[test]
fn who_has_it_is_spared_it() {
    let table = [
        (TAG, true),
        ("*", true),
        ("W/\"bafyfile\"", true),
        ("\"bafyfile-gzip\"", true),
        ("W/\"bafyfile-br\"", true),
        ("\"other\", \"bafyfile\"", true),
        (" , \"other\",W/\"bafyfile\" ", true),
        ("\"a,b\", \"bafyfile\"", true),
        ("\"\", \"bafyfile\"", true),
        ("\"other\"", false),
        ("bafyfile", false),
        ("\"bafyfile", false),
        ("junk, \"bafyfile\"", false),
        ("\"bafyfile.raw\"", false),
        ("\"xbafyfile\"", false),
        ("", false),
    ];
    for (value, same) in table {
        let expected = if same { Condition::NotModified } else { Condition::Holds };
        assert_eq!(check(&headers(header::IF_NONE_MATCH, &[value]), TAG), expected, "{value}");
    }
    assert_eq!(check(&headers(header::IF_NONE_MATCH, &["\"a\"", TAG]), TAG), Condition::NotModified);
}

#[test]
fn weak_tags_of_ours_match_weakly_only() {
    let weak = "W/\"bafyfile.car.x\"";
    assert_eq!(check(&headers(header::IF_NONE_MATCH, &[weak]), weak), Condition::NotModified);
    assert_eq!(check(&headers(header::IF_NONE_MATCH, &["\"bafyfile.car.x\""]), weak), Condition::NotModified);
    assert_eq!(check(&headers(header::IF_MATCH, &[weak]), weak), Condition::Failed);
}

#[test]
fn who_wants_something_else_fails() {
    let table = [
        (TAG, true),
        ("*", true),
        ("\"other\", \"bafyfile\"", true),
        ("W/\"bafyfile\"", false),
        ("\"other\"", false),
    ];
    for (value, same) in table {
        let expected = if same { Condition::Holds } else { Condition::Failed };
        assert_eq!(check(&headers(header::IF_MATCH, &[value]), TAG), expected, "{value}");
    }
    let mut both = headers(header::IF_MATCH, &["\"other\""]);
    both.extend(headers(header::IF_NONE_MATCH, &[TAG]));
    assert_eq!(check(&both, TAG), Condition::Failed, "If-Match comes first");
}

#[test]
fn dates_are_no_conditions_as_content_has_none() {
    let date = "Sat, 29 Oct 1994 19:43:31 GMT";
    assert_eq!(check(&headers(header::IF_MODIFIED_SINCE, &[date]), TAG), Condition::Holds);
    assert_eq!(check(&headers(header::IF_UNMODIFIED_SINCE, &[date]), TAG), Condition::Holds);
    assert!(!allows_range(&headers(header::IF_RANGE, &[date]), TAG));
}

#[test]
fn a_range_counts_for_the_very_representation_only() {
    assert!(allows_range(&HeaderMap::new(), TAG));
    for (value, allowed) in
        [(TAG, true), ("W/\"bafyfile\"", false), ("\"other\"", false), ("\"bafyfile-gzip\"", false)]
    {
        assert_eq!(allows_range(&headers(header::IF_RANGE, &[value]), TAG), allowed, "{value}");
    }
}
