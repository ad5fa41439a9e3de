use proptest::prelude::*;

use super::*;

#[test]
fn the_extension_decides_where_it_says_something() {
    let table = [
        ("film.MP4", Class::Media),
        ("song.flac", Class::Media),
        ("a.b.mkv", Class::Media),
        ("picture.jpeg", Class::Packed),
        ("picture.webp", Class::Packed),
        ("tree.tar", Class::Packed),
        ("tree.tar.gz", Class::Packed),
        ("tree.tgz", Class::Packed),
        ("x.zip", Class::Packed),
        ("x.7z", Class::Packed),
        ("book.epub", Class::Packed),
        ("logo.svg", Class::Text),
        ("readme.md", Class::Text),
        ("main.rs", Class::Text),
        ("main.py", Class::Text),
        ("main.c", Class::Text),
        ("app.js", Class::Text),
        ("data.json", Class::Text),
        ("page.html", Class::Text),
        ("Cargo.toml", Class::Text),
        ("ci.yaml", Class::Text),
        ("feed.atom", Class::Text),
        ("list.m3u8", Class::Text),
        ("sans.woff2", Class::Text),
        ("sans.ttf", Class::Text),
        ("sans.otf", Class::Text),
    ];
    for (name, class) in table {
        assert_eq!(by_name(name), Some(class), "{name}");
    }
    for name in ["README", ".zip", "", "x.", "x.bin", "x.unheard-of", "x.pdf", "app.ts", "späße"] {
        assert_eq!(by_name(name), None, "{name:?}");
    }
}

#[test]
fn the_content_decides_where_the_name_does_not() {
    let mut tar = vec![0; 512];
    tar[257..263].copy_from_slice(b"ustar\0");
    let mut mkv = b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81\x01\x42\x82\x88matroska".to_vec();
    mkv.resize(512, 0);
    let table: [(&[u8], Class); 17] = [
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", Class::Media),
        (&mkv, Class::Media),
        (b"ID3\x04\x00\x00", Class::Media),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Class::Packed),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", Class::Packed),
        (b"PK\x03\x04\x14\x00\x00\x00", Class::Packed),
        (b"\x1f\x8b\x08\x00\x00", Class::Packed),
        (&tar, Class::Packed),
        (b"\x28\xb5\x2f\xfd\x04\x00", Class::Packed),
        (b"SQLite format 3\0", Class::Other),
        (b"wOF2\x00\x01\x00\x00", Class::Text),
        (b"#!/bin/sh\necho hello\n", Class::Text),
        ("fn gruß() {}\n".as_bytes(), Class::Text),
        (b"%PDF-1.7\n", Class::Other),
        (b"\0asm\x01\0\0\0", Class::Other),
        (b"\x7fELF\x02\x01\x01\x00", Class::Other),
        (b"", Class::Other),
    ];
    for (head, class) in table {
        assert_eq!(by_content(head), class, "{head:?}");
    }
    assert_eq!(by_content(b"text\0with a zero"), Class::Other);
    assert_eq!(by_content(b"caf\xe9 in another encoding"), Class::Other);
}

#[test]
fn a_character_that_the_end_of_the_head_cuts_in_two_is_text() {
    let text = "x".to_owned() + &"ä".repeat(HEAD);
    assert_eq!(by_content(&text.as_bytes()[..HEAD]), Class::Text);
    // A short head is the whole file, and half a character at its end is none.
    assert_eq!(by_content(&text.as_bytes()[..10]), Class::Other);
}

proptest! {
    #[test]
    fn looking_at_anything_never_panics(
        start in 0usize..STARTS.len(),
        cut in 0usize..24,
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        name in ".{0,20}",
    ) {
        let start = STARTS[start];
        let _ = by_content(&[&start[..cut.min(start.len())], &bytes].concat());
        let _ = by_name(&name);
    }
}

/// How content starts whose signature is followed by numbers or searched for.
const STARTS: [&[u8]; 12] = [
    b"",
    b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"\0\0\0\x18ftypmp42\0\0\0\0",
    b"\0\0\0\x0cjP  \r\n\x87\n",
    b"\x50\x2a\x4d\x18\x04\0\0\0",
    b"\x02\x21\x4c\x18\x04\0\0\0",
    b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81",
    b"dey\n036\0",
    b"\xca\xfe\xba\xbe\0\0\0\x02",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    b"\xef\xbb\xbf \t\r\n<html",
    b"RIFF\0\0\0\0WEBPVP8 ",
];
