use proptest::prelude::*;

use super::*;

const V1: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
const V0: &str = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR";
const KEY: &str = "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8";

fn names(sent: &str) -> Vec<String> {
    split(sent).unwrap().segments
}

fn at(sent: &str) -> Result<Place, Refusal> {
    read(&Door::Paths, split(sent)?, sent, None)
}

fn target(sent: &str) -> Target {
    match at(sent) {
        Ok(Place::Content(target)) => target,
        other => panic!("{sent}: {other:?}"),
    }
}

fn refused(sent: &str) -> Refusal {
    match at(sent) {
        Err(refusal) => refusal,
        Ok(place) => panic!("{sent}: {place:?}"),
    }
}

#[test]
fn paths_are_split_before_they_are_decoded() {
    let cases: [(&str, &[&str], bool); 11] = [
        ("/", &[], true),
        ("", &[], false),
        ("*", &["*"], false),
        ("/a/b", &["a", "b"], false),
        ("/a/b/", &["a", "b"], true),
        ("//a///b//", &["a", "b"], true),
        ("/a%2Fb/c", &["a/b", "c"], false),
        ("/a+b/%2B", &["a+b", "+"], false),
        ("/%C4%85/\u{119}", &["\u{105}", "\u{119}"], false),
        (
            "/Portugal%252C+Espa%C3%B1a=Peninsula%20Ib%C3%A9rica.txt",
            &["Portugal%2C+España=Peninsula Ibérica.txt"],
            false,
        ),
        ("/.../.a", &["...", ".a"], false),
    ];
    for (sent, segments, slash) in cases {
        let path = split(sent).unwrap();
        assert_eq!(path.segments, segments, "{sent}");
        assert_eq!(path.slash, slash, "{sent}");
    }
}

#[test]
fn what_cannot_be_a_path_is_refused() {
    let cases = [
        "/a/%",
        "/a/%2",
        "/a/%zz",
        "/a/%+1",
        "/a/% 1",
        "/%%41",
        "/a/%00",
        "/%c3%28",
        "/%ff",
        "/a/./b",
        "/a/../b",
        "/..",
        "/a/%2e%2E/b",
        "/%2e",
        "/a/.%2e/b",
        "/%C0%AE%C0%AE/",
        "/%ED%A0%80",
    ];
    for sent in cases {
        let refusal = split(sent).unwrap_err();
        assert_eq!(refusal.status, 400, "{sent}");
        assert_eq!(refusal.keep, Keep::For(std::time::Duration::from_secs(3600)), "{sent}");
    }
}

#[test]
fn a_path_has_so_many_segments_and_no_more() {
    assert_eq!(names(&"/a".repeat(MAX_SEGMENTS)).len(), MAX_SEGMENTS);
    assert_eq!(split(&"/a".repeat(MAX_SEGMENTS + 1)).unwrap_err().status, 400);
}

#[test]
fn content_is_named_in_three_ways() {
    let path = target(&format!("/ipfs/{V1}/a%20b/"));
    assert_eq!((path.face, path.slash), (Face::Path, true));
    assert_eq!(path.root_text, V1);
    assert_eq!(path.segments, ["a b"]);
    assert_eq!(path.url_path(), format!("/ipfs/{V1}/a%20b/"));

    let short = target(&format!("//{V0}//x"));
    assert_eq!(short.face, Face::Short);
    assert_eq!(short.url_path(), format!("/{V0}/x"));
    assert_eq!(short.content_path(), format!("/ipfs/{V0}/x"));

    let door = Door::Content { label: V1.into() };
    let sent = "/ipfs/x";
    let Place::Content(sub) = read(&door, split(sent).unwrap(), sent, None).unwrap() else {
        panic!("content")
    };
    assert_eq!((sub.face, sub.root_text.as_str()), (Face::Subdomain, V1));
    assert_eq!(sub.segments, ["ipfs", "x"]);
    assert_eq!(sub.url_path(), "/ipfs/x");
    assert_eq!(sub.content_path(), format!("/ipfs/{V1}/ipfs/x"));
    assert!(matches!(at("/"), Ok(Place::Root)));
}

