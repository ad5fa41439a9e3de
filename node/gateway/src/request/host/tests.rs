use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Request;
use proptest::prelude::*;

use super::*;
use crate::request::target::{self, Place};
use crate::testing::settings;

const V1: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
const V0: &str = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR";
const HELLO: &str = "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am";
/// SHA2-512, which fits no label in any base.
const LONG: &str = "bafkrgqhhyivzstcz3hhswshfjgy6ertgmnqeleynhwt4dlfsthi4hn7zgh4uvlsb5xncykzapi3ocd4lzogukir6ksdy6wzrnz6ohnv4aglcs";

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let request = headers
        .iter()
        .fold(Request::builder().uri(uri), |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0
}

fn address(host: &str) -> Address {
    read(&head("/", &[("Host", host)]), false, false).unwrap()
}

/// Returns where a request is sent, or nothing when it is answered where it came.
fn moved(host: &str, sent: &str, query: Option<&str>) -> Result<Option<String>, Refusal> {
    let hosts = settings().hosts;
    let address = address(host);
    let door = door(&hosts, &address);
    let Place::Content(target) = target::read(&door, target::split(sent)?, sent, query)? else {
        panic!("{sent}")
    };
    let refusal = canonical(&hosts, &address, &target, query)?;
    Ok(refusal.map(|refusal| {
        assert_eq!(refusal.status, 301);
        refusal.headers["location"].to_str().unwrap().to_owned()
    }))
}

#[test]
fn hosts_are_split_and_what_is_none_is_refused() {
    let good: [(&str, &str, Option<u16>); 8] = [
        ("localhost", "localhost", None),
        ("LocalHost:8080", "LocalHost", Some(8080)),
        ("localhost.:80", "localhost", Some(80)),
        ("127.0.0.1:1", "127.0.0.1", Some(1)),
        ("[::1]:8080", "[::1]", Some(8080)),
        ("[::1]", "[::1]", None),
        ("example.net:", "example.net", None),
        ("a_b.example", "a_b.example", None),
    ];
    for (sent, host, port) in good {
        let read = address(sent);
        assert_eq!((read.host.as_str(), read.port), (host, port), "{sent}");
    }
    let bad = [
        "a b",
        "a/b",
        "user@host",
        "a:b",
        "a:99999",
        "::1",
        "[::1",
        "[x]",
        "a\u{e9}",
        "evil\"",
        "a<b",
        "a?b",
        "a#b",
    ];
    for sent in bad {
        let refusal = read(&head("/", &[("Host", sent)]), false, false).unwrap_err();
        assert_eq!(refusal.status, 400, "{sent}");
    }
}

#[test]
fn one_host_is_sent_and_the_target_counts_more() {
    let read = |version, uri: &str, headers: &[(&str, &str)]| {
        let mut head = head(uri, headers);
        head.version = version;
        read(&head, false, false).map(|address| address.host).map_err(|refusal| refusal.status.as_u16())
    };
    assert_eq!(read(Version::HTTP_11, "/", &[]), Err(400));
    assert_eq!(read(Version::HTTP_10, "/", &[]), Ok(String::new()));
    assert_eq!(read(Version::HTTP_2, "http://a/", &[]), Ok("a".into()));
    assert_eq!(read(Version::HTTP_11, "http://a/", &[]), Err(400));
    assert_eq!(read(Version::HTTP_11, "http://a/", &[("Host", "b")]), Ok("a".into()));
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        assert_eq!(read(version, "/", &[("Host", "a"), ("Host", "a")]), Err(400));
    }
}

