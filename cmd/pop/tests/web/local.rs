//! Content that is here.

use std::fs;
use std::time::{Duration, Instant};

use super::fleet::{Pop, noise};
use super::http::{get, send, send_to};

#[test]
fn content_that_is_here_is_served_and_its_use_is_counted() {
    let pop = Pop::start(&["--gateway-listen", "127.0.0.2:0"]);
    let file = pop.file("film.bin");
    fs::write(&file, noise(3 << 20, 1)).unwrap();
    let root = pop.publish(&file);
    assert!(get(&pop, &format!("/ipfs/{root}/film.bin")).ok() == noise(3 << 20, 1));
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let list = pop.json(&["list"]).done();
        if list[0]["served"].as_u64().is_some_and(|served| served >= 3 << 20) {
            assert_eq!(list[0]["frequency"], 1, "{list}");
            break;
        }
        assert!(Instant::now() < deadline, "{list}");
        std::thread::yield_now();
    }
    // What was removed is served no more, however well it was remembered.
    pop.json(&["rm", &root]).done();
    assert_eq!(get(&pop, &format!("/ipfs/{root}/film.bin")).status, 404);
}

#[test]
fn what_is_sold_is_told_to_strangers_with_its_price() {
    let flags = ["--gateway-listen", "127.0.0.2:0", "--gateway-sell", "node", "--price", "1 FIL/GiB"];
    let pop = Pop::start(&flags);
    let file = pop.file("film.bin");
    fs::write(&file, noise(1 << 20, 2)).unwrap();
    let root = pop.publish(&file);
    let target = format!("/ipfs/{root}/film.bin");
    get(&pop, &target).ok();
    let reply = send(&pop, &target, "X-Forwarded-For: 203.0.113.9\r\n").reply();
    assert_eq!(reply.status, 402, "{}", reply.text());
    let offer = reply.json();
    assert_eq!((&offer["root"], &offer["payee"]), (&root.into(), &pop.wallet().into()), "{offer}");
    assert_eq!(offer["price_atto_per_gib"], "1000000000000000000", "{offer}");
    assert!(offer["size"].as_u64().unwrap() > 1 << 20, "{offer}");
    assert_eq!(offer["providers"][0], pop.address().as_str(), "{offer}");
}

/// Returns an address that the daemon told when it was ready.
fn told(pop: &Pop, what: &str) -> String {
    let log = pop.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut found = lines.filter_map(|line| Some(line[what].as_str()?.to_owned()));
    found.next_back().unwrap_or_else(|| panic!("no {what} in {log}"))
}

#[test]
fn the_admin_listener_tells_whether_the_node_is_ready_and_what_it_counts() {
    let pop = Pop::start(&["--gateway-listen", "127.0.0.2:0", "--admin-listen", "127.0.0.3:0"]);
    let file = pop.file("film.bin");
    fs::write(&file, noise(1 << 20, 3)).unwrap();
    let root = pop.publish(&file);
    get(&pop, &format!("/ipfs/{root}/film.bin")).ok();
    let admin = told(&pop, "admin");
    assert_eq!(send_to(&admin, "/readyz", "").reply().ok(), b"ready\n");
    assert_eq!(send_to(&admin, "/livez", "").reply().ok(), b"alive\n");
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let figures = String::from_utf8(send_to(&admin, "/metrics", "").reply().ok()).unwrap();
        let value = |name: &str| {
            let found = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            found.and_then(|value| value.parse::<f64>().ok())
        };
        if value("pop_store_pinned_roots") == Some(1.0) {
            assert!(value("pop_store_used_bytes").is_some_and(|used| used > 1_048_576.0), "{figures}");
            assert_eq!(value("pop_unpaid_bytes"), Some(0.0), "{figures}");
            assert!(figures.contains("gateway"), "{figures}");
            break;
        }
        assert!(Instant::now() < deadline, "{figures}");
        std::thread::sleep(Duration::from_millis(100));
    }
    // What is the owner's alone is not at the gateway, and the API is at neither.
    for path in ["/metrics", "/readyz", "/api", "/rpc"] {
        assert!(get(&pop, path).status >= 400, "{path}");
    }
    assert!(send_to(&admin, &format!("/ipfs/{root}/film.bin"), "").reply().status == 404);
}

#[test]
fn settings_that_contradict_each_other_end_the_start_with_both_names() {
    let pop = Pop::new(&[]);
    let told = pop.json(&["start", "--domains", "pop.example"]).failed(2);
    assert_eq!(told, "domains is given and gateway_listen is not");
    let told = pop.json(&["start", "--gateway-listen", "127.0.0.2:0", "--gateway-deny-file", "none"]);
    assert!(told.failed(2).contains("gateway_deny_file"));
    let list = pop.file("list");
    fs::write(&list, "no CID\n").unwrap();
    let deny = ["--gateway-deny-file", list.to_str().unwrap()];
    let told = pop.json(&[&["start", "--gateway-listen", "127.0.0.2:0"], &deny[..]].concat());
    assert!(told.failed(2).contains("line 1 of the list"));
}
