use proptest::prelude::*;

use super::*;
use crate::asked::Face;
use crate::request::query;

const RAW: &str = "application/vnd.ipld.raw";
const CAR: &str = "application/vnd.ipld.car";

fn headers(accept: Option<&str>) -> HeaderMap {
    accept.map(|accept| (header::ACCEPT, accept.parse().unwrap())).into_iter().collect()
}

fn chosen(query: &str, accept: &str) -> Result<Choice, u16> {
    let query = query::read(Some(query));
    negotiate(&query, &headers(Some(accept))).map_err(|refusal| refusal.status.as_u16())
}

fn format(query: &str, accept: &str) -> Result<Format, u16> {
    chosen(query, accept).map(|choice| choice.format)
}

fn car(version: &str, order: &str, dups: &str) -> Format {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Format::Car(CarForm { version: said(version), order: said(order), dups: said(dups) })
}

#[test]
fn accept_chooses_among_forms_that_are_known() {
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
    let cases = [
        ("", Format::Natural),
        ("*/*", Format::Natural),
        (browser, Format::Natural),
        ("image/png", Format::Natural),
        ("application/*", Format::Natural),
        (RAW, Format::Raw),
        ("APPLICATION/vnd.ipld.RAW", Format::Raw),
        ("application/x-tar", Format::Tar),
        ("application/vnd.ipld.dag-json", Format::DagJson),
        ("application/vnd.ipld.dag-cbor", Format::DagCbor),
        ("application/json", Format::Json),
        ("application/cbor", Format::Cbor),
        ("application/vnd.ipld.raw, application/json", Format::Raw),
        ("application/json, application/vnd.ipld.raw", Format::Json),
        ("application/json;q=0.5, application/vnd.ipld.raw;q=0.9", Format::Raw),
        ("application/vnd.ipld.raw;q=0, application/json;q=0.1", Format::Json),
        ("application/vnd.ipld.raw;q=0", Format::Natural),
        ("application/vnd.ipld.raw;q=0.000, */*", Format::Natural),
        ("*/*, application/vnd.ipld.raw;q=0.001", Format::Raw),
        ("text/html, application/json;q=0.9", Format::Natural),
        ("text/html;q=0.1, application/json", Format::Json),
        ("application/vnd.ipld.raw;q=2", Format::Natural),
        ("application/vnd.ipld.raw;q=0.1234", Format::Natural),
        ("application/vnd.ipld.raw;q=1.", Format::Raw),
        ("application/vnd.ipld.raw;q=+1", Format::Natural),
        (",,;;, application/vnd.ipld.raw ;x", Format::Raw),
        ("garbage", Format::Natural),
        ("application/vnd.ipld.foo, application/vnd.ipld.raw", Format::Raw),
    ];
    for (accept, expected) in cases {
        assert_eq!(format("", accept), Ok(expected), "{accept}");
    }
}

#[test]
fn a_query_counts_more_than_accept() {
    let cases = [
        ("format=raw", "application/json", Format::Raw, true),
        ("format=json", "application/json", Format::Json, false),
        ("format=raw", "*/*", Format::Raw, false),
        ("format=dag-cbor", "", Format::DagCbor, false),
        ("format=raw&format=car", "", Format::Raw, false),
        ("format=", RAW, Format::Raw, true),
        ("format=raw", "application/vnd.ipld.foo", Format::Raw, false),
        ("", "text/html", Format::Natural, false),
    ];
    for (query, accept, expected, by_accept) in cases {
        let choice = chosen(query, accept).unwrap();
        assert_eq!((choice.format, choice.by_accept), (expected, by_accept), "{query} {accept}");
    }
}

#[test]
fn what_is_unknown_is_refused() {
    let cases = [
        ("format=x", "*/*"),
        ("format=RAW", ""),
        ("format=ipns-record", ""),
        ("", "application/vnd.ipfs.ipns-record"),
        ("", "application/vnd.ipld.foo"),
        ("", "application/vnd.ipfs.foo;q=0.1, */*"),
    ];
    for (query, accept) in cases {
        assert_eq!(chosen(query, accept), Err(400), "{query} {accept}");
    }
    assert!(chosen("", "application/vnd.ipld.foo;q=0").is_ok());
}

