//! Names of files in a form: which can be entries, and how many there may be.

use std::collections::HashSet;

use http::StatusCode;

use crate::refusal::Refusal;

/// Files of one form. A larger tree comes as a CAR or through the control API.
pub(crate) const FILES: usize = 10_000;
/// Bytes of a name with all its directories.
const PATH: usize = 1024;
/// Bytes between slashes: a file system's limit, as it becomes a file name on export.
const SEGMENT: usize = 255;
/// Directories around a file.
const DEPTH: usize = 32;

/// The names of a form so far.
#[derive(Debug, Default)]
pub(crate) struct Names {
    files: HashSet<String>,
    /// Every directory that a name implies.
    directories: HashSet<String>,
}

impl Names {
    /// Takes the next name.
    pub(crate) fn add(&mut self, name: &str) -> Result<(), Refusal> {
        check(name)?;
        if self.files.len() >= FILES {
            let refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("more than {FILES} files"));
            return Err(refusal.hint("send them in several uploads, or put them with `pop put`"));
        }
        let twice =
            |name: &str| Refusal::new(StatusCode::BAD_REQUEST, format!("two files are named {name:?}"));
        if self.directories.contains(name) || !self.files.insert(name.to_owned()) {
            return Err(twice(name));
        }
        for (at, _) in name.match_indices('/') {
            let above = &name[..at];
            if self.files.contains(above) {
                return Err(twice(above));
            }
            if !self.directories.contains(above) {
                self.directories.insert(above.to_owned());
            }
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// Checks that every part between slashes can be the name of an entry, here and on a disk.
fn check(name: &str) -> Result<(), Refusal> {
    let bad = |why: String| {
        let refusal = Refusal::new(StatusCode::BAD_REQUEST, why);
        Err(refusal.hint("names are paths like `site/index.html`, without `.`, `..`, NUL or empty parts"))
    };
    if name.len() > PATH {
        return bad(format!("a file's name of {} bytes is over {PATH}", name.len()));
    }
    if name.split('/').count() > DEPTH {
        return bad(format!("{name:?} lies in more than {} directories", DEPTH - 1));
    }
    match name.split('/').find(|part| !is_segment(part)) {
        Some(part) => bad(format!("{part:?} in {name:?} cannot be the name of a file")),
        None => Ok(()),
    }
}

fn is_segment(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && part.len() <= SEGMENT && !part.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(names: &[&str]) -> Result<(), String> {
        let mut taken = Names::default();
        names.iter().try_for_each(|name| taken.add(name)).map_err(|refusal| refusal.message.clone())
    }

    #[test]
    fn names_are_paths_below_the_root() {
        for good in ["a", "a b.txt", "日本.html", "a/b/c", "...", "a\\b", ".hidden", "%2e%2e"] {
            assert_eq!(take(&[good]), Ok(()), "{good}");
        }
        let (long, deep) = ("x".repeat(256), "d/".repeat(32) + "f");
        for bad in ["", ".", "..", "/", "/a", "a/", "a//b", "a/../b", "../a", "a\0b", &long, &deep] {
            assert!(take(&[bad]).is_err(), "{bad}");
        }
        assert!(take(&[&format!("{}f", "ab/".repeat(350))]).is_err());
        assert_eq!(take(&[&"x".repeat(255)]), Ok(()));
    }

    #[test]
    fn nothing_stands_twice_and_no_file_is_a_directory() {
        assert_eq!(take(&["a", "b", "c/a", "c/b", "c/d/a"]), Ok(()));
        assert_eq!(take(&["a", "a"]), Err("two files are named \"a\"".into()));
        assert_eq!(take(&["a", "a/b"]), Err("two files are named \"a\"".into()));
        assert_eq!(take(&["a/b", "a"]), Err("two files are named \"a\"".into()));
        assert_eq!(take(&["a/b/c", "a/b"]), Err("two files are named \"a/b\"".into()));
    }

    #[test]
    fn the_number_of_files_is_bounded() {
        let names: Vec<_> = (0..=FILES).map(|n| n.to_string()).collect();
        let mut taken = Names::default();
        names[..FILES].iter().for_each(|name| taken.add(name).unwrap());
        assert_eq!(taken.add(&names[FILES]).unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
