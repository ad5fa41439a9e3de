//! The same content behind both servers: files for nginx, the same bytes put into a node.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pop_units::Bytes;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use crate::fleet::{Binary, CALL, Daemon, Role, text, until};
use crate::market::LONG;
use crate::sample;

/// The name that both certificates are for.
pub(super) const NAME: &str = "localhost";
/// What requests call the host: a gateway would lead its names on to their subdomains.
pub(super) const HOST: &str = "127.0.0.1";
/// One small file.
pub(super) const SMALL: Bytes = Bytes::new(4096);
/// A server that starts listens within a moment.
const START: Duration = Duration::from_secs(30);

/// The content and how clients ask for it.
pub(super) struct Site {
    pub(super) folder: PathBuf,
    pub(super) size: Bytes,
    pub(super) files: u32,
    /// The path of the large file in URLs, on both servers.
    pub(super) large: String,
    /// The path in URLs below which the small ones stand.
    pub(super) small: String,
    /// The CID of the large file.
    pub(super) cid: String,
    /// Whether TLS is asked for in this run.
    pub(super) with_tls: bool,
}

/// Where a server is.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    /// Trusts the certificate that both show.
    pub(super) client: Arc<ClientConfig>,
}

/// Checks that programs are here.
pub(super) fn needs(programs: &[&str]) -> Result<()> {
    for program in programs {
        let found = Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
        ensure!(found.is_ok(), "{program} is not here: apt-get install nginx-light wrk");
    }
    Ok(())
}

impl Site {
    /// Makes the files and the certificate.
    pub(super) fn make(folder: &Path, size: Bytes, files: u32) -> Result<Self> {
        ensure!((1..=9999).contains(&files), "--files is from 1 to 9999");
        let site = Self {
            folder: folder.to_owned(),
            size,
            files,
            large: String::new(),
            small: String::new(),
            cid: String::new(),
            with_tls: true,
        };
        std::fs::create_dir_all(site.small_path(0).parent().context("a folder")?)?;
        sample::write_random(&site.large_path(), size)?;
        for number in 0..files {
            sample::write_random(&site.small_path(number), SMALL)?;
        }
        let key = rcgen::KeyPair::generate()?;
        let certificate = rcgen::CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&key)?;
        std::fs::write(site.path("cert.pem"), certificate.pem())?;
        std::fs::write(site.path("cert.der"), certificate.der())?;
        std::fs::write(site.path("key.pem"), key.serialize_pem())?;
        Ok(site)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn large_path(&self) -> PathBuf {
        self.path("content/large.bin")
    }

    pub(super) fn small_path(&self, number: u32) -> PathBuf {
        self.path(&format!("content/small/{number:04}.bin"))
    }

    fn server(&self, plain: SocketAddr, tls: SocketAddr) -> Result<Server> {
        let mut roots = RootCertStore::empty();
        roots.add(std::fs::read(self.path("cert.der"))?.into())?;
        // Both servers take the first one that they know: the same for both, and fast.
        let mut provider = CryptoProvider::clone(&aws_lc_rs::default_provider());
        provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
        let client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Server { plain, tls, client: Arc::new(client) })
    }
}

/// The node.
pub(super) struct Pop {
    pub(super) daemon: Daemon,
    pub(super) server: Server,
    with_tls: bool,
}

impl Pop {
    /// Starts a node and puts the content into it; the site learns its paths.
    pub(super) fn start(binary: &Binary, mut site: Site) -> Result<(Site, Self)> {
        let server = site.server(free()?, free()?)?;
        let (plain, tls) = (server.plain.to_string(), server.tls.to_string());
        let (cert, key) = (site.path("cert.pem"), site.path("key.pem"));
        let (cert, key) = (utf8(&cert)?, utf8(&key)?);
        let flags = ["--chain", "local", "--gateway-listen", &plain];
        let files = ["--tls-listen", &tls, "--tls-cert-file", cert, "--tls-key-file", key];
        let files = if site.with_tls { files.as_slice() } else { &[] };
        // All readers come from one address here.
        let bounds = ["--gateway-requests-per-address", "8192", "--gateway-requests", "8192"];
        let flags = flags.iter().chain(files).chain(&bounds).map(|&word| word.to_owned()).collect();
        let daemon = Daemon::start(binary, &site.folder, Role { name: "node", flags, serves_chain: false })?;
        let put =
            daemon.call(&["put", utf8(&site.large_path())?, utf8(&site.path("content/small"))?], LONG)?;
        let root = text(&daemon.call(&["commit", "--cache-rf", "0"], CALL)?, "root")?;
        site.cid = cid_of(&put, "large.bin")?;
        site.large = format!("/ipfs/{root}/large.bin");
        site.small = format!("/ipfs/{root}/small/");
        let served = site.path(&format!("web/ipfs/{root}"));
        std::fs::create_dir_all(served.parent().context("a folder")?)?;
        std::os::unix::fs::symlink(site.path("content"), served)?;
        let pop = Self { daemon, server, with_tls: site.with_tls };
        pop.wait()?;
        Ok((site, pop))
    }

