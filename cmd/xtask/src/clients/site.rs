//! The site that clients read: pages, styles, pictures, a video that can be sought in, and a folder without an index.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use pop_units::Bytes;

use super::{program, tree, utf8};
use crate::sample;

/// The files of the site that are kept with this program.
const PAGES: [(&str, &str); 9] = [
    ("index.html", include_str!("site/index.html")),
    ("style.css", include_str!("site/style.css")),
    ("check.js", include_str!("site/check.js")),
    ("images/dots.svg", include_str!("site/images/dots.svg")),
    ("images/rings.svg", include_str!("site/images/rings.svg")),
    ("pages/one.html", include_str!("site/pages/one.html")),
    ("pages/two.html", include_str!("site/pages/two.html")),
    ("pages/three.html", include_str!("site/pages/three.html")),
    ("pages/page.js", include_str!("site/pages/page.js")),
];

/// A folder that only a listing leads into; names that must be escaped in links.
const FILES: [(&str, &str); 5] = [
    ("files/a name with spaces.txt", "one\n"),
    ("files/Grüße & 100 %.txt", "zwei\n"),
    ("files/data.json", "{\"three\": 3}\n"),
    ("files/deeper/note.md", "# Four\n"),
    ("files/empty.bin", ""),
];

/// What stands in [`FILES`] and [`ARCHIVE`] directly below `files/`.
pub(super) const LISTED: [&str; 6] =
    ["a name with spaces.txt", "archive.bin", "data.json", "deeper", "empty.bin", "Grüße & 100 %.txt"];

/// A file of several blocks that no layer can compress.
pub(super) const ARCHIVE: &str = "files/archive.bin";

/// The video.
pub(super) const VIDEO: &str = "video.webm";

/// Red, green and blue for 20 s each, so that one pixel tells the time; the noise makes it large, and a second of it
/// about as large as any other. The index is at the front: who asks for later bytes has sought.
const VIDEO_FILTER: &str = "[0][1][2]concat=n=3,noise=alls=40:allf=t";

/// The site.
pub(super) struct Site {
    pub(super) folder: PathBuf,
    /// Of the folder, once it is in a node.
    pub(super) cid: String,
}

impl Site {
    /// Makes the files.
    pub(super) fn make(folder: &Path) -> Result<Self> {
        for (path, text) in PAGES.into_iter().chain(FILES) {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().context("a folder")?)?;
            std::fs::write(path, text)?;
        }
        let site = Self { folder: folder.to_owned(), cid: String::new() };
        sample::write_random(&site.path(ARCHIVE), Bytes::new(3_000_000))?;
        let mut picture = Command::new("ffmpeg");
        picture.args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=640x400", "-frames:v", "1"]);
        program::run(picture.arg(site.path("picture.png")))?;
        let mut video = Command::new("ffmpeg");
        video.args(["-v", "error"]);
        for colour in ["red", "lime", "blue"] {
            video.args(["-f", "lavfi", "-i", &format!("color={colour}:s=320x180:r=10:d=20")]);
        }
        video.args(["-filter_complex", VIDEO_FILTER, "-c:v", "libvpx", "-b:v", "1M", "-minrate", "1M"]);
        video.args(["-maxrate", "1M", "-deadline", "realtime", "-cpu-used", "8", "-g", "20"]);
        program::run(video.args(["-cues_to_front", "1"]).arg(site.path(VIDEO)))?;
        Ok(site)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>> {
        std::fs::read(self.path(name)).with_context(|| name.to_owned())
    }

    /// Tells what it is.
    pub(super) fn told(&self) -> Result<String> {
        let count = tree::files(&self.folder)?.len();
        let video = std::fs::metadata(self.path(VIDEO))?.len();
        let folder = utf8(&self.folder)?.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(format!("{folder} {} of {count} files, a video of {video} bytes among them", self.cid))
    }
}
