//! Content that is here.

use std::fs;
use std::time::{Duration, Instant};

use super::fleet::{Pop, noise};
use super::http::{get, send};

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

#[test]
fn settings_that_contradict_each_other_end_the_start_with_both_names() {
    let pop = Pop::new(&[]);
    let told = pop.json(&["start", "--domains", "pop.example"]).failed(2);
    assert_eq!(told, "domains is given and gateway_listen is not");
    let told = pop.json(&["start", "--gateway-listen", "127.0.0.2:0", "--gateway-deny-file", "none"]);
    assert!(told.failed(2).contains("gateway_deny_file"));
}
