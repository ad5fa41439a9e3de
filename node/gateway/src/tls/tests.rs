//! Handshakes over loopback with a client of the same library, certificates made here.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CipherSuite, ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsConnector, client, server};

use super::file::{Look, Watch};
use super::*;

pub(crate) const NAME: &str = "gateway.example";

/// A certificate that signed itself.
pub(crate) struct Made {
    pub(crate) chain: String,
    pub(crate) key: String,
}

pub(crate) fn made(change: impl FnOnce(&mut CertificateParams)) -> Made {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    change(&mut params);
    Made { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// A folder with `chain.pem` and `key.pem`.
struct Files(TempDir);

impl Files {
    fn of(made: &Made) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write(made);
        files
    }

    fn write(&self, made: &Made) {
        std::fs::write(self.chain(), &made.chain).unwrap();
        std::fs::write(self.key(), &made.key).unwrap();
    }

    fn chain(&self) -> PathBuf {
        self.0.path().join("chain.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    fn acceptor(&self) -> Result<(Acceptor, Keeper), TlsError> {
        Acceptor::new(&Certificates::Files { chain: self.chain(), key: self.key() })
    }

    fn watched(&self) -> (Acceptor, Watch) {
        let (acceptor, keeper) = self.acceptor().unwrap();
        let Keeper::Files(watch) = keeper else { panic!("files are watched") };
        (acceptor, *watch)
    }
}

pub(crate) fn trusting(chain: &str) -> ClientConfig {
    speaking(chain, rustls::ALL_VERSIONS)
}

fn speaking(chain: &str, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(config::provider());
    let builder = builder.with_protocol_versions(versions).unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

type Pair = (client::TlsStream<TcpStream>, server::TlsStream<TcpStream>);

/// What each side says of a handshake.
type Outcome = (io::Result<client::TlsStream<TcpStream>>, io::Result<Option<server::TlsStream<TcpStream>>>);

pub(super) async fn greet(acceptor: &Acceptor, client: ClientConfig) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    tokio::join!(connector.connect(name, stream), acceptor.accept(accepted))
}

async fn connected(acceptor: &Acceptor, client: ClientConfig) -> Pair {
    let (client, server) = greet(acceptor, client).await;
    (client.unwrap(), server.unwrap().unwrap())
}

async fn echoed(pair: &mut Pair) {
    pair.1.write_all(b"still here").await.unwrap();
    pair.1.flush().await.unwrap();
    let mut seen = [0; 10];
    pair.0.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"still here");
}

#[tokio::test]
async fn client_and_server_agree_on_the_protocol_of_http() {
    let made = made(|_| {});
    let (acceptor, _) = Files::of(&made).acceptor().unwrap();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        for (offered, agreed) in [
            (vec!["h2", "http/1.1"], Some("h2")),
            (vec!["http/1.1", "h2"], Some("h2")),
            (vec!["http/1.1"], Some("http/1.1")),
            (vec!["acme-tls/1", "h2"], Some("h2")),
            (vec![], None),
        ] {
            let mut client = speaking(&made.chain, &[version]);
            client.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
            let mut pair = connected(&acceptor, client).await;
            let session = pair.1.get_ref().1;
            assert_eq!(session.protocol_version(), Some(version.version));
            assert_eq!(session.alpn_protocol(), agreed.map(str::as_bytes), "{offered:?}");
            echoed(&mut pair).await;
        }
    }
    let mut client = trusting(&made.chain);
    client.alpn_protocols = vec![b"smtp".to_vec()];
    let (client, server) = greet(&acceptor, client).await;
    assert!(client.is_err() && server.is_err());
}

