//! Over real connections: what depends on how a server reads a body.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pop_units::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::fake::{Fake, settings, site};
use crate::handle::handle;
use crate::settings::Settings;

/// Serves until it is dropped.
struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(fake: &Fake, settings: Settings) -> Self {
        let site = site(fake, settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                let site = Arc::clone(&site);
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let site = Arc::clone(&site);
                    async move { Ok::<_, Infallible>(handle(site, request.map(Body::new), from.ip()).await) }
                });
                let serve = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(serve);
            }
        });
        Self { address, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one answer with a `Content-Length`.
async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(text).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    head + std::str::from_utf8(&body).unwrap()
}

#[tokio::test]
async fn the_body_is_asked_for_only_when_the_head_is_good() {
    let fake = Fake::new();
    let mut settings = settings();
    settings.uploads.as_mut().unwrap().body = Bytes::new(10);
    let server = Server::start(&fake, settings).await;
    let mut stream = server.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: ";
    stream.write_all(format!("{head}5\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(read(&mut stream).await, "http/1.1 100 continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let created = read(&mut stream).await;
    assert!(created.starts_with("http/1.1 201 created\r\n"));
    // For pages of other origins, which send a token.
    let exposed = created.lines().find(|line| line.starts_with("access-control-expose-headers")).unwrap();
    assert!(exposed.contains("ipfs-hash") && exposed.contains("location"), "{exposed}");
    stream.write_all(format!("{head}11\r\n\r\n").as_bytes()).await.unwrap();
    let refused = read(&mut stream).await;
    assert!(refused.starts_with("http/1.1 413 "), "{refused}");
}

#[tokio::test]
async fn a_chunked_body_is_taken_and_bounded() {
    let fake = Fake::new();
    let mut settings = settings();
    settings.uploads.as_mut().unwrap().body = Bytes::new(10);
    let server = Server::start(&fake, settings).await;
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut stream = server.connect().await;
    stream.write_all(format!("{head}5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n").as_bytes()).await.unwrap();
    assert!(read(&mut stream).await.starts_with("http/1.1 201 created\r\n"));
    assert_eq!(fake.kept()[0].files[0].1, b"helloworld");
    stream.write_all(format!("{head}5\r\nhello\r\n6\r\nworld!\r\n").as_bytes()).await.unwrap();
    assert!(read(&mut stream).await.starts_with("http/1.1 413 "));
    assert_eq!((fake.kept().len(), fake.open()), (1, 0));
}

/// A client that does not look before it has sent all still gets to read why it was refused.
#[tokio::test]
async fn a_refusal_is_read_by_a_client_that_is_still_sending() {
    let fake = Fake::new();
    let mut settings = settings();
    settings.uploads.as_mut().unwrap().body = Bytes::MIB;
    let server = Server::start(&fake, settings).await;
    for framing in ["Content-Length: 33554432", "Transfer-Encoding: chunked"] {
        let mut stream = server.connect().await;
        let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        if framing.starts_with("Transfer") {
            stream.write_all(b"2000000\r\n").await.unwrap();
        }
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..32 {
            stream.write_all(&piece).await.unwrap();
        }
        assert!(read(&mut stream).await.starts_with("http/1.1 413 "), "{framing}");
    }
    assert!(fake.kept().is_empty() && fake.open() == 0);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let fake = Fake::new();
    let server = Server::start(&fake, settings()).await;
    for body in ["", "some bytes", "--X\r\nContent-Disposition: form-data; name=a\r\n\r\nsome"] {
        let mut stream = server.connect().await;
        let kind = if body.starts_with('-') { "multipart/form-data; boundary=X" } else { "text/plain" };
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        drop(stream);
        fake.0.ended.notified().await;
        assert!(fake.kept().is_empty() && fake.open() == 0);
    }
}
