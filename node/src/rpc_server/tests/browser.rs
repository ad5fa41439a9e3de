//! The door for pages: who gets in, and who does not.

use super::*;

const ORIGIN: &str = "Origin: https://console.example\r\n";

/// Sends a handshake and returns the status, the head, and the connection.
async fn knock(fixture: &Fixture, host: Option<&str>, headers: &str) -> (u16, String, TcpStream) {
    let address = fixture.serving.pages().unwrap();
    let host = host.map_or(format!("127.0.0.1:{}", address.port()), |host| {
        host.replace("PORT", &address.port().to_string())
    });
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (status, head) = head_of(&mut stream).await;
    (status, head, stream)
}

async fn head_of(stream: &mut TcpStream) -> (u16, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            Ok(_) | Err(_) => break,
        }
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let status = head.split_whitespace().nth(1).expect("a head").parse().unwrap();
    (status, head)
}

fn bearer(secret: &str) -> String {
    format!("{ORIGIN}Sec-WebSocket-Protocol: pop, pop.bearer.{secret}\r\n")
}

/// A text frame of a client; the mask of zeros changes nothing.
fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 126).expect("a short text");
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

#[tokio::test]
async fn a_page_of_a_named_origin_with_the_token_calls_methods() {
    let fixture = Fixture::new().await;
    let (status, head, mut stream) = knock(&fixture, None, &bearer(SECRET)).await;
    assert_eq!(status, 101, "{head}");
    assert!(head.contains("sec-websocket-protocol: pop\r\n"), "{head}");
    assert!(!head.contains(SECRET), "the token is not told back");
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"echo","params":{"a":1}}"#;
    stream.write_all(&frame(call)).await.unwrap();
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await.unwrap();
    let mut text = vec![0; usize::from(answer[1])];
    stream.read_exact(&mut text).await.unwrap();
    let answer: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(answer, json!({ "jsonrpc": "2.0", "id": 1, "result": { "a": 1 } }));
    // It outlives the time that a handshake has, and ends with the node.
    fixture.stop.cancel();
    fixture.serving.finished().await;
}

#[tokio::test]
async fn the_token_is_taken_from_a_header_too_and_the_node_has_several_names() {
    let fixture = Fixture::new().await;
    let header = format!("{ORIGIN}Authorization: Bearer {SECRET}\r\n");
    for host in ["127.0.0.1:PORT", "localhost:PORT", "LOCALHOST:PORT", "pop.example", "pop.example:443"] {
        let (status, head, _) = knock(&fixture, Some(host), &header).await;
        assert_eq!(status, 101, "{host}: {head}");
        assert!(!head.contains("sec-websocket-protocol"), "nothing was offered: {head}");
    }
}

#[tokio::test]
async fn a_wrong_origin_token_or_name_is_refused() {
    let fixture = Fixture::new().await;
    let token = format!("Sec-WebSocket-Protocol: pop, pop.bearer.{SECRET}\r\n");
    let origins = [
        "",
        "Origin: null\r\n",
        "Origin: https://console.example.evil.example\r\n",
        "Origin: http://console.example\r\n",
        "Origin: https://console.example:8443\r\n",
        "Origin: https://console.example\r\nOrigin: https://evil.example\r\n",
    ];
    for origin in origins {
        assert_eq!(knock(&fixture, None, &format!("{origin}{token}")).await.0, 403, "{origin}");
    }
    for headers in
        [ORIGIN.to_owned(), bearer("wrong"), bearer(""), format!("{ORIGIN}Authorization: Bearer \r\n")]
    {
        let (status, head, _) = knock(&fixture, None, &headers).await;
        assert_eq!(status, 401, "{headers}: {head}");
    }
    let names = [
        "evil.example",
        "evil.example:PORT",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.2:PORT",
        "pop.example.evil.example",
        "pop.example@evil.example:PORT",
    ];
    for name in names {
        let (status, head, _) = knock(&fixture, Some(name), &bearer(SECRET)).await;
        assert!(matches!(status, 421 | 400), "{name}: {head}");
    }
}

#[tokio::test]
async fn plain_requests_are_refused_even_with_the_token() {
    let fixture = Fixture::new().await;
    let address = fixture.serving.pages().unwrap();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"note"}"#;
    for upgrade in ["", "Upgrade: websocket\r\n", "Upgrade: h2c\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {address}\r\n{ORIGIN}{upgrade}Authorization: Bearer {SECRET}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{call}",
            call.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(head_of(&mut stream).await.0, 426, "{upgrade}");
    }
    assert_eq!(fixture.noted.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn pages_that_wait_outside_keep_nobody_out_of_the_socket() {
    let fixture = Fixture::new().await;
    let address = fixture.serving.pages().unwrap();
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    let answer =
        fixture.post_json(&json!({ "jsonrpc": "2.0", "id": 1, "method": "echo", "params": [1] })).await;
    assert_eq!(answer["result"], json!([1]));
}
