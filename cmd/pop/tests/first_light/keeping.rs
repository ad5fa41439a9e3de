//! What a node keeps, how it came in and how it goes out again.

use std::fs::{self, File};
use std::process::Stdio;

use serde_json::Value;

use super::fleet::{Pop, noise};
use super::harm::testdata;
use super::market::MIB;

fn list(pop: &Pop) -> Vec<Value> {
    pop.json(&["list"]).done().as_array().unwrap().clone()
}

#[test]
fn partial_archives_come_and_go_only_with_the_flag() {
    let pop = Pop::start(&[]);
    let archive = testdata("car/simple-unixfs-missing-blocks.car");
    let refused = pop.json(&["import", &archive]);
    let hint = refused.json["error"]["hint"].as_str().unwrap_or_default().to_owned();
    let message = refused.failed(7);
    assert!(message.contains("is not whole") && message.contains("the first is"), "{message}");
    assert!(hint.contains("--partial"), "{hint}");
    assert!(list(&pop).is_empty(), "nothing of it was kept");

    let imported = pop.json(&["import", &archive, "--partial"]).done();
    let missing = imported["missing"].as_u64().unwrap();
    assert!(missing > 0 && !imported["missing_first"].as_array().unwrap().is_empty(), "{imported}");
    let kept = list(&pop);
    assert_eq!((kept.len(), &kept[0]["complete"]), (1, &Value::Bool(false)));
    let root = imported["roots"][0].as_str().unwrap();
    let out = pop.file("out.car");
    let out = out.to_str().unwrap();
    let message = pop.json(&["export", root, "-o", out]).failed(4);
    assert!(message.contains("is not here"), "{message}");
    assert!(!fs::exists(out).unwrap());
    let exported = pop.json(&["export", root, "--partial", "-o", out]).done();
    assert_eq!(exported["missing"], missing);
    assert_eq!(exported["missing_first"], imported["missing_first"]);

    // What is missing may be here already.
    let whole = pop.json(&["import", &testdata("car/simple-unixfs.car")]).done();
    assert_eq!((&whole["roots"][0], &whole["missing"]), (&imported["roots"][0], &Value::from(0)));
    assert_eq!(list(&pop)[0]["complete"], true);
    pop.json(&["import", out]).done();
}

#[test]
fn an_archive_from_a_pipe_leaves_no_copy_and_is_whole_or_refused() {
    let (pop, other) = (Pop::start(&[]), Pop::start(&[]));
    let source = pop.file("film.bin");
    fs::write(&source, noise(24 * MIB, 5)).unwrap();
    let root = pop.publish(&source);
    for version in ["1", "2"] {
        let car = pop.file(&format!("film{version}.car"));
        pop.json(&["export", &root, "--car-version", version, "-o", car.to_str().unwrap()]).done();
        let short = pop.file("short.car");
        let bytes = fs::read(&car).unwrap();
        fs::write(&short, &bytes[..bytes.len() / 2]).unwrap();
        other.json_from(File::open(&short).unwrap().into(), &["import", "-"]).failed(7);
        assert!(list(&other).is_empty());
        let imported = other.json_from(File::open(&car).unwrap().into(), &["import", "-"]).done();
        assert_eq!(imported["roots"][0], root.as_str());
        assert_eq!(fs::read_dir(other.repo().join("tmp")).unwrap().count(), 0);
        let copy = other.file("copy.bin");
        let path = format!("{root}/film.bin");
        other.json(&["get", &path, "-o", copy.to_str().unwrap()]).done();
        assert!(fs::read(&copy).unwrap() == noise(24 * MIB, 5), "the copy differs");
        other.json(&["rm", &root]).done();
    }
    other.json_from(Stdio::null(), &["import", "-"]).failed(7);
}

