//! A small HTTP/1 server that hosts the ledger for other nodes of the same operator.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::router::{MAX_REQUEST, Reply, Router};

/// Connections at once; the others wait in the listener's queue.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send the head or the body of a request.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection ends after this; one that never reads its answers would hold its place for ever.
const MAX_AGE: Duration = Duration::from_secs(600);
/// How long running calls may take once the server shall stop.
const GRACE: Duration = Duration::from_secs(5);

type Answer = Response<Full<Bytes>>;

/// Serves `router` at `/rpc/v1` until `stop`, then lets running calls end.
///
/// Dropped, it ends at once with all of its connections; calls that had begun may still be executed.
///
/// # Errors
/// The listener fails for good.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> io::Result<()> {
    let (router, room) = (Arc::new(router), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    let mut connections = JoinSet::new();
    loop {
        let admitted = async {
            let place = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|(stream, _)| (place, stream))
        };
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = admitted => accepted,
        };
        match accepted {
            Ok((place, stream)) => {
                let (router, stop) = (Arc::clone(&router), stop.clone());
                connections.spawn(async move {
                    talk(stream, router, stop).await;
                    drop(place);
                });
            }
            Err(error) if is_passing(&error) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => return Err(error),
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    // Whoever is not done by then is cut off when the set is dropped.
    let _ = tokio::time::timeout(GRACE, ended).await;
    Ok(())
}

/// A connection that died in the queue, or too many open files: the listener itself still works.
fn is_passing(error: &io::Error) -> bool {
    const TOO_MANY_FILES: [i32; 2] = [23, 24];
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
        || error.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code))
}

async fn talk(stream: TcpStream, router: Arc<Router>, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let router = Arc::clone(&router);
        async move { Ok::<_, std::convert::Infallible>(answer(request, router).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    // A client that breaks off is its own affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        () = tokio::time::sleep(MAX_AGE) => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(GRACE, connection).await;
}

async fn answer(request: Request<Incoming>, router: Arc<Router>) -> Answer {
    if request.uri().path() != "/rpc/v1" {
        return status(StatusCode::NOT_FOUND);
    }
    if request.method() != Method::POST {
        return status(StatusCode::METHOD_NOT_ALLOWED);
    }
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    // Before the body, so that a stranger cannot make us hold a megabyte.
    if !router.admits(bearer.as_deref()) {
        return status(StatusCode::UNAUTHORIZED);
    }
    let body = Limited::new(request.into_body(), MAX_REQUEST).collect();
    let body = match tokio::time::timeout(READ_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return status(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return status(StatusCode::REQUEST_TIMEOUT),
    };
    let replied = tokio::task::spawn_blocking(move || router.answer(bearer.as_deref(), &body)).await;
    match replied {
        Ok(Reply::Json(json)) => {
            let mut response = Response::new(Full::new(Bytes::from(json)));
            let kind = header::HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Ok(Reply::Nothing) => status(StatusCode::NO_CONTENT),
        Ok(Reply::Unauthorized) => status(StatusCode::UNAUTHORIZED),
        Err(_) => status(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn status(code: StatusCode) -> Answer {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = code;
    response
}
