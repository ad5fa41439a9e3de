//! Content that is somewhere else.

use std::fs;
use std::time::{Duration, Instant};

use super::fleet::{Pop, atto, noise};
use super::http::{Reply, get, send};

const MIB: usize = 1 << 20;
/// A well-formed CID of nothing that anybody has.
const NOWHERE: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";

/// What makes a node buy.
const BUYS: [&str; 6] =
    ["--gateway-fetch", "paid", "--max-price", "0.02 FIL/GiB", "--max-spend-per-day", "1 FIL"];

/// Starts a node with content, and one with a gateway that fetches from it.
fn pair(price: &str, flags: &[&str]) -> (Pop, Pop) {
    let seller = Pop::start(&["--price", price, "--chain-listen", "127.0.0.1:0"]);
    let mut all = vec!["--gateway-listen", "127.0.0.2:0"];
    all.extend(flags);
    let reader = Pop::join(&seller, &all);
    reader.meet(&seller);
    (seller, reader)
}

/// Publishes a file; returns the path to it.
fn publish(pop: &Pop, size: usize, seed: u64) -> String {
    let file = pop.file("film.bin");
    fs::write(&file, noise(size, seed)).unwrap();
    format!("/ipfs/{}/film.bin", pop.publish(&file))
}

fn root_of(path: &str) -> &str {
    path.split('/').nth(2).unwrap()
}

#[test]
fn ten_requests_for_the_same_missing_content_are_one_deal() {
    let (seller, reader) = pair("0 FIL/GiB", &["--gateway-fetch", "free"]);
    let path = publish(&seller, 12 * MIB, 1);
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..10).map(|_| scope.spawn(|| get(&reader, &path).ok())).collect();
        for reply in asked {
            assert!(reply.join().unwrap() == noise(12 * MIB, 1), "the copy differs");
        }
    });
    let sent = seller.json(&["list"]).done()[0]["served"].as_u64().unwrap();
    assert!(sent < 13 * MIB as u64, "{sent} bytes were sent for 12 MiB");
    // It is kept as a cache, and another request needs nobody.
    let list = reader.json(&["list"]).done();
    assert_eq!((&list[0]["root"], &list[0]["pinned"]), (&root_of(&path).into(), &false.into()), "{list}");
    drop(seller);
    assert!(get(&reader, &path).ok() == noise(12 * MIB, 1));
}

#[test]
fn a_directory_is_fetched_as_far_as_it_is_shown() {
    let (seller, reader) = pair("0 FIL/GiB", &["--gateway-fetch", "free"]);
    let site = seller.file("site");
    fs::create_dir_all(site.join("pictures")).unwrap();
    fs::write(site.join("a-film.bin"), noise(8 * MIB, 3)).unwrap();
    fs::write(site.join("index.html"), "<h1>welcome</h1>").unwrap();
    fs::write(site.join("pictures/one.png"), noise(MIB, 4)).unwrap();
    let root = seller.publish(&site);
    let page = get(&reader, &format!("/ipfs/{root}/site/")).ok();
    assert_eq!(page, b"<h1>welcome</h1>");
    let listing = get(&reader, &format!("/ipfs/{root}/site/pictures/"));
    assert!(listing.text().contains("one.png"), "{}", listing.text());
    for path in ["a-film.bin", "pictures/one.png"] {
        let target = format!("/ipfs/{root}/site/{path}");
        let reply = send(&reader, &target, "Cache-Control: only-if-cached\r\n").reply();
        assert_eq!(reply.status, 412, "{path} was fetched too");
    }
    assert!(get(&reader, &format!("/ipfs/{root}/site/pictures/one.png")).ok() == noise(MIB, 4));
}

#[test]
fn an_archive_is_fetched_with_everything_below() {
    let (seller, reader) = pair("0 FIL/GiB", &["--gateway-fetch", "free"]);
    let site = seller.file("site");
    fs::create_dir_all(site.join("deep")).unwrap();
    fs::write(site.join("deep/film.bin"), noise(3 * MIB, 5)).unwrap();
    let root = seller.publish(&site);
    let car = get(&reader, &format!("/ipfs/{root}?format=car")).ok();
    assert!(car.len() > 3 * MIB, "{} bytes", car.len());
    drop(seller);
    assert!(get(&reader, &format!("/ipfs/{root}/site/deep/film.bin")).ok() == noise(3 * MIB, 5));
}

#[test]
fn what_nobody_has_is_told_with_what_was_tried() {
    let (seller, reader) = pair("0 FIL/GiB", &["--gateway-fetch", "free"]);
    let reply = get(&reader, &format!("/ipfs/{NOWHERE}"));
    assert_eq!(reply.status, 404, "{}", reply.text());
    assert!(reply.text().contains("1 peer was asked"), "{}", reply.text());
    let path = publish(&seller, MIB, 6);
    let reply = get(&reader, &format!("/ipfs/{}/other.bin", root_of(&path)));
    assert_eq!(reply.status, 404, "{}", reply.text());
    assert!(reply.text().contains("other.bin"), "{}", reply.text());

    let flags = ["--gateway-listen", "127.0.0.2:0", "--gateway-fetch", "free", "--gateway-timeout", "2s"];
    let alone = Pop::start(&flags);
    let reply = get(&alone, &format!("/ipfs/{NOWHERE}"));
    assert_eq!(reply.status, 504, "{}", reply.text());
    assert!(reply.text().contains("no peer"), "{}", reply.text());
    assert!(reply.head.contains("retry-after:"), "{}", reply.head);
}

