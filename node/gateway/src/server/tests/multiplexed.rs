//! HTTP/2: streams end alone, and one connection cannot take everything.

use h2::client::SendRequest;
use h2::{Reason, RecvStream};

use super::*;

async fn connect(door: &Open) -> (SendRequest<bytes::Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(door.address).await.unwrap();
    // A stream that is not read must not use up what the connection may carry.
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(16 * 1024 * 1024);
    let (send, connection) = builder.handshake(stream).await.unwrap();
    (send, tokio::spawn(connection))
}

async fn ask(send: &SendRequest<bytes::Bytes>, path: &str) -> Result<Response<RecvStream>, h2::Error> {
    let mut send = send.clone().ready().await?;
    let request = Request::get(format!("http://gateway.example{path}")).body(()).unwrap();
    let (answer, _) = send.send_request(request, true)?;
    within(answer).await
}

async fn read(mut body: RecvStream) -> Result<usize, h2::Error> {
    let mut size = 0;
    while let Some(piece) = within(body.data()).await {
        let piece = piece?;
        size += piece.len();
        let _ = body.flow_control().release_capacity(piece.len());
    }
    Ok(size)
}

async fn mixed(request: Request<Body>) -> Response<Body> {
    match request.uri().path() {
        "/fails" => pieces(Some(1000), vec![Ok(100), Err("the disk is gone")]),
        "/short" => pieces(Some(1000), vec![Ok(100)]),
        "/endless" => endless(),
        "/never" => std::future::pending().await,
        _ => sized(1_000_000),
    }
}

#[tokio::test]
async fn a_failed_answer_resets_its_stream_and_no_other() {
    let door = open(limits(), LogForm::Json, mixed).await;
    let (send, _connection) = connect(&door).await;
    let whole = ask(&send, "/").await.unwrap();
    for path in ["/fails", "/short"] {
        let broken = ask(&send, path).await;
        let end = match broken {
            Ok(broken) => read(broken.into_body()).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(end.reason(), Some(Reason::INTERNAL_ERROR), "{path}");
    }
    assert!(whole.headers().contains_key("x-request-id"));
    assert_eq!(read(whole.into_body()).await.unwrap(), 1_000_000);
    drop(send);
    let log = door.close().await;
    assert_eq!(log.matches("\"protocol\":\"HTTP/2.0\"").count(), 3, "{log}");
    assert_eq!(log.matches("\"cut\":\"body").count(), 2, "{log}");
    assert!(log.contains("\"host\":\"gateway.example\""));
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_cut_and_the_others_go_on() {
    let mut limits = limits();
    limits.stall = Duration::from_millis(200);
    let door = open(limits, LogForm::Json, mixed).await;
    let (send, _connection) = connect(&door).await;
    let stuck = ask(&send, "/endless").await.unwrap();
    door.until("pop_gateway_cut_total{why=\"stalled\"}", 1.0).await;
    assert_eq!(read(ask(&send, "/").await.unwrap().into_body()).await.unwrap(), 1_000_000);
    let end = read(stuck.into_body()).await.unwrap_err();
    assert_eq!(end.reason(), Some(Reason::CANCEL));
    drop(send);
    door.close().await;
}

#[tokio::test]
async fn a_client_that_resets_its_stream_ends_the_work_for_it() {
    let door = open(limits(), LogForm::Json, mixed).await;
    let (mut send, _connection) = connect(&door).await;
    let request = Request::get("http://gateway.example/never").body(()).unwrap();
    let (answer, mut stream) = send.send_request(request, true).unwrap();
    door.until("pop_gateway_requests_open", 1.0).await;
    stream.send_reset(Reason::CANCEL);
    drop(answer);
    door.until("pop_gateway_requests_open", 0.0).await;
    drop(send);
    door.close().await;
}

#[tokio::test]
async fn the_stop_is_told_and_streams_under_way_end() {
    let door = open(limits(), LogForm::Json, mixed).await;
    let (send, connection) = connect(&door).await;
    let whole = ask(&send, "/").await.unwrap();
    let closing = tokio::spawn(door.close());
    assert_eq!(read(whole.into_body()).await.unwrap(), 1_000_000);
    // The end of the connection without an error: the stop was announced by a GOAWAY.
    within(connection).await.unwrap().unwrap();
    assert!(ask(&send, "/").await.is_err());
    assert!(!within(closing).await.unwrap().contains("\"cut\""));
}

#[tokio::test]
async fn a_flood_of_resets_ends_the_connection() {
    let door = open(limits(), LogForm::Json, mixed).await;
    let (send, connection) = connect(&door).await;
    let flood = async {
        for _ in 0..1000 {
            let Ok(mut send) = send.clone().ready().await else { return };
            let request = Request::get("http://gateway.example/never").body(()).unwrap();
            let Ok((_, mut stream)) = send.send_request(request, true) else { return };
            stream.send_reset(Reason::CANCEL);
            tokio::task::yield_now().await;
        }
    };
    within(flood).await;
    let end = within(connection).await.unwrap().unwrap_err();
    assert_eq!(end.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    door.until("pop_gateway_requests_open", 0.0).await;
    door.close().await;
}
