use proptest::prelude::*;

use super::*;

/// Parses a body that comes in pieces of so many bytes; parts with their content.
fn parse(boundary: &str, body: &[u8], sizes: &[usize]) -> Result<Vec<(String, Vec<u8>)>, Broken> {
    let mut parser = Parser::new(boundary)?;
    let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
    let (mut body, mut sizes) = (body, sizes.iter().copied().cycle());
    loop {
        while let Some(event) = parser.next()? {
            match event {
                Event::Part(field) => parts.push((field.key().unwrap().to_owned(), Vec::new())),
                Event::Data(data) => {
                    assert!(!data.is_empty());
                    parts.last_mut().unwrap().1.extend_from_slice(&data);
                }
            }
            // What is kept back is a head or less than a delimiter with its padding.
        }
        assert!(parser.rest.len() < HEAD + BOUNDARY);
        if body.is_empty() {
            return parser.finish().map(|()| parts);
        }
        let (piece, rest) = body.split_at(sizes.next().unwrap().clamp(1, body.len()));
        parser.feed(Buf::copy_from_slice(piece));
        body = rest;
    }
}

fn form(boundary: &str, parts: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        let head =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{name}\"\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(b"Content-Type: application/octet-stream\r\n\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

const HEADED: &str = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n";

#[test]
fn forms_of_clients_are_read() {
    let a = |content: &str| vec![("a".to_owned(), content.as_bytes().to_vec())];
    let rows = [
        (format!("{HEADED}\r\n--X--\r\n"), a("")),
        (format!("{HEADED}--X--"), vec![("a".to_owned(), Vec::new())]),
        (format!("{HEADED}text\r\n--X--"), a("text")),
        (format!("{HEADED}text\r\n--X \t --\r\n--X--\r\n\r\n"), a("text\r\n--X \t --")),
        (format!("{HEADED}\r\n\r\n--\r\n--Y\r\n--X--\r\n"), a("\r\n\r\n--\r\n--Y")),
        (format!("{HEADED}\r\n--Xx\r\n--X--"), a("\r\n--Xx")),
        (format!("{HEADED}--X-\r\n\r\n--X--"), a("--X-\r\n")),
        (format!("{HEADED}\r\r\n--X--"), a("\r")),
        ("--X--\r\n".to_owned(), Vec::new()),
        (format!("{HEADED}1\r\n--X  \r\n{}2\r\n--X--", &HEADED[5..]), [a("1"), a("2")].concat()),
    ];
    for (body, expected) in rows {
        for size in [1, 2, 3, 7, 1000] {
            assert_eq!(parse("X", body.as_bytes(), &[size]).as_ref(), Ok(&expected), "{body:?} by {size}");
        }
    }
}

#[test]
fn what_is_no_form_is_refused() {
    let long =
        format!("--X\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n\r\n--X--", "n".repeat(HEAD));
    let many =
        format!("--X\r\n{}Content-Disposition: form-data; name=a\r\n\r\n\r\n--X--", "A: b\r\n".repeat(16));
    let rows = [
        ("", Broken::Unfinished),
        ("--", Broken::Unfinished),
        ("hello", Broken::Preamble),
        ("\r\n--X--", Broken::Preamble),
        ("--Y--", Broken::Preamble),
        ("--X\n", Broken::Preamble),
        ("--X\r\n\r\ntext\r\n--X--", Broken::Head("it has no Content-Disposition")),
        ("--X\r\nA: b\r\n\r\n\r\n--X--", Broken::Head("it has no Content-Disposition")),
        ("--X\r\nAb\r\n\r\n\r\n--X--", Broken::Head("a line has no colon")),
        ("--X\r\nA: b\r\n folded: c\r\n\r\n\r\n--X--", Broken::Head("a line is no header")),
        (&long, Broken::LongHead),
        (&many, Broken::LongHead),
        (&format!("{HEADED}text"), Broken::Unfinished),
        (&format!("{HEADED}text\r\n--X"), Broken::Unfinished),
        (&format!("{HEADED}text\r\n--X-"), Broken::Unfinished),
        (&format!("{HEADED}text\r\n--X\r\n"), Broken::Unfinished),
        (&format!("{HEADED}text\r\n--X--\r\nmore"), Broken::Trailing),
    ];
    for (body, expected) in rows {
        for size in [1, 5, 100_000] {
            assert_eq!(parse("X", body.as_bytes(), &[size]).as_ref(), Err(&expected), "{body:?} by {size}");
        }
    }
    let encoded =
        "--X\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\n\r\n--X--";
    assert_eq!(parse("X", encoded.as_bytes(), &[9]), Err(Broken::Head("its content is encoded")));
    let not_utf8 = b"--X\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\n\r\n--X--";
    assert_eq!(parse("X", not_utf8, &[9]), Err(Broken::Head("it is not UTF-8")));
    for boundary in ["", " ", "a ", "a\r\nb", "ä", &"x".repeat(71)] {
        assert_eq!(parse(boundary, b"", &[1]), Err(Broken::Boundary), "{boundary:?}");
    }
}

#[test]
fn content_is_handed_on_without_a_copy() {
    let mut parser = Parser::new("X").unwrap();
    parser.feed(Buf::from(HEADED));
    assert!(matches!(parser.next(), Ok(Some(Event::Part(_)))));
    assert_eq!(parser.next(), Ok(None));
    // The empty line behind the head may still be a delimiter's.
    parser.feed(Buf::from_static(b"first"));
    assert_eq!(parser.next(), Ok(Some(Event::Data(Buf::from_static(b"first")))));
    let piece = Buf::from(vec![7; 1 << 20]);
    parser.feed(piece.clone());
    let Ok(Some(Event::Data(data))) = parser.next() else { panic!("no data") };
    assert_eq!((data.as_ptr(), data.len()), (piece.as_ptr(), piece.len()));
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    // Bytes that delimiters consist of, so that near misses are frequent; a whole one is taken out below.
    let bytes = prop::sample::select(b"\r\n-- X\t1".to_vec());
    prop::collection::vec(bytes, 0..60)
}

proptest! {
    #[test]
    fn the_parts_do_not_depend_on_how_the_body_comes(
        contents in prop::collection::vec(content(), 0..5),
        sizes in prop::collection::vec(1_usize..40, 1..20),
    ) {
        let is_in = |content: &[u8]| {
            let whole = [b"\r\n", content, b"\r\n"].concat();
            whole.windows(5).any(|five| five == b"\r\n--X")
        };
        let parts: Vec<_> = contents
            .into_iter()
            .filter(|content| !is_in(content))
            .enumerate()
            .map(|(n, content)| (format!("file {n}"), content))
            .collect();
        prop_assert_eq!(parse("X", &form("X", &parts), &sizes), Ok(parts));
    }

    #[test]
    fn no_bytes_break_the_parser(
        body in prop::collection::vec(prop::sample::select(b"\r\n-- X\t1:aA;=\"\\\xff".to_vec()), 0..300),
        headed in any::<bool>(),
        sizes in prop::collection::vec(1_usize..40, 1..5),
    ) {
        let head: &[u8] = if headed { HEADED.as_bytes() } else { b"--X" };
        let body = [head, &body].concat();
        let one = parse("X", &body, &sizes);
        prop_assert_eq!(one, parse("X", &body, &[1000]));
    }
}
