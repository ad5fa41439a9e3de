//! Rules over source text: size, header, clocks and tasks, names, words.
//!
//! They read lines, not syntax trees: a rule that needs a parser belongs to clippy.

use crate::finding::Finding;

/// A file above this many code lines gets a warning: it is about to become two files.
const WARN_LINES: usize = 400;
/// A file above this many code lines fails.
const FAIL_LINES: usize = 600;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["common", "util", "utils", "types", "helper", "helpers", "misc"];

/// Calls that read a clock or start a task or thread.
const TASK_CALLS: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "tokio::spawn",
    "task::spawn",
    "spawn_blocking",
    "thread::spawn",
    "thread::Builder",
    "thread::sleep",
];

/// Returns the part of a Rust file that ships: everything but its test module.
pub(crate) fn shipped(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = Vec::new();
    let mut index = 0;
    while let Some(line) = lines.get(index) {
        if line.trim() == "#[cfg(test)]" {
            let item = lines.get(index + 1).map_or("", |next| next.trim());
            if item.starts_with("mod ") && item.ends_with('{') {
                break; // The house order puts tests last.
            }
            index += 2; // `mod tests;` or one test-only line.
            continue;
        }
        kept.push((index + 1, *line));
        index += 1;
    }
    kept
}

/// Returns whether a file holds tests only by its name.
pub(crate) fn is_test_file(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/") || path.contains("/benches/")
}

/// Returns the modules that a file declares for tests only, as paths without `.rs`.
pub(crate) fn test_modules(path: &str, text: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let folder = match stem.rsplit_once('/') {
        Some((folder, "mod" | "lib" | "main")) => folder,
        _ => stem,
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines
        .windows(2)
        .filter_map(|pair| match pair {
            ["#[cfg(test)]", item] => item.strip_prefix("mod ")?.strip_suffix(';'),
            _ => None,
        })
        .map(|name| format!("{folder}/{name}"))
        .collect()
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//")
}

/// Checks the size budget of a file.
pub(crate) fn check_size(path: &str, text: &str) -> Option<Finding> {
    let count = shipped(text).into_iter().filter(|(_, line)| is_code(line)).count();
    let finding = Finding::failure(
        path,
        "size",
        format!("{count} code lines (aim for {WARN_LINES}, limit {FAIL_LINES})"),
        "move one type with its methods to a sibling module",
    );
    match count {
        _ if count > FAIL_LINES => Some(finding),
        _ if count > WARN_LINES => Some(finding.into_warning()),
        _ => None,
    }
}

/// Checks that a file says first what it is.
pub(crate) fn check_header(path: &str, text: &str) -> Option<Finding> {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    (!first.starts_with("//!")).then(|| {
        Finding::failure(
            format!("{path}:1"),
            "header",
            "no `//!` line at the top",
            "say what this file is, why it exists and what it never does",
        )
    })
}

/// Waits below the task layer that are meant, each with its reason.
const MEANT: [(&str, &str); 1] = [
    // Opening a database waits a moment for a lock that sled gives up late; nothing else can be done meanwhile.
    ("exchange/store/src/state.rs", "thread::sleep"),
];

/// Checks a file below the task layer for clocks and tasks.
pub(crate) fn check_tasks(path: &str, text: &str) -> Vec<Finding> {
    let is_meant = |call: &str| MEANT.contains(&(path, call));
    let calls = |line: &str| TASK_CALLS.iter().copied().find(|call| line.contains(call) && !is_meant(call));
    shipped(text)
        .into_iter()
        .filter(|(_, line)| is_code(line))
        .filter_map(|(number, line)| calls(line).map(|call| (number, call)))
        .map(|(number, call)| {
            Finding::failure(
                format!("{path}:{number}"),
                "tasks",
                format!("{call} below the task layer"),
                "take `now` as an argument, or return a step that a task of pop-node carries out",
            )
        })
        .collect()
}

/// Checks the name of a file and of the modules it declares.
pub(crate) fn check_names(path: &str, text: &str) -> Vec<Finding> {
    let finding = |place: String, name: &str| {
        Finding::failure(
            place,
            "names",
            format!("a module called {name}"),
            "name it for the type that matters in it",
        )
    };
    let mut findings: Vec<Finding> = path
        .trim_end_matches(".rs")
        .split('/')
        .filter(|part| EMPTY_NAMES.contains(part))
        .map(|part| finding(path.to_owned(), part))
        .collect();
    for (index, line) in text.lines().enumerate() {
        let declared = line.trim().split("mod ").nth(1).filter(|_| is_code(line));
        let name = declared.map_or("", |rest| rest.trim_end_matches([';', '{', ' ']));
        if EMPTY_NAMES.contains(&name) {
            findings.push(finding(format!("{path}:{}", index + 1), name));
        }
    }
    findings
}

/// Checks any tracked text for paths of one machine and for notes without an issue.
pub(crate) fn check_words(path: &str, text: &str) -> Vec<Finding> {
    // Put together here so that this file passes its own rule.
    let private = [concat!("/", "work"), concat!("/", "root"), concat!("/", "home")];
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let place = format!("{path}:{}", index + 1);
        if let Some(prefix) = private.into_iter().find(|prefix| has_absolute(line, prefix)) {
            findings.push(Finding::failure(
                &place,
                "paths",
                format!("a path below {prefix}"),
                "write it relative to the workspace or the repo",
            ));
        }
        if line.contains("replace-with") && path.contains(".cargo/") {
            findings.push(Finding::failure(
                &place,
                "sources",
                "source replacement is checked in",
                "keep it in the machine's own cargo configuration",
            ));
        }
        if let Some(note) = notes.into_iter().find(|note| line.contains(&format!("{note}:"))) {
            findings.push(Finding::failure(
                &place,
                "notes",
                format!("{note} without an issue"),
                "do it, or open an issue and drop the note",
            ));
        }
    }
    findings
}

