//! What is said on a connection that behaves.

use super::*;

async fn plain(request: Request<Body>) -> Response<Body> {
    match request.uri().path() {
        "/none" => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        "/stream" => pieces(None, vec![Ok(10), Ok(20)]),
        "/content" => {
            let mut response = sized(4096);
            response.extensions_mut().insert(Served(root()));
            response.headers_mut().insert("cache-status", HeaderValue::from_static("pop; hit"));
            response
        }
        _ => sized(10),
    }
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let door = open(limits(), LogForm::Json, plain).await;
    let mut client = door.connect().await;
    for _ in 0..3 {
        client.send(&get("/")).await;
        let (head, body) = client.answer().await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(body.len(), 10);
    }
    door.until("pop_gateway_connections", 1.0).await;
    drop(client);
    door.until("pop_gateway_connections", 0.0).await;
    assert_eq!(door.close().await.lines().count(), 3);
}

#[tokio::test]
async fn requests_may_come_before_the_answers_to_others() {
    let door = open(limits(), LogForm::Json, plain).await;
    let many = get("/").repeat(200) + &get("/none").repeat(200) + &last("/");
    let all = door.ask(&many).await;
    assert_eq!(all.matches("HTTP/1.1 200 OK\r\n").count(), 201);
    assert_eq!(all.matches("HTTP/1.1 304 Not Modified\r\n").count(), 200);
    assert_eq!(door.close().await.lines().count(), 401);
}

#[tokio::test]
async fn head_says_what_get_would_and_sends_nothing() {
    let door = open(limits(), LogForm::Json, plain).await;
    let all = door.ask("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(all.contains("content-length: 10\r\n") && all.ends_with("\r\n\r\n"), "{all}");
    let line: serde_json::Value = serde_json::from_str(&door.close().await).unwrap();
    assert_eq!((line["bytes"].as_u64(), line.get("cut")), (Some(0), None));
}

#[tokio::test]
async fn http_1_0_gets_its_answer_and_the_end_of_the_connection() {
    let door = open(limits(), LogForm::Combined, plain).await;
    let all = door.ask("GET /stream HTTP/1.0\r\n\r\n").await;
    assert!(all.starts_with("HTTP/1.0 200 OK\r\n") && all.ends_with(&"y".repeat(30)), "{all}");
    let all = door.ask("GET / HTTP/1.0\r\n\r\n").await;
    assert!(all.ends_with(&"x".repeat(10)), "{all}");
    let log = door.close().await;
    assert!(log.contains("\"GET /stream HTTP/1.0\" 200 30 \"-\" \"-\"\n"), "{log}");
}

#[tokio::test]
async fn a_request_id_is_echoed_or_made() {
    let door = open(limits(), LogForm::Json, plain).await;
    let mut client = door.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: proxy-17\r\n\r\n").await;
    assert!(client.answer().await.0.contains("x-request-id: proxy-17\r\n"));
    client.send("GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: no good\r\n\r\n").await;
    let (head, _) = client.answer().await;
    let made = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
    assert_eq!(made.len(), 32);
    drop(client);
    let log = door.close().await;
    assert!(log.contains("\"id\":\"proxy-17\"") && log.contains(&format!("\"id\":\"{made}\"")), "{log}");
}

#[tokio::test]
async fn the_log_has_what_was_asked_and_answered() {
    let door = open(limits(), LogForm::Json, plain).await;
    let request = "GET /content?x=1 HTTP/1.1\r\nHost: gateway.example:81\r\nUser-Agent: a\"b\\c\r\n\
        Referer: http://there/\r\nRange: bytes=0-1\r\nX-Request-Id: 7\r\nX-Test-Client: 192.0.2.9\r\n\
        Connection: close\r\n\r\n";
    door.ask(request).await;
    assert_eq!(*door.served.lock().unwrap(), [(root(), 4096)]);
    let mut line: serde_json::Value = serde_json::from_str(&door.close().await).unwrap();
    for (field, most) in [("duration_s", 20.0), ("ttfb_s", 20.0)] {
        let value = line.as_object_mut().unwrap().remove(field).unwrap().as_f64().unwrap();
        assert!(value > 0.0 && value < most, "{field}: {value}");
    }
    let time = line.as_object_mut().unwrap().remove("time").unwrap();
    assert!(time.as_str().unwrap().ends_with('Z'));
    let golden = serde_json::json!({
        "id": "7", "from": "192.0.2.9", "method": "GET", "host": "gateway.example:81", "path": "/content?x=1",
        "protocol": "HTTP/1.1", "status": 200, "bytes": 4096, "user_agent": "a\"b\\c",
        "referer": "http://there/", "range": "bytes=0-1", "cache": "pop; hit",
    });
    assert_eq!(line, golden);
}

#[tokio::test]
async fn what_a_client_sends_makes_no_lines_of_its_own() {
    let door = open(limits(), LogForm::Combined, plain).await;
    let mut client = door.connect().await;
    let forged = b"GET /%0a?\xc3\xa9\" HTTP/1.1\r\nHost: x\r\nUser-Agent: \"\x85\xff 200 1\tx\r\n\
        Referer: \\\"\r\nConnection: close\r\n\r\n";
    client.stream.write_all(forged).await.unwrap();
    client.rest().await.unwrap();
    let log = door.close().await;
    assert!(log.lines().count() <= 1 && log.is_ascii(), "{log}");
    for line in log.lines() {
        assert_eq!(line.matches('"').count(), 6, "{line}");
    }
}

#[tokio::test]
async fn figures_tell_of_requests_bytes_and_caches() {
    let door = open(limits(), LogForm::Json, plain).await;
    door.ask(&(get("/content") + &get("/none") + &last("/content"))).await;
    door.until("pop_gateway_requests_open", 0.0).await;
    assert_eq!(door.figure("pop_gateway_requests_total{format=\"none\",status=\"2xx\"}"), 2.0);
    assert_eq!(door.figure("pop_gateway_requests_total{format=\"none\",status=\"3xx\"}"), 1.0);
    assert_eq!(door.figure("pop_gateway_cache_total{result=\"hit\"}"), 2.0);
    assert_eq!(door.figure("pop_gateway_sent_bytes_total"), 8192.0);
    assert_eq!(door.figure("pop_gateway_first_byte_seconds_count"), 3.0);
    door.close().await;
}

#[tokio::test]
async fn head_claims_no_length_that_only_the_content_would_tell() {
    let mut blocks = pop_dag::Memory::new();
    let file = crate::testing::dag::raw(b"12345", &mut blocks);
    let dir = crate::testing::dag::dir(&[("a", file)], &mut blocks);
    let site = crate::testing::site(blocks);
    let answer = move |request| crate::handle::handle(Arc::clone(&site), request, [127, 0, 0, 1].into());
    let door = open(limits(), LogForm::Json, answer).await;
    let head = |path: &str| format!("HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    let paths = ["?format=car", "?format=tar", "/?format=json", "/", "?format=car"];
    let mut client = door.connect().await;
    for path in paths {
        client.send(&head(&format!("/ipfs/{dir}{path}"))).await;
        let (said, _) = client.answer().await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.contains("etag: "), "{path}: {said}");
        assert!(!said.contains("content-length") && !said.contains("transfer-encoding"), "{path}: {said}");
    }
    // The connection is as good as before, and what is known is said.
    client.send(&(head(&format!("/ipfs/{file}")) + &last("/"))).await;
    let rest = client.rest().await.unwrap();
    assert!(rest.contains("content-length: 5\r\n"), "{rest}");
    drop(client);
    door.close().await;
}
