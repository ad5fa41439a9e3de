use http::HeaderName;

use super::*;

fn asked(values: &[&str]) -> HeaderMap {
    let name = || HeaderName::from_static("range");
    values.iter().map(|value| (name(), HeaderValue::from_str(value).unwrap())).collect()
}

#[test]
fn one_range_is_clipped_and_what_lies_outside_is_told() {
    let table = [
        ("bytes=0-0", Part::Of(0..1)),
        ("bytes=2-5", Part::Of(2..6)),
        ("bytes=2-", Part::Of(2..10)),
        ("bytes=2-99", Part::Of(2..10)),
        ("bytes=9-", Part::Of(9..10)),
        ("bytes=-3", Part::Of(7..10)),
        ("bytes=-99", Part::Of(0..10)),
        ("bytes=0-99999999999999999999999999", Part::Of(0..10)),
        ("Bytes = 1-2", Part::Of(1..3)),
        ("bytes=-0", Part::Outside),
        ("bytes=10-", Part::Outside),
        ("bytes=10-12", Part::Outside),
        ("bytes=99999999999999999999999999-", Part::Outside),
    ];
    for (value, expected) in table {
        assert_eq!(part(&asked(&[value]), 10), expected, "{value}");
    }
}

#[test]
fn what_is_no_range_of_bytes_is_passed_over() {
    let table = [
        "items=0-1",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=5-2",
        "bytes=a-b",
        "bytes=1-2x",
        "bytes=+1-2",
        "bytes=--1",
        "bytes=1",
        "bytes=-",
        "0-1",
        "bytes=0-1,x",
    ];
    for value in table {
        assert_eq!(part(&asked(&[value]), 10), Part::Whole, "{value}");
    }
    assert_eq!(part(&asked(&[]), 10), Part::Whole);
    assert_eq!(part(&asked(&["bytes=0-1", "bytes=2-3"]), 10), Part::Whole, "two headers are none");
}

#[test]
fn an_empty_file_has_no_ranges() {
    for value in ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"] {
        assert_eq!(part(&asked(&[value]), 0), Part::Whole, "{value}");
    }
}

#[test]
fn of_several_ranges_the_first_is_served_within_bounds() {
    assert_eq!(part(&asked(&["bytes=1-2, 4-5"]), 10), Part::Of(1..3));
    assert_eq!(part(&asked(&["bytes=20-30,4-5"]), 10), Part::Of(4..6));
    assert_eq!(part(&asked(&["bytes=20-30,40-50"]), 10), Part::Outside);
    assert_eq!(part(&asked(&["bytes=0-5,0-5"]), 10), Part::Whole, "more than the file");
    let of = |count: usize| format!("bytes={}", vec!["0-0"; count].join(","));
    assert_eq!(part(&asked(&[&of(MOST)]), 100), Part::Of(0..1));
    assert_eq!(part(&asked(&[&of(MOST + 1)]), 100), Part::Whole);
}

#[test]
fn content_ranges_name_the_last_byte() {
    assert_eq!(content_range(&(0..1), 10), "bytes 0-0/10");
    assert_eq!(outside(10).headers[header::CONTENT_RANGE], "bytes */10");
}
