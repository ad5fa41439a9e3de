use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jsonrpsee::RpcModule;
use pop_rpc::{Client, ErrorCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

mod browser;
mod watch;

use super::*;

const SECRET: &str = "0123456789abcdef";

struct Fixture {
    dir: tempfile::TempDir,
    stop: CancellationToken,
    serving: Serving,
    noted: Arc<AtomicU32>,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let noted = Arc::new(AtomicU32::new(0));
        let mut module = RpcModule::new(noted.clone());
        module.register_method("echo", |params, _, _| params.parse::<Value>()).unwrap();
        module.register_method("note", |_, noted, _| noted.fetch_add(1, Ordering::SeqCst)).unwrap();
        module
            .register_async_method("slow", |_, _, _| async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                "done"
            })
            .unwrap();
        let listen = Listen {
            socket: dir.path().join("api.sock"),
            tcp: Some(("127.0.0.1:0".parse().unwrap(), SECRET.to_owned())),
            browsers: Some(Browsers {
                listen: "127.0.0.1:0".parse().unwrap(),
                origins: vec!["https://console.example".to_owned()],
                names: vec!["pop.example".to_owned()],
                token: SECRET.to_owned(),
            }),
        };
        let stop = CancellationToken::new();
        let serving = serve(listen, module, stop.clone()).await.unwrap();
        Self { dir, stop, serving, noted }
    }

    async fn unix(&self) -> UnixStream {
        UnixStream::connect(self.dir.path().join("api.sock")).await.unwrap()
    }

    async fn post(&self, body: &str) -> (u16, String) {
        post(self.unix().await, body, "Content-Type: application/json\r\n").await
    }

    async fn post_json(&self, body: &Value) -> Value {
        let (status, answer) = self.post(&body.to_string()).await;
        assert_eq!(status, 200);
        serde_json::from_str(&answer).unwrap()
    }
}

/// What curl sends.
async fn post<T>(mut stream: T, body: &str, headers: &str) -> (u16, String)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses by the head may close before it has read the body.
    let _ = stream.write_all(body.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split_whitespace().nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, body.to_owned())
}

#[tokio::test]
async fn a_plain_post_over_the_unix_socket_is_answered() {
    let fixture = Fixture::new().await;
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "echo", "params": { "a": 1 } });
    let answer = fixture.post_json(&call).await;
    assert_eq!(answer, json!({ "jsonrpc": "2.0", "id": 1, "result": { "a": 1 } }));
    // curl -d without a header of its own.
    for kind in ["", "Content-Type: application/x-www-form-urlencoded\r\n"] {
        let (status, _) = post(fixture.unix().await, &call.to_string(), kind).await;
        assert_eq!(status, 200);
    }
}

#[tokio::test]
async fn errors_of_the_specification_are_told_by_their_numbers() {
    let fixture = Fixture::new().await;
    let unknown = fixture.post_json(&json!({ "jsonrpc": "2.0", "id": 7, "method": "nothing" })).await;
    assert_eq!((&unknown["error"]["code"], &unknown["id"]), (&json!(-32601), &json!(7)));
    let (_, broken) = fixture.post("{ not json").await;
    let broken: Value = serde_json::from_str(&broken).unwrap();
    assert_eq!((&broken["error"]["code"], &broken["id"]), (&json!(-32700), &Value::Null));
    let invalid = fixture.post_json(&json!({ "id": 1 })).await;
    assert_eq!(invalid["error"]["code"], -32600);
    let empty = fixture.post_json(&json!([])).await;
    assert_eq!(empty["error"]["code"], -32600);
}

