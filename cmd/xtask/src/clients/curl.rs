//! curl: whole files, parts, resumed downloads, conditions, redirects, archives, an upload.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::served::Served;
use super::site::{ARCHIVE, VIDEO};
use super::{Clients, program, tree, utf8};

/// Bytes of a download that somebody began before.
const BEGUN: usize = 2_500_000;

/// What curl tells after a transfer.
struct Told {
    status: String,
    size: u64,
    media: String,
    url: String,
}

/// Runs the steps.
pub(super) fn run(clients: &mut Clients) -> Result<()> {
    println!("      {}", program::version("curl")?);
    clients.steps(
        "curl",
        &[
            ("whole file", whole),
            ("HTTP/1.0", |clients| fetch_same(clients, &["--http1.0"])),
            ("--compressed", |clients| fetch_same(clients, &["--compressed"])),
            ("resume, -C -", resume),
            ("ranges, -r", ranges),
            ("HEAD, -I", head),
            ("--etag-compare", etag),
            ("-z", since),
            ("redirect to an origin of its own, -L", redirect),
            ("CAR into a second node", car),
            ("tar", archive),
            ("upload", upload),
        ],
    );
    Ok(())
}

/// Runs curl, which writes the body to `to`.
fn curl(to: &Path, words: &[&str]) -> Result<Told> {
    let mut command = Command::new("curl");
    command.args(["-q", "-sS", "--max-time", "60", "-o"]).arg(to);
    command.args(["-w", "%{http_code}\\n%{size_download}\\n%{content_type}\\n%{url_effective}"]).args(words);
    let said = program::run(&mut command)?;
    let mut lines = said.lines().map(str::to_owned);
    let mut next = || lines.next().unwrap_or_default();
    Ok(Told { status: next(), size: next().parse().unwrap_or_default(), media: next(), url: next() })
}

impl Clients {
    fn video_url(&self) -> String {
        self.served.url(&format!("ipfs/{}/{VIDEO}", self.site.cid))
    }
}

impl Told {
    fn is(&self, status: &str) -> Result<()> {
        ensure!(self.status == status, "{} instead of {status}", self.status);
        Ok(())
    }
}

fn whole(clients: &Clients) -> Result<String> {
    let to = clients.space("curl")?.join("whole");
    let told = curl(&to, &[&clients.video_url()])?;
    told.is("200")?;
    ensure!(told.media == "video/webm", "type {}", told.media);
    Ok(format!("200 {}, {}", told.media, tree::same_file(&clients.site.path(VIDEO), &to)?))
}

fn fetch_same(clients: &Clients, words: &[&str]) -> Result<String> {
    let to = clients.space("curl")?.join("same");
    let told = curl(&to, &[words, &[&clients.video_url()]].concat())?;
    told.is("200")?;
    tree::same_file(&clients.site.path(VIDEO), &to)
}

fn resume(clients: &Clients) -> Result<String> {
    let to = clients.space("curl")?.join("resumed");
    let video = clients.site.read(VIDEO)?;
    std::fs::write(&to, video.get(..BEGUN).unwrap_or_default())?;
    let told = curl(&to, &["-C", "-", &clients.video_url()])?;
    told.is("206")?;
    let rest = video.len().saturating_sub(BEGUN);
    ensure!(told.size == u64::try_from(rest)?, "{} bytes came, {rest} were missing", told.size);
    let same = tree::same_file(&clients.site.path(VIDEO), &to)?;
    // Nothing is missing now: the answer is 416, which curl takes for what it is (not with -f).
    let again = curl(&to, &["-C", "-", &clients.video_url()])?;
    again.is("416")?;
    tree::same_file(&clients.site.path(VIDEO), &to)?;
    Ok(format!("206 with the {rest} bytes that were missing, {same}; again: 416, unchanged"))
}

fn ranges(clients: &Clients) -> Result<String> {
    let to = clients.space("curl")?.join("part");
    let video = clients.site.read(VIDEO)?;
    let end = video.len();
    let cases = [
        ("0-0", 0..1),
        ("1000000-1999999", 1_000_000..2_000_000),
        ("7000000-", 7_000_000..end),
        ("-1000", end.saturating_sub(1000)..end),
    ];
    for (asked, part) in cases.clone() {
        curl(&to, &["-r", asked, &clients.video_url()])?.is("206")?;
        let came = std::fs::read(&to)?;
        ensure!(video.get(part) == Some(&came), "{asked}: {} bytes came and differ", came.len());
    }
    Ok(format!("{} are equal", cases.map(|(asked, _)| asked).join(", ")))
}

