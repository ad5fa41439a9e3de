use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;

struct Node(Vec<String>);

impl Probe for Node {
    fn troubles(&self) -> Vec<String> {
        self.0.clone()
    }

    fn samples(&self) -> Vec<Sample> {
        let peer = |id: &str, value| Sample {
            name: "pop_peer_latency_seconds",
            help: "How far a peer is",
            is_counter: false,
            labels: vec![("peer", id.to_owned()), ("region", "a\"b\\c\nd".into())],
            value,
        };
        let blocks = Sample {
            name: "pop_blocks_total",
            help: "Blocks that were stored",
            is_counter: true,
            labels: Vec::new(),
            value: 7.0,
        };
        vec![peer("one", 0.25), peer("two", 2.0), blocks]
    }
}

struct Open {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn open(troubles: &[&str], gateway: Option<Figures>) -> Open {
    let node = Node(troubles.iter().map(|&trouble| trouble.to_owned()).collect());
    let admin = Admin::bind("127.0.0.1:0".parse().unwrap(), Arc::new(node), gateway).await.unwrap();
    let (address, stop) = (admin.address().unwrap(), CancellationToken::new());
    Open { address, task: tokio::spawn(admin.run(stop.clone())), stop }
}

impl Open {
    async fn ask(&self, method: &str, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }
}

#[tokio::test]
async fn a_node_that_runs_is_alive_and_ready_when_nothing_is_in_the_way() {
    let open = open(&[], None).await;
    assert_eq!(open.ask("GET", "/livez").await.1, "alive\n");
    assert!(open.ask("GET", "/readyz").await.0.starts_with("HTTP/1.1 200 "));
    let (head, body) = open.ask("HEAD", "/readyz").await;
    assert!(head.contains("content-length: 6") && body.is_empty());
    open.stop.cancel();
    open.task.await.unwrap();
}

#[tokio::test]
async fn what_is_in_the_way_is_told() {
    let figures = Figures::new();
    let open = open(&["the store fails"], Some(figures.clone())).await;
    let (head, body) = open.ask("GET", "/readyz").await;
    assert!(head.starts_with("HTTP/1.1 503 ") && body == "the store fails\n", "{head}{body}");
    figures.drain();
    assert_eq!(open.ask("GET", "/readyz").await.1, "the store fails\nthe gateway is stopping\n");
    assert_eq!(open.ask("GET", "/livez").await.1, "alive\n");
}

#[tokio::test]
async fn figures_are_open_metrics() {
    let figures = Figures::new();
    figures.sent(5);
    let open = open(&[], Some(figures)).await;
    let (head, body) = open.ask("GET", "/metrics").await;
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.contains("# UNIT pop_gateway_sent_bytes bytes\npop_gateway_sent_bytes_total 5\n"), "{body}");
    let node = "# HELP pop_peer_latency_seconds How far a peer is.\n\
        # TYPE pop_peer_latency_seconds gauge\n\
        pop_peer_latency_seconds{peer=\"one\",region=\"a\\\"b\\\\c\\nd\"} 0.25\n\
        pop_peer_latency_seconds{peer=\"two\",region=\"a\\\"b\\\\c\\nd\"} 2\n\
        # HELP pop_blocks Blocks that were stored.\n\
        # TYPE pop_blocks counter\n\
        pop_blocks_total 7\n\
        # EOF\n";
    assert!(body.ends_with(node), "{body}");
    assert_eq!(body.matches("# EOF").count(), 1);
}

#[tokio::test]
async fn nothing_else_is_there_and_nothing_can_be_changed() {
    let open = open(&[], None).await;
    for path in ["/", "/ipfs/bafy", "/livez/", "/metrics/../livez", "/api/v0/id"] {
        assert!(open.ask("GET", path).await.0.starts_with("HTTP/1.1 404 "), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (head, _) = open.ask(method, "/livez").await;
        assert!(head.starts_with("HTTP/1.1 405 ") && head.contains("allow: GET, HEAD"), "{head}");
    }
}

#[tokio::test]
async fn idle_connections_do_not_outlive_the_stop() {
    let open = open(&[], None).await;
    let mut idle = TcpStream::connect(open.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    idle.readable().await.unwrap();
    open.stop.cancel();
    open.task.await.unwrap();
}
