//! Kills in the middle of a fetch for a client: of the node that fetches, and of the one that has the content.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use pop_units::Bytes;

use super::client::{Got, get};
use super::{Round, hit, moment, text_of};
use crate::abuse::door::{free, listens};
use crate::abuse::wire::End;
use crate::fleet::{Binary, CALL, Daemon, Role, count, text, until};
use crate::market::LONG;
use crate::sample;

/// Requests after a kill: the first may come before the nodes have found each other again.
const ATTEMPTS: u32 = 30;
/// Content that nobody has.
const NOBODY: &str = "/ipfs/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
/// Content that everybody has, since its CID says it.
const EVERYBODY: &str = "/ipfs/bafkqaaa?format=raw";

/// Who dies, and what its client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    Gateway,
    Provider,
    /// While an HTTP/1.0 client reads a CAR, of which nobody says how long it is.
    GatewayOfCar,
    /// Likewise.
    ProviderOfCar,
}

impl Kill {
    fn what(self) -> &'static str {
        match self {
            Self::Gateway => "the gateway, in a fetch",
            Self::Provider => "the provider, in a fetch",
            Self::GatewayOfCar => "the gateway, in a CAR to HTTP/1.0",
            Self::ProviderOfCar => "the provider, in a CAR to HTTP/1.0",
        }
    }

    fn is_of_gateway(self) -> bool {
        matches!(self, Self::Gateway | Self::GatewayOfCar)
    }

    fn is_of_car(self) -> bool {
        matches!(self, Self::GatewayOfCar | Self::ProviderOfCar)
    }
}

struct Pair {
    provider: Daemon,
    gateway: Daemon,
    at: SocketAddr,
    folder: PathBuf,
    size: Bytes,
    usual: Duration,
}

/// Content that only the provider has.
struct Content {
    file: PathBuf,
    root: String,
    path: String,
}

pub(super) fn rounds(binary: &Binary, folder: &Path, size: Bytes, rounds: u32) -> Result<Vec<Round>> {
    let mut pair = Pair::open(binary, folder, size)?;
    let mut done = Vec::new();
    for number in 0..rounds {
        let kills = [Kill::Gateway, Kill::Provider, Kill::GatewayOfCar, Kill::ProviderOfCar];
        let kill = kills.into_iter().cycle().nth(usize::try_from(number % 4)?).context("a kill")?;
        let round = hit(|| pair.round(kill)).with_context(|| {
            let (gateway, provider) = (pair.gateway.log_tail(), pair.provider.log_tail());
            format!(
                "round {}, {}; the gateway said\n{gateway}\nthe provider said\n{provider}",
                number + 1,
                kill.what()
            )
        })?;
        done.push(round);
    }
    pair.gateway.stop()?;
    pair.provider.stop()?;
    Ok(done)
}

impl Pair {
    fn open(binary: &Binary, folder: &Path, size: Bytes) -> Result<Self> {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let role = Role { name: "provider", flags: words(&["--chain", "local"]), serves_chain: false };
        let provider = Daemon::start(binary, folder, role)?;
        let (at, address) = (free()?, provider.address());
        let listen = at.to_string();
        let fetch = ["--gateway-fetch", "free", "--gateway-timeout", "5s", "--bootstrap", &address];
        let flags = words(&[["--chain", "local", "--gateway-listen", &listen].as_slice(), &fetch].concat());
        let role = Role { name: "gateway", flags, serves_chain: false };
        let gateway = Daemon::start(binary, folder, role)?;
        let mut pair = Self { provider, gateway, at, folder: folder.to_owned(), size, usual: Duration::ZERO };
        pair.together()?;
        let content = pair.publish()?;
        let begun = Instant::now();
        pair.whole(&content)?;
        pair.usual = begun.elapsed();
        eprintln!("an undisturbed fetch takes {:.2} s", pair.usual.as_secs_f64());
        pair.clear(&content)?;
        Ok(pair)
    }

    /// Waits until the nodes know each other and the gateway listens.
    fn together(&self) -> Result<()> {
        listens(self.at)?;
        until("connection between the nodes", CALL, || {
            let peers = self.gateway.call(&["peers"], CALL)?;
            Ok(peers.as_array().filter(|peers| !peers.is_empty()).map(|_| ()))
        })
    }

    fn publish(&self) -> Result<Content> {
        let file = self.folder.join("fetched.bin");
        sample::write_random(&file, self.size)?;
        self.provider.call(&["put", text_of(&file)?], LONG)?;
        let root = text(&self.provider.call(&["commit", "--cache-rf", "0"], LONG)?, "root")?;
        let path = format!("/ipfs/{root}/fetched.bin");
        Ok(Content { file, root, path })
    }

    /// Removes a round's content, so that rounds do not add up on disk.
    fn clear(&self, content: &Content) -> Result<()> {
        std::fs::remove_file(&content.file)?;
        for node in [&self.provider, &self.gateway] {
            // What came in part may be no root there.
            let _ = node.call(&["rm", &content.root], CALL);
            node.call(&["gc"], LONG)?;
        }
        Ok(())
    }