#[test]
fn strangers_cause_no_fetch() {
    let (seller, reader) = pair("0 FIL/GiB", &["--gateway-fetch", "free"]);
    let path = publish(&seller, MIB, 7);
    let reply = send(&reader, &path, "X-Forwarded-For: 203.0.113.9\r\n").reply();
    assert_eq!(reply.status, 404, "{}", reply.text());
    assert_eq!(seller.json(&["list"]).done()[0]["served"], 0);
}

#[track_caller]
fn is_offer_of(reply: &Reply, seller: &Pop, path: &str) {
    assert_eq!(reply.status, 402, "{}", reply.text());
    let offer = reply.json();
    assert_eq!(
        (&offer["root"], &offer["payee"]),
        (&root_of(path).into(), &seller.wallet().into()),
        "{offer}"
    );
    let (size, cost) = (u128::from(offer["size"].as_u64().unwrap()), atto(&offer["cost_atto"]));
    // 0.01 FIL a GiB.
    let least = size * (10_000_000_000_000_000 >> 30);
    assert!(size > 4 * MIB as u128 && cost >= least && cost < least + least / 100, "{offer}");
    let address = seller.address();
    assert!(offer["providers"].as_array().unwrap().contains(&address.into()), "{offer}");
    assert!(offer["chain"].as_str().unwrap().starts_with("local:"), "{offer}");
    assert!(offer["expires"].as_u64().unwrap() > 1_700_000_000, "{offer}");
}

#[test]
fn content_that_costs_is_answered_with_the_offer() {
    let (seller, reader) = pair("0.01 FIL/GiB", &["--gateway-fetch", "free"]);
    let path = publish(&seller, 4 * MIB, 8);
    is_offer_of(&get(&reader, &path), &seller, &path);

    let frugal =
        ["--gateway-fetch", "paid", "--max-spend-per-day", "1 FIL", "--gateway-fetch-spend", "1000 attoFIL"];
    let (seller, reader) = pair("0.01 FIL/GiB", &frugal);
    seller.fund(&reader, "10 FIL");
    let path = publish(&seller, 4 * MIB, 9);
    is_offer_of(&get(&reader, &path), &seller, &path);

    let poor = ["--gateway-fetch", "paid", "--max-spend-per-day", "1000 attoFIL"];
    let (seller, reader) = pair("0.01 FIL/GiB", &poor);
    seller.fund(&reader, "10 FIL");
    let path = publish(&seller, 4 * MIB, 10);
    is_offer_of(&get(&reader, &path), &seller, &path);
}

#[test]
fn content_is_bought_once_within_the_budget() {
    let (seller, reader) = pair("0.01 FIL/GiB", &BUYS);
    seller.fund(&reader, "10 FIL");
    let before = reader.balance();
    let path = publish(&seller, 4 * MIB, 11);
    assert!(get(&reader, &path).ok() == noise(4 * MIB, 11));
    assert!(reader.balance() < before, "nothing was deposited");
    let paid = |pop: &Pop| atto(&pop.json(&["pay", "list"]).done()[0]["best_voucher_atto"]);
    let price = 10_000_000_000_000_000 * 4 / 1024;
    let spent = paid(&reader);
    assert!(spent >= price && spent < price + price / 50, "{spent} for {price}");
    // The last voucher may still be on its way when the last block is served.
    let deadline = Instant::now() + Duration::from_secs(30);
    while paid(&seller) != spent {
        assert!(Instant::now() < deadline, "{} of {spent}", paid(&seller));
        std::thread::yield_now();
    }
    assert!(get(&reader, &path).ok() == noise(4 * MIB, 11));
    assert_eq!(paid(&reader), spent, "what is here is not bought again");
}

#[test]
fn a_provider_that_fails_on_the_way_breaks_the_connection() {
    let (seller, reader) = pair("0 FIL/GiB", &["--gateway-fetch", "free"]);
    let path = publish(&seller, 24 * MIB, 12);
    // A block in the last quarter rots on the seller's disk, which notices when it reads it.
    let segments = seller.repo().join("blocks/segs");
    let mut segments: Vec<_> = fs::read_dir(segments).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    segments.sort_by_key(|path| fs::metadata(path).unwrap().len());
    let segment = segments.last().unwrap();
    let mut bytes = fs::read(segment).unwrap();
    let at = bytes.len() * 3 / 4;
    bytes[at] ^= 1;
    write_in_place(segment, at, bytes[at]);

    let reply = get(&reader, &path);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(!reply.is_whole, "{} bytes passed for 24 MiB", reply.body.len());
    assert!(noise(24 * MIB, 12).starts_with(&reply.body), "what came is not what it should be");
    assert!(reply.body.len() > MIB, "only {} bytes came", reply.body.len());
    let again = get(&reader, &path);
    assert!(again.status != 200 || !again.is_whole);
}

fn write_in_place(path: &std::path::Path, at: usize, byte: u8) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[byte], at as u64).unwrap();
}

#[test]
fn a_reader_that_was_killed_goes_on_where_it_was() {
    let (seller, mut reader) = pair("0.01 FIL/GiB", &BUYS);
    seller.fund(&reader, "10 FIL");
    let path = publish(&seller, 64 * MIB, 13);
    let mut request = send(&reader, &path, "");
    assert!(request.begins().starts_with(b"HTTP/1.1 200"));
    reader.kill();
    reader.run();
    reader.meet(&seller);
    assert!(get(&reader, &path).ok() == noise(64 * MIB, 13));
    let spent = atto(&reader.json(&["pay", "list"]).done()[0]["best_voucher_atto"]);
    // At most one interval of 16 MiB is paid twice.
    let price = 10_000_000_000_000_000 * 64 / 1024;
    assert!(spent <= price * 5 / 4 + price / 50, "{spent} for {price}");
}
