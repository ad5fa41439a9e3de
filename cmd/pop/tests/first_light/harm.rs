//! What goes wrong in real life: processes killed at any moment, broken input, full disks, impatient people.

use std::fs;
use std::path::Path;

use super::fleet::{Pop, atto, noise};
use super::market::{MIB, PRICE_PER_GIB, market};

/// The most that one crash may cost: the largest payment interval.
const INTERVAL: u128 = PRICE_PER_GIB * 16 / 1024;

/// Starts a paid get and waits until it has received something.
fn begin(buyer: &Pop, path: &str, copy: &Path, bytes: u64) -> super::fleet::Running {
    let mut get = buyer.spawn(&["get", path, "-o", copy.to_str().unwrap()]);
    get.reaches("transfer", bytes);
    get
}

/// Checks that the get completes after a kill, and what it cost.
fn completes(seller: &Pop, buyer: &Pop, path: &str, size: usize) {
    buyer.meet(seller);
    let copy = buyer.file("copy.bin");
    buyer.json(&["get", path, "-o", copy.to_str().unwrap()]).done();
    assert!(fs::read(&copy).unwrap() == noise(size, 11), "the copy differs");
    let held = atto(&seller.json(&["pay", "list"]).done()[0]["best_voucher_atto"]);
    let given = atto(&buyer.json(&["pay", "list"]).done()[0]["best_voucher_atto"]);
    let price = PRICE_PER_GIB * size as u128 / 1024 / MIB as u128;
    assert!(given >= held, "the seller holds more than the buyer knows of");
    assert!(given <= price + price / 100 + INTERVAL, "{given} for {price}");
    assert!(held + 2 * INTERVAL >= price, "{held} for {price}");
}

#[test]
fn killed_seller_keeps_its_vouchers_and_the_get_completes() {
    let (mut seller, buyer) = market();
    let source = seller.file("film.bin");
    fs::write(&source, noise(48 * MIB, 11)).unwrap();
    let path = format!("{}/film.bin", seller.publish(&source));
    let get = begin(&buyer, &path, &buyer.file("copy.bin"), 4 * MIB as u64);
    let held = atto(&seller.json(&["pay", "list"]).done()[0]["best_voucher_atto"]);
    seller.kill();
    get.answer();
    seller.run();
    assert!(atto(&seller.json(&["pay", "list"]).done()[0]["best_voucher_atto"]) >= held);
    completes(&seller, &buyer, &path, 48 * MIB);
}

#[test]
fn killed_buyer_goes_on_where_it_was() {
    let (seller, mut buyer) = market();
    let source = seller.file("film.bin");
    fs::write(&source, noise(48 * MIB, 11)).unwrap();
    let path = format!("{}/film.bin", seller.publish(&source));
    let get = begin(&buyer, &path, &buyer.file("copy.bin"), 4 * MIB as u64);
    buyer.kill();
    get.answer();
    buyer.run();
    completes(&seller, &buyer, &path, 48 * MIB);
}

#[test]
fn interrupted_get_ends_with_130_and_can_be_repeated() {
    let (seller, buyer) = market();
    let source = seller.file("film.bin");
    fs::write(&source, noise(96 * MIB, 11)).unwrap();
    let path = format!("{}/film.bin", seller.publish(&source));
    let get = begin(&buyer, &path, &buyer.file("copy.bin"), MIB as u64);
    get.interrupt();
    assert_eq!(get.answer().code, 130);
    assert!(!buyer.file("copy.bin").exists());
    completes(&seller, &buyer, &path, 96 * MIB);
}