#[test]
fn a_check_of_every_block_names_the_roots_that_are_damaged() {
    let mut pop = Pop::start(&[]);
    let (good, bad) = (pop.file("good.bin"), pop.file("bad.bin"));
    fs::write(&good, noise(3 * MIB, 1)).unwrap();
    fs::write(&bad, noise(3 * MIB, 2)).unwrap();
    let (good_root, bad_root) = (pop.publish(&good), pop.publish(&bad));
    let checked = pop.json(&["gc", "--verify"]).done();
    assert!(checked["verified"]["blocks"].as_u64().unwrap() >= 8, "{checked}");
    pop.json(&["gc", "--verify", "--dry-run"]).failed(2);
    pop.off();

    // A bit of the last leaf rots: somewhere near the end, before the root and the inner nodes.
    let needle = &noise(3 * MIB, 2)[2 * MIB + 5000..2 * MIB + 5064];
    let mut flipped = false;
    for entry in fs::read_dir(pop.repo().join("blocks/segs")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) {
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            flipped = true;
        }
    }
    assert!(flipped, "the leaf is in a segment");
    pop.run();
    // Nothing that rotted leaves the node as if it were whole.
    let (copy, archive) = (pop.file("copy.bin"), pop.file("copy.car"));
    pop.json(&["get", &format!("{bad_root}/bad.bin"), "-o", copy.to_str().unwrap()]).failed(8);
    pop.json(&["export", &bad_root, "-o", archive.to_str().unwrap()]).failed(8);
    assert!(!copy.exists() && !archive.exists());
    let message = pop.json(&["gc", "--verify"]).failed(8);
    assert!(message.contains(&bad_root) && !message.contains(&good_root), "{message}");
    let kept = list(&pop);
    let complete = |root: &str| kept.iter().find(|found| found["root"] == root).unwrap()["complete"].clone();
    assert_eq!((complete(&good_root), complete(&bad_root)), (true.into(), false.into()));
    pop.json(&["gc", "--verify"]).done();
    // Put again, it is whole again.
    assert_eq!(pop.publish(&bad), bad_root);
    pop.json(&["export", &bad_root, "-o", pop.file("bad.car").to_str().unwrap()]).done();
}

#[test]
fn store_and_list_tell_the_same_after_a_restart() {
    let mut pop = Pop::start(&["--capacity", "64MiB", "--eviction", "sieve", "--low-watermark", "90%"]);
    let source = pop.file("a.bin");
    fs::write(&source, noise(5 * MIB, 1)).unwrap();
    let root = pop.publish(&source);
    let before = (pop.json(&["store"]).done(), list(&pop));
    assert_eq!(before.0["policy"], "sieve");
    assert_eq!(before.0["capacity"], 64 * MIB);
    assert_eq!((&before.0["refs"], &before.0["pinned_refs"]), (&Value::from(1), &Value::from(1)));
    assert_eq!(before.0["pinned"], before.1[0]["size"]);
    let entry = &before.1[0]["entries"][0];
    assert_eq!(
        (&entry["key"], &entry["size"], &entry["held"]),
        (&"a.bin".into(), &(5 * MIB).into(), &true.into())
    );
    assert_eq!(before.1[0]["keys"], serde_json::json!(["a.bin"]));
    assert_eq!((&before.1[0]["served"], &before.1[0]["revenue_atto"]), (&0.into(), &"0".into()));
    assert_eq!(pop.off(), 0);
    pop.run();
    let after = (pop.json(&["store"]).done(), list(&pop));
    for figure in ["live", "refs", "pinned", "pinned_refs", "blocks", "low", "capacity"] {
        assert_eq!(after.0[figure], before.0[figure], "{figure}");
    }
    assert_eq!(after.1, before.1);
    pop.json(&["rm", &root]).done();
    assert_eq!(pop.json(&["store"]).done()["refs"], 0);
}

#[test]
fn every_chunker_and_layout_gives_the_content_back() {
    let pop = Pop::start(&[]);
    let tree = pop.file("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("film.mp4"), noise(3 * MIB, 1)).unwrap();
    fs::write(tree.join("words.txt"), "some words, again and again\n".repeat(9000)).unwrap();
    fs::write(tree.join("empty"), "").unwrap();
    let mut roots = Vec::new();
    for args in [
        &[][..],
        &["--chunker", "profile"],
        &["--chunker", "auto"],
        &["--chunker", "buzhash"],
        &["--chunker", "size-65536"],
        &["--layout", "trickle"],
        &["--layout", "balanced", "--chunker", "auto"],
        &["--profile", "unixfs-v0-2015"],
    ] {
        pop.json(&[&["put", tree.to_str().unwrap()], args].concat()).done();
        let root = pop.json(&["commit", "--cache-rf", "0"]).done()["root"].as_str().unwrap().to_owned();
        let copy = pop.file(&format!("copy{}", roots.len()));
        pop.json(&["get", &format!("{root}/tree"), "-o", copy.to_str().unwrap()]).done();
        for name in ["film.mp4", "words.txt", "empty"] {
            assert!(
                fs::read(copy.join(name)).unwrap() == fs::read(tree.join(name)).unwrap(),
                "{name} {args:?}"
            );
        }
        roots.push(root);
    }
    assert_eq!(roots[0], roots[1], "the profile's is the default");
    roots.sort();
    roots.dedup();
    // Three leaves hang on the root in either layout, so that of `auto` makes no difference here.
    assert_eq!(roots.len(), 6, "each of the others is its own");
    for wrong in ["size-0", "size-9999999", "rabin"] {
        pop.json(&["put", tree.to_str().unwrap(), "--chunker", wrong]).failed(2);
    }
}
