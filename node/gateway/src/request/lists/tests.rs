use super::*;

const V0: &str = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR";
const V1: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
const OTHER: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";

fn root(text: &str) -> Cid {
    cid::parse(text).unwrap()
}

fn names(path: &str) -> Vec<String> {
    path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Returns lists over files in a directory of their own.
fn lists(deny: Option<&str>, allow: Option<&str>) -> (tempfile::TempDir, Lists) {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: Option<&str>| {
        text.map(|text| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        })
    };
    let files = settings::Lists { deny: write("deny", deny), allow: write("allow", allow) };
    (dir, Lists::new(&files))
}

fn status(lists: &Lists, root: &Cid, path: &str) -> Option<u16> {
    lists.check(root, &names(path)).err().map(|refusal| refusal.status.as_u16())
}

#[test]
fn content_is_denied_by_root_by_path_and_by_law() {
    let text = format!(
        "# what we do not serve\n\n{V0}   # in any form\r\n/ipfs/{OTHER}/a%20b/c 451 https://court.example/1 # order 1\n\
         /ipfs/{OTHER}/d 451\n  /{OTHER}/e 410\n"
    );
    let (_dir, lists) = lists(Some(&text), None);
    lists.load(Instant::now()).unwrap();
    for text in [V0, V1, &root(V1).to_string_of_base(pop_dag::Base::Base36Lower).unwrap()] {
        assert_eq!(status(&lists, &root(text), ""), Some(410), "{text}");
        assert_eq!(status(&lists, &root(text), "a/b"), Some(410), "{text}");
    }
    // The same bytes under another codec.
    let as_raw = Cid::new_v1(0x55, *root(V1).hash());
    assert_eq!(status(&lists, &as_raw, ""), Some(410));
    for (path, expected) in [
        ("", None),
        ("a b", None),
        ("a b/c", Some(451)),
        ("a b/c/d", Some(451)),
        ("a b/cd", None),
        ("d", Some(451)),
        ("e/x", Some(410)),
    ] {
        assert_eq!(status(&lists, &root(OTHER), path), expected, "{path}");
    }
    let refusal = lists.check(&root(OTHER), &names("a b/c")).unwrap_err();
    assert_eq!(refusal.headers["link"], "<https://court.example/1>; rel=\"blocked-by\"");
    assert_eq!(refusal.keep, Keep::For(Duration::from_secs(300)));
    assert!(refusal.message.contains("deny list"));
}

#[test]
fn only_what_is_allowed_is_served_and_of_that_not_what_is_denied() {
    let (_dir, lists) = lists(Some(&format!("/ipfs/{V1}/secret")), Some(&format!("{V0}\n/ipfs/{OTHER}/pub")));
    lists.load(Instant::now()).unwrap();
    assert_eq!(status(&lists, &root(V1), "x"), None);
    assert_eq!(status(&lists, &root(V1), "secret/x"), Some(410));
    assert_eq!(status(&lists, &root(OTHER), "pub/x"), None);
    assert_eq!(status(&lists, &root(OTHER), ""), Some(410));
    assert_eq!(status(&lists, &root("bafkqaaa"), ""), Some(410));
    let message = lists.check(&root("bafkqaaa"), &[]).unwrap_err().message.clone();
    assert!(message.contains("allow list"), "{message}");
    // What a path leads through has to be on no list.
    assert!(lists.check_block(&root("bafkqaaa"), &[]).is_ok());
}