    /// Starts again, for memory that nobody used before.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.daemon.kill()?;
        self.daemon.restart()?;
        self.wait()
    }

    fn wait(&self) -> Result<()> {
        listens("the gateway of pop", self.server.plain)?;
        if self.with_tls { listens("TLS of pop", self.server.tls) } else { Ok(()) }
    }

    /// Returns where to look when something fails.
    pub(super) fn log_hint(&self) -> String {
        format!("the node said\n{}\n", self.daemon.log_tail())
    }
}

/// The server that ours is compared with.
pub(super) struct Nginx {
    child: Child,
    pub(super) server: Server,
    pub(super) version: String,
}

impl Nginx {
    /// Starts it on the files of the site.
    pub(super) fn start(site: &Site, workers: NonZeroUsize) -> Result<Self> {
        let server = site.server(free()?, free()?)?;
        let folder = site.path("nginx");
        std::fs::create_dir_all(&folder)?;
        let conf = site.path("nginx.conf");
        std::fs::write(&conf, configuration(site, &server, workers)?)?;
        let log = std::fs::File::create(site.path("nginx.log"))?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&folder).arg("-c").arg(&conf);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("nginx")?;
        let said = Command::new("nginx").arg("-v").output()?.stderr;
        let said = String::from_utf8_lossy(&said);
        let version = said.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        let nginx = Self { child, server, version };
        listens("nginx", nginx.server.plain)
            .with_context(|| std::fs::read_to_string(site.path("nginx.log")).unwrap_or_default())?;
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers go when their master is asked to; killed, it would leave them behind.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// A configuration as one would write it: sendfile, connections kept. `tcp_nopush` stands where it helps: with it small
/// files are a quarter faster, and the ends of ranges are held back for 40 ms each.
fn configuration(site: &Site, server: &Server, workers: NonZeroUsize) -> Result<String> {
    let folder = utf8(&site.folder)?.to_owned();
    let (plain, tls, small) = (server.plain, server.tls, &site.small);
    // Started by root it would give its workers to a user who may not read the folder.
    let user = if is_root()? { "user root;" } else { "" };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/nginx/{name};"))
        .join(" ");
    Ok(format!(
        "{user} daemon off; worker_processes {workers}; pid {folder}/nginx/pid; error_log stderr warn;
        worker_rlimit_nofile 8192;
        events {{ worker_connections 4096; }}
        http {{
            {temporary}
            access_log off; sendfile on; tcp_nodelay on;
            keepalive_timeout 75s; keepalive_requests 100000000; default_type application/octet-stream;
            server {{
                listen {plain}; listen {tls} ssl; root {folder}/web;
                location {small} {{ tcp_nopush on; }}
                ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
                ssl_protocols TLSv1.3;
            }}
        }}\n"
    ))
}

fn is_root() -> Result<bool> {
    Ok(Command::new("id").arg("-u").output()?.stdout.trim_ascii() == b"0")
}

/// Returns an address that nobody has just now.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn listens(what: &str, at: SocketAddr) -> Result<()> {
    until(what, START, || Ok(TcpStream::connect(at).ok()).map(|found| found.map(|_| ())))
}

fn cid_of(put: &Value, key: &str) -> Result<String> {
    let entries = put.get("entries").and_then(Value::as_array).context("put told no entries")?;
    let is_it = |entry: &&Value| entry.get("key").and_then(Value::as_str) == Some(key);
    match entries.iter().find(is_it) {
        Some(entry) => text(entry, "cid"),
        None => bail!("put told no {key}: {put}"),
    }
}

pub(super) fn utf8(path: &Path) -> Result<&str> {
    path.to_str().context("temp dir is not UTF-8")
}
