//! `Content-Disposition`: whether a browser shows or saves, and under which name.

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a segment of a path may hold as it is. Quotes, backslashes and line ends are not among it, so that a name
/// cannot leave its parameter.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// What is done with the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// It is shown.
    Inline,
    /// It is saved.
    Attachment,
}

impl Disposition {
    /// Returns the header's value for content of this name.
    pub(crate) fn named(self, name: &str) -> HeaderValue {
        let ascii: String = name.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
        let [ascii, full] = [&ascii, name].map(|name| utf8_percent_encode(name, SEGMENT));
        let what = match self {
            Self::Inline => "inline",
            Self::Attachment => "attachment",
        };
        let value = format!("{what}; filename=\"{ascii}\"; filename*=UTF-8''{full}");
        HeaderValue::try_from(value).expect("percent-encoded text is a header's value")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_their_parameter() {
        let table = [
            ("a.txt", "inline; filename=\"a.txt\"; filename*=UTF-8''a.txt"),
            ("a b\".txt", "inline; filename=\"a%20b%22.txt\"; filename*=UTF-8''a%20b%22.txt"),
            ("x\r\nY: z\\", "inline; filename=\"x%0D%0AY:%20z%5C\"; filename*=UTF-8''x%0D%0AY:%20z%5C"),
            ("тест.jpg", "inline; filename=\"____.jpg\"; filename*=UTF-8''%D1%82%D0%B5%D1%81%D1%82.jpg"),
        ];
        for (name, value) in table {
            assert_eq!(Disposition::Inline.named(name), value, "{name:?}");
        }
        assert!(Disposition::Attachment.named("a").to_str().unwrap().starts_with("attachment; "));
    }
}
