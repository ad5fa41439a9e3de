//! Publish, replicate, buy, settle: what the software is for.

use std::fs;

use super::fleet::{Pop, atto, noise};

pub(super) const MIB: usize = 1 << 20;
/// 0.01 FIL a GiB, in attoFIL.
pub(super) const PRICE_PER_GIB: u128 = 10_000_000_000_000_000;

/// Starts a seller with the embedded chain and a buyer on the same chain with money.
pub(super) fn market() -> (Pop, Pop) {
    let seller = Pop::start(&["--price", "0.01 FIL/GiB", "--chain-listen", "127.0.0.1:0"]);
    let buyer = Pop::join(&seller, &["--max-price", "0.02 FIL/GiB"]);
    seller.fund(&buyer, "10 FIL");
    buyer.meet(&seller);
    (seller, buyer)
}

#[test]
fn bought_file_is_equal_and_every_atto_is_accounted_for() {
    let (seller, buyer) = market();
    let source = seller.file("film.bin");
    fs::write(&source, noise(20 * MIB + 17, 1)).unwrap();
    let root = seller.publish(&source);

    let copy = buyer.file("copy.bin");
    let path = format!("{root}/film.bin");
    let got = buyer.json(&["get", &path, "-o", copy.to_str().unwrap()]).done();
    assert_eq!(got["source"], "network");
    assert!(fs::read(&source).unwrap() == fs::read(&copy).unwrap(), "the copy differs");
    let spent = atto(&got["spent_atto"]);
    let least = PRICE_PER_GIB * (20 * MIB as u128 + 17) / (1 << 30);
    assert!(spent >= least && spent < least + least / 100, "{spent} against {least}");

    // A second get is local and free.
    let again = buyer.json(&["get", &path, "-o", buyer.file("again.bin").to_str().unwrap()]).done();
    assert_eq!((again["source"].as_str(), atto(&again["spent_atto"])), (Some("local"), 0));

    // What the payer vouched for is what the payee holds, and what it collects.
    let channels = seller.json(&["pay", "list"]).done();
    let channel = channels[0]["channel"].as_str().unwrap().to_owned();
    assert_eq!(atto(&channels[0]["best_voucher_atto"]), spent);
    assert_eq!(atto(&buyer.json(&["pay", "list"]).done()[0]["best_voucher_atto"]), spent);
    let before = seller.balance() + buyer.balance() + atto(&channels[0]["deposit_atto"]);
    let seller_before = seller.balance();
    seller.json(&["pay", "submit", &channel]).done();
    seller.json(&["pay", "settle", &channel]).done();
    seller.json(&["chain", "advance", "1441"]).done();
    // The watcher may have collected already; either way the money is home.
    seller.json(&["pay", "collect", &channel]);
    assert_eq!(seller.balance(), seller_before + spent);
    assert_eq!(seller.balance() + buyer.balance(), before);
}

