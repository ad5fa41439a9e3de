//! Pictures beside names, told by the name and the codec alone: a listing reads no entry.

use maud::{Markup, PreEscaped, html};

/// A picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Icon {
    Folder,
    File,
    Text,
    Image,
    Video,
    Audio,
    Archive,
    Code,
    Book,
    Data,
    Up,
}

impl Icon {
    /// Guesses a picture; `is_leaf` tells that it can be no directory.
    pub(crate) fn of(name: &str, is_leaf: bool) -> Self {
        match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() && extension.len() <= 10 => {
                of_extension(&extension.to_ascii_lowercase())
            }
            Some(_) if name.starts_with('.') => Self::Code,
            Some(_) | None => match name.to_ascii_lowercase().as_str() {
                "license" | "licence" | "readme" | "changelog" | "changes" | "authors" | "copying"
                | "notice" | "contributing" | "todo" | "version" => Self::Text,
                "makefile" | "dockerfile" | "justfile" | "gemfile" | "rakefile" | "procfile" => Self::Code,
                _ if is_leaf => Self::File,
                _ => Self::Folder,
            },
        }
    }

    const fn id(self) -> &'static str {
        match self {
            Self::Folder => "#i-folder",
            Self::File => "#i-file",
            Self::Text => "#i-text",
            Self::Image => "#i-image",
            Self::Video => "#i-video",
            Self::Audio => "#i-audio",
            Self::Archive => "#i-archive",
            Self::Code => "#i-code",
            Self::Book => "#i-book",
            Self::Data => "#i-data",
            Self::Up => "#i-up",
        }
    }

    /// Returns the picture, which [`sprite`] must stand before.
    pub(crate) fn markup(self) -> Markup {
        let class = if self == Self::Folder { "folder" } else { "" };
        html! { svg class=[(!class.is_empty()).then_some(class)] { use href=(self.id()) {} } }
    }
}

fn of_extension(extension: &str) -> Icon {
    match extension {
        "txt" | "md" | "markdown" | "rst" | "adoc" | "tex" | "log" | "srt" | "vtt" | "rtf" | "doc"
        | "docx" | "odt" | "htm" | "html" | "xhtml" => Icon::Text,
        "png" | "jpg" | "jpeg" | "gif" | "webp" | "avif" | "svg" | "bmp" | "ico" | "tif" | "tiff"
        | "heic" | "jxl" | "psd" => Icon::Image,
        "mp4" | "m4v" | "webm" | "mkv" | "mov" | "avi" | "ogv" | "mpg" | "mpeg" | "m3u8" | "flv" => {
            Icon::Video
        }
        "mp3" | "m4a" | "ogg" | "oga" | "opus" | "flac" | "wav" | "aac" | "mid" | "midi" | "aiff" => {
            Icon::Audio
        }
        "zip" | "tar" | "gz" | "tgz" | "bz2" | "xz" | "zst" | "7z" | "rar" | "car" | "jar" | "deb"
        | "rpm" | "apk" | "iso" | "dmg" | "lz4" | "br" => Icon::Archive,
        "rs" | "go" | "c" | "h" | "cc" | "cpp" | "hpp" | "py" | "js" | "mjs" | "jsx" | "ts" | "tsx"
        | "css" | "scss" | "sh" | "rb" | "java" | "kt" | "swift" | "php" | "pl" | "lua" | "sql" | "wasm"
        | "vue" | "sol" | "zig" | "hs" => Icon::Code,
        "pdf" | "epub" | "mobi" | "djvu" | "ps" | "azw3" | "cbz" => Icon::Book,
        "json" | "jsonl" | "ndjson" | "yaml" | "yml" | "toml" | "xml" | "csv" | "tsv" | "parquet"
        | "sqlite" | "db" | "cbor" | "proto" | "ini" | "lock" | "xls" | "xlsx" | "ods" | "bin" | "dat" => {
            Icon::Data
        }
        _ => Icon::File,
    }
}

/// Returns the drawings that the pictures of a page refer to.
pub(crate) fn sprite() -> Markup {
    const SHEET: &str = "M5.5 2.75h8L18.5 8v13.25h-13zM13.25 3v5.25h5";
    let symbols = [
        (
            "i-folder",
            "M3 6.25c0-.7.55-1.25 1.25-1.25h5l2 2.5h8.5c.7 0 1.25.55 1.25 1.25v9.5c0 .7-.55 1.25-1.25 1.25H4.25C3.55 19.5 3 18.95 3 18.25z",
            "",
        ),
        ("i-file", SHEET, ""),
        ("i-text", SHEET, "M8.5 12h7M8.5 15h7M8.5 18h4"),
        ("i-image", "M3.5 5h17v14h-17z", "M4 17l5-5 3.5 3.5 2.5-2.5 5 5M15.5 8.75a1 1 0 1 0 .01 0"),
        ("i-video", "M3.5 5h17v14h-17z", "M10.25 9l4.75 3-4.75 3z"),
        (
            "i-audio",
            "M9 17.5V5.5l10-2v12",
            "M9 17.5a2.5 2.5 0 1 1-2.5-2.5H9M19 15.5a2.5 2.5 0 1 1-2.5-2.5H19",
        ),
        ("i-archive", "M4 8h16v12H4zM3 4h18v4H3z", "M10 12h4"),
        ("i-code", "M8.5 7.5l-5 4.5 5 4.5M15.5 7.5l5 4.5-5 4.5", "M13.5 5.5l-3 13"),
        ("i-book", "M5 5.5C5 4.4 5.9 3.5 7 3.5h12v17H7c-1.1 0-2-.9-2-2z", "M5 18.5c0-1.1.9-2 2-2h12M9 7.5h6"),
        (
            "i-data",
            "M4.5 6c0-1.5 3.4-2.5 7.5-2.5s7.5 1 7.5 2.5-3.4 2.5-7.5 2.5S4.5 7.5 4.5 6z",
            "M4.5 6v12c0 1.5 3.4 2.5 7.5 2.5s7.5-1 7.5-2.5V6M4.5 12c0 1.5 3.4 2.5 7.5 2.5s7.5-1 7.5-2.5",
        ),
        ("i-up", "M9.5 6 4.5 11l5 5", "M4.5 11h10a5 5 0 0 1 5 5v2"),
    ];
    html! {
        svg.sprite aria-hidden="true" {
            @for (id, outline, detail) in symbols {
                symbol id=(id) viewBox="0 0 24 24" { path d=(PreEscaped(format!("{outline}{detail}"))) {} }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_picture() {
        for (name, is_leaf, icon) in [
            ("a.png", false, Icon::Image),
            ("A.TAR.GZ", false, Icon::Archive),
            ("docs", false, Icon::Folder),
            ("docs", true, Icon::File),
            ("LICENSE", false, Icon::Text),
            ("Makefile", false, Icon::Code),
            (".gitignore", false, Icon::Code),
            ("v1.2", false, Icon::File),
            ("a.unknown", false, Icon::File),
            ("ends.", false, Icon::File),
            ("", false, Icon::Folder),
        ] {
            assert_eq!(Icon::of(name, is_leaf), icon, "{name}");
        }
    }
}
