//! How answers and connections end, well or not.

use super::*;

const BRIEF: Duration = Duration::from_millis(200);

async fn broken(request: Request<Body>) -> Response<Body> {
    match request.uri().path() {
        "/fails-sized" => pieces(Some(1000), vec![Ok(100), Err("the disk is gone")]),
        "/fails" => pieces(None, vec![Ok(100), Err("the disk is gone")]),
        "/fails-at-once" => pieces(Some(1000), vec![Err("the disk is gone")]),
        "/short" => pieces(Some(1000), vec![Ok(400), Ok(400)]),
        "/nothing" => pieces(Some(1000), vec![]),
        "/long" => pieces(Some(1000), vec![Ok(600), Ok(600)]),
        "/long-exactly" => pieces(Some(1000), vec![Ok(1000), Ok(1)]),
        "/panic" => panic!("an answer panics"),
        _ => sized(10),
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_ended_is_seen_as_a_reset() {
    let door = open(limits(), LogForm::Json, broken).await;
    let paths = ["/fails-sized", "/fails", "/fails-at-once", "/short", "/nothing", "/long", "/long-exactly"];
    for path in paths {
        for version in ["1.0", "1.1"] {
            let mut client = door.connect().await;
            client.send(&format!("GET {path} HTTP/{version}\r\nHost: x\r\n\r\n")).await;
            let end = client.rest().await;
            assert!(is_reset(&end), "{path} over {version}: {end:?}");
        }
    }
    let cut = door.figure("pop_gateway_cut_total{why=\"body\"}");
    assert_eq!(cut, 14.0);
    let log = door.close().await;
    assert_eq!(log.matches("\"cut\":\"body: the content broke off\"").count(), 6, "{log}");
    assert_eq!(log.matches("\"cut\":\"body: the body is longer than its declared length\"").count(), 4);
    assert_eq!(log.matches("\"cut\":\"body: the body is 200 bytes shorter than").count(), 2);
}

#[tokio::test]
async fn what_was_said_before_a_failure_arrives() {
    let door = open(limits(), LogForm::Json, broken).await;
    for (path, body) in [("/fails-sized", 100), ("/fails", 100), ("/fails-at-once", 0)] {
        let mut client = door.connect().await;
        client.send(&format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n")).await;
        while within(client.stream.read_buf(&mut client.ahead)).await.is_ok_and(|read| read > 0) {}
        let said = String::from_utf8_lossy(&client.ahead);
        let (head, rest) = said.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.starts_with("HTTP/1.0 200 "), "{path}: {said:?}");
        assert_eq!(rest.len(), body, "{path}");
    }
    door.close().await;
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let door = open(limits(), LogForm::Json, broken).await;
    let mut client = door.connect().await;
    let mut panicking = door.connect().await;
    panicking.send(&get("/panic")).await;
    assert!(is_reset(&panicking.rest().await));
    client.send(&get("/")).await;
    assert!(client.answer().await.0.starts_with("HTTP/1.1 200 "));
    drop(client);
    door.until("pop_gateway_requests_open", 0.0).await;
    door.close().await;
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut() {
    let mut limits = limits();
    limits.stall = BRIEF;
    let door = open(limits, LogForm::Json, |_| async {
        let mut response = endless();
        response.extensions_mut().insert(Served(root()));
        response
    })
    .await;
    let mut client = door.connect().await;
    client.send(&get("/")).await;
    door.until("pop_gateway_cut_total{why=\"stalled\"}", 1.0).await;
    door.until("pop_gateway_requests_open", 0.0).await;
    door.until("pop_gateway_connections", 0.0).await;
    let end = client.rest().await;
    assert!(end.is_err(), "{end:?}");
    assert!(matches!(door.served.lock().unwrap().as_slice(), [(_, size)] if *size > 0));
    let line: serde_json::Value = serde_json::from_str(&door.close().await).unwrap();
    assert_eq!((&line["cut"], line["status"].as_u64()), (&"stalled".into(), Some(200)));
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_not_cut() {
    let mut limits = limits();
    limits.stall = Duration::from_millis(500);
    let size = 24 * 1024 * 1024;
    let door = open(limits, LogForm::Json, move |_| async move { sized(size) }).await;
    let mut client = door.connect().await;
    client.send(&last("/")).await;
    let (mut read, mut space) = (0, vec![0; 3 * 1024 * 1024]);
    let began = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        match within(client.stream.read(&mut space)).await.unwrap() {
            0 => break,
            some => read += some,
        }
    }
    assert!(read > size && began.elapsed() > Duration::from_millis(500), "{read} in {:?}", began.elapsed());
    door.close().await;
}

#[tokio::test]
async fn an_answer_that_takes_for_ever_is_cut() {
    let mut limits = limits();
    limits.whole = BRIEF;
    let door = open(limits, LogForm::Json, |_| async { endless() }).await;
    let mut client = door.connect().await;
    client.send(&get("/")).await;
    let mut space = vec![0; 1024 * 1024];
    let end = loop {
        match within(client.stream.read(&mut space)).await {
            Ok(0) => break Ok(String::new()),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    assert!(is_reset(&end), "{end:?}");
    let log = door.close().await;
    assert!(log.contains("\"cut\":\"whole\""), "{log}");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_work_for_it() {
    struct Told(tokio::sync::mpsc::UnboundedSender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (dropped, mut drops) = tokio::sync::mpsc::unbounded_channel();
    let answer = move |_| {
        let told = Told(dropped.clone());
        async move {
            let _told = told;
            std::future::pending().await
        }
    };
    let door = open(limits(), LogForm::Json, answer).await;
    let mut client = door.connect().await;
    client.send(&get("/")).await;
    door.until("pop_gateway_requests_open", 1.0).await;
    drop(client);
    within(drops.recv()).await.unwrap();
    door.until("pop_gateway_requests_open", 0.0).await;
    let line: serde_json::Value = serde_json::from_str(&door.close().await).unwrap();
    assert_eq!((&line["cut"], line["status"].as_u64()), (&"gone".into(), Some(499)));
}

#[tokio::test]
async fn an_upload_that_is_refused_early_can_read_why() {
    let door = open(limits(), LogForm::Json, |_| async {
        let mut response = sized(10);
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        response
    })
    .await;
    for _ in 0..10 {
        let mut client = door.connect().await;
        let size = 3_000_000;
        client.send(&format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n")).await;
        let body = vec![b'u'; size];
        let _ = within(client.stream.write_all(&body)).await;
        let all = client.rest().await.unwrap();
        assert!(all.starts_with("HTTP/1.1 413 ") && all.ends_with("xxxxxxxxxx"), "{all}");
    }
    door.close().await;
}

#[tokio::test]
async fn an_upload_that_is_one_too_many_can_read_why_and_go_on_sending() {
    let limits = Limits { requests_per_address: 1, ..limits() };
    let door = open(limits, LogForm::Json, |_| std::future::pending()).await;
    let mut first = door.connect().await;
    first.send(&get("/")).await;
    door.until("pop_gateway_requests_open", 1.0).await;
    for _ in 0..10 {
        let mut client = door.connect().await;
        let size = 1_000_000;
        client.send(&format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n")).await;
        let (head, _) = client.answer().await;
        assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
        within(client.stream.write_all(&vec![b'u'; size])).await.unwrap();
        client.stream.shutdown().await.unwrap();
        assert_eq!(client.rest().await.unwrap(), "");
    }
    drop(first);
    door.until("pop_gateway_connections", 0.0).await;
    door.close().await;
}

#[tokio::test]
async fn the_stop_lets_a_download_end_and_takes_no_more() {
    let (more, queue) = tokio::sync::mpsc::unbounded_channel::<&'static str>();
    let queue = Mutex::new(Some(queue));
    let door = open(limits(), LogForm::Json, move |request: Request<Body>| {
        let queue = match request.uri().path() {
            "/slow" => queue.lock().unwrap().take(),
            _ => None,
        };
        async move {
            let Some(queue) = queue else { return sized(10) };
            let pieces = futures::stream::unfold(queue, |mut queue| async {
                Some((Ok::<_, std::convert::Infallible>(queue.recv().await?), queue))
            });
            Response::new(Body::from_stream(pieces))
        }
    })
    .await;
    let (mut download, mut idle) = (door.connect().await, door.connect().await);
    idle.send(&get("/")).await;
    idle.answer().await;
    download.send(&get("/slow")).await;
    more.send("first ").unwrap();
    download.stream.readable().await.unwrap();
    let address = door.address;
    let hall = Arc::clone(&door.hall);
    let closing = tokio::spawn(door.close());
    assert_eq!(idle.rest().await.unwrap(), "");
    assert!(hall.told.figures.is_draining());
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!closing.is_finished());
    more.send("last").unwrap();
    drop(more);
    let all = download.rest().await.unwrap();
    assert!(all.contains("first ") && all.ends_with("last\r\n0\r\n\r\n"), "{all}");
    drop(hall);
    let log = within(closing).await.unwrap();
    assert!(log.contains("/slow") && !log.contains("\"cut\""), "{log}");
}

#[tokio::test]
async fn the_stop_does_not_wait_for_ever() {
    let mut door = open(limits(), LogForm::Json, |_| async { endless() }).await;
    door.drain = BRIEF;
    let mut client = door.connect().await;
    client.send(&get("/")).await;
    door.until("pop_gateway_requests_open", 1.0).await;
    let log = door.close().await;
    assert!(log.contains("\"cut\":\"stopped\""), "{log}");
    assert!(is_reset(&client.rest().await));
}

#[tokio::test]
async fn a_stop_that_is_given_up_cuts_what_is_under_way() {
    let door = open(limits(), LogForm::Json, |_| async { endless() }).await;
    let mut client = door.connect().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    door.until("pop_gateway_requests_open", 1.0).await;
    let hall = Arc::clone(&door.hall);
    let closing = tokio::spawn(async move { hall.close(SOON).await });
    within(door.hall.stop.cancelled()).await;
    closing.abort();
    let end = within(client.rest()).await;
    assert!(is_reset(&end), "{end:?}");
    door.until("pop_gateway_requests_open", 0.0).await;
    door.close().await;
}
