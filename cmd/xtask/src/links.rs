//! Dead relative links, dead anchors and dead `folder/paths` in the documents.
//!
//! Links to other hosts are not followed: the gate passes without a network.

use std::collections::HashMap;

use crate::finding::Finding;

/// A document by its path relative to the workspace.
pub(crate) type Documents = HashMap<String, String>;

/// The folders at the top; what a document names below them must exist.
const FOLDERS: &[&str] = &["cmd/", "node/", "exchange/", "wallet/", "testdata/", "docs/"];

/// Tells what was, so it may name what is gone.
const HISTORY: &str = "CHANGELOG.md";

/// Returns every relative link of `documents` whose file (asked with `exists`) or anchor is missing.
pub(crate) fn check(documents: &Documents, exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings: Vec<Finding> = documents
        .iter()
        .flat_map(|(path, text)| {
            targets(text)
                .into_iter()
                .filter_map(move |(number, target)| check_target(path, number, &target, documents, exists))
        })
        .collect();
    let living = documents.iter().filter(|(path, _)| *path != HISTORY);
    findings.extend(living.flat_map(|(path, text)| check_named(path, text, exists)));
    findings.sort_by(|a, b| a.place.cmp(&b.place));
    findings
}

/// Checks the paths of this workspace that a document names as code.
fn check_named(path: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let is_path = |word: &&str| {
        FOLDERS.iter().any(|folder| word.starts_with(folder))
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    };
    prose(text)
        .flat_map(|(number, line)| line.split('`').skip(1).step_by(2).map(move |word| (number, word)))
        .filter(|(_, word)| is_path(word) && !exists(word.trim_end_matches('/')))
        .map(|(number, word)| {
            let fact = format!("`{word}` does not exist");
            Finding::failure(format!("{path}:{number}"), "links", fact, "name the file that took its place")
        })
        .collect()
}

fn check_target(
    path: &str,
    number: usize,
    target: &str,
    documents: &Documents,
    exists: &dyn Fn(&str) -> bool,
) -> Option<Finding> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let place = format!("{path}:{number}");
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let file = if file.is_empty() { Some(path.to_owned()) } else { resolve(path, file) };
    let Some(file) = file.filter(|file| exists(file)) else {
        let fact = format!("link to {target} leads nowhere");
        return Some(Finding::failure(place, "links", fact, "point it at a file of this checkout"));
    };
    let anchor = anchor?;
    let text = documents.get(&file)?;
    (!anchors(text).iter().any(|known| known == anchor)).then(|| {
        Finding::failure(
            place,
            "links",
            format!("{file} has no heading for #{anchor}"),
            "use the heading's text in lower case, spaces as hyphens, without punctuation",
        )
    })
}

/// Joins a relative link onto the folder of `from`; `None` when it leaves the workspace.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Returns the lines outside code fences with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let line = without_code(line);
        for (at, _) in line.match_indices("](") {
            let rest = line.get(at + 2..).unwrap_or("");
            let target = rest.split([')', ' ']).next().unwrap_or("");
            found.push((number, target.to_owned()));
        }
        if let Some((_, target)) = line.split_once("]: ").filter(|_| line.starts_with('[')) {
            found.push((number, target.trim().to_owned()));
        }
    }
    found
}

/// Drops `inline code`, where brackets are not links.
fn without_code(line: &str) -> String {
    line.split('`').enumerate().filter(|(index, _)| index % 2 == 0).map(|(_, part)| part).collect()
}

/// Returns the anchors that hosting sites make of a document's headings.
fn anchors(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let slug = slug(title);
        let again = found.iter().filter(|known| **known == slug).count();
        found.push(if again == 0 { slug } else { format!("{slug}-{again}") });
    }
    found
}

fn slug(title: &str) -> String {
    title
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(path: &str, text: &str) -> Vec<String> {
        let mut documents = Documents::new();
        documents.insert("docs/b.md".to_owned(), "# One `two`, three\n## Money: rules\n".to_owned());
        documents.insert(path.to_owned(), text.to_owned());
        let known = ["docs/b.md", "README.md", "docs"];
        check(&documents, &|file| known.contains(&file)).into_iter().map(|finding| finding.fact).collect()
    }

    #[test]
    fn living_links_pass() {
        assert!(
            facts("README.md", "[b](docs/b.md#one-two-three), [up](./docs), [x](https://a.b/c)").is_empty()
        );
        assert!(facts("docs/a.md", "[b](b.md#money-rules) and [r](../README.md)").is_empty());
    }

    #[test]
    fn dead_file_and_dead_anchor_are_found() {
        assert_eq!(facts("README.md", "[b](docs/c.md)"), ["link to docs/c.md leads nowhere"]);
        assert_eq!(facts("README.md", "[b](docs/b.md#four)"), ["docs/b.md has no heading for #four"]);
        assert_eq!(facts("README.md", "# A\n[self](#b)").len(), 1);
    }

    #[test]
    fn link_out_of_the_workspace_is_dead() {
        assert_eq!(facts("README.md", "[b](../x.md)").len(), 1);
    }

    #[test]
    fn code_is_not_a_link() {
        assert!(facts("README.md", "`[a](b)`\n```\n[a](b)\n# Not a heading\n```\n").is_empty());
    }

    #[test]
    fn named_path_must_exist_except_in_history() {
        assert_eq!(
            facts("README.md", "see `docs/b.md`, `node/x.rs` and `a/b`"),
            ["`node/x.rs` does not exist"]
        );
        assert!(facts("CHANGELOG.md", "gone: `node/x.rs`").is_empty());
    }

    #[test]
    fn second_heading_of_the_same_name_is_numbered() {
        assert_eq!(anchors("# A\n# A\n"), ["a", "a-1"]);
    }
}
