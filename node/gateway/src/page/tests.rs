use super::*;

#[test]
fn a_refusal_is_a_page_that_nobody_can_write_into() {
    let page = refusal(StatusCode::NOT_FOUND, "no entry \"<script>\u{202e}\"", "ask <b>somebody</b> else")
        .into_string();
    assert!(page.contains("404 Not Found") && page.contains("No entry &quot;&lt;script&gt;"), "{page}");
    assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains('\u{202e}'), "{page}");
}

#[test]
fn messages_become_sentences() {
    for (message, sentence) in [
        ("no entry \"a\"", "No entry \"a\""),
        ("this is so", "This is so."),
        ("Ask it.", "Ask it."),
        ("bafk2qaaa is not here", "bafk2qaaa is not here."),
        ("", ""),
    ] {
        assert_eq!(super::sentence(message), sentence);
    }
}

#[test]
fn numbers_are_grouped() {
    for (number, text) in [(0, "0"), (12, "12"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(grouped(number), text);
    }
    assert_eq!(
        (exact(Bytes::new(1)), exact(Bytes::new(2048))),
        ("1 byte".to_owned(), "2,048 bytes".to_owned())
    );
}
