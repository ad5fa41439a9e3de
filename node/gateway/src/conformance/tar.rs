use std::collections::BTreeMap;
use std::io::Read;

use super::*;

/// Returns what an archive has at each path: content, `-> target` of a symlink, or nothing for a directory.
fn entries(answer: &Answer) -> BTreeMap<String, Option<String>> {
    let mut archive = ::tar::Archive::new(&answer.body[..]);
    let mut found = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let what = match entry.header().entry_type() {
            ::tar::EntryType::Directory => None,
            ::tar::EntryType::Symlink => Some(format!(
                "-> {}",
                String::from_utf8(entry.link_name_bytes().unwrap().into_owned()).unwrap()
            )),
            _ => Some(text),
        };
        found.insert(path, what);
    }
    found
}

fn expected(list: &[(&str, Option<&str>)], top: &Cid) -> BTreeMap<String, Option<String>> {
    list.iter().map(|(path, what)| (format!("{top}{path}"), what.map(str::to_owned))).collect()
}

#[tokio::test]
async fn trees_stand_below_their_cid() {
    let fixture = Fixture::open(LISTING);
    for (query, headers) in [("?format=tar", &[][..]), ("", &[("Accept", "application/x-tar")][..])] {
        let dir = fixture.at("ą");
        let answer = fixture.get(&format!("/ipfs/{{}}/%C4%85{query}"), headers).await.is(200);
        let tree =
            [("/", None), ("/ę/", None), ("/ę/file-źł.txt", Some("I am a txt file on path with utf8\n"))];
        assert_eq!(entries(&answer), expected(&tree, &dir));
        answer.has(&[
            ("content-type", "application/x-tar"),
            ("etag", &format!("W/\"{dir}.x-tar\"")),
            (
                "content-disposition",
                &format!("attachment; filename=\"{dir}.tar\"; filename*=UTF-8''{dir}.tar"),
            ),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "public, max-age=29030400, immutable"),
        ]);
    }
    let file = fixture.at("ą/ę/file-źł.txt");
    let answer = fixture.get(&format!("/ipfs/{file}?format=tar"), &[]).await.is(200);
    assert_eq!(entries(&answer), expected(&[("", Some("I am a txt file on path with utf8\n"))], &file));
    fixture.ask("HEAD", &format!("/ipfs/{file}?format=tar"), &[]).await.is(200).body(b"");
}

#[tokio::test]
async fn files_of_several_blocks_copies_and_symlinks_are_whole() {
    let fixture = Fixture::open(FILES);
    let answer = fixture.get("/ipfs/{}?format=tar&filename=%D1%82.tar", &[]).await.is(200);
    let multi: Vec<u8> = parts(0..5).iter().flat_map(|part| fixture.data(part).to_vec()).collect();
    let multi = String::from_utf8(multi).unwrap();
    let ascii = Some("hello application/vnd.ipld.car\n");
    let tree = [
        ("/", None),
        ("/ascii-copy.txt", ascii),
        ("/ascii.txt", ascii),
        ("/hello.txt", Some("hello world\n")),
        ("/multiblock.txt", Some(&*multi)),
    ];
    assert_eq!(entries(&answer), expected(&tree, &fixture.root));
    let again = fixture.get("/ipfs/{}?format=tar", &[]).await.is(200);
    assert_eq!(again.body, answer.body, "the archive of a CID is always the same");
    answer.has(&[("content-disposition", "attachment; filename=\"_.tar\"; filename*=UTF-8''%D1%82.tar")]);

    let fixture = Fixture::open(SYMLINK);
    let answer = fixture.get("/ipfs/{}?format=tar", &[]).await.is(200);
    let tree = [("/", None), ("/bar", Some("-> foo")), ("/foo", Some("content\n"))];
    assert_eq!(entries(&answer), expected(&tree, &fixture.root));
}

#[tokio::test]
async fn what_is_no_tree_has_no_archive() {
    let fixture = Fixture::open(DOCUMENT);
    fixture.get("/ipfs/{}/document?format=tar", &[]).await.is(406);
    fixture.get(&format!("/ipfs/{ABSENT}?format=tar"), &[]).await.is(404);
    let tag = format!("W/\"{}.x-tar\"", fixture.root);
    fixture.get("/ipfs/{}?format=tar", &[("If-None-Match", &tag)]).await.is(304).body(b"");
    // A file with a hole breaks off.
    let fixture = Fixture::open(HOLE);
    let answer = fixture.get("/ipfs/{}?format=tar", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.whole), (200, false));
}
