//! `cargo xtask check`: runs every rule over the checkout and prints what it found.

use std::path::PathBuf;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::finding::Finding;
use crate::layers::{self, Package, Use};
use crate::links::{self, Documents};
use crate::tree::Tree;
use crate::{manifest, source};

/// The first layer that owns clocks and tasks.
const TASK_LAYER: u8 = 5;

/// Polls an outside service, so it must wait and time out.
const TASK_EXCEPTION: &str = "pop-chain";

/// Files that other people wrote, checked by what reads them.
const FOREIGN: &str = "testdata/";

/// Runs all rules; returns whether the checkout passes.
pub(crate) fn run() -> Result<bool> {
    let metadata = MetadataCommand::new().no_deps().exec().context("cargo metadata")?;
    let root = PathBuf::from(metadata.workspace_root.as_std_path());
    let packages: Vec<Package> = metadata
        .workspace_packages()
        .into_iter()
        .map(|package| Package {
            name: package.name.to_string(),
            manifest: relative(package.manifest_path.as_str(), metadata.workspace_root.as_str()),
            uses: package.dependencies.iter().map(|used| (used.name.clone(), kind(used.kind))).collect(),
        })
        .collect();
    let tree = Tree::open(&root)?;

    let mut findings = layers::check(&packages);
    if metadata.workspace_default_packages().len() != packages.len() {
        findings.push(Finding::failure(
            "Cargo.toml",
            "members",
            "default-members leaves out a member",
            "list every member in both: `cargo test` in the root must test everything",
        ));
    }
    findings.extend(check_manifests(&tree)?);
    findings.extend(check_sources(&tree, &packages)?);
    findings.extend(check_documents(&tree)?);
    Ok(report(&findings, packages.len(), tree.files().count()))
}

fn kind(kind: DependencyKind) -> Use {
    if kind == DependencyKind::Development { Use::Test } else { Use::Shipped }
}

fn relative(path: &str, root: &str) -> String {
    path.strip_prefix(root).unwrap_or(path).trim_start_matches('/').to_owned()
}

fn check_manifests(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in tree.ending("Cargo.toml").filter(|path| *path != "Cargo.toml") {
        let text = tree.text(path)?.unwrap_or_default();
        if !manifest::is_workspace(&text) {
            findings.extend(manifest::check_member(path, &text));
        }
    }
    for path in tree.ending("Cargo.lock") {
        findings.extend(manifest::check_lock(path, &tree.text(path)?.unwrap_or_default()));
    }
    if !tree.has("Cargo.lock") {
        findings.push(Finding::failure(
            "Cargo.lock",
            "sources",
            "no lock file",
            "commit the one that `cargo check` writes",
        ));
    }
    Ok(findings)
}

fn check_sources(tree: &Tree, packages: &[Package]) -> Result<Vec<Finding>> {
    let mut sources = Vec::new();
    for path in tree.ending(".rs") {
        sources.push((path, tree.text(path)?.unwrap_or_default()));
    }
    let tests: Vec<String> =
        sources.iter().flat_map(|(path, text)| source::test_modules(path, text)).collect();
    let mut findings = Vec::new();
    for (path, text) in &sources {
        findings.extend(source::check_names(path, text));
        if source::is_test_file(path) || is_below(path, &tests) {
            continue;
        }
        findings.extend(source::check_size(path, text));
        findings.extend(source::check_header(path, text));
        if is_below_tasks(path, packages) {
            findings.extend(source::check_tasks(path, text));
        }
    }
    for path in tree.files().filter(|path| !path.starts_with(FOREIGN)) {
        if let Some(text) = tree.text(path)? {
            findings.extend(source::check_words(path, &text));
        }
    }
    Ok(findings)
}

/// Returns whether `path` is one of `modules` or a module inside one.
fn is_below(path: &str, modules: &[String]) -> bool {
    let rest = |module: &String| path.strip_prefix(module.as_str()).map(str::to_owned);
    modules.iter().filter_map(rest).any(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Returns whether the crate that owns `path` must stay free of clocks and tasks.
fn is_below_tasks(path: &str, packages: &[Package]) -> bool {
    let folder = |package: &Package| package.manifest.trim_end_matches("Cargo.toml").to_owned();
    // A face crate's folder contains its leaf crates' folders: the longest match owns the file.
    let owner = packages
        .iter()
        .filter(|package| path.starts_with(&folder(package)))
        .max_by_key(|package| package.manifest.len());
    owner.is_some_and(|owner| {
        owner.name != TASK_EXCEPTION && layers::layer(&owner.name).is_some_and(|layer| layer < TASK_LAYER)
    })
}

fn check_documents(tree: &Tree) -> Result<Vec<Finding>> {
    let mut documents = Documents::new();
    for path in tree.ending(".md") {
        documents.insert(path.to_owned(), tree.text(path)?.unwrap_or_default());
    }
    Ok(links::check(&documents, &|path| tree.has(path)))
}

fn report(findings: &[Finding], crates: usize, files: usize) -> bool {
    for finding in findings {
        println!("{finding}");
    }
    let failures = findings.iter().filter(|finding| finding.is_failure()).count();
    let warnings = findings.len() - failures;
    println!("xtask check: {crates} crates, {files} files, {failures} errors, {warnings} warnings");
    failures == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages() -> Vec<Package> {
        [
            ("pop-wallet", "wallet/"),
            ("pop-chain", "wallet/chain/"),
            ("pop-keys", "wallet/keys/"),
            ("pop-node", "node/"),
        ]
        .into_iter()
        .map(|(name, folder)| Package {
            name: name.to_owned(),
            manifest: format!("{folder}Cargo.toml"),
            uses: Vec::new(),
        })
        .collect()
    }

    #[test]
    fn leaf_crate_owns_its_files_not_the_face_around_it() {
        assert!(is_below_tasks("wallet/src/lib.rs", &packages()));
        assert!(is_below_tasks("wallet/keys/src/lib.rs", &packages()));
        assert!(!is_below_tasks("wallet/chain/src/http.rs", &packages()));
        assert!(!is_below_tasks("node/src/daemon.rs", &packages()));
    }

    #[test]
    fn test_module_covers_its_file_and_its_folder() {
        let modules = ["a/src/simulation".to_owned()];
        assert!(is_below("a/src/simulation.rs", &modules));
        assert!(is_below("a/src/simulation/link.rs", &modules));
        assert!(!is_below("a/src/simulations.rs", &modules));
    }

    #[test]
    fn warnings_alone_pass() {
        let finding = Finding::failure("a", "size", "b", "c");
        assert!(report(&[finding.clone().into_warning()], 1, 1));
        assert!(!report(&[finding], 1, 1));
    }
}