#[test]
fn only_proxies_are_believed() {
    let forwarded = [
        ("Host", "a.example"),
        ("X-Forwarded-Host", "evil.example, dweb.test:8443"),
        ("X-Forwarded-Proto", "https"),
    ];
    let believed = read(&head("/", &forwarded), false, true).unwrap();
    assert_eq!(believed, Address { is_https: true, host: "dweb.test".into(), port: Some(8443) });
    let ignored = read(&head("/", &forwarded), false, false).unwrap();
    assert_eq!(ignored, Address { is_https: false, host: "a.example".into(), port: None });
    let plain = read(&head("/", &[("Host", "a"), ("X-Forwarded-Proto", "http")]), true, true).unwrap();
    assert!(!plain.is_https);
    assert!(read(&head("/", &[("Host", "a")]), true, true).unwrap().is_https);
}

#[test]
fn a_client_is_the_first_that_is_no_proxy_of_ours() {
    let mut settings = settings();
    settings.proxies.push("10.0.0.0/8".parse().unwrap());
    let cases: [(IpAddr, &[&str], &str); 14] = [
        (STRANGER, &["198.51.100.1"], "203.0.113.9"),
        (LOOPBACK, &[], "127.0.0.1"),
        (LOOPBACK, &["198.51.100.1"], "198.51.100.1"),
        (LOOPBACK, &["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        (LOOPBACK, &["198.51.100.1, 10.1.2.3"], "198.51.100.1"),
        (LOOPBACK, &["198.51.100.1", "10.1.2.3"], "198.51.100.1"),
        (LOOPBACK, &["127.0.0.1, garbage"], "127.0.0.1"),
        (LOOPBACK, &["2001:db8::1"], "2001:db8::1"),
        // With a port, as some proxies write it.
        (LOOPBACK, &["198.51.100.1:50123"], "198.51.100.1"),
        (LOOPBACK, &["[2001:db8::1]:443"], "2001:db8::1"),
        (LOOPBACK, &["[2001:db8::1]"], "2001:db8::1"),
        // What the client sent before does not hide what the proxy wrote behind it.
        (LOOPBACK, &["\u{e9}, 198.51.100.1"], "198.51.100.1"),
        (LOOPBACK, &["198.51.100.1, \u{e9}"], "127.0.0.1"),
        (IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()), &["::ffff:192.0.2.1"], "192.0.2.1"),
    ];
    for (peer, sent, client) in cases {
        let headers: Vec<_> = sent.iter().map(|value| ("X-Forwarded-For", *value)).collect();
        let found = super::client(&settings, &head("/", &headers).headers, peer);
        assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {sent:?}");
    }
    assert!(!is_proxy(&settings, IpAddr::V6(Ipv6Addr::LOCALHOST)));
}

#[test]
fn a_host_is_a_gateway_or_content_of_one() {
    let hosts = settings().hosts;
    let door = |host: &str| super::door(&hosts, &address(host));
    for host in
        ["localhost", "dweb.test:80", "127.0.0.1", "[::1]:1", "example.net", "ipfs.localhost", "x.localhost"]
    {
        assert_eq!(door(host), Door::Paths, "{host}");
    }
    for host in ["X.ipfs.localhost", "X.ipfs.localhost:8080", "X.IPFS.LocalHost.", "X.ipfs.dweb.test"] {
        assert_eq!(door(host), Door::Content { label: "X".into() }, "{host}");
    }
    assert_eq!(door("a.b.ipfs.localhost"), Door::Content { label: "a.b".into() });
    assert_eq!(door("a-b.ipns.localhost"), Door::Name { label: "a-b".into() });
    assert_eq!(door("x.ipfs.example.net"), Door::Paths);
}

#[test]
fn content_goes_to_its_own_origin() {
    let cases = [
        ("localhost:8080", format!("/ipfs/{V1}"), None, format!("http://{V1}.ipfs.localhost:8080/")),
        ("localhost", format!("/ipfs/{V0}/"), None, format!("http://{V1}.ipfs.localhost/")),
        ("LOCALHOST.", format!("/{V0}/a//b/"), None, format!("http://{V1}.ipfs.localhost/a/b/")),
        (
            "dweb.test",
            format!("/ipfs/{HELLO}/x"),
            Some("format=raw&a=b%20c"),
            format!("http://{HELLO}.ipfs.dweb.test/x?format=raw&a=b%20c"),
        ),
        (
            "localhost",
            format!("/ipfs/{V1}/Portugal%252C+Espa\u{f1}a=Peninsula%20Ib%c3%a9rica.txt"),
            None,
            format!("http://{V1}.ipfs.localhost/Portugal%252C+Espa%C3%B1a=Peninsula%20Ib%C3%A9rica.txt"),
        ),
    ];
    for (host, sent, query, location) in cases {
        assert_eq!(moved(host, &sent, query).unwrap().as_deref(), Some(location.as_str()), "{host}{sent}");
    }
    for host in ["127.0.0.1:8080", "example.net", "[::1]"] {
        assert_eq!(moved(host, &format!("/ipfs/{V0}/a"), None).unwrap(), None, "{host}");
    }
}

#[test]
fn an_origin_is_written_in_one_way() {
    let canonical = format!("http://{V1}.ipfs.localhost:1/a?b");
    for label in [V0.to_owned(), V1.to_ascii_uppercase()] {
        let host = format!("{label}.ipfs.localhost:1");
        assert_eq!(moved(&host, "/a", Some("b")).unwrap().as_deref(), Some(canonical.as_str()), "{host}");
    }
    let root = cid::parse(V1).unwrap();
    for base in [pop_dag::Base::Base36Lower, pop_dag::Base::Base16Lower, pop_dag::Base::Base58Btc] {
        let host = format!("{}.ipfs.localhost:1", root.to_string_of_base(base).unwrap());
        assert_eq!(moved(&host, "/a", Some("b")).unwrap().as_deref(), Some(canonical.as_str()), "{host}");
    }
    assert_eq!(moved(&format!("{V1}.ipfs.localhost:1"), "/a", Some("b")).unwrap(), None);
}

#[test]
fn a_root_that_fits_no_host_name_is_refused_in_either_form() {
    let text = "CID incompatible with DNS label length limit of 63";
    for (host, sent) in
        [("localhost".to_owned(), format!("/ipfs/{LONG}")), (format!("{LONG}.ipfs.localhost"), "/".into())]
    {
        let refusal = moved(&host, &sent, None).unwrap_err();
        assert_eq!(refusal.status, 400);
        assert!(refusal.message.contains(text), "{}", refusal.message);
    }
    assert_eq!(moved("127.0.0.1", &format!("/ipfs/{LONG}"), None).unwrap(), None);
}

#[test]
fn a_longer_root_goes_to_its_shorter_base() {
    // A key's multihash under the codec of raw: 64 letters in base32, 62 in base36.
    let digest: Vec<u8> =
        [0x01, 0x72, 0x00, 0x24, 0x08, 0x01, 0x12, 0x20].into_iter().chain([7; 32]).collect();
    let root = pop_dag::Cid::try_from(digest).unwrap();
    assert!(root.to_string().len() > 63);
    let label = cid::label(&root).unwrap();
    assert!(label.starts_with('k') && label.len() <= 63, "{label}");
    assert_eq!(cid::parse(&label).unwrap(), root);
}

#[test]
fn an_origin_is_told_without_the_subdomain() {
    let hosts = settings().hosts;
    let origin = address(&format!("{V1}.ipfs.LOCALHOST:81")).origin(&hosts, Face::Subdomain);
    assert_eq!(origin, Origin { is_https: false, host: "localhost".into(), port: Some(81) });
    assert_eq!(origin.authority(), "localhost:81");
}

proptest! {
    #[test]
    fn no_host_breaks_the_reader(host in "[ -~]{0,40}") {
        let hosts = settings().hosts;
        if let Ok(address) = read(&head("/", &[("Host", &host)]), false, false) {
            let _ = door(&hosts, &address);
            prop_assert!(address.host.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
