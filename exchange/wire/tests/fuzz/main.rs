//! Replays the corpus of the fuzz target through the properties that the target checks.

mod frame;

use std::fs;
use std::path::Path;

#[test]
fn frames_of_the_corpus_do_not_depend_on_how_they_arrive() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/fuzz/frame");
    let mut files = 0;
    for file in fs::read_dir(corpus).unwrap() {
        frame::check(&fs::read(file.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files > 0, "no corpus");
}
