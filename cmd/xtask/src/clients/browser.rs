//! A headless Chromium: the site in both forms, the listing, and what the access log says of the video.
//!
//! The site's script checks from inside what a visitor would see and writes it into the document; here it is read.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::served::{field, status};
use super::site::{LISTED, VIDEO};
use super::{Clients, gate, program, utf8};

/// Nothing but the pages that are asked for.
const QUIET: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Runs the steps.
pub(super) fn run(clients: &mut Clients) -> Result<()> {
    println!("      {}", program::version("chromium")?);
    clients.steps(
        "chromium",
        &[
            ("site on an origin of its own", own_origin),
            ("site from the path form", path_form),
            ("site by a name that leads to its origin", led),
            ("listing", |clients| listing(clients, "listing.png", &[])),
            ("listing, dark", |clients| {
                listing(clients, "listing-dark.png", &["--blink-settings=preferredColorScheme=0"])
            }),
            ("listing on an origin of its own", own_listing),
        ],
    );
    Ok(())
}

/// Loads a page and returns its document as it is at the end.
fn load(clients: &Clients, url: &str, screenshot: Option<&Path>, words: &[&str]) -> Result<String> {
    // A profile for each page: what a cache answers is not what the gateway answers.
    let profile = tempfile::Builder::new().prefix("profile-").tempdir_in(&clients.folder)?;
    let mut command = Command::new("chromium");
    command.args(QUIET).arg(format!("--user-data-dir={}", utf8(profile.path())?)).args(words);
    command.arg("--window-size=1280,900");
    if let Some(path) = screenshot {
        command.arg(format!("--screenshot={}", utf8(path)?));
    }
    program::run(command.arg("--dump-dom").arg(url))
}

fn own_origin(clients: &Clients) -> Result<String> {
    let origin = clients.served.origin(&clients.site.cid);
    // The folder of pages as content of its own, so that it is a stranger to the site.
    let listed =
        program::run(Command::new("curl").args(["-q", "-sS", "-f", "-I"]).arg(format!("{origin}/pages/")))?;
    let roots = listed
        .lines()
        .find_map(|line| line.strip_prefix("x-ipfs-roots: "))
        .context("no roots in the answer")?;
    let pages = roots.trim().rsplit(',').next().context("no CID of the pages")?;
    let stranger = clients.served.origin(pages);
    let asked = format!("{origin}/?stranger={stranger}/three.html");
    let seen = visit(clients, &asked, "site.png")?;
    let expected = outcome(&origin, &json!("yes"), true, &json!([stranger, false]));
    ensure!(seen.outcome == expected, "the page saw {}, not {expected}", seen.outcome);
    Ok(format!(
        "style, 2 pictures, 3 pages by their links, storage; a page of other content does not reach it; {}",
        seen.video
    ))
}

fn path_form(clients: &Clients) -> Result<String> {
    let asked = clients.served.url(&format!("ipfs/{}/?", clients.site.cid));
    let seen = visit(clients, &asked, "site-path.png")?;
    // Sandboxed, as all content would have one origin: no storage, and pages that do not reach each other.
    let expected = outcome("null", &json!("SecurityError"), false, &Value::Null);
    ensure!(seen.outcome == expected, "the page saw {}, not {expected}", seen.outcome);
    Ok(format!("style, 2 pictures, 3 pages by their links; sandboxed, no storage; {}", seen.video))
}

fn led(clients: &Clients) -> Result<String> {
    let asked = clients.served.url(&format!("ipfs/{}/?", clients.site.cid)).replace("127.0.0.1", "localhost");
    let seen = visit(clients, &asked, "site-led.png")?;
    let origin = clients.served.origin(&clients.site.cid);
    let expected = outcome(&origin, &json!("yes"), true, &Value::Null);
    ensure!(seen.outcome == expected, "the page saw {}, not {expected}", seen.outcome);
    Ok(format!("localhost led to {origin}; {}", seen.video))
}

/// What the script of the site must have seen.
fn outcome(origin: &str, storage: &Value, reaches: bool, stranger: &Value) -> Value {
    json!({
        "origin": origin,
        "style": "rgb(18, 103, 130)",
        "png": [640, 400],
        "svg": [240, 160],
        "storage": storage,
        "tour": [["Page one", reaches], ["Page two", reaches], ["Page three", reaches]],
        "stranger": stranger,
        "video": { "duration": 60, "at": 40.5, "size": [320, 180], "colour": "blue" },
    })
}

struct Seen {
    outcome: Value,
    /// What was asked for when the script sought in the video.
    video: String,
}

/// Loads the site with its script and looks up in the access log how it got the later part of the video.
fn visit(clients: &Clients, url: &str, screenshot: &str) -> Result<Seen> {
    let mark = clients.served.mark()?;
    let gate = gate::open()?;
    let (head, query) = url.split_once('?').unwrap_or((url, ""));
    let url = format!("{head}?{query}&check=http://{gate}");
    let document = load(clients, &url, Some(&clients.out.join(screenshot)), &[])?;
    let text = document.split_once("<pre id=\"outcome\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let (text, _) = text.context("no outcome in the document")?;
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let outcome: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    if let Some(error) = outcome.get("error") {
        bail!("the page's script met {error}");
    }
    let size = std::fs::metadata(clients.site.path(VIDEO))?.len();
    let video = clients.served.logged(mark, |line| {
        let range = field(line, "range");
        let from: u64 = range.strip_prefix("bytes=")?.split('-').next()?.parse().ok()?;
        // Forty of sixty seconds, less what the decoder wants from before.
        let is_later = from > size / 2 && field(line, "path").split('?').next()?.ends_with(VIDEO);
        (status(line) == 206 && is_later).then(|| format!("seek to 40.5 s of 60: 206 for {range} of {size}"))
    })?;
    Ok(Seen { outcome, video })
}

fn listing(clients: &Clients, screenshot: &str, words: &[&str]) -> Result<String> {
    let url = clients.served.url(&format!("ipfs/{}/files/", clients.site.cid));
    has_names(&load(clients, &url, Some(&clients.out.join(screenshot)), words)?)
}

fn own_listing(clients: &Clients) -> Result<String> {
    let url = format!("{}/files/", clients.served.origin(&clients.site.cid));
    has_names(&load(clients, &url, Some(&clients.out.join("listing-origin.png")), &[])?)
}

/// Checks that a listing names what the folder holds.
fn has_names(document: &str) -> Result<String> {
    for name in LISTED {
        let name = name.replace('&', "&amp;");
        ensure!(document.contains(&format!(">{name}<")), "{name} is not listed in {document}");
    }
    Ok(format!("all {} names", LISTED.len()))
}