#[test]
fn what_names_nothing_says_so() {
    let cases = [
        ("/ipfs", 400),
        ("/ipfs/", 400),
        ("/ipfs/foo", 400),
        ("/ipfs/bafyfoo/a", 400),
        ("/ipfs/a%2Fb", 400),
        ("/rpc", 404),
        ("/favicon.ico", 404),
        ("/api/v0/id", 404),
        ("/QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnX0", 400),
        ("/ipns", 400),
        ("/ipns/foo", 400),
        ("/ipns/-a.b", 400),
        ("/ipns/en.wikipedia-on-ipfs.org/wiki/", 404),
    ];
    for (sent, status) in cases {
        assert_eq!(refused(sent).status, status, "{sent}");
    }
    assert_eq!(refused(&format!("/ipns/{KEY}")).status, 404);
    assert_eq!(refused(&format!("/ipns/{V0}/a")).status, 404);
    assert_eq!(refused("/ipns/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5").status, 404);
    assert_eq!(refused(&format!("/ipns/{KEY}")).message, "this node does not resolve IPNS");
    assert_eq!(refused(&format!("/ipns/{KEY}")).keep, Keep::No);
    let message = refused("/ipfs/QmInvalidCID/a b").message.clone();
    assert!(message.starts_with("invalid path \"/ipfs/QmInvalidCID/a b\""), "{message}");
}

#[test]
fn a_namespace_too_many_is_redirected_when_the_rest_is_good() {
    let cases = [
        (format!("/ipfs/ipfs/{V0}/a%2fb/"), format!("/ipfs/{V0}/a%2Fb/")),
        (format!("/ipfs/ipns/{KEY}"), format!("/ipns/{KEY}")),
        ("/ipfs/ipns/docs.ipfs.tech/x".into(), "/ipns/docs.ipfs.tech/x".into()),
    ];
    for (sent, location) in cases {
        let refusal = refused(&sent);
        assert_eq!(refusal.status, 301, "{sent}");
        assert_eq!(refusal.headers["location"], location);
    }
    assert_eq!(refused("/ipfs/ipfs/foo").status, 400);
    let sent = format!("/ipfs/ipfs/{V0}");
    let refusal = read(&Door::Paths, split(&sent).unwrap(), &sent, Some("a=\"b\"&c=%20")).unwrap_err();
    assert_eq!(refusal.headers["location"], format!("/ipfs/{V0}?a=%22b%22&c=%20"));
}

#[test]
fn names_of_ipns_behind_hosts_have_dashes() {
    let read = |label: &str| {
        let door = Door::Name { label: label.into() };
        read(&door, Path::default(), "/", None).unwrap_err().status
    };
    assert_eq!(read(KEY), 404);
    assert_eq!(read("en-wikipedia--on--ipfs-org"), 404);
    assert_eq!(read("foo"), 400);
    assert_eq!(read("a.b"), 400);
}

#[test]
fn a_lowered_label_is_read_in_the_base_of_host_names_only() {
    let read = |label: &str| {
        let door = Door::Content { label: label.into() };
        read(&door, Path::default(), "/", None)
    };
    assert!(read(&V1.to_ascii_uppercase()).is_ok());
    assert!(read(V0).is_ok());
    assert_eq!(read(&V0.to_ascii_lowercase()).unwrap_err().status, 400);
    assert_eq!(read(&format!("a.{V1}")).unwrap_err().status, 400);
}

#[test]
fn what_is_joined_never_names_another_host() {
    assert_eq!(join([], false), "/");
    assert_eq!(join([], true), "/");
    let path = split("//evil.net//a").unwrap();
    assert_eq!(join(path.segments.iter().map(String::as_str), false), "/evil.net/a");
    assert_eq!(join(["/evil.net", "\\evil", "\r\nX: y"], false), "/%2Fevil.net/%5Cevil/%0D%0AX:%20y");
}

proptest! {
    #[test]
    fn no_path_breaks_the_reader(sent in "\\PC{0,64}") {
        let _ = at(&sent);
        let _ = at(&format!("/ipfs/{sent}"));
        let _ = at(&format!("/ipns/{sent}"));
    }

    #[test]
    fn no_escape_breaks_the_reader(sent in "[/%.0-9a-fA-F]{0,64}") {
        let _ = at(&sent);
    }

    #[test]
    fn what_is_written_is_read_again(
        names in proptest::collection::vec("[^\0]{1,12}", 0..8),
        slash: bool,
    ) {
        let is_plain = names.iter().all(|name| name != "." && name != "..");
        prop_assume!(is_plain);
        let path = join(names.iter().map(String::as_str), slash);
        prop_assert!(path.is_ascii() && path.bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert!(!path.starts_with("//"));
        let again = split(&path).unwrap();
        prop_assert_eq!(&again.segments, &names);
        prop_assert_eq!(again.slash, slash || names.is_empty());
    }

    #[test]
    fn a_read_path_is_written_in_one_way(sent in "(/[a-z%20:.\u{e9}]{0,5}){0,6}/?") {
        if let Ok(path) = split(&sent) {
            let written = join(path.segments.iter().map(String::as_str), path.slash);
            let again = split(&written).unwrap();
            let written_again = join(again.segments.iter().map(String::as_str), again.slash);
            prop_assert_eq!(written, written_again);
        }
    }
}
