//! Clients that take more than they may.

use super::*;

fn short(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = limits();
    change(&mut limits);
    limits
}

const BRIEF: Duration = Duration::from_millis(200);

async fn small(_: Request<Body>) -> Response<Body> {
    sized(10)
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut() {
    let door = open(short(|limits| limits.head = BRIEF), LogForm::Json, small).await;
    let mut client = door.connect().await;
    client.send("GET / HTTP/1.1\r\n").await;
    let began = Instant::now();
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if client.stream.write_all(b"a").await.is_err() {
                return;
            }
        }
    };
    within(drip).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    door.until("pop_gateway_cut_total{why=\"head\"}", 1.0).await;
    let mut silent = door.connect().await;
    assert_eq!(silent.rest().await.unwrap(), "");
    door.close().await;
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_and_one_with_requests_is_not() {
    let door = open(short(|limits| limits.idle = BRIEF), LogForm::Json, small).await;
    let mut client = door.connect().await;
    for _ in 0..8 {
        client.send(&get("/")).await;
        client.answer().await;
        tokio::time::sleep(BRIEF / 4).await;
    }
    assert_eq!(client.rest().await.unwrap(), "");
    door.close().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let door = open(limits(), LogForm::Json, small).await;
    for size in [70_000, 95_000, 1_000_000] {
        let value = "v".repeat(size);
        let all =
            door.ask(&format!("GET / HTTP/1.1\r\nHost: x\r\nX: {value}\r\nConnection: close\r\n\r\n")).await;
        assert!(all.starts_with("HTTP/1.1 431 "), "{size}: {all}");
    }
    let many = "a: b\r\n".repeat(101);
    let all = door.ask(&format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n")).await;
    assert!(all.starts_with("HTTP/1.1 431 "), "{all}");
    let fits = "v".repeat(60_000);
    let all = door.ask(&format!("GET / HTTP/1.1\r\nHost: x\r\nX: {fits}\r\nConnection: close\r\n\r\n")).await;
    assert!(all.starts_with("HTTP/1.1 200 "), "{all}");
    door.close().await;
}

#[tokio::test]
async fn a_target_that_is_too_long_is_414_and_a_long_one_is_the_answers_business() {
    let door = open(limits(), LogForm::Json, |request| async move {
        assert!(request.uri().path().len() > 60_000);
        sized(1)
    })
    .await;
    let all = door.ask(&last(&format!("/{}", "p".repeat(65_536)))).await;
    assert!(all.starts_with("HTTP/1.1 414 "), "{all}");
    let all = door.ask(&last(&format!("/{}", "p".repeat(65_000)))).await;
    assert!(all.starts_with("HTTP/1.1 200 "), "{all}");
    door.close().await;
}

#[tokio::test]
async fn an_address_with_too_many_connections_is_told_and_others_are_served() {
    let door = open(short(|limits| limits.connections_per_address = 3), LogForm::Json, small).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut client = door.connect().await;
        client.send(&get("/")).await;
        client.answer().await;
        held.push(client);
    }
    let all = door.ask(&get("/")).await;
    assert!(all.starts_with("HTTP/1.1 429 ") && all.contains("Retry-After: 1\r\n"), "{all}");
    assert_eq!(door.figure("pop_gateway_refused_total{cause=\"address_connections\"}"), 1.0);
    let other = TcpStream::connect(door.address).await;
    drop((other, held.pop()));
    door.until("pop_gateway_connections", 2.0).await;
    let all = door.ask(&last("/")).await;
    assert!(all.starts_with("HTTP/1.1 200 "), "{all}");
    door.close().await;
}

