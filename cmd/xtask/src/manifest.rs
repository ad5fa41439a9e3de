//! Rules over manifests and the lock file: versions in one place, known sources, unwanted crates.

use crate::finding::Finding;

/// Crates that must never enter, by prefix, with the reason.
const UNWANTED: &[(&str, &str)] = &[
    ("interledger", "the ledger is our own; its shape can grow without it"),
    ("beetswap", "holds whole stores in memory and needs an older libp2p"),
    ("fil_actor_", "drags the proof system in; recorded traces of the real actor test ours instead"),
];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Returns whether a manifest is the root of a workspace of its own, which has nothing to inherit from.
pub(crate) fn is_workspace(text: &str) -> bool {
    text.lines().any(|line| line.trim() == "[workspace]")
}

/// Checks a member's manifest: every dependency and package key that the workspace owns is inherited.
pub(crate) fn check_member(path: &str, text: &str) -> Vec<Finding> {
    let mut section = String::new();
    let mut findings = Vec::new();
    for (number, line) in numbered(text) {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            if let Some(inline) = section.split("dependencies.").nth(1) {
                findings.push(Finding::failure(
                    format!("{path}:{number}"),
                    "versions",
                    format!("{inline} has a table of its own"),
                    "write it on one line with `workspace = true`",
                ));
            }
            continue;
        }
        let owned = section.ends_with("dependencies")
            || (section == "package" && line.starts_with("version"))
            || (section == "package" && line.starts_with("edition"));
        if owned && line.contains('=') && !line.starts_with('#') && !is_inherited(line) {
            findings.push(Finding::failure(
                format!("{path}:{number}"),
                "versions",
                format!("`{line}` is not inherited"),
                "name the version in [workspace.dependencies] of the root and write `workspace = true` here",
            ));
        }
    }
    if !text.contains("[lints]\nworkspace = true") {
        findings.push(Finding::failure(
            path,
            "lints",
            "the workspace's lints do not apply",
            "add `[lints]` with `workspace = true`",
        ));
    }
    findings
}

fn is_inherited(line: &str) -> bool {
    let dense: String = line.chars().filter(|c| !c.is_whitespace()).collect();
    dense.contains("workspace=true")
}

/// Checks the lock file: no unwanted crate, no source but the public index.
pub(crate) fn check_lock(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in numbered(text) {
        let place = || format!("{path}:{number}");
        if let Some(name) = quoted(line, "name = ")
            && let Some((_, reason)) = UNWANTED.iter().find(|(prefix, _)| name.starts_with(prefix))
        {
            findings.push(Finding::failure(
                place(),
                "unwanted",
                format!("{name} is in the lock file"),
                format!("drop what pulls it in (`cargo tree -i {name}`): {reason}"),
            ));
        }
        if let Some(source) = quoted(line, "source = ")
            && source != CRATES_IO
        {
            findings.push(Finding::failure(
                place(),
                "sources",
                format!("source {source} is not the public index"),
                "depend on a published version and lock again without source replacement",
            ));
        }
    }
    findings
}

fn quoted<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix('"')?.strip_suffix('"')
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = "[lints]\nworkspace = true\n";

    fn places(text: &str) -> Vec<String> {
        check_member("a/Cargo.toml", &format!("{text}{LINTS}"))
            .into_iter()
            .map(|finding| finding.place)
            .collect()
    }

    #[test]
    fn workspace_of_its_own_is_told_from_a_member() {
        assert!(is_workspace("[package]\nname = \"a\"\n\n[workspace]\n"));
        assert!(!is_workspace("[package]\nversion.workspace = true\n[lints]\nworkspace = true\n"));
    }

    #[test]
    fn inherited_dependencies_pass() {
        let text = "[package]\nname = \"a\"\nversion.workspace = true\n\n[dependencies]\n\
                    serde.workspace = true\nx = { workspace = true, features = [\"y\"] }\n";
        assert!(places(text).is_empty());
    }

    #[test]
    fn version_in_a_member_is_found_with_its_line() {
        let text = "[package]\nversion = \"1.0.0\"\n[dev-dependencies]\nserde = \"1\"\n";
        assert_eq!(places(text), ["a/Cargo.toml:2", "a/Cargo.toml:4"]);
    }

    #[test]
    fn dependency_table_is_found() {
        let text = "[dependencies.serde]\nversion = \"1\"\n";
        assert_eq!(places(text).len(), 1);
    }

    #[test]
    fn member_without_the_lints_is_found() {
        assert_eq!(check_member("a/Cargo.toml", "[package]\n")[0].rule, "lints");
    }

    #[test]
    fn unwanted_crate_and_foreign_source_are_found() {
        let text = "[[package]]\nname = \"beetswap\"\nversion = \"0.5.0\"\nsource = \"git+https://host/x\"\n";
        let rules: Vec<_> = check_lock("Cargo.lock", text).into_iter().map(|f| f.rule).collect();
        assert_eq!(rules, ["unwanted", "sources"]);
    }

    #[test]
    fn public_index_passes() {
        let text = format!("[[package]]\nname = \"serde\"\nsource = \"{CRATES_IO}\"\n");
        assert!(check_lock("Cargo.lock", &text).is_empty());
    }
}
