//! The door over TLS, and the whole of it as it is bound.

use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::settings::{Certificates, Tls};
use crate::testing;
use crate::tls::tests::{Made, NAME, made, trusting};

/// A certificate in files.
fn certificates() -> (Made, tempfile::TempDir, Certificates) {
    let made = made(|_| {});
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain"), folder.path().join("key"));
    std::fs::write(&chain, &made.chain).unwrap();
    std::fs::write(&key, &made.key).unwrap();
    (made, folder, Certificates::Files { chain, key })
}

async fn connect(address: SocketAddr, made: &Made) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(trusting(&made.chain)));
    connector.connect(ServerName::try_from(NAME).unwrap(), stream).await.unwrap()
}

async fn ask(address: SocketAddr, made: &Made, request: &str) -> std::io::Result<String> {
    let mut client = connect(address, made).await;
    client.write_all(request.as_bytes()).await?;
    let mut all = String::new();
    within(client.read_to_string(&mut all)).await?;
    Ok(all)
}

async fn secret(request: Request<Body>) -> Response<Body> {
    assert_eq!(request.extensions().get::<Transport>(), Some(&Transport { is_tls: true }));
    match request.uri().path() {
        "/fails" => pieces(None, vec![Ok(100), Err("the disk is gone")]),
        "/endless" => endless(),
        _ => sized(5_000_000),
    }
}

#[tokio::test]
async fn answers_end_over_tls_as_they_do_without() {
    let mut limits = limits();
    limits.stall = Duration::from_millis(300);
    let door = open(limits, LogForm::Json, secret).await;
    let (made, _folder, source) = certificates();
    let (acceptor, _keeper) = Acceptor::new(&source).unwrap();
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let private = tokio::spawn(accept::serve(Arc::clone(&door.hall), listener, acceptor));

    let all = ask(address, &made, &last("/")).await.unwrap();
    assert!(all.starts_with("HTTP/1.1 200 ") && all.len() > 5_000_000);
    let end = ask(address, &made, "GET /fails HTTP/1.0\r\n\r\n").await;
    assert!(is_reset(&end), "{end:?}");
    let mut stuck = connect(address, &made).await;
    stuck.write_all(get("/endless").as_bytes()).await.unwrap();
    door.until("pop_gateway_cut_total{why=\"stalled\"}", 1.0).await;
    door.until("pop_gateway_connections", 0.0).await;

    private.abort();
    let _ = private.await;
    let log = door.close().await;
    assert_eq!(log.lines().count(), 3, "{log}");
}

#[tokio::test]
async fn a_client_that_never_ends_its_handshake_keeps_nobody_waiting() {
    let mut limits = limits();
    limits.head = Duration::from_millis(300);
    let door = open(limits, LogForm::Json, secret).await;
    let (made, _folder, source) = certificates();
    let (acceptor, _keeper) = Acceptor::new(&source).unwrap();
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let private = tokio::spawn(accept::serve(Arc::clone(&door.hall), listener, acceptor));
    let silent = TcpStream::connect(address).await.unwrap();
    assert!(ask(address, &made, &last("/")).await.unwrap().starts_with("HTTP/1.1 200 "));
    door.until("pop_gateway_connections", 0.0).await;
    drop(silent);
    private.abort();
    let _ = private.await;
    door.close().await;
}

#[tokio::test]
async fn what_is_bound_serves_both_ways_logs_and_stops() {
    let (made, folder, source) = certificates();
    let mut settings = testing::settings();
    settings.tls = Some(Tls { listen: settings.listen, source, redirect: None });
    let path = folder.path().join("access.log");
    settings.access_log = Some(AccessLog { to: Some(path.clone()), format: LogForm::Combined });
    let bound = Bound::bind(settings, Arc::new(testing::Fake::default())).await.unwrap();
    let (plain, private) = (bound.address().unwrap(), bound.private_address().unwrap().unwrap());
    let (figures, stop) = (bound.figures(), CancellationToken::new());
    let running = tokio::spawn(bound.run(stop.clone(), || SOON));

    let mut client = TcpStream::connect(plain).await.unwrap();
    client.write_all(last("/ipfs/none").as_bytes()).await.unwrap();
    let mut all = String::new();
    within(client.read_to_string(&mut all)).await.unwrap();
    assert!(all.starts_with("HTTP/1.1 400 ") && all.contains("access-control-allow-origin: *"), "{all}");
    let all = ask(private, &made, &last("/ipfs/none")).await.unwrap();
    assert!(all.starts_with("HTTP/1.1 400 "), "{all}");

    stop.cancel();
    within(running).await.unwrap();
    assert!(figures.is_draining());
    assert!(TcpStream::connect(plain).await.is_err() && TcpStream::connect(private).await.is_err());
    let log = std::fs::read_to_string(path).unwrap();
    assert_eq!(log.matches("\"GET /ipfs/none HTTP/1.1\" 400 ").count(), 2, "{log}");
}