#[tokio::test]
async fn an_address_with_too_many_requests_is_429_while_another_is_served() {
    let (release, held) = tokio::sync::watch::channel(false);
    let answer = move |request: Request<Body>| {
        let mut held = held.clone();
        async move {
            if request.uri().path() == "/hold" {
                held.wait_for(|free| *free).await.unwrap();
            }
            sized(10)
        }
    };
    let door = open(short(|limits| limits.requests_per_address = 2), LogForm::Json, answer).await;
    let mut holders = Vec::new();
    for _ in 0..2 {
        let mut client = door.connect().await;
        client.send(&get("/hold")).await;
        holders.push(client);
    }
    door.until("pop_gateway_requests_open", 2.0).await;
    let all = door.ask(&last("/")).await;
    assert!(all.starts_with("HTTP/1.1 429 ") && all.contains("retry-after: 1\r\n"), "{all}");
    let other = "GET / HTTP/1.1\r\nHost: x\r\nX-Test-Client: 192.0.2.2\r\nConnection: close\r\n\r\n";
    assert!(door.ask(other).await.starts_with("HTTP/1.1 200 "));
    release.send(true).unwrap();
    for mut client in holders {
        assert!(client.answer().await.0.starts_with("HTTP/1.1 200 "));
    }
    assert!(door.ask(&last("/")).await.starts_with("HTTP/1.1 200 "));
    door.close().await;
}

#[tokio::test]
async fn an_address_that_is_too_fast_is_429_and_told_when_to_come_again() {
    let door = open(short(|limits| limits.rate_per_address = 1), LogForm::Json, small).await;
    let mut client = door.connect().await;
    let mut answers = Vec::new();
    for _ in 0..12 {
        client.send(&get("/")).await;
        answers.push(client.answer().await.0);
    }
    let refused = answers.iter().filter(|head| head.starts_with("HTTP/1.1 429 ")).count();
    assert!((1..=2).contains(&refused), "{refused}");
    assert!(answers.last().unwrap().contains("retry-after: 1\r\n"), "{answers:?}");
    assert!(door.figure("pop_gateway_refused_total{cause=\"rate\"}") >= 1.0);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_answered_or_told_to_come_again() {
    let (release, held) = tokio::sync::watch::channel(false);
    let answer = move |_| {
        let mut held = held.clone();
        async move {
            held.wait_for(|free| *free).await.unwrap();
            sized(10)
        }
    };
    let limits = short(|limits| (limits.connections, limits.requests) = (300, 100));
    let door = Arc::new(open(limits, LogForm::Json, answer).await);
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let door = Arc::clone(&door);
        crowd.spawn(async move {
            let mut client = door.connect().await;
            let _ = client.stream.write_all(last("/").as_bytes()).await;
            client.rest().await
        });
    }
    // One address gets seven eighths of the requests that may be under way.
    let refused = || {
        let causes = ["connections", "address_connections", "requests", "address_requests"];
        let count = |cause| door.figure(&format!("pop_gateway_refused_total{{cause=\"{cause}\"}}"));
        causes.map(count).iter().sum::<f64>()
    };
    let all_came = async {
        while refused() < 413.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(all_came).await;
    release.send(true).unwrap();
    let mut served = 0;
    while let Some(all) = crowd.join_next().await {
        match all.unwrap() {
            Ok(all) if all.starts_with("HTTP/1.1 200 ") => served += 1,
            Ok(all) if all.starts_with("HTTP/1.1 429 ") => {}
            // Just closed, when too many are being told.
            other => assert!(other.as_ref().is_ok_and(String::is_empty) || is_reset(&other), "{other:?}"),
        }
    }
    assert_eq!(served, 87);
    Arc::into_inner(door).unwrap().close().await;
}

#[tokio::test]
async fn requests_whose_answers_nobody_reads_are_not_taken_on() {
    let begun = Arc::<std::sync::atomic::AtomicUsize>::default();
    let count = Arc::clone(&begun);
    let answer = move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().insert("x-large", HeaderValue::from_str(&"h".repeat(4000)).unwrap());
        std::future::ready(response)
    };
    let door = open(limits(), LogForm::Json, answer).await;
    let mut client = door.connect().await;
    let many = get("/").repeat(1000);
    let flood = async {
        loop {
            client.stream.write_all(many.as_bytes()).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(2), flood).await.is_err());
    // What the buffers of the system take of 4 KiB answers, and some more.
    let before = begun.load(Ordering::Relaxed);
    assert!(before < 5000, "{before}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(begun.load(Ordering::Relaxed), before);
    // Whoever reads again is answered again.
    let mut read = 0;
    while read < 3000 * 4096 {
        let mut space = vec![0; 65_536];
        read += within(client.stream.read(&mut space)).await.unwrap();
    }
    drop(client);
    door.until("pop_gateway_requests_open", 0.0).await;
}
