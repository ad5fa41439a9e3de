//! Replays the corpora of the fuzz targets through the properties that the targets check.

mod car;
mod cbor;
mod dag;
mod json;
mod node;
mod pb;

use std::fs;
use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/fuzz").join(target);
    let mut files = 0;
    for file in fs::read_dir(corpus).expect("the corpus is committed") {
        check(&fs::read(file.expect("a folder is listed").path()).expect("a case is read"));
        files += 1;
    }
    assert!(files > 0, "no corpus for {target}");
}

#[test]
fn archives_of_the_corpus_are_read_and_written_alike() {
    replay("car", |bytes| {
        car::check(bytes);
        car::mend(&mut bytes.to_vec(), 0);
    });
}

#[test]
fn nodes_of_the_corpus_are_read_and_written_alike() {
    replay("pb", pb::check);
}

#[test]
fn dag_cbor_of_the_corpus_is_read_as_a_general_decoder_does() {
    replay("cbor", cbor::check);
}

#[test]
fn dag_json_of_the_corpus_is_read_alike_in_every_way() {
    replay("json", json::check);
}

#[test]
fn dags_of_the_corpus_are_walked_listed_and_read_consistently() {
    replay("dag", dag::check);
}

#[test]
fn single_nodes_of_the_corpus_are_one_thing_each() {
    replay("node", node::check);
}