#[tokio::test]
async fn the_shorter_aes_is_chosen_unless_the_client_has_no_aes() {
    let made = made(|_| {});
    let (acceptor, _) = Files::of(&made).acceptor().unwrap();
    let (short, long, chacha) = (
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    );
    for (offered, chosen) in [
        (vec![long, chacha, short], short),
        (vec![long, chacha], long),
        (vec![chacha, short, long], chacha),
        (vec![short], short),
    ] {
        let mut provider = (*config::provider()).clone();
        let find =
            |id: &CipherSuite| provider.cipher_suites.iter().find(|suite| suite.suite() == *id).copied();
        provider.cipher_suites = offered.iter().filter_map(find).collect();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(made.chain.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        let pair = connected(&acceptor, builder.with_root_certificates(roots).with_no_client_auth()).await;
        assert_eq!(pair.1.get_ref().1.negotiated_cipher_suite().unwrap().suite(), chosen, "{offered:?}");
    }
}

#[tokio::test]
async fn session_is_resumed_across_a_new_certificate_and_early_data_is_not_taken() {
    let first = made(|_| {});
    let files = Files::of(&first);
    let (acceptor, mut watch) = files.watched();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut client = speaking(&first.chain, &[version]);
        client.enable_early_data = true;
        let mut pair = connected(&acceptor, client.clone()).await;
        assert_eq!(pair.1.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        // Tickets of TLS 1.3 come with the first bytes.
        echoed(&mut pair).await;
        let stream = pair.0.get_mut().1;
        assert!(stream.early_data().is_none(), "a new session has none");
        let mut again = connected(&acceptor, client).await;
        assert!(again.0.get_mut().1.early_data().is_none(), "the ticket allows none");
        assert_eq!(again.1.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        files.write(&made(|_| {}));
        assert!(matches!(watch.look(), Look::Replaced));
        files.write(&first);
        assert!(matches!(watch.look(), Look::Replaced));
    }
}

#[tokio::test]
async fn new_files_are_used_while_connections_live() {
    let (old, new) = (made(|_| {}), made(|_| {}));
    let files = Files::of(&old);
    let (acceptor, mut watch) = files.watched();
    let mut before = connected(&acceptor, trusting(&old.chain)).await;
    assert!(matches!(watch.look(), Look::Same));
    files.write(&new);
    assert!(matches!(watch.look(), Look::Replaced));
    assert!(matches!(watch.look(), Look::Same));
    let mut after = connected(&acceptor, trusting(&new.chain)).await;
    echoed(&mut before).await;
    echoed(&mut after).await;
    assert!(greet(&acceptor, trusting(&old.chain)).await.0.is_err());
}

#[tokio::test]
async fn broken_files_keep_the_old_certificate_and_are_told_once() {
    let (old, new) = (made(|_| {}), made(|_| {}));
    let files = Files::of(&old);
    let (acceptor, mut watch) = files.watched();
    std::fs::write(files.chain(), "no certificate").unwrap();
    assert!(matches!(watch.look(), Look::Waiting), "somebody may be writing");
    let Look::Kept(error) = watch.look() else { panic!("nothing changed since") };
    assert!(error.to_string().contains("chain.pem"), "{error}");
    assert!(matches!(watch.look(), Look::Same), "told once");
    std::fs::remove_file(files.key()).unwrap();
    assert!(matches!(watch.look(), Look::Waiting));
    assert!(matches!(watch.look(), Look::Kept(TlsError::File { .. })));
    let mut pair = connected(&acceptor, trusting(&old.chain)).await;
    echoed(&mut pair).await;
    files.write(&new);
    assert!(matches!(watch.look(), Look::Replaced));
    connected(&acceptor, trusting(&new.chain)).await;
}

#[tokio::test]
async fn pair_written_one_after_the_other_is_waited_for() {
    let (old, new) = (made(|_| {}), made(|_| {}));
    let files = Files::of(&old);
    let (acceptor, mut watch) = files.watched();
    std::fs::write(files.chain(), &new.chain).unwrap();
    assert!(matches!(watch.look(), Look::Waiting));
    std::fs::write(files.key(), &new.key).unwrap();
    assert!(matches!(watch.look(), Look::Replaced));
    connected(&acceptor, trusting(&new.chain)).await;
    // By a link, as some tools switch from one certificate to the next.
    std::fs::write(files.0.path().join("other.pem"), &old.chain).unwrap();
    std::fs::remove_file(files.chain()).unwrap();
    std::os::unix::fs::symlink("other.pem", files.chain()).unwrap();
    std::fs::write(files.key(), &old.key).unwrap();
    assert!(matches!(watch.look(), Look::Replaced));
    connected(&acceptor, trusting(&old.chain)).await;
}

#[tokio::test(start_paused = true)]
async fn keeper_finds_new_files_by_itself_and_ends_on_stop() {
    let (old, new) = (made(|_| {}), made(|_| {}));
    let files = Files::of(&old);
    let (acceptor, keeper) = files.acceptor().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(keeper.run(stop.clone()));
    files.write(&new);
    tokio::time::sleep(Duration::from_secs(10)).await;
    connected(&acceptor, trusting(&new.chain)).await;
    stop.cancel();
    task.await.unwrap();
}

#[test]
fn start_names_the_file_and_what_is_wrong() {
    let (one, other) = (made(|_| {}), made(|_| {}));
    let said = |chain: &str, key: &str| {
        let files = Files::of(&Made { chain: chain.to_owned(), key: key.to_owned() });
        told(&files.acceptor().err().unwrap())
    };
    let holds = |text: String, words: &[&str]| {
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    holds(said("", &one.key), &["chain.pem", "no certificate"]);
    holds(said(&one.key, &one.key), &["chain.pem", "no certificate"]);
    holds(said(&one.chain, ""), &["key.pem", "no private key"]);
    holds(said(&one.chain, &one.chain), &["key.pem", "no private key"]);
    holds(said(&one.chain, &other.key), &["key.pem", "does not belong", "chain.pem"]);
    let locked = one.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    holds(said(&one.chain, &locked), &["key.pem", "password"]);
    let cut = one.chain.get(..one.chain.len() / 2).unwrap();
    holds(said(cut, &one.key), &["chain.pem", "no PEM"]);
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    holds(said(garbage, &one.key), &["chain.pem", "cannot be parsed"]);
    let garbage = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    holds(said(&one.chain, garbage), &["key.pem", "cannot be used"]);
    let files = Files::of(&one);
    std::fs::remove_file(files.key()).unwrap();
    holds(told(&files.acceptor().err().unwrap()), &["key.pem", "cannot be read", "No such file"]);
    std::fs::write(files.key(), vec![b'x'; 5 << 20]).unwrap();
    holds(told(&files.acceptor().err().unwrap()), &["key.pem", "too large"]);
}

#[test]
fn time_of_a_certificate_is_told_and_does_not_stop_anything() {
    let ended = made(|params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 3, 1);
    });
    assert!(Files::of(&ended).acceptor().is_ok());
    let path = Path::new("chain.pem");
    let source = |text: &'static str| certificate::Source { path, bytes: text.as_bytes() };
    let (chain, key): (&'static str, &'static str) = (ended.chain.leak(), ended.key.leak());
    let held = certificate::Certificate::parse(source(chain), source(key), &config::provider()).unwrap();
    assert_eq!(held.names, [NAME]);
    let day = |day: u64| held.begins + Duration::from_secs(day * 24 * 3600);
    assert_eq!(held.complaint(day(1)), None);
    assert!(held.complaint(day(55)).unwrap().contains("ends on"));
    assert!(held.complaint(day(60)).unwrap().contains("ended on"));
    assert!(held.complaint(SystemTime::UNIX_EPOCH).unwrap().contains("not valid before"));
}

#[tokio::test]
async fn what_is_no_tls_is_refused() {
    let (acceptor, _) = Files::of(&made(|_| {})).acceptor().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: gateway.example\r\n\r\n").await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let error = acceptor.accept(accepted).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    drop(stream);
    let (accepted, _) = listener.accept().await.unwrap();
    assert!(acceptor.accept(accepted).await.is_err());
}