#[test]
fn parameters_of_a_car_are_from_its_own_member_and_the_query_counts_more() {
    let cases = [
        ("", CAR.to_owned(), car("", "", "")),
        ("", format!("{CAR}; version=1; order=dfs; dups=y"), car("1", "dfs", "y")),
        ("", format!("{CAR};Order=\"unk\""), car("", "unk", "")),
        ("car-dups=n", format!("{CAR}; dups=y; order=dfs"), car("", "dfs", "n")),
        ("format=car", format!("{CAR}; dups=y"), car("", "", "y")),
        ("format=car", format!("{RAW}; dups=y"), car("", "", "")),
        ("format=car&car-version=2&car-order=x", String::new(), car("2", "x", "")),
        ("", format!("{CAR}; dups=n; q=0.1, {CAR}; dups=y"), car("", "", "y")),
    ];
    for (query, accept, expected) in cases {
        assert_eq!(format(query, &accept), Ok(expected), "{query} {accept}");
    }
}

#[test]
fn an_answer_that_accept_chose_is_named() {
    let cases = [
        ("", RAW.to_owned(), Some("/p?format=raw")),
        ("a=b%20c", RAW.to_owned(), Some("/p?a=b%20c&format=raw")),
        ("format=raw", RAW.to_owned(), None),
        ("format=raw", "*/*".to_owned(), None),
        ("format=raw", "application/json".to_owned(), Some("/p?format=raw")),
        ("", format!("{CAR}; order=dfs; dups=y"), Some("/p?format=car&car-order=dfs&car-dups=y")),
        ("car-dups=n", format!("{CAR}; dups=y"), Some("/p?car-dups=n&format=car")),
        ("format=car", format!("{CAR}; dups=y"), Some("/p?format=car&car-dups=y")),
        ("", "*/*".to_owned(), None),
    ];
    for (sent, accept, expected) in cases {
        let query = query::read(Some(sent));
        let choice = negotiate(&query, &headers(Some(&accept))).unwrap();
        let location = choice.by_accept.then(|| content_location("/p", &query, &choice.format)).flatten();
        assert_eq!(location.as_deref(), expected, "{sent} {accept}");
    }
}

#[test]
fn a_trustless_gateway_serves_what_can_be_verified() {
    let target = |segments: &[&str]| Target {
        root: super::super::cid::parse("bafkqaaa").unwrap(),
        root_text: "bafkqaaa".into(),
        segments: segments.iter().map(|&name| name.to_owned()).collect(),
        slash: false,
        sent: String::new(),
        face: Face::Path,
    };
    let (none, below): (&[&str], &[&str]) = (&[], &["a"]);
    let cases = [
        ("format=raw", None, none, None),
        ("format=car", None, below, None),
        ("", Some(RAW), none, None),
        ("", Some(CAR), below, None),
        ("format=raw", None, below, Some(406)),
        ("", None, none, Some(400)),
        ("", Some("*/*"), none, Some(406)),
        ("", Some("text/html"), none, Some(406)),
        ("format=json", None, none, Some(406)),
        ("format=tar", None, none, Some(406)),
    ];
    for (sent, accept, segments, status) in cases {
        let (query, headers) = (query::read(Some(sent)), headers(accept));
        let choice = negotiate(&query, &headers).unwrap();
        let check = |serves| refuse_form(serves, &choice, &target(segments), &headers, &query);
        let refusal = check(Serves::Trustless).err();
        assert_eq!(refusal.as_ref().map(|refusal| refusal.status.as_u16()), status, "{sent} {accept:?}");
        assert!(refusal.is_none_or(|refusal| refusal.hint.contains("--gateway-serve full")));
        assert!(check(Serves::Everything).is_ok());
    }
}

#[test]
fn refusals_are_in_json_for_programs_and_pages_for_people() {
    let cases = [
        ("*/*", false, false),
        ("application/json", true, false),
        ("application/json, text/plain, */*", true, false),
        ("text/html, application/json;q=0.9", false, true),
        ("text/html;q=0", false, false),
        ("application/problem+json", true, false),
    ];
    for (accept, json, html) in cases {
        let headers = headers(Some(accept));
        assert_eq!((takes_json(&headers), takes_html(&headers)), (json, html), "{accept}");
    }
}

proptest! {
    #[test]
    fn no_accept_breaks_the_reader(accept in "[ -~]{0,80}", query in "\\PC{0,40}") {
        let query = query::read(Some(&query));
        if let Ok(choice) = negotiate(&query, &headers(Some(&accept))) {
            let _ = content_location("/p", &query, &choice.format);
        }
        let _ = (takes_json(&headers(Some(&accept))), takes_html(&headers(Some(&accept))));
    }
}