#[test]
fn a_broken_line_is_named_at_the_start() {
    let cases = [
        ("foo", 1),
        ("\n# x\n/ipfs/\n", 3),
        (&format!("{V0}\n{V1} 452"), 2),
        (&format!("{V0} 451 court.example"), 1),
        (&format!("{V0} 451 https://a/>;x"), 1),
        (&format!("{V0} 451 https://a b"), 1),
        (&format!("/ipns/{V0}"), 1),
        (&format!("{V0}/../x"), 1),
    ];
    for (text, number) in cases {
        let (dir, lists) = lists(Some(text), None);
        match lists.load(Instant::now()) {
            Err(ListError::Line { path, line, .. }) => {
                assert_eq!((path, line), (dir.path().join("deny"), number), "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
        // Nothing is served without the list that somebody wanted.
        assert_eq!(status(&lists, &root(OTHER), ""), Some(410));
    }
}

#[test]
fn a_missing_file_is_named_at_the_start() {
    let files = settings::Lists { deny: None, allow: Some("no such list".into()) };
    let error = Lists::new(&files).load(Instant::now()).unwrap_err();
    assert_eq!(error.to_string(), "the list no such list cannot be read");
}

#[test]
fn a_changed_list_is_read_again_once_a_second_and_kept_when_it_is_broken() {
    let (dir, lists) = lists(Some(""), None);
    let start = Instant::now();
    let at = |tenths: u32| start + Duration::from_millis(100) * tenths;
    let write = |text: &str| std::fs::write(dir.path().join("deny"), text).unwrap();
    lists.load(start).unwrap();
    assert_eq!(status(&lists, &root(V1), ""), None);

    write(V0);
    assert!(!lists.is_due(at(9)));
    lists.refresh(at(9));
    assert_eq!(status(&lists, &root(V1), ""), None);
    assert!(lists.is_due(at(10)));
    lists.refresh(at(10));
    assert_eq!(status(&lists, &root(V1), ""), None);
    assert!(!lists.is_due(at(10)));
    let before = lists.changes();
    lists.refresh(at(20));
    assert_eq!(status(&lists, &root(V1), ""), Some(410));
    assert!(lists.changes() > before);

    write(&format!("{OTHER}\nbroken line"));
    lists.refresh(at(30));
    lists.refresh(at(40));
    assert_eq!((status(&lists, &root(V1), ""), status(&lists, &root(OTHER), "")), (Some(410), None));
    std::fs::remove_file(dir.path().join("deny")).unwrap();
    lists.refresh(at(50));
    assert_eq!(status(&lists, &root(V1), ""), Some(410));
    write(&format!("{OTHER}\n"));
    lists.refresh(at(60));
    lists.refresh(at(70));
    assert_eq!((status(&lists, &root(V1), ""), status(&lists, &root(OTHER), "")), (None, Some(410)));
}

#[test]
fn without_lists_nothing_is_looked_at() {
    let (_dir, lists) = lists(None, None);
    assert!(lists.is_empty() && !lists.is_due(Instant::now()));
    assert_eq!(status(&lists, &root(V1), "a"), None);
}

#[test]
fn a_list_that_is_being_written_is_not_taken() {
    let (dir, lists) = lists(Some(V0), None);
    let start = Instant::now();
    let write = |text: &str| std::fs::write(dir.path().join("deny"), text).unwrap();
    lists.load(start).unwrap();
    // Emptied first, then filled: each look sees another file.
    for (second, text) in (1..).zip(["", "#\n", "# what we do not serve\n"]) {
        write(text);
        lists.refresh(start + Duration::from_secs(second));
        assert_eq!(status(&lists, &root(V1), ""), Some(410), "{text:?}");
    }
    lists.refresh(start + Duration::from_secs(9));
    assert_eq!(status(&lists, &root(V1), ""), None);
}

#[test]
fn a_file_in_the_place_of_another_is_seen_whatever_its_time_and_length() {
    let (dir, lists) = lists(Some(OTHER), None);
    let (path, start) = (dir.path().join("deny"), Instant::now());
    lists.load(start).unwrap();
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    let beside = dir.path().join("beside");
    std::fs::write(&beside, V1).unwrap();
    std::fs::File::options().write(true).open(&beside).unwrap().set_modified(time).unwrap();
    assert_eq!(V1.len(), OTHER.len());
    std::fs::rename(&beside, &path).unwrap();
    for second in 1..=2 {
        lists.refresh(start + Duration::from_secs(second));
    }
    assert_eq!((status(&lists, &root(V1), ""), status(&lists, &root(OTHER), "")), (Some(410), None));
}

#[test]
fn archives_are_refused_for_what_is_below_them() {
    let (_dir, lists) = lists(Some(&format!("/ipfs/{V1}/a/b 451")), None);
    lists.load(Instant::now()).unwrap();
    let below =
        |path: &str| lists.check_below(&root(V1), &names(path)).err().map(|found| found.status.as_u16());
    for (path, expected) in [
        ("", Some(451)),
        ("a", Some(451)),
        ("a/b", Some(451)),
        ("a/b/c", Some(451)),
        ("b", None),
        ("a/c", None),
    ] {
        assert_eq!(below(path), expected, "{path}");
    }
    assert!(lists.check_below(&root(OTHER), &[]).is_ok());
}