/// Returns whether `line` holds `prefix` as the start of an absolute path.
fn has_absolute(line: &str, prefix: &str) -> bool {
    line.match_indices(prefix).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + prefix.len()..).and_then(|text| text.chars().next());
        let starts = before.is_none_or(|c| c.is_whitespace() || "\"'`(=<>,".contains(c));
        starts && after == Some('/')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(lines: usize) -> String {
        "let x = 1;\n".repeat(lines)
    }

    #[test]
    fn size_warns_above_the_aim_and_fails_above_the_limit() {
        assert_eq!(check_size("a/src/b.rs", &code(400)), None);
        assert!(!check_size("a/src/b.rs", &code(401)).unwrap().is_failure());
        assert!(check_size("a/src/b.rs", &code(601)).unwrap().is_failure());
    }

    #[test]
    fn comments_blanks_and_tests_do_not_count() {
        let text = format!("//! Head.\n\n{}#[cfg(test)]\nmod tests {{\n{}}}\n", code(400), code(900));
        assert_eq!(check_size("a/src/b.rs", &text), None);
    }

    #[test]
    fn test_files_are_known_by_name_and_by_declaration() {
        assert!(
            is_test_file("a/src/b/tests.rs") && is_test_file("a/tests/b.rs") && !is_test_file("a/src/b.rs")
        );
        let text = "#[cfg(test)]\nmod simulation;\nmod shipped;\n#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(test_modules("a/src/deal/mod.rs", text), ["a/src/deal/simulation"]);
        assert_eq!(test_modules("a/src/deal.rs", text), ["a/src/deal/simulation"]);
        assert_eq!(test_modules("a/src/lib.rs", text), ["a/src/simulation"]);
    }

    #[test]
    fn declaration_of_a_test_file_does_not_hide_what_follows() {
        let text = "#[cfg(test)]\nmod tests;\nuse std::time::Instant;\nlet now = Instant::now();\n";
        assert_eq!(check_tasks("a/src/b.rs", text)[0].place, "a/src/b.rs:4");
    }

    #[test]
    fn header_is_the_first_line() {
        assert!(check_header("a/src/b.rs", "//! What.\n").is_none());
        assert!(check_header("a/src/b.rs", "use a;\n").is_some());
        assert!(check_header("a/src/b.rs", "").is_some());
    }

    #[test]
    fn clock_in_tests_or_comments_is_fine() {
        let text =
            "// Instant::now is not read here\nfn a() {}\n#[cfg(test)]\nmod tests {\nInstant::now();\n}\n";
        assert!(check_tasks("a/src/b.rs", text).is_empty());
    }

    #[test]
    fn empty_names_are_found_as_file_folder_and_module() {
        assert_eq!(check_names("a/src/utils.rs", "").len(), 1);
        assert_eq!(check_names("a/src/types/b.rs", "").len(), 1);
        assert_eq!(check_names("a/src/b.rs", "pub(crate) mod helpers;\n")[0].place, "a/src/b.rs:1");
        assert!(check_names("a/src/b.rs", "mod price;\n").is_empty());
    }

    #[test]
    fn private_paths_are_found_but_links_are_not() {
        let private = concat!("cd \"/", "root/x\"");
        assert_eq!(check_words("a.md", private).len(), 1);
        assert!(check_words("a.md", "see host/root/x and ../work/x, get CID/root/b").is_empty());
        assert!(check_words("a.md", concat!("the /", "workspace/x")).is_empty());
    }

    #[test]
    fn notes_need_an_issue() {
        assert_eq!(check_words("a.rs", concat!("// TO", "DO: later")).len(), 1);
    }
}