fn head(clients: &Clients) -> Result<String> {
    let space = clients.space("curl")?;
    let (of_head, of_get, body) = (space.join("head"), space.join("get"), space.join("body"));
    curl(&body, &["-I", "-D", utf8(&of_head)?, &clients.video_url()])?.is("200")?;
    curl(&body, &["-D", utf8(&of_get)?, &clients.video_url()])?.is("200")?;
    let (of_head, of_get) = (headers(&of_head)?, headers(&of_get)?);
    ensure!(of_head == of_get, "HEAD {of_head:?}, GET {of_get:?}");
    let length = format!("content-length: {}", std::fs::metadata(&body)?.len());
    ensure!(of_head.contains(&length), "no {length} in {of_head:?}");
    Ok(format!("the {} headers of GET, {length}", of_head.len()))
}

/// Returns the headers but those that tell of the moment.
fn headers(file: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file)?.to_lowercase();
    let is_of_moment = |line: &&str| {
        ["date:", "server-timing:", "x-request-id:"].iter().any(|name| line.starts_with(name))
            || line.is_empty()
    };
    Ok(text.lines().map(str::trim).filter(|line| !is_of_moment(line)).map(str::to_owned).collect())
}

fn etag(clients: &Clients) -> Result<String> {
    let space = clients.space("curl")?;
    let (kept, to, none) = (space.join("etag"), space.join("first"), space.join("second"));
    curl(&to, &["--etag-save", utf8(&kept)?, &clients.video_url()])?.is("200")?;
    let told = curl(&none, &["--etag-compare", utf8(&kept)?, &clients.video_url()])?;
    told.is("304")?;
    ensure!(told.size == 0, "{} bytes came", told.size);
    Ok(format!("304 without a body for {}", std::fs::read_to_string(kept)?.trim()))
}

fn since(clients: &Clients) -> Result<String> {
    let to = clients.space("curl")?.join("since");
    // The site has no times, so that nothing can be told of what changed since when: all of it is the answer.
    curl(&to, &["-z", "2038-01-01 00:00:00", &clients.video_url()])?.is("200")?;
    let same = tree::same_file(&clients.site.path(VIDEO), &to)?;
    Ok(format!("200, as content without a time has no Last-Modified; {same}"))
}

fn redirect(clients: &Clients) -> Result<String> {
    let to = clients.space("curl")?.join("led");
    let Clients { site, served, .. } = clients;
    let asked = served.url(&format!("ipfs/{}/pages/one.html", site.cid)).replace("127.0.0.1", "localhost");
    let told = curl(&to, &["-L", &asked])?;
    told.is("200")?;
    let wanted = format!("{}/pages/one.html", served.origin(&site.cid));
    ensure!(told.url == wanted, "led to {}", told.url);
    Ok(format!("from localhost to {wanted}, {}", tree::same_file(&site.path("pages/one.html"), &to)?))
}

fn car(clients: &Clients) -> Result<String> {
    let space = clients.space("curl")?;
    let (car, to) = (space.join("site.car"), space.join("from-car"));
    let Clients { site, served, .. } = clients;
    let told = curl(&car, &[&served.url(&format!("ipfs/{}?format=car", site.cid))])?;
    told.is("200")?;
    let second = Served::start(&clients.binary, &clients.folder, "second", &[])?;
    let taken = second.call(&["import", utf8(&car)?])?;
    let roots = taken.get("roots").and_then(Value::as_array).cloned().unwrap_or_default();
    ensure!(roots == [Value::from(site.cid.as_str())], "roots {roots:?}");
    second.call(&["get", &site.cid, "-o", utf8(&to)?])?;
    let blocks = taken.get("blocks").and_then(Value::as_u64).unwrap_or_default();
    let same = tree::same(&site.folder, &to, &[])?;
    Ok(format!("{}, {} bytes, {blocks} blocks with the same root; {same}", told.media, told.size))
}

fn archive(clients: &Clients) -> Result<String> {
    let space = clients.space("curl")?;
    let (tar, to) = (space.join("site.tar"), space.join("from-tar"));
    let Clients { site, served, .. } = clients;
    curl(&tar, &[&served.url(&format!("ipfs/{}?format=tar", site.cid))])?.is("200")?;
    std::fs::create_dir_all(&to)?;
    program::run(Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&to))?;
    tree::same(&site.folder, &to.join(&site.cid), &[])
}

fn upload(clients: &Clients) -> Result<String> {
    let space = clients.space("curl")?;
    let (headers, body, back) = (space.join("upload.headers"), space.join("upload"), space.join("back"));
    let file = clients.site.path(ARCHIVE);
    let from = format!("@{}", utf8(&file)?);
    let told = curl(&body, &["-D", utf8(&headers)?, "--data-binary", &from, &clients.served.url("")])?;
    told.is("201")?;
    let headers = std::fs::read_to_string(headers)?;
    let header = |name: &str| {
        let line = headers.lines().find(|line| line.to_lowercase().starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let location = header("location:");
    let path = location.split_once("://").map_or(location.as_str(), |(_, rest)| rest);
    let path = path.split_once('/').map_or("", |(_, path)| path);
    curl(&back, &[&clients.served.url(path)])?.is("200")?;
    let same = tree::same_file(&file, &back)?;
    Ok(format!("201, Ipfs-Hash {}, back from {location}: {same}", header("ipfs-hash:")))
}