    /// Asks until everything is there; returns how often, and how long the last took.
    fn whole(&self, content: &Content) -> Result<(u32, Duration, Vec<u16>)> {
        let mut statuses = Vec::new();
        for attempt in 1..=ATTEMPTS {
            let begun = Instant::now();
            let got = get(self.at, &content.path, "1.1", Some(&content.file))?;
            ensure!(got.status != 200 || got.is_equal, "other bytes came: {got:?}");
            if got.is_file(&content.file)? {
                return Ok((attempt, begun.elapsed(), statuses));
            }
            ensure!(!got.is_success(), "a short success: {got:?}");
            ensure!(matches!(got.status, 0 | 200 | 404 | 502 | 504), "status {}", got.status);
            statuses.push(got.status);
            std::thread::sleep(Duration::from_secs(1));
        }
        bail!("not complete after {ATTEMPTS} requests: {statuses:?}")
    }

    /// Kills once; `None` when the fetch was over before.
    fn round(&mut self, kill: Kill) -> Result<Option<Round>> {
        let content = self.publish()?;
        let (at, path, file) = (self.at, content.path.clone(), content.file.clone());
        let begun = Instant::now();
        let client = std::thread::spawn(move || match kill.is_of_car() {
            false => get(at, &path, "1.1", Some(&file)),
            true => get(at, &format!("{path}?format=car"), "1.0", None),
        });
        std::thread::sleep(moment(self.usual)?);
        let after = begun.elapsed();
        if client.is_finished() {
            self.clear(&content)?;
            return Ok(None);
        }
        let victim = if kill.is_of_gateway() { &mut self.gateway } else { &mut self.provider };
        victim.kill()?;
        let killed = Instant::now();
        let got = client.join().map_err(|_| anyhow::anyhow!("the client broke"))??;
        let noticed = killed.elapsed();
        let is_missed = match kill.is_of_car() {
            false => got.is_file(&content.file)?,
            // Read to its end before the kill, or to a lie: its length below tells.
            true => got.is_success(),
        };
        let notes = match kill.is_of_gateway() {
            true => self.gateway_back(&content)?,
            false => self.provider_back(&content, is_missed)?,
        };
        if is_missed && kill.is_of_car() {
            let whole = get(self.at, &format!("{}?format=car", content.path), "1.0", None)?;
            ensure!(whole.body == got.body, "a short success: {} bytes of {}", got.body, whole.body);
        }
        self.clear(&content)?;
        if is_missed {
            return Ok(None);
        }
        broken(&got)?;
        let seen = format!(
            "the client had {} and saw {} {:?} {:.1} s later; {notes}",
            Bytes::new(got.body),
            got.status,
            got.end,
            noticed.as_secs_f64()
        );
        Ok(Some(Round { what: kill.what(), after, notes: seen }))
    }

    /// Starts the gateway again; everything comes.
    fn gateway_back(&mut self, content: &Content) -> Result<String> {
        self.gateway.restart()?;
        let kept = count(&self.gateway.call(&["store"], CALL)?, "live")?;
        self.together()?;
        let (attempts, took, statuses) = self.whole(content)?;
        Ok(format!(
            "{} MiB were kept over the kill; whole at request {attempts} {statuses:?} in {:.2} s",
            kept >> 20,
            took.as_secs_f64()
        ))
    }

    /// Looks at the gateway while the provider is away, starts that again, and everything comes.
    fn provider_back(&mut self, content: &Content, is_missed: bool) -> Result<String> {
        let alone = get(self.at, EVERYBODY, "1.1", None)?;
        ensure!(alone.status == 200, "the gateway is not alive: {alone:?}");
        let nobody = get(self.at, NOBODY, "1.1", None)?;
        ensure!(matches!(nobody.status, 404 | 502 | 504), "content of nobody: {nobody:?}");
        let again = get(self.at, &content.path, "1.1", Some(&content.file))?;
        let is_right = again.is_equal && matches!(again.status, 200 | 404 | 502 | 504);
        ensure!(is_right && (is_missed || !again.is_success()), "without the provider: {again:?}");
        self.provider.restart()?;
        self.together()?;
        let (attempts, took, statuses) = self.whole(content)?;
        Ok(format!(
            "alone: {} for nobody's, {} {:?} with {} for this; whole at request {attempts} {statuses:?} in {:.2} s",
            nobody.status,
            again.status,
            again.end,
            Bytes::new(again.body),
            took.as_secs_f64()
        ))
    }
}

/// Checks that a client cannot take what it got for whole.
fn broken(got: &Got) -> Result<()> {
    ensure!(!got.is_success(), "a short success: {got:?}");
    ensure!(got.is_equal, "other bytes came: {got:?}");
    ensure!(got.end != End::Silent, "the client was left waiting: {got:?}");
    ensure!(matches!(got.status, 0 | 200 | 404 | 502 | 504), "status {}", got.status);
    Ok(())
}
