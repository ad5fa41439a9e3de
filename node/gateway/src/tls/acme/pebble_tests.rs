//! The whole way with a real authority: Debian's `pebble`, which looks at our listener as a public one would.
//!
//! `apt-get install pebble`, then `cargo test -p pop-gateway pebble -- --ignored`. Everything stays on loopback:
//! the names are resolved by `pebble-challtestsrv`, which says 127.0.0.1 to every question.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::super::tests::trusting;
use super::super::{Acceptor, config};
use super::*;
use crate::settings::Certificates;

const NAMES: [&str; 2] = ["gateway.example", "www.gateway.example"];
/// Certificates end after so many seconds: the second one must be there after two thirds of them.
const LIFE: u64 = 30;
const LIMIT: Duration = Duration::from_secs(90);

/// An authority on loopback; it ends with the test.
struct Pebble {
    folder: TempDir,
    resolver: String,
    directory: SocketAddr,
    management: SocketAddr,
    running: Vec<Child>,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Pebble {
    /// Writes the configuration; challenges go to `gateway`.
    fn new(gateway: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (directory, management) = (free(), free());
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(path("key.pem"), key.serialize_pem()).unwrap();
        let settings = serde_json::json!({ "pebble": {
            "listenAddress": directory.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": path("cert.pem"),
            "privateKey": path("key.pem"),
            "httpPort": 1,
            "tlsPort": gateway.port(),
            "certificateValidityPeriod": LIFE,
        }});
        std::fs::write(path("pebble.json"), settings.to_string()).unwrap();
        let resolver = free().to_string();
        Self { folder, resolver, directory, management, running: Vec::new() }
    }

    fn start(&mut self) {
        let start = |command: &mut Command| {
            let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("apt-get install pebble")
        };
        let mut resolver = Command::new("pebble-challtestsrv");
        resolver.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", &self.resolver]);
        resolver.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-management", &free().to_string()]);
        let mut pebble = Command::new("pebble");
        // Bad nonces stay on: every client must cope.
        pebble.envs([
            ("PEBBLE_VA_NOSLEEP", "1"),
            ("PEBBLE_VA_ALWAYS_VALID", "0"),
            ("PEBBLE_AUTHZREUSE", "0"),
        ]);
        pebble.args(["-strict", "-dnsserver", &self.resolver, "-config"]);
        pebble.arg(self.folder.path().join("pebble.json"));
        self.running = vec![start(&mut resolver), start(&mut pebble)];
    }

    fn stop(&mut self) {
        for mut child in self.running.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn settings(&self, cache: &Path) -> Certificates {
        Certificates::Acme {
            domains: NAMES.map(str::to_owned).to_vec(),
            directory: format!("https://{}/dir", self.directory),
            contact: Some("owner@gateway.example".to_owned()),
            roots: Some(self.folder.path().join("cert.pem")),
            cache: cache.to_owned(),
        }
    }

    /// Returns the root that the authority signs with, once it answers.
    async fn root(&self) -> String {
        let own = std::fs::read_to_string(self.folder.path().join("cert.pem")).unwrap();
        let answer = soon(async || get(self.management, "localhost", "/roots/0", &own).await.ok()).await;
        answer.body
    }

    fn order(&self) -> Order {
        Order {
            domains: NAMES.map(str::to_owned).to_vec(),
            directory: format!("https://{}/dir", self.directory),
            contact: None,
            roots: Some(self.folder.path().join("cert.pem")),
        }
    }
}

/// Asks again and again until there is an answer.
async fn soon<T>(mut question: impl AsyncFnMut() -> Option<T>) -> T {
    let asked = async {
        loop {
            if let Some(answer) = question().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, asked).await.expect("an answer in time")
}

#[derive(Debug)]
struct Page {
    body: String,
    /// The certificate that it came under.
    certificate: Vec<u8>,
}

/// Fetches a page over TLS, verified for the name against the root.
async fn get(at: SocketAddr, name: &'static str, path: &str, root: &str) -> std::io::Result<Page> {
    let connector = TlsConnector::from(Arc::new(trusting(root)));
    let stream = TcpStream::connect(at).await?;
    let mut stream = connector.connect(ServerName::try_from(name).unwrap(), stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().unwrap().first().unwrap().to_vec();
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: {name}\r\n\r\n").as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    Ok(Page { body: body.to_owned(), certificate })
}

async fn serve(listener: TcpListener, acceptor: Acceptor) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(Some(mut stream)) = acceptor.accept(stream).await else { return };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\na page").await;
            let _ = stream.shutdown().await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Debian's pebble and half a minute: cargo test -p pop-gateway pebble -- --ignored"]
async fn pebble_certifies_and_renews() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = listener.local_addr().unwrap();
    let mut pebble = Pebble::new(gateway);
    let folder = tempfile::tempdir().unwrap();
    // The gateway starts before the authority answers, and nothing waits.
    let (acceptor, keeper) = Acceptor::new(&pebble.settings(folder.path())).unwrap();
    let server = tokio::spawn(serve(listener, acceptor));
    pebble.start();
    let root = pebble.root().await;
    assert!(get(gateway, NAMES[0], "/", &root).await.is_err(), "there is no certificate yet");
    let stop = CancellationToken::new();
    let renewing = tokio::spawn(keeper.run(stop.clone()));

    let mut seen = HashSet::new();
    let first = soon(async || get(gateway, NAMES[0], "/", &root).await.ok()).await;
    assert_eq!(first.body, "a page");
    seen.insert(first.certificate);
    let second = get(gateway, NAMES[1], "/", &root).await.unwrap();
    assert!(!seen.insert(second.certificate), "one certificate is for both names");
    let renewed = soon(async || {
        let page = get(gateway, NAMES[0], "/", &root).await.expect("no handshake fails meanwhile");
        seen.insert(page.certificate).then_some(page.body)
    });
    assert_eq!(renewed.await, "a page");
    stop.cancel();
    renewing.await.unwrap();
    server.abort();

    // Another start uses what was kept, without the authority.
    pebble.stop();
    for file in ["account.json", "certificate.pem"] {
        let folder = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let meta = std::fs::metadata(folder.join(file)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{file}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = listener.local_addr().unwrap();
    let (acceptor, _) = Acceptor::new(&pebble.settings(folder.path())).unwrap();
    let server = tokio::spawn(serve(listener, acceptor));
    let page = get(gateway, NAMES[1], "/", &root).await.unwrap();
    assert!(seen.contains(&page.certificate));
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Debian's pebble: cargo test -p pop-gateway pebble -- --ignored"]
async fn pebble_says_why_a_name_is_not_proven_and_forgets_accounts() {
    // Nobody answers challenges there.
    let gateway = free();
    let mut pebble = Pebble::new(gateway);
    pebble.start();
    pebble.root().await;
    let (provider, holder) = (config::provider(), Holder::default());
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), &pebble.order().directory).unwrap();
    let order = pebble.order();
    let failed =
        async || authority::order(&order, &cache, &provider, &holder).await.map_err(|error| told(&error));
    let why = failed().await.unwrap_err();
    assert!(why.contains("gateway.example was not proven") && why.contains("Failed to connect"), "{why}");
    let account = cache.account().unwrap().unwrap();

    // It keeps nothing over a restart, so the account is unknown then; the try after that makes a new one.
    pebble.stop();
    pebble.start();
    pebble.root().await;
    let why = failed().await.unwrap_err();
    assert!(cache.account().unwrap().is_none(), "{why}");
    let why = failed().await.unwrap_err();
    assert!(why.contains("was not proven"), "{why}");
    assert_ne!(cache.account().unwrap().unwrap(), account);
}