#[tokio::test]
async fn a_notification_is_carried_out_and_not_answered() {
    let fixture = Fixture::new().await;
    let (status, body) = fixture.post(r#"{"jsonrpc":"2.0","method":"note"}"#).await;
    assert_eq!((status, body.as_str()), (204, ""));
    assert_eq!(fixture.noted.load(Ordering::SeqCst), 1);
    let batch = json!([
        { "jsonrpc": "2.0", "method": "note" },
        { "jsonrpc": "2.0", "id": "x", "method": "echo", "params": [1] },
        { "jsonrpc": "2.0", "id": 2, "method": "nothing" },
        1,
    ]);
    let answers = fixture.post_json(&batch).await;
    assert_eq!(answers.as_array().unwrap().len(), 3, "{answers}");
    assert_eq!(fixture.noted.load(Ordering::SeqCst), 2);
    let (_, body) = fixture.post(r#"[{"jsonrpc":"2.0","method":"note"}]"#).await;
    assert_eq!(body, "");
    assert_eq!(fixture.noted.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn two_clients_at_once_see_their_own_answers() {
    let fixture = Fixture::new().await;
    let socket = fixture.dir.path().join("api.sock");
    let (one, two) = (Client::unix(&socket).await.unwrap(), Client::unix(&socket).await.unwrap());
    let ask = |client: Client, name: &'static str| async move {
        for n in 0..50 {
            let answer: Value = client.call("echo", &json!({ "from": name, "n": n })).await.unwrap();
            assert_eq!(answer, json!({ "from": name, "n": n }));
        }
    };
    tokio::join!(ask(one, "one"), ask(two, "two"));
}

#[tokio::test]
async fn tcp_wants_the_token() {
    let fixture = Fixture::new().await;
    let address = fixture.serving.tcp().unwrap();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"echo","params":[5]}"#;
    for header in ["", "Authorization: Bearer wrong\r\n", "Authorization: Bearer \r\n"] {
        let (status, body) = post(TcpStream::connect(address).await.unwrap(), call, header).await;
        assert_eq!(status, 401, "{header}");
        assert!(!body.contains(SECRET));
    }
    let right = format!("Authorization: Bearer {SECRET}\r\n");
    assert_eq!(post(TcpStream::connect(address).await.unwrap(), call, &right).await.0, 200);
    assert_eq!(Client::tcp(address, "wrong").await.unwrap_err().code, ErrorCode::NoDaemon);
    let client = Client::tcp(address, SECRET).await.unwrap();
    assert_eq!(client.call::<Value>("echo", &json!({})).await.unwrap(), json!({}));
}

#[tokio::test]
async fn the_socket_is_this_users_alone() {
    let fixture = Fixture::new().await;
    let mode = std::fs::metadata(fixture.dir.path().join("api.sock")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn requests_over_the_limit_are_refused() {
    let fixture = Fixture::new().await;
    let large = json!({ "jsonrpc": "2.0", "id": 1, "method": "echo", "params": ["x".repeat(2 << 20)] });
    let (status, _) = fixture.post(&large.to_string()).await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn calls_that_run_are_answered_after_the_stop() {
    let fixture = Fixture::new().await;
    let stop = fixture.stop.clone();
    let call = fixture.post(r#"{"jsonrpc":"2.0","id":1,"method":"slow"}"#);
    let stopper = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.cancel();
    };
    let ((status, body), ()) = tokio::join!(call, stopper);
    assert_eq!(status, 200);
    assert!(body.contains("done"));
    fixture.serving.finished().await;
    assert!(UnixStream::connect(fixture.dir.path().join("api.sock")).await.is_err());
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let listen = Listen {
        socket: dir.path().join("s"),
        tcp: Some(("0.0.0.0:0".parse().unwrap(), SECRET.to_owned())),
        browsers: None,
    };
    let refused = serve(listen, RpcModule::new(()), CancellationToken::new()).await.unwrap_err();
    assert!(matches!(refused, ServeError::NotLoopback(_)));
}

#[tokio::test]
async fn a_directory_open_to_others_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let listen = Listen { socket: open.join("s"), tcp: None, browsers: None };
    let refused = serve(listen, RpcModule::new(()), CancellationToken::new()).await.unwrap_err();
    assert!(matches!(refused, ServeError::Shared { .. }));
}
