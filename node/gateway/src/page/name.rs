//! Names and other text of strangers, so that a reader sees what is there.
//!
//! Markup is escaped by maud; this is about characters that are seen by what they do: breaks, and the marks that
//! turn the direction of text, by which `exe.txt` can look like `txt.exe`.

use std::fmt::Write;

use maud::{Markup, PreEscaped, Render, html};
use pop_dag::unixfs::MAX_NAME;

/// Returns a name as markup. What would not be seen is written as its number.
pub(crate) fn visible(name: &str) -> Markup {
    let shown = cut(name, MAX_NAME);
    let mut buffer = String::new();
    let mut rest = shown;
    while let Some((at, char)) = rest.char_indices().find(|(_, char)| is_odd(*char)) {
        rest[..at].render_to(&mut buffer);
        html! { span.odd { (spelled(char)) } }.render_to(&mut buffer);
        rest = &rest[at + char.len_utf8()..];
    }
    rest.render_to(&mut buffer);
    if name.is_empty() {
        html! { span.odd { "no name" } }.render_to(&mut buffer);
    }
    if shown.len() < name.len() {
        html! { span.odd { "… " (name.len()) " bytes" } }.render_to(&mut buffer);
    }
    PreEscaped(buffer)
}

/// Returns text as [`visible`] shows it, for places that take no markup.
pub(crate) fn plain(text: &str) -> String {
    text.chars().fold(String::new(), |mut plain, char| {
        match is_odd(char) {
            true => plain.push_str(&spelled(char)),
            false => plain.push(char),
        }
        plain
    })
}

/// Returns text in quotes, as JSON writes it, with escapes also for what would not be seen.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            _ if is_odd(char) => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    // Writing to text cannot fail.
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
            _ => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns the part of `text` that has no more than `most` bytes.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn spelled(char: char) -> String {
    match char {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        _ => format!("\\u{{{:x}}}", u32::from(char)),
    }
}

/// Returns whether a character is seen only by what it does to others: controls, breaks, marks of direction, and
/// spaces without width. The joiners are not among them: writing and emoji need them.
fn is_odd(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_be_seen_is_spelled_out() {
        for (name, shown) in [
            ("file-źł.txt", "file-źł.txt"),
            ("שלום.txt", "שלום.txt"),
            ("👩\u{200d}🚀", "👩\u{200d}🚀"),
            ("<b>\"&'", "&lt;b&gt;&quot;&amp;'"),
            ("a\nb", "a<span class=\"odd\">\\n</span>b"),
            ("\u{202e}txt.exe", "<span class=\"odd\">\\u{202e}</span>txt.exe"),
            ("", "<span class=\"odd\">no name</span>"),
        ] {
            assert_eq!(visible(name).into_string(), shown, "{name:?}");
        }
        assert_eq!(plain("a\u{7f}\u{200f}\tb"), "a\\u{7f}\\u{200f}\\tb");
        assert_eq!(quoted("a\"\\\n\u{202e}\u{0}ą"), "\"a\\\"\\\\\\n\\u202e\\u0000ą\"");
    }

    #[test]
    fn a_name_longer_than_any_is_cut() {
        let shown = visible(&"ą".repeat(1000)).into_string();
        assert!(shown.ends_with("ą<span class=\"odd\">… 2000 bytes</span>"), "{shown}");
        assert_eq!(shown.matches('ą').count(), 512);
    }
}
