//! wget: a file, a download that somebody began, and a mirror of the whole site.

use std::process::Command;

use anyhow::{Result, ensure};

use super::served::{field, status};
use super::site::VIDEO;
use super::{Clients, program, tree};

/// Bytes of a download that somebody began before.
const BEGUN: usize = 2_500_000;

/// Runs the steps.
pub(super) fn run(clients: &mut Clients) -> Result<()> {
    println!("      {}", program::version("wget")?);
    clients.steps("wget", &[("whole file", whole), ("resume, -c", resume), ("mirror, -r", mirror)]);
    Ok(())
}

fn wget() -> Command {
    let mut command = Command::new("wget");
    command.args(["--no-config", "--no-verbose", "--tries=1", "--timeout=30"]);
    command
}

fn whole(clients: &Clients) -> Result<String> {
    let to = clients.space("wget")?.join("whole");
    let url = clients.served.url(&format!("ipfs/{}/{VIDEO}", clients.site.cid));
    program::run(wget().arg("-O").arg(&to).arg(url))?;
    tree::same_file(&clients.site.path(VIDEO), &to)
}

fn resume(clients: &Clients) -> Result<String> {
    let space = clients.space("wget")?;
    let to = space.join(VIDEO);
    std::fs::write(&to, clients.site.read(VIDEO)?.get(..BEGUN).unwrap_or_default())?;
    let mark = clients.served.mark()?;
    let url = clients.served.url(&format!("ipfs/{}/{VIDEO}", clients.site.cid));
    program::run(wget().arg("-c").arg("-P").arg(&space).arg(&url))?;
    let same = tree::same_file(&clients.site.path(VIDEO), &to)?;
    let asked = format!("bytes={BEGUN}-");
    clients
        .served
        .logged(mark, |line| (status(line) == 206 && field(line, "range") == asked).then_some(()))?;
    // Nothing is missing now, which wget takes from 416.
    program::run(wget().arg("-c").arg("-P").arg(&space).arg(&url))?;
    tree::same_file(&clients.site.path(VIDEO), &to)?;
    Ok(format!("206 for {asked}, {same}; again: unchanged"))
}

fn mirror(clients: &Clients) -> Result<String> {
    let space = clients.space("wget-mirror")?;
    let mark = clients.served.mark()?;
    let mut command = wget();
    // Names that are not ASCII are to be files so named. The site ends where its parent would begin.
    command.env("LC_ALL", "C.UTF-8").arg("--restrict-file-names=nocontrol");
    command.args(["-r", "-l", "9", "-np", "-nH", "--cut-dirs=2"]);
    // Links to folders lead on to themselves with a slash, under which the files are; the forms of a folder that a
    // listing offers besides are not part of the site.
    command.args(["--trust-server-names", "--reject-regex=[?]format=", "-P"]).arg(&space);
    program::run(command.arg(clients.served.url(&format!("ipfs/{}/", clients.site.cid))))?;
    let requests = clients.served.since(mark)?;
    let is_wrong = |line: &&serde_json::Value| {
        !matches!(status(line), 200 | 301) && field(line, "path") != "/robots.txt"
    };
    let wrong: Vec<_> = requests.iter().filter(is_wrong).collect();
    ensure!(wrong.is_empty(), "{wrong:?}");
    // A folder without an index comes as its listing, and what the listing names as files.
    let listings = ["files/index.html", "files/deeper/index.html"];
    let same = tree::same(&clients.site.folder, &space, &listings)?;
    Ok(format!("{} requests; {same}; besides {}", requests.len(), listings.join(" and ")))
}