#[test]
fn one_file_of_a_tree_costs_only_its_own_blocks() {
    let (seller, buyer) = market();
    let tree = seller.file("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    fs::write(tree.join("a/b/wanted.txt"), b"just this").unwrap();
    for n in 0..8 {
        fs::write(tree.join(format!("a/{n}.bin")), noise(MIB, n)).unwrap();
    }
    let root = seller.publish(&tree);
    let copy = buyer.file("wanted.txt");
    let path = format!("{root}/tree/a/b/wanted.txt");
    let got = buyer.json(&["get", &path, "-o", copy.to_str().unwrap()]).done();
    assert_eq!(fs::read(&copy).unwrap(), b"just this");
    let most = PRICE_PER_GIB * 4096 / (1 << 30);
    assert!(atto(&got["spent_atto"]) < most, "paid for more than the path: {got}");

    // The whole tree comes when it is asked for, and equals the source.
    let whole = buyer.file("whole");
    buyer.json(&["get", &format!("{root}/tree"), "-o", whole.to_str().unwrap()]).done();
    for n in 0..8 {
        assert_eq!(fs::read(whole.join(format!("a/{n}.bin"))).unwrap(), noise(MIB, n));
    }
}

#[test]
fn committed_content_is_replicated_with_a_proof() {
    let seller = Pop::start(&["--chain-listen", "127.0.0.1:0"]);
    let cache = Pop::join(&seller, &[]);
    seller.meet(&cache);
    let source = seller.file("page.html");
    fs::write(&source, noise(3 * MIB, 5)).unwrap();
    seller.json(&["put", source.to_str().unwrap()]).done();
    let committed = seller.json(&["commit", "--cache-rf", "1"]).done();
    let peer = cache.json(&["ping"]).done()["peer_id"].clone();
    assert_eq!(committed["caches"][0]["peer"], peer);
    let refs = cache.json(&["list"]).done();
    assert_eq!((&refs[0]["root"], &refs[0]["pinned"]), (&committed["root"], &false.into()));

    // Asked again, the peer has it already and proves it with a fresh key.
    let root = committed["root"].as_str().unwrap();
    let again = seller.json(&["dispatch", root, "--cache-rf", "1"]).done();
    assert_eq!(again["caches"][0]["peer"], peer);
    assert_ne!(again["caches"][0]["proof"], committed["caches"][0]["proof"]);

    // More copies than there are peers: told, not hidden.
    let more = seller.json(&["dispatch", root, "--cache-rf", "3"]).done();
    assert_eq!((more["requested"].as_u64(), more["caches"].as_array().unwrap().len()), (Some(3), 1));
}

#[test]
fn acknowledged_commits_survive_being_killed() {
    let mut pop = Pop::start(&[]);
    let first = pop.file("first.bin");
    fs::write(&first, noise(2 * MIB, 7)).unwrap();
    let root = pop.publish(&first);
    let second = pop.file("second.bin");
    fs::write(&second, noise(MIB, 8)).unwrap();
    let open = pop.json(&["put", second.to_str().unwrap()]).done();
    pop.kill();
    pop.run();
    let copy = pop.file("copy.bin");
    pop.json(&["get", &format!("{root}/first.bin"), "-o", copy.to_str().unwrap()]).done();
    assert_eq!(fs::read(&copy).unwrap(), noise(2 * MIB, 7));
    // The open transaction is as it was, and can be committed.
    let status = pop.json(&["status"]).done();
    assert_eq!(status["root"], open["root"]);
    assert_eq!(pop.json(&["commit", "--cache-rf", "0"]).done()["root"], open["root"]);
    assert_eq!(pop.json(&["status"]).done()["tx"], serde_json::Value::Null);
    assert_eq!(pop.off(), 0);
    assert!(!pop.repo().join("api").exists());
}

#[test]
fn two_callers_at_once_see_only_their_own_results() {
    let pop = Pop::start(&[]);
    let files: Vec<_> = (0..2)
        .map(|n| {
            let path = pop.file(&format!("{n}.bin"));
            fs::write(&path, noise(2 * MIB + n, n as u64)).unwrap();
            pop.publish(&path)
        })
        .collect();
    let running: Vec<_> = (0..10)
        .map(|n| {
            let path = format!("{}/{}.bin", files[n % 2], n % 2);
            (n, pop.spawn(&["get", &path, "-o", pop.file(&format!("out-{n}")).to_str().unwrap()]))
        })
        .collect();
    for (n, get) in running {
        assert_eq!(get.answer().done()["size"], 2 * MIB + n % 2);
        assert_eq!(fs::read(pop.file(&format!("out-{n}"))).unwrap(), noise(2 * MIB + n % 2, n as u64 % 2));
    }
}

#[test]
fn content_that_nobody_has_is_told_with_who_was_asked() {
    let pop = Pop::start(&[]);
    let other = Pop::start(&["--bootstrap", &pop.address()]);
    pop.meet(&other);
    let cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    let message = pop.json(&["get", cid, "--timeout", "2s"]).failed(4);
    assert!(message.contains("1 peer"), "{message}");
}

#[test]
fn chains_that_differ_are_named_at_offer_time() {
    let seller = Pop::start(&["--price", "0.01 FIL/GiB"]);
    let buyer = Pop::start(&["--bootstrap", &seller.address(), "--max-price", "0.02 FIL/GiB"]);
    buyer.meet(&seller);
    let source = seller.file("a.bin");
    fs::write(&source, noise(MIB, 3)).unwrap();
    let root = seller.publish(&source);
    let message = buyer.json(&["get", &root, "--timeout", "5s"]).failed(6);
    assert!(message.contains("no common chain"), "{message}");
}

#[test]
fn free_content_never_opens_a_channel() {
    let seller = Pop::start(&["--chain-listen", "127.0.0.1:0"]);
    let buyer = Pop::join(&seller, &[]);
    buyer.meet(&seller);
    let source = seller.file("a.bin");
    fs::write(&source, noise(3 * MIB, 4)).unwrap();
    let root = seller.publish(&source);
    let got = buyer.json(&["get", &root, "-o", buyer.file("tree").to_str().unwrap()]).done();
    assert_eq!(got["spent_atto"], "0");
    assert_eq!(fs::read(buyer.file("tree/a.bin")).unwrap(), noise(3 * MIB, 4));
    assert_eq!(buyer.json(&["pay", "list"]).done().as_array().unwrap().len(), 0);
}
