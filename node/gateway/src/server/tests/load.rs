//! What many clients cost. Too long or too large for every run; each says how it is run.

use super::*;

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// A body that has no end and of which no piece is shared, in pieces as small as they get under pressure.
fn fresh() -> Response<Body> {
    Response::new(Body::from_stream(futures::stream::repeat_with(|| {
        Ok::<_, std::convert::Infallible>(vec![b'f'; 32 * 1024])
    })))
}

#[tokio::test]
#[ignore = "measures: cargo test -p pop-gateway --release a_thousand_slow_readers -- --ignored --nocapture"]
async fn a_thousand_slow_readers_hold_little() {
    let limits = Limits { requests: 4096, requests_per_address: 2048, ..limits() };
    let door = open(limits, LogForm::Json, |request: Request<Body>| async move {
        if request.uri().path() == "/small" { sized(10) } else { fresh() }
    })
    .await;
    let start = resident();
    let mut idle = Vec::new();
    for _ in 0..1000 {
        let mut client = door.connect().await;
        client.send(&get("/small")).await;
        client.answer().await;
        idle.push(client);
    }
    let before = resident();
    println!("1000 clients at rest hold {} KiB each", (before - start) / 1000 / 1024);
    drop(idle);
    door.until("pop_gateway_connections", 0.0).await;
    let mut clients = Vec::new();
    for _ in 0..1000 {
        let mut client = door.connect().await;
        client.send(&get("/")).await;
        clients.push(client);
    }
    door.until("pop_gateway_requests_open", 1000.0).await;
    // Until the buffers of the system are full.
    let mut last = u64::MAX;
    while last != resident() {
        last = resident();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let held = resident() - start;
    println!("1000 clients that read nothing hold {} KiB each", held / 1000 / 1024);
    assert!(held < 96 * 1024 * 1024, "{held}");
    drop(clients);
    door.until("pop_gateway_connections", 0.0).await;
    door.close().await;
}