#[test]
fn second_daemon_is_refused_with_the_process_id_of_the_first() {
    let pop = Pop::start(&[]);
    let message = pop.json(&["start", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    assert_eq!(message.code, 8);
    let told = format!("{} {}", message.json, message.stderr);
    assert!(told.contains(&pop.pid().to_string()), "{told}");
    pop.json(&["ping"]).done();
}

#[test]
fn port_of_another_daemon_is_refused_by_name() {
    let pop = Pop::start(&[]);
    let address = pop.address();
    let taken = address.split("/p2p/").next().unwrap();
    let other = Pop::new(&[]);
    let refused = other.json(&["start", "--listen", taken]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(format!("{} {}", refused.json, refused.stderr).contains(taken), "{refused:?}");
}

#[test]
fn broken_archives_leave_nothing() {
    let pop = Pop::start(&[]);
    let whole = testdata("car/simple-unixfs.car");
    let bytes = fs::read(&whole).unwrap();
    let broken = pop.file("broken.car");
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for (damaged, words) in
        [(&bytes[..bytes.len() - 7], "byte"), (&flipped[..], "byte"), (&bytes[..20], "byte")]
    {
        fs::write(&broken, damaged).unwrap();
        let message = pop.json(&["import", broken.to_str().unwrap()]).failed(7);
        assert!(message.contains(words), "{message}");
        assert_eq!(pop.json(&["list"]).done().as_array().unwrap().len(), 0);
    }
    let no_roots = testdata("car/badsectionlength.car");
    assert!(pop.json(&["import", &no_roots]).failed(7).contains("no roots"));

    let imported = pop.json(&["import", &whole]).done();
    let root = imported["roots"][0].as_str().unwrap();
    let out = pop.file("out.car");
    pop.json(&["export", root, "-o", out.to_str().unwrap()]).done();
    assert_eq!(pop.json(&["list"]).done()[0]["root"], root);
    pop.json(&["rm", root]).done();
    assert_eq!(pop.json(&["import", out.to_str().unwrap()]).done()["roots"][0], root);
}

#[test]
fn failed_put_leaves_the_open_transaction_as_it_was() {
    let pop = Pop::start(&[]);
    let good = pop.file("good.txt");
    fs::write(&good, b"good").unwrap();
    pop.json(&["put", good.to_str().unwrap()]).done();
    let before = pop.json(&["status"]).done();
    let tree = pop.file("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("a.txt"), noise(MIB, 1)).unwrap();
    std::os::unix::net::UnixListener::bind(tree.join("z.sock")).unwrap();
    for path in [tree.as_path(), &pop.file("missing")] {
        let message = pop.json(&["put", path.to_str().unwrap()]).failed(7);
        assert!(message.contains(path.to_str().unwrap()), "{message}");
        assert_eq!(pop.json(&["status"]).done(), before);
    }
}

#[test]
fn store_over_its_capacity_refuses_and_keeps_what_it_had() {
    let pop = Pop::start(&["--capacity", "8MiB"]);
    let (small, large) = (pop.file("small.bin"), pop.file("large.bin"));
    fs::write(&small, noise(2 * MIB, 1)).unwrap();
    fs::write(&large, noise(32 * MIB, 2)).unwrap();
    let root = pop.publish(&small);
    let message = pop.json(&["put", large.to_str().unwrap()]).failed(8);
    assert!(message.contains("full"), "{message}");
    let copy = pop.file("copy.bin");
    pop.json(&["get", &format!("{root}/small.bin"), "-o", copy.to_str().unwrap()]).done();
    assert_eq!(fs::read(&copy).unwrap(), noise(2 * MIB, 1));
    fs::write(&small, noise(MIB, 3)).unwrap();
    pop.publish(&small);
}

#[test]
fn price_above_the_ceiling_and_empty_wallet_are_refused() {
    let seller = Pop::start(&["--price", "0.01 FIL/GiB", "--chain-listen", "127.0.0.1:0"]);
    let buyer = Pop::join(&seller, &["--max-price", "0.001 FIL/GiB"]);
    buyer.meet(&seller);
    let source = seller.file("a.bin");
    fs::write(&source, noise(MIB, 4)).unwrap();
    let root = seller.publish(&source);
    let message = buyer.json(&["get", &root, "--timeout", "5s"]).failed(6);
    assert!(message.contains("price"), "{message}");
    let message = buyer.json(&["get", &root, "--max-price", "0.02 FIL/GiB", "--timeout", "10s"]).failed(6);
    assert!(message.contains("needs") || message.contains("funds"), "{message}");
    assert_eq!(buyer.json(&["pay", "list"]).done().as_array().unwrap().len(), 0);
}

pub(super) fn testdata(name: &str) -> String {
    format!("{}/../../testdata/{name}", env!("CARGO_MANIFEST_DIR"))
}
